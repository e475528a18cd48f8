"""Usage added up per quarter-hour and per hour, and sums over any time that equal the raw rows'.

What a reader must know:

* ``usage_event`` is only ever added to, in the order of its rowid. ``meta.usage_rolled_up`` is the
  last rowid that is in ``usage_rollup``; ``roll_up`` moves both in one transaction. So a request
  that ends hours after it began still lands in the quarter-hour of its beginning, and every sum is
  rollup + the rows behind that rowid: exact at any moment, in one statement.
* All time zones of today are whole quarter-hours away from UTC; hours serve most of them.
* It is one ``INSERT ... SELECT`` per few thousand requests. Python sees none of them.
* What was refunded later is not in here: a refund is a movement of the ledger, not usage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Index,
    Select,
    Table,
    Text,
    case,
    func,
    insert,
    literal,
    literal_column,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects.sqlite import insert as insert_or_add

from tokenmarket.store.database import Connection, Database
from tokenmarket.store.money import usage_event
from tokenmarket.store.tables import int_column as _int
from tokenmarket.store.tables import meta, metadata

QUARTER_US: Final = 900_000_000
HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US
BATCH_ROWS: Final = 20_000  # about 50 ms in the SQL thread
CURSOR: Final = "usage_rolled_up"

DIMENSIONS = ("model", "provider", "key_id", "operation", "status", "error_code")
TOKENS = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")
SUMS = ("requests", "charge_nano", "uncollected_nano", *TOKENS, "duration_us")
_NUMBERS = ("failed", *SUMS)


usage_rollup = Table(
    "usage_rollup",
    metadata,
    Column("org_id", Text, primary_key=True, nullable=False),
    _int("width_us", key=True),  # QUARTER_US | HOUR_US
    _int("start_us", key=True),
    *(Column(name, Text, primary_key=True, nullable=False) for name in DIMENSIONS),
    *(_int(name) for name in SUMS),
    _int("charge_max_nano"),
    _int("duration_max_us"),
    Index("ix_usage_rollup_width_us", "width_us", "start_us"),
)

rowid: ColumnElement[int] = literal_column("usage_event.rowid", BigInteger)
duration: ColumnElement[int] = usage_event.c.finished_us - usage_event.c.accepted_us
rolled_up_to = (
    select(func.coalesce(func.max(meta.c.number), 0)).where(meta.c.name == CURSOR).scalar_subquery()
)


class Filters(NamedTuple):
    """Which requests; empty or None: all. Values of one field are alternatives."""

    models: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    keys: tuple[str, ...] | None = None  # an empty one matches nothing: a team without keys
    operations: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    error_codes: tuple[str, ...] = ()


class Bucketing(NamedTuple):
    """Local days or hours: unix time plus an offset that changes at some instants (DST).

    ``offsets``: (valid until, offset), in order; the last is valid for ever.
    """

    size_us: int
    offsets: tuple[tuple[int, int], ...]


async def roll_up(database: Database) -> int:
    """Add up at most ``BATCH_ROWS`` new requests; how many. Call again until it is 0."""
    async with database.begin() as conn:
        done = await rolled_up(conn)
        newest = await newest_row(conn)
        if newest <= done:
            return 0
        last = min(newest, done + BATCH_ROWS)
        for width_us in (QUARTER_US, HOUR_US):
            await _add(conn, width_us, done, last)
        moved = await conn.execute(update(meta).where(meta.c.name == CURSOR).values(number=last))
        if moved.rowcount == 0:
            await conn.execute(insert(meta).values(name=CURSOR, number=last, text=""))
    return last - done


async def _add(conn: Connection, width_us: int, after: int, last: int) -> None:
    start = usage_event.c.accepted_us - usage_event.c.accepted_us % width_us
    keys = {
        "org_id": usage_event.c.org_id,
        "width_us": literal(width_us, BigInteger),
        "start_us": start,
        **{name: usage_event.c[name] for name in DIMENSIONS},
    }
    values = {
        **_raw_sums(),
        "charge_max_nano": func.max(usage_event.c.charge_nano),
        "duration_max_us": func.max(duration),
    }
    found = (
        select(*keys.values(), *values.values())
        .where(rowid > after, rowid <= last)
        .group_by(usage_event.c.org_id, start, *(usage_event.c[name] for name in DIMENSIONS))
    )
    statement = insert_or_add(usage_rollup).from_select([*keys, *values], found)
    row, new = usage_rollup.c, statement.excluded
    added = {name: row[name] + new[name] for name in SUMS}
    # sqlite's max of two values
    highest = {
        name: func.max(row[name], new[name]) for name in ("charge_max_nano", "duration_max_us")
    }
    await conn.execute(
        statement.on_conflict_do_update(index_elements=[*keys], set_={**added, **highest})
    )


def _raw_sums() -> dict[str, ColumnElement[int]]:
    return {
        "requests": func.count(),
        **{name: func.sum(usage_event.c[name]) for name in SUMS[1:-1]},
        "duration_us": func.sum(duration),
    }


async def rolled_up(conn: Connection) -> int:
    """The last rowid of ``usage_event`` that is in the rollup."""
    return int((await conn.execute(select(rolled_up_to))).scalar_one())


async def newest_row(conn: Connection) -> int:
    """The last rowid of ``usage_event``; 0 without any."""
    query = select(func.coalesce(func.max(rowid), 0)).select_from(usage_event)
    return int((await conn.execute(query)).scalar_one())


async def is_complete(conn: Connection) -> bool:
    """Whether the rollup counts as many requests as lie behind its cursor: false if somebody took
    rows out of ``usage_event`` or numbered them anew."""
    hours = select(func.coalesce(func.sum(usage_rollup.c.requests), 0)).where(
        usage_rollup.c.width_us == HOUR_US
    )
    rows = select(func.count()).select_from(usage_event).where(rowid <= rolled_up_to)
    found = (await conn.execute(select(hours.scalar_subquery(), rows.scalar_subquery()))).one()
    return int(found[0]) == int(found[1])


async def forget(conn: Connection) -> None:
    """Empty the rollup; ``roll_up`` makes it anew."""
    await conn.execute(usage_rollup.delete())
    await conn.execute(update(meta).where(meta.c.name == CURSOR).values(number=0))


def matches(filters: Filters, table: Table) -> list[ColumnElement[bool]]:
    """The conditions on ``usage_event`` or ``usage_rollup``, which have the same columns."""
    columns = table.c
    lists = (
        (columns.model, filters.models),
        (columns.provider, filters.providers),
        (columns.operation, filters.operations),
        (columns.status, filters.statuses),
        (columns.error_code, filters.error_codes),
    )
    found: list[ColumnElement[bool]] = [column.in_(some) for column, some in lists if some]
    if filters.keys is not None:
        found.append(columns.key_id.in_(filters.keys))
    return found


async def sums(
    conn: Connection,
    org_id: str | None,
    from_us: int,
    to_us: int,
    groups: Sequence[str],
    filters: Filters,
    bucketing: Bucketing | None = None,
) -> list[dict[str, int | str]]:
    """``SUMS`` and ``failed`` over [from_us, to_us) per group; groups are of DIMENSIONS, or
    ``org_id``. With ``bucketing`` each row has ``bucket`` too: the number of its local day or hour.

    Both times must be whole quarter-hours (ValueError). ``org_id`` None: all, for the operator.
    """
    if from_us % QUARTER_US or to_us % QUARTER_US:
        raise ValueError("sums are over whole quarter-hours")
    query, names = sums_query(org_id, from_us, to_us, groups, filters, bucketing)
    rows = (await conn.execute(query)).all()
    return [
        dict(zip((*names, *_NUMBERS), _plain(row, len(names)), strict=True))
        for row in rows
        if row[-len(SUMS)]
    ]


def sums_query(
    org_id: str | None,
    from_us: int,
    to_us: int,
    groups: Sequence[str],
    filters: Filters,
    bucketing: Bucketing | None,
) -> tuple[Select[Any], list[str]]:
    """The query and the names of its groups."""
    which = (org_id, from_us, to_us, groups, filters, bucketing)
    both = union_all(_rolled(*which), _tail(*which)).subquery()
    names = [*groups, *(("bucket",) if bucketing is not None else ())]
    keys = [both.c[name] for name in names]
    query = select(*keys, *(func.sum(both.c[name]).label(name) for name in _NUMBERS))
    if keys:
        query = query.group_by(*keys).order_by(*keys)
    return query, names


def _plain(row: Sequence[object], keys: int) -> list[int | str]:
    """SUM of BIGINT is NUMERIC on PostgreSQL."""
    found: list[int | str] = []
    for index, value in enumerate(row):
        found.append(value if index < keys and isinstance(value, str) else int(str(value)))
    return found


def _width_us(from_us: int, to_us: int, bucketing: Bucketing | None) -> int:
    """Hours, if everything falls on whole hours."""
    places = [from_us, to_us]
    if bucketing is not None:
        places.append(bucketing.size_us)
        places += [until_us for until_us, _ in bucketing.offsets[:-1]]
        places += [offset_us for _, offset_us in bucketing.offsets]
    return QUARTER_US if any(place % HOUR_US for place in places) else HOUR_US


def _rolled(
    org_id: str | None,
    from_us: int,
    to_us: int,
    groups: Sequence[str],
    filters: Filters,
    bucketing: Bucketing | None,
) -> Select[Any]:
    table = usage_rollup
    failed = case((table.c.status == "succeeded", 0), else_=table.c.requests)
    query = select(
        *(table.c[name] for name in groups),
        *bucket(table.c.start_us, bucketing),
        failed.label("failed"),
        *(table.c[name] for name in SUMS),
    ).where(
        table.c.width_us == _width_us(from_us, to_us, bucketing),
        table.c.start_us >= from_us,
        table.c.start_us < to_us,
        *matches(filters, table),
    )
    return query if org_id is None else query.where(table.c.org_id == org_id)


def _tail(
    org_id: str | None,
    from_us: int,
    to_us: int,
    groups: Sequence[str],
    filters: Filters,
    bucketing: Bucketing | None,
) -> Select[Any]:
    """What is not rolled up yet, found by rowid."""
    table = usage_event
    measures = {
        "requests": literal(1, BigInteger),
        **{name: table.c[name] for name in SUMS[1:-1]},
        "duration_us": duration,
    }
    return select(
        *(table.c[name] for name in groups),
        *bucket(table.c.accepted_us, bucketing),
        case((table.c.status == "succeeded", 0), else_=1).label("failed"),
        *(measure.label(name) for name, measure in measures.items()),
    ).where(
        rowid > rolled_up_to,
        by_rowid(table.c.accepted_us) >= from_us,
        by_rowid(table.c.accepted_us) < to_us,
        *of_org(org_id),
        *matches(filters, table),
    )


def of_org(org_id: str | None) -> list[ColumnElement[bool]]:
    """For a search by rowid: the index on organisations must not be taken."""
    return [] if org_id is None else [usage_event.c.org_id.concat("") == org_id]


def by_rowid(column: ColumnElement[int]) -> ColumnElement[int]:
    """The column's value, useless for an index: SQLite would take one and read a whole year."""
    return column + 0


def bucket(at_us: ColumnElement[int], bucketing: Bucketing | None) -> list[ColumnElement[int]]:
    """The number of the local day or hour, as a column ``bucket``; nothing without bucketing."""
    if bucketing is None:
        return []
    *changes, (_, last) = bucketing.offsets
    offset: ColumnElement[int] = literal(last, BigInteger)
    if changes:
        whens = [
            (at_us < until_us, literal(offset_us, BigInteger)) for until_us, offset_us in changes
        ]
        offset = case(*whens, else_=offset)
    return [((at_us + offset) // bucketing.size_us).label("bucket")]
