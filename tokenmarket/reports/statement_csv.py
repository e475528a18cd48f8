"""An organisation's statement as CSV: all lines of a choice, times with their offset, the zone in
the header."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from tokenmarket.accounts.admin import Refused
from tokenmarket.billing import statement
from tokenmarket.core.csv_rows import csv_text
from tokenmarket.core.money import usd_from_nano
from tokenmarket.core.texts import N_
from tokenmarket.reports.periods import day_start_us
from tokenmarket.store.database import Connection
from tokenmarket.store.money import NEVER_US
from tokenmarket.store.statements import Place, Wanted

LINES_MAX = 100_000
_CHUNK = 1_000


def chosen_lines(kind: str, first: str, last: str, zone: ZoneInfo) -> Wanted:
    """Lines of a kind between two days of the zone, both included; empty: all. Raises Refused."""
    try:
        first_day = date.fromisoformat(first) if first else None
        last_day = date.fromisoformat(last) if last else None
        from_us = 0 if first_day is None else day_start_us(first_day, zone)
        to_us = NEVER_US
        if last_day is not None:
            to_us = day_start_us(last_day + timedelta(days=1), zone)
    except (ValueError, OverflowError):
        raise Refused(N_("Write days as in 2026-11-24.")) from None
    if first_day is not None and last_day is not None and last_day < first_day:
        raise Refused(N_("The last day is before the first."))
    return Wanted(from_us, to_us, kind)


async def statement_csv(conn: Connection, org_id: str, wanted: Wanted, zone: ZoneInfo) -> str:
    """Raises Refused for more lines than a file has."""
    lines: list[statement.Line] = []
    place: Place | None = None
    while True:
        page = await statement.page(conn, org_id, wanted, place, _CHUNK)
        lines += page.lines
        place = page.next_place
        if place is None:
            break
        if len(lines) >= LINES_MAX:
            raise Refused(N_("More than 100,000 lines: choose fewer days."))
    head = (f"time ({zone.key})", "kind", "amount_usd", "balance_after_usd", "reference", "reason")
    rows = [
        (
            _moment(line.ts_us, zone),
            line.kind,
            usd_from_nano(line.amount_nano),
            usd_from_nano(line.balance_nano),
            line.ref,
            line.reason,
        )
        for line in lines
    ]
    return csv_text([head, *rows])


def _moment(us: int, zone: ZoneInfo) -> str:
    at = datetime.fromtimestamp(us // 1_000_000, UTC).astimezone(zone)
    return at.isoformat(timespec="seconds")
