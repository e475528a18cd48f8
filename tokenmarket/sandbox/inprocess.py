"""The sandbox as a transport inside the gateway: a provider with base_url ``sandbox:``.

``SandboxTransport`` has the surface of ``upstream.client.UpstreamClient``, its responses that of
``UpstreamResponse``, so that ``gateway.py`` treats it like any upstream: the bytes are the same as
the HTTP server's, and faults end in the same UpstreamError kinds as on a real connection.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from itertools import count

from tokenmarket.adapters.protocol import Head, UpstreamRequest
from tokenmarket.core.catalog import Timeouts
from tokenmarket.core.errors import FailureKind, UpstreamError
from tokenmarket.core.uploads import body_bytes_count, joined
from tokenmarket.sandbox.behaviour import Script
from tokenmarket.sandbox.desk import BODY_BYTES_MAX, TOO_LARGE, Desk, heavy

BASE_URL = "sandbox:"
_MERGED_BYTES = 16 * 1024  # an unpaced stream comes in chunks of about this size
_PREFIX = "x-sandbox-"


class SandboxTransport:
    """Answers in this process. Needs a running event loop for delays only.

    ``now_s`` is the wall clock (for ``created``), ``monotonic_s`` measures.
    """

    def __init__(
        self,
        *,
        now_s: Callable[[], float] = time.time,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._desk = Desk(now_s)
        self._monotonic_s = monotonic_s
        self._ids = count(1)

    async def send(
        self,
        origin: object,
        request: UpstreamRequest,
        authorization: tuple[tuple[str, str], ...],
        timeouts: Timeouts,
    ) -> SandboxResponse:
        """Resolves when the head would have arrived. ``origin`` and ``authorization`` are accepted
        and ignored: there is no other place, and nothing to prove.

        Raises UpstreamError("timeout", stage="first_byte" or "total").
        """
        del origin, authorization
        asked: dict[str, str] = {}
        content_type = byte_range = ""
        for name, value in request.headers:
            lower = name.lower()
            if lower.startswith(_PREFIX):
                asked[lower[len(_PREFIX) :]] = value
            elif lower == "content-type":
                content_type = value
            elif lower == "range":
                byte_range = value
        script = await self._answer(request, asked, content_type, byte_range)
        head = Head(script.status, _headers(script, next(self._ids)))
        response = SandboxResponse(head, script, timeouts, self._monotonic_s)
        await response.wait_head()
        return response

    async def close(self) -> None:
        """Nothing is held open."""

    async def _answer(
        self, request: UpstreamRequest, asked: dict[str, str], content_type: str, byte_range: str
    ) -> Script:
        size = body_bytes_count(request.body)
        if size > BODY_BYTES_MAX:
            return TOO_LARGE  # as over HTTP, and before it is all in memory

        def answer() -> Script:
            return self._desk.answer(
                request.method,
                request.path,
                asked,
                joined(request.body),
                content_type=content_type,
                byte_range=byte_range,
            )

        return await asyncio.to_thread(answer) if heavy(request.path, size) else answer()


class SandboxResponse:
    """One answer, with the surface of ``UpstreamResponse``: seconds of the monotonic clock, 0.0 =
    not yet."""

    def __init__(
        self, head: Head, script: Script, timeouts: Timeouts, monotonic_s: Callable[[], float]
    ) -> None:
        self.head = head
        self.timeouts = timeouts
        self.started_s = monotonic_s()
        self.sent_s = self.started_s
        self.head_s = 0.0
        self.data_s = 0.0
        self.reused = True
        self.complete = False  # everything was taken and it ended properly
        self._script = script
        self._monotonic_s = monotonic_s
        self._next_piece = 0
        self._error: UpstreamError | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def connect_us(self) -> int:
        """There is no connection: 0."""
        return 0

    @property
    def first_byte_us(self) -> int | None:
        """Microseconds from the request to the head."""
        return int((self.head_s - self.sent_s) * 1e6) if self.head_s else None

    @property
    def first_data_us(self) -> int | None:
        """Microseconds from the request to the first byte of the body that was taken."""
        return int((self.data_s - self.sent_s) * 1e6) if self.data_s else None

    async def read(self, bytes_max: int) -> bytes:
        """The whole body. Raises UpstreamError: "upstream_error" if it is larger, else as
        ``chunk``."""
        parts: list[bytes] = []
        size = 0
        while part := await self.chunk():
            size += len(part)
            if size > bytes_max:
                raise self._failed("upstream_error", f"the answer is larger than {bytes_max} bytes")
            parts.append(part)
        return b"".join(parts)

    async def save(self, sink: Callable[[bytes], object], bytes_max: int) -> int:
        """Every chunk to ``sink`` (what it returns is awaited if it can be); the size. Raises as
        ``read`` does."""
        size = 0
        while part := await self.chunk():
            size += len(part)
            if size > bytes_max:
                raise self._failed("upstream_error", f"the answer is larger than {bytes_max} bytes")
            waiting = sink(part)
            if inspect.isawaitable(waiting):
                await waiting
        return size

    async def chunk(self) -> bytes:
        """The next bytes as they "arrive"; b"" at the end.

        Raises UpstreamError: "stream_broken", "timeout" (stage idle or total).
        """
        if self._error is not None:
            raise self._error
        pieces = self._script.pieces
        if self._next_piece < len(pieces):
            data = await self._next()
            if not self.data_s:
                self.data_s = self._monotonic_s()
            return data
        if self._script.ending == "stall":
            await self._wait(None)
        if self._script.ending == "cut":
            raise self._failed("stream_broken", "the connection was reset inside the answer")
        self.complete = True
        return b""

    async def relay(self, take: Callable[[bytes], bool]) -> bool:
        """Hand every chunk to ``take``: True when it wants a rest, False at the end."""
        while data := await self.chunk():
            if take(data):
                return True
        return False

    def abort(self) -> None:
        """We want no more. A ``chunk`` that is waiting ends at once; nothing happens after the
        end."""
        if not self.complete and self._error is None:
            self._failed("stream_broken", "given up by the gateway")

    async def wait_head(self) -> None:
        """For ``SandboxTransport.send`` only."""
        if self._script.silent:
            await self._wait(None)
        elif self._script.delay_ms:
            await self._wait(self._script.delay_ms / 1000)
        self.head_s = self._monotonic_s()

    async def _next(self) -> bytes:
        """One event of a paced stream; else several at once, as from a fast upstream."""
        script = self._script
        first = self._next_piece
        if script.pace_ms and script.stream:
            if first:
                await self._wait(script.pace_ms / 1000)
            self._next_piece += 1
            return script.pieces[first]
        if first:
            await asyncio.sleep(0)  # let others run in between
        size = 0
        while self._next_piece < len(script.pieces) and size < _MERGED_BYTES:
            size += len(script.pieces[self._next_piece])
            self._next_piece += 1
        return b"".join(script.pieces[first : self._next_piece])

    async def _wait(self, wait_s: float | None) -> None:
        """Waits as the script says (None = for ever), at most what the timeouts allow."""
        limits = self.timeouts
        waited_s = self._monotonic_s() - self.started_s
        if self.data_s:
            stage, left_s = "idle", limits.idle
        else:
            stage, left_s = "first_byte", max(0.0, limits.first_byte - waited_s)
        if limits.total - waited_s < left_s:
            stage, left_s = "total", max(0.0, limits.total - waited_s)
        late = wait_s is None or wait_s > left_s
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(left_s if wait_s is None or late else wait_s, self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None
        if self._error is not None:
            raise self._error
        if late:
            message = f"the upstream exceeded the {stage} timeout"
            raise self._failed("timeout", message, stage)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _failed(self, kind: FailureKind, message: str, stage: str | None = None) -> UpstreamError:
        """Ends the answer: every later call raises the same."""
        status = self.head.status if self.head_s else None
        self._error = UpstreamError(kind, message, status=status, stage=stage)
        self._wake()
        return self._error


def _headers(script: Script, number: int) -> dict[str, str]:
    headers = {"x-request-id": f"req_sandbox_{number}", **dict(script.all_headers())}
    if not script.stream:
        headers["content-length"] = str(script.body_bytes)
    return headers
