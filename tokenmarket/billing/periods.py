"""The periods of spend limits, in UTC: which window a moment belongs to. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from tokenmarket.store.money import DAY_US, NEVER_US
from tokenmarket.store.money_moves import Limit

PERIODS = ("day", "month", "total")


def bounds(period: str, now_us: int) -> tuple[int, int]:
    """[start, end) in unix µs of the day, the month or all time around ``now_us``."""
    if period == "total":
        return 0, NEVER_US
    if period == "day":
        start_us = now_us - now_us % DAY_US
        return start_us, start_us + DAY_US
    today = datetime.fromtimestamp(now_us // 1_000_000, UTC)
    year, month = (today.year + 1, 1) if today.month == 12 else (today.year, today.month + 1)
    first = datetime(today.year, today.month, 1, tzinfo=UTC)
    following = datetime(year, month, 1, tzinfo=UTC)
    return _unix_us(first), _unix_us(following)


def _unix_us(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)).days * DAY_US


def limit(owner_kind: str, owner_id: str, period: str, limit_nano: int, now_us: int) -> Limit:
    """The window that counts now."""
    starts_us, ends_us = bounds(period, now_us)
    window_id = f"{owner_kind}:{owner_id}:{period}:{starts_us}"
    return Limit(window_id, owner_kind, owner_id, period, starts_us, ends_us, limit_nano)
