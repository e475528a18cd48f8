"""What a person or program asks of requests and usage, read from an address: time, filters, place.

The same words in the pages' addresses and in the management API. All times are of one zone, which
is told beside every answer. Sentences of ``BadFilter`` are constant, so that pages can translate
them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from tokenmarket.core.money import nano_from_usd
from tokenmarket.core.texts import N_
from tokenmarket.reports.periods import day_start_us, local_day
from tokenmarket.store.report_rows import Place
from tokenmarket.store.usage_rollup import HOUR_US, QUARTER_US

DAYS_MAX: Final = 400
RANGES: Final = {"1h": 0, "24h": 1, "7d": 7, "30d": 30, "90d": 90}
STATUSES: Final = ("succeeded", "failed", "cancelled", "rejected", "running")
TEXT_MAX: Final = 200
LATENCY_MAX_S: Final = 86_400

# every parameter that is understood, for forms that keep them and the API that refuses others
TIME_WORDS: Final = ("range", "from", "to")
FILTER_WORDS: Final = ("model", "provider", "key", "member", "team", "operation")
SEARCH_WORDS: Final = (
    *TIME_WORDS,
    *FILTER_WORDS,
    "q",
    "status",
    "error",
    "cost_over",
    "latency_over",
)

_CURSOR = re.compile(r"([0-9]{1,18})\.((?:[a-z]{2,8}_[0-9a-f]{34})?)")
_SECONDS = re.compile(r"([0-9]{1,6})(?:\.([0-9]{1,3}))?")
_UNIX = re.compile(r"[0-9]{1,11}")


class BadFilter(Exception):
    """A parameter that cannot be understood; the text says what to write instead."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


class Span(NamedTuple):
    """A stretch of time: whole quarter-hours, as days of ``zone`` where it is of days."""

    from_us: int
    to_us: int
    zone: ZoneInfo
    name: str  # of RANGES, or "custom"

    @property
    def first_day(self) -> date:
        return local_day(self.from_us, self.zone)

    @property
    def last_day(self) -> date:
        return local_day(self.to_us - 1, self.zone)

    @property
    def days(self) -> int:
        return (self.last_day - self.first_day).days + 1


class Asked(NamedTuple):
    """Filters of a search or of usage; empty: all."""

    span: Span
    model: str = ""
    provider: str = ""
    key: str = ""
    member: str = ""
    team: str = ""
    operation: str = ""
    text: str = ""  # the beginning of an id, or part of a model's name
    status: str = ""
    error: str = ""
    cost_over_nano: int = 0
    latency_over_us: int = 0
    before: Place | None = None

    @property
    def id_prefix(self) -> str:
        return self.text if self.text.startswith("req_") else ""


def read_asked(
    values: Mapping[str, str], zone: ZoneInfo, now_us: int, *, default: str = "7d"
) -> Asked:
    """From the parameters of an address. Raises BadFilter."""
    plain = {name: _short(name, values.get(name, "")) for name in FILTER_WORDS}
    status = values.get("status", "")
    if status and status not in STATUSES:
        raise BadFilter("status", N_("There is no such status."))
    return Asked(
        read_span(values, zone, now_us, default=default),
        **plain,
        text=_short("q", values.get("q", "").strip()),
        status=status,
        error=_short("error", values.get("error", "")),
        cost_over_nano=_cost(values.get("cost_over", "").strip()),
        latency_over_us=_latency(values.get("latency_over", "").strip()),
        before=read_place(values.get("cursor", "")),
    )


def read_span(
    values: Mapping[str, str], zone: ZoneInfo, now_us: int, *, default: str = "7d"
) -> Span:
    """``from`` and ``to`` (days, both included, or unix seconds) before ``range``."""
    start, end = values.get("from", "").strip(), values.get("to", "").strip()
    if not start and not end:
        return _range(values.get("range", "") or default, zone, now_us)
    to_us = _time_us("to", end, zone, last=True) if end else now_us + 1
    from_us = _time_us("from", start, zone, last=False) if start else to_us - 30 * 24 * HOUR_US
    if from_us >= to_us:
        raise BadFilter("from", N_("The first day is after the last one."))
    if to_us - from_us > DAYS_MAX * 24 * HOUR_US + HOUR_US:
        raise BadFilter("from", N_("At most 400 days at once."))
    return Span(from_us - from_us % QUARTER_US, _up(to_us), zone, "custom")


def _range(name: str, zone: ZoneInfo, now_us: int) -> Span:
    """Days are whole, today included; hours reach back from now."""
    days = RANGES.get(name)
    if days is None:
        raise BadFilter("range", N_("There is no such range of time."))
    if days == 0:
        end_us = _up(now_us + 1)
        return Span(end_us - HOUR_US, end_us, zone, name)
    if days == 1:
        end_us = -(-(now_us + 1) // HOUR_US) * HOUR_US
        return Span(end_us - 24 * HOUR_US, end_us, zone, name)
    today = local_day(now_us, zone)
    return Span(
        day_start_us(today - timedelta(days=days - 1), zone),
        day_start_us(today + timedelta(days=1), zone),
        zone,
        name,
    )


def before(span: Span) -> Span:
    """The same number of days (or hours) just before."""
    if span.name in ("1h", "24h"):
        return span._replace(from_us=2 * span.from_us - span.to_us, to_us=span.from_us)
    first = span.first_day - timedelta(days=span.days)
    return span._replace(from_us=day_start_us(first, span.zone), to_us=span.from_us)


def _up(at_us: int) -> int:
    return -(-at_us // QUARTER_US) * QUARTER_US


def _time_us(field: str, text: str, zone: ZoneInfo, *, last: bool) -> int:
    if _UNIX.fullmatch(text):
        return int(text) * 1_000_000
    try:
        day = datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007 - a day has no zone
        if not 1970 < day.year < 2200:
            raise ValueError
    except ValueError:
        raise BadFilter(field, N_("Write a day as 2026-11-23.")) from None
    return day_start_us(day + timedelta(days=1) if last else day, zone)


def _short(field: str, text: str) -> str:
    if len(text) > TEXT_MAX:
        raise BadFilter(field, N_("That is too long."))
    return text


def _cost(text: str) -> int:
    if not text:
        return 0
    try:
        nano = nano_from_usd(text)
    except ValueError:
        nano = -1
    if nano < 0:
        raise BadFilter("cost_over", N_("Write an amount in USD, as 0.05."))
    return nano


def _latency(text: str) -> int:
    if not text:
        return 0
    match = _SECONDS.fullmatch(text)
    if match is None or int(match[1]) > LATENCY_MAX_S:
        raise BadFilter("latency_over", N_("Write seconds, as 2.5."))
    return int(match[1]) * 1_000_000 + int((match[2] or "").ljust(3, "0")) * 1_000


def read_place(cursor: str) -> Place | None:
    """A cursor that we gave. Raises BadFilter."""
    if not cursor:
        return None
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise BadFilter("cursor", N_("That is no cursor of ours."))
    return Place(int(match[1]), match[2])


def cursor(place: Place) -> str:
    """The text of a place."""
    return f"{place.accepted_us}.{place.request_id}"
