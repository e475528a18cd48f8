"""Requests for a Chinese tax invoice (发票) on an issued invoice; the operator makes it outside.

    requested -> issued (number, address of the file) | rejected (why)

One invoice has at most one request that stands; after a rejection it can be asked for again. The
amount is what paid money paid.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple
from urllib.parse import urlsplit

from tokenmarket.accounts.admin import NotThere, Refused, Taken
from tokenmarket.core import ids
from tokenmarket.core.money import usd_from_nano
from tokenmarket.core.texts import N_
from tokenmarket.store import accounts as rows
from tokenmarket.store import invoices
from tokenmarket.store.database import Database
from tokenmarket.store.invoices import FapiaoRow

KINDS = ("ordinary", "special")
_TAX_ID = re.compile(r"[0-9A-Z]{15,20}")
_EMAIL = re.compile(r"[^\s<>@,;\"]{1,64}@[A-Za-z0-9.-]{1,190}\.[A-Za-z]{2,24}")


class Wishes(NamedTuple):
    """What the buyer writes; ``note``: address, telephone and bank of a special one."""

    kind: str
    title: str
    tax_id: str
    email: str
    note: str = ""


def problems(wishes: Wishes) -> dict[str, str]:
    """Field -> what is wrong, in constant English sentences."""
    found: dict[str, str] = {}
    if wishes.kind not in KINDS:
        found["kind"] = N_("Choose ordinary or special.")
    if not 0 < len(wishes.title) <= 100 or not wishes.title.isprintable():
        found["title"] = N_("Write the buyer's full name on one line.")
    if (wishes.kind == "special" or wishes.tax_id) and _TAX_ID.fullmatch(wishes.tax_id) is None:
        found["tax_id"] = N_("A tax ID has 15 to 20 digits and capital letters.")
    if _EMAIL.fullmatch(wishes.email) is None:
        found["email"] = N_("Write an e-mail address.")
    if len(wishes.note) > 500 or not wishes.note.replace("\n", "").isprintable():
        found["note"] = N_("That is too long.")
    if wishes.kind == "special" and not wishes.note.strip():
        found["note"] = N_("A special one needs address, telephone, bank and account.")
    return found


async def request(
    database: Database,
    org_id: str,
    invoice_id: str,
    wishes: Wishes,
    *,
    actor: str,
    now_us: int,
) -> FapiaoRow:
    """Raises Refused, NotThere, Taken."""
    if wrong := problems(wishes):
        raise Refused(next(iter(wrong.values())))
    async with database.begin() as conn:
        invoice = await invoices.invoice_by_id(conn, org_id, invoice_id)
        if invoice is None:
            raise NotThere(N_("There is no such invoice."))
        if invoice.total_nano <= 0:
            raise Taken(N_("Nothing was paid on this invoice."))
        earlier = await invoices.fapiao_of_invoice(conn, org_id, invoice_id)
        if any(one.active is not None for one in earlier):
            raise Taken(N_("A tax invoice was requested for this invoice already."))
        row = FapiaoRow(
            id=ids.new_id("fap", now_us, os.urandom(ids.RANDOM_BYTES)),
            org_id=org_id,
            invoice_id=invoice_id,
            kind=wishes.kind,
            title=wishes.title,
            tax_id=wishes.tax_id,
            email=wishes.email,
            note=wishes.note,
            amount_nano=invoice.total_nano,
            state="requested",
            active=invoice_id,
            number="",
            url="",
            created_by=actor,
            created_us=now_us,
            decided_by="",
            decided_us=0,
        )
        await invoices.insert_fapiao(conn, row)
        detail: dict[str, object] = {
            "invoice": invoice.number,
            "kind": row.kind,
            "amount": usd_from_nano(row.amount_nano),
        }
        await rows.append_audit(
            conn, now_us, actor, "fapiao.request", row.id, detail, org_id=org_id
        )
    return row


async def decide(
    database: Database,
    request_id: str,
    *,
    issued: bool,
    number: str,
    url: str,
    actor: str,
    now_us: int,
) -> None:
    """The operator's answer; ``number`` is the tax invoice's, or why there is none.

    Raises Refused, NotThere, Taken.
    """
    number, url = number.strip(), url.strip()
    if not 0 < len(number) <= 200 or not number.isprintable():
        raise Refused(N_("Write the number, or the reason."))
    if url and (urlsplit(url).scheme != "https" or len(url) > 500 or not url.isprintable()):
        raise Refused(N_("An address begins with https://."))
    async with database.begin() as conn:
        row = await invoices.fapiao_by_id(conn, request_id)
        if row is None:
            raise NotThere(N_("There is no such request."))
        state = "issued" if issued else "rejected"
        done = await invoices.decide_fapiao(
            conn, request_id, state=state, number=number, url=url, by=actor, now_us=now_us
        )
        if not done:
            raise Taken(N_("This request was decided already."))
        detail: dict[str, object] = {"number": number}
        await rows.append_audit(
            conn, now_us, actor, f"fapiao.{state}", request_id, detail, org_id=row.org_id
        )
