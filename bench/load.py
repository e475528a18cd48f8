"""The load generator: keep-alive connections on bare uvloop protocols that check every answer.

Three kinds of load, each a coroutine that returns a ``Load``:

* ``closed``: C connections, each sends the next request when it has its answer (CPU, throughput);
* ``paced``: R requests per second whatever the answers do (latency). A latency counts from the
  moment the request was due, so a stalled server cannot hide behind requests that were not sent;
* ``streams``: C connections, each reads one stream after another, event by event.

Any wrong status, cut answer, missing event or closed connection raises ``LoadError``: figures of
requests that failed are worth nothing. ``python bench/load.py --help`` runs one load by hand.
"""

import argparse
import asyncio
import ctypes
import gc
import math
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import httptools
import traffic
import uvloop

CONNECT_AT_ONCE = 200
ANSWER_TIMEOUT_S = 60.0
_KEPT_TAIL = 600  # of a body: its end, and what an error says


class LoadError(Exception):
    """An answer that is not what the upstream sent."""


@dataclass
class Load:
    """What one load did; times in seconds, latencies in nanoseconds."""

    requests: int = 0
    events: int = 0
    wall_s: float = 0.0
    latencies_ns: list[int] = field(default_factory=list)

    @property
    def rps(self) -> float:
        return self.requests / self.wall_s

    def latency_ms(self, quantile: float) -> float:
        """The latency that this share of the requests did not exceed."""
        ordered = sorted(self.latencies_ns)
        return ordered[max(0, math.ceil(quantile * len(ordered)) - 1)] / 1e6


class Connection(asyncio.Protocol):
    """One keep-alive connection with one request at a time; subclasses read the answer."""

    def __init__(self, request: bytes, finished: Callable[["Connection"], None], fail: "Fail"):
        self.request = request
        self.due_ns = 0
        self._finished = finished
        self._fail = fail
        self._transport: asyncio.Transport | None = None
        self._busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._transport = None
            when = "before the end of an answer" if self._busy else "while it was idle"
            self._fail(f"the server closed a connection {when}: {exc or 'end of file'}")

    def ask(self) -> None:
        """Send the request."""
        if self._transport is not None:
            self._busy = True
            self._transport.write(self.request)

    def close(self) -> None:
        """Leave; the close that follows is not a failure."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    def _answered(self) -> None:
        self._busy = False
        self._finished(self)


Fail = Callable[[str], None]


class ChatConnection(Connection):
    """Reads answers with a Content-Length; parsed by hand, they come in one piece."""

    _pending = b""

    def data_received(self, data: bytes) -> None:
        if self._pending:
            data = self._pending + data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._pending = data
            return
        head = data[:end].lower()
        at = head.find(b"\r\ncontent-length:")
        if not data.startswith(b"HTTP/1.1 200 ") or at < 0:
            self._fail(f"not a 200 with a length: {data[:600]!r}")
            return
        missing = end + 4 + int(head[at + 17 :].split(b"\r\n", 1)[0]) - len(data)
        if missing > 0:
            self._pending = data
        elif missing < 0 or not data.endswith(b"}") or traffic.ANSWER_END not in data:
            self._fail(f"not the whole answer, or more than it: {data[-600:]!r}")
        else:
            self._pending = b""
            self._answered()


class StreamConnection(Connection):
    """Reads server-sent events through a real HTTP parser and counts them."""

    def __init__(
        self, request: bytes, finished: Callable[[Connection], None], fail: Fail, expected: int
    ) -> None:
        super().__init__(request, finished, fail)
        self._expected = expected
        self._parser = httptools.HttpResponseParser(self)
        self.events = 0
        self._tail = b""

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.events = 0
        self._tail = b""

    def on_body(self, body: bytes) -> None:
        self.events += body.count(b"\n\n")
        if self._tail.endswith(b"\n") and not self._tail.endswith(b"\n\n") and body[:1] == b"\n":
            self.events += 1  # its two newlines came in two pieces
        self._tail = body[-_KEPT_TAIL:] if len(body) >= _KEPT_TAIL else self._joined(body)

    def _joined(self, body: bytes) -> bytes:
        return (self._tail + body)[-_KEPT_TAIL:]

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status != 200 or self.events != self._expected or not self._tail.endswith(traffic.DONE):
            self._fail(
                f"status {status}, {self.events} of {self._expected} events, ends {self._tail!r}"
            )
        else:
            self._answered()


class Client:
    """The connections of one load, opened before the clock starts."""

    def __init__(self, port: int, request: bytes, events: int | None = None) -> None:
        """``events``: what each stream must bring, without [DONE]; None = no streams."""
        self.connections: list[Connection] = []
        self.finished: Callable[[Connection], None] = lambda connection: None
        self._port = port
        self._request = request
        self._expected = events
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()

    async def open(self, count: int) -> None:
        """Open ``count`` more connections."""
        for start in range(0, count, CONNECT_AT_ONCE):
            batch = min(CONNECT_AT_ONCE, count - start)
            made = [
                self._loop.create_connection(self._connection, "127.0.0.1", self._port)
                for _ in range(batch)
            ]
            for _, connection in await asyncio.gather(*made):
                self.connections.append(connection)

    def _connection(self) -> Connection:
        def finished(connection: Connection) -> None:
            self.finished(connection)

        if self._expected is None:
            return ChatConnection(self._request, finished, self.fail)
        return StreamConnection(self._request, finished, self.fail, self._expected + 1)

    def fail(self, why: str) -> None:
        """Ends the load with an error; the first one counts."""
        if not self.ended.done():
            self.ended.set_exception(LoadError(why))

    def end(self) -> None:
        """Ends the load well."""
        if not self.ended.done():
            self.ended.set_result(None)

    def close(self) -> None:
        """Close all connections."""
        for connection in self.connections:
            connection.close()
        if not self.ended.done():
            self.ended.cancel()


async def closed(client: Client, *, seconds: float = 0.0, count: int = 0) -> Load:
    """Every connection asks again as soon as it is answered, for a time or a number of requests."""
    load = Load()
    loop = asyncio.get_running_loop()
    running = 0
    left = count or 1 << 62

    def ask(connection: Connection) -> None:
        nonlocal left, running
        left -= 1
        running += 1
        connection.ask()

    def finished(connection: Connection) -> None:
        nonlocal running
        running -= 1
        load.requests += 1
        if isinstance(connection, StreamConnection):
            load.events += connection.events
        if left > 0:
            ask(connection)
        elif not running:
            client.end()

    def stop() -> None:
        nonlocal left
        left = 0

    client.finished = finished
    if seconds:
        loop.call_later(seconds, stop)
    started_s = time.monotonic()
    for connection in client.connections:
        if left > 0:
            ask(connection)
    await asyncio.wait_for(client.ended, seconds + count / 100 + ANSWER_TIMEOUT_S)
    load.wall_s = time.monotonic() - started_s
    return load


async def streams(client: Client, *, spread_s: float = 0.0, held: Callable[[], None]) -> Load:
    """One stream per connection, begun over ``spread_s``; ``held`` is called when all are begun."""
    load = Load()
    loop = asyncio.get_running_loop()

    def finished(connection: Connection) -> None:
        load.requests += 1
        if isinstance(connection, StreamConnection):
            load.events += connection.events
        if load.requests == len(client.connections):
            client.end()

    client.finished = finished
    started_s = time.monotonic()
    step_s = spread_s / len(client.connections)
    for index, connection in enumerate(client.connections):
        loop.call_later(index * step_s, connection.ask)
    loop.call_later(spread_s + 1.0, held)
    await asyncio.wait_for(client.ended, spread_s + ANSWER_TIMEOUT_S)
    load.wall_s = time.monotonic() - started_s
    return load


async def paced(client: Client, *, rate: float, seconds: float) -> Load:
    """``rate`` requests per second, evenly; a request that finds no free connection waits."""
    load = Load()
    loop = asyncio.get_running_loop()
    free = deque(client.connections)
    waiting: deque[int] = deque()
    interval_ns = round(1e9 / rate)
    total = max(1, round(rate * seconds))
    issued = 0
    timer = _Timer(interval_ns)
    due_ns = timer.first_ns

    def finished(connection: Connection) -> None:
        load.latencies_ns.append(time.monotonic_ns() - connection.due_ns)
        load.requests += 1
        if waiting:
            connection.due_ns = waiting.popleft()
            connection.ask()
        else:
            free.append(connection)
            if load.requests == total:
                client.end()

    def tick() -> None:
        nonlocal due_ns, issued
        for _ in range(min(timer.expired(), total - issued)):
            issued += 1
            if free:
                connection = free.popleft()
                connection.due_ns = due_ns
                connection.ask()
            else:
                waiting.append(due_ns)
            due_ns += interval_ns
        if issued == total:
            loop.remove_reader(timer.descriptor)

    client.finished = finished
    loop.add_reader(timer.descriptor, tick)
    started_s = time.monotonic()
    try:
        await asyncio.wait_for(client.ended, seconds + ANSWER_TIMEOUT_S)
    finally:
        loop.remove_reader(timer.descriptor)
        os.close(timer.descriptor)
    load.wall_s = time.monotonic() - started_s
    return load


class _Timer:
    """A timerfd: libuv's own timers count whole milliseconds, which would make bursts."""

    _CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC, _ABSOLUTE = 1, 0o2004000, 1

    def __init__(self, interval_ns: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = libc.timerfd_create(self._CLOCK_MONOTONIC, self._NONBLOCK_CLOEXEC)
        self.first_ns = time.monotonic_ns() + 10_000_000
        times = (*divmod(interval_ns, 10**9), *divmod(self.first_ns, 10**9))
        setting = (ctypes.c_long * 4)(*times)  # struct itimerspec: interval, first
        if self.descriptor < 0 or libc.timerfd_settime(
            self.descriptor, self._ABSOLUTE, setting, None
        ):
            raise OSError(ctypes.get_errno(), "timerfd")

    def expired(self) -> int:
        """How many intervals have passed since the last call."""
        try:
            return int.from_bytes(os.read(self.descriptor, 8), "little")
        except BlockingIOError:
            return 0


async def _by_hand(arguments: argparse.Namespace) -> None:
    stream = arguments.model != traffic.CHAT
    body = traffic.request_body(arguments.model, stream=stream)
    host = f"127.0.0.1:{arguments.port}"
    request = traffic.request_bytes(host, arguments.path, arguments.key, body)
    # the usage event comes on top of the content events
    events = traffic.stream_shape(arguments.model)[0] + 1 if stream else None
    client = Client(arguments.port, request, events)
    await client.open(arguments.connections)
    try:
        if arguments.rate:
            load = await paced(client, rate=arguments.rate, seconds=arguments.seconds)
            print(f"p50 {load.latency_ms(0.5):.3f} ms  p99 {load.latency_ms(0.99):.3f} ms")
        else:
            load = await closed(client, seconds=arguments.seconds)
    finally:
        client.close()
    print(f"{load.requests} requests, {load.events} events, {load.rps:.0f} requests/s")


def main() -> None:
    parser = argparse.ArgumentParser(description="run one load by hand")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/api/v1/chat/completions")
    parser.add_argument("--key", default="none", help="the API key")
    parser.add_argument("--model", default=traffic.CHAT, help="or bench-stream-EVENTS-PAUSE_MS")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=float, default=0.0, help="requests/s; 0 = closed loop")
    arguments = parser.parse_args()
    gc.disable()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_by_hand(arguments))


if __name__ == "__main__":
    main()
