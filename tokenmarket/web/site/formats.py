"""Numbers, money and times as people read them; pure, by language and time zone.

Money is exact: integers in nano-USD become decimal text with every digit that is not a trailing
zero, at least two. Times are ISO style in both languages, because ``11/12`` means two days.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from babel.numbers import format_compact_decimal, format_decimal

from tokenmarket.core.money import NANO_PER_USD
from tokenmarket.web.site.i18n import LOCALE

SIGN = {"en": "$", "zh": "US$"}


def money(lang: str, nano: int, digits: int | None = None) -> str:
    """``$1,234.5678``. ``digits``: exactly so many after the point, half up, for charts and sums
    where the exact amount stands beside it."""
    sign = "−" if nano < 0 else ""
    nano = abs(nano)
    if digits is None:
        whole, part = divmod(nano, NANO_PER_USD)
        fraction = f"{part:09d}".rstrip("0").ljust(2, "0")
    else:
        step = 10 ** (9 - digits)
        whole, part = divmod((nano + step // 2) // step, 10**digits)
        fraction = f"{part:0{digits}d}" if digits else ""
    # both languages group by three with a comma; Babel takes thirty times as long
    return f"{sign}{SIGN[lang]}{whole:,}{'.' if fraction else ''}{fraction}"


def number(lang: str, value: int | Decimal | float) -> str:
    """Grouped: ``12,345.6``."""
    if isinstance(value, int):
        return f"{value:,}"
    return format_decimal(value, locale=LOCALE[lang])


def compact(lang: str, value: int) -> str:
    """``412.6M`` and ``4.1亿``."""
    if abs(value) < 10_000:
        return format_decimal(value, locale=LOCALE[lang])
    return format_compact_decimal(value, locale=LOCALE[lang], fraction_digits=1)


def moment(zone: ZoneInfo, us: int) -> str:
    """``2026-11-24 09:15:04`` in the zone."""
    return _at(zone, us).strftime("%Y-%m-%d %H:%M:%S")


def day(zone: ZoneInfo, us: int) -> str:
    """``2026-11-24`` in the zone."""
    return _at(zone, us).strftime("%Y-%m-%d")


def iso(zone: ZoneInfo, us: int) -> str:
    """With offset, for CSV files and ``<time datetime>``."""
    return _at(zone, us).isoformat(timespec="seconds")


def milliseconds(lang: str, value: float | None) -> str:
    """``840 ms``, ``12.4 s``; a dash for what was not measured."""
    if value is None:
        return "—"
    if value < 1_000:
        return f"{format_decimal(round(value), locale=LOCALE[lang])} ms"
    return f"{format_decimal(round(value / 1000, 1), locale=LOCALE[lang])} s"


def size(lang: str, count: int) -> str:
    """``1.2 MB``."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{format_decimal(round(value, 1), locale=LOCALE[lang])} {unit}"


def percent(lang: str, share: float | None, digits: int = 1) -> str:
    """``99.9 %`` of a share between 0 and 1; a dash for what was not measured."""
    if share is None:
        return "—"
    return f"{format_decimal(round(share * 100, digits), locale=LOCALE[lang])}%"


def _at(zone: ZoneInfo, us: int) -> datetime:
    return datetime.fromtimestamp(us // 1_000_000, UTC).astimezone(zone)
