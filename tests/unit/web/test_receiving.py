"""Multipart bodies on a transport of paper: spooled, admitted, refused, dropped."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, cast

import pytest

from tokenmarket.core.errors import ApiError
from tokenmarket.core.wire import Client, Inbound
from tokenmarket.files.spool import Spools
from tokenmarket.web.front import Connection, Front, FrontLimits
from tokenmarket.web.receiving import Forms

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Paper:
    """A transport that remembers."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.closed = self.aborted = self.paused = self.half_closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.half_closed = True

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.7", 5) if name == "peername" else default


class Desk:
    """A front whose handler keeps what it sees, and whose door can be made to wait or refuse."""

    def __init__(self, directory: Path, **limits: Any) -> None:
        self.spools = Spools(directory / "spool", memory_bytes=1000, bytes_max=100_000)
        self.asked: list[str] = []
        self.seen: list[tuple[str, bytes, bool]] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.refusal: ApiError | None = None
        self.front = Front(
            self.handle,
            lambda _, error: (b"x-code: %b\r\n" % error.code.encode(), b"no"),
            lambda now_us: f"req_{now_us}",
            limits=FrontLimits(**limits),
            address=lambda peer, headers: peer,
            forms=Forms(self.spools, self.admit),
        )
        self.paper = Paper()
        self.connection: Connection = self.front.protocol()
        self.connection.connection_made(cast("asyncio.Transport", self.paper))

    async def admit(self, inbound: Inbound) -> None:
        self.asked.append(inbound.path)
        await self.go_on.wait()
        if self.refusal is not None:
            raise self.refusal

    async def handle(self, inbound: Inbound, client: Client) -> None:
        spool = inbound.spool
        body = inbound.body if spool is None else spool.read_at(0, spool.size)
        self.seen.append((inbound.path, body, spool is not None))
        client.respond(200, b"", b"ok")

    def send(self, data: bytes) -> None:
        """As a socket would bring it: never while reading is paused."""
        assert not self.paper.paused
        self.connection.data_received(data)

    async def turns(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    def leave(self) -> None:
        self.connection.connection_lost(None)

    def nothing_left(self) -> bool:
        return (self.spools.used_bytes, self.spools.open_count) == (0, 0)


@pytest.fixture
async def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def head(length: int | None, path: str = "/f", more: bytes = b"") -> bytes:
    framing = b"transfer-encoding: chunked" if length is None else b"content-length: %d" % length
    kind = b"content-type: multipart/form-data; boundary=b\r\n"
    return b"POST %b HTTP/1.1\r\nhost: h\r\n%b%b\r\n%b\r\n" % (path.encode(), kind, framing, more)


PLAIN = b"POST /p HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nhi"


async def test_a_small_form_asks_nobody(desk: Desk) -> None:
    desk.send(head(1000) + b"x" * 1000)
    await desk.turns()
    assert desk.asked == []
    assert desk.seen == [("/f", b"x" * 1000, True)]
    assert desk.nothing_left()
    desk.send(PLAIN)  # the connection goes on
    await desk.turns()
    assert desk.seen[1:] == [("/p", b"hi", False)]


@pytest.mark.parametrize("length", [5000, None])
async def test_a_large_form_is_admitted_before_it_is_taken(desk: Desk, length: int | None) -> None:
    desk.go_on.clear()
    body = b"0123456789" * 500
    framed = body if length else b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    desk.send(head(length) + framed[:1500])
    await desk.turns()
    assert desk.paper.paused
    assert desk.asked == ["/f"]
    desk.go_on.set()
    await desk.turns()
    desk.send(framed[1500:])
    await desk.turns()
    assert desk.seen == [("/f", body, True)]
    assert desk.paper.written.startswith(b"HTTP/1.1 200 OK")
    assert desk.nothing_left()


async def test_a_form_that_is_whole_before_its_sender_is_known_waits(desk: Desk) -> None:
    desk.go_on.clear()
    desk.send(head(5000) + b"x" * 5000 + PLAIN)
    await desk.turns()
    assert desk.seen == []
    desk.go_on.set()
    await desk.turns()
    assert desk.seen[0] == ("/f", b"x" * 5000, True)
    assert desk.nothing_left()


async def test_expect_100_continue_is_answered_by_the_check(desk: Desk) -> None:
    desk.go_on.clear()
    desk.send(head(10, more=b"expect: 100-continue\r\n"))
    await desk.turns()
    assert desk.paper.written == b""
    desk.go_on.set()
    await desk.turns()
    assert desk.paper.written == CONTINUE
    desk.send(b"x" * 10)
    await desk.turns()
    assert desk.seen == [("/f", b"x" * 10, True)]


async def test_expect_100_continue_refused_gets_no_100(desk: Desk) -> None:
    desk.refusal = ApiError("AUTH_001", "no")
    desk.send(head(10, more=b"expect: 100-continue\r\n"))
    await desk.turns()
    assert desk.paper.written.startswith(b"HTTP/1.1 401 ")


async def test_a_refused_sender_gets_the_answer_and_time_to_read_it(desk: Desk) -> None:
    desk.refusal = ApiError("AUTH_001", "no")
    desk.send(head(5000) + b"x" * 100)
    await desk.turns()
    assert b"x-code: AUTH_001" in desk.paper.written
    assert b"connection: close" in desk.paper.written
    assert desk.paper.half_closed
    assert not desk.paper.closed
    assert desk.nothing_left()
    desk.send(b"x" * 4900)  # goes nowhere
    assert desk.nothing_left()
    desk.connection.check_deadlines(time.monotonic() + 1)
    assert not desk.paper.aborted
    desk.connection.check_deadlines(time.monotonic() + 3)
    assert desk.paper.aborted
    assert desk.seen == []


async def test_a_whole_form_of_a_refused_sender_is_dropped(desk: Desk) -> None:
    desk.refusal = ApiError("AUTH_001", "no")
    desk.send(head(5000) + b"x" * 5000)
    await desk.turns()
    assert desk.paper.written.startswith(b"HTTP/1.1 401 ")
    assert desk.seen == []
    assert desk.nothing_left()


async def test_a_large_form_behind_other_requests_is_not_taken(desk: Desk) -> None:
    desk.send(PLAIN + PLAIN + head(5000) + b"x" * 100)
    await desk.turns()
    assert desk.asked == []
    assert desk.nothing_left()
    assert desk.paper.written.count(b"HTTP/1.1 ") == 1
    assert desk.paper.closed


@pytest.mark.parametrize("sent", [0, 500, 1500, 4999])
@pytest.mark.parametrize("known", [True, False])
async def test_who_leaves_in_the_middle_leaves_nothing(desk: Desk, sent: int, known: bool) -> None:
    if not known:
        desk.go_on.clear()
    desk.send(head(5000))
    await desk.turns()
    desk.connection.data_received(b"x" * sent)
    await desk.turns()
    desk.leave()
    await desk.turns()
    assert desk.nothing_left()
    assert desk.seen == []


@pytest.mark.parametrize("ending", ["too much", "too slow", "cut", "garbage"])
async def test_an_error_in_the_middle_leaves_nothing(tmp_path: Path, ending: str) -> None:
    desk = Desk(tmp_path, multipart_bytes_max=3000)
    desk.send(head(None) + b"800\r\n" + b"x" * 2048 + b"\r\n")
    await desk.turns()
    assert desk.spools.used_bytes == 2048
    if ending == "too much":
        desk.send(b"800\r\n" + b"x" * 2048 + b"\r\n")
        assert desk.paper.written.startswith(b"HTTP/1.1 413 ")
        assert desk.nothing_left()
    elif ending == "garbage":
        desk.send(b"no length\r\n")
    elif ending == "too slow":
        desk.connection.check_deadlines(time.monotonic() + 31)
    else:
        desk.connection.eof_received()
    assert desk.paper.written.startswith(b"HTTP/1.1 4")
    desk.leave()
    await desk.turns()
    assert desk.nothing_left()
    assert desk.seen == []


async def test_no_room_is_said_before_and_while_receiving(desk: Desk) -> None:
    desk.send(head(100_001))
    assert desk.paper.written.startswith(b"HTTP/1.1 503 ")
    other = desk.spools.open()
    other.write(b"y" * 99_000)
    second = Desk.__new__(Desk)
    second.__dict__.update(desk.__dict__)
    second.paper = Paper()
    second.connection = desk.front.protocol()
    second.connection.connection_made(cast("asyncio.Transport", second.paper))
    second.send(head(None))
    await second.turns()
    second.connection.data_received(b"800\r\n" + b"x" * 2048)
    assert second.paper.written.startswith(b"HTTP/1.1 503 ")
    other.close()
    assert desk.nothing_left()


async def test_the_spool_is_closed_when_the_handler_fails(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    async def fails(inbound: Inbound, client: Client) -> None:
        raise RuntimeError("a bug")

    desk.front.handler = fails
    desk.send(head(10) + b"x" * 10)
    (task,) = desk.front.tasks
    with pytest.raises(RuntimeError):
        await task
    assert desk.nothing_left()
    assert desk.paper.aborted


async def test_draining_waits_for_nobody_who_is_being_asked(desk: Desk) -> None:
    desk.go_on.clear()
    desk.send(head(5000) + b"x" * 5000)
    await desk.turns()
    assert await desk.front.drain(0.01) == 0
    desk.leave()
    assert desk.nothing_left()
