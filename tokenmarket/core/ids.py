"""Ids that sort by time and cannot be guessed: ``req_`` + 14 hex of microseconds + 20 hex random.

The time part makes an index append-only and a list of ids chronological; 80 random bits make an id
useless to guess (``design/security.md`` A7). Time and randomness are handed in.
"""

from __future__ import annotations

import re
from collections.abc import Callable

RANDOM_BYTES = 10

_RANDOM_HEX = 2 * RANDOM_BYTES
_POOL_IDS = 512  # 5 KiB of randomness per refill: one system call per 512 ids
_SHAPE = re.compile(r"[a-z]{2,8}_[0-9a-f]{34}", re.ASCII)


def new_id(prefix: str, now_us: int, randomness: bytes) -> str:
    """One id, e.g. ``new_id("org", now_us, os.urandom(ids.RANDOM_BYTES))``."""
    if len(randomness) != RANDOM_BYTES:
        raise ValueError(f"an id takes {RANDOM_BYTES} random bytes, not {len(randomness)}")
    return f"{prefix}_{now_us:014x}{randomness.hex()}"


def is_id(text: str, prefix: str) -> bool:
    """Whether ``text`` has the shape of an id of this kind; takes any text."""
    return text.startswith(prefix + "_") and _SHAPE.fullmatch(text) is not None


def id_time_us(text: str) -> int:
    """The microseconds inside an id of the right shape."""
    start = text.index("_") + 1
    return int(text[start : start + 14], 16)


class RequestIds:
    """The request ids of one worker: strictly ascending, 0.3 us each.

    ``random_bytes(n)`` returns n unpredictable bytes (``os.urandom``); it is called once per 512
    ids. Two ids in the same microsecond, or after the clock was set back, still ascend: the time
    part then runs ahead of the clock by one per id.
    """

    __slots__ = ("_at", "_last_us", "_pool", "_random_bytes")

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._random_bytes = random_bytes
        self._pool = ""
        self._at = 0
        self._last_us = -1

    def next(self, now_us: int) -> str:
        """The id of the next request."""
        if now_us <= self._last_us:
            now_us = self._last_us + 1
        self._last_us = now_us
        at = self._at
        if at == len(self._pool):
            self._pool = self._random_bytes(_POOL_IDS * RANDOM_BYTES).hex()
            at = 0
        self._at = end = at + _RANDOM_HEX
        return f"req_{now_us:014x}{self._pool[at:end]}"
