"""Measures the gateway side by side with nginx: ``make bench`` or ``python bench/run.py --help``.

Starts a mock upstream, nginx and the gateway on 127.0.0.1, loads them in turn, prints one table,
and then holds the gateway to its books: every answered request charged exactly once, and
``ledger verify`` clean. Exit 1 if an answer was wrong or the books are; a missed goal of speed is
printed, not a failure, because it depends on the machine. ``bench/README.md`` says how to read it.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import os
import platform
import resource
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import measure
import media
import proxies
import traffic
import uvloop
from load import LoadError
from measure import Cost
from process import BenchError, others_cpu_s
from proxies import CACHE, HERE, Gateway, Target
from report import Line, Report

BURST, PACED, SLOW = proxies.STREAMS
PROGRAM = HERE.parent / ".venv" / "bin" / "tokenmarket"
MILLION = 1_000_000
WARM_REQUESTS = 1_000
CROWDS = (1_000, 5_000)
GROWTH_MIB_MAX = 8.0  # what "flat" allows: allocator arenas that fill once
NOISY = ": too much, compare only ratios of this table"
Measured = Callable[[Target], Awaitable[Cost]]


@dataclass(frozen=True)
class Plan:
    """How long a run takes; seconds per measurement."""

    repeats: int
    chat_s: float
    stream_s: float
    latency_s: float
    starts: int
    requests: int  # made for memory and SQL, at least


QUICK = Plan(repeats=3, chat_s=0.6, stream_s=0.6, latency_s=0.7, starts=2, requests=20_000)
FULL = Plan(repeats=3, chat_s=2.5, stream_s=2.0, latency_s=3.0, starts=3, requests=100_000)


class Bench:
    """The servers of one run and the report that grows."""

    def __init__(
        self, plan: Plan, direct: Target, nginx: Target, target: Target | None, report: Report
    ) -> None:
        self.plan = plan
        self.direct = direct
        self.nginx = nginx
        self.target = target  # the gateway; None = nginx only
        self.report = report
        self.rps = 0.0

    @property
    def _both(self) -> list[Target]:
        return [self.nginx, *([self.target] if self.target else [])]

    async def run(self) -> None:
        """Everything that every run measures."""
        for target in self._both:
            await measure.chat(target, 64, seconds=0.5)
        await self._chats()
        await self._streams()
        await self._latency()
        if self.target:
            await self._many(self.target)

    async def _chats(self) -> None:
        for connections in (1, 16, 64):
            costs = await self._best(
                lambda target, c=connections: measure.chat(target, c, seconds=self.plan.chat_s)
            )
            ours = costs[-1] if self.target else None
            goal = (2.5, 4.0) if connections == 64 else (None, None)
            self._add(
                f"CPU per request, c={connections}",
                "us",
                costs[0].cpu_us,
                ours and ours.cpu_us,
                goal,
                of_ratio=True,
            )
            self.rps = costs[-1].rps
        self._add("requests/s, c=64", "", costs[0].rps, ours and ours.rps, digits=0)

    async def _streams(self) -> None:
        for name, shape in (("paced", PACED), ("burst", BURST)):
            costs = await self._best(
                lambda target, s=shape: measure.stream(target, s, 64, self.plan.stream_s)
            )
            self._add(
                f"CPU per stream event, {name}",
                "us",
                costs[0].cpu_us,
                costs[-1].cpu_us if self.target else None,
                (None, 2.0),
                of_ratio=True,
            )

    async def _best(self, measured: Measured) -> list[Cost]:
        """The cheapest of the repeats per target; targets alternate, so noise hits all of them."""
        found: list[list[Cost]] = [[] for _ in self._both]
        for _ in range(self.plan.repeats):
            for costs, target in zip(found, self._both, strict=True):
                costs.append(await measured(target))
        return [
            Cost(
                min(cost.cpu_us for cost in costs),
                max(cost.rps for cost in costs),
                sum(cost.requests for cost in costs),
            )
            for costs in found
        ]

    async def _latency(self) -> None:
        rate = self.rps / 2
        targets = [self.direct, *self._both]
        medians: list[list[float]] = [[] for _ in targets]
        tails: list[list[float]] = [[] for _ in targets]
        for _ in range(self.plan.repeats):
            for at, target in enumerate(targets):
                done = await measure.latency(target, rate, self.plan.latency_s)
                medians[at].append(done.latency_ms(0.5))
                tails[at].append(done.latency_ms(0.99))
        for name, found, most in (("p50", medians, 0.3), ("p99", tails, 3.0)):
            base, *added = (min(values) for values in found)
            ours = added[1] - base if self.target else None
            self._add(
                f"added latency {name}, {rate:,.0f} rps",
                "ms",
                added[0] - base,
                ours,
                (None, most),
                digits=2,
            )

    async def _many(self, target: Target) -> None:
        count = max(20_000, self.plan.requests - target.answered)  # many batches, not one or two
        sql = await measure.sql_per_request(target, count)
        self._add("SQL operations per request", "", None, sql, (None, 0.01), digits=4)
        memory_mib = target.process.rss_mib()
        self._add(
            f"memory after {target.answered:,} requests",
            "MiB",
            self.nginx.process.rss_mib(),
            memory_mib,
        )

    async def million(self, target: Target) -> None:
        """Memory over 1,000,000 requests."""
        samples: list[float] = []
        for step in range(1, 11):
            await measure.chat(target, 64, count=MILLION // 10)
            samples.append(target.process.rss_mib())
            print(f"  {step * MILLION // 10:>9,} requests: {samples[-1]:.1f} MiB", flush=True)
        growth_mib = samples[-1] - samples[0]
        goal = (None, GROWTH_MIB_MAX)
        self._add("memory growth, request 100,000 to 1,000,000", "MiB", None, growth_mib, goal)

    async def crowd(self, count: int, fresh: list[Target]) -> None:
        """Memory per open stream, of servers that have seen little before."""
        found: list[float] = []
        for target in fresh:
            await measure.chat(target, 64, count=WARM_REQUESTS)
            found.append(await measure.stream_memory_kib(target, SLOW, count))
        ours = found[1] if self.target else None
        goal = (None, 40.0) if count == max(CROWDS) else (None, None)
        self._add(f"memory per open stream, {count:,}", "KiB", found[0], ours, goal)

    def add_start(self, first_answer_s: list[float], start_mib: float) -> None:
        """Figures of the starts."""
        nginx_s = self.nginx.first_answer_s
        self._add("start to first answer", "s", nginx_s, min(first_answer_s), (None, 1.5), digits=2)
        self._add("memory at start", "MiB", self.nginx.process.rss_mib(), start_mib, (None, 120.0))

    def add_peak(self) -> None:
        """The most memory that the servers have taken until now."""
        ours = self.target and self.target.process.peak_mib()
        self._add("memory, peak of the run", "MiB", self.nginx.process.peak_mib(), ours)

    def _add(
        self,
        name: str,
        unit: str,
        nginx: float | None,
        ours: float | None,
        goal: tuple[float | None, float | None] = (None, None),
        *,
        of_ratio: bool = False,
        digits: int = 1,
    ) -> None:
        line = Line(name, unit, nginx, ours, *goal, of_ratio=of_ratio, digits=digits)
        self.report.lines.append(line)
        shown = "  ".join(cell for cell in line.cells() if cell)
        print(f"  {shown}", flush=True)


# --- the run --------------------------------------------------------------------------------------


def run(arguments: argparse.Namespace) -> int:
    """One whole run; the exit code."""
    plan = QUICK if arguments.quick else FULL
    report = Report()
    started_s = time.monotonic()
    others_s = others_cpu_s()
    program = proxies.nginx_program()
    with _work_folder(arguments.keep) as work, contextlib.ExitStack() as running:
        own, measured = _cores(arguments.no_pin)
        direct = proxies.start_upstream(work, own)
        running.callback(direct.process.stop)
        nginx = proxies.start_nginx(program, work, direct.port, measured)
        running.callback(nginx.process.stop)
        if arguments.nginx_only:
            bench = Bench(plan, direct, nginx, None, report)
            _drive(bench.run())
        else:
            gateway = Gateway(arguments.program, work, direct.port, measured)
            targets, start_mib = _start(gateway, plan)

            def stop_last() -> None:
                targets[-1].process.stop()  # whichever that is by then

            running.callback(stop_last)
            bench = Bench(plan, direct, nginx, targets[-1], report)
            bench.add_start([target.first_answer_s for target in targets], start_mib)
            _drive(bench.run())
            if arguments.million:
                _drive(bench.million(targets[-1]))
            bench.add_peak()
            if arguments.streams:
                for count in CROWDS:
                    # heap that earlier loads have freed would hide what streams take
                    targets[-1].process.stop()
                    targets.append(gateway.start())
                    fresh = proxies.start_nginx(program, work, direct.port, measured)
                    running.callback(fresh.process.stop)
                    _drive(bench.crowd(count, [fresh, targets[-1]]))
            _check_books(gateway, targets, report)
    took_s = time.monotonic() - started_s
    others_share = (others_cpu_s() - others_s) / took_s / (os.cpu_count() or 1)
    report.remarks.append(_conditions(own, measured, took_s, others_share))
    _write(report)
    print("\n" + report.text())
    return 0


def _start(gateway: Gateway, plan: Plan) -> tuple[list[Target], float]:
    """Starts the gateway several times; the last one stays. Its memory right after its start."""
    targets: list[Target] = []
    for left in reversed(range(plan.starts)):
        targets.append(gateway.start())
        if left:
            targets[-1].process.stop()
    return targets, targets[-1].process.rss_mib()


def _drive(work: Coroutine[None, None, None]) -> None:
    """Runs one coroutine, without pauses for garbage collection in the load generator."""
    gc.collect()
    gc.freeze()
    gc.disable()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


def _check_books(gateway: Gateway, targets: list[Target], report: Report) -> None:
    """A benchmark that loses money, or invents some, has failed."""
    answered = sum(target.answered for target in targets)
    charged = proxies.charged_usd(targets[-1])
    due = Decimal(answered * traffic.PRICE_NANO) / 1_000_000_000
    if charged != due:
        raise BenchError(
            f"{answered} requests cost {due} USD, but {charged} USD were charged "
            f"({(charged - due) * 1_000_000_000 / traffic.PRICE_NANO} requests too many)"
        )
    targets[-1].process.stop()
    gateway.command("ledger", "verify")
    report.lines.append(
        Line("disk per request", "bytes", None, gateway.disk_bytes() / answered, digits=0)
    )
    report.remarks.append(
        f"books: {answered:,} requests x {Decimal(traffic.PRICE_NANO).scaleb(-9)} USD "
        f"= {charged} USD charged exactly; ledger verify is clean"
    )


def _cores(no_pin: bool) -> tuple[set[int], set[int]]:
    """Cores for load and upstream, and for what is measured. Pins this process too."""
    cores = sorted(os.sched_getaffinity(0))
    if no_pin or len(cores) < 2:
        return set(cores), set(cores)
    own, measured = {cores[0]}, {cores[-1]}
    os.sched_setaffinity(0, own)
    return own, measured


@contextlib.contextmanager
def _work_folder(keep: bool) -> Iterator[Path]:
    """On the disk of the project: /tmp may be memory, where a flush to disk costs nothing."""
    CACHE.mkdir(parents=True, exist_ok=True)
    if keep:
        path = Path(tempfile.mkdtemp(prefix="run-", dir=CACHE))
        print(f"kept: {path}")
        yield path
    else:
        with tempfile.TemporaryDirectory(prefix="run-", dir=CACHE) as name:
            yield Path(name)


def _conditions(own: set[int], measured: set[int], took_s: float, others_share: float) -> str:
    pinned = "not pinned" if own == measured else f"measured on core {measured}, the rest on {own}"
    return (
        f"{shlex.join(['python', *sys.argv])} took {took_s:.0f} s; Python "
        f"{platform.python_version()}, Linux {platform.release()}, {os.cpu_count()} cores, "
        f"{pinned}; other programs took {others_share:.0%} of all cores meanwhile"
        + (NOISY if others_share > 0.05 else "")
    )


def _write(report: Report) -> None:
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    path = folder / time.strftime("%Y-%m-%d-%H%M%S.json")
    path.write_text(json.dumps(report.document(), indent=1) + "\n", encoding="utf-8")
    report.remarks.append(f"written to {path.relative_to(HERE.parent)}")


def _interrupted(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)  # unwinds, so that every started process is stopped


def main() -> int:
    # As operators have it: a start finds its modules compiled by the one before.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    parser = argparse.ArgumentParser(description="measure the gateway against nginx")
    parser.add_argument("--quick", action="store_true", help="about 45 s instead of 4 minutes")
    parser.add_argument("--million", action="store_true", help="memory over 1,000,000 requests")
    parser.add_argument("--streams", action="store_true", help="memory of 1,000 and 5,000 streams")
    parser.add_argument("--media", action="store_true", help="only memory of very large files")
    parser.add_argument("--no-pin", action="store_true", help="leave the cores to the scheduler")
    parser.add_argument("--nginx-only", action="store_true", help="what this machine can do")
    parser.add_argument("--program", type=Path, default=PROGRAM, help="another tokenmarket")
    parser.add_argument("--keep", action="store_true", help="keep data, logs and configuration")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupted)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        return media.measure_all(arguments.program) if arguments.media else run(arguments)
    except (BenchError, LoadError) as error:
        sys.stderr.write(f"bench: FAILED: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
