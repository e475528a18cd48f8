"""A transport without a socket, and a way to play bytes into a connection."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tokenmarket.core.catalog import Timeouts
from tokenmarket.core.errors import UpstreamError
from tokenmarket.upstream.connection import Connection
from tokenmarket.upstream.response import UpstreamResponse


class FakeTransport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False
        self.paused = False
        self.unsent = 0

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        assert not self.paused
        self.paused = True

    def resume_reading(self) -> None:
        assert self.paused
        self.paused = False

    def get_write_buffer_size(self) -> int:
        return self.unsent


class FakeHome:
    def __init__(self) -> None:
        self.kept = 0
        self.forgotten = 0

    def put_back(self, connection: Connection) -> None:
        self.kept += 1

    def forget(self, connection: Connection) -> None:
        self.forgotten += 1


class Clock:
    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


class Stage:
    """One connection with one request on it."""

    def __init__(self, *, timeouts: Timeouts | None = None, method: str = "POST") -> None:
        self.clock = Clock()
        self.home = FakeHome()
        self.transport = FakeTransport()
        self.connection = Connection(self.home, self.clock, 30.0)
        self.connection.connection_made(self.transport)
        self.timeouts = timeouts or Timeouts()
        self.method = method
        self.ask()

    def ask(self, *, reused: bool = False) -> None:
        now_s = self.clock()
        self.response = UpstreamResponse(now_s, now_s, self.timeouts, reused)
        self.waiter = self.connection.start(self.response, b"ask", b"", self.method == "HEAD")

    def feed(self, data: bytes) -> None:
        if not self.transport.closed:
            self.connection.data_received(data)

    def eof(self) -> None:
        if not self.transport.closed:
            self.connection.eof_received()


@dataclass
class Seen:
    """What a reader saw of one response."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    error: str | None = None
    kept: bool = False


async def outcome(stage: Stage, *, whole: bool = False) -> Seen:
    """Take everything that is there. The bytes have been fed, so nothing here may wait."""
    seen = Seen()
    response = stage.response
    try:
        async with asyncio.timeout(1):
            await stage.waiter
            response.check_head()
            seen.status = response.head.status
            seen.headers = response.head.headers
            if whole:
                seen.body = await response.read(1 << 24)
            else:
                while data := await response.chunk():
                    seen.body += data
    except UpstreamError as error:
        seen.error = error.kind
    seen.kept = stage.home.kept > 0
    return seen


async def play(
    pieces: list[bytes], *, eof: bool = True, method: str = "POST", whole: bool = False
) -> Seen:
    stage = Stage(method=method)
    for piece in pieces:
        stage.feed(piece)
    if eof:
        stage.eof()
    return await outcome(stage, whole=whole)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(ends)]
