"""The search for requests of one organization: what is frequent by looking, what is rare by series.

What a reader must know:

* First the newest few thousand requests are looked through: whatever is not rare is found there.
* Then the series say in which quarter-hours there is anything at all of what is asked for, and
  between which two requests of it; only those are read.
* Both are bounded, so that no search takes long. One that ends at its bound says how far back it
  has looked (``Page.searched_to_us``), and its place is where the next one goes on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import CTE, ColumnElement, FromClause, Select, and_, func, or_, select, true

from tokenmarket.store.database import Connection
from tokenmarket.store.money import usage_event
from tokenmarket.store.report_rows import (
    Page,
    Place,
    Search,
    by_id_query,
    by_time_query,
    cut,
    event_columns,
    newest_first,
    page_of_all,
    picky,
    read,
    row_conditions,
    tail_query,
)
from tokenmarket.store.usage_rollup import (
    DAY_US,
    EVERYTHING,
    QUARTER_US,
    usage_name,
    usage_series,
)

LOOKED: Final = 2_000  # newest requests that are looked through
READ_MAX: Final = 24_000  # requests that one page reads at most after that
SPOT_READ: Final = 15  # a spot costs as much as so many requests in it
SPOTS_AT_ONCE: Final = 256
STRETCH_US: Final = 32 * DAY_US  # in which spots of several values are looked for

_encode = msgspec.json.Encoder().encode


class Spot(NamedTuple):
    """A part of a quarter-hour that may hold matches: at most ``matches`` of them. To read it costs
    as much as to read ``requests``."""

    start_us: int
    from_us: int
    to_us: int  # included
    matches: int
    requests: int


class Names(NamedTuple):
    """Numbers of names, by dimension; ``everything``: that of the organization."""

    everything: int
    wanted: list[list[int]]  # first the dimension that has the fewest requests


async def page(conn: Connection, search: Search, limit: int) -> Page:
    """At most ``limit`` requests, newest first."""
    if search.id_prefix:
        return cut(await read(conn, by_id_query(search, limit + 1)), limit)
    if search.org_id is None:
        return await page_of_all(conn, search, limit)
    if not picky(search):
        return cut(await read(conn, by_time_query(search, limit + 1)), limit)
    below_us = await _looked_to(conn, search)
    near = search._replace(from_us=below_us)
    found = await read(conn, by_time_query(near, limit + 1))
    if len(found) > limit or below_us <= search.from_us:
        return cut(found, limit)
    further = search._replace(to_us=below_us, before=None)
    late = await read(conn, tail_query(further, limit + 1))
    matches = {row.request_id: row for row in found}
    names = await names_of(conn, further)
    spots = Spots(conn, further, names)
    budget = READ_MAX
    while len(matches) <= limit and budget > 0:
        some = await spots.take(2 * (limit + 1 - len(matches)), budget)
        if not some:
            break
        budget -= sum(spot.requests for spot in some)
        rows = await read(conn, spots_query(further, some, limit + 1))
        matches.update((row.request_id, row) for row in rows)
        below_us = some[-1].start_us
    bounded = len(matches) <= limit and budget <= 0
    if bounded:  # older ones come when their time is reached
        late = [row for row in late if row.accepted_us >= below_us]
    matches.update((row.request_id, row) for row in late)
    rows = sorted(matches.values(), key=lambda row: (row.accepted_us, row.request_id), reverse=True)
    if bounded and len(rows) <= limit:
        return Page(rows, Place(below_us, ""), below_us)
    return cut(rows, limit)


async def _looked_to(conn: Connection, search: Search) -> int:
    """When the last of the newest ``LOOKED`` requests came; the beginning if there are fewer."""
    at = usage_event.c.accepted_us
    query = (
        select(at)
        .where(usage_event.c.org_id == search.org_id, at >= search.from_us, at < search.to_us)
        .order_by(at.desc())
        .limit(1)
        .offset(LOOKED)
    )
    if search.before is not None:
        query = query.where(at <= search.before.accepted_us)
    found = (await conn.execute(query)).scalar_one_or_none()
    return search.from_us if found is None else found


# ------------------------------------------------------------------------------------------ spots


async def names_of(conn: Connection, search: Search) -> Names | None:
    """Of what is asked for. None: something that is asked for has never been added up."""
    wanted = search.filters.by_dimension()
    name = usage_name.c
    conditions = [
        and_(name.dimension == dimension, name.value.in_(values))
        for dimension, values in {EVERYTHING: ("",), **wanted}.items()
    ]
    query = select(name.dimension, name.id).where(name.org_id == search.org_id, or_(*conditions))
    found: defaultdict[str, list[int]] = defaultdict(list)
    for row in (await conn.execute(query)).all():
        found[row[0]].append(row[1])
    if any(dimension not in found for dimension in (EVERYTHING, *wanted)):
        return None
    [everything] = found[EVERYTHING]
    groups = [found[dimension] for dimension in wanted]
    if not groups:
        return Names(everything, [[everything]])
    if len(groups) > 1:
        many = await _requests(conn, search, [one for group in groups for one in group])
        groups.sort(key=lambda group: sum(many.get(one, 0) for one in group))
    return Names(everything, groups)


async def _requests(conn: Connection, search: Search, names: list[int]) -> dict[int, int]:
    """Requests by name, on the days of the search."""
    series = usage_series.c
    query = (
        select(series.name_id, func.sum(series.requests))
        .where(
            series.name_id.in_(names),
            series.width_us == DAY_US,
            series.start_us > search.from_us - DAY_US,
            series.start_us < search.to_us,
        )
        .group_by(series.name_id)
    )
    return {row[0]: row[1] for row in (await conn.execute(query)).all()}


class Spots:
    """The spots of a search, newest first, read as they are needed."""

    def __init__(self, conn: Connection, search: Search, names: Names | None) -> None:
        self._conn = conn
        self._search = search
        self._names = names
        self._below_us = search.to_us
        self._ready: list[Spot] = []

    async def take(self, matches: int, requests: int) -> list[Spot]:
        """The next ones: enough for ``matches``, not many more than ``requests``; [] at the end."""
        taken: list[Spot] = []
        while matches > 0 and requests > 0:
            if not self._ready and not await self._more():
                break
            while self._ready and matches > 0 and requests > 0:
                spot = self._ready.pop()
                taken.append(spot)
                matches -= spot.matches
                requests -= spot.requests
            if len(taken) >= SPOTS_AT_ONCE:
                break
        return taken

    async def _more(self) -> bool:
        search, names = self._search, self._names
        while names is not None and self._below_us > search.from_us:
            from_us = search.from_us
            if len(names.wanted[0]) > 1:  # these have to be sorted
                from_us = max(from_us, self._below_us - STRETCH_US)
                from_us -= from_us % QUARTER_US
            query = series_spots_query(
                search._replace(from_us=from_us, to_us=self._below_us), names, SPOTS_AT_ONCE
            )
            rows = (await self._conn.execute(query)).all()
            self._below_us = rows[-1][0] if len(rows) == SPOTS_AT_ONCE else from_us
            if rows:
                self._ready = [_spot(row, search.to_us) for row in reversed(rows)]
                return True
        return False


def _spot(row: Sequence[int], to_us: int) -> Spot:
    start_us, matches, first_us, last_us, requests = row
    share = (last_us - first_us + 1) * requests // QUARTER_US
    return Spot(
        start_us,
        start_us + first_us,
        min(start_us + last_us, to_us - 1),
        matches,
        max(matches, share) + SPOT_READ,
    )


def series_spots_query(search: Search, names: Names, limit: int) -> Select[Any]:
    """Quarter-hours in which everything that is asked for is there, newest first."""
    first, *others = names.wanted
    some = usage_series.alias("some")
    whole = usage_series.alias("whole")
    columns: list[ColumnElement[Any]] = [
        some.c.start_us,
        func.sum(some.c.requests),
        func.min(some.c.first_us),
        func.max(some.c.last_us),
        func.min(whole.c.requests),
    ]
    query = (
        select(*columns)
        .select_from(some.join(whole, true()))
        .where(
            *_in_quarters(some, first, search),
            some.c.start_us >= search.from_us,
            some.c.start_us < search.to_us,
            whole.c.name_id == names.everything,
            whole.c.width_us == QUARTER_US,
            whole.c.start_us == some.c.start_us + 0,  # or SQLite may begin with this one
        )
        .group_by(some.c.start_us)
        .order_by(some.c.start_us.desc())
        .limit(limit)
    )
    for number, other in enumerate(others):
        also = usage_series.alias(f"also{number}")
        query = query.where(
            select(also.c.name_id)
            .where(*_in_quarters(also, other, search), also.c.start_us == some.c.start_us)
            .exists()
        )
    return query


def _in_quarters(
    series: FromClause, names: Sequence[int], search: Search
) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = [
        series.c.name_id.in_(names),
        series.c.width_us == QUARTER_US,
    ]
    if search.charge_min_nano:
        found.append(series.c.charge_max_nano >= search.charge_min_nano)
    if search.duration_min_us:
        found.append(series.c.duration_max_us >= search.duration_min_us)
    return found


def spans_of(spots: Sequence[Spot]) -> CTE:
    """Spots as a table; materialized, or every request would read JSON."""
    pairs = _encode([(spot.from_us, spot.to_us) for spot in spots]).decode()
    piece = func.json_each(pairs).table_valued("value", name="piece")
    return (
        select(
            func.json_extract(piece.c.value, "$[0]").label("from_us"),
            func.json_extract(piece.c.value, "$[1]").label("to_us"),
        )
        .cte("spans")
        .prefix_with("MATERIALIZED")
    )


def in_spans(search: Search, spans: CTE) -> list[ColumnElement[bool]]:
    """Matches within them."""
    at = usage_event.c.accepted_us
    return [
        usage_event.c.org_id == search.org_id,
        at >= spans.c.from_us,
        at <= spans.c.to_us,
        *row_conditions(search),
    ]


def spots_query(search: Search, spots: Sequence[Spot], limit: int) -> Select[Any]:
    """The matches of spots."""
    spans = spans_of(spots)
    return (
        select(*event_columns)
        .select_from(spans.join(usage_event, true()))
        .where(*in_spans(search, spans))
        .order_by(*newest_first)
        .limit(limit)
    )
