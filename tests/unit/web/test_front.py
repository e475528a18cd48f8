"""The connection's state machine: bytes in any cut, deadlines, order, on a transport of paper."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from tokenmarket.core.errors import ApiError
from tokenmarket.core.wire import Client, ClientGone, Inbound
from tokenmarket.web.front import Connection, Front, FrontLimits

Handler = Callable[[Inbound, Client], Awaitable[None]]
OK = b"content-type: text/plain\r\n"


class Paper:
    """A transport that remembers."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.closed = self.aborted = self.paused = False
        self.socket: Any = None

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("192.0.2.7", 5), "socket": self.socket}.get(name, default)


async def echo(inbound: Inbound, client: Client) -> None:
    client.respond(200, OK, inbound.path.encode() + b" " + inbound.body)


def front(handler: Handler = echo, **limits: Any) -> Front:
    def refusal(request_id: str, error: ApiError) -> tuple[bytes, bytes]:
        return b"x-request-id: %b\r\n" % request_id.encode(), error.message.encode()

    return Front(
        handler,
        refusal,
        lambda now_us: f"req_{now_us}",
        limits=FrontLimits(**limits),
        address=lambda peer, headers: peer,
    )


def connect(of: Front) -> tuple[Connection, Paper]:
    paper = Paper()
    connection = of.protocol()
    connection.connection_made(cast("asyncio.Transport", paper))
    return connection, paper


async def settle(of: Front) -> None:
    while of.tasks:
        await asyncio.wait(of.tasks)
        await asyncio.sleep(0)


POST = b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nX-Trailer: 1\r\n\r\n"
)
GET = b"GET /g?q=1 HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a: 2\r\n\r\n"


async def test_any_cut_of_the_bytes_is_the_same_request() -> None:
    seen: list[Inbound] = []

    async def keep(inbound: Inbound, client: Client) -> None:
        seen.append(inbound)
        await echo(inbound, client)

    for seed in range(30):
        draw = random.Random(seed)
        of = front(keep)
        connection, paper = connect(of)
        for message in (POST, CHUNKED, GET):
            left = message
            while left:
                size = draw.choice((1, 2, 3, 7, 40, 400))
                connection.data_received(left[:size])
                left = left[size:]
            await settle(of)
        assert paper.written.count(b"HTTP/1.1 200 OK\r\n") == 3
        assert not paper.closed
        post, chunked, get = seen[-3:]
        assert (post.method, post.path, post.body) == ("POST", "/p", b"hello")
        assert (chunked.path, chunked.body) == ("/c", b"hello")
        assert b"x-trailer" not in chunked.headers
        assert (get.path, get.query, get.body) == ("/g", b"q=1", b"")
        assert get.headers[b"x-a"] == b"1, 2"
        assert get.address == "192.0.2.7"


async def test_pipelined_requests_wait_for_their_turn() -> None:
    order: list[str] = []
    go_on = asyncio.Event()

    async def slow_first(inbound: Inbound, client: Client) -> None:
        order.append(f"begin {inbound.path}")
        if inbound.path == "/p":
            await go_on.wait()
        order.append(f"end {inbound.path}")
        await echo(inbound, client)

    of = front(slow_first)
    connection, paper = connect(of)
    connection.data_received(POST)
    connection.data_received(CHUNKED[:20])
    await asyncio.sleep(0)
    connection.data_received(CHUNKED[20:])
    assert order == ["begin /p"]
    assert paper.paused  # a client cannot pile up requests
    assert paper.written == b""
    go_on.set()
    paper.socket = _open_socket()
    await settle(of)
    assert order == ["begin /p", "end /p", "begin /c", "end /c"]
    assert not paper.paused
    assert paper.written.index(b"/p hello") < paper.written.index(b"/c hello")


def _open_socket() -> Any:
    ours, theirs = socket.socketpair()
    KEPT.extend((ours, theirs))
    return ours


KEPT: list[Any] = []


@pytest.fixture(autouse=True)
def closed_sockets() -> Any:
    yield
    while KEPT:
        KEPT.pop().close()


async def test_the_task_is_cancelled_only_while_it_may_be() -> None:
    for cancellable in (True, False):
        outcome: list[str] = []
        reached = asyncio.Event()

        async def waits(
            inbound: Inbound,
            client: Client,
            cancellable: bool = cancellable,
            outcome: list[str] = outcome,
            reached: asyncio.Event = reached,
        ) -> None:
            client.cancellable = cancellable
            reached.set()
            try:
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                outcome.append(f"gone {client.gone}")
            except asyncio.CancelledError:
                outcome.append("cancelled")
            client.respond(200, OK, b"")

        of = front(waits)
        connection, paper = connect(of)
        connection.data_received(GET)
        await reached.wait()
        connection.connection_lost(None)
        await settle(of)
        assert outcome == (["cancelled"] if cancellable else ["gone True"])
        assert paper.written == b""  # nothing is written to one who left
        assert of.connections == set()


async def test_a_stream_is_chunked_and_waits_for_a_slow_reader() -> None:
    sent: list[int] = []

    async def stream(inbound: Inbound, client: Client) -> None:
        client.begin(200, OK)
        for n in range(4):
            client.write(b"abc")
            await client.drained()
            sent.append(n)
        client.end(b"z")

    of = front(stream)
    connection, paper = connect(of)
    connection.pause_writing()
    connection.data_received(GET)
    for _ in range(5):
        await asyncio.sleep(0)
    assert sent == []
    connection.resume_writing()
    await settle(of)
    assert sent == [0, 1, 2, 3]
    head, _, body = bytes(paper.written).partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert body == b"3\r\nabc\r\n" * 4 + b"1\r\nz\r\n0\r\n\r\n"
    assert not paper.closed


async def test_a_slow_reader_that_leaves_wakes_the_stream() -> None:
    outcome: list[str] = []

    async def stream(inbound: Inbound, client: Client) -> None:
        client.begin(200, OK)
        try:
            client.write(b"abc")
            await client.drained()
        except ClientGone:
            outcome.append("gone")

    of = front(stream)
    connection, _ = connect(of)
    connection.pause_writing()
    connection.data_received(GET)
    await asyncio.sleep(0)
    connection.connection_lost(None)
    await settle(of)
    assert outcome == ["gone"]


async def test_http_1_0_gets_an_unframed_stream_and_a_close() -> None:
    async def stream(inbound: Inbound, client: Client) -> None:
        client.begin(200, OK)
        client.write(b"abc")
        await client.drained()
        client.end(b"z")

    of = front(stream)
    connection, paper = connect(of)
    connection.data_received(b"GET /g HTTP/1.0\r\n\r\n")
    await settle(of)
    head, _, body = bytes(paper.written).partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert b"connection: close" in head
    assert body == b"abcz"
    assert paper.closed


async def test_a_handler_that_forgets_to_answer_cuts_the_connection() -> None:
    async def forgets(inbound: Inbound, client: Client) -> None:
        return

    of = front(forgets)
    connection, paper = connect(of)
    connection.data_received(GET)
    await settle(of)
    assert paper.aborted


@pytest.mark.parametrize(
    ("sent", "after_s", "ending"),
    [
        (b"", 11, "closed"),
        (POST[:10], 11, "refused"),
        (POST[:-2], 31, "refused"),
        (POST, 76, "closed"),
        (POST[:10], 9, "open"),
        (POST[:-2], 29, "open"),
        (POST, 74, "open"),
    ],
)
async def test_deadlines(sent: bytes, after_s: float, ending: str) -> None:
    of = front()
    connection, paper = connect(of)
    if sent:
        connection.data_received(sent)
    await settle(of)
    paper.written.clear()
    connection.check_deadlines(time.monotonic() + after_s)
    assert paper.closed is (ending != "open")
    assert (b"HTTP/1.1 400" in paper.written) is (ending == "refused")


async def test_a_body_that_drips_is_too_slow_in_the_end() -> None:
    of = front(body_stall_s=30.0, body_bytes_s_min=1000)
    connection, paper = connect(of)
    connection.data_received(b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 900000\r\n\r\n")
    now_s = time.monotonic()
    connection.data_received(b"x")
    connection.check_deadlines(now_s + 29)
    assert not paper.closed
    connection.data_received(b"x" * 10)
    connection.check_deadlines(now_s + 31)  # there was a byte just now, but far too few in all
    assert b"HTTP/1.1 400" in paper.written


async def test_a_reader_that_takes_nothing_is_cut() -> None:
    async def stream(inbound: Inbound, client: Client) -> None:
        client.begin(200, OK)
        client.write(b"abc")
        await client.drained()

    of = front(stream, write_stall_s=60.0)
    connection, paper = connect(of)
    connection.data_received(GET)
    connection.pause_writing()
    connection.check_deadlines(time.monotonic() + 59)
    assert not paper.aborted
    connection.check_deadlines(time.monotonic() + 61)
    assert paper.aborted
    connection.connection_lost(None)
    with pytest.raises(ClientGone):
        await asyncio.gather(*of.tasks)


async def test_draining_lets_the_running_request_finish_and_closes_the_idle_ones() -> None:
    go_on = asyncio.Event()

    async def waits(inbound: Inbound, client: Client) -> None:
        await go_on.wait()
        await echo(inbound, client)

    of = front(waits)
    busy, busy_paper = connect(of)
    _, idle_paper = connect(of)
    busy.data_received(GET)
    drained = asyncio.create_task(of.drain(5))
    await asyncio.sleep(0)
    assert idle_paper.closed
    assert not busy_paper.closed
    go_on.set()
    assert await drained == 0
    assert b"200 OK" in busy_paper.written
    assert busy_paper.closed


async def test_a_head_request_gets_no_body() -> None:
    of = front()
    connection, paper = connect(of)
    connection.data_received(GET.replace(b"GET", b"HEAD"))
    await settle(of)
    head, _, body = bytes(paper.written).partition(b"\r\n\r\n")
    assert b"content-length: 3" in head
    assert body == b""
