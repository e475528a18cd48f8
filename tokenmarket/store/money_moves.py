"""Every statement that moves money: leases out and back, and posting a batch of the journal.

What a reader must know:

* Each public function is one transaction, all or nothing, and safe to repeat after a lost answer:
  posting by its compare-and-set on the cursor, leases because the caller reads its own rows again.
* ``Rejected`` will fail again the same way (a constraint); ``Unavailable`` may pass later, and may
  even have committed.
* A lease row belongs to one worker and is named ``<worker id>.<number>``; records of the journal
  know only the number.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from sqlalchemy import ColumnElement, func, insert, select, update
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from tokenmarket.store.database import Database
from tokenmarket.store.money import (
    account,
    journal_cursor,
    lease,
    spend_window,
    usage_event,
    worker,
)
from tokenmarket.store.tables import api_key

spendable = account.c.cr_posted - account.c.dr_posted - account.c.dr_pending


class Rejected(Exception):
    """The database will refuse this again: a constraint or a value it cannot hold."""


class Unavailable(Exception):
    """The database could not answer; the transaction may or may not have been committed."""


@asynccontextmanager
async def money_transaction(database: Database) -> AsyncGenerator[AsyncConnection]:
    """``database.begin()`` with its errors sorted into Rejected and Unavailable."""
    try:
        async with database.begin() as conn:
            yield conn
    except (IntegrityError, DataError, OverflowError, UnicodeError) as error:
        raise Rejected(str(getattr(error, "orig", error))) from error
    except SQLAlchemyError as error:
        raise Unavailable(str(getattr(error, "orig", error))) from error


# ------------------------------------------------------------------------------------------ workers


async def register_worker(
    database: Database, worker_id: str, journal_dir: str, pid: int, offset_b: int, now_us: int
) -> None:
    """A new live worker whose journal begins at ``offset_b``."""
    async with money_transaction(database) as conn:
        await conn.execute(
            insert(worker).values(
                id=worker_id,
                state="live",
                journal_dir=journal_dir,
                pid=pid,
                started_us=now_us,
                ended_us=0,
            )
        )
        await conn.execute(
            insert(journal_cursor).values(
                worker_id=worker_id, offset_b=offset_b, posted=0, updated_us=now_us
            )
        )


async def live_workers(database: Database) -> list[tuple[str, str]]:
    """(worker id, journal directory) of every worker that has not been closed or adopted."""
    query = select(worker.c.id, worker.c.journal_dir).where(worker.c.state == "live")
    async with database.read() as conn:
        return [(name, folder) for name, folder in (await conn.execute(query)).all()]


async def dead_workers(database: Database) -> list[tuple[str, int]]:
    """(worker id, when its journal was closed) of all that are done."""
    query = select(worker.c.id, worker.c.ended_us).where(worker.c.state == "dead")
    async with database.read() as conn:
        return [(name, ended_us) for name, ended_us in (await conn.execute(query)).all()]


async def read_cursor(database: Database, worker_id: str) -> int | None:
    """Where the posted part of this worker's journal ends."""
    query = select(journal_cursor.c.offset_b).where(journal_cursor.c.worker_id == worker_id)
    async with database.read() as conn:
        found: int | None = (await conn.execute(query)).scalar_one_or_none()
    return found


# ------------------------------------------------------------------------------------------- leases


class Slice(NamedTuple):
    """This worker's part of one balance bucket. ``rest`` = granted less captured and returned."""

    account_id: str
    scope: frozenset[str] | None
    priority: int
    expires_us: int
    lease_no: int
    rest_nano: int


class Limit(NamedTuple):
    """A spend limit to lease: the window is ``[starts_us, ends_us)``."""

    window_id: str
    owner_kind: str
    owner_id: str
    period: str
    starts_us: int
    ends_us: int
    limit_nano: int


class WindowSlice(NamedTuple):
    """This worker's part of a spend window. ``excess`` was leased before the limit was lowered."""

    limit: Limit
    lease_no: int
    rest_nano: int
    excess_nano: int


def lease_id(worker_id: str, number: int) -> str:
    return f"{worker_id}.{number}"


async def acquire(
    database: Database,
    worker_id: str,
    org_id: str,
    limits: Sequence[Limit],
    *,
    next_number: Callable[[], int],
    now_us: int,
) -> tuple[list[Slice], list[WindowSlice]]:
    """Lease everything the organisation has available, and the rest of every spend limit.

    Also the truth after a doubtful answer: it returns what this worker holds, whoever asked.
    """
    async with money_transaction(database) as conn:
        buckets = await _acquire_balance(conn, worker_id, org_id, next_number, now_us)
        windows = [
            await _acquire_window(conn, worker_id, limit, next_number, now_us) for limit in limits
        ]
    return buckets, windows


async def _acquire_balance(
    conn: AsyncConnection, worker_id: str, org_id: str, next_number: Callable[[], int], now_us: int
) -> list[Slice]:
    columns = (account.c.id, account.c.scope, account.c.priority, account.c.expires_us)
    query = (
        select(
            *columns, spendable, lease.c.id, lease.c.granted - lease.c.captured - lease.c.returned
        )
        .outerjoin(
            lease,
            (lease.c.target == account.c.id)
            & (lease.c.worker_id == worker_id)
            & (lease.c.kind == "balance")
            & (lease.c.state == "open"),
        )
        .where(account.c.org_id == org_id, account.c.limited == 1)
        .order_by(account.c.id)
    )
    found: list[Slice] = []
    for name, scope, priority, expires_us, available, lease_name, rest in (
        await conn.execute(query)
    ).all():
        want = available if expires_us > now_us else 0
        if want <= 0 and lease_name is None:
            continue
        if want > 0:
            taken = await conn.execute(
                update(account)
                .where(account.c.id == name, spendable >= want)
                .values(dr_pending=account.c.dr_pending + want)
            )
            if taken.rowcount != 1:
                continue  # somebody else was faster
            lease_name = await _grow_lease(
                conn, worker_id, "balance", name, lease_name, want, next_number, now_us
            )
        models = frozenset[str](json.loads(scope)) if scope else None
        found.append(
            Slice(name, models, priority, expires_us, _number(lease_name), (rest or 0) + want)
        )
    return found


async def _grow_lease(
    conn: AsyncConnection,
    worker_id: str,
    kind: str,
    target: str,
    lease_name: str | None,
    amount_nano: int,
    next_number: Callable[[], int],
    now_us: int,
) -> str:
    if lease_name is not None:
        await conn.execute(
            update(lease)
            .where(lease.c.id == lease_name)
            .values(granted=lease.c.granted + amount_nano, op_seq=lease.c.op_seq + 1)
        )
        return lease_name
    fresh = lease_id(worker_id, next_number())
    await conn.execute(
        insert(lease).values(
            id=fresh,
            kind=kind,
            target=target,
            worker_id=worker_id,
            state="open",
            granted=amount_nano,
            captured=0,
            returned=0,
            op_seq=1,
            opened_us=now_us,
            closed_us=0,
        )
    )
    return fresh


def _number(lease_name: str) -> int:
    return int(lease_name.rpartition(".")[2])


async def _acquire_window(
    conn: AsyncConnection, worker_id: str, limit: Limit, next_number: Callable[[], int], now_us: int
) -> WindowSlice:
    used, leased = await _open_window(conn, limit)
    found = (
        await conn.execute(
            select(lease.c.id, lease.c.granted - lease.c.captured - lease.c.returned).where(
                lease.c.kind == "window",
                lease.c.target == limit.window_id,
                lease.c.worker_id == worker_id,
                lease.c.state == "open",
            )
        )
    ).one_or_none()
    lease_name, rest = (None, 0) if found is None else (found[0], found[1])
    want = limit.limit_nano - used - leased
    if want > 0:
        taken = await conn.execute(
            update(spend_window)
            .where(
                spend_window.c.id == limit.window_id,
                spend_window.c.used_nano + spend_window.c.leased_nano + want
                <= spend_window.c.limit_nano,
            )
            .values(leased_nano=spend_window.c.leased_nano + want)
        )
        if taken.rowcount == 1:
            lease_name = await _grow_lease(
                conn, worker_id, "window", limit.window_id, lease_name, want, next_number, now_us
            )
            rest += want
    number = 0 if lease_name is None else _number(lease_name)
    return WindowSlice(limit, number, rest, max(0, -want))


async def _open_window(conn: AsyncConnection, limit: Limit) -> tuple[int, int]:
    """(used, leased) of the window at its present limit; made with what was already spent."""
    query = select(
        spend_window.c.used_nano, spend_window.c.leased_nano, spend_window.c.limit_nano
    ).where(spend_window.c.id == limit.window_id)
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        spent_query = select(func.coalesce(func.sum(usage_event.c.charge_nano), 0)).where(
            _spent_by(limit),
            usage_event.c.accepted_us >= limit.starts_us,
            usage_event.c.accepted_us < limit.ends_us,
        )
        spent = int((await conn.execute(spent_query)).scalar_one())
        await conn.execute(
            insert(spend_window).values(
                id=limit.window_id,
                owner_kind=limit.owner_kind,
                owner_id=limit.owner_id,
                period=limit.period,
                starts_us=limit.starts_us,
                ends_us=limit.ends_us,
                limit_nano=limit.limit_nano,
                cap_nano=max(limit.limit_nano, spent),
                used_nano=spent,
                leased_nano=0,
                opening_nano=spent,
            )
        )
        return spent, 0
    used, leased, old_limit = row
    if old_limit != limit.limit_nano:
        await conn.execute(
            update(spend_window)
            .where(spend_window.c.id == limit.window_id)
            .values(limit_nano=limit.limit_nano, cap_nano=max(limit.limit_nano, used + leased))
        )
    return used, leased


def _spent_by(limit: Limit) -> ColumnElement[bool]:
    """The usage that counts for this owner; a team's keys are its for good."""
    if limit.owner_kind == "key":
        return usage_event.c.key_id == limit.owner_id
    if limit.owner_kind == "team":
        keys = select(api_key.c.id).where(api_key.c.team_id == limit.owner_id)
        return usage_event.c.key_id.in_(keys)
    return usage_event.c.org_id == limit.owner_id


async def lease_rests(database: Database, worker_id: str) -> dict[int, int]:
    """What is left of every open lease of this worker, by lease number."""
    query = select(lease.c.id, lease.c.granted - lease.c.captured - lease.c.returned).where(
        lease.c.worker_id == worker_id, lease.c.state == "open"
    )
    async with database.read() as conn:
        return {_number(name): rest for name, rest in (await conn.execute(query)).all()}


class Return(NamedTuple):
    """Idle money of one lease going back; ``close`` when nothing of it is left or promised."""

    kind: str
    target: str
    lease_no: int
    amount_nano: int
    close: bool


async def give_back(
    database: Database, worker_id: str, returns: Sequence[Return], now_us: int
) -> None:
    """Return idle parts of leases. The caller has stopped spending them before it calls."""
    async with money_transaction(database) as conn:
        for item in sorted(returns, key=lambda item: (item.kind, item.target)):
            await return_part(
                conn,
                lease_id(worker_id, item.lease_no),
                item.kind,
                item.target,
                item.amount_nano,
                "closed" if item.close else "open",
                now_us,
            )


async def return_part(
    conn: AsyncConnection,
    lease_name: str,
    kind: str,
    target: str,
    amount_nano: int,
    state: str,
    now_us: int,
) -> None:
    if kind == "balance":
        await conn.execute(
            update(account)
            .where(account.c.id == target)
            .values(dr_pending=account.c.dr_pending - amount_nano)
        )
    else:
        await conn.execute(
            update(spend_window)
            .where(spend_window.c.id == target)
            .values(leased_nano=spend_window.c.leased_nano - amount_nano)
        )
    changed = await conn.execute(
        update(lease)
        .where(lease.c.id == lease_name, lease.c.state == "open")
        .values(
            returned=lease.c.returned + amount_nano,
            op_seq=lease.c.op_seq + 1,
            state=state,
            closed_us=now_us if state == "closed" else 0,
        )
    )
    if changed.rowcount != 1:
        raise Rejected(f"lease {lease_name} is not open")
