"""Management endpoints of the statement: lines with the balance after each, and the same as CSV."""

from __future__ import annotations

from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from tokenmarket.accounts.admin import Refused
from tokenmarket.billing import statement
from tokenmarket.core.csv_rows import CONTENT_TYPE
from tokenmarket.core.errors import ApiError
from tokenmarket.core.money import usd_from_nano
from tokenmarket.core.wording import said_by, say
from tokenmarket.reports.statement_csv import chosen_lines, statement_csv
from tokenmarket.store.statements import Place, Wanted
from tokenmarket.web.manage.endpoint import Call, Endpoint, File, Listing
from tokenmarket.web.manage.organization import own_org, zone_of


class LedgerLine(msgspec.Struct, kw_only=True):
    """One movement of the balance; amounts are signed USD."""

    object: Literal["ledger_line"] = "ledger_line"
    id: str
    created_at: int
    kind: str
    amount: str
    balance_after: str
    reference: str
    reason: str


async def ledger(call: Call) -> Listing[LedgerLine]:
    wanted, _ = await _wanted(call)
    place = None
    if call.cursor:
        time, _, name = call.cursor.partition(".")
        if not time.isascii() or not time.isdecimal() or len(time) > 18:
            raise ApiError("REQUEST_001", "This is no cursor of ours.", param="cursor")
        place = Place(int(time), name)
    async with call.parts.database.read() as conn:
        found = await statement.page(conn, call.org_id, wanted, place, call.limit)
    following = found.next_place
    return Listing(
        data=[
            LedgerLine(
                id=line.transfer_id,
                created_at=line.ts_us // 1_000_000,
                kind=line.kind,
                amount=usd_from_nano(line.amount_nano),
                balance_after=usd_from_nano(line.balance_nano),
                reference=line.ref,
                reason=line.reason,
            )
            for line in found.lines
        ],
        next_cursor=None if following is None else f"{following.ts_us}.{following.id}",
    )


async def ledger_csv(call: Call) -> File:
    wanted, zone = await _wanted(call)
    async with call.parts.database.read() as conn:
        text = await statement_csv(conn, call.org_id, wanted, zone)
    return File(name="statement.csv", content_type=CONTENT_TYPE, body=text.encode())


async def _wanted(call: Call) -> tuple[Wanted, ZoneInfo]:
    """The lines that are asked for, and the zone of the days. Raises ApiError."""
    await call.parts.wallet.flush()
    zone = zone_of(await own_org(call))
    kind = call.query.get("kind", "")
    if kind and kind not in statement.KINDS:
        kinds = ", ".join(statement.KINDS)
        raise ApiError("REQUEST_001", say("kind is one of {kinds}.", kinds=kinds), param="kind")
    first, last = call.query.get("from", ""), call.query.get("to", "")
    try:
        return chosen_lines(kind, first, last, zone), zone
    except Refused as error:
        raise ApiError("REQUEST_001", said_by(error), param="from" if first else "to") from error


_TAG = "Billing"
_QUERY = (
    ("kind", "Only lines of this kind."),
    ("from", "The first day, as 2026-11-23, in the billing time zone."),
    ("to", "The last day, included."),
)
ENDPOINTS = [
    Endpoint(
        "GET",
        "/ledger",
        "billing.view",
        ledger,
        None,
        Listing[LedgerLine],
        "The statement, newest first, with the balance after each line.",
        _TAG,
        query=_QUERY,
    ),
    Endpoint(
        "GET",
        "/ledger.csv",
        "billing.view",
        ledger_csv,
        None,
        File,
        "The statement as a CSV file.",
        _TAG,
        query=_QUERY,
        file="text/csv",
    ),
]
