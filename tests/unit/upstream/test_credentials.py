"""Keys: turn, rest, limits, and that they never show themselves."""

from __future__ import annotations

import pickle
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.upstream.fake import Clock
from tokenmarket.core.catalog import Provider, ProviderLimits
from tokenmarket.core.errors import FailureKind, UpstreamError
from tokenmarket.upstream.credentials import Credential, CredentialPool, Minute, Secret

BEARERS = (
    "bedrock",
    "cohere",
    "jina",
    "kling",
    "luma",
    "recraft",
    "replicate",
    "runway",
    "stability",
    "vertex",
    "voyage",
)


def make_pool(
    clock: Clock,
    *keys: str,
    adapter: str = "openai",
    limits: ProviderLimits | None = None,
    variable: str | None = "P_API_KEY",
) -> CredentialPool:
    provider = Provider(
        "p",
        adapter,
        "https://p.example/v1",
        api_key_env=variable,
        limits=limits or ProviderLimits(),
    )
    return CredentialPool(provider, secrets(keys), clock)


def secrets(keys: Iterable[str]) -> list[tuple[str, Secret]]:
    return [(key, Secret(f"sk-{key}")) for key in keys]


@pytest.fixture
def clock() -> Clock:
    return Clock()


def use(pool: CredentialPool, kind: FailureKind | None = None, **said: float) -> str | None:
    credential = pool.acquire("m")
    if credential is None:
        return None
    error = None if kind is None else UpstreamError(kind, "x", retry_after_s=said.get("retry_s"))
    pool.release(credential, error, "m")
    return credential.id


def test_keys_take_turns(clock: Clock) -> None:
    pool = make_pool(clock, "a", "b", "c")
    assert [use(pool) for _ in range(5)] == ["a", "b", "c", "a", "b"]


def test_a_refused_key_rests_and_comes_back(clock: Clock) -> None:
    pool = make_pool(clock, "a", "b")
    assert use(pool, "auth") == "a"
    assert [use(pool) for _ in range(3)] == ["b", "b", "b"]
    assert pool.credentials[0].alert == "auth"
    clock.now_s += 600
    assert use(pool) == "a"
    assert pool.credentials[0].alert is None


def test_all_keys_resting(clock: Clock) -> None:
    pool = make_pool(clock, "a", "b")
    use(pool, "no_balance")
    clock.now_s += 10
    use(pool, "quota_exhausted", retry_s=50)
    state = pool.state("m")
    assert (state.available, state.kind, state.retry_after_s) == (False, "cooling", 50)
    assert state.reason == "every credential is resting (quota_exhausted)"
    assert use(pool) is None
    assert pool.state("other").available is False
    clock.now_s += 50
    assert use(pool) == "b"


def test_rate_limits_rest_the_key_for_that_model_only(clock: Clock) -> None:
    pool = make_pool(clock, "a")
    assert use(pool, "rate_limited", retry_s=20) == "a"
    assert pool.state("m").retry_after_s == 20
    assert pool.state("other").available
    assert pool.acquire("m") is None
    assert pool.acquire("other") is not None
    assert pool.credentials[0].alert is None


def test_rests_double_without_retry_after_and_success_ends_that(clock: Clock) -> None:
    pool = make_pool(clock, "a")
    waits: list[float | None] = []
    for _ in range(8):
        use(pool, "rate_limited")
        waits.append(pool.state("m").retry_after_s)
        clock.now_s += waits[-1] or 0
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    use(pool)
    use(pool, "rate_limited")
    assert pool.state("m").retry_after_s == 1


def test_answers_to_older_requests_do_not_lengthen_a_rest(clock: Clock) -> None:
    pool = make_pool(clock, "a")
    running = [pool.acquire("m") for _ in range(5)]
    for credential in running:
        assert credential is not None
        pool.release(credential, UpstreamError("auth", "x"), "m")
    assert pool.state("m").retry_after_s == 600
    assert pool.in_flight == 0


@pytest.mark.parametrize("kind", ["timeout", "upstream_error", "bad_request", "connect"])
def test_other_failures_are_not_the_keys_fault(clock: Clock, kind: FailureKind) -> None:
    pool = make_pool(clock, "a")
    assert use(pool, kind) == "a"
    assert pool.state("m").available


def test_no_key(clock: Clock) -> None:
    pool = make_pool(clock)
    state = pool.state("m")
    assert (state.available, state.kind, state.reason) == (False, "missing", "set P_API_KEY")
    assert pool.acquire("m") is None


def test_a_server_without_keys(clock: Clock) -> None:
    assert make_pool(clock, adapter="vllm").acquire("m") is None  # a variable is named: set it
    pool = make_pool(clock, adapter="vllm", variable=None)
    credential = pool.acquire("m")
    assert credential is not None
    assert credential.headers == ()
    assert make_pool(clock, "k", adapter="vllm").credentials[0].headers != ()


@pytest.mark.parametrize(
    ("adapter", "headers"),
    [
        ("openai", (("authorization", "Bearer sk-k"),)),
        ("anthropic", (("x-api-key", "sk-k"),)),
        ("azure", (("api-key", "sk-k"),)),
        ("assemblyai", (("authorization", "sk-k"),)),
        ("azure_speech", (("ocp-apim-subscription-key", "sk-k"),)),
        ("volcengine", (("x-api-key", "sk-k"),)),
        ("fal", (("authorization", "Key sk-k"),)),
        ("gemini", (("x-goog-api-key", "sk-k"),)),
        *((name, (("authorization", "Bearer sk-k"),)) for name in BEARERS),
    ],
)
def test_how_a_key_is_shown(
    clock: Clock, adapter: str, headers: tuple[tuple[str, str], ...]
) -> None:
    assert make_pool(clock, "k", adapter=adapter).credentials[0].headers == headers


def test_concurrency_limit(clock: Clock) -> None:
    pool = make_pool(clock, "a", "b", limits=ProviderLimits(concurrency=2))
    first = pool.acquire("m")
    assert first is not None
    assert pool.acquire("m") is not None
    assert pool.acquire("m") is None
    assert pool.state("m").kind == "limit"
    pool.release(first, None, "m")
    assert pool.state("m").available


def test_requests_per_minute(clock: Clock) -> None:
    pool = make_pool(clock, "a", limits=ProviderLimits(rpm=3))
    assert [use(pool) for _ in range(4)] == ["a", "a", "a", None]
    assert pool.state("m").retry_after_s == 60
    clock.now_s += 59
    assert use(pool) is None
    clock.now_s += 1
    assert use(pool) == "a"


def test_tokens_per_minute(clock: Clock) -> None:
    pool = make_pool(clock, "a", limits=ProviderLimits(tpm=1000))
    pool.used(999)
    assert pool.state("m").available
    pool.used(-5)
    pool.used(1)
    assert pool.state("m").reason == "our limit of tokens per minute at p"
    clock.now_s += 60
    assert pool.state("m").available


def test_update_keeps_what_stays(clock: Clock) -> None:
    pool = make_pool(clock, "a", "b")
    held = pool.acquire("m")
    assert held is not None
    use(pool, "auth")
    provider = Provider("p", "openai", "https://p.example/v1")
    pool.update(provider, [("b", Secret("sk-b")), ("c", Secret("sk-c"))])
    assert [use(pool) for _ in range(3)] == ["c", "c", "c"]
    pool.release(held, None, "m")  # the key is gone, its request still ends
    assert pool.in_flight == 0
    pool.update(provider, [("b", Secret("sk-new"))])
    assert use(pool) == "b"


@pytest.mark.parametrize("key", ["a\nb", "a\r\nx: y", " a", "a\0", "键"])
def test_a_key_that_cannot_be_a_header_is_refused_unseen(clock: Clock, key: str) -> None:
    provider = Provider("p", "openai", "https://p.example/v1")
    with pytest.raises(ValueError, match="header value") as raised:
        CredentialPool(provider, [("a", Secret(key + "secret"))], clock)
    assert "secret" not in str(raised.value)


def test_a_secret_does_not_show_itself(clock: Clock) -> None:
    secret = Secret("sk-very-secret")
    assert repr(secret) == str(secret) == f"{secret}" == "***"
    assert secret == Secret("sk-very-secret")
    assert secret != Secret("sk-other")
    assert secret != "sk-very-secret"
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    pool = CredentialPool(Provider("p", "openai", "https://p.example"), [("a", secret)], clock)
    assert "secret" not in repr(pool.credentials)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 40), st.integers(0, 100)), max_size=50))
def test_a_minute_is_the_sum_of_its_seconds(steps: list[tuple[float, int]]) -> None:
    now_s = 5000.0
    minute = Minute()
    seen: list[tuple[int, int]] = []
    for passed_s, count in steps:
        now_s += passed_s
        minute.turn(now_s)
        minute.add(count)
        seen.append((int(now_s), count))
        assert minute.total == sum(n for second, n in seen if second > int(now_s) - 60)
        wait_s = minute.frees_s(now_s)
        assert 0 <= wait_s <= 60
        if minute.total:
            assert wait_s > 0


REFUSALS: dict[str, FailureKind] = {
    "refused": "auth",
    "limited": "rate_limited",
    "not for this": "forbidden",
    "late": "timeout",
}
STEPS = st.tuples(
    st.sampled_from(["acquire", "release", "left", *REFUSALS]),
    st.sampled_from(["m", "other"]),
    st.floats(0, 700),
    st.none() | st.floats(0, 100),
)


@settings(deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_an_only_key_without_limits_is_no_special_case(
    steps: list[tuple[str, str, float, float | None]],
) -> None:
    """A limit that is never met takes the general path; both must do the same."""
    clock = Clock()
    pools = [make_pool(clock, "a"), make_pool(clock, "a", limits=ProviderLimits(rpm=10**6))]
    assert [pool.only is None for pool in pools] == [False, True]
    held: list[list[Credential]] = [[], []]
    for step, model, passed_s, retry_after_s in steps:
        clock.now_s += passed_s
        for pool, mine in zip(pools, held, strict=True):
            if step == "acquire":
                credential = pool.acquire(model)
                mine += [] if credential is None else [credential]
            elif mine:
                error = None
                if step in REFUSALS:
                    error = UpstreamError(REFUSALS[step], "x", retry_after_s=retry_after_s)
                pool.release(mine.pop(), error, model, verdict=step != "left")
        fast, general = pools
        for name in ("m", "other"):
            assert fast.state(name) == general.state(name)
        assert fast.in_flight == general.in_flight == fast.credentials[0].in_flight
        assert fast.credentials[0].alert == general.credentials[0].alert
        assert len(held[0]) == len(held[1])


def test_a_limit_that_comes_with_a_new_catalog_is_kept(clock: Clock) -> None:
    pool = make_pool(clock, "a")
    assert use(pool) == "a"
    limits = ProviderLimits(rpm=1, concurrency=5)
    provider = Provider("p", "openai", "https://p.example/v1", limits=limits)
    pool.update(provider, secrets(["a"]))
    assert [use(pool), use(pool)] == ["a", None]
    pool.update(provider, secrets(["a", "b"]))
    assert use(pool) is None
