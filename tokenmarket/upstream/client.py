"""The upstream HTTP/1.1 client: one request in, one streaming response out.

    response = await client.send(origin, request, credential.headers, provider.timeouts)
    response.head.status; await response.chunk() …  or  await response.read(bytes_max)
    response.abort()          # in a finally: does nothing when the answer has ended

What a reader must know:

* Redirects are not followed (a 3xx is returned as it is), nothing is retried after a byte was
  written, and no status is an error here: what an answer means is the adapter's business.
* Stale connections. A request to a model is not idempotent, so it is written a second time only
  when the first was provably not processed: that is, never after writing. Before writing on a
  kept-alive connection the client asks whether it is still open (transport state, and the kernel
  when the connection was idle for more than a second) and quietly takes another one if not. If the
  upstream closes a reused connection after the request was written and before any byte of an
  answer, the error is ``upstream_error`` with stage ``reuse``: most likely a lost race with
  its idle timeout, but unproven. The gateway may go to the next route, or to the same route once
  more where a doubled request does no harm (chat, embeddings: yes; video: no).
* Errors. ``connect``: nothing was sent (refused, unknown host, certificate; stage ``pool``: all
  connections busy). ``timeout`` with stage connect, first_byte, idle or total.
  ``upstream_error``: no proper head, or an answer over a limit. ``stream_broken``: a
  proper head, but the body did not end properly.
* All timeouts are applied by one sweep every ``sweep_s``, so they are late by at most that.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable

from tokenmarket.adapters.protocol import UpstreamRequest
from tokenmarket.core.catalog import Timeouts
from tokenmarket.upstream.body_writer import writable
from tokenmarket.upstream.connection import Connection
from tokenmarket.upstream.dial import Dialer, Vet
from tokenmarket.upstream.origin import Headers, Origin, render, render_head
from tokenmarket.upstream.pool import Pool, Rendered
from tokenmarket.upstream.proxy import Proxies
from tokenmarket.upstream.response import UpstreamResponse

# Below the 60 to 75 s of common load balancers. A server that gives up earlier mostly says so in
# Keep-Alive, which is obeyed; one that does not costs a fresh connection now and then.
IDLE_S = 30.0
AGE_S_MAX = 600.0
SWEEP_S = 0.25
HEADS_MAX = 1024
# Against a runaway only: what a provider bears is its own ``limits.concurrency``, and what this
# process may open is ``descriptors.py``'s.
CONNECTIONS_MAX = 16_384


class UpstreamClient:
    """Made once per process, inside or outside the event loop; ``send`` only inside one."""

    def __init__(
        self,
        *,
        max_connections_per_origin: int = CONNECTIONS_MAX,
        idle_s: float = IDLE_S,
        age_s_max: float = AGE_S_MAX,
        sweep_s: float = SWEEP_S,
        proxies: Proxies | None = None,
        ssl_context: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
        vet: Vet | None = None,
    ) -> None:
        """``clock`` is monotonic, in seconds, and not 0. ``vet`` resolves and checks (``dial.py``).
        Raises ValueError for a TLS context that does not verify."""
        self._connections_max = max_connections_per_origin
        self._age_s_max = age_s_max
        self._sweep_s = sweep_s
        self._clock = clock
        self._dialer = Dialer(
            ssl_context=ssl_context,
            proxies=proxies or Proxies(),
            clock=clock,
            idle_s=idle_s,
            vet=vet,
        )
        self._pools: dict[Origin, Pool] = {}
        self._heads: dict[tuple[Origin, str, str, Headers, Headers], bytes] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    async def send(
        self, origin: Origin, request: UpstreamRequest, authorization: Headers, timeouts: Timeouts
    ) -> UpstreamResponse:
        """Resolves when the head of the answer is complete (1xx skipped).

        Raises UpstreamError as said above, and ValueError if the request cannot be written safely
        (a line end in a header or path). If the caller is cancelled the connection is closed.
        """
        started_s = self._clock()
        pool = self._pools.get(origin) or self._pool(origin)
        method = request.method
        last = pool.last_head
        if (
            last is None
            or last.headers is not request.headers
            or last.authorization is not authorization
            or last.path != request.path
            or last.method != method
        ):
            last = self._rendered(pool, origin, request, authorization)
        whole = request.body
        if isinstance(whole, bytes):
            lead, body = render(last.head, method, whole)
        else:
            body, length = writable(whole)
            lead = b"%scontent-length: %d\r\n\r\n" % (last.head, length)
        connection = pool.take(started_s)
        if connection is not None:
            sent_s, reused = started_s, True
        else:
            if self._sweep is None:
                self._schedule()
            connection, reused = await pool.wait(min(timeouts.connect, timeouts.total))
            sent_s = self._clock()
        response = UpstreamResponse(started_s, sent_s, timeouts, reused)
        try:
            await connection.start(response, lead, body, method == "HEAD")
            if response.error is not None:
                response.check_head()
        except BaseException:
            response.abort()
            raise
        return response

    def lead(self, origin: Origin, request: UpstreamRequest, authorization: Headers) -> bytes:
        """The rendered head of such requests, up to the content-length. Raises ValueError."""
        pool = self._pools.get(origin) or self._pool(origin)
        return self._rendered(pool, origin, request, authorization).head

    def idle(self, origin: Origin) -> Connection | None:
        """A connection to ``begin`` on at once; None: only ``send`` can get one. Whoever does not
        begin gives it back with ``unused``."""
        pool = self._pools.get(origin)
        return None if pool is None else pool.take(self._clock())

    async def close(self) -> None:
        """Abort everything that runs; afterwards ``send`` fails with ``connect``."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        for pool in self._pools.values():
            pool.close()
        self._heads.clear()
        await asyncio.sleep(0)  # let the transports close

    def connection_counts(self) -> dict[str, tuple[int, int]]:
        """Per authority: open and idle connections, for /metrics."""
        counts: dict[str, tuple[int, int]] = {}
        for origin, pool in self._pools.items():
            opened, idle = counts.get(origin.authority, (0, 0))
            counts[origin.authority] = (opened + len(pool.connections), idle + pool.idle_count)
        return counts

    def _rendered(
        self, pool: Pool, origin: Origin, request: UpstreamRequest, authorization: Headers
    ) -> Rendered:
        """Not the head that this origin was sent last: find or make it, and make it the last."""
        key = (origin, request.method, request.path, request.headers, authorization)
        head = self._heads.get(key)
        if head is None:
            proxy = None if origin.tls else self._dialer.proxy(origin)
            head = render_head(
                origin,
                request.method,
                request.path,
                request.headers + authorization,
                proxy_authorization=None if proxy is None else proxy.authorization,
            )
            if len(self._heads) >= HEADS_MAX:  # signed requests are all different: start afresh
                self._heads.clear()
            self._heads[key] = head
        pool.last_head = last = Rendered(
            request.method, request.path, request.headers, authorization, head
        )
        return last

    def _pool(self, origin: Origin) -> Pool:
        pool = Pool(
            origin,
            self._dialer,
            connections_max=self._connections_max,
            age_s_max=self._age_s_max,
            clock=self._clock,
        )
        pool.closed = self._closed
        self._pools[origin] = pool
        return pool

    def _schedule(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweep = loop.call_later(self._sweep_s, self._expire)

    def _expire(self) -> None:
        """The sweep. It stops when there is nothing to watch, so an idle gateway sleeps."""
        now_s = self._clock()
        for origin, pool in tuple(self._pools.items()):
            pool.expire(now_s)
            if pool.empty:
                del self._pools[origin]
        self._sweep = None
        if self._pools:
            self._schedule()
