"""One measurement each: a load on a target, and what the target's processes paid for it.

The CPU of a load ends when the target has come to rest, so work that a gateway puts off (posting,
logs) is counted. Connections are opened before the first reading.
"""

from dataclasses import dataclass

import load
import traffic
from load import Client, Load
from process import BenchError
from proxies import Target, sql_operations

STREAMS_SPREAD_S = 4.0  # time over which a crowd of streams is begun


@dataclass
class Cost:
    """CPU in microseconds per request or per event, and the throughput of the load."""

    cpu_us: float
    rps: float
    requests: int


async def chat(target: Target, connections: int, *, seconds: float = 0.0, count: int = 0) -> Cost:
    """Whole answers, closed loop, for a time or a number of requests."""
    port, request = target.request(traffic.CHAT, stream=False)
    done, cpu_s = await _closed(target, Client(port, request), connections, seconds, count)
    return Cost(cpu_s * 1e6 / done.requests, done.rps, done.requests)


async def stream(target: Target, shape: tuple[int, int], connections: int, seconds: float) -> Cost:
    """Streams one after another on each connection; the cost is per event that arrived."""
    client = _stream_client(target, shape)
    done, cpu_s = await _closed(target, client, connections, seconds, 0)
    return Cost(cpu_s * 1e6 / done.events, done.rps, done.requests)


async def latency(target: Target, rate: float, seconds: float) -> Load:
    """Whole answers at a fixed rate."""
    port, request = target.request(traffic.CHAT, stream=False)
    client = Client(port, request)
    try:
        await client.open(64)
        done = await load.paced(client, rate=rate, seconds=seconds)
    finally:
        client.close()
    target.answered += done.requests
    return done


async def sql_per_request(target: Target, count: int) -> float | None:
    """SQL statements per request of a warm account, or None if the gateway does not count them."""
    before = sql_operations(target)
    if before is None:
        return None
    await chat(target, 64, count=count)
    after = sql_operations(target)
    return None if after is None else (after - before) / count


async def stream_memory_kib(target: Target, shape: tuple[int, int], streams: int) -> float:
    """Resident memory per open stream, while all of them are open and flowing."""
    events, pause_ms = shape
    if events * pause_ms / 1000 < STREAMS_SPREAD_S + 3:
        raise BenchError("the first streams would end before the last one begins")
    client = _stream_client(target, shape)
    try:
        before_mib = target.process.rss_mib()
        held_mib: list[float] = []
        await client.open(streams)
        done = await load.streams(
            client,
            spread_s=STREAMS_SPREAD_S,
            held=lambda: held_mib.append(target.process.rss_mib()),
        )
    finally:
        client.close()
    target.answered += done.requests
    return (held_mib[0] - before_mib) * 1024 / streams


def _stream_client(target: Target, shape: tuple[int, int]) -> Client:
    """A client that expects the content events and the usage event on top."""
    port, request = target.request(traffic.stream_model(*shape), stream=True)
    return Client(port, request, shape[0] + 1)


async def _closed(
    target: Target, client: Client, connections: int, seconds: float, count: int
) -> tuple[Load, float]:
    try:
        await client.open(connections)
        before_s = target.process.settled_cpu_s()
        done = await load.closed(client, seconds=seconds, count=count)
        after_s = target.process.settled_cpu_s()
    finally:
        client.close()
    target.answered += done.requests
    return done, after_s - before_s
