"""Sums over any time that equal the raw rows', to the last digit and at any moment.

What a reader must know:

* What asks for one dimension at most (a group, a filter, or both of the same) is answered by
  ``usage_series``: a few blocks per local day. The rest reads ``usage_rollup``, which can be long.
* The rows that are not added up yet come on top, found by rowid; all of one snapshot.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import CTE, ColumnElement, Select, case, func, select, true

from tokenmarket.store.database import Connection
from tokenmarket.store.money import usage_event
from tokenmarket.store.usage_rollup import (
    BLOCKS_US,
    DIMENSIONS,
    EVERYTHING,
    HOUR_US,
    NUMBERS,
    QUARTER_US,
    SUMS,
    Bucketing,
    Filters,
    bucket,
    by_rowid,
    duration,
    matches,
    of_org,
    rolled_up_to,
    rowid,
    usage_name,
    usage_rollup,
    usage_series,
)

SumRow = dict[str, "int | str"]
_encode = msgspec.json.Encoder().encode


async def sums(
    conn: Connection,
    org_id: str | None,
    from_us: int,
    to_us: int,
    groups: Sequence[str],
    filters: Filters,
    bucketing: Bucketing | None = None,
) -> list[SumRow]:
    """``SUMS`` and ``failed`` over [from_us, to_us) per group; groups are of DIMENSIONS, or
    ``org_id``. With ``bucketing`` each row has ``bucket`` too: the number of its local day or hour.

    Both times must be whole quarter-hours (ValueError). ``org_id`` None: all, for the operator.
    """
    if from_us % QUARTER_US or to_us % QUARTER_US:
        raise ValueError("sums are over whole quarter-hours")
    names = [*groups, *(("bucket",) if bucketing is not None else ())]
    dimension = _dimension(groups, filters)
    if org_id is not None and dimension is not None:
        runs = runs_of(from_us, to_us, bucketing)
        values = filters.by_dimension().get(dimension)
        by_bucket = bucketing is not None
        queries = [
            series_query(
                org_id, dimension, values, runs, by_value=bool(groups), by_bucket=by_bucket
            )
        ]
    else:
        queries = [
            rollup_query(org_id, part, groups, filters, bucketing)
            for part in _parts(from_us, to_us, bucketing)
        ]
    queries.append(tail_query(org_id, from_us, to_us, groups, filters, bucketing))
    return merged(names, [(await conn.execute(query)).all() for query in queries])


def is_series(groups: Sequence[str], filters: Filters) -> bool:
    """Whether sums of an organization come from series, however many days there are."""
    return _dimension(groups, filters) is not None


def _dimension(groups: Sequence[str], filters: Filters) -> str | None:
    """The one dimension that is asked for; None: there are several, or organizations."""
    asked = {*groups, *filters.by_dimension()}
    if len(asked) > 1 or not asked <= {*DIMENSIONS}:
        return None
    return asked.pop() if asked else EVERYTHING


def merged(names: list[str], answers: list[Sequence[Sequence[Any]]]) -> list[SumRow]:
    """Sums of several queries as one, in the order of ``names``, which are the first columns. A sum
    over nothing is one row without requests."""
    keys, columns = len(names), (*names, *NUMBERS)
    some = [rows for rows in answers if rows and rows[0][keys + 1]]
    if len(some) == 1:
        return [dict(zip(columns, row, strict=True)) for row in some[0]]
    by_key: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for rows in some:
        for row in map(tuple, rows):
            before = by_key.get(row[:keys])
            by_key[row[:keys]] = (
                row[keys:]
                if before is None
                else tuple(one + other for one, other in zip(before, row[keys:], strict=True))
            )
    return [dict(zip(columns, (*key, *by_key[key]), strict=True)) for key in sorted(by_key)]


# ------------------------------------------------------------------------------------- by series


class Run(NamedTuple):
    """Blocks of one width, one after the other, that belong to one bucket."""

    bucket: int
    width_us: int
    from_us: int
    to_us: int


def runs_of(from_us: int, to_us: int, bucketing: Bucketing | None) -> list[Run]:
    """[from_us, to_us) in the fewest blocks, none of which is of two buckets."""
    if bucketing is None:
        return _blocks(0, from_us, to_us)
    found: list[Run] = []
    at_us = from_us
    offsets = iter(bucketing.offsets)
    until_us, offset_us = next(offsets)
    while at_us < to_us:
        while at_us >= until_us:
            following = next(offsets, None)
            if following is None:
                break
            until_us, offset_us = following
        number = (at_us + offset_us) // bucketing.size_us
        end_us = min((number + 1) * bucketing.size_us - offset_us, to_us)
        if at_us < until_us:
            end_us = min(end_us, until_us)
        found += _blocks(number, at_us, end_us)
        at_us = end_us
    return found


def _blocks(number: int, from_us: int, to_us: int) -> list[Run]:
    found: list[Run] = []
    at_us = from_us
    while at_us < to_us:
        width_us = next(
            width for width in BLOCKS_US if at_us % width == 0 and at_us + width <= to_us
        )
        # as many of them as there are before a wider one fits, or the end
        end_us = at_us + width_us
        while end_us + width_us <= to_us and not _wider(end_us, width_us, to_us):
            end_us += width_us
        found.append(Run(number, width_us, at_us, end_us))
        at_us = end_us
    return found


def _wider(at_us: int, width_us: int, to_us: int) -> bool:
    return any(
        width > width_us and at_us % width == 0 and at_us + width <= to_us for width in BLOCKS_US
    )


def series_query(
    org_id: str,
    dimension: str,
    values: tuple[str, ...] | None,
    runs: list[Run],
    *,
    by_value: bool,
    by_bucket: bool,
) -> Select[Any]:
    """Sums of one dimension (of some of its values) over the runs."""
    spans = _spans(runs)
    keys: list[ColumnElement[Any]] = [usage_name.c.value] if by_value else []
    if by_bucket:
        keys.append(spans.c.bucket)
    series = usage_series
    query = (
        select(*keys, *(func.sum(series.c[name]) for name in NUMBERS))
        .select_from(usage_name.join(spans, true()).join(series, true()))
        .where(
            usage_name.c.org_id == org_id,
            usage_name.c.dimension == dimension,
            series.c.name_id == usage_name.c.id,
            series.c.width_us == spans.c.width_us,
            series.c.start_us >= spans.c.from_us,
            series.c.start_us < spans.c.to_us,
        )
        .group_by(*keys)
        .order_by(*keys)
    )
    return query if values is None else query.where(usage_name.c.value.in_(values))


def _spans(runs: list[Run]) -> CTE:
    """The runs as a table; materialized, or every row of a series would read JSON."""
    piece = func.json_each(_encode(runs).decode()).table_valued("value", name="piece")
    columns = [
        func.json_extract(piece.c.value, f"$[{place}]").label(name)
        for place, name in enumerate(Run._fields)
    ]
    return select(*columns).cte("spans").prefix_with("MATERIALIZED")


async def values_between(
    conn: Connection, org_id: str | None, from_us: int, to_us: int
) -> list[tuple[str, str]]:
    """(dimension, value) of everything that requests had between two times."""
    there = (
        select(usage_series.c.name_id)
        .where(
            usage_series.c.name_id == usage_name.c.id,
            usage_series.c.width_us == QUARTER_US,
            usage_series.c.start_us >= from_us,
            usage_series.c.start_us < to_us,
        )
        .exists()
    )
    names = (
        select(usage_name.c.dimension, usage_name.c.value)
        .distinct()
        .where(usage_name.c.dimension != "key_id", there)
    )
    if org_id is not None:
        names = names.where(usage_name.c.org_id == org_id)
    found = {(row[0], row[1]) for row in (await conn.execute(names)).all()}
    columns = [usage_event.c[name] for name in DIMENSIONS]
    tail = select(*columns).distinct().where(*_in_tail(org_id, from_us, to_us, Filters()))
    for row in (await conn.execute(tail)).all():
        found.update(zip(DIMENSIONS, row, strict=True))
    return sorted(found)


# ------------------------------------------------------------------------- by rollup, and the rest


def rollup_query(
    org_id: str | None,
    part: Run,
    groups: Sequence[str],
    filters: Filters,
    bucketing: Bucketing | None,
) -> Select[Any]:
    """Sums of what may be filtered by several things."""
    table = usage_rollup
    keys = [*(table.c[name] for name in groups), *bucket(table.c.start_us, bucketing)]
    failed = func.sum(case((table.c.status == "succeeded", 0), else_=table.c.requests))
    query = (
        select(*keys, failed, *(func.sum(table.c[name]) for name in SUMS))
        .where(
            table.c.width_us == part.width_us,
            table.c.start_us >= part.from_us,
            table.c.start_us < part.to_us,
            *matches(filters, table),
        )
        .group_by(*keys)
        .order_by(*keys)
    )
    return query if org_id is None else query.where(table.c.org_id == org_id)


def _parts(from_us: int, to_us: int, bucketing: Bucketing | None) -> list[Run]:
    """[from_us, to_us) as hours, with quarter-hours at its ends; quarter-hours where the zone is
    not whole hours away."""
    first_us, last_us = -(-from_us // HOUR_US) * HOUR_US, to_us - to_us % HOUR_US
    if first_us >= last_us or width_us_of(first_us, last_us, bucketing) != HOUR_US:
        return [Run(0, QUARTER_US, from_us, to_us)]
    parts = [
        Run(0, QUARTER_US, from_us, first_us),
        Run(0, HOUR_US, first_us, last_us),
        Run(0, QUARTER_US, last_us, to_us),
    ]
    return [part for part in parts if part.from_us < part.to_us]


def width_us_of(from_us: int, to_us: int, bucketing: Bucketing | None) -> int:
    """Hours, if everything falls on whole hours."""
    places = [from_us, to_us]
    if bucketing is not None:
        places.append(bucketing.size_us)
        places += [until_us for until_us, _ in bucketing.offsets[:-1]]
        places += [offset_us for _, offset_us in bucketing.offsets]
    return QUARTER_US if any(place % HOUR_US for place in places) else HOUR_US


def tail_query(
    org_id: str | None,
    from_us: int,
    to_us: int,
    groups: Sequence[str],
    filters: Filters,
    bucketing: Bucketing | None,
) -> Select[Any]:
    """Sums of what is not added up yet, found by rowid."""
    table = usage_event
    keys = [*(table.c[name] for name in groups), *bucket(table.c.accepted_us, bucketing)]
    good = func.sum(table.c.status == "succeeded")
    return (
        select(
            *keys,
            func.count() - good,
            func.count(),
            *(func.sum(table.c[name]) for name in SUMS[1:-1]),
            func.sum(duration),
        )
        .where(*_in_tail(org_id, from_us, to_us, filters))
        .group_by(*keys)
    )


def _in_tail(
    org_id: str | None, from_us: int, to_us: int, filters: Filters
) -> list[ColumnElement[bool]]:
    at = by_rowid(usage_event.c.accepted_us)
    return [
        rowid > rolled_up_to,
        at >= from_us,
        at < to_us,
        *of_org(org_id),
        *matches(filters, usage_event),
    ]
