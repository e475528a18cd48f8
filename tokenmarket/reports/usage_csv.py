"""Usage as CSV: one line per day and group, the sums of the page, the zone in the header."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from tokenmarket.core.csv_rows import csv_text
from tokenmarket.core.money import usd_from_nano
from tokenmarket.reports.periods import day_start_us
from tokenmarket.reports.usage import Sums, Usage


def usage_csv(report: Usage, label: Callable[[str], str]) -> str:
    """``label`` names a group for people; its id stands beside it. A year of many keys takes half
    a second: not for the event loop."""
    zone = report.span.zone
    group = "model" if report.group == "day" else report.group
    head = [
        f"day begins ({zone.key})",
        f"{group}_id",
        group,
        "requests",
        "failed",
        "prompt_tokens",
        "completion_tokens",
        "cached_tokens",
        "reasoning_tokens",
        "charged_usd",
    ]
    begins = {day: _begins(day, zone) for day in report.days}
    rows = [
        [begins[cell.day], cell.name, label(cell.name), *_numbers(cell.sums)]
        for cell in report.cells
    ]
    return csv_text([head, *rows, ["total", "", "", *_numbers(report.total)]])


def _numbers(some: Sums) -> list[str | int]:
    return [*some[:-1], usd_from_nano(some.charge_nano)]


def _begins(day: date, zone: ZoneInfo) -> str:
    at_s = day_start_us(day, zone) // 1_000_000
    return datetime.fromtimestamp(at_s, UTC).astimezone(zone).isoformat()
