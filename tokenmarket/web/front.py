"""The HTTP/1.1 server of the API: bytes of a connection -> Inbound, and answers -> bytes.

Written on ``asyncio.Protocol`` and llhttp (httptools) because a request then costs a third of what
it costs under an ASGI server (``docs/decisions/0002-own-http-front.md`` has the figures), and
because it can enforce what those do not: header and body deadlines, header limits, a write deadline
for slow readers (``design/security.md`` N1-N5).

What a reader must know: one connection serves one request at a time; what a client pipelines waits,
with reading paused. A handler runs as one Task; when the client leaves, the Task is cancelled only
while ``Reply.cancellable`` is set, otherwise it finds ``gone`` set.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable

import httptools

from tokenmarket.core.errors import ApiError
from tokenmarket.core.wire import Inbound, Received
from tokenmarket.core.wording import say
from tokenmarket.lane import Call
from tokenmarket.lane.frames import Heading
from tokenmarket.web.head import FrontLimits, body_too_large, head_too_large, headers_of
from tokenmarket.web.known_head import KnownHead, learn
from tokenmarket.web.receiving import FormIntake
from tokenmarket.web.reply import STATUS_LINES, Reply
from tokenmarket.web.sending import Sending, has_left
from tokenmarket.web.shared import Shared

__all__ = ["Connection", "Front", "FrontLimits"]

QUIET_BYTES_MAX = 512 * 1024  # above what a head and one read of the loop can be
LINGER_S = 2.0  # an error in the middle of a body: so long we read on, or the client never sees it
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Front(Shared):
    """The HTTP server: ``protocol`` for each connection, ``start``, and ``drain`` at the end."""

    def protocol(self) -> Connection:
        """A new connection (``loop.create_server``'s factory)."""
        return Connection(self)


class Connection(Sending):
    """One client connection."""

    __slots__ = (
        "_body",
        "_body_began_s",
        "_body_bytes",
        "_body_max",
        "_call",
        "_deadline_s",
        "_front",
        "_headers",
        "_intake",
        "_keep_alive",
        "_known",
        "_last",
        "_lines",
        "_method",
        "_peer",
        "_queue",
        "_quiet_bytes",
        "_reading_head",
        "_refused",
        "_task",
        "_url",
        "parser",
        "reply",
    )

    def __init__(self, front: Shared) -> None:
        super().__init__()
        self._front = front
        self.parser = httptools.HttpRequestParser(self)
        self.reply: Reply | None = None  # of the request being served
        self._task: asyncio.Task[None] | None = None
        self._call: Call | None = None  # what serves it instead, in the lane
        self._queue: deque[tuple[Inbound, bool]] = deque()
        self._deadline_s = time.monotonic() + front.limits.header_s
        self._refused = False
        self._reading_head = False
        self._quiet_bytes = 0
        self._peer = ""
        self._known: KnownHead | None = None  # the head of the last request, if it may come again
        self._last: Inbound | None = None  # what the parser has just made
        self._intake: FormIntake | None = None  # of multipart bodies, once there was one
        self._reset()

    def _reset(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._lines: list[tuple[bytes, bytes]] = []
        self._body_began_s = 0.0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._body_max = 0
        self._keep_alive = True
        self._method = "GET"

    # --- connection -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self._peer = peer[0] if peer else ""
        self._front.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._front.connections.discard(self)
        self._drop_unserved()
        reply, task = self.reply, self._task
        if task is None:
            self.leave_lane()  # its task will find ``gone``
        elif reply is not None and reply.cancellable:
            task.cancel()

    def eof_received(self) -> bool:
        self.send_now()
        if self._reading_head or (self._body_max and self.reply is None and not self._queue):
            self._refuse(ApiError("REQUEST_001", "The request was cut short.", reason="cut"))
            return True
        return False  # closes: a client that half-closes has left (as nginx sees it)

    def check_deadlines(self, now_s: float) -> None:
        """Called by the sweep."""
        self.send_now()
        limits = self._front.limits
        if self._paused_since_s and now_s - self._paused_since_s > limits.write_stall_s:
            self.abort()
        elif self.reply is None and not self._asking and now_s > self._deadline_s:
            if self._refused:
                self.abort()  # lingered long enough
            elif self._reading_head or self._body_max:
                part = "head" if self._reading_head else "body"
                self._refuse(
                    ApiError(
                        "REQUEST_001",
                        say("The {part} of the request came too slowly.", part=part),
                        reason="slow",
                    )
                )
            elif self.transport is not None:
                self.transport.close()

    @property
    def serving(self) -> bool:
        return self.reply is not None

    def close_if_idle(self) -> None:
        self.send_now()
        if self.reply is None and not self._queue and self.transport is not None:
            self.transport.close()

    # --- parsing --------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        between = not self._reading_head and not self._body_max
        if (
            (known := self._known) is not None
            and between
            and self.reply is None
            and not self._queue
        ):
            body = known.body_of(data)
            if body is not None and len(body) <= self._front.limits.body_bytes_max:
                self._serve_known(known, body)
                return
        # What the parser swallows without telling (one endless header, chunk extensions, trailers).
        self._quiet_bytes += len(data)
        try:
            self.parser.feed_data(data)
            if (last := self._last) is not None:
                self._last = None
                if between:
                    self._learn(data, last)
            if self._quiet_bytes > QUIET_BYTES_MAX:
                self._refuse(head_too_large())
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            if not isinstance(cause, ApiError):
                raise
            if self.reply is None:
                self._drop_unserved()
            self._refuse(cause, linger=self._body_max > 0)
        except httptools.HttpParserUpgrade:
            self._refuse(ApiError("REQUEST_001", "Upgrades are not offered.", reason="upgrade"))
        except httptools.HttpParserError as error:
            self._refuse(
                ApiError(
                    "REQUEST_001", say("Not HTTP: {error}", error=error), reason="malformed_http"
                )
            )

    def on_message_begin(self) -> None:
        self._reset()
        self._reading_head = True
        self._deadline_s = time.monotonic() + self._front.limits.header_s

    def on_url(self, url: bytes) -> None:
        self._url += url
        if len(self._url) > self._front.limits.header_bytes_max:
            raise head_too_large()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._lines.append((name, value))  # trailers too; they come too late to be looked at

    def on_headers_complete(self) -> None:
        self._reading_head = False
        self._keep_alive = self.parser.should_keep_alive()
        self._method = self.parser.get_method().decode("ascii")
        limits = self._front.limits
        headers = self._headers = headers_of(self._lines, len(self._url), limits)
        if not self._url.startswith(b"/"):
            raise ApiError("REQUEST_001", "Expected a path as the request target.")
        version = self.parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise ApiError("REQUEST_001", "Expected HTTP/1.1.", reason="malformed_http")
        if headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
            raise ApiError("REQUEST_001", "The only transfer coding here is chunked.")
        if b"host" not in headers and version == "1.1":
            raise ApiError("REQUEST_001", "The Host header is missing.")
        multipart = headers.get(b"content-type", b"")[:10].lower() == b"multipart/"
        self._body_max = limits.multipart_bytes_max if multipart else limits.body_bytes_max
        length = headers.get(b"content-length")
        if length is not None and int(length) > self._body_max:
            raise body_too_large(self._body_max)
        waits = headers.get(b"expect", b"").lower() == b"100-continue"
        if multipart and (forms := self._front.forms) is not None:
            if self._intake is None:
                self._intake = FormIntake(forms, self)
            size = None if length is None else int(length)
            behind = bool(self._queue)
            self._intake.begin(self._inbound(b""), size, waits=waits, behind=behind)
        elif waits and self.transport is not None:
            self.transport.write(_CONTINUE)
        self._quiet_bytes = 0
        self._body_began_s = time.monotonic()
        self._deadline_s = self._body_began_s + limits.body_stall_s

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > self._body_max:
            raise body_too_large(self._body_max)
        if self._intake is None or not self._intake.receiving:
            self._body.append(body)
        else:
            self._intake.write(body, behind=bool(self._queue))
        self._quiet_bytes = 0
        limits = self._front.limits
        worked_off_s = self._body_began_s + self._body_bytes / limits.body_bytes_s_min
        self._deadline_s = min(time.monotonic(), worked_off_s) + limits.body_stall_s

    def on_message_complete(self) -> None:
        self._body_max = 0
        self._quiet_bytes = 0
        front = self._front
        body = self._body
        inbound = self._inbound(body[0] if len(body) == 1 else b"".join(body))
        if self._intake is not None:
            inbound.spool = self._intake.taken()
        keep_alive = self._keep_alive and not front.draining
        if self.reply is None and not self._asking:
            if inbound.spool is None:
                self._last = inbound
            self._serve(inbound, keep_alive=keep_alive)
            return
        self._queue.append((inbound, keep_alive))
        if self.transport is not None:
            self.transport.pause_reading()
        if len(self._queue) > front.limits.pipeline_max:
            raise ApiError("REQUEST_001", "Too many pipelined requests.")

    def _learn(self, data: bytes, last: Inbound) -> None:
        """``data`` was one whole request, or more than that."""
        self._known = None
        if last.method == "POST" and self._keep_alive and self.parser.get_http_version() == "1.1":
            self._known = learn(
                data, last.path, last.query, last.headers, last.body, self._front.heads
            )

    def _inbound(self, body: bytes) -> Inbound:
        front = self._front
        path, _, query = self._url.partition(b"?")
        now_us = time.time_ns() // 1000
        return Inbound(
            front.new_id(now_us),
            self._method,
            path.decode("latin-1"),
            query,
            self._headers,
            body,
            front.address(self._peer, self._headers),
            now_us,
            time.monotonic_ns() // 1000,
        )

    # --- multipart bodies (``receiving.py``) ----------------------------------------------------

    @property
    def _asking(self) -> bool:
        return self._intake is not None and self._intake.asking

    def hold(self) -> None:
        """The sender of a form is looked up."""
        if self.transport is not None:
            self.transport.pause_reading()

    def release(self, *, welcome: bool) -> None:
        """The sender may go on; ``welcome``: it waits to be told."""
        transport = self.transport
        if transport is None or self.gone or self._refused:
            return
        if welcome:
            self.write(_CONTINUE)
        self._body_began_s = time.monotonic()
        self._deadline_s = self._body_began_s + self._front.limits.body_stall_s
        if self.reply is None and self._queue:
            self._serve_next(transport)
        if not self._queue:
            transport.resume_reading()

    def refuse(self, error: ApiError) -> None:
        """The sender may not."""
        if self.reply is None:
            self._drop_unserved()  # of which it was the first
        if self.transport is not None and not self.gone:
            self.transport.resume_reading()
        self._refuse(error, linger=True)

    def _drop_unserved(self) -> None:
        """What was received for nobody."""
        if self._intake is not None:
            self._intake.drop()
        for inbound, _ in self._queue:
            if inbound.spool is not None:
                inbound.spool.close()
        self._queue.clear()

    # --- serving --------------------------------------------------------------------------------

    def _serve_known(self, known: KnownHead, body: bytes) -> None:
        """A whole request with a head that was accepted before."""
        lane = self._front.lane
        if lane is None or self._front.draining:
            self.call_left(known, body)
        else:
            self.reply = reply = Reply(self, keep_alive=True, head_only=False, chunked=True)
            lane.offers.add(known, body, reply)

    def call_taken(self, call: Call) -> None:
        """The lane serves what was offered."""
        self._call = call

    def call_left(self, known: Heading, body: bytes) -> None:
        """A request with a known head that is not the lane's."""
        front = self._front
        now_us = time.time_ns() // 1000
        headers = known.headers_for(body)
        inbound = Inbound(
            front.new_id(now_us),
            "POST",
            known.path,
            known.query,
            headers,
            body,
            front.address(self._peer, headers),
            now_us,
            time.monotonic_ns() // 1000,
        )
        self._serve(inbound, keep_alive=not front.draining)

    def _serve(self, inbound: Inbound, *, keep_alive: bool) -> None:
        reply = self.reply = Reply(
            self,
            keep_alive=keep_alive,
            head_only=inbound.method == "HEAD",
            chunked=self.parser.get_http_version() != "1.0",
        )
        self._start(self._front.handler(inbound, reply), reply, inbound.spool)

    def _start(self, work: Awaitable[None], reply: Reply, spool: Received | None) -> None:
        task = self._task = self._loop.create_task(self._run(work, reply, spool))
        self._front.tasks.add(task)

    def address(self, headers: dict[bytes, bytes]) -> str:
        """Where a request with these headers comes from."""
        return self._front.address(self._peer, headers)

    def leave_lane(self) -> None:
        """A request in the lane, or offered to it, goes on in a task."""
        if self.reply is not None and self._task is None and self._call is None:
            lane = self._front.lane
            if lane is not None:
                lane.offers.send_now()
        if self._call is not None:
            self._call.hand_over()

    def call_goes_on(self, reply: Reply, work: Awaitable[None]) -> None:
        """The lane hands a request over."""
        self._call = None
        self._start(work, reply, None)

    def call_over(self, reply: Reply) -> None:
        """The lane has answered."""
        self._call = None
        self._next(reply)

    async def _run(self, work: Awaitable[None], reply: Reply, spool: Received | None) -> None:
        task = self._task
        try:
            await work
        finally:
            if task is not None:
                self._front.tasks.discard(task)
            if spool is not None:
                spool.close()
            if not reply.done:
                self.abort()
            self._next(reply)

    def _next(self, reply: Reply) -> None:
        """The served request is over: the next one, or wait for it."""
        self.reply = None
        self._task = None
        transport = self.transport
        if transport is None or self.gone:
            return
        if not reply.keep_alive or self._front.draining or self._refused:
            self.send_now()
            transport.close()
            return
        self._deadline_s = time.monotonic() + self._front.limits.idle_s
        if self._queue and not self._asking:
            if has_left(transport):
                self.send_now()
                transport.abort()
                return
            self._serve_next(transport)

    def _serve_next(self, transport: asyncio.Transport) -> None:
        inbound, keep_alive = self._queue.popleft()
        self._serve(inbound, keep_alive=keep_alive)
        if not self._queue:
            transport.resume_reading()

    def _refuse(self, error: ApiError, *, linger: bool = False) -> None:
        """Answer what cannot be served and close; a request that is running ends first.

        ``linger``: the client is still sending; reading goes on, to nowhere, until it has seen the
        answer, because a close would reset the connection under it.
        """
        self._refused = True
        self.send_now()
        transport = self.transport
        if transport is None or self.gone:
            return
        if self.reply is not None or self._queue:
            transport.pause_reading()  # the answer to garbage after a good request is the close
            return
        head, body = self._front.refusal(self._front.new_id(time.time_ns() // 1000), error)
        transport.write(
            b"%b%b%bcontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (STATUS_LINES[error.status], self._front.date_line, head, len(body), body)
        )
        if linger and transport.can_write_eof():
            transport.write_eof()
            self._deadline_s = time.monotonic() + LINGER_S
        else:
            transport.close()

    @property
    def date_line(self) -> bytes:
        return self._front.date_line
