"""Posting: one stretch of a worker's journal becomes rows, exactly once, in one transaction.

The cursor moves by compare-and-set in the same transaction, so a repeated batch changes nothing and
says so (CursorMoved). All rows of a batch go in with a few statements and one visit to the SQL
thread: a row or a statement at a time would keep the interpreter lock from the event loop.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or_skip
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from tokenmarket.store.bulk import BulkInsert, Prepared
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
from tokenmarket.store.money_moves import (
    Rejected,
    Unavailable,
    lease_id,
    money_transaction,
    return_part,
)


class CursorMoved(Exception):
    """The journal cursor in SQL is not where the poster left it. ``actual`` is None if absent."""

    def __init__(self, actual: int | None) -> None:
        super().__init__(f"the journal cursor stands at {actual}")
        self.actual = actual


class Batch(NamedTuple):
    """A stretch of one journal, ready for SQL. ``events`` are rows of EVENT_COLUMNS, one after the
    other in a flat list, ``transfers`` the same of TRANSFER_COLUMNS: captures, credited to
    ``credit``. Amounts per account, lease and window are already added up."""

    worker_id: str
    from_b: int
    to_b: int
    ends: int
    events: list[object]
    transfers: list[object]
    accounts: dict[str, int]
    leases: dict[int, int]
    windows: dict[str, int]
    answers: list[dict[str, object]]
    credit: str = ""


# As the journal's UsageEvent has them, then the two that are made of it.
EVENT_COLUMNS = (
    "request_id",
    "org_id",
    "key_id",
    "accepted_us",
    "finished_us",
    "operation",
    "model",
    "provider",
    "status",
    "error_code",
    "charge_nano",
    "uncollected_nano",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "units_json",
    "price_version",
    "windows",
    "receipt",
)
TRANSFER_COLUMNS = ("id", "org_id", "debit", "amount_nano", "ref", "ts_us")

_insert_events = BulkInsert(usage_event, EVENT_COLUMNS, ("refunded_nano",))
_insert_transfers = BulkInsert(transfer, TRANSFER_COLUMNS, ("kind", "credit", "reason"))
_insert_answer = Prepared(insert_or_skip(idempotency).on_conflict_do_nothing())
_delete_answers = Prepared(delete(idempotency).where(idempotency.c.expires_us <= bindparam("now")))

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
_read_cursor = select(journal_cursor.c.offset_b).where(journal_cursor.c.worker_id == bindparam("w"))
_move_cursor_here = Prepared(_move_cursor)
_read_cursor_here = Prepared(_read_cursor)
_capture_account = Prepared(
    update(account)
    .where(account.c.id == bindparam("b_target"))
    .values(
        dr_posted=account.c.dr_posted + bindparam("b_amount"),
        dr_pending=account.c.dr_pending - bindparam("b_amount"),
    )
)
_capture_lease = Prepared(
    update(lease)
    .where(lease.c.id == bindparam("b_target"), lease.c.state == bindparam("b_open"))
    .values(captured=lease.c.captured + bindparam("b_amount"))
)
_capture_window = Prepared(
    update(spend_window)
    .where(spend_window.c.id == bindparam("b_target"))
    .values(
        used_nano=spend_window.c.used_nano + bindparam("b_amount"),
        leased_nano=spend_window.c.leased_nano - bindparam("b_amount"),
    )
)


async def post(database: Database, batch: Batch, now_us: int) -> None:
    """Post one batch, exactly once, in one visit to the SQL thread. Raises CursorMoved, Rejected,
    Unavailable."""
    try:
        statements = await database.write_at_once(lambda conn: _post(conn, batch, now_us))
    except (sqlite3.IntegrityError, sqlite3.DataError, OverflowError, UnicodeError) as error:
        raise Rejected(str(error)) from error
    except (sqlite3.Error, SQLAlchemyError) as error:
        raise Unavailable(str(error)) from error
    database.operations += statements


def _post(conn: sqlite3.Connection, batch: Batch, now_us: int) -> int:
    """In the SQL thread, inside the transaction; returns how many statements it took."""
    cursor = _cursor_values(batch, now_us)
    if conn.execute(_move_cursor_here.text, _move_cursor_here.values(cursor)).rowcount != 1:
        found = conn.execute(_read_cursor_here.text, _read_cursor_here.values(cursor)).fetchone()
        raise CursorMoved(None if found is None else found[0])
    statements = 1
    statements += _insert_events.run(conn, (0,), batch.events)
    statements += _insert_transfers.run(conn, ("capture", batch.credit, ""), batch.transfers)
    # accounts first, in the order of their ids, then leases: the lock order everywhere
    statements += _add_amounts(conn, _capture_account, sorted(batch.accounts.items()))
    leases = [(lease_id(batch.worker_id, n), amount) for n, amount in sorted(batch.leases.items())]
    statements += _add_amounts(conn, _capture_lease, leases)
    statements += _add_amounts(conn, _capture_window, sorted(batch.windows.items()))
    if batch.answers:
        # an expired answer makes room for the new one under the same key
        conn.execute(_delete_answers.text, _delete_answers.values({"now": now_us}))
        rows = [_insert_answer.values(answer) for answer in batch.answers]
        conn.executemany(_insert_answer.text, rows)
        statements += 2
    return statements


def _cursor_values(batch: Batch, now_us: int) -> dict[str, object]:
    return {
        "w": batch.worker_id,
        "old": batch.from_b,
        "new": batch.to_b,
        "ends": batch.ends,
        "now": now_us,
    }


def _add_amounts(
    conn: sqlite3.Connection, statement: Prepared, amounts: Sequence[tuple[str, int]]
) -> int:
    if not amounts:
        return 0
    rows = [
        statement.values({"b_target": target, "b_amount": amount, "b_open": "open"})
        for target, amount in amounts
    ]
    if conn.executemany(statement.text, rows).rowcount != len(rows):
        raise Rejected("a capture names an account, lease or window that is not there")
    return 1


async def _move(conn: AsyncConnection, batch: Batch, now_us: int) -> None:
    """Only the cursor, for transactions that do something else besides."""
    values = _cursor_values(batch, now_us)
    if (await conn.execute(_move_cursor, values)).rowcount != 1:
        found = await conn.execute(_read_cursor, {"w": batch.worker_id})
        raise CursorMoved(found.scalar_one_or_none())


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
        await _move(conn, batch._replace(ends=0), now_us)
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
    """The end of a journal (``batch`` has no rows), the return of all its leases and the worker's
    end: one transaction, won by exactly one of several adopters. Raises as ``post``."""
    async with money_transaction(database) as conn:
        await _move(conn, batch, now_us)
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
