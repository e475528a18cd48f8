"""Certificates and proxies, with a CA and a proxy made here."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from tests.fault.upstream_server import Authority, Link, serving, steady, tunnelling
from tokenmarket.adapters.protocol import UpstreamRequest
from tokenmarket.core.catalog import Timeouts
from tokenmarket.core.errors import UpstreamError
from tokenmarket.upstream.client import UpstreamClient
from tokenmarket.upstream.origin import Origin
from tokenmarket.upstream.proxy import Proxies

REQUEST = UpstreamRequest("/x", (), b"{}")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def get(client: UpstreamClient, url: str, timeouts: Timeouts | None = None) -> bytes:
    response = await client.send(Origin.parse(url), REQUEST, (), timeouts or Timeouts())
    return await response.read(100)


async def test_tls_is_verified_and_reused(authority: Authority) -> None:
    tls = authority.server("localhost")
    names: list[str | None] = []
    tls.sni_callback = lambda _socket, name, _context: names.append(name)
    client = UpstreamClient(ssl_context=authority.trust())
    async with steady(tls=tls) as upstream:
        for _ in range(3):
            assert await get(client, upstream.url("https", "localhost")) == b"ok"
        assert len(upstream.links) == 1
        assert names == ["localhost"]
        await client.close()


async def test_our_own_context_offers_http_1_only(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    client = UpstreamClient()
    async with steady(tls=authority.server("localhost")) as upstream:
        assert await get(client, upstream.url("https", "localhost")) == b"ok"
        tls = upstream.links[0].writer.get_extra_info("ssl_object")
        assert tls.selected_alpn_protocol() == "http/1.1"
        await client.close()


async def test_another_name_is_refused(authority: Authority) -> None:
    client = UpstreamClient(ssl_context=authority.trust())
    async with steady(tls=authority.server("other.example")) as upstream:
        with pytest.raises(UpstreamError, match="certificate is not trusted") as raised:
            await get(client, upstream.url("https", "localhost"))
        assert raised.value.kind == "connect"
        assert upstream.heads == []
        await client.close()


async def test_an_unknown_authority_is_refused(authority: Authority) -> None:
    client = UpstreamClient()
    async with steady(tls=authority.server("localhost")) as upstream:
        with pytest.raises(UpstreamError, match="certificate is not trusted"):
            await get(client, upstream.url("https", "localhost"))
        assert upstream.heads == []
        await client.close()


def test_verification_cannot_be_switched_off() -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    with pytest.raises(ValueError, match="verified always"):
        UpstreamClient(ssl_context=context)


async def test_a_handshake_that_never_ends_meets_the_connect_timeout() -> None:
    async def handler(link: Link) -> None:
        await link.gone()

    client = UpstreamClient()
    async with serving(handler) as upstream:
        with pytest.raises(UpstreamError) as raised:
            await get(client, upstream.url("https"), Timeouts(connect=0.05))
        assert (raised.value.kind, raised.value.stage) == ("timeout", "connect")
        await client.close()


async def test_plain_text_where_tls_is_due() -> None:
    async def handler(link: Link) -> None:
        await link.reader.read(10)
        link.writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    client = UpstreamClient()
    async with serving(handler) as upstream:
        with pytest.raises(UpstreamError, match="TLS") as raised:
            await get(client, upstream.url("https"))
        assert raised.value.kind == "connect"
        await client.close()


async def test_https_goes_through_a_tunnel(authority: Authority) -> None:
    heads: list[bytes] = []
    async with steady(tls=authority.server("api.example")) as upstream:
        handler = tunnelling(heads, {"api.example": upstream.port})
        async with serving(handler) as proxy:
            client = UpstreamClient(
                ssl_context=authority.trust(),
                proxies=Proxies(https=f"http://user:pw@127.0.0.1:{proxy.port}"),
            )
            for _ in range(2):
                assert await get(client, "https://api.example/v1") == b"ok"
            assert heads == [
                b"CONNECT api.example:443 HTTP/1.1\r\nhost: api.example:443\r\n"
                b"proxy-authorization: Basic dXNlcjpwdw==\r\n\r\n"
            ]
            assert len(upstream.heads) == 2
            assert b"proxy" not in upstream.heads[0]
            await client.close()


async def test_a_tunnel_to_the_wrong_server_is_noticed(authority: Authority) -> None:
    async with steady(tls=authority.server("evil.example")) as upstream:
        handler = tunnelling([], {"api.example": upstream.port})
        async with serving(handler) as proxy:
            client = UpstreamClient(
                ssl_context=authority.trust(),
                proxies=Proxies(https=f"http://127.0.0.1:{proxy.port}"),
            )
            with pytest.raises(UpstreamError, match="certificate is not trusted"):
                await get(client, "https://api.example/v1")
            assert upstream.heads == []
            await client.close()


async def test_a_proxy_that_refuses() -> None:
    async def handler(link: Link) -> None:
        await link.request()
        link.writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")

    async with serving(handler) as proxy:
        client = UpstreamClient(proxies=Proxies(https=f"http://127.0.0.1:{proxy.port}"))
        with pytest.raises(UpstreamError, match="status 407") as raised:
            await get(client, "https://api.example/v1")
        assert raised.value.kind == "connect"
        await client.close()


async def test_a_silent_proxy_meets_the_connect_timeout() -> None:
    async def handler(link: Link) -> None:
        assert await link.gone()

    async with serving(handler) as proxy:
        client = UpstreamClient(proxies=Proxies(https=f"http://127.0.0.1:{proxy.port}"))
        with pytest.raises(UpstreamError) as raised:
            await get(client, "https://api.example/v1", Timeouts(connect=0.05))
        assert (raised.value.kind, raised.value.stage) == ("timeout", "connect")
        await asyncio.wait_for(proxy.links[0].over.wait(), 5)
        await client.close()


async def test_http_goes_through_in_absolute_form_and_no_proxy_goes_past() -> None:
    async with steady() as proxy, steady() as direct:
        client = UpstreamClient(
            proxies=Proxies(http=f"http://u:p@127.0.0.1:{proxy.port}", no_proxy="127.0.0.1")
        )
        assert await get(client, "http://api.example:81/v1") == b"ok"
        assert await get(client, direct.url()) == b"ok"
        assert proxy.heads[0].startswith(
            b"POST http://api.example:81/v1/x HTTP/1.1\r\nhost: api.example:81\r\n"
        )
        assert b"\r\nproxy-authorization: Basic dTpw\r\n" in proxy.heads[0]
        assert direct.heads[0].startswith(b"POST /v1/x HTTP/1.1\r\n")
        assert b"proxy" not in direct.heads[0]
        await client.close()
