"""Downloads of strangers' URLs against real servers: what is asked, and where they may lead."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.fault.fetch_site import OK, SHORT, MakeSite, Names, Site, moved, saying, url_of
from tests.fault.upstream_server import Authority, Link, serving, steady, tunnelling
from tokenmarket.core.catalog import Timeouts
from tokenmarket.upstream import dial, resolve
from tokenmarket.upstream.client import UpstreamClient
from tokenmarket.upstream.fetch import Fetched, Fetcher, FetchRefused, Posted, origins_of
from tokenmarket.upstream.proxy import Proxies
from tokenmarket.upstream.resolve import Resolver

# --------------------------------------------------------------------------------- what is asked


async def test_what_arrives(site: Site) -> None:
    async with steady(OK) as upstream:
        url = url_of(upstream)
        assert await site.read(url) == ("image/png", b"ok")
        head = upstream.heads[0].decode()
        assert head.startswith(f"GET /a?b=c HTTP/1.1\r\nhost: good.example:{upstream.port}\r\n")
        assert "accept-encoding: identity" in head
        assert "authorization" not in head
        assert "cookie" not in head


async def test_download_to_a_file(site: Site, tmp_path: Path) -> None:
    async with steady(OK) as upstream:
        with (tmp_path / "f").open("wb") as file:
            fetched = await site.fetcher.download(url_of(upstream), file.write, bytes_max=2)
        assert fetched == Fetched("image/png", 2, url_of(upstream))
    assert (tmp_path / "f").read_bytes() == b"ok"


async def test_a_sink_that_waits_and_one_that_fails(site: Site) -> None:
    got: list[bytes] = []

    async def slow(data: bytes) -> None:
        await asyncio.sleep(0)
        got.append(data)

    def full(data: bytes) -> None:
        raise OSError("disk full")

    async with serving(saying(OK, stay=True)) as upstream:
        await site.fetcher.download(url_of(upstream), slow, bytes_max=10)
        assert b"".join(got) == b"ok"
        with pytest.raises(OSError, match="disk full"):
            await site.fetcher.download(url_of(upstream), full, bytes_max=10)
        async with asyncio.timeout(5):  # and no connection stays behind
            for link in upstream.links:
                await link.over.wait()


async def test_connections_are_not_used_twice(site: Site) -> None:
    async with steady(OK) as upstream:
        for _ in range(3):
            await site.read(url_of(upstream))
        assert len(upstream.links) == 3


# ------------------------------------------------------------------------------- where it may lead


async def test_private_addresses(site: Site) -> None:
    async with steady(OK) as upstream:
        for host in ("bad.example", "127.0.0.2", "[::1]", "169.254.169.254"):
            error = await site.refused(url_of(upstream, host))
            assert error.reason == "private_address"
            assert "127" not in error.message
        assert upstream.links == []


async def test_one_private_address_among_public_ones(make_site: MakeSite) -> None:
    for answer in (["127.0.0.1", "10.0.0.1"], ["10.0.0.1", "127.0.0.1"], ["127.0.0.1", "::1"]):
        site = make_site(names=Names(mixed=[answer]))
        async with steady(OK) as upstream:
            error = await site.refused(url_of(upstream, "mixed.example"))
            assert error.reason == "private_address"
            assert upstream.links == []


async def test_a_second_answer_of_the_name_server_is_never_asked_for(make_site: MakeSite) -> None:
    """DNS rebinding: public when it is checked, private a moment later."""
    site = make_site(names=Names(rebind=[["127.0.0.1"], ["127.0.0.2"]]))
    async with steady(OK) as upstream:
        assert await site.read(url_of(upstream, "rebind.example")) == ("image/png", b"ok")
        assert site.names.asked == ["rebind.example"]
        assert upstream.links[0].writer.get_extra_info("sockname")[0] == "127.0.0.1"
        error = await site.refused(url_of(upstream, "rebind.example"))
        assert error.reason == "private_address"


async def test_the_peer_is_looked_at_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    async with steady(OK) as upstream:

        class Elsewhere:
            """A loop whose connections end somewhere else (a hook, a transparent proxy)."""

            async def create_connection(
                self, factory: Any, host: str, port: int, **more: Any
            ) -> Any:
                assert host == "127.0.0.1"
                transport, protocol = await loop.create_connection(factory, host, port, **more)

                class Seen:
                    def get_extra_info(self, name: str) -> object:
                        return ("127.0.0.2", port)

                    def abort(self) -> None:
                        transport.abort()

                return Seen(), protocol

        shim = SimpleNamespace(get_running_loop=Elsewhere, timeout=asyncio.timeout)
        monkeypatch.setattr(dial, "asyncio", shim)
        with pytest.raises(FetchRefused) as raised:
            await site.read(url_of(upstream))
        assert raised.value.reason == "unreachable"
        assert upstream.heads == []


async def test_the_second_address_is_tried(make_site: MakeSite) -> None:
    site = make_site(names=Names(two=[["127.0.0.1", "127.0.0.1"]]))
    tried: list[str] = []
    dialer = site.fetcher._guarded._dialer
    connect = dialer._connect

    async def failing_first(connection: Any, origin: Any, address: str) -> None:
        tried.append(address)
        if len(tried) == 1:
            raise ConnectionRefusedError(111, "no")
        await connect(connection, origin, address)

    dialer._connect = failing_first
    async with steady(OK) as upstream:
        assert (await site.read(url_of(upstream, "two.example")))[1] == b"ok"
    assert len(tried) == 2


async def test_an_address_that_swallows_packets_has_only_its_share(make_site: MakeSite) -> None:
    site = make_site(names=Names(two=[["127.0.0.1", "127.0.0.1"]]))
    dialer = site.fetcher._guarded._dialer
    connect = dialer._connect
    tried: list[str] = []

    async def first_never(connection: Any, origin: Any, address: str) -> None:
        tried.append(address)
        if len(tried) == 1:
            await asyncio.Event().wait()
        await connect(connection, origin, address)

    dialer._connect = first_never
    limits = Timeouts(connect=0.2)
    async with steady(OK) as upstream:
        assert (await site.read(url_of(upstream, "two.example"), timeouts=limits))[1] == b"ok"


async def test_unknown_names(make_site: MakeSite) -> None:
    async def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    for lookup in (unknown, Names(none=[[]])):
        error = await make_site(names=lookup).refused("http://none.example/")
        assert error.reason == "unreachable"
        assert error.may_pass


async def test_a_slow_name_server_is_a_timeout(make_site: MakeSite) -> None:
    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    error = await make_site(names=never).refused("http://slow.example/", timeouts=SHORT)
    assert error.reason == "timeout"


async def test_forms_are_refused_before_any_lookup(site: Site) -> None:
    for url in (
        "ftp://good.example/",
        "http://u@good.example/",
        "http://good.example/#x",
        "x" * 3000,
    ):
        assert (await site.refused(url)).reason == "url_not_allowed"
    strict = Fetcher(UpstreamClient(), lookup=site.names)
    for url in ("http://good.example/", "https://good.example:8443/"):
        with pytest.raises(FetchRefused) as raised:
            await strict.read(url, bytes_max=10)
        assert raised.value.reason == "url_not_allowed"
    assert site.names.asked == []
    await strict.close()


async def test_the_real_rule_refuses_this_machine(site: Site) -> None:
    fetcher = Fetcher(UpstreamClient())
    for host in ("localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"):
        with pytest.raises(FetchRefused) as raised:
            await fetcher.read(f"https://{host}/", bytes_max=10)
        assert raised.value.reason == "private_address"
    await fetcher.close()


async def test_an_allowed_origin_may_be_private_and_exactly_that(make_site: MakeSite) -> None:
    site = make_site(allow_http=False, names=Names())
    async with steady(OK) as upstream, steady(OK) as other:
        allowed = origins_of(f"http://127.0.0.1:{upstream.port}/v1")
        assert allowed == (f"127.0.0.1:{upstream.port}",)
        url = f"http://127.0.0.1:{upstream.port}/result"
        assert (await site.read(url, allowed_origins=allowed))[1] == b"ok"
        for elsewhere in (
            f"http://127.0.0.1:{other.port}/result",
            f"http://127.0.0.2:{upstream.port}/result",
            f"http://localhost:{upstream.port}/result",
            f"http://127.0.0.1.:{upstream.port}/result",
            "http://127.0.0.1/result",
        ):
            error = await site.refused(elsewhere, allowed_origins=allowed)
            assert error.reason == "url_not_allowed"
        assert other.links == []
    assert origins_of("sandbox:") == ()


async def test_a_connection_to_an_allowed_origin_serves_nobody_else(make_site: MakeSite) -> None:
    site = make_site(names=Names(inside=[["127.0.0.2"]]))
    async with steady(OK) as upstream:
        url = f"http://127.0.0.1:{upstream.port}/"
        site.fetcher._is_public = lambda address: False
        assert (await site.read(url, allowed_origins=origins_of(url)))[1] == b"ok"
        assert (await site.refused(url)).reason == "private_address"


# ------------------------------------------------------------------------------------- redirects


async def test_redirects_are_followed_without_credentials(site: Site) -> None:
    async with steady(OK) as last, steady(moved(f"http://good.example:{last.port}/z")) as first:
        got: list[bytes] = []
        fetched = await site.fetcher.download(
            url_of(first), got.append, bytes_max=10, headers=(("authorization", "Bearer k"),)
        )
        assert fetched.final_url == f"http://good.example:{last.port}/z"
        assert b"authorization: Bearer k" in first.heads[0]
        assert b"authorization" not in last.heads[0]
        assert last.heads[0].startswith(b"GET /z ")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_to_a_private_address(site: Site, status: int) -> None:
    async with steady(OK) as inside:
        for target in (f"http://bad.example:{inside.port}/", f"http://127.0.0.2:{inside.port}/"):
            async with steady(moved(target, status)) as first:
                assert (await site.refused(url_of(first))).reason == "private_address"
        assert inside.links == []


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("ftp://good.example/", "url_not_allowed"),
        ("file:///etc/passwd", "url_not_allowed"),
        ("gopher://good.example/", "url_not_allowed"),
        ("http://u:p@good.example/", "url_not_allowed"),
        ("http://2130706433/", "url_not_allowed"),
        ("http://[::1/", "redirect"),
        ("//bad.example/", "private_address"),
        ("/a\tb", "url_not_allowed"),
        ("", "bad_status"),
    ],
)
async def test_where_a_redirect_may_not_lead(site: Site, location: str, reason: str) -> None:
    async with steady(moved(location)) as first:
        assert (await site.refused(url_of(first))).reason == reason


async def test_too_many_redirects(site: Site) -> None:
    async with steady(moved("/again")) as upstream:
        error = await site.refused(url_of(upstream))
        assert error.reason == "redirect"
        assert len(upstream.heads) == 4
        assert not error.may_pass


async def test_no_redirect_from_https_to_http(make_site: MakeSite, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    site = make_site(ssl_context=authority.trust())
    tls = authority.server("good.example")
    async with (
        steady(OK) as plain,
        steady(moved(f"http://good.example:{plain.port}/"), tls=tls) as first,
    ):
        assert (await site.refused(url_of(first, scheme="https"))).reason == "redirect"
        assert plain.links == []


async def test_the_name_is_what_the_certificate_must_have(
    make_site: MakeSite, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    site = make_site(
        ssl_context=authority.trust(), names=Names(good=[["127.0.0.1"]], b=[["127.0.0.1"]])
    )
    names: list[str | None] = []
    tls = authority.server("good.example")
    tls.sni_callback = lambda _socket, name, _context: names.append(name)
    async with steady(OK, tls=tls) as upstream:
        assert (await site.read(url_of(upstream, scheme="https")))[1] == b"ok"
        error = await site.refused(url_of(upstream, "b.example", scheme="https"))
        assert (error.reason, names) == ("unreachable", ["good.example", "b.example"])
        assert len(upstream.heads) == 1


# ------------------------------------------------------------------------------------- callbacks


async def test_a_callback_is_delivered(site: Site) -> None:
    headers = (("content-type", "application/json"), ("webhook-id", "msg_1"))
    for answer, status in ((OK, 200), (moved("/b"), 302), (b"HTTP/1.1 410 x\r\n\r\n", 410)):
        async with steady(answer) as upstream:
            found = await site.fetcher.post(url_of(upstream), headers=headers, body=b'{"a":1}')
            assert found == Posted(status, b"")
            assert upstream.bodies == [b'{"a":1}']
            assert upstream.heads[0].startswith(b"POST /a?b=c HTTP/1.1\r\nhost: good.example")
            assert b"\r\nwebhook-id: msg_1\r\n" in upstream.heads[0]


async def test_a_callback_goes_nowhere_private(site: Site) -> None:
    async with steady(OK) as upstream:
        for url, reason in (
            (url_of(upstream, "bad.example"), "private_address"),
            (url_of(upstream, "[::1]"), "private_address"),
            ("http://u:p@good.example/", "url_not_allowed"),
        ):
            with pytest.raises(FetchRefused) as raised:
                await site.fetcher.post(url, headers=(), body=b"{}")
            assert raised.value.reason == reason
        assert upstream.links == []


# ------------------------------------------------------------------------- proxies and name servers


async def test_a_proxy_gets_the_checked_address(make_site: MakeSite, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    asked: list[bytes] = []

    async def refuse(link: Link) -> None:
        asked.append((await link.request())[0])
        link.writer.write(b"HTTP/1.1 403 no\r\n\r\n")

    async with serving(refuse) as proxy:
        through = Proxies(http=proxy.url(), https=proxy.url())
        site = make_site(proxies=through, ssl_context=authority.trust())
        assert (await site.refused("https://good.example/a")).reason == "unreachable"
        assert (await site.refused("https://bad.example/a")).reason == "private_address"
        assert (await site.refused("http://good.example/a")).reason == "unreachable"
    assert [head.split(b"\r\n")[0] for head in asked] == [b"CONNECT 127.0.0.1:443 HTTP/1.1"]


async def test_tls_runs_by_name_inside_a_tunnel_to_the_address(
    make_site: MakeSite, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    heads: list[bytes] = []
    async with steady(OK, tls=authority.server("good.example")) as upstream:
        async with serving(tunnelling(heads, {"127.0.0.1": upstream.port})) as proxy:
            site = make_site(proxies=Proxies(https=proxy.url()), ssl_context=authority.trust())
            assert (await site.read("https://good.example/a"))[1] == b"ok"
        assert b"host: good.example\r\n" in upstream.heads[0]
    assert [head.split(b"\r\n")[0] for head in heads] == [b"CONNECT 127.0.0.1:443 HTTP/1.1"]


async def test_the_system_s_resolver() -> None:
    resolver = Resolver()
    assert await resolver("127.0.0.1", 80) == ["127.0.0.1"]
    assert "127.0.0.1" in await resolver("localhost", 80)
    with pytest.raises(socket.gaierror):
        await resolver("no-such-name.invalid", 80)
    resolver.close()


async def test_slow_lookups_do_not_hold_up_others(monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()

    def stuck(host: str, port: int) -> list[str]:
        free.wait(10)
        return []

    monkeypatch.setattr(resolve, "_look_up", stuck)
    resolver = Resolver()
    waiting = [asyncio.ensure_future(resolver("x", 1)) for _ in range(20)]
    await asyncio.sleep(0)
    started = time.monotonic()
    found = await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80)
    assert found
    assert time.monotonic() - started < 5
    for one in waiting:
        one.cancel()
    free.set()
    await asyncio.gather(*waiting, return_exceptions=True)
    resolver.close()
