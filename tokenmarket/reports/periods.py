"""Local days and hours of a time zone as numbers that SQL can compute, and their names again.

A local day is unix time plus the zone's offset, divided by a day; the offset changes a few times a
year (DST), and ``offsets`` says when. A day that has 23 or 25 hours is one bucket like any other.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from tokenmarket.store.usage_rollup import DAY_US, HOUR_US, QUARTER_US, Bucketing

_SECOND_US = 1_000_000
_EPOCH = date(1970, 1, 1)
FOREVER_US = 9_000_000_000 * 1_000_000_000


def days_of(zone: ZoneInfo, from_us: int, to_us: int) -> Bucketing:
    """Local days between two times."""
    return Bucketing(DAY_US, _offsets(zone, from_us, to_us))


def hours_of(zone: ZoneInfo, from_us: int, to_us: int) -> Bucketing:
    """Local hours; the hour that is there twice in autumn is one bucket."""
    return Bucketing(HOUR_US, _offsets(zone, from_us, to_us))


def day_start_us(day: date, zone: ZoneInfo) -> int:
    """When a local day begins. Where midnight does not exist, when the day does."""
    local = datetime(day.year, day.month, day.day, tzinfo=zone)
    return int(local.astimezone(UTC).timestamp()) * _SECOND_US


def local_day(at_us: int, zone: ZoneInfo) -> date:
    """The day on the wall."""
    return datetime.fromtimestamp(at_us // _SECOND_US, zone).date()


def day_of_bucket(number: int) -> date:
    """The day behind a bucket of ``days_of``."""
    return _EPOCH + timedelta(days=number)


def _offsets(zone: ZoneInfo, from_us: int, to_us: int) -> tuple[tuple[int, int], ...]:
    """(valid until, offset) for every offset between two times."""
    found: list[tuple[int, int]] = []
    at_us = from_us - from_us % QUARTER_US
    offset_us = _offset_us(zone, at_us)
    while at_us < to_us:
        next_us = min(at_us + DAY_US, to_us)
        if _offset_us(zone, next_us) != offset_us:
            change_us = _change_us(zone, at_us, next_us)
            found.append((change_us, offset_us))
            offset_us = _offset_us(zone, change_us)
            next_us = change_us
        at_us = next_us
    return (*found, (FOREVER_US, offset_us))


def _change_us(zone: ZoneInfo, before_us: int, after_us: int) -> int:
    """The quarter-hour at which the offset becomes another one than at ``before_us``."""
    offset_us = _offset_us(zone, before_us)
    low, high = before_us // QUARTER_US, -(-after_us // QUARTER_US)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset_us(zone, middle * QUARTER_US) == offset_us:
            low = middle
        else:
            high = middle
    return high * QUARTER_US


def _offset_us(zone: ZoneInfo, at_us: int) -> int:
    local = datetime.fromtimestamp(at_us // _SECOND_US, zone)
    offset = local.utcoffset()
    return 0 if offset is None else round(offset.total_seconds()) * _SECOND_US
