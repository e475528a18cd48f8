"""Large request bodies and answers on real sockets: pace, early answers, cuts, memory."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

import pytest

from tests.fault.test_upstream_client import AUTH, ShiftedClock, until
from tests.fault.upstream_server import ANSWER, Link, Upstream, serving
from tokenmarket.adapters.protocol import UpstreamRequest
from tokenmarket.core.catalog import Timeouts
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.uploads import Body, Upload
from tokenmarket.upstream.client import UpstreamClient
from tokenmarket.upstream.origin import Origin
from tokenmarket.upstream.response import UpstreamResponse

MIB = 1024 * 1024


class Endless:
    """A spool of made-up bytes, which counts how far it was read."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.read_to = 0
        self.broken_from = 1 << 60

    def read_at(self, offset: int, length: int) -> bytes:
        if offset + length > self.broken_from:
            raise ValueError("the spool is closed")
        self.read_to = max(self.read_to, offset + length)
        return (b"%d " % (offset % 97) * length)[: min(length, self.size - offset)]


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock()


@pytest.fixture
async def client(clock: ShiftedClock) -> AsyncIterator[UpstreamClient]:
    made = UpstreamClient(sweep_s=0.01, clock=clock)
    yield made
    await made.close()


def form(spool: Endless) -> Body:
    return (b"--b\r\n", Upload("file", "a.wav", "audio/wav", spool, 0, spool.size), b"\r\n--b--")


async def send(
    client: UpstreamClient, upstream: Upstream, body: Body, timeouts: Timeouts | None = None
) -> UpstreamResponse:
    request = UpstreamRequest("/x", (("content-type", "multipart/form-data; boundary=b"),), body)
    return await client.send(Origin.parse(upstream.url()), request, AUTH, timeouts or Timeouts())


async def test_a_large_body_arrives_whole_and_the_connection_is_used_again(
    client: UpstreamClient,
) -> None:
    async def handler(link: Link) -> None:
        while True:
            head, body = await link.request()
            assert head.count(b"content-length: ") == 1
            digest = hashlib.sha256(body).hexdigest().encode()
            link.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 64\r\n\r\n" + digest)

    async with serving(handler) as upstream:
        for size in (8 * MIB, 10, 300_000):
            spool = Endless(size)
            response = await send(client, upstream, form(spool))
            whole = hashlib.sha256(b"--b\r\n")
            for start in range(0, size, 128 * 1024):
                whole.update(spool.read_at(start, 128 * 1024))
            whole.update(b"\r\n--b--")
            assert await response.read(100) == whole.hexdigest().encode()
        assert len(upstream.links) == 1


async def test_a_slow_upstream_is_not_read_ahead_of(
    client: UpstreamClient, clock: ShiftedClock
) -> None:
    go_on = asyncio.Event()

    async def handler(link: Link) -> None:
        await go_on.wait()
        await link.request()
        link.writer.write(ANSWER)

    spool = Endless(64 * MIB)
    async with serving(handler) as upstream:
        task = asyncio.create_task(send(client, upstream, form(spool), Timeouts(first_byte=50)))
        await until(lambda: spool.read_to > 0)
        for _ in range(20):
            await asyncio.sleep(0)
        assert spool.read_to < 16 * MIB  # what the kernel's buffers hold
        clock.more_s = 40.0
        go_on.set()
        await until(lambda: spool.read_to > 32 * MIB)
        clock.more_s = 80.0  # 80 s since it began, but not since it moved
        response = await task
        assert await response.read(10) == b"ok"
        assert response.first_byte_us is not None
        assert response.first_byte_us < 45_000_000  # counted from the end of the body


async def test_an_upstream_that_stops_taking_is_a_timeout(
    client: UpstreamClient, clock: ShiftedClock
) -> None:
    async def handler(link: Link) -> None:
        await link.over.wait()

    spool = Endless(64 * MIB)
    async with serving(handler) as upstream:
        task = asyncio.create_task(send(client, upstream, form(spool), Timeouts(first_byte=50)))
        await until(lambda: spool.read_to > 0)
        await asyncio.sleep(0.05)
        clock.more_s = 60.0
        with pytest.raises(UpstreamError) as caught:
            await task
        assert (caught.value.kind, caught.value.stage) == ("timeout", "first_byte")
        upstream.links[0].over.set()


async def test_an_early_refusal_stops_the_body_and_ends_the_connection(
    client: UpstreamClient,
) -> None:
    async def handler(link: Link) -> None:
        await link.reader.readuntil(b"\r\n\r\n")
        link.writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig")
        assert await link.reader.read(10)
        await link.over.wait()

    spool = Endless(256 * MIB)
    async with serving(handler) as upstream:
        response = await send(client, upstream, form(spool))
        assert response.head.status == 413
        assert await response.read(10) == b"big"
        assert spool.read_to < 64 * MIB
        assert client.connection_counts().get(f"127.0.0.1:{upstream.port}", (0, 0)) == (0, 0)
        upstream.links[0].over.set()


async def test_an_early_good_answer_does_not_stop_the_body(client: UpstreamClient) -> None:
    async def handler(link: Link) -> None:
        head = await link.reader.readuntil(b"\r\n\r\n")
        length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        link.writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n")
        await link.reader.readexactly(length)
        link.writer.write(b"3\r\nend\r\n0\r\n\r\n")

    async with serving(handler) as upstream:
        response = await send(client, upstream, form(Endless(16 * MIB)))
        parts = [await response.chunk()]
        while part := await response.chunk():
            parts.append(part)
        assert b"".join(parts) == b"hiend"


@pytest.mark.parametrize("ending", ["reset", "spool"])
async def test_a_cut_in_the_middle_of_the_body(client: UpstreamClient, ending: str) -> None:
    async def handler(link: Link) -> None:
        await link.reader.readexactly(MIB)
        if ending == "reset":
            link.reset()
        else:
            await link.gone()

    spool = Endless(64 * MIB)
    if ending == "spool":
        spool.broken_from = 8 * MIB
    async with serving(handler) as upstream:
        with pytest.raises(UpstreamError) as caught:
            await send(client, upstream, form(spool))
        assert caught.value.kind == "upstream_error"
        assert client.connection_counts().get(f"127.0.0.1:{upstream.port}", (0, 0)) == (0, 0)


async def test_a_cancelled_upload_is_aborted(client: UpstreamClient) -> None:
    left: list[bool] = []

    async def handler(link: Link) -> None:
        await link.reader.readuntil(b"\r\n\r\n")
        try:
            while await link.reader.read(MIB):
                pass
        except ConnectionError:
            pass
        left.append(True)

    spool = Endless(1024 * MIB)
    async with serving(handler) as upstream:
        task = asyncio.create_task(send(client, upstream, form(spool)))
        await until(lambda: spool.read_to > MIB)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: bool(left))
        assert spool.read_to < 1024 * MIB


@pytest.mark.parametrize("slow_sink", [True, False])
async def test_save_takes_an_answer_of_any_size(client: UpstreamClient, slow_sink: bool) -> None:
    sent: list[int] = []

    async def handler(link: Link) -> None:
        await link.request()
        link.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (32 * MIB))
        for _ in range(32):
            link.writer.write(b"v" * MIB)
            await link.writer.drain()
            sent.append(MIB)

    async with serving(handler) as upstream:
        response = await send(client, upstream, b"{}")
        pieces: list[int] = []

        async def later(data: bytes) -> None:
            if not pieces:
                for _ in range(50):
                    await asyncio.sleep(0)
                assert len(sent) < 30  # back-pressure
            pieces.append(len(data))

        sink = later if slow_sink else (lambda data: pieces.append(len(data)))
        assert await response.save(sink, 32 * MIB) == 32 * MIB
        assert sum(pieces) == 32 * MIB
        assert max(pieces) <= MIB
        assert response.complete


async def test_save_over_the_limit(client: UpstreamClient) -> None:
    async def handler(link: Link) -> None:
        await link.request()
        link.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % MIB + b"v" * MIB)
        await link.gone()

    async with serving(handler) as upstream:
        response = await send(client, upstream, b"{}")
        with pytest.raises(UpstreamError) as caught:
            await response.save(lambda data: None, MIB // 2)
        assert caught.value.kind == "upstream_error"
        response = await send(client, upstream, b"{}")

        def full(data: bytes) -> None:
            raise OSError(28, "No space left on device")

        with pytest.raises(OSError, match="space"):
            await response.save(full, MIB)
        response.abort()
