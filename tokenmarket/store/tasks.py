"""Rows of asynchronous tasks: read, listed, leased to one poller, stepped by compare-and-set.

What a reader must know:

* A ``TaskRow`` is what its reader saw. ``transition`` changes the row only if it still is at that
  ``state`` and ``state_seq``; None says that somebody else was faster: read again, decide again.
* Only live states are reached here. Terminal ones are reached with the money, in one transaction
  (``billing/tasks.py``), through ``end_row``.
* A claim counts ``state_seq`` up: whoever lost its lease can change nothing any more.
* Everything that answers a caller asks for the organisation too; another one's task is None.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict, Unpack

import msgspec
from sqlalchemy import func, insert, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tokenmarket.core.tasks import TERMINAL, may_step
from tokenmarket.store.database import Database
from tokenmarket.store.money import DAY_US, usage_event
from tokenmarket.store.money_moves import money_transaction
from tokenmarket.store.task_tables import task

IDEMPOTENT_US = DAY_US  # how long a client's key names the task it made

# as text, because SQLite uses a partial index only for its own words
_live = task.c.completed_us == literal_column("0")


class NewTask(msgspec.Struct, frozen=True, kw_only=True):
    """What is known when a task is accepted. Documents are JSON; unset texts are empty.

    ``id``: ``video_…`` of ``core.ids.new_id``. ``lease_owner`` submits it, until
    ``lease_until_us``; after that any poller finds it. ``next_poll_us`` is not after
    ``deadline_us``, or nobody would notice the deadline.
    """

    id: str
    org_id: str
    key_id: str
    request_id: str
    operation: str
    model: str
    provider: str
    upstream_model: str
    adapter: str
    price_version: str
    prices_json: str
    receipt: str
    created_us: int
    deadline_us: int
    next_poll_us: int
    credential_id: str = ""
    lease_owner: str = ""
    lease_until_us: int = 0
    request_json: str = "{}"
    upstream_ref_json: str = "{}"
    warnings_json: str = "[]"
    metadata_json: str = "{}"
    callback_url: str = ""
    client_ref: str = ""
    idempotency_key: str = ""
    fingerprint: str = ""


class TaskRow(msgspec.Struct, frozen=True):
    """One task as it was read; the fields are the columns of ``store/task_tables.py``."""

    id: str
    org_id: str
    key_id: str
    request_id: str
    operation: str
    model: str
    provider: str
    upstream_model: str
    adapter: str
    credential_id: str
    state: str
    state_seq: int
    upstream_id: str
    upstream_ref_json: str
    request_json: str
    provider_state: str
    progress: int | None
    error_json: str
    outputs_json: str
    usage_json: str
    warnings_json: str
    metadata_json: str
    callback_url: str
    client_ref: str
    held_nano: int
    charged_nano: int | None
    price_version: str
    prices_json: str
    receipt: str
    created_us: int
    submitted_us: int
    started_us: int
    completed_us: int
    deadline_us: int
    next_poll_us: int
    polls: int
    lease_owner: str
    lease_until_us: int
    hidden_us: int
    expires_us: int
    idempotency_key: str
    fingerprint: str

    @property
    def live(self) -> bool:
        return self.state not in TERMINAL


class TaskChanges(TypedDict, total=False):
    """What may change after a task was made; a route (provider to price) only before it is sent."""

    provider: str
    upstream_model: str
    adapter: str
    credential_id: str
    price_version: str
    prices_json: str
    request_json: str
    upstream_id: str
    upstream_ref_json: str
    provider_state: str
    progress: int | None
    error_json: str
    outputs_json: str
    usage_json: str
    warnings_json: str
    client_ref: str
    receipt: str
    submitted_us: int
    started_us: int
    deadline_us: int
    next_poll_us: int
    polls: int
    lease_owner: str
    lease_until_us: int
    expires_us: int


class TaskExists(Exception):
    """The idempotency key named a task before. The caller compares ``fingerprint``."""

    def __init__(self, row: TaskRow) -> None:
        super().__init__(f"{row.id} was made with this idempotency key")
        self.row = row


# ------------------------------------------------------------------------------ inside transactions


async def insert_task(conn: AsyncConnection, new: NewTask, held_nano: int) -> TaskRow:
    """The row in state ``accepted``. Raises TaskExists for a key used in the last 24 hours."""
    if new.idempotency_key:
        await _claim_key(conn, new)
    unset = {column.name: _unset(column.name) for column in task.columns}
    known = msgspec.structs.asdict(new)
    row = {**unset, **known, "state": "accepted", "held_nano": held_nano}
    made = await conn.execute(insert(task).values(row).returning(*task.columns))
    return TaskRow(*made.one())


def _unset(column: str) -> object:
    if column in ("progress", "charged_nano"):
        return None
    if column.endswith(("_us", "_seq", "_nano")) or column == "polls":
        return 0
    return ""


async def _claim_key(conn: AsyncConnection, new: NewTask) -> None:
    same = (
        task.c.org_id == new.org_id,
        task.c.operation == new.operation,
        task.c.idempotency_key == new.idempotency_key,
    )
    found = (await conn.execute(select(task).where(*same))).one_or_none()
    if found is None:
        return
    row = TaskRow(*found)
    # What was refused before it began was answered with an error: it may be tried again.
    if row.created_us + IDEMPOTENT_US > new.created_us and row.state != "rejected":
        raise TaskExists(row)
    await conn.execute(update(task).where(task.c.id == row.id).values(idempotency_key=""))


async def end_row(
    conn: AsyncConnection,
    row: TaskRow,
    to_state: str,
    charged_nano: int,
    now_us: int,
    changes: TaskChanges,
) -> TaskRow | None:
    """The step into a terminal state, by compare-and-set; the caller ends the hold with it."""
    if to_state not in TERMINAL or not may_step(row.state, to_state):
        raise ValueError(f"a task in {row.state} does not end in {to_state}")
    ended = {
        **changes,
        "charged_nano": charged_nano,
        "completed_us": now_us,
        "lease_owner": "",
        "lease_until_us": 0,
    }
    return await _step(conn, row, to_state, ended)


async def _step(
    conn: AsyncConnection, row: TaskRow, to_state: str, values: dict[str, object]
) -> TaskRow | None:
    statement = (
        update(task)
        .where(task.c.id == row.id, task.c.state == row.state, task.c.state_seq == row.state_seq)
        .values(state=to_state, state_seq=task.c.state_seq + 1, **values)
        .returning(*task.columns)
    )
    found = (await conn.execute(statement)).one_or_none()
    return None if found is None else TaskRow(*found)


# --------------------------------------------------------------------------------- steps and leases


async def transition(
    database: Database, row: TaskRow, to_state: str, **changes: Unpack[TaskChanges]
) -> TaskRow | None:
    """Step a live task to a live state (or only change it, ``to_state`` = its state).

    The new row, or None if it is not as ``row`` says any more. Raises ValueError for a step that
    does not exist, Rejected, Unavailable.
    """
    if to_state in TERMINAL or not may_step(row.state, to_state):
        raise ValueError(f"a task does not step from {row.state} to {to_state} here")
    async with money_transaction(database) as conn:
        return await _step(conn, row, to_state, {**changes})


async def claim_due(
    database: Database, owner: str, now_us: int, lease_us: int, limit: int
) -> list[TaskRow]:
    """Lease up to ``limit`` due tasks to ``owner`` until ``now_us + lease_us``, longest due first.

    A task is due when its ``next_poll_us`` has come and nobody's lease on it lasts.
    """
    due = (
        select(task.c.id)
        .where(_live, task.c.next_poll_us <= now_us, task.c.lease_until_us <= now_us)
        .order_by(task.c.next_poll_us, task.c.id)
        .limit(limit)
    )
    async with database.read() as conn:  # a write only if there is something to do
        if (await conn.execute(due.limit(1))).first() is None:
            return []
    claim = (
        update(task)
        .where(task.c.id.in_(due))
        .values(
            lease_owner=owner,
            lease_until_us=now_us + lease_us,
            state_seq=task.c.state_seq + 1,
        )
        .returning(*task.columns)
    )
    async with money_transaction(database) as conn:
        rows = [TaskRow(*found) for found in (await conn.execute(claim)).all()]
    return sorted(rows, key=lambda row: (row.next_poll_us, row.id))


async def release(database: Database, row: TaskRow, next_poll_us: int) -> None:
    """Give the lease of ``row.lease_owner`` back; nothing happens if it is somebody else's now."""
    statement = (
        update(task)
        .where(task.c.id == row.id, task.c.lease_owner == row.lease_owner, _live)
        .values(lease_owner="", lease_until_us=0, next_poll_us=next_poll_us)
    )
    async with money_transaction(database) as conn:
        await conn.execute(statement)


async def next_due_us(database: Database) -> int | None:
    """When the next live task is due: the earliest poll, or the end of the lease on it."""
    query = (
        select(task.c.next_poll_us, task.c.lease_until_us)
        .where(_live)
        .order_by(task.c.next_poll_us)
        .limit(100)
    )
    async with database.read() as conn:
        rows = (await conn.execute(query)).all()
    return min((max(poll_us, lease_us) for poll_us, lease_us in rows), default=None)


# ---------------------------------------------------------------------------------------- questions


async def by_id(database: Database, org_id: str, task_id: str) -> TaskRow | None:
    """None for an unknown id, another organisation's, and one that its caller deleted."""
    query = select(task).where(task.c.id == task_id, task.c.org_id == org_id, task.c.hidden_us == 0)
    async with database.read() as conn:
        found = (await conn.execute(query)).one_or_none()
    return None if found is None else TaskRow(*found)


async def any_by_id(database: Database, task_id: str) -> TaskRow | None:
    """For our own work, never for a caller: whoever it belongs to, deleted or not."""
    async with database.read() as conn:
        found = (await conn.execute(select(task).where(task.c.id == task_id))).one_or_none()
    return None if found is None else TaskRow(*found)


async def by_upstream_id(database: Database, provider: str, upstream_id: str) -> list[TaskRow]:
    """The tasks a provider's notice may mean; ids of a provider need not be unique."""
    query = select(task).where(
        task.c.provider == provider,
        task.c.upstream_id == upstream_id,
        task.c.upstream_id != literal_column("''"),
    )
    async with database.read() as conn:
        return [TaskRow(*found) for found in (await conn.execute(query.limit(10))).all()]


async def by_key(
    database: Database, org_id: str, operation: str, idempotency_key: str, now_us: int
) -> TaskRow | None:
    """The task that this idempotency key made in the last 24 hours."""
    query = select(task).where(
        task.c.org_id == org_id,
        task.c.operation == operation,
        task.c.idempotency_key == idempotency_key,
        task.c.idempotency_key != literal_column("''"),
        task.c.created_us > now_us - IDEMPOTENT_US,
    )
    async with database.read() as conn:
        found = (await conn.execute(query)).one_or_none()
    return None if found is None else TaskRow(*found)


async def page(
    database: Database,
    org_id: str,
    *,
    after: str = "",
    limit: int = 20,
    ascending: bool = False,
    states: Sequence[str] = (),
    model: str = "",
) -> tuple[list[TaskRow], bool]:
    """(tasks after the id ``after``, whether there are more); newest first unless ``ascending``."""
    query = select(task).where(task.c.org_id == org_id, task.c.hidden_us == 0)
    if after:
        query = query.where(task.c.id > after if ascending else task.c.id < after)
    if states:
        query = query.where(task.c.state.in_(states))
    if model:
        query = query.where(task.c.model == model)
    query = query.order_by(task.c.id if ascending else task.c.id.desc()).limit(limit + 1)
    async with database.read() as conn:
        rows = [TaskRow(*found) for found in (await conn.execute(query)).all()]
    return rows[:limit], len(rows) > limit


async def hide(database: Database, row: TaskRow, now_us: int) -> bool:
    """The caller deleted a finished task: it is shown no more, its books stay."""
    statement = (
        update(task)
        .where(task.c.id == row.id, task.c.completed_us > 0, task.c.hidden_us == 0)
        .values(hidden_us=now_us)
    )
    async with money_transaction(database) as conn:
        return (await conn.execute(statement)).rowcount == 1


async def refunded_nano(database: Database, row: TaskRow) -> int:
    """What has been given back of the charge."""
    query = select(usage_event.c.refunded_nano).where(usage_event.c.request_id == row.request_id)
    async with database.read() as conn:
        found: int | None = (await conn.execute(query)).scalar_one_or_none()
    return found or 0


async def live_counts(database: Database) -> dict[str, int]:
    """How many tasks are in each live state, for metrics."""
    query = select(task.c.state, func.count()).where(_live).group_by(task.c.state)
    async with database.read() as conn:
        return {state: int(count) for state, count in (await conn.execute(query)).all()}
