"""Money an organisation gets from the house, and its end: grants, expiry, adjustments.

Every operation is named by the caller's id and done once: a repeat returns False.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from tokenmarket.ledger import accounts
from tokenmarket.store.database import Connection, Database
from tokenmarket.store.money import NANO_MAX, NEVER_US
from tokenmarket.store.money_ledger import Transfer, due_grants, move, open_account
from tokenmarket.store.money_moves import money_transaction

CASH_PRIORITY = 1_000  # paid money burns last


def check_amount(amount_nano: int) -> None:
    """ValueError for what no account can hold."""
    if not 0 < amount_nano <= NANO_MAX:
        raise ValueError(f"an amount is above zero and at most {NANO_MAX} nano-USD")


async def grant(
    database: Database,
    *,
    org_id: str,
    grant_id: str,
    amount_nano: int,
    reason: str,
    now_us: int,
    expires_us: int = NEVER_US,
    models: Sequence[str] = (),
    priority: int = 100,
) -> bool:
    """``grant_in`` as a transaction of its own."""
    async with money_transaction(database) as conn:
        return await grant_in(
            conn,
            org_id=org_id,
            grant_id=grant_id,
            amount_nano=amount_nano,
            reason=reason,
            now_us=now_us,
            expires_us=expires_us,
            models=models,
            priority=priority,
        )


async def grant_in(
    conn: Connection,
    *,
    org_id: str,
    grant_id: str,
    amount_nano: int,
    reason: str,
    now_us: int,
    expires_us: int = NEVER_US,
    models: Sequence[str] = (),
    priority: int = 100,
) -> bool:
    """Give ``amount_nano``, spendable until ``expires_us`` on ``models`` (all when empty).

    Lower ``priority`` burns first. Raises ValueError, Conflict, Rejected, Unavailable.
    """
    check_amount(amount_nano)
    if expires_us <= now_us:
        raise ValueError("a grant must expire in the future")
    name = accounts.grant(org_id, grant_id)
    await open_account(
        conn,
        name,
        org_id,
        "grant",
        priority=priority,
        expires_us=expires_us,
        scope=json.dumps(sorted(models)) if models else "",
        now_us=now_us,
    )
    item = Transfer(
        f"grant:{org_id}:{grant_id}",
        org_id,
        "grant",
        accounts.PROMO,
        name,
        amount_nano,
        grant_id,
        reason,
        now_us,
    )
    return await move(conn, item)


async def expire(database: Database, now_us: int) -> int:
    """Take back what is left of expired grants, and not leased; returns the sum in nano-USD.

    What a worker still holds is taken by a later sweep, when it has come back.
    """
    taken = 0
    async with money_transaction(database) as conn:
        for name, org_id, available, posted in await due_grants(conn, now_us):
            item = Transfer(
                f"{name}:exp.{posted}",
                org_id,
                "expiry",
                name,
                accounts.BREAKAGE,
                available,
                name,
                "the grant expired",
                now_us,
            )
            if await move(conn, item):
                taken += available
    return taken


async def adjust(
    database: Database,
    *,
    org_id: str,
    adjustment_id: str,
    amount_nano: int,
    reason: str,
    now_us: int,
) -> bool:
    """``adjust_in`` as a transaction of its own."""
    async with money_transaction(database) as conn:
        return await adjust_in(
            conn,
            org_id=org_id,
            adjustment_id=adjustment_id,
            amount_nano=amount_nano,
            reason=reason,
            now_us=now_us,
        )


async def adjust_in(
    conn: Connection,
    *,
    org_id: str,
    adjustment_id: str,
    amount_nano: int,
    reason: str,
    now_us: int,
) -> bool:
    """Correct the paid balance by hand, up or (negative) down; the house takes the other side.

    Raises Short when less than that is free: running servers hold leases for up to ten seconds
    after the last request.
    """
    check_amount(abs(amount_nano))
    name = accounts.cash(org_id)
    sides = (accounts.HOUSE_LOSS, name) if amount_nano > 0 else (name, accounts.HOUSE_LOSS)
    await open_cash(conn, org_id, now_us)
    item = Transfer(
        f"adjust:{adjustment_id}",
        org_id,
        "adjustment",
        *sides,
        abs(amount_nano),
        adjustment_id,
        reason,
        now_us,
    )
    return await move(conn, item)


async def open_cash(conn: Connection, org_id: str, now_us: int) -> None:
    """The account of paid money; there is one per organisation."""
    await open_account(
        conn,
        accounts.cash(org_id),
        org_id,
        "cash",
        priority=CASH_PRIORITY,
        expires_us=NEVER_US,
        scope="",
        now_us=now_us,
    )
