"""The mock upstream: an OpenAI-compatible server that costs as little CPU as Python allows.

``python bench/upstream.py --port N`` serves until SIGTERM. Bare uvloop protocols and hand-made
parsing, because it shares a core with the load generator and must never be the slowest part. It
trusts its callers: it is reached on 127.0.0.1 by proxies that send well-formed requests.

Every event of a stream is a write of its own: within one turn of the event loop uvloop would join
writes, and a proxy would then be measured on a few large chunks instead of on events.
"""

import argparse
import asyncio
import gc
import signal
import socket
from typing import cast

import traffic
import uvloop

BACKLOG = 4096


class Upstream(asyncio.Protocol):
    """One connection: requests one after another, each answered or streamed."""

    chat = traffic.chat_response()
    head = traffic.stream_head()
    event = traffic.stream_event()
    end_with_usage = traffic.stream_end(usage=True)
    end = traffic.stream_end(usage=False)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._pending = b""
        self._writable = True
        self._left = 0  # events of the running stream
        self._pause_s = 0.0
        self._due_s = 0.0
        self._last = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        if self._last and not self._pause_s:
            self._loop.call_soon(self._burst)

    def data_received(self, data: bytes) -> None:
        if self._pending:
            data = self._pending + data
        end = data.find(b"\r\n\r\n")
        if end >= 0:
            head = data[:end].lower()
            at = head.find(b"\r\ncontent-length:")
            length = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(data) >= end + 4 + length:
                self._pending = b""
                self._answer(data)
                return
        self._pending = data

    def _answer(self, request: bytes) -> None:
        transport = self._transport
        if transport is None:
            return
        if b'"stream":true' not in request:
            transport.write(self.chat)
            return
        at = request.index(b'"model":"') + 9
        model = request[at : request.index(b'"', at)].decode("ascii")
        self._left, pause_ms = traffic.stream_shape(model)
        asked = b'"include_usage":true' in request
        self._last = self.end_with_usage if asked else self.end
        transport.write(self.head)
        self._pause_s = pause_ms / 1000
        if pause_ms:
            self._due_s = self._loop.time() + self._pause_s
            self._loop.call_at(self._due_s, self._paced)
        else:
            self._loop.call_soon(self._burst)

    def _burst(self) -> None:
        """One event per turn of the loop, as fast as the reader takes them."""
        if not self._writable:
            return  # resume_writing goes on
        if self._send_one():
            self._loop.call_soon(self._burst)

    def _paced(self) -> None:
        """One event per pause; a late one does not move those behind it."""
        if self._send_one():
            self._due_s += self._pause_s
            self._loop.call_at(self._due_s, self._paced)

    def _send_one(self) -> bool:
        """Writes the next event or the end; says whether more is to come."""
        transport = self._transport
        if transport is None:
            return False
        if self._left:
            self._left -= 1
            transport.write(self.event)
            return True
        last, self._last = self._last, b""
        transport.write(last)
        return False


async def serve(port: int) -> None:
    """Serve on 127.0.0.1 until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    listener = socket.create_server(("127.0.0.1", port), backlog=BACKLOG)
    server = await loop.create_server(lambda: Upstream(loop), sock=listener, backlog=BACKLOG)
    await stop.wait()
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    gc.freeze()
    gc.disable()  # nothing here makes reference cycles per request
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(arguments.port))


if __name__ == "__main__":
    main()
