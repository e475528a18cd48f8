"""Rates never give more than limit + rate x time, refusals take nothing, places come back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmarket.core.errors import ApiError
from tokenmarket.limits import MINUTE_US, CallerLimits, Limits, Scope, Ticket, duration

PLENTY = 10**9


def pair(
    *,
    rpm: int = PLENTY,
    tpm: int = PLENTY,
    concurrency: int | None = None,
    org_rpm: int = PLENTY,
    org_tpm: int = PLENTY,
    org_concurrency: int | None = None,
) -> CallerLimits:
    return CallerLimits(
        Scope("key", rpm, tpm, concurrency),
        Scope("organization", org_rpm, org_tpm, org_concurrency),
    )


def taken(limits: CallerLimits, tokens: int, now_us: int) -> Ticket | ApiError:
    try:
        return limits.take(tokens, now_us)
    except ApiError as error:
        refused = error
    assert refused.code == "QUOTA_001"
    assert refused.retry_after_s is not None
    assert refused.retry_after_s > 0
    return refused


def state(limits: CallerLimits, now_us: int) -> list[tuple[int, int, int]]:
    return [
        (scope.requests.owed(now_us), scope.tokens.owed(now_us), scope.running)
        for scope in (limits.key, limits.organization)
    ]


def requests_left(limits: CallerLimits) -> int:
    """What the header tells a caller at time 0."""
    (line,) = [x for x in limits.headers(0).split(b"\r\n") if b"remaining-requests" in x]
    return int(line.rpartition(b" ")[2])


steps = st.lists(
    st.tuples(st.integers(0, 3 * MINUTE_US), st.integers(0, 400)), min_size=1, max_size=60
)


@given(rpm=st.integers(0, 50), tpm=st.integers(0, 1000), schedule=steps)
def test_no_window_of_any_schedule_gets_more_than_burst_and_rate(
    rpm: int, tpm: int, schedule: list[tuple[int, int]]
) -> None:
    limits = pair(rpm=rpm, tpm=tpm)
    now_us = 0
    admitted: list[tuple[int, int]] = []
    for wait_us, tokens in schedule:
        now_us += wait_us
        ticket = taken(limits, tokens, now_us)
        if isinstance(ticket, Ticket):
            ticket.done(None)
            admitted.append((now_us, tokens))
    for first, (start_us, _) in enumerate(admitted):
        total = 0
        for count, (at_us, tokens) in enumerate(admitted[first:], 1):
            assert count * MINUTE_US <= rpm * MINUTE_US + rpm * (at_us - start_us)
            # A request larger than the limit may run when the bucket is full, and owes the rest.
            assert total * MINUTE_US <= tpm * MINUTE_US + tpm * (at_us - start_us)
            total += tokens


@given(
    rpm=st.integers(0, 5),
    tpm=st.integers(0, 500),
    concurrency=st.integers(0, 3),
    schedule=steps,
)
def test_a_refusal_changes_nothing(
    rpm: int, tpm: int, concurrency: int, schedule: list[tuple[int, int]]
) -> None:
    limits = pair(rpm=rpm, org_tpm=tpm, org_concurrency=concurrency)
    now_us = 0
    running: list[Ticket] = []
    for wait_us, tokens in schedule:
        now_us += wait_us
        before = state(limits, now_us)
        ticket = taken(limits, tokens, now_us)
        if isinstance(ticket, ApiError):
            assert state(limits, now_us) == before
            if running and len(running) > 1:
                running.pop().done(tokens)
        else:
            running.append(ticket)
        assert limits.organization.running == len(running) <= concurrency


@given(schedule=steps)
def test_a_cancelled_place_leaves_no_trace(schedule: list[tuple[int, int]]) -> None:
    limits = pair(rpm=10**6, tpm=10**9)
    now_us = 1
    for wait_us, tokens in schedule:
        now_us += wait_us
        before = state(limits, now_us)
        limits.take(tokens, now_us).cancel()
        assert state(limits, now_us) == before


@given(limit=st.integers(1, 10**6), used=st.integers(1, 2000), tokens=st.integers(0, 10**6))
def test_the_wait_that_is_told_is_enough_and_not_too_long(
    limit: int, used: int, tokens: int
) -> None:
    limits = pair(tpm=limit)
    now_us = 1_000_000
    for _ in range(used):
        found = taken(limits, tokens, now_us)
        if isinstance(found, ApiError):
            assert found.retry_after_s is not None
            wait_us = int(found.retry_after_s * 1_000_000) + 1
            assert isinstance(taken(limits, tokens, now_us + wait_us), Ticket)
            return
        if tokens == 0:
            return


@given(
    limits=st.tuples(*[st.integers(0, 300)] * 4),
    taken_tokens=st.lists(st.integers(0, 500), max_size=20),
    now_us=st.integers(0, 2 * MINUTE_US),
)
def test_the_headers_tell_of_the_scope_with_less_left(
    limits: tuple[int, ...], taken_tokens: list[int], now_us: int
) -> None:
    both = pair(rpm=limits[0], tpm=limits[1], org_rpm=limits[2], org_tpm=limits[3])
    for tokens in taken_tokens:
        taken(both, tokens, 0)
    lines = [line.split(b": ") for line in both.headers(now_us).split(b"\r\n")[:-1]]
    told = {name.decode(): value for name, value in lines}
    assert len(told) == len(lines) == 6
    for unit in ("requests", "tokens"):
        rates = [getattr(scope, unit) for scope in (both.key, both.organization)]
        left = min(rate.left(now_us) for rate in rates)
        limit = int(told[f"x-ratelimit-limit-{unit}"])
        assert int(told[f"x-ratelimit-remaining-{unit}"]) == left
        full = [rate for rate in rates if rate.limit == limit and rate.left(now_us) == left]
        owed = [rate.owed(now_us) for rate in full]
        assert owed
        reset = told[f"x-ratelimit-reset-{unit}"]
        waits_us = [-(-debt // limit) if limit else MINUTE_US for debt in owed]
        assert reset in [duration(wait_us) for wait_us in waits_us]


def test_a_burst_of_the_limit_then_one_per_interval() -> None:
    limits = pair(rpm=60)
    for _ in range(60):
        limits.take(0, 5).done(0)
    refused = taken(limits, 0, 5)
    assert isinstance(refused, ApiError)
    assert refused.retry_after_s == pytest.approx(1.0)
    assert refused.details == {
        "limit": "requests per minute",
        "limit_value": 60,
        "scope": "key",
    }
    limits.take(0, 5 + 1_000_000)
    assert isinstance(taken(limits, 0, 5 + 1_500_000), ApiError)


def test_a_limit_of_zero_lets_nothing_through() -> None:
    changed = pair()
    changed.organization.change(PLENTY, 0, None)
    nothing = (pair(rpm=0), pair(tpm=0), pair(concurrency=0), pair(org_rpm=0), pair(org_tpm=0))
    for limits in (*nothing, changed):
        refused = taken(limits, 1, 10**12)
        assert isinstance(refused, ApiError)
        assert refused.retry_after_s


def test_tokens_are_trued_up_in_both_directions() -> None:
    limits = pair(tpm=1000)
    limits.take(800, 0).done(100)
    limits.take(900, 0).done(1500)  # used more than was thought: the rest is owed
    refused = taken(limits, 1, 0)
    assert isinstance(refused, ApiError)
    assert refused.reason == "tokens_per_minute"
    assert refused.retry_after_s == pytest.approx((1600 + 1 - 1000) / 1000 * 60)


def test_unknown_usage_keeps_the_estimate() -> None:
    limits = pair(tpm=1000)
    limits.take(1000, 0).done(None)
    assert isinstance(taken(limits, 1, 0), ApiError)


def test_a_place_is_given_back_once() -> None:
    limits = pair(concurrency=2)
    first, second = limits.take(1, 0), limits.take(1, 0)
    assert isinstance(taken(limits, 1, 0), ApiError)
    first.done(1)
    first.done(1)
    first.cancel()
    assert limits.key.running == 1
    third = limits.take(1, 0)
    assert isinstance(taken(limits, 1, 0), ApiError)
    for ticket in (second, third):
        ticket.cancel()
    assert limits.key.running == limits.organization.running == 0


def test_the_smaller_of_two_scopes_decides_and_is_named() -> None:
    limits = pair(rpm=5, org_rpm=2)
    for _ in range(2):
        limits.take(0, 0)
    refused = taken(limits, 0, 0)
    assert isinstance(refused, ApiError)
    assert refused.details is not None
    assert refused.details["scope"] == "organization"
    assert b"x-ratelimit-limit-requests: 2\r\n" in limits.headers(0)
    assert b"x-ratelimit-remaining-requests: 0\r\n" in limits.headers(0)


def test_keys_of_one_organisation_share_its_limit_and_not_each_others() -> None:
    limits = Limits(rpm_default=100, tpm_default=10**6)
    org = limits.scope("organization", "org_1", 3, None, None)
    one = CallerLimits(limits.scope("key", "key_1", 2, None, None), org)
    two = CallerLimits(limits.scope("key", "key_2", 2, None, None), org)
    one.take(0, 0)
    one.take(0, 0)
    assert isinstance(taken(one, 0, 0), ApiError)
    two.take(0, 0)
    assert isinstance(taken(two, 0, 0), ApiError)  # three in all
    assert limits.scope("organization", "org_1", 3, None, None) is org


@given(before=st.integers(0, 1000), after=st.integers(0, 1000), used=st.integers(0, 1000))
def test_a_changed_limit_keeps_debts_in_proportion_and_places(
    before: int, after: int, used: int
) -> None:
    scope = Scope("key", before, before, 5)
    limits = CallerLimits(scope, Scope("organization", PLENTY, PLENTY, None))
    running = 0
    for _ in range(min(used, before, 5)):
        limits.take(1, 0)
        running += 1
    left = requests_left(limits)
    scope.change(after, after, None)
    assert scope.running == running
    assert 0 <= requests_left(limits) <= after
    if before and after:
        assert abs(requests_left(limits) - left * after / before) <= 1
    assert scope.requests.owed(0) <= max(1, after * MINUTE_US)


def test_a_clock_that_goes_back_gives_nothing() -> None:
    limits = pair(rpm=1)
    limits.take(0, 10**12)
    assert isinstance(taken(limits, 0, 0), ApiError)
    assert isinstance(taken(limits, 0, 10**12), ApiError)


def test_durations_look_like_openais() -> None:
    assert [duration(us) for us in (0, 1, 120_000, 1_000_000, 60_000_000, 361_000_000)] == [
        b"0ms",
        b"1ms",
        b"120ms",
        b"1s",
        b"1m0s",
        b"6m1s",
    ]
