"""Sends what queues hold: signed, guarded, again until somebody takes it.

    queue -> claim (a lease in SQL) -> sign -> Fetcher.post -> finish (by compare-and-set)

What a reader must know:

* Sent at least once: a process that dies leaves a lease, which the next start frees. The receiver
  tells repeats by ``webhook-id``.
* Of one receiver (``Job.lane``) few are under way at once, of all together ``AT_ONCE``; nobody
  waits for the slow one but itself.
* Every address is a stranger's (``upstream/fetch.py``): public, no redirects, a few seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from tokenmarket.billing.clock import Clock
from tokenmarket.core.sealing import SealBroken
from tokenmarket.core.video.webhooks import signed_headers
from tokenmarket.core.wording import Recognizer, say
from tokenmarket.telemetry import Log
from tokenmarket.upstream.fetch import Fetcher, FetchRefused

AT_ONCE = 256
PER_LANE = 4
CLAIM_MAX = 64
IDLE_S = 2.0
LEASE_US = 60 * 1_000_000
ANSWER_BYTES_MAX = 1_000
GIVE_UP_REFUSED_AFTER = 2  # attempts: a name may lead to a wrong address for a moment
_US = 1_000_000

Row = TypeVar("Row")


class Job(msgspec.Struct, Generic[Row], frozen=True):
    """One thing to send. ``lane`` names the receiver."""

    row: Row
    lane: str
    url: str
    event_id: str
    body: str
    attempts: int  # this one counted
    allowed_origins: tuple[str, ...] = ()


class Outcome(msgspec.Struct, frozen=True):
    """What became of an attempt. ``error`` is empty if it was taken; ``final``: never again."""

    at_us: int
    duration_ms: int
    status: int | None
    answer: str
    error: str
    final: bool


class Queue(Protocol[Row]):
    """Where jobs come from. ``finish`` says in one word what follows: delivered, failed, given_up
    or lost (somebody else has it)."""

    async def claim(self, limit: int, each: int, busy: Collection[str]) -> Sequence[Job[Row]]: ...
    async def secrets(self, row: Row) -> list[str]: ...
    async def finish(self, row: Row, outcome: Outcome) -> str: ...


class Deliverer:
    """``run`` until it is cancelled, then ``stop``."""

    def __init__(
        self, queues: Sequence[Queue[Any]], fetcher: Fetcher, clock: Clock, log: Log
    ) -> None:
        self._queues = queues
        self._fetcher = fetcher
        self._clock = clock
        self._log = log
        self._awake = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._lanes: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()

    def wake(self) -> None:
        """There is something new; else it is found within ``IDLE_S``."""
        self._awake.set()

    async def run(self) -> None:
        while True:
            self._awake.clear()
            try:
                while await self._start_due():
                    pass
            except Exception as error:
                self._log.write("error", "webhooks", error=repr(error)[:300])
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._awake.wait(), IDLE_S)

    async def sweep(self) -> int:
        """Send what is due now and wait for it; how many attempts."""
        count = 0
        while started := await self._start_due():
            count += started
            await asyncio.gather(*self._running)
        return count

    async def stop(self, within_s: float) -> None:
        """What is under way gets so long; what is cut off is sent again after the next start."""
        if self._running:
            await asyncio.wait(self._running, timeout=within_s)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def gauges(self) -> Iterable[tuple[str, str, float]]:
        """For ``GET /metrics``."""
        yield "webhooks_running", "Webhooks and callbacks being sent.", len(self._running)
        for name, count in self.counts.items():
            what = name.replace("_", " ")
            yield f"webhooks_{name}", f"Attempts since the start: {what}.", count

    async def _start_due(self) -> int:
        started = 0
        for queue in self._queues:
            limit = min(CLAIM_MAX, AT_ONCE - len(self._running))
            if limit <= 0:
                break
            busy = [lane for lane, count in self._lanes.items() if count >= PER_LANE]
            for job in await queue.claim(limit, PER_LANE, busy):
                self._lanes[job.lane] += 1
                task = asyncio.create_task(self._deliver(queue, job))
                self._running.add(task)
                started += 1
        return started

    async def _deliver(self, queue: Queue[Any], job: Job[Any]) -> None:
        try:
            outcome = await self._attempt(queue, job)
            word = await queue.finish(job.row, outcome)
            self.counts[word] += 1
            if outcome.error:
                self._log.write(
                    "warning",
                    "webhook_failed",
                    id=job.event_id,
                    receiver=job.lane,
                    attempt=job.attempts,
                    error=outcome.error[:200],
                    then=word,
                )
        except Exception as error:  # the lease runs out, then it is tried again
            self._log.write("error", "webhooks", id=job.event_id, error=repr(error)[:300])
        finally:
            self._lanes[job.lane] -= 1
            if not self._lanes[job.lane]:
                del self._lanes[job.lane]
            current = asyncio.current_task()
            if current is not None:
                self._running.discard(current)
            self._awake.set()

    async def _attempt(self, queue: Queue[Any], job: Job[Any]) -> Outcome:
        clock, started_us = self._clock, self._clock.monotonic_us()
        status: int | None = None
        answer, error, final = "", "", False
        try:
            body = job.body.encode()
            now_s = clock.wall_us() // _US
            headers = signed_headers(await queue.secrets(job.row), job.event_id, now_s, body)
            posted = await self._fetcher.post(
                job.url,
                headers=headers,
                body=body,
                allowed_origins=job.allowed_origins,
                answer_bytes_max=ANSWER_BYTES_MAX,
            )
            status, answer = posted.status, shown(posted.answer)
            if not 200 <= status < 300:
                error = f"HTTP {status}"
                final = status == 410
        except FetchRefused as refused:
            error, status = str(refused.message), refused.status
            never = refused.reason in ("url_not_allowed", "private_address")
            final = never and job.attempts > GIVE_UP_REFUSED_AFTER
        except SealBroken:
            error = str(say("the signing secret does not open"))
        duration_ms = (clock.monotonic_us() - started_us) // 1000
        return Outcome(clock.wall_us(), duration_ms, status, answer, error[:300], final)


# What ``Outcome.error`` may say, to be shown in other languages; a status is said as it is.
ERRORS = (
    "a URL begins with https://",
    "a URL has a host, and a port only as a number",
    "a URL has at most {chars_max} characters",
    "a URL has no spaces, control characters, backslashes or fragment",
    "a URL has no user name or password",
    "a URL has one of the ports {ports}",
    "an IPv4 address is written as four decimal numbers",
    "an international host name is written in its ASCII form, xn--…",
    "its address is not public",
    "not a host name",
    "not an IPv6 address",
    "not an international host name: its xn-- part does not decode",
    "the URL answered in a coding that was not asked for",
    "the URL answered with HTTP {status}",
    "the URL could not be read: {message}",
    "the URL has more than {bytes_max} bytes",
    "the URL leads through more than {redirects_max} redirects",
    "the URL redirects from https to http",
    "the URL redirects to nowhere",
    "the URL took longer than {total_s} s",
    "the host has an address that is not public",
    "the host name is not known",
    "the signing secret does not open",
)
_errors = Recognizer(ERRORS)


def error_said(stored: str) -> str:
    """An error that was stored, with its parts known (``core/wording.py``)."""
    return _errors.said(stored)


def shown(answer: bytes) -> str:
    """A stranger's bytes as text that can be stored and shown: no control characters."""
    text = answer.decode("utf-8", "replace")
    return "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in text)
