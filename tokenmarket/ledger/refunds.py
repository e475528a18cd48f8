"""Refunds: what a request was charged goes back to the customer, each refund exactly once."""

from __future__ import annotations

from collections.abc import Sequence

from tokenmarket.ledger import accounts
from tokenmarket.ledger.grants import check_amount
from tokenmarket.store.database import Connection, Database
from tokenmarket.store.money_ledger import (
    Transfer,
    charged,
    claim_refund,
    move,
    reopen_until,
    transfers_of,
)
from tokenmarket.store.money_moves import money_transaction

REOPENED_US = 7 * 86_400_000_000  # how long a refund into an expired grant can be spent


class NotRefundable(Exception):
    """Unknown request, or more than is left of what it was charged."""


async def refund(
    database: Database,
    *,
    request_id: str,
    refund_id: str,
    amount_nano: int,
    reason: str,
    now_us: int,
) -> bool:
    """Give back a part of a posted charge, into the buckets it came from, last spent first.

    False if this refund was made before. Raises NotRefundable when the refunds together would be
    more than the charge, ValueError, Conflict.
    """
    check_amount(amount_nano)
    prefix = f"{request_id}.r{refund_id}."
    async with money_transaction(database) as conn:
        found = await charged(conn, request_id)
        if found is None:
            raise NotRefundable(f"{request_id} is not a posted request")
        earlier = await transfers_of(conn, request_id, "refund")
        same = sum(item.amount_nano for item in earlier if item.id.startswith(prefix))
        if same == amount_nano:
            return False
        if same or not await claim_refund(conn, request_id, amount_nano):
            raise NotRefundable(
                f"{request_id} was charged {found[1]} and refunded {found[2]} nano-USD"
            )
        await _give_back(conn, request_id, earlier, prefix, amount_nano, reason, now_us)
        return True


async def refund_task(
    database: Database, *, task_id: str, request_id: str, reason: str, now_us: int
) -> int:
    """Give back all that is left of a task's charge, once per task (``{task}.r…``); the amount, or
    0 if that was done before or nothing is left."""
    prefix = f"{task_id}.r"
    async with money_transaction(database) as conn:
        found = await charged(conn, request_id)
        earlier = await transfers_of(conn, request_id, "refund")
        if found is None or any(item.id.startswith(prefix) for item in earlier):
            return 0
        amount_nano = found[1] - found[2]
        if not amount_nano or not await claim_refund(conn, request_id, amount_nano):
            return 0
        await _give_back(conn, request_id, earlier, prefix, amount_nano, reason, now_us)
        return amount_nano


async def _give_back(
    conn: Connection,
    request_id: str,
    earlier: Sequence[Transfer],
    prefix: str,
    amount_nano: int,
    reason: str,
    now_us: int,
) -> None:
    """Transfers ``{prefix}{number}`` against the captures, less what ``earlier`` refunds took."""
    back: dict[str, int] = {}
    for item in earlier:
        back[item.credit] = back.get(item.credit, 0) + item.amount_nano
    due = amount_nano
    for number, leg in enumerate(reversed(await transfers_of(conn, request_id, "capture"))):
        part = min(due, leg.amount_nano - back.get(leg.debit, 0))
        if part <= 0:
            continue
        due -= part
        await reopen_until(conn, leg.debit, now_us + REOPENED_US)
        item = Transfer(
            f"{prefix}{number}",
            leg.org_id,
            "refund",
            accounts.REVENUE,
            leg.debit,
            part,
            request_id,
            reason,
            now_us,
        )
        await move(conn, item)
    if due:
        raise NotRefundable(f"{request_id} has no captures for {due} nano-USD")
