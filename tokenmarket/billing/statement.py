"""The account statement of an organisation: what came in, what was spent, what came back.

Lines go from the newest to the oldest, each with the balance after it: what cash and grants hold
together. A request shows when it has been posted, a fraction of a second after it ended.
"""

from __future__ import annotations

from typing import NamedTuple

from tokenmarket.store.database import Connection, Database
from tokenmarket.store.money import NEVER_US
from tokenmarket.store.money_ledger import Transfer
from tokenmarket.store.statements import (
    Place,
    Wanted,
    balance_and_debt,
    moved_since,
    rows_before,
)

ALL = Wanted(0, NEVER_US)
KINDS = (
    "topup",
    "grant",
    "capture",
    "refund",
    "adjustment",
    "expiry",
    "topup_refund",
    "chargeback",
    "debt",
)
_PAGE_MAX = 1_000


class Line(NamedTuple):
    """One movement as the customer sees it: positive adds to the balance. ``balance_nano`` is
    that after it; a debt that grows changes the debt, not the balance."""

    transfer_id: str
    ts_us: int
    kind: str
    account: str
    amount_nano: int
    ref: str
    reason: str
    balance_nano: int

    @property
    def place(self) -> Place:
        return Place(self.ts_us, self.transfer_id)


class Statement(NamedTuple):
    """One page. ``next_place``: where the next one goes on; None at the end."""

    lines: list[Line]
    next_place: Place | None


async def statement(
    database: Database,
    org_id: str,
    *,
    before_us: int = NEVER_US,
    before_id: str = "",
    limit: int = 100,
) -> list[Line]:
    """The newest ``limit`` (at most 1,000) movements before (time, id), newest first."""
    async with database.read() as conn:
        place = Place(before_us, before_id)
        return (await page(conn, org_id, ALL, place, limit)).lines


async def page(
    conn: Connection, org_id: str, wanted: Wanted, place: Place | None, limit: int
) -> Statement:
    """Lines that are wanted after ``place`` (None: from the newest), in one snapshot."""
    limit = min(limit, _PAGE_MAX)
    found = await rows_before(conn, org_id, wanted, place, limit + 1)
    shown = found[:limit]
    if not shown:
        return Statement([], None)
    balance, _ = await balance_and_debt(conn, org_id)
    if not wanted.kind:  # all that moves the balance between two lines is on the page
        first = Place(shown[0].ts_us, shown[0].id)
        after = balance - await moved_since(conn, org_id, first) + _amount(shown[0], org_id)
        lines: list[Line] = []
        for item in shown:
            lines.append(_line(item, org_id, after))
            after -= _amount(item, org_id)
    else:
        lines = [
            _line(
                item,
                org_id,
                balance
                - await moved_since(conn, org_id, Place(item.ts_us, item.id))
                + _amount(item, org_id),
            )
            for item in shown
        ]
    return Statement(lines, lines[-1].place if len(found) > limit else None)


def _line(item: Transfer, org_id: str, balance_nano: int) -> Line:
    incoming = item.credit.startswith(f"cust:{org_id}:")
    return Line(
        item.id,
        item.ts_us,
        item.kind,
        item.credit if incoming else item.debit,
        _amount(item, org_id),
        item.ref,
        item.reason,
        balance_nano,
    )


def _amount(item: Transfer, org_id: str) -> int:
    """What the movement changes the balance by."""
    return item.amount_nano * (_is_own(item.credit, org_id) - _is_own(item.debit, org_id))


def _is_own(account: str, org_id: str) -> bool:
    prefix = f"cust:{org_id}:"
    return account.startswith(prefix) and account != f"{prefix}debt"
