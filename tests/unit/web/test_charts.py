"""Charts: round ticks of what is shown, shapes that add up, nothing from outside unescaped."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmarket.web.site import charts
from tokenmarket.web.site.charts import Series, Span

EVIL = '<script>alert("x")</script>\'&'


def plain(value: float) -> str:
    return f"{value:g}"


def parse(markup: str) -> ElementTree.Element:
    """It is well-formed XML, for one root."""
    return ElementTree.fromstring(f"<root>{markup}</root>")


@pytest.mark.parametrize(
    ("highest", "expected"),
    [
        (0, [0, 1]),
        (17.6, [0, 5, 10, 15, 20]),
        (17.6 * 7.1, [0, 50, 100, 150]),  # the same in another currency: round again
        (0.00031, [0, 0.0001, 0.0002, 0.0003, 0.0004]),
        (4, [0, 1, 2, 3, 4]),
    ],
)
def test_ticks_are_round(highest: float, expected: list[float]) -> None:
    assert charts.ticks(highest) == expected


@given(st.floats(min_value=1e-9, max_value=1e15))
def test_ticks_reach_the_highest_value(highest: float) -> None:
    marks = charts.ticks(highest)
    assert marks[-1] >= highest * (1 - 1e-6)
    assert 2 <= len(marks) <= 6
    assert marks == sorted(set(marks))


def test_bars_are_stacked_and_add_up() -> None:
    svg = charts.stacked_bars(
        ["Mon", "Tue"],
        [Series("a", "q1", [1, 0]), Series("b", "q2", [3, 4])],
        title="Spend",
        tick=plain,
        value=plain,
    )
    bars = re.findall(
        r'<rect class="(q\d)" x="[\d.]+" y="([\d.]+)" width="[\d.]+" height="([\d.]+)', svg
    )
    assert [name for name, _, _ in bars] == ["q1", "q2", "q2"]
    assert [float(height) for _, _, height in bars] == [55, 165, 220]
    assert float(bars[0][1]) == pytest.approx(float(bars[1][1]) + float(bars[1][2]))
    assert 'data-tip="Mon\t4\nb\t3\na\t1"' in svg
    assert 'data-cls="q2 q1"' in svg
    assert "<text" not in svg, "labels are HTML"
    parse(svg)


def test_a_chart_of_nothing_is_drawn() -> None:
    parse(charts.stacked_bars([], [], title="t", tick=plain, value=plain))
    parse(charts.line([], [], title="t", tick=plain, value=plain, missing="-"))
    assert charts.sparkline([]) == ""
    assert charts.sparkline([1.0, None]) == ""


def test_a_gap_is_not_drawn_as_zero() -> None:
    svg = charts.line(
        ["a", "b", "c"], [1.0, None, 2.0], title="t", tick=plain, value=plain, missing="no data"
    )
    [path] = re.findall(r'class="ln" d="([^"]+)"', svg)
    assert path.count("M") == 2
    assert "L" not in path
    assert 'data-tip="b\tno data"' in svg


def test_hostile_names_are_escaped() -> None:
    drawn = [
        charts.stacked_bars(
            [EVIL], [Series(EVIL, "q1", [1])], title=EVIL, tick=lambda _: EVIL, value=lambda _: EVIL
        ),
        charts.line([EVIL], [None], title=EVIL, tick=plain, value=plain, missing=EVIL),
        charts.waterfall_bar([Span("wait", 0, 1)], 1, EVIL),
        charts.availability_bar([None], EVIL, [EVIL]),
    ]
    for svg in drawn:
        parse(svg)
        assert "<script" not in svg
        assert "style=" not in svg


def test_an_hour_without_attempts_is_not_available() -> None:
    svg = charts.availability_bar([None, 1.0, 0.95, 0.5], "24 hours")
    assert re.findall(r'<rect class="(\w+)"', svg) == ["none", "ok", "warn", "down"]


def test_every_attempt_of_a_waterfall_is_visible() -> None:
    svg = charts.waterfall_bar([Span("fail", 0, 0), Span("wait", 100, 1)], 100, "p")
    widths = [float(width) for width in re.findall(r'width="([\d.]+)" height="6"/', svg)]
    assert min(widths) >= 0.5
    parse(charts.waterfall_bar([Span("fail", 0, 0)], 0, "p"))
