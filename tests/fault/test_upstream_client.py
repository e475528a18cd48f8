"""The upstream client against real sockets: pool, stale connections, cuts, resets, timeouts."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable

import pytest

from tests.fault.upstream_server import ANSWER, Link, Upstream, serving, steady
from tokenmarket.adapters.protocol import UpstreamRequest
from tokenmarket.core.catalog import Timeouts
from tokenmarket.core.errors import UpstreamError
from tokenmarket.upstream.client import UpstreamClient
from tokenmarket.upstream.origin import Origin
from tokenmarket.upstream.response import UpstreamResponse

REQUEST = UpstreamRequest("/x", (("content-type", "application/json"),), b'{"a":1}')
AUTH = (("authorization", "Bearer k"),)
SHORT = Timeouts(connect=0.05, first_byte=0.05, idle=0.05, total=5.0)


class ShiftedClock:
    """The real clock plus what a test adds."""

    def __init__(self) -> None:
        self.more_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.more_s


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock()


@pytest.fixture
async def client(clock: ShiftedClock) -> AsyncIterator[UpstreamClient]:
    made = UpstreamClient(sweep_s=0.01, clock=clock, max_connections_per_origin=4)
    yield made
    await made.close()


async def send(
    client: UpstreamClient,
    upstream: Upstream,
    timeouts: Timeouts | None = None,
    request: UpstreamRequest = REQUEST,
) -> UpstreamResponse:
    return await client.send(Origin.parse(upstream.url()), request, AUTH, timeouts or Timeouts())


async def get(
    client: UpstreamClient, upstream: Upstream, timeouts: Timeouts | None = None
) -> tuple[bytes, bool]:
    response = await send(client, upstream, timeouts)
    return await response.read(1 << 20), response.reused


async def failing(
    client: UpstreamClient, upstream: Upstream, timeouts: Timeouts | None = None
) -> UpstreamError:
    try:
        response = await send(client, upstream, timeouts)
        while await response.chunk():
            pass
    except UpstreamError as error:
        return error
    pytest.fail("no error")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while True:
            if condition():
                return
            await asyncio.sleep(0.001)


def opened(client: UpstreamClient) -> int:
    return sum(count for count, _ in client.connection_counts().values())


# ------------------------------------------------------------------------------------ the pool


async def test_connections_are_reused(client: UpstreamClient) -> None:
    async with steady() as upstream:
        assert [await get(client, upstream) for _ in range(3)] == [
            (b"ok", False),
            (b"ok", True),
            (b"ok", True),
        ]
        assert len(upstream.links) == 1
        assert upstream.heads[0] == (
            b"POST /v1/x HTTP/1.1\r\nhost: 127.0.0.1:%d\r\ncontent-type: application/json\r\n"
            b"authorization: Bearer k\r\nuser-agent: tokenmarket\r\n"
            b"accept-encoding: identity\r\ncontent-length: 7\r\n\r\n" % upstream.port
        )
        assert upstream.bodies == [b'{"a":1}'] * 3
        assert client.connection_counts() == {f"127.0.0.1:{upstream.port}": (1, 1)}


async def test_the_pool_is_capped_and_waiters_are_served_in_order(client: UpstreamClient) -> None:
    gate = asyncio.Event()
    seen: list[bytes] = []

    async def handler(link: Link) -> None:
        while True:
            _, body = await link.request()
            seen.append(body)
            await gate.wait()
            link.writer.write(ANSWER)

    async with serving(handler) as upstream:

        async def one(number: int) -> None:
            response = await send(
                client, upstream, request=UpstreamRequest("/x", (), b"%02d" % number)
            )
            assert await response.read(10) == b"ok"

        tasks = [asyncio.ensure_future(one(number)) for number in range(12)]
        await until(lambda: len(seen) >= 4)
        assert sorted(seen) == [b"00", b"01", b"02", b"03"]
        gate.set()
        await asyncio.gather(*tasks)
        assert len(upstream.links) == 4
        assert seen[4:] == sorted(seen[4:])


async def test_waiting_for_the_pool_has_an_end(client: UpstreamClient) -> None:
    async def handler(link: Link) -> None:
        await link.request()
        await link.gone()

    async with serving(handler) as upstream:
        tasks = [asyncio.ensure_future(send(client, upstream)) for _ in range(4)]
        await until(lambda: len(upstream.links) >= 4)
        error = await failing(client, upstream, SHORT)
        assert (error.kind, error.stage) == ("connect", "pool")
        # a waiter that is cancelled loses no place
        waiting = asyncio.ensure_future(send(client, upstream))
        await asyncio.sleep(0)
        tasks[0].cancel()
        await asyncio.sleep(0)
        waiting.cancel()
        again = asyncio.ensure_future(send(client, upstream))
        await until(lambda: len(upstream.links) >= 5)
        for task in [*tasks, waiting, again]:
            task.cancel()
        await asyncio.gather(*tasks, waiting, again, return_exceptions=True)
        for link in upstream.links:
            await asyncio.wait_for(link.over.wait(), 5)


async def test_idle_connections_expire_and_the_sweep_stops(
    client: UpstreamClient, clock: ShiftedClock
) -> None:
    async with steady() as upstream:
        await get(client, upstream)
        clock.more_s += 31
        await until(lambda: not client.connection_counts())
        assert await get(client, upstream) == (b"ok", False)
        clock.more_s += 29
        assert (await get(client, upstream))[1]


async def test_old_connections_are_retired(client: UpstreamClient, clock: ShiftedClock) -> None:
    async with steady() as upstream:
        for _ in range(30):
            await get(client, upstream)
            clock.more_s += 25
        assert len(upstream.links) == 2


# --------------------------------------------------------------------------- stale connections


async def test_a_closed_connection_is_replaced_quietly(client: UpstreamClient) -> None:
    async def handler(link: Link) -> None:
        await link.request()
        link.writer.write(ANSWER)
        if link.number == 1:
            await link.gone()

    async with serving(handler) as upstream:
        assert await get(client, upstream) == (b"ok", False)
        await until(lambda: opened(client) == 0)
        assert await get(client, upstream) == (b"ok", False)
        assert len(upstream.links) == 2


async def test_an_end_that_the_loop_has_not_seen_yet_is_found(
    client: UpstreamClient, clock: ShiftedClock
) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    upstream = Upstream(listener.getsockname()[1])
    close = threading.Event()
    requests: list[bytes] = []

    def serve() -> None:
        for _ in range(2):
            peer, _ = listener.accept()
            requests.append(peer.recv(65536))
            peer.sendall(ANSWER)
            close.wait(10)
            peer.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert await get(client, upstream) == (b"ok", False)
        clock.more_s += 1
        close.set()
        # The end reaches our socket while the loop is kept busy, so only the kernel knows of it.
        deadline_s = time.monotonic() + 5
        pool = next(iter(client._pools.values()))
        connection = next(iter(pool.connections))
        while connection.usable(clock()) and time.monotonic() < deadline_s:
            pass
        assert await get(client, upstream) == (b"ok", False)
    finally:
        await client.close()
        thread.join(10)
        listener.close()
    assert len(requests) == 2


async def test_a_lost_race_is_an_error_and_nothing_is_sent_twice(client: UpstreamClient) -> None:
    requests: list[bytes] = []

    async def handler(link: Link) -> None:
        requests.append((await link.request())[1])
        link.writer.write(ANSWER)
        requests.append((await link.request())[1])  # processed, perhaps; then the end

    async with serving(handler) as upstream:
        await get(client, upstream)
        error = await failing(client, upstream)
        assert (error.kind, error.stage, error.failover) == ("upstream_error", "reuse", True)
        assert len(requests) == 2
        assert len(upstream.links) == 1


# -------------------------------------------------------------------------------- broken answers


@pytest.mark.parametrize("reset", [False, True], ids=["end", "reset"])
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", "upstream_error"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "upstream_error"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "stream_broken"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "stream_broken"),
    ],
    ids=["nothing", "half a head", "half a body", "no last chunk"],
)
async def test_answers_that_break_off(
    client: UpstreamClient, answer: bytes, kind: str, reset: bool
) -> None:
    async def handler(link: Link) -> None:
        await link.request()
        link.writer.write(answer)
        await link.writer.drain()
        if reset:
            link.reset()

    async with serving(handler) as upstream:
        error = await failing(client, upstream)
        assert (error.kind, error.stage) == (kind, None)


async def test_an_answer_byte_by_byte(client: UpstreamClient) -> None:
    async def handler(link: Link) -> None:
        while True:
            await link.request()
            for byte in ANSWER:
                link.writer.write(bytes([byte]))
                await link.writer.drain()
                await asyncio.sleep(0)

    async with serving(handler) as upstream:
        assert await get(client, upstream) == (b"ok", False)
        assert await get(client, upstream) == (b"ok", True)


async def test_an_early_refusal_of_a_large_body_is_read(client: UpstreamClient) -> None:
    async def handler(link: Link) -> None:
        await link.reader.readuntil(b"\r\n\r\n")
        link.writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        await link.gone()

    async with serving(handler) as upstream:
        request = UpstreamRequest("/x", (), b"x" * 20_000_000)
        response = await send(client, upstream, request=request)
        assert response.head.status == 413
        assert await response.read(100) == b"big"
        assert opened(client) == 0


async def test_a_large_body_arrives_whole(client: UpstreamClient) -> None:
    async with steady() as upstream:
        body = bytes(range(256)) * 20_000
        response = await send(client, upstream, request=UpstreamRequest("/x", (), body))
        assert await response.read(10) == b"ok"
        assert upstream.bodies == [body]
        assert (await get(client, upstream))[1]


async def test_a_slow_reader_holds_the_upstream_back(client: UpstreamClient) -> None:
    size = 30_000_000

    async def handler(link: Link) -> None:
        await link.request()
        link.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // 100_000):
            link.writer.write(b"x" * 100_000)
            await link.writer.drain()
        await link.gone()

    async with serving(handler) as upstream:
        response = await send(client, upstream)
        await until(lambda: response.paused)
        assert response.queued_bytes < 1_000_000
        taken = 0
        while data := await response.chunk():
            assert len(data) < 1_000_000
            taken += len(data)
        assert taken == size
        assert (response.complete, client.connection_counts()) == (
            True,
            {f"127.0.0.1:{upstream.port}": (1, 1)},
        )


# ------------------------------------------------------------------------------------- timeouts


async def test_first_byte_timeout(client: UpstreamClient) -> None:
    async def handler(link: Link) -> None:
        await link.request()
        assert await link.gone()

    async with serving(handler) as upstream:
        error = await failing(client, upstream, SHORT)
        assert (error.kind, error.stage) == ("timeout", "first_byte")


async def test_drip_of_comments_is_no_first_byte(client: UpstreamClient) -> None:
    async def handler(link: Link) -> None:
        await link.request()
        link.writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        while True:
            link.writer.write(b": keep-alive\n\n")
            await link.writer.drain()
            await asyncio.sleep(0.005)

    async with serving(handler) as upstream:
        error = await failing(client, upstream, SHORT)
        assert (error.kind, error.stage, error.status) == ("timeout", "first_byte", 200)


async def test_idle_timeout(client: UpstreamClient) -> None:
    async def handler(link: Link) -> None:
        await link.request()
        link.writer.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
        assert await link.gone()

    async with serving(handler) as upstream:
        response = await send(client, upstream, SHORT)
        assert await response.chunk() == b"hello"
        with pytest.raises(UpstreamError) as raised:
            await response.chunk()
        assert (raised.value.kind, raised.value.stage) == ("timeout", "idle")


async def test_slow_drip_meets_the_total_timeout(client: UpstreamClient) -> None:
    async def handler(link: Link) -> None:
        await link.request()
        link.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n")
        while True:
            link.writer.write(b"x")
            await link.writer.drain()
            await asyncio.sleep(0.005)

    async with serving(handler) as upstream:
        limits = Timeouts(connect=1, first_byte=1, idle=1, total=0.1)
        error = await failing(client, upstream, limits)
        assert (error.kind, error.stage) == ("timeout", "total")


async def test_refused_connection(client: UpstreamClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        upstream = Upstream(listener.getsockname()[1])
    error = await failing(client, upstream)
    assert (error.kind, error.stage) == ("connect", None)
    assert "refused" in error.message


# ------------------------------------------------------------------------------ leaving and ending


async def test_abort_closes_the_upstream_connection(client: UpstreamClient) -> None:
    left = asyncio.Event()

    async def handler(link: Link) -> None:
        await link.request()
        link.writer.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
        await link.gone()
        left.set()

    async with serving(handler) as upstream:
        response = await send(client, upstream)
        assert await response.chunk() == b"hello"
        response.abort()
        await asyncio.wait_for(left.wait(), 5)
        assert opened(client) == 0


async def test_a_cancelled_send_closes_the_upstream_connection(client: UpstreamClient) -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def handler(link: Link) -> None:
        await link.request()
        asked.set()
        await link.gone()
        left.set()

    async with serving(handler) as upstream:
        task = asyncio.ensure_future(send(client, upstream))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(left.wait(), 5)


async def test_close_ends_everything(client: UpstreamClient) -> None:
    asked = asyncio.Event()

    async def handler(link: Link) -> None:
        await link.request()
        asked.set()
        await link.gone()

    async with serving(handler) as upstream:
        task = asyncio.ensure_future(send(client, upstream))
        await asked.wait()
        await client.close()
        with pytest.raises(UpstreamError, match="stopping"):
            await task
        assert (await failing(client, upstream)).kind == "connect"


async def test_many_at_once_each_get_their_own_answer() -> None:
    async def handler(link: Link) -> None:
        while True:
            _, body = await link.request()
            link.writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for byte in body:
                link.writer.write(b"1\r\n%c\r\n" % byte)
                await asyncio.sleep(0)
            link.writer.write(b"0\r\n\r\n")

    client = UpstreamClient(max_connections_per_origin=8)
    async with serving(handler) as upstream:

        async def one(number: int) -> None:
            body = b"%06d" % number
            response = await send(client, upstream, request=UpstreamRequest("/x", (), body))
            if number % 7 == 0:
                response.abort()
                return
            taken = b""
            while data := await response.chunk():
                taken += data
            assert taken == body

        await asyncio.gather(*[one(number) for number in range(300)])
        assert client.connection_counts()[f"127.0.0.1:{upstream.port}"][0] <= 8
        await client.close()
