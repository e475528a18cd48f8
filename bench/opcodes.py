"""How many bytecodes the gateway runs per chat or per stream event, by function.

    python bench/opcodes.py [--connections 64] [--stream] [--top 60]

CPU on a shared machine differs by 30 % from one slice to the next; this count does not differ. It
says where Python is at work, not what it costs: a bytecode takes 5 to 100 ns, and calls into C and
code that runs once per turn make the difference. Hold a gain that it shows against ``make bench``.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import measure
import proxies
from load import LoadError
from process import BenchError
from proxies import CACHE, HERE, Gateway, Target

WARM_REQUESTS = 1_000
COUNTED_REQUESTS = 6_400  # each some ten times slower under the trace
PATIENCE_S = 30.0


def count(arguments: argparse.Namespace, work: Path) -> str:
    """The table."""
    launcher, counts = work / "traced", work / "opcodes.txt"
    launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{HERE / "traced.py"}" "$@"\n')
    launcher.chmod(0o700)
    os.environ["OPCODES_FILE"] = str(counts)
    upstream = proxies.start_upstream(work, os.sched_getaffinity(0))
    try:
        gateway = Gateway(launcher, work, upstream.port, os.sched_getaffinity(0))
        target = gateway.start()
        try:
            done = asyncio.run(_load(target, arguments))
            os.kill(target.process.pid, signal.SIGUSR1)
            _wait_for(counts)
        finally:
            target.process.stop()
    finally:
        upstream.process.stop()
    return _table(counts.read_text("utf-8"), done, arguments.top)


async def _load(target: Target, arguments: argparse.Namespace) -> int:
    """Warms up, then has the same load counted; how many requests or events that was."""
    connections, shape = arguments.connections, proxies.STREAMS[1]
    if arguments.stream:
        await measure.stream(target, shape, connections, 1.0)
    else:
        await measure.chat(target, connections, count=WARM_REQUESTS)
    os.kill(target.process.pid, signal.SIGUSR1)
    if arguments.stream:
        return (await measure.stream(target, shape, connections, 1.0)).requests * shape[0]
    return (await measure.chat(target, connections, count=COUNTED_REQUESTS)).requests


def _wait_for(file: Path) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not file.exists():
        if time.monotonic() > until_s:
            raise BenchError("the gateway wrote no count")
        time.sleep(0.05)


def _table(text: str, done: int, top: int) -> str:
    rows = [line.split(" ", 3) for line in text.splitlines()]
    total = sum(int(opcodes) for opcodes, *_ in rows)
    root = f"{HERE.parent}/"
    lines = [f"{total / done:,.0f} bytecodes each ({done:,} counted)", "   each  calls  function"]
    lines += [
        f"{int(opcodes) / done:7.1f} {int(calls) / done:6.2f}  {place.removeprefix(root)} {name}"
        for opcodes, calls, place, name in rows[:top]
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="count bytecodes per request, by function")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--stream", action="store_true", help="paced streams, per event")
    parser.add_argument("--top", type=int, default=60, help="so many functions")
    arguments = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="opcodes-", dir=CACHE) as name:
        try:
            print(count(arguments, Path(name)))
        except (BenchError, LoadError) as error:
            sys.stderr.write(f"opcodes: FAILED: {error}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
