"""Where a request goes, and that a key goes nowhere else."""

from __future__ import annotations

from typing import Any, cast

import pytest

from tests.unit.upstream.fake import Clock
from tests.unit.upstream.test_outbound import route
from tokenmarket.adapters.protocol import Head, UpstreamRequest
from tokenmarket.core.catalog import Provider, Timeouts
from tokenmarket.core.errors import UpstreamError
from tokenmarket.upstream.client import UpstreamClient
from tokenmarket.upstream.credentials import Secret
from tokenmarket.upstream.health import Health
from tokenmarket.upstream.origin import Headers, Origin, render_head
from tokenmarket.upstream.outbound import Outbound

FAL = Provider("fal", "fal", "https://queue.fal.run/v1", api_key_env="K")
KLING = Provider("kling", "kling", "https://api.kling.example/v1", api_key_env="K")
KEY = (("authorization", "Key k"),)


class Wire:
    """Stands for the client: renders the head as it would and remembers it."""

    head = Head(200, {})

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, Headers]] = []

    async def send(
        self, origin: Origin, request: UpstreamRequest, authorization: Headers, timeouts: Timeouts
    ) -> Wire:
        headers = request.headers + authorization
        head = render_head(origin, request.method, request.path, headers, proxy_authorization=None)
        target = head.split(b" ")[1].decode()
        self.sent.append((origin.authority, target, authorization))
        return self


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def outbound(wire: Wire) -> Outbound:
    clock = Clock(1_700_000_000.0)
    made = Outbound(cast("UpstreamClient", wire), Health(clock), clock, wall=clock)
    keys = {"fal": "k", "kling": "ak:sk"}
    made.update({"fal": FAL, "kling": KLING}, lambda p: [("id", Secret(keys[p.name]))])
    return made


async def send(outbound: Outbound, provider: Provider = FAL, **request: Any) -> None:
    way = route(provider)
    asked = UpstreamRequest(**{"path": "", "headers": (), "body": b"{}", **request})
    await outbound.send(way, outbound.acquire(way), asked, Timeouts())


@pytest.mark.parametrize(
    ("request_", "authority", "target"),
    [
        ({"path": "/x?a=b"}, "queue.fal.run", "/v1/x?a=b"),
        ({"path": "/v2/x", "from_root": True}, "queue.fal.run", "/v2/x"),
        ({"url": "https://queue.fal.run/a/1/status?x=y"}, "queue.fal.run", "/a/1/status?x=y"),
        ({"url": "HTTPS://Queue.Fal.Run:443/a"}, "queue.fal.run", "/a"),
        ({"url": "https://eu.fal.run"}, "eu.fal.run", "/"),
        ({"url": "https://eu.fal.run?a=b"}, "eu.fal.run", "/?a=b"),
        ({"url": "https://eu.fal.run/a", "path": "/b", "from_root": True}, "eu.fal.run", "/a"),
    ],
)
async def test_where_a_request_goes(
    outbound: Outbound, wire: Wire, request_: dict[str, Any], authority: str, target: str
) -> None:
    await send(outbound, **request_)
    assert wire.sent == [(authority, target, KEY)]


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/a",
        "http://queue.fal.run/a",
        "https://queue.fal.run:444/a",
        "https://queue.fal.run@evil.example/",
        "http://169.254.169.254/latest/meta-data/",
        "file:///etc/passwd",
        "/a/1/status",
        "",
        "https://queue.fal.run/a b",
        "https://queue.fal.run/a#b",
        "https://queue.fal.run/a\\b",
    ],
)
async def test_addresses_that_a_provider_may_not_name(
    outbound: Outbound, wire: Wire, url: str
) -> None:
    with pytest.raises(UpstreamError) as raised:
        await send(outbound, url=url)
    assert raised.value.kind == "upstream_error"
    assert wire.sent == []


async def test_a_signed_request_goes_the_same_ways(outbound: Outbound, wire: Wire) -> None:
    await send(outbound, KLING, path="/a")
    await send(outbound, KLING, path="/a", from_root=True)
    await send(outbound, KLING, url="https://eu.kling.example/b")
    places = [(authority, target) for authority, target, _ in wire.sent]
    assert places == [
        ("api.kling.example", "/v1/a"),
        ("api.kling.example", "/a"),
        ("eu.kling.example", "/b"),
    ]
    shown = {id(headers): headers for _, _, headers in wire.sent}
    assert len(shown) == 1  # one token, one tuple: rendered heads are found by it
    assert dict(*shown.values())["authorization"].startswith("Bearer ey")


async def test_an_adapter_s_own_mistake_is_not_the_provider_s(outbound: Outbound) -> None:
    for request in ({"path": "/a b"}, {"path": "/a b", "from_root": True}):
        with pytest.raises(ValueError, match="character"):
            await send(outbound, **request)


async def test_a_key_for_a_download(outbound: Outbound) -> None:
    way = route(FAL)
    credential = outbound.acquire(way)
    assert await outbound.authorization(way, credential, "https://queue.fal.run/f/1") == KEY
    assert await outbound.authorization(way, credential, "https://eu.fal.run/f/1") == KEY
    for url in ("https://fal.media/f/1", "http://queue.fal.run/f/1", "nonsense"):
        assert await outbound.authorization(way, credential, url) == ()
