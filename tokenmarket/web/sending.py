"""The sending half of a client's connection: what leaves with a turn, at once, or when it can."""

from __future__ import annotations

import asyncio
import select
import time
from typing import cast

from tokenmarket.core.wire import ClientGone
from tokenmarket.upstream.outbox import Outbox


class Sending(asyncio.Protocol):
    """A connection that can be written to; ``gone`` once it is lost."""

    __slots__ = (
        "_loop",
        "_outbox",
        "_paused_since_s",
        "_unsent",
        "drain_waiter",
        "gone",
        "transport",
    )

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox.of(self._loop)
        self._unsent = b""  # answers that leave with this turn
        self.transport: asyncio.Transport | None = None
        self.gone = False
        self.drain_waiter: asyncio.Future[None] | None = None
        self._paused_since_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        waiter, self.drain_waiter = self.drain_waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(ClientGone())

    def pause_writing(self) -> None:
        self._paused_since_s = time.monotonic()
        if self.drain_waiter is None:
            self.drain_waiter = self._loop.create_future()

    def resume_writing(self) -> None:
        self._paused_since_s = 0.0
        waiter, self.drain_waiter = self.drain_waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def abort(self) -> None:
        """Cut the connection now."""
        if self.transport is not None and not self.gone:
            self.transport.abort()

    def write(self, data: bytes) -> None:
        """Send, after what waits."""
        self.send_now()
        if not self.gone and self.transport is not None:
            self.transport.write(data)

    def send_soon(self, data: bytes) -> None:
        """Send at the end of this turn of the loop (``Outbox``)."""
        if not self._unsent:
            self._outbox.add(self)
        self._unsent += data

    def send_now(self) -> None:
        """What waits leaves now: before anything else is written, and before a close."""
        unsent, self._unsent = self._unsent, b""
        if unsent and not self.gone and self.transport is not None:
            self.transport.write(unsent)

    async def drained(self) -> None:
        """Returns when the client has taken enough to be sent more; ClientGone if it left."""
        waiter = self.drain_waiter
        if waiter is not None:
            await waiter
        if self.gone:
            raise ClientGone


def has_left(transport: asyncio.Transport) -> bool:
    """Whether the kernel knows that the client is gone: while reading is paused, the loop does
    not, and what was pipelined before would be run and charged for nobody."""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
    return bool(poll.poll(0))
