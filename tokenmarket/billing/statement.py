"""The account statement of an organisation: what came in, what was spent, what came back."""

from __future__ import annotations

from typing import NamedTuple

from tokenmarket.store.database import Database
from tokenmarket.store.money import NEVER_US
from tokenmarket.store.money_ledger import lines

_PAGE_MAX = 1_000


class Line(NamedTuple):
    """One movement as the customer sees it: positive adds to the balance."""

    transfer_id: str
    ts_us: int
    kind: str
    account: str
    amount_nano: int
    ref: str
    reason: str


async def statement(
    database: Database,
    org_id: str,
    *,
    before_us: int = NEVER_US,
    before_id: str = "",
    limit: int = 100,
) -> list[Line]:
    """The newest ``limit`` (at most 1,000) movements before (time, id), newest first.

    Pass the last line's ``ts_us`` and ``transfer_id`` for the next page. A request shows when it
    has been posted, a fraction of a second after it ended.
    """
    prefix = f"cust:{org_id}:"
    found: list[Line] = []
    for item in await lines(database, org_id, before_us, before_id, min(limit, _PAGE_MAX)):
        incoming = item.credit.startswith(prefix)
        found.append(
            Line(
                item.id,
                item.ts_us,
                item.kind,
                item.credit if incoming else item.debit,
                item.amount_nano if incoming else -item.amount_nano,
                item.ref,
                item.reason,
            )
        )
    return found
