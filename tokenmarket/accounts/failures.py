"""Failed authentications per address and minute: who keeps guessing is not looked up any more."""

from __future__ import annotations

import ipaddress
from typing import TypeVar

from tokenmarket.core.errors import ApiError

_K = TypeVar("_K")
_V = TypeVar("_V")

ADDRESSES_MAX = 10_000
FAILURES_PER_MINUTE = 100  # per IPv4 address or IPv6 /64


class Failures:
    """Bounded. ``address`` is an IPv4 address or one of a /64; None counts as one more."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, int]] = {}  # address -> (minute, failures)

    def add(self, address: str | None, now_us: int) -> None:
        source = source_of(address)
        minute = now_us // 60_000_000
        seen_minute, count = self._counts.get(source, (minute, 0))
        if source not in self._counts:
            bound(self._counts, ADDRESSES_MAX)
        self._counts[source] = (minute, count + 1 if seen_minute == minute else 1)

    def check(self, address: str | None, now_us: int) -> None:
        """ApiError QUOTA_001 when this address has used up its failures for this minute."""
        minute = now_us // 60_000_000
        seen_minute, count = self._counts.get(source_of(address), (minute, 0))
        if seen_minute == minute and count >= FAILURES_PER_MINUTE:
            raise ApiError(
                "QUOTA_001",
                "Too many unknown API keys from this address; try again in a minute.",
                reason="too_many_failed_authentications",
                retry_after_s=60 - now_us // 1_000_000 % 60,
            )


def source_of(address: str | None) -> str:
    """IPv4 address or IPv6 /64: who has one IPv6 address has 2**64 of them."""
    parsed = address_of(address)
    if parsed is None:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address):
        return format(int(parsed) >> 64, "x")
    return str(parsed)


def address_of(text: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address((text or "").partition("%")[0])
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped  # a dual-stack socket shows IPv4 callers like this
    return parsed


def bound(entries: dict[_K, _V], entries_max: int) -> None:
    """Make room for one more by dropping the oldest."""
    if len(entries) >= entries_max:
        del entries[next(iter(entries))]
