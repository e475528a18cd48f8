"""The circuit breaker's life, its averages and its memory."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.upstream.fake import Clock
from tokenmarket.core.catalog import Model, Provider, Route
from tokenmarket.core.errors import FailureKind, UpstreamError
from tokenmarket.core.pricing import PriceSheet
from tokenmarket.core.routing import AVAILABLE
from tokenmarket.upstream.health import Breaker, Health, class_ms

RULE = Breaker(failures_in_a_row=3, cooldown_s=5, cooldown_s_max=40, window_requests_min=10)
PRICES = PriceSheet("v1", ())


def make_route(name: str = "m", provider: str = "p") -> Route:
    model = Model(id=name, operation="chat", name_en=name, name_zh=name, vendor="v")
    return Route(model, Provider(provider, "openai", "https://p.example/v1"), name, PRICES)


ROUTE = make_route()
BROKEN = UpstreamError("upstream_error", "500", status=500)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(clock, RULE)


def fail(health: Health, times: int, error: UpstreamError = BROKEN) -> None:
    for _ in range(times):
        health.failure(ROUTE, error)


def test_a_new_route_is_available(health: Health) -> None:
    assert health.snapshot_for(ROUTE) is AVAILABLE
    assert health.begin(ROUTE)


def test_failures_in_a_row_open_the_breaker(health: Health, clock: Clock) -> None:
    fail(health, 2)
    health.success(ROUTE)
    fail(health, 2)
    assert health.snapshot_for(ROUTE).available
    fail(health, 1)
    state = health.snapshot_for(ROUTE)
    assert (state.available, state.kind, state.reason) == (False, "cooling", "upstream_error")
    assert state.retry_after_s == 5
    assert not health.begin(ROUTE)
    assert health.snapshot_for(make_route("other")).available


def test_half_open_lets_one_through(health: Health, clock: Clock) -> None:
    fail(health, 3)
    clock.now_s += 5
    assert health.snapshot_for(ROUTE).available
    assert health.begin(ROUTE)
    assert not health.begin(ROUTE)
    assert not health.snapshot_for(ROUTE).available
    health.success(ROUTE)
    assert health.begin(ROUTE)
    assert health.begin(ROUTE)


def test_cool_downs_double_and_success_ends_that(health: Health, clock: Clock) -> None:
    fail(health, 3)
    waits: list[float | None] = []
    for _ in range(5):
        wait_s = health.snapshot_for(ROUTE).retry_after_s
        waits.append(wait_s)
        clock.now_s += wait_s or 0
        assert health.begin(ROUTE)
        fail(health, 1)
    assert waits == [5, 10, 20, 40, 40]
    clock.now_s += 40
    assert health.begin(ROUTE)
    health.success(ROUTE)
    fail(health, 3)
    assert health.snapshot_for(ROUTE).retry_after_s == 5


def test_late_failures_do_not_lengthen_the_cool_down(health: Health, clock: Clock) -> None:
    fail(health, 3)
    clock.now_s += 1
    fail(health, 20)
    assert health.snapshot_for(ROUTE).retry_after_s == 4


def test_a_probe_that_nobody_reports_on_is_forgotten(health: Health, clock: Clock) -> None:
    fail(health, 3)
    clock.now_s += 5
    assert health.begin(ROUTE)
    clock.now_s += RULE.probe_s - 1
    assert health.snapshot_for(ROUTE).retry_after_s == 1
    clock.now_s += 1
    assert health.begin(ROUTE)
    health.abandoned(ROUTE)
    assert health.begin(ROUTE)


def test_failure_share_opens_the_breaker(health: Health, clock: Clock) -> None:
    for _ in range(4):
        health.success(ROUTE)
        fail(health, 1)
    assert health.snapshot_for(ROUTE).available
    health.success(ROUTE)
    fail(health, 1)
    assert not health.snapshot_for(ROUTE).available


def test_old_failures_leave_the_window(health: Health, clock: Clock) -> None:
    for _ in range(4):
        health.success(ROUTE)
        fail(health, 1)
    clock.now_s += RULE.window_s
    health.success(ROUTE)
    fail(health, 1)
    assert health.snapshot_for(ROUTE).available


def test_retry_after_of_an_overload_is_obeyed(health: Health, clock: Clock) -> None:
    fail(health, 1, UpstreamError("overloaded", "busy", status=503, retry_after_s=30))
    assert health.snapshot_for(ROUTE).retry_after_s == 30
    clock.now_s += 30
    assert health.begin(ROUTE)
    fail(health, 1, UpstreamError("overloaded", "busy", status=503, retry_after_s=1e9))
    assert health.snapshot_for(ROUTE).retry_after_s == RULE.cooldown_s_max


def test_a_model_that_is_missing_cools_for_long(health: Health) -> None:
    fail(health, 1, UpstreamError("not_found", "no such model", status=404))
    assert health.snapshot_for(ROUTE).retry_after_s == RULE.cooldown_s_max


@pytest.mark.parametrize(
    "error",
    [
        UpstreamError("auth", "x"),
        UpstreamError("rate_limited", "x", retry_after_s=9),
        UpstreamError("no_balance", "x"),
        UpstreamError("bad_request", "x"),
        UpstreamError("content_policy", "x"),
        UpstreamError("upstream_error", "x", stage="reuse"),
        UpstreamError("connect", "x", stage="pool"),
    ],
    ids=lambda error: error.kind,
)
def test_what_is_not_the_routes_fault(health: Health, error: UpstreamError) -> None:
    fail(health, 50, error)
    assert health.snapshot_for(ROUTE).available


def test_timeouts_name_their_stage(health: Health) -> None:
    fail(health, 3, UpstreamError("timeout", "slow", stage="first_byte"))
    assert health.snapshot_for(ROUTE).reason == "timeout_first_byte"


def test_averages(health: Health) -> None:
    health.success(ROUTE, first_byte_ms=100, tokens_per_s=50)
    health.success(ROUTE, first_byte_ms=200)
    state = health.snapshot_for(ROUTE)
    assert state.latency_ms == pytest.approx(120)
    assert state.tokens_per_s == 50


def test_what_was_counted_is_collected_once(health: Health) -> None:
    assert health.collect() == []
    health.success(ROUTE, first_byte_ms=100, tokens_per_s=50)
    health.success(ROUTE, first_byte_ms=101, tokens_per_s=30)
    health.failure(ROUTE, UpstreamError("bad_request", "the caller's fault: it is alive"))
    fail(health, 2)
    health.failure(ROUTE, UpstreamError("auth", "the key's fault: says nothing of the route"))
    [(provider, upstream_model, tally)] = health.collect()
    assert (provider, upstream_model) == ("p", "m")
    assert (tally.good, tally.failed) == (3, 2)
    assert sum(tally.first_bytes.values()) == 2
    assert (tally.rates, tally.rate_sum) == (2, 80)
    assert health.collect() == []


@given(st.floats(min_value=0.001, max_value=1e6))
def test_a_time_is_counted_in_its_class(first_byte_ms: float) -> None:
    health = Health(Clock(), RULE)
    health.success(ROUTE, first_byte_ms=first_byte_ms)
    [(_, _, tally)] = health.collect()
    [class_] = tally.first_bytes
    assert class_ms(class_) <= first_byte_ms < class_ms(class_ + 1)
    assert class_ms(class_ + 1) <= class_ms(class_) * 1.126


def test_memory_is_bounded(clock: Clock) -> None:
    health = Health(clock, RULE, targets_max=10)
    kept = make_route("kept")
    for number in range(100):
        health.failure(kept, BROKEN)
        health.success(make_route(f"m{number}"))
    assert not health.snapshot_for(kept).available
    assert health.snapshot_for(make_route("m0")) is AVAILABLE
    counted = {name: tally for _, name, tally in health.collect()}
    assert counted["m99"].good == 1
    assert len(counted) == 10


KINDS: dict[str, FailureKind] = {
    "late": "timeout",
    "busy": "overloaded",
    "refused": "auth",
    "wrong": "bad_request",
    "missing": "not_found",
}


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["success", "begin", "abandoned", *KINDS]),
            st.floats(0, 100),
            st.none() | st.floats(0, 1e6),
        ),
        max_size=60,
    )
)
def test_no_route_is_shut_for_ever(
    steps: list[tuple[str, float, float | None]],
) -> None:
    clock = Clock()
    health = Health(clock, RULE)
    for step, passed_s, retry_after_s in steps:
        clock.now_s += passed_s
        if step == "success":
            health.success(ROUTE, first_byte_ms=passed_s)
        elif step in {"begin", "abandoned"}:
            getattr(health, step)(ROUTE)
        else:
            health.failure(ROUTE, UpstreamError(KINDS[step], "x", retry_after_s=retry_after_s))
        state = health.snapshot_for(ROUTE)
        assert state.available == (state.retry_after_s is None)
        assert state.available or 0 < (state.retry_after_s or 0) <= RULE.probe_s
    clock.now_s += RULE.cooldown_s_max + RULE.probe_s
    assert health.begin(ROUTE)
