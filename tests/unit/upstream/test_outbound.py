"""The four calls of the gateway."""

from __future__ import annotations

import pytest

from tests.unit.upstream.fake import Clock
from tokenmarket.adapters.protocol import Head, UpstreamRequest
from tokenmarket.core.catalog import Model, Provider, Route, Timeouts
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.pricing import PriceSheet
from tokenmarket.upstream.client import UpstreamClient
from tokenmarket.upstream.credentials import Secret
from tokenmarket.upstream.health import Breaker, Health
from tokenmarket.upstream.origin import Headers
from tokenmarket.upstream.outbound import Outbound

REAL = Provider("real", "openai", "https://p.example/v1", api_key_env="REAL_API_KEY")
BOX = Provider("box", "sandbox", "sandbox:")


def route(provider: Provider) -> Route:
    model = Model(id="m", operation="chat", name_en="m", name_zh="m", vendor="v")
    return Route(model, provider, "m", PriceSheet("v1", ()))


class LocalAnswer:
    head = Head(200, {})

    async def read(self, bytes_max: int) -> bytes:
        return b"{}"

    async def chunk(self) -> bytes:
        return b""

    def abort(self) -> None: ...


class Local:
    async def send(
        self, origin: object, request: UpstreamRequest, authorization: Headers, timeouts: Timeouts
    ) -> LocalAnswer:
        assert authorization == ()
        return LocalAnswer()


@pytest.fixture
def outbound() -> Outbound:
    clock = Clock()
    health = Health(clock, Breaker(failures_in_a_row=2))
    made = Outbound(UpstreamClient(), health, clock, local=Local())
    made.update(
        {"real": REAL, "box": BOX},
        lambda provider: [("env", Secret("sk-1"))] if provider is REAL else [],
    )
    return made


async def test_a_local_provider(outbound: Outbound) -> None:
    credential = outbound.acquire(route(BOX))
    request = UpstreamRequest("/x", (), b"{}")
    answer = await outbound.send(route(BOX), credential, request, Timeouts())
    assert await answer.read(10) == b"{}"
    outbound.release(route(BOX), credential, None, first_byte_us=1000)
    assert outbound.state(route(BOX)).latency_ms == 1


def test_a_client_that_left_is_no_verdict(outbound: Outbound) -> None:
    credential = outbound.acquire(route(REAL))
    outbound.release(route(REAL), credential, None, first_byte_us=None)
    assert outbound.state(route(REAL)).latency_ms is None


def test_failures_open_the_breaker_for_acquire_too(outbound: Outbound) -> None:
    for _ in range(2):
        credential = outbound.acquire(route(REAL))
        outbound.release(route(REAL), credential, UpstreamError("timeout", "x"), first_byte_us=None)
    assert outbound.state(route(REAL)).kind == "cooling"
    with pytest.raises(UpstreamError) as raised:
        outbound.acquire(route(REAL))
    assert (raised.value.kind, raised.value.retry_after_s) == ("overloaded", 5)


def test_a_key_that_rests(outbound: Outbound) -> None:
    credential = outbound.acquire(route(REAL))
    outbound.release(
        route(REAL), credential, UpstreamError("auth", "x", status=401), first_byte_us=None
    )
    with pytest.raises(UpstreamError) as raised:
        outbound.acquire(route(REAL))
    assert (raised.value.kind, raised.value.retry_after_s) == ("rate_limited", 600)


def test_a_missing_key_says_what_to_set(outbound: Outbound) -> None:
    outbound.update({"real": REAL}, lambda _: [])
    state = outbound.state(route(REAL))
    assert (state.kind, state.reason) == ("missing", "set REAL_API_KEY")
    with pytest.raises(UpstreamError, match="REAL_API_KEY") as raised:
        outbound.acquire(route(REAL))
    assert raised.value.kind == "auth"
    assert outbound.state(route(BOX)).kind == "missing"


def test_a_bad_update_changes_nothing(outbound: Outbound) -> None:
    bad = Provider("bad", "openai", "ftp://p.example")
    with pytest.raises(ValueError, match="provider bad: a base URL begins with https"):
        outbound.update({"bad": bad}, lambda _: [("k", Secret("sk"))])
    with pytest.raises(ValueError, match="provider real: a header value") as raised:
        outbound.update({"real": REAL}, lambda _: [("k", Secret("sk-very\nsecret"))])
    assert "very" not in str(raised.value)
    assert outbound.state(route(REAL)).available
