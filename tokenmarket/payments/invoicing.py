"""Invoices: one per organisation and month on what was consumed, without gaps, never changed.

What a reader must know:

* A month is one of the organisation's billing zone. A charge belongs to the month in which it was
  made (its ledger entry), a refund to that in which it was given; where refunds are more than
  charges, the month's document is a credit note of the same series.
* The lines are by model, unit and unit price, from the receipts; their amounts and the line of
  what has no priced unit add up to the captures exactly. What was posted after its month was
  invoiced is a line of the next one, so all invoices together are all that was consumed.
* Grants and redeem codes are deducted: the total is what paid money paid. Tax is reckoned on that
  total (``payments/tax.py``) and kept in the document.
"""

from __future__ import annotations

import os
from datetime import date
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from tokenmarket.accounts.admin import Refused
from tokenmarket.core import ids
from tokenmarket.core.money import usd_from_nano
from tokenmarket.core.texts import N_
from tokenmarket.core.usage import UNITS, Item
from tokenmarket.payments.tax import Tax, taxed
from tokenmarket.receipts import items_of
from tokenmarket.reports.periods import day_start_us, local_day
from tokenmarket.store import accounts as rows
from tokenmarket.store import invoices, tax_profiles
from tokenmarket.store.database import Connection, Database
from tokenmarket.store.invoices import InvoiceRow, Movement

GRACE_US = 2 * 3_600_000_000  # after a month's end, for what is posted late
_CHUNK = 2_000
_MONTHS_AT_ONCE = 240
LATE, REFUNDS, OTHER = "late", "refunds", "other"


class Legal(msgspec.Struct, frozen=True):
    """Who invoices are made out to; an empty name: the organisation's."""

    name: str = ""
    address: str = ""
    tax_id: str = ""
    email: str = ""


class Line(msgspec.Struct, frozen=True):
    """``kind`` '' is usage; others have a model at the most. ``quantity`` as people read it."""

    kind: str
    model: str
    unit: str
    usd: str
    per: int
    quantity: str
    amount_nano: int


class Document(msgspec.Struct, frozen=True):
    """What an issued invoice says."""

    issuer: str
    buyer: Legal
    lines: list[Line]
    tax: Tax | None = None  # of what paid money paid


_decode = msgspec.json.Decoder(Document).decode
_decode_legal = msgspec.json.Decoder(Legal).decode


def document_of(row: InvoiceRow) -> Document:
    return _decode(row.document)


async def legal_of(database: Database, org_id: str) -> Legal:
    """Who the next invoices will be made out to."""
    async with database.read() as conn:
        text = await invoices.legal_of(conn, org_id)
    return _decode_legal(text) if text else Legal()


async def set_legal(
    database: Database, org_id: str, legal: Legal, *, actor: str, now_us: int
) -> None:
    """From the next invoice on. Raises Refused."""
    for value, chars in (
        (legal.name, 200),
        (legal.address.replace("\n", " "), 500),
        (legal.tax_id, 60),
        (legal.email, 254),
    ):
        if len(value) > chars or not value.isprintable():
            raise Refused(N_("An entry is too long or has characters that cannot be printed."))
    async with database.begin() as conn:
        await invoices.set_legal(conn, org_id, msgspec.json.encode(legal).decode())
        await rows.append_audit(conn, now_us, actor, "legal.set", org_id, {}, org_id=org_id)


async def issue_due(database: Database, issuer: str, now_us: int) -> list[InvoiceRow]:
    """Issue every invoice that is due, each in a transaction of its own."""
    async with database.read() as conn:
        orgs = await invoices.orgs_with_usage(conn)
    made: list[InvoiceRow] = []
    for org_id, name, zone_name, first_us in orgs:
        zone = _zone(zone_name)
        async with database.read() as conn:
            last = await invoices.last_of(conn, org_id)
        at_us = first_us if last is None else last.end_us
        for _ in range(_MONTHS_AT_ONCE):
            day = local_day(at_us, zone).replace(day=1)
            while last is not None and day.isoformat()[:7] <= last.period:
                day = _month_after(day)  # the billing zone has moved west: the rest goes with it
            end_us = day_start_us(_month_after(day), zone)
            if end_us + GRACE_US > now_us:
                break
            start_us = at_us if last is not None else day_start_us(day, zone)
            month = _Month(org_id, name, zone_name, day, start_us, end_us)
            row = await _issue(database, month, issuer, now_us)
            if row is not None:
                made.append(row)
                last = row
            at_us = end_us
    return made


class _Month(msgspec.Struct, frozen=True):
    org_id: str
    org_name: str
    zone_name: str
    first_day: date
    start_us: int
    end_us: int

    @property
    def period(self) -> str:
        return self.first_day.isoformat()[:7]


class _Draft(NamedTuple):
    """What was consumed in a month and before it without an invoice, in one snapshot."""

    lines: list[Line]
    buyer: Legal
    consumed_nano: int
    total_nano: int
    tax: Tax | None


async def _issue(database: Database, month: _Month, issuer: str, now_us: int) -> InvoiceRow | None:
    """None if there is nothing to invoice, or it has been. The month is added up in a snapshot, so
    that nobody waits for it; what is posted meanwhile is the next invoice's."""
    async with database.read() as conn:
        draft = await _drafted(conn, month)
    if not draft.lines:
        return None
    document = msgspec.json.encode(Document(issuer, draft.buyer, draft.lines, draft.tax)).decode()
    async with database.begin() as conn:
        last = await invoices.last_of(conn, month.org_id)
        if last is not None and last.end_us >= month.end_us:
            return None
        kind = "invoice" if draft.consumed_nano >= 0 else "credit_note"
        serial = await invoices.next_serial(conn)
        row = InvoiceRow(
            id=ids.new_id("inv", now_us + serial, os.urandom(ids.RANDOM_BYTES)),
            org_id=month.org_id,
            kind=kind,
            serial=serial,
            number=f"{'INV' if kind == 'invoice' else 'CN'}-{serial:06d}",
            period=month.period,
            time_zone=month.zone_name,
            start_us=month.start_us,
            end_us=month.end_us,
            consumed_nano=draft.consumed_nano,
            covered_nano=draft.consumed_nano - draft.total_nano,
            total_nano=draft.total_nano,
            document=document,
            issued_us=now_us,
        )
        await invoices.insert_invoice(conn, row)
        detail: dict[str, object] = {
            "number": row.number,
            "period": row.period,
            "total": usd_from_nano(row.total_nano),
        }
        await rows.append_audit(
            conn, now_us, "payments", "invoice.issue", row.id, detail, org_id=row.org_id
        )
        return row


async def _drafted(conn: Connection, month: _Month) -> _Draft:
    summed = await _summed(conn, month)
    all_nano, paid_nano = await invoices.consumed(conn, month.org_id, month.end_us)
    told_nano, told_paid_nano = await invoices.invoiced(conn, month.org_id)
    consumed_nano = all_nano - told_nano
    late_nano = consumed_nano - summed.consumed_nano
    lines = summed.sorted_lines()
    if late_nano:
        lines.append(Line(LATE, "", "", "", 0, "", late_nano))
    text = await invoices.legal_of(conn, month.org_id)
    legal = _decode_legal(text) if text else Legal()
    buyer = msgspec.structs.replace(legal, name=legal.name or month.org_name)
    total_nano = paid_nano - told_paid_nano
    profile = await tax_profiles.find(conn, month.org_id)
    tax = None if profile is None else taxed(profile, total_nano)
    return _Draft(lines, buyer, consumed_nano, total_nano, tax)


class _Summed:
    """Movements of a month, added up by what is one line."""

    def __init__(self) -> None:
        self.consumed_nano = 0
        # (kind, model, unit, usd, per) -> (counts, amount)
        self.lines: dict[tuple[str, str, str, str, int], tuple[int, int]] = {}

    def add(self, key: tuple[str, str, str, str, int], counts: int, amount_nano: int) -> None:
        before = self.lines.get(key, (0, 0))
        self.lines[key] = (before[0] + counts, before[1] + amount_nano)
        self.consumed_nano += amount_nano

    def add_request(self, model: str, items: list[Item], charge_nano: int) -> None:
        """Items add up to the price; what was not collected of it is taken off again."""
        rest = charge_nano
        for item in items:
            amount = min(item.amount_nano, rest)
            rest -= amount
            self.add(("", model, item.unit, item.usd, item.per), item.quantity, amount)
        if rest:
            self.add((OTHER, model, "", "", 0), 1, rest)

    def sorted_lines(self) -> list[Line]:
        order = {"": 0, OTHER: 1, REFUNDS: 2}
        found = sorted(self.lines.items(), key=lambda pair: (order[pair[0][0]], pair[0][1:]))
        return [Line(*key, _quantity(key[2], counts), amount) for key, (counts, amount) in found]


async def _summed(conn: Connection, month: _Month) -> _Summed:
    summed = _Summed()
    after = (0, "")
    open_request: list[Movement] = []  # legs of one request stand side by side

    def close() -> None:
        if open_request:
            first = open_request[0]
            charge = sum(leg.amount_nano for leg in open_request)
            summed.add_request(first.model, items_of(first.receipt.encode()), charge)
            open_request.clear()

    while True:
        found = await invoices.movements(
            conn, month.org_id, month.start_us, month.end_us, after=after, limit=_CHUNK
        )
        for item in found:
            if open_request and open_request[0].request_id != item.request_id:
                close()
            if item.kind == "capture":
                open_request.append(item)
            else:
                close()
                summed.add((REFUNDS, item.model, "", "", 0), 1, -item.amount_nano)
        if len(found) < _CHUNK:
            close()
            return summed
        after = (found[-1].ts_us, found[-1].id)


def _quantity(unit: str, counts: int) -> str:
    """Catalog units as people read them: seconds are counted in ms."""
    scale = UNITS[unit].counts_per_unit if unit else 1
    if scale == 1:
        return str(counts)
    whole, rest = divmod(counts, scale)
    digits = len(str(scale)) - 1
    return f"{whole}.{rest:0{digits}d}".rstrip("0").rstrip(".")


def _month_after(day: date) -> date:
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return ZoneInfo("UTC")
