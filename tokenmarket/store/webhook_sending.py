"""The queue of webhook dispatches: claimed by lease, ended by compare-and-set, every try kept.

A process that dies leaves its leases to run out; the receiver tells repeats by the event's id.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec
from sqlalchemy import Select, and_, delete, insert, literal_column, select, update

from tokenmarket.store import turns
from tokenmarket.store.database import Connection, Database
from tokenmarket.store.money import NEVER_US, worker
from tokenmarket.store.money_moves import money_transaction
from tokenmarket.store.webhook_tables import (
    webhook_attempt,
    webhook_dispatch,
    webhook_endpoint,
    webhook_event,
)

_dispatches = webhook_dispatch.c
_open = (_dispatches.delivered_us == literal_column("0")) & (
    _dispatches.given_up_us == literal_column("0")
)


class Dispatch(msgspec.Struct, frozen=True):
    """One event on its way to one endpoint."""

    id: str
    org_id: str
    endpoint_id: str
    event_id: str
    created_us: int
    attempts: int
    next_attempt_us: int
    last_status: int | None
    last_error: str
    delivered_us: int
    given_up_us: int
    lease_owner: str
    lease_until_us: int
    type: str
    body: str


class Attempt(msgspec.Struct, frozen=True):
    """One try; ``status`` None: there was no answer, and ``error`` says why. ``answer``: the first
    bytes of what came back, as text."""

    number: int
    at_us: int
    duration_ms: int
    status: int | None
    error: str
    answer: str


_URL = webhook_endpoint.c.url
_ENDPOINT = and_(
    webhook_endpoint.c.id == _dispatches.endpoint_id,
    webhook_endpoint.c.org_id == _dispatches.org_id,
)
_EVENT = and_(
    webhook_event.c.id == _dispatches.event_id, webhook_event.c.org_id == _dispatches.org_id
)


async def claim_due(
    database: Database,
    owner: str,
    now_us: int,
    lease_us: int,
    limit: int,
    *,
    busy: Collection[str] = (),
    each: int = 1_000,
) -> list[tuple[Dispatch, str]]:
    """Lease up to ``limit`` due dispatches to ``owner``, each with its endpoint's URL; each counts
    as one more attempt. Those of endpoints that are off, or ``busy`` (ids), wait; of one endpoint
    at most ``each`` are taken, so that no other waits for a slow one."""
    on = select(webhook_endpoint.c.id).where(webhook_endpoint.c.disabled_us == 0)
    due = turns.due(
        webhook_dispatch,
        _dispatches.endpoint_id,
        _open,
        _dispatches.endpoint_id.in_(on),
        now_us=now_us,
        limit=limit,
        busy=busy,
        each=each,
    )
    async with database.read() as conn:
        if (await conn.execute(due.limit(1))).first() is None:
            return []
    claim = turns.lease(webhook_dispatch, due, owner, now_us + lease_us).returning(_dispatches.id)
    async with money_transaction(database) as conn:
        claimed = [str(row[0]) for row in (await conn.execute(claim)).all()]
        query = (
            select(*webhook_dispatch.c, webhook_event.c.type, webhook_event.c.body, _URL)
            .join(webhook_event, _EVENT)
            .join(webhook_endpoint, _ENDPOINT)
            .where(_dispatches.id.in_(claimed))
        )
        rows = (await conn.execute(query.order_by(_dispatches.id))).all()
    return [(Dispatch(*tuple(row)[:-1]), str(row[-1])) for row in rows]


async def take_over(database: Database) -> None:
    """Free what a worker held that is not live any more. At start, after the wallet has adopted
    what dead workers left."""
    alive = select(worker.c.id).where(worker.c.state == "live")
    async with money_transaction(database) as conn:
        await conn.execute(
            update(webhook_dispatch)
            .where(_open, _dispatches.lease_owner != "", _dispatches.lease_owner.not_in(alive))
            .values(lease_owner="", lease_until_us=0)
        )


async def finish(conn: Connection, row: Dispatch, attempt: Attempt, again_us: int | None) -> bool:
    """What became of an attempt: delivered (no ``error``), due again, or given up (``again_us``
    None). False if the lease was lost meanwhile, then nothing is written."""
    delivered = not attempt.error
    now_us = attempt.at_us
    statement = (
        update(webhook_dispatch)
        .where(
            _dispatches.id == row.id,
            _dispatches.lease_owner == row.lease_owner,
            _dispatches.attempts == row.attempts,
            _open,
        )
        .values(
            last_status=attempt.status,
            last_error=attempt.error,
            delivered_us=now_us if delivered else 0,
            given_up_us=now_us if not delivered and again_us is None else 0,
            next_attempt_us=NEVER_US if delivered or again_us is None else again_us,
            lease_owner="",
            lease_until_us=0,
        )
    )
    if (await conn.execute(statement)).rowcount != 1:
        return False
    await conn.execute(
        insert(webhook_attempt).values(
            dispatch_id=row.id, org_id=row.org_id, **msgspec.structs.asdict(attempt)
        )
    )
    return True


async def dispatches_of(
    conn: Connection, org_id: str, endpoint_id: str, *, after: str = "", limit: int = 50
) -> list[Dispatch]:
    """Newest first; ``after``: those older than this id."""
    query = (
        select(*webhook_dispatch.c, webhook_event.c.type, webhook_event.c.body)
        .join(webhook_event, _EVENT)
        .where(_dispatches.org_id == org_id, _dispatches.endpoint_id == endpoint_id)
    )
    if after:
        query = query.where(_dispatches.id < after)
    found = await conn.execute(query.order_by(_dispatches.id.desc()).limit(limit))
    return [Dispatch(*row) for row in found]


async def dispatch_by_id(
    conn: Connection, org_id: str, endpoint_id: str, dispatch_id: str
) -> Dispatch | None:
    query = (
        select(*webhook_dispatch.c, webhook_event.c.type, webhook_event.c.body)
        .join(webhook_event, _EVENT)
        .where(
            _dispatches.org_id == org_id,
            _dispatches.endpoint_id == endpoint_id,
            _dispatches.id == dispatch_id,
        )
    )
    row = (await conn.execute(query)).one_or_none()
    return None if row is None else Dispatch(*row)


async def attempts_of(
    conn: Connection, org_id: str, dispatch_ids: list[str]
) -> dict[str, list[Attempt]]:
    """By dispatch, oldest first."""
    columns = [webhook_attempt.c[name] for name in Attempt.__struct_fields__]
    query = (
        select(webhook_attempt.c.dispatch_id, *columns)
        .where(webhook_attempt.c.org_id == org_id, webhook_attempt.c.dispatch_id.in_(dispatch_ids))
        .order_by(webhook_attempt.c.dispatch_id, webhook_attempt.c.number)
    )
    found: dict[str, list[Attempt]] = {}
    for dispatch_id, *values in await conn.execute(query):
        found.setdefault(dispatch_id, []).append(Attempt(*values))
    return found


async def forget_before(conn: Connection, at_us: int) -> int:
    """Events older than this go, with all that was tried; how many dispatches."""
    old, gone = old_queries(at_us)
    await conn.execute(delete(webhook_attempt).where(webhook_attempt.c.dispatch_id.in_(gone)))
    result = await conn.execute(delete(webhook_dispatch).where(_dispatches.event_id.in_(old)))
    await conn.execute(delete(webhook_event).where(webhook_event.c.created_us < at_us))
    return result.rowcount


def old_queries(at_us: int) -> tuple[Select[str], Select[str]]:
    """The ids of events that are older, and of their dispatches."""
    old = select(webhook_event.c.id).where(webhook_event.c.created_us < at_us)
    return old, select(_dispatches.id).where(_dispatches.event_id.in_(old))
