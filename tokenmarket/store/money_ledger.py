"""Statements of the ledger: open an account, move an amount, find what is due.

Everything takes the connection of one ``money_transaction``, so that a ledger operation of several
steps is all or nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import and_, func, insert, or_, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or_skip
from sqlalchemy.ext.asyncio import AsyncConnection

from tokenmarket.store.database import Database
from tokenmarket.store.money import account, payment_event, price, transfer, usage_event
from tokenmarket.store.money_moves import money_transaction, spendable


class Transfer(NamedTuple):
    """One double entry; both sides at once, so debits and credits are equal by construction."""

    id: str
    org_id: str
    kind: str
    debit: str
    credit: str
    amount_nano: int
    ref: str
    reason: str
    ts_us: int


class Conflict(Exception):
    """The id was used before for another movement; nothing was done."""


class Short(Exception):
    """The account has not enough that is free; nothing was done."""

    def __init__(self, account_id: str, available_nano: int) -> None:
        super().__init__(f"{account_id} has {available_nano} nano-USD available")
        self.available_nano = available_nano


async def open_account(
    conn: AsyncConnection,
    account_id: str,
    org_id: str,
    kind: str,
    *,
    priority: int,
    expires_us: int,
    scope: str,
    now_us: int,
    limited: int = 1,
) -> None:
    """Make an account with nothing in it; an existing one stays as it is. ``limited=0``: it may
    owe, and nobody spends from it."""
    await conn.execute(
        insert_or_skip(account)
        .values(
            id=account_id,
            org_id=org_id,
            kind=kind,
            currency="USD",
            limited=limited,
            cr_posted=0,
            dr_posted=0,
            dr_pending=0,
            priority=priority,
            expires_us=expires_us,
            scope=scope,
            created_us=now_us,
        )
        .on_conflict_do_nothing()
    )


async def move(conn: AsyncConnection, item: Transfer) -> bool:
    """Record the transfer and change the limited accounts it touches.

    False if exactly this transfer was made before. Raises Conflict, Short.
    """
    known = (await conn.execute(select(transfer).where(transfer.c.id == item.id))).one_or_none()
    if known is not None:
        if tuple(known)[1:7] != tuple(item)[1:7]:
            raise Conflict(f"{item.id} was already used for something else")
        return False
    debited = await conn.execute(
        update(account)
        .where(
            account.c.id == item.debit,
            or_(account.c.limited == 0, spendable >= item.amount_nano),
        )
        .values(dr_posted=account.c.dr_posted + item.amount_nano)
    )
    if debited.rowcount == 0:
        query = select(spendable).where(account.c.id == item.debit)
        available = (await conn.execute(query)).scalar_one_or_none()
        if available is not None:  # platform accounts have no row and no limit
            raise Short(item.debit, available)
    await conn.execute(
        update(account)
        .where(account.c.id == item.credit)
        .values(cr_posted=account.c.cr_posted + item.amount_nano)
    )
    await conn.execute(insert(transfer).values(item._asdict()))
    return True


async def account_state(conn: AsyncConnection, account_id: str) -> tuple[int, int, int]:
    """(spendable, debits, credits) of an account with a row; zeros if it has none."""
    query = select(spendable, account.c.dr_posted, account.c.cr_posted)
    row = (await conn.execute(query.where(account.c.id == account_id))).one_or_none()
    return (0, 0, 0) if row is None else (row[0], row[1], row[2])


async def debts(conn: AsyncConnection) -> list[tuple[str, int]]:
    """(organisation, owed) of all that owe something."""
    owed = account.c.dr_posted - account.c.cr_posted
    query = select(account.c.org_id, owed).where(account.c.kind == "debt", owed > 0)
    return [(org_id, amount) for org_id, amount in (await conn.execute(query)).all()]


async def due_grants(conn: AsyncConnection, now_us: int) -> list[tuple[str, str, int, int]]:
    """(account, org, available, dr_posted) of expired grants with something left to take."""
    query = select(account.c.id, account.c.org_id, spendable, account.c.dr_posted).where(
        account.c.kind == "grant", account.c.expires_us <= now_us, spendable > 0
    )
    return [
        (name, org, available, posted)
        for name, org, available, posted in (await conn.execute(query)).all()
    ]


async def claim_refund(conn: AsyncConnection, request_id: str, amount_nano: int) -> bool:
    """Count the refund against the charge; False if it would be more than was charged."""
    claimed = await conn.execute(
        update(usage_event)
        .where(
            usage_event.c.request_id == request_id,
            usage_event.c.refunded_nano + amount_nano <= usage_event.c.charge_nano,
        )
        .values(refunded_nano=usage_event.c.refunded_nano + amount_nano)
    )
    return claimed.rowcount == 1


async def charged(conn: AsyncConnection, request_id: str) -> tuple[str, int, int] | None:
    """(org, charge, refunded so far) of a posted request."""
    query = select(
        usage_event.c.org_id, usage_event.c.charge_nano, usage_event.c.refunded_nano
    ).where(usage_event.c.request_id == request_id)
    row = (await conn.execute(query)).one_or_none()
    return None if row is None else (row[0], row[1], row[2])


async def transfers_of(conn: AsyncConnection, ref: str, kind: str) -> list[Transfer]:
    """The transfers behind one reference, by id."""
    query = select(transfer).where(transfer.c.ref == ref, transfer.c.kind == kind)
    rows = (await conn.execute(query.order_by(transfer.c.id))).all()
    return [Transfer(*row) for row in rows]


async def reopen_until(conn: AsyncConnection, account_id: str, until_us: int) -> None:
    """Let an expired grant live a little longer, so that a refund into it can be spent."""
    await conn.execute(
        update(account)
        .where(account.c.id == account_id, account.c.expires_us < until_us)
        .values(expires_us=until_us)
    )


async def record_payment(conn: AsyncConnection, **columns: object) -> bool:
    """Keep what a payment provider told us; False, and nothing changed, for a repeated event."""
    statement = insert_or_skip(payment_event).values(**columns).on_conflict_do_nothing()
    return (await conn.execute(statement)).rowcount == 1


async def remember_prices(
    database: Database, sheets: Sequence[tuple[str, str]], now_us: int
) -> None:
    """Keep (version, sheet) so that every charge can be computed again; known ones stay."""
    rows = [{"version": name, "sheet": sheet, "created_us": now_us} for name, sheet in sheets]
    async with money_transaction(database) as conn:
        await conn.execute(insert_or_skip(price).on_conflict_do_nothing(), rows)


async def balance(database: Database, org_id: str) -> tuple[int, int]:
    """(posted balance, pending in leases and durable holds) over all buckets."""
    query = select(
        func.coalesce(func.sum(account.c.cr_posted - account.c.dr_posted), 0),
        func.coalesce(func.sum(account.c.dr_pending), 0),
    ).where(account.c.org_id == org_id, account.c.limited == 1)
    async with database.read() as conn:
        row = (await conn.execute(query)).one()
    return int(row[0]), int(row[1])


async def lines(
    database: Database, org_id: str, before_us: int, before_id: str, limit: int
) -> list[Transfer]:
    """Transfers of an organisation before (time, id), newest first."""
    place = or_(
        transfer.c.ts_us < before_us,
        and_(transfer.c.ts_us == before_us, transfer.c.id < before_id),
    )
    query = (
        select(transfer)
        .where(transfer.c.org_id == org_id, place)
        .order_by(transfer.c.ts_us.desc(), transfer.c.id.desc())
        .limit(limit)
    )
    async with database.read() as conn:
        return [Transfer(*row) for row in (await conn.execute(query)).all()]
