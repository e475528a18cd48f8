"""Usage and cost: sums by day, model, key, member, team, provider or operation, beside the same
number of days before.

Every number of a report comes from one query over the same rows, so chart, table, total and CSV
agree to the last digit. A key's usage is that of the member who made it and of the key's team.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from typing import Final, NamedTuple

from tokenmarket.reports.asking import Asked, Span, before
from tokenmarket.reports.names import Names, filters_of
from tokenmarket.reports.periods import day_of_bucket, days_of
from tokenmarket.store.database import Database
from tokenmarket.store.usage_rollup import Filters, narrowed
from tokenmarket.store.usage_sums import SumRow, is_series, sums

GROUPS: Final = ("day", "model", "key", "member", "team", "provider", "operation")
METRICS: Final = ("charge", "requests", "tokens")
SERIES_MAX: Final = 5
OTHERS: Final = "\x00"  # no id is that

# what is asked of SQL for a group
_COLUMN: Final = {
    "day": "model",  # the chart of days is by model
    "model": "model",
    "key": "key_id",
    "member": "key_id",
    "team": "key_id",
    "provider": "provider",
    "operation": "operation",
}


class Sums(NamedTuple):
    """Of some requests; they can be added."""

    requests: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    charge_nano: int = 0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def of(self, metric: str) -> int:
        """One of METRICS."""
        if metric == "requests":
            return self.requests
        return self.tokens if metric == "tokens" else self.charge_nano


def added(some: Iterable[Sums]) -> Sums:
    """The sum."""
    columns = list(zip(*some, strict=True))
    return Sums(*(sum(column) for column in columns)) if columns else Sums()


class Row(NamedTuple):
    """One group: ``name`` is its id (of a day, 2026-11-23), ``before`` the period before."""

    name: str
    sums: Sums
    before: Sums


class Cell(NamedTuple):
    """One group on one day; OTHERS: all that have no cell of their own."""

    day: date
    name: str
    sums: Sums


class Usage(NamedTuple):
    """``cells``: every day and group with usage; ``rows`` are their sums by group, the greatest
    charge first (days in their order), ``total`` those of everything."""

    span: Span
    group: str
    rows: list[Row]
    total: Sums
    total_before: Sums
    cells: list[Cell]

    @property
    def days(self) -> list[date]:
        """Every day of the span."""
        first = self.span.first_day
        return [first + timedelta(days=number) for number in range(self.span.days)]


class Series(NamedTuple):
    """A colour of the chart; ``name`` None: all others together. ``values``: one per day."""

    name: str | None
    total: int
    values: list[int]


async def usage(
    database: Database,
    org_id: str | None,
    asked: Asked,
    group: str,
    names: Names | None,
    metric: str | None = None,
) -> Usage:
    """``group`` is one of GROUPS. Members and teams need names. With a ``metric`` the cells are
    those of its chart: of the greatest groups, and of all others together."""
    span, earlier = asked.span, before(asked.span)
    filters = filters_of(asked, names, ())
    column = _COLUMN[group]
    named = _namer(group, names)
    days = days_of(span.zone, span.from_us, span.to_us)

    async with database.read() as conn:
        then = await sums(conn, org_id, earlier.from_us, earlier.to_us, (column,), filters)
        if metric is None or not is_series((column,), filters):
            found = await sums(conn, org_id, span.from_us, span.to_us, (column,), filters, days)
            cells = _folded(_cell(row, named(str(row[column]))) for row in found)
            now = [(cell.name, cell.sums) for cell in cells]
            by_date = [cell._replace(name=OTHERS) for cell in cells]
        else:
            found = await sums(conn, org_id, span.from_us, span.to_us, (column,), filters)
            now = [(named(str(row[column])), _sums(row)) for row in found]
            cells: list[Cell] = []
            for name in _greatest(now, metric):  # several keys of a member are added up by SQL
                values = [one for row in found if named(one := str(row[column])) == name]
                some = narrowed(filters, column, tuple(values))
                daily = await sums(conn, org_id, span.from_us, span.to_us, (), some, days)
                cells += [_cell(row, name) for row in daily]
            daily = await sums(conn, org_id, span.from_us, span.to_us, (), filters, days)
            by_date = [_cell(row, OTHERS) for row in daily]
            cells = _folded([*cells, *_others(by_date, cells)])
    present, past = _by_name(now), _by_name([(named(str(row[column])), _sums(row)) for row in then])
    return Usage(
        span,
        group,
        _days(by_date) if group == "day" else _groups(present, past),
        added(present.values()),
        added(past.values()),
        cells,
    )


def _cell(row: SumRow, name: str) -> Cell:
    return Cell(day_of_bucket(int(row["bucket"])), name, _sums(row))


def _by_name(some: Iterable[tuple[str, Sums]]) -> dict[str, Sums]:
    found: defaultdict[str, list[Sums]] = defaultdict(list)
    for name, one in some:
        found[name].append(one)
    return {name: added(those) for name, those in found.items()}


def _greatest(some: Iterable[tuple[str, Sums]], metric: str) -> list[str]:
    totals = {name: one.of(metric) for name, one in _by_name(some).items()}
    names = sorted((name for name in totals if totals[name]), key=lambda one: (-totals[one], one))
    return names[:SERIES_MAX]


def _others(whole: list[Cell], shown: list[Cell]) -> list[Cell]:
    """What is left of each day."""
    left = {cell.day: cell.sums for cell in whole}
    for cell in shown:
        left[cell.day] = Sums(*(a - b for a, b in zip(left[cell.day], cell.sums, strict=True)))
    return [Cell(day, OTHERS, some) for day, some in left.items() if some.requests]


async def total(
    database: Database, org_id: str | None, span: Span, filters: Filters | None = None
) -> Sums:
    """Of a stretch of time."""
    async with database.read() as conn:
        rows = await sums(conn, org_id, span.from_us, span.to_us, (), filters or Filters())
    return added(_sums(row) for row in rows)


def series(report: Usage, metric: str) -> list[Series]:
    """The five greatest groups, and the others as one."""
    named = [(cell.name, cell.sums) for cell in report.cells if cell.name != OTHERS]
    shown = _greatest(named, metric)
    days = {day: index for index, day in enumerate(report.days)}
    values: dict[str, list[int]] = {name: [0] * len(days) for name in (*shown, OTHERS)}
    for cell in report.cells:
        values[cell.name if cell.name in values else OTHERS][days[cell.day]] += cell.sums.of(metric)
    if not any(values[OTHERS]):
        del values[OTHERS]
    return [
        Series(None if name == OTHERS else name, sum(found), found)
        for name, found in values.items()
    ]


def by_day(report: Usage) -> list[Sums]:
    """One per day of the span."""
    found: defaultdict[date, list[Sums]] = defaultdict(list)
    for cell in report.cells:
        found[cell.day].append(cell.sums)
    return [added(found[day]) for day in report.days]


def _sums(row: SumRow) -> Sums:
    return Sums(*(int(row[name]) for name in Sums._fields))


def _namer(group: str, names: Names | None) -> Callable[[str], str]:
    """From what SQL gives to the group's id."""
    if group == "member" and names is not None:
        return names.member_of
    if group == "team" and names is not None:
        return names.team_of
    return str


def _groups(present: dict[str, Sums], past: dict[str, Sums]) -> list[Row]:
    """Groups of the time before that have nothing now are rows too."""
    rows = [
        Row(name, present.get(name, Sums()), past.get(name, Sums())) for name in {*present, *past}
    ]
    return sorted(rows, key=lambda row: (-row.sums.charge_nano, -row.sums.requests, row.name))


def _days(cells: list[Cell]) -> list[Row]:
    """Days with usage, in their order."""
    return [Row(cell.day.isoformat(), cell.sums, Sums()) for cell in _folded(cells)]


def _folded(cells: Iterable[Cell]) -> list[Cell]:
    """One cell per day and group: several keys may be one member's."""
    found: defaultdict[tuple[date, str], list[Sums]] = defaultdict(list)
    for cell in cells:
        found[cell.day, cell.name].append(cell.sums)
    return [
        Cell(day, name, some[0] if len(some) == 1 else added(some))
        for (day, name), some in sorted(found.items())
    ]
