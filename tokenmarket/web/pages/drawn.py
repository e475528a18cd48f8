"""Charts of usage and requests with the words of the visitor's language.

Amounts on an axis are rounded for the eye; the exact ones are in the table beside the chart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from markupsafe import Markup

from tokenmarket.core.money import NANO_PER_USD
from tokenmarket.reports.requests import Column
from tokenmarket.reports.usage import Usage, series
from tokenmarket.web.site import charts, formats
from tokenmarket.web.site.visit import Visit

# What one unit of a chart's axis is: dollars, or things counted.
_SCALE = {"charge": NANO_PER_USD, "requests": 1, "tokens": 1}


class Drawn(NamedTuple):
    """A chart, its legend (name, class, value) and the same numbers as rows of a table."""

    chart: Markup
    legend: list[tuple[str, str, str]]
    columns: list[tuple[str, str]]
    rows: list[list[str]]


def metric_name(visit: Visit, metric: str) -> str:
    """How a measure is called."""
    if metric == "requests":
        return visit.p_("metric", "Requests")
    return visit._("Tokens") if metric == "tokens" else visit._("Spend")


def amount(visit: Visit, metric: str, value: int) -> str:
    """A measure's value, exact."""
    if metric == "charge":
        return formats.money(visit.lang, value)
    return formats.number(visit.lang, value)


def usage_chart(visit: Visit, report: Usage, metric: str, label: Callable[[str], str]) -> Drawn:
    """Days as columns, groups as colours."""
    scale = _SCALE[metric]
    shown = series(report, metric)
    names = [visit._("Others") if one.name is None else label(one.name) for one in shown]
    classes = [
        "q0" if one.name is None else f"q{number}" for number, one in enumerate(shown, start=1)
    ]
    # drawn upwards in this order: others last
    drawn = [
        charts.Series(name, css, [value / scale for value in one.values])
        for name, css, one in zip(names, classes, shown, strict=True)
    ]
    days = [day.isoformat() for day in report.days]

    def tick(value: float) -> str:
        return _tick(visit, metric, value)

    def value(found: float) -> str:
        if metric == "charge":
            return formats.money(visit.lang, round(found * NANO_PER_USD), 4)
        return formats.number(visit.lang, round(found))

    title = visit._("{metric} per day", metric=metric_name(visit, metric))
    totals = [sum(column) for column in zip(*(one.values for one in shown), strict=True)]
    return Drawn(
        charts.stacked_bars([day[5:] for day in days], drawn, title=title, tick=tick, value=value),
        [
            (name, css, amount(visit, metric, one.total))
            for name, css, one in zip(names, classes, shown, strict=True)
        ],
        [(visit._("Day"), ""), *((name, "n") for name in names), (visit._("Total"), "n")],
        [
            [
                day,
                *(amount(visit, metric, one.values[index]) for one in shown),
                amount(visit, metric, totals[index]),
            ]
            for index, day in enumerate(days)
            if totals and totals[index]
        ],
    )


def _tick(visit: Visit, metric: str, value: float) -> str:
    if metric == "charge":
        digits = 0 if value == int(value) else min(9, len(f"{value:.9f}".rstrip("0")) - 2)
        digits = max(digits, 2) if digits else 0
        return formats.money(visit.lang, round(value * NANO_PER_USD), digits)
    return formats.compact(visit.lang, round(value))


def histogram(visit: Visit, columns: Sequence[Column]) -> Drawn:
    """Requests over time: those that succeeded below, the others above."""
    spans_days = columns[-1].to_us - columns[0].from_us > 3 * 86_400_000_000 if columns else False
    form = "%m-%d" if spans_days else "%m-%d %H:%M"
    labels = [_local(visit, column.from_us, form) for column in columns]
    good = [column.requests - column.failed for column in columns]
    failed = [column.failed for column in columns]
    names = [visit._("Succeeded"), visit._("Did not succeed")]

    def text(value: float) -> str:
        return formats.number(visit.lang, round(value))

    return Drawn(
        charts.stacked_bars(
            labels,
            [
                charts.Series(names[0], "q1", good),
                charts.Series(names[1], "fail", failed),
            ],
            title=visit._("Requests over time"),
            tick=lambda value: formats.compact(visit.lang, round(value)),
            value=text,
            low=True,
        ),
        [(names[0], "q1", text(sum(good))), (names[1], "fail", text(sum(failed)))],
        [(visit._("Time"), ""), (names[0], "n"), (names[1], "n")],
        [
            [label, text(one), text(other)]
            for label, one, other in zip(labels, good, failed, strict=True)
            if one or other
        ],
    )


def _local(visit: Visit, at_us: int, form: str) -> str:
    at = datetime.fromtimestamp(at_us // 1_000_000, UTC)
    return at.astimezone(visit.time_zone).strftime(form)
