"""Posting: one stretch of a worker's journal becomes rows, exactly once, in one transaction.

The cursor moves by compare-and-set in the same transaction, so a repeated batch changes nothing and
says so (CursorMoved). All rows of a batch go in with a few statements: a row at a time would keep
the interpreter lock from the event loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import Update, bindparam, delete, insert, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or_skip
from sqlalchemy.ext.asyncio import AsyncConnection

from tokenmarket.store.bulk import BulkInsert
from tokenmarket.store.database import Database
from tokenmarket.store.money import (
    account,
    idempotency,
    journal_cursor,
    lease,
    spend_window,
    suspense,
    transfer,
    usage_event,
    worker,
)
from tokenmarket.store.money_moves import Rejected, lease_id, money_transaction, return_part


class CursorMoved(Exception):
    """The journal cursor in SQL is not where the poster left it. ``actual`` is None if absent."""

    def __init__(self, actual: int | None) -> None:
        super().__init__(f"the journal cursor stands at {actual}")
        self.actual = actual


class Batch(NamedTuple):
    """A stretch of one journal, ready for SQL. Rows are in the order of the tables' columns;
    amounts per account, lease and window are already added up."""

    worker_id: str
    from_b: int
    to_b: int
    ends: int
    events: list[tuple[object, ...]]
    transfers: list[tuple[object, ...]]
    accounts: dict[str, int]
    leases: dict[int, int]
    windows: dict[str, int]
    answers: list[dict[str, object]]


_insert_events = BulkInsert(usage_event)
_insert_transfers = BulkInsert(transfer)
_insert_answers = insert_or_skip(idempotency).on_conflict_do_nothing()

_move_cursor = (
    update(journal_cursor)
    .where(
        journal_cursor.c.worker_id == bindparam("w"), journal_cursor.c.offset_b == bindparam("old")
    )
    .values(
        offset_b=bindparam("new"),
        posted=journal_cursor.c.posted + bindparam("ends"),
        updated_us=bindparam("now"),
    )
)
_capture_account = (
    update(account)
    .where(account.c.id == bindparam("b_target"))
    .values(
        dr_posted=account.c.dr_posted + bindparam("b_amount"),
        dr_pending=account.c.dr_pending - bindparam("b_amount"),
    )
)
_capture_lease = (
    update(lease)
    .where(lease.c.id == bindparam("b_target"), lease.c.state == "open")
    .values(captured=lease.c.captured + bindparam("b_amount"))
)
_capture_window = (
    update(spend_window)
    .where(spend_window.c.id == bindparam("b_target"))
    .values(
        used_nano=spend_window.c.used_nano + bindparam("b_amount"),
        leased_nano=spend_window.c.leased_nano - bindparam("b_amount"),
    )
)


async def post(database: Database, batch: Batch, now_us: int) -> None:
    """Post one batch, exactly once. Raises CursorMoved, Rejected, Unavailable."""
    async with money_transaction(database) as conn:
        await _post(conn, batch, now_us)


async def _post(conn: AsyncConnection, batch: Batch, now_us: int) -> None:
    parameters = {
        "w": batch.worker_id,
        "old": batch.from_b,
        "new": batch.to_b,
        "ends": batch.ends,
        "now": now_us,
    }
    if (await conn.execute(_move_cursor, parameters)).rowcount != 1:
        query = select(journal_cursor.c.offset_b).where(
            journal_cursor.c.worker_id == batch.worker_id
        )
        raise CursorMoved((await conn.execute(query)).scalar_one_or_none())
    if batch.events:
        await _insert_events.run(conn, batch.events)
    if batch.transfers:
        await _insert_transfers.run(conn, batch.transfers)
    # accounts first, in the order of their ids, then leases: the lock order everywhere
    await _add_amounts(conn, _capture_account, sorted(batch.accounts.items()))
    leases = ((lease_id(batch.worker_id, n), amount) for n, amount in sorted(batch.leases.items()))
    await _add_amounts(conn, _capture_lease, leases)
    await _add_amounts(conn, _capture_window, sorted(batch.windows.items()))
    if batch.answers:
        await _store_answers(conn, batch.answers, now_us)


async def _add_amounts(
    conn: AsyncConnection, statement: Update, amounts: Iterable[tuple[str, int]]
) -> None:
    rows = [{"b_target": target, "b_amount": amount} for target, amount in amounts]
    if not rows:
        return
    changed = await conn.execute(statement, rows)
    if changed.rowcount != len(rows):
        raise Rejected("a capture names an account, lease or window that is not there")


async def _store_answers(
    conn: AsyncConnection, answers: Sequence[dict[str, object]], now_us: int
) -> None:
    # an expired answer makes room for the new one under the same key
    await conn.execute(delete(idempotency).where(idempotency.c.expires_us <= now_us))
    await conn.execute(_insert_answers, list(answers))


async def set_aside(
    database: Database,
    batch: Batch,
    *,
    request_id: str,
    reason: str,
    record: str,
    now_us: int,
) -> None:
    """Move the cursor over one record that SQL refuses, and keep it for a person to look at."""
    async with money_transaction(database) as conn:
        empty = batch._replace(
            ends=0,
            events=[],
            transfers=[],
            accounts={},
            leases={},
            windows={},
            answers=[],
        )
        await _post(conn, empty, now_us)
        await conn.execute(
            insert(suspense).values(
                worker_id=batch.worker_id,
                offset_b=batch.to_b,
                request_id=request_id,
                reason=reason,
                record=record,
                created_us=now_us,
            )
        )


async def close_worker(database: Database, batch: Batch, now_us: int) -> None:
    """The last batch of a journal, the return of all its leases and the worker's end: one
    transaction, won by exactly one of several adopters. Raises as ``post``."""
    async with money_transaction(database) as conn:
        await _post(conn, batch, now_us)
        query = select(
            lease.c.id,
            lease.c.kind,
            lease.c.target,
            lease.c.granted - lease.c.captured - lease.c.returned,
        ).where(lease.c.worker_id == batch.worker_id, lease.c.state == "open")
        for name, kind, target, rest in (
            await conn.execute(query.order_by(lease.c.kind, lease.c.target))
        ).all():
            await return_part(conn, name, kind, target, rest, "closed", now_us)
        await conn.execute(
            update(worker)
            .where(worker.c.id == batch.worker_id)
            .values(state="dead", ended_us=now_us)
        )
