"""The sandbox as an HTTP/1.1 upstream of its own: ``tokenmarket sandbox --port N``.

For demos, fault tests and load, on a trusted network: it limits what one request may hold, but it
does not defend itself against many slow clients. Small on purpose and callback style throughout: no
task per request, none per stream event; one timer per paced stream.

Whatever a client sends that is not a proper request gets an OpenAI-shaped error and a closed
connection. Requests on one connection are answered in order.
"""

from __future__ import annotations

import asyncio
import gc
import hmac
import signal
import socket
import struct
import sys
import time
from collections import deque
from http import HTTPStatus
from itertools import count
from typing import cast

import httptools
import uvloop

from tokenmarket.sandbox.behaviour import JSON, Script, refusal
from tokenmarket.sandbox.bodies import Refused
from tokenmarket.sandbox.desk import BODY_BYTES_MAX, TOO_LARGE, Desk

HEAD_BYTES_MAX = 64 * 1024
KNOWN_MAX = 256
KNOWN_BYTES_MAX = 32 * 1024
WAITING_MAX = 64  # pipelined requests behind one that is still being answered

_LINGER_S = 2.0  # a refused client gets this long to read why, while what it still sends is dropped
_CUT_DELAY_S = 0.02  # the kernel must have sent the half before the reset overtakes it
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
# authorization, content-type, expect, host, range, x-sandbox-*
_FIRST_LETTERS = frozenset(b"aAcCeEhHrRxX")
_NO_HEADERS: dict[str, str] = {}
_WRONG_KEY = refusal(Refused("Incorrect API key provided.", status=401, code="invalid_api_key"))
_GARBAGE = refusal(Refused("The request is not valid HTTP, or asks for another protocol."))
_HEAD_TOO_LARGE = refusal(Refused("The request head is too large.", status=431))
_TOO_MANY = refusal(Refused("Too many pipelined requests.", status=429))

_Play = tuple[Script, bool, bool]  # what to play, keep alive?, chunked?


class Upstream:
    """What all connections share. ``key`` None = any or no credential is accepted."""

    def __init__(self, desk: Desk, key: str | None) -> None:
        self.desk = desk
        self.credential = None if key is None else f"Bearer {key}".encode()
        self.ids = count(1)
        self.connections: set[Connection] = set()
        self._known: dict[bytes, _Play] = {}

    def known(self, data: bytes) -> _Play | None:
        """What the same bytes meant before, if they were exactly one whole request.

        A load generator sends the same request again and again; this spares parsing it.
        """
        return self._known.get(data)

    def learn(self, data: bytes, play: _Play) -> None:
        """``data`` is exactly one whole request, sent between requests."""
        if len(data) <= KNOWN_BYTES_MAX:
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[data] = play


class Connection(asyncio.Protocol):
    """One client connection: parses, asks the desk, plays the script."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._desk = upstream.desk
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._timer: asyncio.TimerHandle | None = None
        self._script: Script | None = None  # being played
        self._waiting: deque[_Play] = deque()
        self._keep_alive = True
        self._chunked = True
        self._blocked = False  # a paced stream waits for the reader
        self._next_piece = 0
        self._due_s = 0.0
        self._paused = False
        self._dead = False
        self._in_head = True
        self._head_bytes = 0
        self._between = True  # no request has begun that has not ended
        self._ended = 0  # how many requests have ended
        self._last: _Play | None = None  # the last of them

    # ------------------------------------------------------------------ the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._upstream.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._dead = True
        if self._timer is not None:
            self._timer.cancel()
        self._upstream.connections.discard(self)
        self._waiting.clear()

    def pause_writing(self) -> None:
        self._paused = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._paused = False
        self._transport.resume_reading()
        if self._blocked:
            self._play()

    def data_received(self, data: bytes) -> None:
        if self._dead:
            return
        between = self._between
        if between and self._script is None:
            known = self._upstream.known(data)
            if known is not None:
                self._start(*known)
                return
        if self._in_head:
            self._head_bytes += len(data)
        ended = self._ended
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse(_GARBAGE)
            return
        if self._in_head and self._head_bytes > HEAD_BYTES_MAX:
            self._refuse(_HEAD_TOO_LARGE)
            return
        last = self._last
        whole = between and self._between and self._ended == ended + 1
        if whole and last is not None and last[0].lasting:
            self._upstream.learn(data, last)

    # ------------------------------------------------------------------ the parser calls

    def on_message_begin(self) -> None:
        self._between = False
        self._target = b""
        self._credential = b""
        self._headers = _NO_HEADERS
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._expects = False
        self._content_type = b""
        self._host = b""
        self._range = b""

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name[0] not in _FIRST_LETTERS:  # spares most headers the rest
            return
        lower = name.lower()
        if lower.startswith(b"x-sandbox-"):
            if self._headers is _NO_HEADERS:
                self._headers = {}
            self._headers[lower[10:].decode("latin-1")] = value.decode("latin-1")
        elif lower == b"authorization":
            self._credential = value
        elif lower == b"content-type":
            self._content_type = value
        elif lower == b"host":
            self._host = value
        elif lower == b"range":
            self._range = value
        elif lower == b"expect":
            self._expects = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._parser.should_upgrade():
            self._refuse(_GARBAGE)
        elif self._expects and self._script is None and not self._dead:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes <= BODY_BYTES_MAX:
            self._body.append(body)
        else:
            self._body.clear()
            self._refuse(TOO_LARGE)

    def on_message_complete(self) -> None:
        if self._dead:
            return
        self._in_head = True
        self._head_bytes = 0
        self._between = True
        self._ended += 1
        upstream = self._upstream
        expected = upstream.credential
        if expected is not None and not hmac.compare_digest(self._credential, expected):
            script = _WRONG_KEY
        else:
            body = self._body
            script = self._desk.answer(
                self._parser.get_method().decode("latin-1"),
                self._target.decode("latin-1"),
                self._headers,
                body[0] if len(body) == 1 else b"".join(body),
                content_type=self._content_type.decode("latin-1"),
                host=self._host.decode("latin-1"),
                byte_range=self._range.decode("latin-1"),
            )
        chunked = script.stream and self._parser.get_http_version() == "1.1"
        # HTTP/1.0 knows the end of a stream by the end of the connection.
        keep_alive = self._parser.should_keep_alive() and chunked == script.stream
        self._last = (script, keep_alive, chunked)
        if self._script is None:
            self._start(*self._last)
        elif len(self._waiting) < WAITING_MAX:
            self._waiting.append(self._last)
        else:
            self._refuse(_TOO_MANY)

    # ------------------------------------------------------------------ answering

    def _refuse(self, script: Script) -> None:
        """Answers what cannot be continued, unless an answer is under way, and closes.

        Closing with unread bytes would reset the connection and take the answer with it, so only
        our side is closed at first.
        """
        if self._dead:
            return
        self._dead = True
        if self._timer is not None:
            self._timer.cancel()
        if self._script is not None:
            self._transport.close()
            return
        self._transport.write(self._head(script, False, False) + script.pieces[0])
        self._transport.write_eof()
        self._timer = self._loop.call_later(_LINGER_S, self._transport.close)

    def _start(self, script: Script, keep_alive: bool, chunked: bool) -> None:
        self._keep_alive = keep_alive
        self._chunked = chunked
        if script.silent:
            self._script = script  # for ever
        elif script.delay_ms:
            self._script = script
            self._timer = self._loop.call_later(script.delay_ms / 1000, self._open, script)
        else:
            self._open(script)

    def _open(self, script: Script) -> None:
        """Writes the head, and everything else that is due at once."""
        self._timer = None
        head = self._head(script, self._keep_alive, self._chunked)
        if script.pace_ms and script.stream:
            self._script = script
            self._next_piece = 0
            self._due_s = self._loop.time()
            self._transport.write(head)
            self._play()
            return
        if not script.stream:
            self._transport.write(head + script.pieces[0])
        else:
            self._transport.write(head + b"".join(map(self._framed, script.pieces)))
        self._end(script)

    def _head(self, script: Script, keep_alive: bool, chunked: bool) -> bytes:
        return b"%bx-request-id: req_sandbox_%d\r\n%b" % (
            _head_start(script, chunked),
            next(self._upstream.ids),
            b"\r\n" if keep_alive else b"connection: close\r\n\r\n",
        )

    def _framed(self, piece: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunked else piece

    def _play(self) -> None:
        """Writes the events that are due; sets the timer for the next one."""
        self._timer = None
        script = self._script
        if script is None or self._dead:
            return
        self._blocked = self._paused
        if self._blocked:
            return  # resume_writing comes back here
        now_s = self._loop.time()
        pace_s = script.pace_ms / 1000
        while self._next_piece < len(script.pieces):
            if self._due_s > now_s:
                self._timer = self._loop.call_at(self._due_s, self._play)
                return
            self._transport.write(self._framed(script.pieces[self._next_piece]))
            self._next_piece += 1
            # Steady against the clock; but a reader that was slow is not flooded afterwards.
            self._due_s = max(self._due_s + pace_s, now_s)
            self._blocked = self._paused
            if self._blocked:
                return
        self._end(script)

    def _end(self, script: Script) -> None:
        """All bytes are written: end the message as the script says, then the next request."""
        if script.ending == "cut":
            self._script = script
            self._dead = True
            self._timer = self._loop.call_later(_CUT_DELAY_S, self._reset)
            return
        if script.ending == "stall":
            self._script = script  # forever
            return
        if self._chunked:
            self._transport.write(b"0\r\n\r\n")
        self._script = None
        if not self._keep_alive:
            self._dead = True
            self._transport.close()
        elif self._waiting:
            self._start(*self._waiting.popleft())

    def _reset(self) -> None:
        """Closes so that the client sees a reset, not an orderly end."""
        found = cast("socket.socket | None", self._transport.get_extra_info("socket"))
        if found is not None:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()

    def stop(self) -> None:
        """Ends the connection at once, whatever it is doing."""
        self._transport.abort()


def _head_start(script: Script, chunked: bool) -> bytes:
    """Status line and headers up to those that differ per answer."""
    if script.status == 200 and script.content_type == JSON and not script.headers:
        return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % (
            script.body_bytes
        )
    phrase = HTTPStatus(script.status).phrase if script.status in set(HTTPStatus) else "Error"
    head = f"HTTP/1.1 {script.status} {phrase}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in script.all_headers())
    if not script.stream:
        head += f"content-length: {script.body_bytes}\r\n"
    elif chunked:
        head += "transfer-encoding: chunked\r\n"
    return head.encode("ascii")


async def listen(
    host: str, port: int, *, key: str | None = None
) -> tuple[asyncio.Server, Upstream]:
    """Starts listening in the running event loop; port 0 = any free one. Raises OSError."""
    upstream = Upstream(Desk(time.time), key)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(upstream), host, port, backlog=2048)
    return server, upstream


def url_of(server: asyncio.Server) -> str:
    """Where it listens, as a URL without a path."""
    host, port = server.sockets[0].getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(host: str, port: int, *, key: str | None = None) -> None:
    """Serves until SIGTERM or SIGINT, then returns. Raises OSError if it cannot listen.

    Writes one line to stderr once it accepts connections: "listening on http://127.0.0.1:PORT".
    """
    uvloop.run(_serve(host, port, key))


async def _serve(host: str, port: int, key: str | None) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    server, upstream = await listen(host, port, key=key)
    gc.collect()
    gc.freeze()
    sys.stderr.write(f"listening on {url_of(server)}\n")
    sys.stderr.flush()
    await stopped.wait()
    server.close()
    for connection in tuple(upstream.connections):
        connection.stop()
    await server.wait_closed()
