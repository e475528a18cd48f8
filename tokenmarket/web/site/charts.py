"""Charts as SVG, drawn by the server: bars and lines of at most a few hundred points.

What a reader must know (``design/web.md`` sections 4, 5 and 7):

* The SVG holds shapes only and may be stretched; labels of the axes are HTML beside it, so that
  they are never distorted. Colours are CSS classes (``q0`` is "other", ``q1`` to ``q5`` are
  series), so dark mode and print need no second drawing. No style attribute: the strict CSP holds.
* Values come as they will be shown (in the currency of the reader), because ticks are round numbers
  of what is read, not of what is stored.
* A chart is a picture for those who see; the page has the same numbers in a table beside it. What a
  pointer shows over a column is in ``data-tip``: lines of text, the first is the head; ``data-cls``
  has the classes of the lines after it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

WIDTH = 720
HEIGHT = 220
SERIES_MAX = 5  # further ones are "other"
_LABELS = 8
_TICKS = 4
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)

Text = Callable[[float], str]


class Series(NamedTuple):
    """One colour of a chart; ``name`` is for people, ``values`` one per label."""

    name: str
    css_class: str
    values: Sequence[float]


class Span(NamedTuple):
    """A stretch of a waterfall's bar, in any unit of time from the start of the whole."""

    css_class: str  # wait | gen | fail
    start: float
    length: float


def ticks(highest: float) -> list[float]:
    """About four round steps from 0 to at least ``highest``."""
    if highest <= 0:
        return [0.0, 1.0]
    raw = highest / _TICKS
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(step for step in _STEPS if raw / magnitude <= step + 1e-9) * magnitude
    # computed from integers, so that 0.30000000000000004 is never on an axis
    count = math.ceil(highest / step - 1e-9)
    digits = max(0, 2 - math.floor(math.log10(step)))
    return [round(step * number, digits) for number in range(count + 1)]


def stacked_bars(
    labels: Sequence[str],
    series: Sequence[Series],
    *,
    title: str,
    tick: Text,
    value: Text,
    low: bool = False,
) -> Markup:
    """One column per label; ``tick`` writes the axis, ``value`` the numbers of a column's tip;
    ``low`` is for a histogram above a list."""
    totals = [sum(one.values[index] for one in series) for index in range(len(labels))]
    marks = ticks(max(totals, default=0.0))
    step = WIDTH / max(len(labels), 1)
    width = max(step * 0.66, min(step, 1.5))
    columns: list[str] = []
    for index, label in enumerate(labels):
        left = step * index + (step - width) / 2
        below = 0.0
        bars: list[str] = []
        lines = [f"{label}\t{value(totals[index])}"]
        classes: list[str] = []
        for one in series:
            amount = one.values[index]
            if amount <= 0:
                continue
            above, under = _y(below + amount, marks), _y(below, marks)
            below += amount
            bars.append(
                f'<rect class="{escape(one.css_class)}" x="{left:.1f}" y="{above:.1f}" '
                f'width="{width:.1f}" height="{max(under - above, 0.6):.1f}"/>'
            )
            lines.insert(1, f"{one.name}\t{value(amount)}")
            classes.insert(0, one.css_class)
        columns.append(
            f'<g class="col" data-tip="{_attribute(lines)}" data-cls="{escape(" ".join(classes))}">'
            f'<rect class="hit" x="{step * index:.1f}" y="0" width="{step:.1f}" height="{HEIGHT}"/>'
            f"{''.join(bars)}</g>"
        )
    shown = marks[:: len(marks) - 1] if low else marks
    return _plot(labels, shown, "".join(columns), title, tick, low)


def line(
    labels: Sequence[str],
    values: Sequence[float | None],
    *,
    title: str,
    tick: Text,
    value: Text,
    missing: str,
) -> Markup:
    """One line; None is a gap, and ``missing`` says so in its tip."""
    marks = ticks(max((one for one in values if one is not None), default=0.0))
    step = WIDTH / max(len(labels), 1)
    points = [
        None if one is None else (step * (index + 0.5), _y(one, marks))
        for index, one in enumerate(values)
    ]
    shapes = [f'<path class="ln" d="{_path(points)}"/>']
    for index, (label, one) in enumerate(zip(labels, values, strict=True)):
        tip = _attribute([f"{label}\t{missing if one is None else value(one)}"])
        shapes.append(
            f'<g class="col" data-tip="{tip}" data-cls=""><rect class="hit" '
            f'x="{step * index:.1f}" y="0" width="{step:.1f}" height="{HEIGHT}"/></g>'
        )
    return _plot(labels, marks, "".join(shapes), title, tick, low=False)


def sparkline(values: Sequence[float | None]) -> Markup:
    """A small line without axes, for beside a number; nothing if there are less than two points."""
    known = [one for one in values if one is not None]
    if len(known) < 2:
        return Markup("")
    width, height = 96, 28
    low, high = min(known), max(known)
    span = (high - low) or 1.0
    points = [
        None
        if one is None
        else (index / (len(values) - 1) * width, height - 3 - (one - low) / span * (height - 6))
        for index, one in enumerate(values)
    ]
    area = ""
    if None not in points:
        area = f'<path class="area" d="{_path(points)}L{width} {height}L0 {height}z"/>'
    return Markup(  # noqa: S704 - numbers and our own words only
        f'<svg class="spark" viewBox="0 0 {width} {height}" aria-hidden="true" '
        f'preserveAspectRatio="none">{area}<path class="ln" d="{_path(points)}"/></svg>'
    )


def waterfall_bar(spans: Sequence[Span], total: float, label: str) -> Markup:
    """One row of a waterfall; every row of one waterfall has the same ``total``."""
    scale = 100 / total if total > 0 else 0.0
    parts = "".join(
        f'<rect class="{escape(span.css_class)}" x="{min(span.start * scale, 99.5):.2f}" '
        f'width="{max(span.length * scale, 0.5):.2f}" height="6"/>'
        for span in spans
    )
    return Markup(  # noqa: S704 - what came from outside is escaped
        f'<svg class="wf-b" viewBox="0 0 100 6" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}"><rect class="bg" width="100" height="6"/>{parts}</svg>'
    )


def availability_bar(
    shares: Sequence[float | None], label: str, tips: Sequence[str] | None = None
) -> Markup:
    """One mark per hour or day; None (no attempts) is drawn as such, never as available."""
    width = 5 * len(shares)
    marks: list[str] = []
    for index, share in enumerate(shares):
        tip = "" if tips is None else f' data-tip="{escape(tips[index])}"'
        marks.append(
            f'<rect class="{availability_class(share)}" x="{5 * index}" width="4" height="16"'
            f"{tip}/>"
        )
    return Markup(  # noqa: S704 - what came from outside is escaped
        f'<svg class="ubar" viewBox="0 0 {max(width - 1, 1)} 16" preserveAspectRatio="none" '
        f'role="img" aria-label="{escape(label)}">{"".join(marks)}</svg>'
    )


def availability_class(share: float | None) -> str:
    """The CSS class of a share of answered attempts."""
    if share is None:
        return "none"
    return "ok" if share >= 0.99 else "warn" if share >= 0.9 else "down"


def _plot(
    labels: Sequence[str],
    marks: Sequence[float],
    shapes: str,
    title: str,
    tick: Text,
    low: bool,
) -> Markup:
    every = max(1, round(len(labels) / _LABELS))
    last = (len(labels) - 1) % every
    y_axis = "".join(f"<li>{escape(tick(mark))}</li>" for mark in reversed(marks))
    x_axis = "".join(
        _x_label(label, (len(labels) - 1 - index) // every)
        if index % every == last
        else "<li></li>"
        for index, label in enumerate(labels)
    )
    grid = "".join(
        f'<line class="grid" x1="0" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
        for y in (_y(mark, marks) for mark in marks)
    )
    return Markup(  # noqa: S704 - what came from outside is escaped
        f'<div class="plotbox"><ol class="yax" aria-hidden="true">{y_axis}</ol>'
        f'<svg class="chart{" low" if low else ""}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}" preserveAspectRatio="none">{grid}{shapes}</svg>'
        f'<ol class="xax" aria-hidden="true">{x_axis}</ol></div>'
    )


def _x_label(label: str, from_right: int) -> str:
    """Every other one (``alt``) is left out where there is little room."""
    css = ' class="alt"' if from_right % 2 else ""
    return f"<li><span{css}>{escape(label)}</span></li>"


def _y(value: float, marks: Sequence[float]) -> float:
    return HEIGHT - value / marks[-1] * HEIGHT


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    """Lines between neighbours; a gap begins a new one."""
    parts: list[str] = []
    pen_down = False
    for point in points:
        if point is not None:
            parts.append(f"{'L' if pen_down else 'M'}{point[0]:.1f} {point[1]:.1f}")
        pen_down = point is not None
    return "".join(parts)


def _attribute(lines: Sequence[str]) -> Markup:
    return escape("\n".join(lines))
