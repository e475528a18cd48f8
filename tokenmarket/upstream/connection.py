"""One HTTP/1.1 connection to an upstream: a socket, a parser, and at most one running response.

Callback style throughout; the awaits are in ``response.py``. A reader must know:

* The upstream is not trusted (``design/security.md`` N8). llhttp in its strict mode refuses bad
  framing (both lengths, doubled lengths, bare LF, folded lines, bad chunk sizes); here are the
  limits it does not have: 64 KiB and 200 headers for all heads together, trailers dropped and
  bounded, 101 and strange status codes refused, transfer codings other than chunked refused.
* A response is complete only by its own framing. The end of the connection completes a body
  without length, and nothing else: any other cut is ``stream_broken``. (Over TLS a body without
  length may be cut by an attacker unseen; decoders therefore want an end marker.)
* A connection leaves its response the moment that is complete, even if nobody has read it yet,
  and goes back to the pool; the response keeps the bytes.
* One future per wait and no Task, timer or ``asyncio.timeout`` at all: ``client.py`` sweeps
  all connections a few times a second and calls ``Connection.expire``.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable, Mapping
from typing import Final, NoReturn, Protocol, cast

import httptools

from tokenmarket.adapters.protocol import Head
from tokenmarket.core.errors import FailureKind, UpstreamError
from tokenmarket.upstream.body_writer import BodyWriter
from tokenmarket.upstream.headers import (
    HEAD_BYTES_MAX,
    HeaderLines,
    promised_idle_s,
)
from tokenmarket.upstream.inflate import CODINGS, Inflater
from tokenmarket.upstream.keepalive import SUSPECT, Waiting
from tokenmarket.upstream.outbox import Outbox
from tokenmarket.upstream.response import WAIT_BODY, UpstreamResponse

QUIET_BYTES_MAX: Final = HEAD_BYTES_MAX + 4096  # in a row, without a byte of body
QUEUE_BYTES_MAX: Final = 64 * 1024  # above it reading from the upstream pauses until it is taken
# The loop itself hears of an end that is older than its last iteration; the kernel is asked only
# about connections that have been idle long enough for the other side to give them up.
PROBE_AFTER_S: Final = 1.0

_BODYLESS: Final = frozenset({204, 304})


class Home(Protocol):
    """What a connection needs from its pool."""

    def put_back(self, connection: Connection) -> None: ...
    def forget(self, connection: Connection) -> None: ...


class Connection(asyncio.Protocol):
    """A socket with a parser. Idle (``_response`` None) or working on exactly one response."""

    __slots__ = (
        "_clock",
        "_done",
        "_head_pieces",
        "_home",
        "_keep",
        "_loop",
        "_now_s",
        "_outbox",
        "_parser",
        "_poll",
        "_quiet_bytes",
        "_refusal",
        "_relaying",
        "_response",
        "_skip_body",
        "_special",
        "_transport",
        "_unsent",
        "_until_eof",
        "_writer",
        "expires_s",
        "idle_since_s",
        "opened_s",
    )

    _transport: asyncio.Transport

    def __init__(self, home: Home, clock: Callable[[], float], idle_s: float) -> None:
        self._home = home
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox.of(self._loop)
        # a request that leaves with this turn
        self._unsent: tuple[bytes, bytes | BodyWriter] | None = None
        self._writer: BodyWriter | None = None  # of a body that is not in memory
        self._response: UpstreamResponse | None = None
        # There is no ``on_header``: two objects and a call for each header would cost more than the
        # parser itself. ``headers.py`` reads them from the bytes that arrived.
        self._head_pieces: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)
        self._poll: select.poll | None = None
        self._refusal: str | None = None
        self._quiet_bytes = 0
        self._now_s = 0.0
        self._done = False
        self._keep = False
        self._until_eof = False
        # Of a body: pass it on as it is; look at it even if it does not begin like keep-alive.
        self._relaying = self._special = False
        self._skip_body = False
        self.opened_s = clock()
        self.idle_since_s = self.opened_s
        self.expires_s = idle_s  # seconds of idleness after which it is not used any more

    # ---------------------------------------------------------------- for the pool and the client

    def start(
        self,
        response: UpstreamResponse,
        request: bytes,
        body: bytes | BodyWriter,
        skip_body: bool,
    ) -> asyncio.Future[None]:
        """Write a request (a large ``body`` apart from it); the future resolves at the head.

        ``skip_body``: the request is HEAD, whose answer has the headers of a body only.
        """
        self.begin(response, request, body)
        if skip_body:  # as ``_until_eof``: never undone, such a connection is not used again
            self._skip_body = self._special = True
        response.waiter = waiter = self._loop.create_future()
        return waiter

    def begin(self, response: UpstreamResponse, request: bytes, body: bytes | BodyWriter) -> None:
        """``start`` for a response that is told of its end instead of being awaited."""
        self._response = response
        response.connection = self
        self._quiet_bytes = 0
        self._done = self._relaying = self._special = False
        self._unsent = (request, body)
        self._outbox.add(self)

    def now_s(self) -> float:
        """What timeouts are counted by."""
        return self._clock()

    def unused(self) -> None:
        """Taken from the pool, but nothing was begun: back to it."""
        self._home.put_back(self)

    def send_now(self) -> None:
        """The request leaves, if it has not yet (``Outbox``)."""
        unsent, self._unsent = self._unsent, None
        if unsent is not None and not self._transport.is_closing():
            request, body = unsent
            self._transport.write(request)
            if body:
                if isinstance(body, bytes):
                    self._transport.write(body)
                else:
                    self._writer = body
                    body.begin(self._transport, self._body_moved, self._body_broken)

    def pause_writing(self) -> None:
        if self._writer is not None:
            self._writer.pause()

    def resume_writing(self) -> None:
        if self._writer is not None:
            self._writer.resume()

    def _body_moved(self) -> None:
        response = self._response
        if response is not None and not response.head_s:  # the upstream has not had it all yet
            response.written_s = self._clock()

    def _body_broken(self) -> None:
        self.fail("upstream_error", "the body of the request could not be read again", "request")

    def usable(self, now_s: float) -> bool:
        """Whether a request may be written on this idle connection.

        The provable half of the stale-connection race: the transport is open and, when it was
        idle for long, the kernel holds neither data nor an end for us.
        """
        idle_s = now_s - self.idle_since_s
        if idle_s >= self.expires_s or self._transport.is_closing():
            return False
        return idle_s < PROBE_AFTER_S or self._quiet()

    def _quiet(self) -> bool:
        if self._poll is None:
            self._poll = select.poll()
            socket = self._transport.get_extra_info("socket")
            self._poll.register(socket.fileno(), select.POLLIN)
        return not self._poll.poll(0)

    @property
    def closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        """Close an idle connection politely."""
        self._home.forget(self)
        self._transport.close()

    def resume(self) -> None:
        if self._response is not None:
            self._response.last_s = self._clock()
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def fail(self, kind: FailureKind, message: str, stage: str | None = None) -> None:
        """End the running response with an error and the connection with it."""
        response, self._response = self._response, None
        self._unsent = None
        self._end_writing()
        self._home.forget(self)
        self._transport.abort()
        if response is None:
            return
        status = response.head.status if response.head_s else None
        response.connection = None
        response.error = UpstreamError(kind, message, status=status, stage=stage)
        response.wake()

    def expire(self, now_s: float) -> None:
        """Apply the timeouts; called by the client's sweep."""
        response = self._response
        if response is None:
            if now_s - self.idle_since_s >= self.expires_s:
                self.close()
            return
        limits = response.timeouts
        if now_s - response.started_s >= limits.total:
            stage, limit_s = "total", limits.total
        elif response.data_s == 0.0:
            if now_s - response.written_s < limits.first_byte:
                return
            stage, limit_s = "first_byte", limits.first_byte
        elif response.paused or now_s - response.last_s < limits.idle:
            return
        else:
            stage, limit_s = "idle", limits.idle
        self.fail("timeout", f"the upstream exceeded the {stage} timeout of {limit_s:g} s", stage)

    # ------------------------------------------------------------------------- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        response = self._response
        if response is None:  # nobody asked: an error page before closing, or an attack
            self.close()
            return
        if self._unsent is not None:
            self.send_now()  # an answer before its request: it must not be left over for later
        self._now_s = response.last_s = self._clock()
        self._quiet_bytes += len(data)
        if not response.head_s:
            self._head_pieces.append(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._done:
                self._garbled(response, self._refusal or f"not HTTP: {error}")
                return
            self._keep = False  # the response is whole; what follows it is not ours
        if self._done:
            self._finish(response)
        elif self._quiet_bytes > QUIET_BYTES_MAX:
            self._garbled(response, "too much without any content: a head or trailers without end")
        else:
            if response.queued_bytes > QUEUE_BYTES_MAX:
                self._pause(response)
            response.wake()

    def eof_received(self) -> None:
        self._ended(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_writing()
        self._ended(exc)
        self._home.forget(self)
        del self._parser  # it holds our bound methods: a cycle

    def _ended(self, exc: Exception | None) -> None:
        response = self._response
        if response is None:
            return
        if response.head_s and self._until_eof and exc is None:
            self._keep = False
            self._finish(response)
        elif response.head_s:
            self.fail("stream_broken", "the upstream closed the connection inside its answer")
        elif response.reused and not self._quiet_bytes:
            message = "the upstream closed a kept-alive connection instead of answering"
            self.fail("upstream_error", message, "reuse")
        else:
            self.fail("upstream_error", "the upstream closed the connection without an answer")

    # ---------------------------------------------------------------------- httptools callbacks

    def on_message_begin(self) -> None:
        if self._done:
            self._keep = False  # more than one answer: this connection is out of step

    def on_headers_complete(self) -> None:
        response = self._response
        if response is None or self._done:
            self._refuse("an answer that nobody asked for")
        pieces = self._head_pieces
        received = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        if received[:5] != b"HTTP/":  # llhttp takes empty lines before it, and other protocols
            received = received.lstrip(b"\r\n")
            if received[:5] != b"HTTP/":
                self._refuse("not HTTP")
        end = received.find(b"\r\n\r\n")
        status = self._parser.get_status_code()
        if not 200 <= status <= 599:
            if status < 100 or status == 101 or status > 599:
                self._refuse(f"the upstream answered with status {status}")
            pieces.append(received[end + 4 :])  # informational; counted in the 64 KiB of the head
            return
        try:
            lines = HeaderLines(received[:end])
        except ValueError as error:
            self._refuse(str(error))
        headers: Mapping[str, str] = lines
        self._keep = self._parser.should_keep_alive()
        if self._skip_body:  # llhttp now waits for a body that never comes
            self._keep = False
            self._done = True
        elif status not in _BODYLESS and (not self._keep or lines.lower.find(b"-encoding:") >= 0):
            headers = self._frame(response, lines)
        if not response.reused and "keep-alive" in lines:  # the first answer speaks for all
            self.expires_s = promised_idle_s(lines["keep-alive"], self.expires_s)
        if self._writer is not None and status >= 300:
            self._writer.stop()  # it does not want the rest
        response.head = Head(status, headers)
        response.head_s = self._now_s

    def on_body(self, body: bytes) -> None:
        response = self._response
        if response is None:
            return
        if not self._relaying:
            if body[0] in SUSPECT or self._special:
                body = self._first_data(response, body)
                if not body:
                    return
            else:  # the usual beginning
                self._relaying = True
                response.data_s = self._now_s
        self._quiet_bytes = 0
        response.inbox.append(body)
        response.queued_bytes += len(body)

    def on_message_complete(self) -> None:
        response = self._response
        if response is not None and response.head_s and not self._done:  # not the end of a 1xx
            self._done = True

    # ------------------------------------------------------------------------------------ inside

    def _frame(self, response: UpstreamResponse, headers: HeaderLines) -> Mapping[str, str]:
        """Codings, and a body that only the end of the connection ends (llhttp does not keep the
        connection then, which is how we get here). What the reader may see of the headers."""
        coding = headers.get("transfer-encoding")
        if coding is not None and coding.lower() != "chunked":
            self._refuse("the answer has a transfer coding other than chunked")
        self._until_eof = coding is None and "content-length" not in headers
        content_coding = headers.get("content-encoding", "identity").lower()
        if content_coding == "identity":
            return headers
        if content_coding not in CODINGS:
            self._refuse("the answer has a content coding that we did not ask for")
        response.inflater = Inflater(content_coding)
        self._special = True
        shown = dict(headers)  # what the reader gets has neither
        del shown["content-encoding"]
        shown.pop("content-length", None)
        return shown

    def _first_data(self, response: UpstreamResponse, body: bytes) -> bytes:
        """The way of a body, or of its beginning, that is not simply passed on: skipped, unfolded,
        or keep-alive so far. ``_relaying`` once there is nothing more to look for."""
        if self._skip_body:
            return b""
        self._quiet_bytes = 0
        if response.inflater is not None:
            try:
                body = response.inflater.feed(body)
            except ValueError as error:
                self._refuse(str(error))
            if not body:
                return b""
        if not response.data_s and (
            (body[0] not in SUSPECT and response.waiting is None) or self._is_real(response, body)
        ):
            response.data_s = self._now_s
        self._relaying = response.inflater is None and response.data_s != 0.0
        return body

    def _is_real(self, response: UpstreamResponse, body: bytes) -> bool:
        waiting = response.waiting
        if waiting is None:
            content_type = response.head.headers.get("content-type", "")
            if not Waiting.possible(content_type):
                return True
            waiting = response.waiting = Waiting(content_type)
            self._special = True
        return waiting.real(body)

    def _pause(self, response: UpstreamResponse) -> None:
        if response.wants != WAIT_BODY and not response.paused:
            response.paused = True
            if not self._transport.is_closing():
                self._transport.pause_reading()

    def _finish(self, response: UpstreamResponse) -> None:
        """The response is whole; hand the connection back or close it."""
        if response.inflater is not None and response.inflater.cut_short:
            self.fail("stream_broken", "the compressed body is cut short")
            return
        self._response = None
        response.connection = None
        response.complete = True
        transport = self._transport
        if response.paused:
            response.paused = False
            if not transport.is_closing():
                transport.resume_reading()
        # A request that is still being written cannot be followed by another one, nor closed
        # politely: what is left of it would still be sent first.
        if self._writer is not None and not self._end_writing():
            self._home.forget(self)
            transport.abort()
        elif self._keep and not transport.get_write_buffer_size() and not transport.is_closing():
            self.idle_since_s = self._now_s
            self._home.put_back(self)
        else:
            self._home.forget(self)
            transport.close()
        response.ended()

    def _end_writing(self) -> bool:
        """No more of the request's body; whether all of it was written."""
        writer, self._writer = self._writer, None
        if writer is None:
            return True
        writer.stop()
        return writer.done

    def _refuse(self, message: str) -> NoReturn:
        self._refusal = message
        raise _Refused(message)

    def _garbled(self, response: UpstreamResponse, message: str) -> None:
        if response.head_s and self._refusal is None:
            self.fail("stream_broken", message)
        else:
            self.fail("upstream_error", message)


class _Refused(Exception):
    """Leaves a parser callback; httptools turns it into a parser error."""
