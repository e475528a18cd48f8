"""The connections to one origin: last in, first out, capped, with waiters in order.

Last in, first out keeps the warm connections warm and lets the surplus of a burst expire.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from tokenmarket.core.errors import UpstreamError
from tokenmarket.upstream.connection import Connection
from tokenmarket.upstream.dial import Dialer
from tokenmarket.upstream.origin import Headers, Origin


class Rendered:
    """A request head as bytes, and what it was made of. Held, so that identity tells equality."""

    __slots__ = ("authorization", "head", "headers", "method", "path")

    def __init__(
        self, method: str, path: str, headers: Headers, authorization: Headers, head: bytes
    ) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.authorization = authorization
        self.head = head


class Pool:
    """``take`` is the synchronous fast path; ``wait`` opens a connection or queues for one."""

    def __init__(
        self,
        origin: Origin,
        dialer: Dialer,
        *,
        connections_max: int,
        age_s_max: float,
        clock: Callable[[], float],
    ) -> None:
        self._origin = origin
        self._dialer = dialer
        self._connections_max = connections_max
        self._age_s_max = age_s_max
        self._clock = clock
        # A dict for its order and because any one can leave: thousands may end at once.
        self._idle: dict[Connection, None] = {}
        self._opening = 0
        # A waiter gets a connection, or None: a place has become free, and is already counted in
        # ``_opening`` for it.
        self._waiters: deque[tuple[float, asyncio.Future[Connection | None]]] = deque()
        self.connections: set[Connection] = set()
        self.closed = False
        self.last_head: Rendered | None = None  # the client's; most requests repeat it

    @property
    def empty(self) -> bool:
        return not self.connections and not self._opening and not self._waiters

    @property
    def idle_count(self) -> int:
        return len(self._idle)

    def take(self, now_s: float) -> Connection | None:
        """The most recently used idle connection that is provably open."""
        idle = self._idle
        while idle:
            connection, _ = idle.popitem()
            if connection.usable(now_s):
                return connection
            connection.close()
        return None

    async def wait(self, connect_s: float) -> tuple[Connection, bool]:
        """A connection and whether it was used before; ``take`` has just given None.

        Raises UpstreamError: connect (stage "pool" when all connections stayed busy for
        ``connect_s``) or timeout (stage connect).
        """
        deadline_s = self._clock() + connect_s
        while self.closed or len(self.connections) + self._opening >= self._connections_max:
            connection = await self._queue(deadline_s)
            if connection is None:
                return await self._open(connect_s), False
            if connection.usable(self._clock()):
                return connection, True
            connection.close()
        self._opening += 1
        return await self._open(connect_s), False

    def put_back(self, connection: Connection) -> None:
        """A connection finished its response and may be used again."""
        if self.closed or connection.idle_since_s - connection.opened_s > self._age_s_max:
            connection.close()  # so that changed addresses and balanced load are noticed
            return
        while self._waiters:
            waiter = self._waiters.popleft()[1]
            if not waiter.done():
                waiter.set_result(connection)
                return
        self._idle[connection] = None

    def forget(self, connection: Connection) -> None:
        """A connection is closing; idempotent. Its place goes to the first waiter."""
        if connection not in self.connections:
            return
        self.connections.remove(connection)
        self._idle.pop(connection, None)
        self._free_place()

    def expire(self, now_s: float) -> None:
        """Apply all timeouts of this origin; called by the client's sweep."""
        for connection in tuple(self.connections):
            connection.expire(now_s)
        while self._waiters and self._waiters[0][0] <= now_s:
            waiter = self._waiters.popleft()[1]
            if not waiter.done():
                message = "all connections to the upstream stayed busy"
                waiter.set_exception(UpstreamError("connect", message, stage="pool"))

    def close(self) -> None:
        self.closed = True
        for _, waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(UpstreamError("connect", "the gateway is stopping"))
        self._waiters.clear()
        for connection in tuple(self.connections):
            connection.fail("stream_broken", "the gateway is stopping")

    async def _queue(self, deadline_s: float) -> Connection | None:
        if self.closed:
            raise UpstreamError("connect", "the gateway is stopping")
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiters.append((deadline_s, waiter))
        try:
            return await waiter
        except asyncio.CancelledError:
            # Cancelled in the very moment of being served: pass the gift on.
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                given = waiter.result()
                if given is None:
                    self._opening -= 1
                    self._free_place()
                else:
                    self.put_back(given)
            raise

    async def _open(self, connect_s: float) -> Connection:
        """Open one in a place that is already counted in ``_opening``."""
        try:
            connection = await self._dialer.open(self._origin, self, connect_s)
        except BaseException:
            self._opening -= 1
            self._free_place()
            raise
        self._opening -= 1
        self.connections.add(connection)
        if self.closed:
            connection.close()
            raise UpstreamError("connect", "the gateway is stopping")
        if connection.closing:  # lost before it got here; nobody would tell us again
            self.forget(connection)
            raise UpstreamError("connect", "the upstream closed the connection at once")
        return connection

    def _free_place(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()[1]
            if not waiter.done():
                self._opening += 1
                waiter.set_result(None)
                return
