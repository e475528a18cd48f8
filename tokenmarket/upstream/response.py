"""One answer of an upstream as its reader sees it: the head, then ``chunk`` after ``chunk``.

``connection.py`` fills it in from socket callbacks, the gateway takes from it. What lies below the
line "for the connection" is not for the gateway.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Final, Protocol

from tokenmarket.adapters.protocol import Head
from tokenmarket.core.catalog import Timeouts
from tokenmarket.core.errors import FailureKind, UpstreamError
from tokenmarket.upstream.inflate import Inflater
from tokenmarket.upstream.keepalive import Waiting

WAIT_HEAD: Final = 0
WAIT_CHUNK: Final = 1
WAIT_BODY: Final = 2
WAIT_TAKE: Final = 3

Take = Callable[[bytes], bool]
Sink = Callable[[bytes], object]


class Line(Protocol):
    """What a running response needs from its connection."""

    def resume(self) -> None: ...
    def fail(self, kind: FailureKind, message: str, stage: str | None = None) -> None: ...


class UpstreamResponse:
    """One answer. Made by ``UpstreamClient.send``, which returns it when the head is complete.

    Times are seconds of the client's clock, 0.0 = not yet: ``started_s`` (send was called),
    ``sent_s`` (the request was handed to the socket; ``written_s``: the last piece of its body,
    where that comes from a spool), ``head_s``, ``data_s`` (first real data:
    not blank lines or SSE comments). Until real data came the first-byte timer runs, whatever
    else arrives, and the idle timer does not; afterwards any byte counts as a sign of life.
    While reading is paused because the reader is slow, the idle timer stands still.
    """

    __slots__ = (
        "complete",
        "connection",
        "data_s",
        "error",
        "head",
        "head_s",
        "inbox",
        "inflater",
        "last_s",
        "limit_bytes",
        "paused",
        "queued_bytes",
        "reused",
        "sent_s",
        "started_s",
        "take",
        "take_error",
        "timeouts",
        "waiter",
        "waiting",
        "wants",
        "written_s",
    )

    head: Head

    def __init__(self, started_s: float, sent_s: float, timeouts: Timeouts, reused: bool) -> None:
        self.started_s = started_s
        self.sent_s = self.last_s = self.written_s = sent_s
        self.timeouts = timeouts
        self.reused = reused
        self.head_s = self.data_s = 0.0
        self.complete = self.paused = False  # complete: the body ended properly (maybe not taken)
        self.inbox: list[bytes] = []
        self.queued_bytes = self.limit_bytes = 0
        self.wants = WAIT_HEAD
        self.connection: Line | None = None
        self.waiter: asyncio.Future[None] | None = None
        self.error: UpstreamError | None = None
        self.take: Take | None = None
        self.take_error: BaseException | None = None
        self.inflater: Inflater | None = None
        self.waiting: Waiting | None = None

    @property
    def connect_us(self) -> int:
        """Microseconds from ``send`` until a connection was there."""
        return int((self.sent_s - self.started_s) * 1e6)

    @property
    def first_byte_us(self) -> int | None:
        """Microseconds from the request to the complete head."""
        return int((self.head_s - self.written_s) * 1e6) if self.head_s else None

    @property
    def first_data_us(self) -> int | None:
        """Microseconds from the request to the first body byte that was not keep-alive."""
        return int((self.data_s - self.written_s) * 1e6) if self.data_s else None

    async def headed(self) -> None:
        """Returns when the head is complete, for who did not get this from ``UpstreamClient.send``.
        Raises UpstreamError as that does."""
        if not self.head_s and self.error is None:
            await self._wait(WAIT_HEAD)
        self.check_head()

    async def chunk(self) -> bytes:
        """The bytes that arrived since the last call, waiting for some; b"" at the end.

        Raises UpstreamError (timeout, stream_broken, upstream_error) after the last good bytes.
        """
        if not self.inbox:
            if not self.complete and self.error is None:
                await self._wait(WAIT_CHUNK)
            if not self.inbox:
                if self.error is not None:
                    raise self.error
                return b""
        chunks = self.inbox
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self.inbox = []
        self.queued_bytes = 0
        if self.paused:
            self._resume()
        return data

    async def relay(self, take: Take) -> bool:
        """Hand every chunk to ``take`` the moment it arrives, without a task switch in between.

        Returns True when ``take`` did (it wants a rest: what arrives then waits, within bounds),
        False at the end of the body. Raises what ``take`` raised, and what ``chunk`` raises.
        """
        while True:
            if self.inbox and take(await self.chunk()):
                return True
            if self.error is not None:
                raise self.error
            if self.complete:
                return False
            self.take, self.take_error = take, None
            try:
                await self._wait(WAIT_TAKE)
            finally:
                rest, self.take = self.take is None, None
            if self.take_error is not None:
                raise self.take_error
            if rest:
                return True

    async def read(self, bytes_max: int) -> bytes:
        """The whole body; does not wait when it is here already.

        Raises UpstreamError("upstream_error") above ``bytes_max`` (the connection is closed), and
        what ``chunk`` raises.
        """
        if not self.complete and self.error is None:
            self.limit_bytes = bytes_max
            if self.paused:
                self._resume()
            if self.queued_bytes <= bytes_max:
                await self._wait(WAIT_BODY)
        if self.error is not None:
            raise self.error
        if self.queued_bytes > bytes_max:
            self._over(bytes_max)
        chunks, self.inbox = self.inbox, []
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def save(self, sink: Sink, bytes_max: int) -> int:
        """Every chunk to ``sink`` (what it returns is awaited if it can be, and reading pauses);
        gives the size. Raises what ``sink`` raises, and as ``read`` does."""
        size = 0
        while data := await self.chunk():
            size += len(data)
            if size > bytes_max:
                self._over(bytes_max)
            waiting = sink(data)
            if inspect.isawaitable(waiting):
                await waiting
        return size

    def abort(self) -> None:
        """We want no more: closes the connection at once. Does nothing after the end."""
        if self.connection is not None:
            self.connection.fail("stream_broken", "given up by the gateway")

    def _over(self, bytes_max: int) -> None:
        message = f"the answer is larger than {bytes_max} bytes"
        if self.connection is not None:
            self.connection.fail("upstream_error", message)
        self.inbox = []
        raise UpstreamError("upstream_error", message, status=self.head.status)

    def _wait(self, wants: int) -> asyncio.Future[None]:
        if self.waiter is not None and not self.waiter.done():
            raise RuntimeError("two readers of one upstream response")
        self.wants = wants
        self.waiter = waiter = asyncio.get_running_loop().create_future()
        return waiter

    def _resume(self) -> None:
        self.paused = False
        if self.connection is not None:
            self.connection.resume()

    # ---------------------------------------------------------- for the connection and the client

    def _give(self, take: Take) -> bool:
        """What arrived goes to the reader's function; whether it takes more."""
        chunks, self.inbox = self.inbox, []
        self.queued_bytes = 0
        if self.paused:
            self._resume()
        try:
            return not take(chunks[0] if len(chunks) == 1 else b"".join(chunks))
        except BaseException as error:
            self.take_error = error
            return False

    def check_head(self) -> None:
        """For ``UpstreamClient.send``: raise if there is no head."""
        if not self.head_s and self.error is not None:
            raise self.error

    def ended(self) -> None:
        """The body is whole and the connection has let go of it."""
        waiter = self.waiter
        if waiter is not None and not waiter.done():
            self.waiter = None
            waiter.set_result(None)

    def wake(self) -> None:
        waiter = self.waiter
        if waiter is None or waiter.done():
            return
        if self.take is not None:
            if self.inbox and not self._give(self.take):
                self.take = None
                self.waiter = None
                waiter.set_result(None)
                return
            if not self.complete and self.error is None:
                return
        if (
            (self.inbox and self.wants == WAIT_CHUNK)
            or self.complete
            or self.error is not None
            or (self.wants == WAIT_HEAD and self.head_s)
            or (self.wants == WAIT_BODY and self.queued_bytes > self.limit_bytes)
        ):
            self.waiter = None
            waiter.set_result(None)
