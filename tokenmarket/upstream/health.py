"""How each (provider, upstream model) is doing: circuit breaker, latency, counts to be collected.

State and arithmetic only; time comes from the clock that is handed in. The life of a breaker:

    closed     -> open       failures in a row, a failure rate in the window, or the upstream says
                             Retry-After with an overload
    open       -> half-open  when the cool-down is over: ``begin`` lets one request through
    half-open  -> closed     that request succeeded
               -> open       it failed: the cool-down doubles

What counts against a route is what its provider's machines do (no connection, timeouts, 5xx,
broken streams, overload). What our credential suffers is ``credentials.py``'s, and what the caller
wrote wrong proves that the upstream is alive.

What was counted since the last ``collect`` is a ``Tally``; ``reports`` takes it once a minute. Per
attempt that is an addition or two: times to the first byte are counted in classes.
"""

from __future__ import annotations

from collections.abc import Callable
from math import frexp
from typing import Final

import msgspec

from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.routing import AVAILABLE, RouteState

AGAINST_ROUTE: Final = frozenset(
    {"timeout", "upstream_error", "connect", "stream_broken", "overloaded", "not_found"}
)
ALIVE: Final = frozenset({"bad_request", "context_too_long", "content_policy"})
# Our own doing, or a lost race with an idle timeout: says nothing about the route.
NEUTRAL_STAGES: Final = frozenset({"pool", "reuse"})
_SLICES: Final = 6
_BLEND: Final = 0.2  # weight of the newest in an average


class Breaker(msgspec.Struct, frozen=True):
    """When to open, and for how long. Seconds and shares of 1."""

    failures_in_a_row: int = 5
    failure_share: float = 0.5
    window_s: float = 60.0
    window_requests_min: int = 20
    cooldown_s: float = 5.0
    cooldown_s_max: float = 300.0
    probe_s: float = 60.0  # a probe that nobody reported on is forgotten after this


class Tally:
    """Attempts at one target since the last ``collect``.

    ``first_bytes``: how many answers had their first byte in each class of time; class n is
    [``class_ms(n)``, ``class_ms(n + 1)``), an eighth of a doubling. ``rates``: streams whose
    tokens per second were measured, ``rate_sum`` their sum.
    """

    __slots__ = ("failed", "first_bytes", "good", "rate_sum", "rates")

    def __init__(self) -> None:
        self.good = 0
        self.failed = 0
        self.first_bytes: dict[int, int] = {}
        self.rates = 0
        self.rate_sum = 0.0


_CLASSES: Final = 8  # per doubling: a class is at most an eighth wide


def class_ms(number: int) -> float:
    """Where a class of times begins, in milliseconds."""
    exponent, part = divmod(number, _CLASSES)
    return (_CLASSES + part) / (2 * _CLASSES) * 2.0**exponent


class _State:
    """One target. The window has six slices: a ring of pairs."""

    __slots__ = (
        "cooldown_s",
        "in_a_row",
        "in_slice",
        "latency_ms",
        "open_until_s",
        "probe_since_s",
        "reason",
        "slice_",
        "tally",
        "tokens_per_s",
        "turns_s",
        "window",
    )

    def __init__(self) -> None:
        self.in_a_row = 0
        self.open_until_s: float | None = None  # None: closed
        self.probe_since_s: float | None = None
        self.cooldown_s = 0.0
        self.reason: str | None = None
        self.latency_ms: float | None = None
        self.tokens_per_s: float | None = None
        self.slice_ = 0
        self.turns_s = 0.0  # when the current slice ends
        self.window = [[0, 0] for _ in range(_SLICES)]  # [good, bad]
        self.in_slice = self.window[0]  # the current pair
        self.tally: Tally | None = None

    def turn(self, now_s: float, slice_s: float) -> None:
        """Forget the slices that have passed; for ``now_s`` not before ``turns_s``."""
        self.slice_ = _turn(self.window, self.slice_, int(now_s / slice_s))
        self.in_slice = self.window[self.slice_ % _SLICES]
        self.turns_s = (self.slice_ + 1) * slice_s

    def forget_window(self) -> None:
        self.window = [[0, 0] for _ in range(_SLICES)]
        self.in_slice = self.window[self.slice_ % _SLICES]


def _turn(ring: list[list[int]], before: int, now: int) -> int:
    if now == before:
        return before
    for passed in range(max(before + 1, now - len(ring) + 1), now + 1):
        ring[passed % len(ring)] = [0, 0]
    return max(now, before)


class Health:
    """All targets of this process. Bounded: the longest unused target is forgotten first."""

    def __init__(
        self, clock: Callable[[], float], breaker: Breaker | None = None, *, targets_max: int = 4096
    ) -> None:
        """``clock`` is monotonic, in seconds."""
        self._clock = clock
        self._breaker = breaker or Breaker()
        self._slice_s = self._breaker.window_s / _SLICES
        self._targets_max = targets_max
        self._states: dict[tuple[str, str], _State] = {}

    def snapshot_for(self, route: Route) -> RouteState:
        """What routing may know; changes nothing. Averages are None until something was seen."""
        state = self._states.get((route.provider.name, route.upstream_model))
        if state is None:
            return AVAILABLE
        if state.open_until_s is None:  # the usual case, by position: it is asked for every request
            return RouteState(True, None, None, None, state.latency_ms, state.tokens_per_s)
        wait_s = self._closed_for_s(state, self._clock())
        return RouteState(
            available=wait_s is None,
            kind=None if wait_s is None else "cooling",
            reason=None if wait_s is None else state.reason,
            retry_after_s=wait_s,
            latency_ms=state.latency_ms,
            tokens_per_s=state.tokens_per_s,
        )

    def collect(self) -> list[tuple[str, str, Tally]]:
        """(provider, upstream model, what was counted) since the last call; those without attempts
        are left out."""
        found: list[tuple[str, str, Tally]] = []
        for (provider, upstream_model), state in self._states.items():
            if state.tally is not None:
                found.append((provider, upstream_model, state.tally))
                state.tally = None
        return found

    def begin(self, route: Route) -> bool:
        """Call right before an attempt; False: skip this route, it is cooling down.

        When the cool-down is over only one caller gets True until that attempt is recorded with
        ``success``, ``failure`` or ``abandoned``.
        """
        state = self._states.get((route.provider.name, route.upstream_model))
        if state is None or state.open_until_s is None:
            return True
        now_s = self._clock()
        if self._closed_for_s(state, now_s) is not None:
            return False
        state.probe_since_s = now_s
        return True

    def closed(self, route: Route) -> bool:
        """Whether its breaker is closed: any number of requests may be sent."""
        state = self._states.get((route.provider.name, route.upstream_model))
        return state is None or state.open_until_s is None

    def reset(self, provider: str, upstream_model: str | None = None) -> None:
        """Close the breaker of a target (None: of all of the provider's)."""
        for (name, model), state in self._states.items():
            if name == provider and upstream_model in (None, model):
                state.in_a_row = 0
                self._close(state)

    def abandoned(self, route: Route) -> None:
        """The attempt ended without a verdict (the caller left): another may probe."""
        state = self._states.get((route.provider.name, route.upstream_model))
        if state is not None:
            state.probe_since_s = None

    def success(
        self,
        route: Route,
        *,
        first_byte_ms: float | None = None,
        tokens_per_s: float | None = None,
    ) -> None:
        state = self._state(route)
        now_s = self._clock()
        if now_s >= state.turns_s:
            state.turn(now_s, self._slice_s)
        state.in_slice[0] += 1
        tally = state.tally
        if tally is None:
            tally = state.tally = Tally()
        tally.good += 1
        state.in_a_row = 0
        if state.open_until_s is not None:
            self._close(state)
        if first_byte_ms is not None:
            before = state.latency_ms
            state.latency_ms = (
                first_byte_ms if before is None else before + _BLEND * (first_byte_ms - before)
            )
            share, exponent = frexp(first_byte_ms)
            class_ = exponent * _CLASSES + int(share * (2 * _CLASSES)) - _CLASSES
            classes = tally.first_bytes
            classes[class_] = classes.get(class_, 0) + 1
        if tokens_per_s is not None:
            tally.rates += 1
            tally.rate_sum += tokens_per_s
            state.tokens_per_s = _blend(state.tokens_per_s, tokens_per_s)

    def failure(self, route: Route, error: UpstreamError) -> None:
        if error.kind in ALIVE:
            self.success(route)
            return
        if error.kind not in AGAINST_ROUTE or error.stage in NEUTRAL_STAGES:
            self.abandoned(route)
            return
        state = self._state(route)
        now_s = self._clock()
        if now_s >= state.turns_s:
            state.turn(now_s, self._slice_s)
        state.in_slice[1] += 1
        if state.tally is None:
            state.tally = Tally()
        state.tally.failed += 1
        state.in_a_row += 1
        said_s = error.retry_after_s if error.kind == "overloaded" else None
        # A model that is not there will not be there in five seconds either.
        missing = error.kind == "not_found"
        if state.open_until_s is not None or missing or said_s is not None or self._tripped(state):
            self._open(state, now_s, error, self._breaker.cooldown_s_max if missing else said_s)

    def _state(self, route: Route) -> _State:
        key = (route.provider.name, route.upstream_model)
        state = self._states.get(key)
        if state is None:
            while len(self._states) >= self._targets_max:
                del self._states[next(iter(self._states))]
            state = self._states[key] = _State()
        elif len(self._states) > self._targets_max // 2:  # keep the order of use when it matters
            self._states[key] = self._states.pop(key)
        return state

    def _tripped(self, state: _State) -> bool:
        rule = self._breaker
        if state.in_a_row >= rule.failures_in_a_row:
            return True
        good = sum(pair[0] for pair in state.window)
        bad = sum(pair[1] for pair in state.window)
        return good + bad >= rule.window_requests_min and bad >= rule.failure_share * (good + bad)

    def _open(
        self, state: _State, now_s: float, error: UpstreamError, said_s: float | None
    ) -> None:
        rule = self._breaker
        # Failures of requests that began before the breaker opened do not lengthen the cool-down.
        if state.open_until_s is not None and now_s < state.open_until_s:
            return
        state.cooldown_s = min(max(2 * state.cooldown_s, rule.cooldown_s), rule.cooldown_s_max)
        wait_s = max(state.cooldown_s, min(said_s or 0.0, rule.cooldown_s_max))
        state.open_until_s = now_s + wait_s
        state.probe_since_s = None
        state.reason = error.kind if error.stage is None else f"{error.kind}_{error.stage}"

    @staticmethod
    def _close(state: _State) -> None:
        state.open_until_s = state.probe_since_s = state.reason = None
        state.cooldown_s = 0.0
        state.forget_window()

    def _closed_for_s(self, state: _State, now_s: float) -> float | None:
        """Seconds until the next request may try; None: now."""
        if state.open_until_s is None:
            return None
        if now_s < state.open_until_s:
            return state.open_until_s - now_s
        if state.probe_since_s is None:
            return None
        left_s = state.probe_since_s + self._breaker.probe_s - now_s
        return left_s if left_s > 0 else None


def _blend(before: float | None, value: float) -> float:
    return value if before is None else before + _BLEND * (value - before)
