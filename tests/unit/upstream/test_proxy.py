"""Which origin goes through which proxy, and what a proxy may answer."""

from __future__ import annotations

import pytest

from tests.unit.upstream.fake import FakeTransport
from tokenmarket.core.errors import UpstreamError
from tokenmarket.upstream.origin import Origin
from tokenmarket.upstream.proxy import Proxies, Proxy, Tunnel

BOTH = {"http": "http://plain:3128", "https": "http://secure:3129"}


@pytest.mark.parametrize(
    ("no_proxy", "url", "direct"),
    [
        (None, "https://api.example.com", False),
        ("", "https://api.example.com", False),
        ("*", "https://api.example.com", True),
        ("example.com", "https://api.example.com", True),
        (".example.com", "https://api.example.com", True),
        ("*.example.com", "https://api.example.com", True),
        ("example.com", "https://example.com", True),
        ("example.com", "https://badexample.com", False),
        ("other, EXAMPLE.com ", "https://api.example.com", True),
        ("example.com:443", "https://example.com", True),
        ("example.com:8443", "https://example.com", False),
        ("10.0.0.0/8", "http://10.1.2.3:8000", True),
        ("10.0.0.0/8", "http://11.1.2.3:8000", False),
        ("127.0.0.1", "http://127.0.0.1", True),
        ("127.0.0.1:99", "http://127.0.0.1", False),
        ("::1", "http://[::1]:8000", True),
        ("[::1]", "http://[::1]:8000", True),
        ("10.0.0.0/8", "http://ten.example.com", False),
        (",,", "https://api.example.com", False),
    ],
)
def test_no_proxy(no_proxy: str | None, url: str, direct: bool) -> None:
    proxy = Proxies(**BOTH, no_proxy=no_proxy).choose(Origin.parse(url))
    assert (proxy is None) == direct


def test_each_scheme_has_its_own() -> None:
    proxies = Proxies(http=BOTH["http"])
    assert proxies.choose(Origin.parse("https://a")) is None
    plain = proxies.choose(Origin.parse("http://a"))
    assert plain is not None
    assert (plain.host, plain.port, plain.authorization) == ("plain", 3128, "")


def test_credentials_are_decoded_and_not_shown() -> None:
    proxy = Proxy("http://us%65r:p%40ss@proxy:1")
    assert proxy.authorization == "Basic dXNlcjpwQHNz"
    assert "p@ss" not in repr(proxy)


@pytest.mark.parametrize("url", ["https://p:1", "socks5://p:1", "http://", "http://a b"])
def test_proxies_that_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Proxy(url)


def tunnel(answer: list[bytes]) -> tuple[Tunnel, FakeTransport]:
    transport = FakeTransport()
    made = Tunnel(Proxy("http://u:p@proxy:3128"), "api.example.com", 443)
    made.connection_made(transport)
    for piece in answer:
        made.data_received(piece)
    return made, transport


async def test_a_tunnel_opens() -> None:
    made, transport = tunnel([b"HTTP/1.1 200 Conn", b"ection established\r\n\r\n"])
    assert await made.opened is transport
    assert transport.written == [
        b"CONNECT api.example.com:443 HTTP/1.1\r\nhost: api.example.com:443\r\n"
        b"proxy-authorization: Basic dTpw\r\n\r\n"
    ]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "status 407"),
        (b"HTTP/1.1 200 OK\r\n\r\n\x16\x03\x01", "bytes into the tunnel"),
        (b"SSH-2.0\r\n\r\n", "did not answer with HTTP"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"a" * 20_000, "too much"),
        (b"", "closed the connection"),
    ],
)
async def test_a_tunnel_that_does_not_open(answer: bytes, says: str) -> None:
    made, transport = tunnel([answer])
    made.connection_lost(None)
    with pytest.raises(UpstreamError, match=says) as raised:
        await made.opened
    assert raised.value.kind == "connect"
    assert transport.closed
