"""How many requests of a search there are over time, exactly: all of them, or the newest part.

One thing that is asked for is counted by its series; several by the rollup, which can be long, and
what lies above a cost or latency one by one: those are bounded, and say from when on they counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Select, func, select, true

from tokenmarket.store.database import Connection
from tokenmarket.store.money import usage_event
from tokenmarket.store.report_rows import Search, row_conditions
from tokenmarket.store.report_search import Spot, Spots, in_spans, names_of, spans_of
from tokenmarket.store.usage_rollup import (
    HOUR_US,
    Bucketing,
    bucket,
    by_rowid,
    of_org,
    rolled_up_to,
    rowid,
    usage_rollup,
)
from tokenmarket.store.usage_sums import sums, width_us_of

COUNTED_MAX: Final = 30_000  # requests, or rows of the rollup, that one histogram reads


class Counted(NamedTuple):
    """(bucket, requests, failed) of what came at ``from_us`` or later."""

    rows: list[tuple[int, int, int]]
    from_us: int


async def histogram(conn: Connection, search: Search, bucketing: Bucketing) -> Counted | None:
    """Of a search, without regard to its place: all of it, or the newest part (``from_us``). None:
    the beginning of an id is looked for, or a cost or latency among all organizations."""
    above = bool(search.charge_min_nano or search.duration_min_us)
    if search.id_prefix or (above and search.org_id is None):
        return None
    if above:
        return await _counted(conn, search, bucketing)
    from_us = search.from_us
    if search.org_id is not None and len(search.filters.by_dimension()) > 1:
        from_us = await _bounded(conn, search, bucketing)
    rows = await sums(conn, search.org_id, from_us, search.to_us, (), search.filters, bucketing)
    return Counted(
        [(int(row["bucket"]), int(row["requests"]), int(row["failed"])) for row in rows], from_us
    )


async def _bounded(conn: Connection, search: Search, bucketing: Bucketing) -> int:
    """The time from which on the rollup has no more than ``COUNTED_MAX`` rows."""
    table = usage_rollup.c
    query = (
        select(table.start_us)
        .where(
            table.org_id == search.org_id,
            table.width_us == width_us_of(search.from_us, search.to_us, bucketing),
            table.start_us >= search.from_us,
            table.start_us < search.to_us,
        )
        .order_by(table.start_us.desc())
        .limit(1)
        .offset(COUNTED_MAX)
    )
    found = (await conn.execute(query)).scalar_one_or_none()
    return search.from_us if found is None else found - found % HOUR_US + HOUR_US


async def _counted(conn: Connection, search: Search, bucketing: Bucketing) -> Counted:
    """Those above a cost or latency, one by one: in spots what is added up, by rowid the rest."""
    source = Spots(conn, search._replace(before=None), await names_of(conn, search))
    spots: list[Spot] = []
    budget = COUNTED_MAX
    while budget > 0 and (some := await source.take(COUNTED_MAX, budget)):
        spots += some
        budget -= sum(spot.requests for spot in some)
    from_us = search.from_us if budget > 0 else spots[-1].start_us
    totals: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])
    for query in (
        count_spots_query(search, spots, bucketing),
        count_tail_query(search._replace(from_us=from_us), bucketing),
    ):
        for row in (await conn.execute(query)).all():
            number, *both = tuple[int, ...](row)
            totals[number] = [a + b for a, b in zip(totals[number], both, strict=True)]
    return Counted([(number, both[0], both[1]) for number, both in sorted(totals.items())], from_us)


def _numbers(bucketing: Bucketing) -> list[ColumnElement[Any]]:
    good = func.sum(usage_event.c.status == "succeeded")
    return [*bucket(usage_event.c.accepted_us, bucketing), func.count(), func.count() - good]


def count_spots_query(search: Search, spots: Sequence[Spot], bucketing: Bucketing) -> Select[Any]:
    """(bucket, requests, failed) of what is added up."""
    spans = spans_of(spots)
    columns = _numbers(bucketing)
    return (
        select(*columns)
        .select_from(spans.join(usage_event, true()))
        .where(*in_spans(search, spans), rowid <= rolled_up_to)
        .group_by(columns[0])
    )


def count_tail_query(search: Search, bucketing: Bucketing) -> Select[Any]:
    """(bucket, requests, failed) of what is not."""
    at = by_rowid(usage_event.c.accepted_us)
    columns = _numbers(bucketing)
    return (
        select(*columns)
        .where(
            rowid > rolled_up_to,
            at >= search.from_us,
            at < search.to_us,
            *of_org(search.org_id),
            *row_conditions(search),
        )
        .group_by(columns[0])
    )
