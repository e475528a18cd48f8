"""What a downloaded URL may answer, and how long it may take."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from tests.fault.fetch_site import OK, SHORT, MakeSite, Site, moved, saying, url_of
from tests.fault.upstream_server import Link, serving, steady
from tokenmarket.core.catalog import Timeouts
from tokenmarket.upstream.fetch import FetchRefused


@pytest.mark.parametrize("status", [201, 204, 206, 304, 400, 401, 404, 429, 500, 503])
async def test_other_answers(site: Site, status: int) -> None:
    answer = b"HTTP/1.1 %d x\r\ncontent-length: 0\r\n\r\n" % status
    async with steady(answer) as upstream:
        error = await site.refused(url_of(upstream))
        assert (error.reason, error.status) == ("bad_status", status)
        assert error.may_pass == (status in (429, 500, 503))


async def test_a_promise_over_the_limit_is_not_even_read(site: Site) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n"
    async with serving(saying(head, stay=True)) as upstream:
        assert (await site.refused(url_of(upstream))).reason == "too_large"


async def test_a_body_without_end(site: Site) -> None:
    sent = 0

    async def endless(link: Link) -> None:
        nonlocal sent
        await link.request()
        link.writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            link.writer.write(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
            await link.writer.drain()
            sent += 0x1000

    got: list[bytes] = []
    async with serving(endless) as upstream:
        with pytest.raises(FetchRefused) as raised:
            await site.fetcher.download(url_of(upstream), got.append, bytes_max=100_000)
        assert raised.value.reason == "too_large"
        assert sum(map(len, got)) <= 100_000
        async with asyncio.timeout(5):
            await upstream.links[0].over.wait()
    assert sent < 20_000_000


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\nok",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"220 mail.example ESMTP\r\n",
        b"",
    ],
)
async def test_answers_that_lie(site: Site, answer: bytes) -> None:
    async with serving(saying(answer)) as upstream:
        error = await site.refused(url_of(upstream))
        assert (error.reason, error.may_pass) == ("bad_answer", True)


async def test_more_than_was_promised_is_not_taken(site: Site) -> None:
    async with serving(saying(OK + b"more")) as upstream:
        assert (await site.read(url_of(upstream)))[1] == b"ok"


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate", "br", "zstd", "gzip, gzip"])
async def test_codings_are_refused(site: Site, coding: str) -> None:
    bomb = gzip.compress(b"\0" * 1_000_000)
    head = f"HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\ncontent-length: {len(bomb)}\r\n\r\n"
    async with steady(head.encode() + bomb) as upstream:
        error = await site.refused(url_of(upstream), bytes_max=10_000_000)
        assert error.reason == "bad_answer"


@pytest.mark.parametrize(
    ("content_type", "seen"),
    [
        ("", "application/octet-stream"),
        ("text/html; charset=utf-8", "text/html"),
        ("nonsense", "application/octet-stream"),
        ("a/b\xe9", "application/octet-stream"),
        ("image/svg+xml", "image/svg+xml"),
    ],
)
async def test_content_types(site: Site, content_type: str, seen: str) -> None:
    answer = f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: 1\r\n\r\nx"
    async with steady(answer.encode("latin-1")) as upstream:
        assert await site.read(url_of(upstream)) == (seen, b"x")


# ----------------------------------------------------------------------------------------- time


async def test_silence_before_and_inside_the_answer(site: Site) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"
    for pieces in ((), (head,), (head, b"abc")):
        async with serving(saying(*pieces, stay=True)) as upstream:
            assert (await site.refused(url_of(upstream), timeouts=SHORT)).reason == "timeout"


class FastClock:
    """Counts a second for each look, so that a drip of bytes is slow without waiting."""

    def __init__(self) -> None:
        self.now_s = 1.0

    def __call__(self) -> float:
        self.now_s += 1.0
        return self.now_s


async def test_a_drip_ends_at_the_total(make_site: MakeSite) -> None:
    site = make_site(clock=FastClock())

    async def drip(link: Link) -> None:
        await link.request()
        link.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n")
        while True:
            link.writer.write(b"x")
            await link.writer.drain()
            await asyncio.sleep(0.001)

    limits = Timeouts(connect=100, first_byte=100, idle=100, total=150)
    async with serving(drip) as upstream:
        error = await site.refused(url_of(upstream), timeouts=limits)
        assert (error.reason, "total" in error.message) == ("timeout", True)


async def test_the_total_is_for_all_hops_together(make_site: MakeSite) -> None:
    clock = FastClock()
    site = make_site(clock=clock)

    async def hop(link: Link) -> None:
        await link.request()
        clock.now_s += 40
        link.writer.write(moved("/again"))

    limits = Timeouts(connect=1000, first_byte=1000, idle=1000, total=100)
    async with serving(hop) as upstream:
        assert (await site.refused(url_of(upstream), timeouts=limits)).reason == "timeout"
        assert len(upstream.links) < 4


async def test_a_caller_that_leaves_closes_the_connection(site: Site) -> None:
    async with serving(saying(b"HTTP/1.1 200 OK\r\n\r\nx", stay=True)) as upstream:
        arrived = asyncio.Event()
        task = asyncio.create_task(
            site.fetcher.download(url_of(upstream), lambda _: arrived.set(), bytes_max=10)
        )
        async with asyncio.timeout(5):
            await arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await upstream.links[0].over.wait()
