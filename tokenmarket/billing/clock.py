"""Time as billing sees it: handed in, so that a test can move it."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Integer microseconds. Wall time decides what expires; monotonic time decides what waits."""

    def wall_us(self) -> int: ...

    def monotonic_us(self) -> int: ...


class SystemClock:
    """The machine's clocks."""

    def wall_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic_us(self) -> int:
        return time.monotonic_ns() // 1000
