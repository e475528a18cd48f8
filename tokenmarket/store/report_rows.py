"""Rows of finished requests as lists show them, and the operator's search over all organizations.

What a reader must know:

* Pages go by place (time, id), never by number: a page stays itself while requests come in.
* ``usage_event`` has one index for this, (org_id, accepted_us); every request would pay for more.
  How one organization's requests are found nevertheless is ``report_search``.
* Over all organizations the rollup says in which quarter-hours there is a match at all, and only
  those are read; what is not rolled up yet is found by rowid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Row, Select, and_, func, or_, select

from tokenmarket.store.database import Connection
from tokenmarket.store.money import usage_event
from tokenmarket.store.task_tables import task
from tokenmarket.store.usage_rollup import (
    QUARTER_US,
    Filters,
    by_rowid,
    duration,
    matches,
    of_org,
    rolled_up_to,
    rowid,
    usage_rollup,
)

BUCKETS_AT_ONCE: Final = 64
BUCKETS_MAX: Final = 512  # a page reads no more; the next one goes on from there


class Place(NamedTuple):
    """Between two requests of a list."""

    accepted_us: int
    request_id: str


class Search(NamedTuple):
    """Which requests. ``org_id`` None: of all organisations, for the operator only. ``from_us``
    and ``to_us`` are whole quarter-hours; ``before``: those that come after this place."""

    org_id: str | None
    from_us: int
    to_us: int
    filters: Filters = Filters()
    charge_min_nano: int = 0
    duration_min_us: int = 0
    id_prefix: str = ""
    before: Place | None = None


class EventRow(NamedTuple):
    """One finished request. ``receipt`` is as it was stored (see ``receipts.document``)."""

    request_id: str
    org_id: str
    key_id: str
    accepted_us: int
    finished_us: int
    operation: str
    model: str
    provider: str
    status: str
    error_code: str
    charge_nano: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    receipt: str


class Page(NamedTuple):
    """``next_place`` is None at the end. ``searched_to_us``: the search ended at its bound, with
    what is not older than this."""

    rows: list[EventRow]
    next_place: Place | None
    searched_to_us: int | None = None


class TaskEntry(NamedTuple):
    """A task that still runs."""

    request_id: str
    key_id: str
    accepted_us: int
    operation: str
    model: str
    provider: str
    receipt: str


event_columns = [usage_event.c[name] for name in EventRow._fields]
newest_first = (usage_event.c.accepted_us.desc(), usage_event.c.request_id.desc())


def picky(search: Search) -> bool:
    """Whether not everything is asked for."""
    thresholds = search.charge_min_nano or search.duration_min_us
    return bool(thresholds) or search.filters != Filters()


def cut(rows: list[EventRow], limit: int) -> Page:
    """The first ones; there is a next page if there are more."""
    last = rows[limit - 1] if len(rows) > limit else None
    return Page(rows[:limit], None if last is None else Place(last.accepted_us, last.request_id))


async def read(conn: Connection, query: Select[Any]) -> list[EventRow]:
    """Of a query of ``event_columns``."""
    return [EventRow(*row) for row in (await conn.execute(query)).all()]


def by_time_query(search: Search, limit: int) -> Select[Any]:
    """One organization, straight through its index."""
    return (
        select(*event_columns)
        .where(usage_event.c.org_id == search.org_id, *_within(search), *row_conditions(search))
        .order_by(*newest_first)
        .limit(limit)
    )


def by_id_query(search: Search, limit: int) -> Select[Any]:
    """Ids sort by time and the index of the key finds a beginning of one."""
    prefix = search.id_prefix
    query = (
        select(*event_columns)
        .where(
            usage_event.c.request_id >= prefix,
            usage_event.c.request_id < prefix + "\x7f",
            *of_org(search.org_id),
            *row_conditions(search),
        )
        .order_by(usage_event.c.request_id.desc())
        .limit(limit)
    )
    if search.before is None:
        return query
    return query.where(usage_event.c.request_id < search.before.request_id)


def _within(search: Search) -> list[ColumnElement[bool]]:
    """The time of a search, and everything after its place."""
    at = usage_event.c.accepted_us
    found: list[ColumnElement[bool]] = [at >= search.from_us, at < search.to_us]
    if search.before is not None:
        found += [at <= search.before.accepted_us, _after(search.before)]
    return found


def _after(place: Place) -> ColumnElement[bool]:
    at, request_id = usage_event.c.accepted_us, usage_event.c.request_id
    return or_(
        by_rowid(at) < place.accepted_us,
        and_(by_rowid(at) == place.accepted_us, request_id < place.request_id),
    )


def row_conditions(search: Search) -> list[ColumnElement[bool]]:
    """What a row must have, but for its time and organization."""
    found = matches(search.filters, usage_event)
    if search.charge_min_nano:
        found.append(usage_event.c.charge_nano >= search.charge_min_nano)
    if search.duration_min_us:
        found.append(duration >= search.duration_min_us)
    return found


# ------------------------------------------------------------------------------- by quarter-hours


async def page_of_all(conn: Connection, search: Search, limit: int) -> Page:
    """Of all organizations: what is not rolled up, and quarter-hours with a match, newest first,
    until it is enough."""
    found = {row.request_id: row for row in await read(conn, tail_query(search, limit + 1))}
    from_buckets = seen = 0
    below_us = search.to_us
    if search.before is not None:
        below_us = min(below_us, search.before.accepted_us + 1)
    while from_buckets <= limit and seen < BUCKETS_MAX:
        buckets = await _buckets(conn, search, below_us)
        if not buckets:
            break
        for start_us, orgs in buckets.items():
            rows = await read(conn, bucket_query(search, start_us, orgs, limit + 1))
            found.update((row.request_id, row) for row in rows)
            from_buckets += len(rows)
            seen += 1
            below_us = start_us
            if from_buckets > limit:
                break
    rows = sorted(found.values(), key=lambda row: (row.accepted_us, row.request_id), reverse=True)
    if from_buckets <= limit and seen >= BUCKETS_MAX:
        # older ones among what is not rolled up come again when their time is reached
        kept = [row for row in rows if row.accepted_us >= below_us]
        return cut(kept, limit) if len(kept) > limit else Page(kept, Place(below_us, ""), below_us)
    return cut(rows, limit)


async def _buckets(conn: Connection, search: Search, below_us: int) -> dict[int, list[str]]:
    """The next quarter-hours with a match and whose they are, newest first."""
    rows = (await conn.execute(buckets_query(search, below_us, BUCKETS_AT_ONCE))).all()
    found = _by_start(rows)
    if len(rows) == BUCKETS_AT_ONCE:  # the last one's organisations may not all be here
        if len(found) > 1:
            found.popitem()
        else:
            rows = (await conn.execute(_one_bucket_query(search, next(iter(found))))).all()
            found = _by_start(rows)
    return found


def _by_start(rows: Sequence[Row[int, str]]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(row[1])
    return found


def buckets_query(search: Search, below_us: int, limit: int) -> Select[int, str]:
    """(start, organisation) of quarter-hours before ``below_us`` that hold a match."""
    table = usage_rollup
    query = (
        select(table.c.start_us, table.c.org_id)
        .where(*_bucket_conditions(search), table.c.start_us < below_us)
        .group_by(table.c.start_us, table.c.org_id)
        .order_by(table.c.start_us.desc())
        .limit(limit)
    )
    return query if search.org_id is None else query.where(table.c.org_id == search.org_id)


def _one_bucket_query(search: Search, start_us: int) -> Select[int, str]:
    table = usage_rollup
    return (
        select(table.c.start_us, table.c.org_id)
        .where(*_bucket_conditions(search), table.c.start_us == start_us)
        .group_by(table.c.org_id)
    )


def _bucket_conditions(search: Search) -> list[ColumnElement[bool]]:
    table = usage_rollup
    found = [
        table.c.width_us == QUARTER_US,
        table.c.start_us >= search.from_us,
        *matches(search.filters, table),
    ]
    if search.charge_min_nano:
        found.append(table.c.charge_max_nano >= search.charge_min_nano)
    if search.duration_min_us:
        found.append(table.c.duration_max_us >= search.duration_min_us)
    return found


def bucket_query(search: Search, start_us: int, orgs: Sequence[str], limit: int) -> Select[Any]:
    """The matches of one quarter-hour."""
    at = usage_event.c.accepted_us
    query = (
        select(*event_columns)
        .where(
            usage_event.c.org_id.in_(orgs),
            at >= start_us,
            at < min(start_us + QUARTER_US, search.to_us),
            *row_conditions(search),
        )
        .order_by(*newest_first)
        .limit(limit)
    )
    return query if search.before is None else query.where(_after(search.before))


def tail_query(search: Search, limit: int) -> Select[Any]:
    """Matches among what is not rolled up yet."""
    at = by_rowid(usage_event.c.accepted_us)
    query = (
        select(*event_columns)
        .where(
            rowid > rolled_up_to,
            at >= search.from_us,
            at < search.to_us,
            *of_org(search.org_id),
            *row_conditions(search),
        )
        .order_by(*newest_first)
        .limit(limit)
    )
    return query if search.before is None else query.where(_after(search.before))


# ------------------------------------------------------------------------------------ other rows


async def first_bytes_us(conn: Connection, org_id: str, from_us: int, limit: int) -> list[int]:
    """Times to the first byte of the newest successful requests, as their receipts say."""
    newest = (
        select(usage_event.c.receipt, usage_event.c.status)
        .where(usage_event.c.org_id == org_id, usage_event.c.accepted_us >= from_us)
        .order_by(usage_event.c.accepted_us.desc())
        .limit(limit)
        .subquery()
    )
    # the compact receipt's eighth field; one that recovery wrote has none
    value = func.json_extract(newest.c.receipt, "$[7]")
    query = select(value).where(newest.c.status == "succeeded", value.is_not(None))
    return [int(found) for found in (await conn.execute(query)).scalars()]


async def running_tasks(conn: Connection, org_id: str) -> list[TaskEntry]:
    """Tasks (videos) that have not ended, newest first."""
    query = (
        select(
            task.c.request_id,
            task.c.key_id,
            task.c.created_us,
            task.c.operation,
            task.c.model,
            task.c.provider,
            task.c.receipt,
        )
        .where(task.c.org_id == org_id, task.c.completed_us == 0)
        .order_by(task.c.id.desc())
        .limit(100)
    )
    return [TaskEntry(*row) for row in (await conn.execute(query)).all()]
