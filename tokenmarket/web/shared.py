"""What all connections of the front share: handler, limits, clocks, and the set to drain."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Protocol

from tokenmarket.core.errors import ApiError
from tokenmarket.core.wire import Client, Inbound
from tokenmarket.lane import Lane
from tokenmarket.web.head import FrontLimits
from tokenmarket.web.known_head import no_heads
from tokenmarket.web.receiving import Forms

Handler = Callable[[Inbound, Client], Awaitable[None]]
Refusal = Callable[[str, ApiError], tuple[bytes, bytes]]  # request id, error -> head block, body


class Watched(Protocol):
    """A connection, as the sweep and the drain see it."""

    @property
    def serving(self) -> bool: ...
    def leave_lane(self) -> None: ...
    def check_deadlines(self, now_s: float) -> None: ...
    def close_if_idle(self) -> None: ...
    def abort(self) -> None: ...


class Shared:
    """What all connections share: the handler, limits, clocks, and the set to drain at the end."""

    def __init__(
        self,
        handler: Handler,
        refusal: Refusal,
        new_id: Callable[[int], str],
        *,
        limits: FrontLimits,
        address: Callable[[str, dict[bytes, bytes]], str],
        forms: Forms | None = None,
    ) -> None:
        """``forms`` None: multipart bodies are kept in memory like all others."""
        self.handler = handler
        self.refusal = refusal
        self.new_id = new_id
        self.limits = limits
        self.address = address
        self.forms = forms
        self.connections: set[Watched] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.draining = False
        self.date_line = b""
        self.heads = no_heads()
        self.lane: Lane | None = None  # takes plain requests first
        self._sweeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin the one periodic sweep that all deadlines hang on."""
        self._refresh_date()
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep())

    @property
    def running(self) -> int:
        """Requests being served."""
        return sum(connection.serving for connection in self.connections)

    async def drain(self, deadline_s: float) -> int:
        """Stop keep-alive, wait for running requests, then abort the rest; returns how many."""
        self.draining = True
        for connection in list(self.connections):
            connection.leave_lane()
            connection.close_if_idle()
        if self.tasks:
            await asyncio.wait(list(self.tasks), timeout=deadline_s)
        left = list(self.tasks)
        for connection in list(self.connections):
            connection.abort()
        if left:
            await asyncio.wait(left, timeout=2)
        if self._sweeper is not None:
            self._sweeper.cancel()
        return len(left)

    def _refresh_date(self) -> None:
        self.date_line = f"date: {formatdate(usegmt=True)}\r\n".encode("ascii")

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            self._refresh_date()
            now_s = time.monotonic()
            for connection in list(self.connections):
                connection.check_deadlines(now_s)
