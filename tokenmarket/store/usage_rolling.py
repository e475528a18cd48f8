"""Adds finished requests to the rollup and the series, a few thousand at a time, by SQL alone.

Each batch is added up once into a temporary table; everything else is made from that. Where
requests are many they fall into few rows there, and one visit is all that is done per request.
Where they do not (a database of a year is added up anew), a batch is made smaller, so that
posting never waits long.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    CompoundSelect,
    MetaData,
    Select,
    Table,
    Text,
    case,
    func,
    insert,
    literal,
    select,
    true,
    union,
    union_all,
    update,
)
from sqlalchemy.dialects.sqlite import insert as insert_or_add
from sqlalchemy.schema import CreateTable

from tokenmarket.store.database import Connection, Database
from tokenmarket.store.money import usage_event
from tokenmarket.store.tables import int_column as _int
from tokenmarket.store.tables import meta
from tokenmarket.store.usage_rollup import (
    BLOCKS_US,
    CURSOR,
    DAY_US,
    DIMENSIONS,
    EVERYTHING,
    HOUR_US,
    NUMBERS,
    QUARTER_US,
    SUMS,
    duration,
    rolled_up_to,
    rowid,
    usage_name,
    usage_rollup,
    usage_series,
)

BATCH_ROWS: Final = 20_000
OLD_ROWS: Final = 2_000  # of a long time, which have little in common

_HIGHEST: Final = ("charge_max_nano", "duration_max_us")

_delta = Table(
    "usage_delta",
    MetaData(),
    Column("org_id", Text, nullable=False),
    _int("start_us"),
    *(Column(name, Text, nullable=False) for name in DIMENSIONS),
    *(_int(name) for name in (*NUMBERS, *_HIGHEST, "first_us", "last_us")),
    prefixes=["TEMPORARY"],
)


async def roll_up(database: Database) -> int:
    """Add up at most ``BATCH_ROWS`` new requests; how many. Call again until it is 0."""
    async with database.begin() as conn:
        done = await rolled_up(conn)
        newest = await newest_row(conn)
        if newest <= done:
            return 0
        last = min(newest, done + BATCH_ROWS)
        if last - done > OLD_ROWS and await _is_old(conn, done + 1, last):
            last = done + OLD_ROWS
        await conn.execute(CreateTable(_delta, if_not_exists=True))
        await conn.execute(_delta.delete())
        await _collect(conn, done, last)
        for width_us in (QUARTER_US, HOUR_US):
            await _add_to_rollup(conn, width_us)
        await _name(conn)
        await _add_to_series(conn)
        moved = await conn.execute(update(meta).where(meta.c.name == CURSOR).values(number=last))
        if moved.rowcount == 0:
            await conn.execute(insert(meta).values(name=CURSOR, number=last, text=""))
    return last - done


async def _is_old(conn: Connection, first: int, last: int) -> bool:
    """Whether these requests were not all made within the hour, as those of a running server."""
    query = select(usage_event.c.accepted_us).where(rowid.in_((first, last)))
    at_us = (await conn.execute(query)).scalars().all()
    return max(at_us) - min(at_us) > HOUR_US


async def _collect(conn: Connection, after: int, last: int) -> None:
    """The batch by quarter-hour and everything that can be filtered."""
    at = usage_event.c.accepted_us
    start = at - at % QUARTER_US
    good = func.sum(usage_event.c.status == "succeeded")
    keys = [usage_event.c.org_id, start, *(usage_event.c[name] for name in DIMENSIONS)]
    found = (
        select(
            *keys,
            func.count() - good,
            func.count(),
            *(func.sum(usage_event.c[name]) for name in SUMS[1:-1]),
            func.sum(duration),
            func.max(usage_event.c.charge_nano),
            func.max(duration),
            func.min(at),
            func.max(at),
        )
        .where(rowid > after, rowid <= last)
        .group_by(*keys)
    )
    columns = [column.name for column in _delta.c]
    await conn.execute(insert(_delta).from_select(columns, found))


async def _add_to_rollup(conn: Connection, width_us: int) -> None:
    width = literal(width_us, BigInteger)
    keys = {
        "org_id": _delta.c.org_id,
        "width_us": width,
        "start_us": _delta.c.start_us - _delta.c.start_us % width,
        **{name: _delta.c[name] for name in DIMENSIONS},
    }
    values = {
        **{name: func.sum(_delta.c[name]) for name in SUMS},
        **{name: func.max(_delta.c[name]) for name in _HIGHEST},
    }
    grouped = [keys["org_id"], keys["start_us"], *(_delta.c[name] for name in DIMENSIONS)]
    found = select(*keys.values(), *values.values()).group_by(*grouped)
    await _add(conn, usage_rollup, list(keys), list(values), found)


async def _name(conn: Connection) -> None:
    """Numbers for names that have none."""
    names = union(
        *(
            select(_delta.c.org_id, literal(name, Text).label("dimension"), value.label("value"))
            for name, value in _values().items()
        )
    ).subquery()
    last = select(func.coalesce(func.max(usage_name.c.id), 0)).scalar_subquery()
    number = func.row_number().over(order_by=[names.c.org_id, names.c.dimension, names.c.value])
    known = (
        select(usage_name.c.id)
        .where(
            usage_name.c.org_id == names.c.org_id,
            usage_name.c.dimension == names.c.dimension,
            usage_name.c.value == names.c.value,
        )
        .exists()
    )
    new = select(names.c.org_id, names.c.dimension, names.c.value, last + number).where(~known)
    await conn.execute(insert(usage_name).from_select(["org_id", "dimension", "value", "id"], new))


def _values() -> dict[str, ColumnElement[str]]:
    return {EVERYTHING: literal("", Text), **{name: _delta.c[name] for name in DIMENSIONS}}


def _literals(name: str, values: tuple[str, ...] | tuple[int, ...]) -> CompoundSelect[Any]:
    type_ = Text if isinstance(values[0], str) else BigInteger
    return union_all(*(select(literal(value, type_).label(name)) for value in values))


async def _add_to_series(conn: Connection) -> None:
    """By name first, because that leaves few rows to be added to blocks of every width."""
    highest = dict.fromkeys((*_HIGHEST, "last_us"), func.max)
    sums = dict.fromkeys(NUMBERS, func.sum) | highest | {"first_us": func.min}
    values = _values()
    kinds = _literals("dimension", tuple(values)).subquery()
    named = (
        select(
            usage_name.c.id,
            _delta.c.start_us,
            *(add(_delta.c[name]).label(name) for name, add in sums.items()),
        )
        .select_from(_delta.join(kinds, true()).join(usage_name, true()))
        .where(
            usage_name.c.org_id == _delta.c.org_id,
            usage_name.c.dimension == kinds.c.dimension,
            usage_name.c.value == case(values, value=kinds.c.dimension),
        )
        .group_by(usage_name.c.id, _delta.c.start_us)
        .subquery()
    )
    width = _literals("width_us", BLOCKS_US).subquery()
    start = named.c.start_us - named.c.start_us % width.c.width_us
    since = {"first_us": start, "last_us": start}
    keys = {"name_id": named.c.id, "width_us": width.c.width_us, "start_us": start}
    found = (
        select(
            *keys.values(),
            *(add(named.c[name] - since.get(name, 0)) for name, add in sums.items()),
        )
        .select_from(named.join(width, true()))
        .group_by(*keys.values())
    )
    await _add(conn, usage_series, list(keys), list(sums), found)


async def _add(
    conn: Connection, table: Table, keys: list[str], values: list[str], found: Select[object]
) -> None:
    """New rows, or more on those that are there."""
    statement = insert_or_add(table).from_select([*keys, *values], found)
    row, new = table.c, statement.excluded
    changes: dict[str, ColumnElement[int]] = {}
    for name in values:  # sqlite's min and max of two values
        if name in (*_HIGHEST, "last_us"):
            changes[name] = func.max(row[name], new[name])
        elif name == "first_us":
            changes[name] = func.min(row[name], new[name])
        else:
            changes[name] = row[name] + new[name]
    await conn.execute(statement.on_conflict_do_update(index_elements=keys, set_=changes))


async def rolled_up(conn: Connection) -> int:
    """The last rowid of ``usage_event`` that is added up."""
    return int((await conn.execute(select(rolled_up_to))).scalar_one())


async def newest_row(conn: Connection) -> int:
    """The last rowid of ``usage_event``; 0 without any."""
    query = select(func.coalesce(func.max(rowid), 0)).select_from(usage_event)
    return int((await conn.execute(query)).scalar_one())


async def is_complete(conn: Connection) -> bool:
    """Whether rollup and series count as many requests as lie behind the cursor: false if somebody
    took rows out of ``usage_event`` or numbered them anew, and after an upgrade."""
    hours = select(func.coalesce(func.sum(usage_rollup.c.requests), 0)).where(
        usage_rollup.c.width_us == HOUR_US
    )
    days = select(func.coalesce(func.sum(usage_series.c.requests), 0)).where(
        usage_series.c.name_id.in_(
            select(usage_name.c.id).where(usage_name.c.dimension == EVERYTHING)
        ),
        usage_series.c.width_us == DAY_US,
    )
    rows = select(func.count()).select_from(usage_event).where(rowid <= rolled_up_to)
    query = select(hours.scalar_subquery(), days.scalar_subquery(), rows.scalar_subquery())
    found = (await conn.execute(query)).one()
    return int(found[0]) == int(found[1]) == int(found[2])


async def forget(conn: Connection) -> None:
    """Empty everything that was added up; ``roll_up`` makes it anew."""
    for table in (usage_rollup, usage_series, usage_name):
        await conn.execute(table.delete())
    await conn.execute(update(meta).where(meta.c.name == CURSOR).values(number=0))
