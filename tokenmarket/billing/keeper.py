"""The wallet's background work: posting, idle returns, expiry, segment rotation, the backlog watch.

Two tasks in all, none per request. Nothing here decides about money; it only calls what does.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from tokenmarket.billing.clock import Clock
from tokenmarket.billing.frames import JournalCorrupt
from tokenmarket.billing.funds import Admission
from tokenmarket.billing.journal import SEGMENT_AGE_US, Journal, JournalFailed
from tokenmarket.billing.leases import Leases
from tokenmarket.billing.poster import BATCH_RECORDS, Frozen, Poster
from tokenmarket.billing.recovery import collect_garbage, drop_posted_segments
from tokenmarket.ledger.grants import expire
from tokenmarket.store.database import Database
from tokenmarket.store.money_moves import Rejected, Unavailable

logger = logging.getLogger(__name__)

POST_AGE_US = 170_000  # of the oldest end when its batch is posted: fewer statements per request
ONE_US_S = 0.000_001
RETRY_S = 0.5
TICK_S = 1.0
BACKLOG_US = 60_000_000
BACKLOG_B = 256 << 20
EXPIRE_EVERY_US = 10_000_000
COLLECT_EVERY_US = 3_600_000_000


class Keeper:
    """Started with the wallet; sets ``admission.stopped`` when SQL cannot keep up."""

    def __init__(
        self,
        database: Database,
        root: Path,
        clock: Clock,
        journal: Journal,
        poster: Poster,
        leases: Leases,
        lock: asyncio.Lock,
        admission: Admission,
        *,
        background: bool,
    ) -> None:
        self._admission = admission
        self._database = database
        self._root = root
        self._clock = clock
        self._journal = journal
        self._poster = poster
        self._leases = leases
        self._lock = lock
        self._background = background
        self._wake = asyncio.Event()
        self._posting = False
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._segment_since_us = clock.monotonic_us()
        self._expired_us = 0
        self._collected_us = 0

    def start(self) -> None:
        if self._background:
            self._tasks = [
                asyncio.create_task(self._post_forever(), name="billing-poster"),
                asyncio.create_task(self._tick_forever(), name="billing-keeper"),
            ]

    async def stop(self) -> None:
        """Ends the tasks; a transaction in progress comes to its end first."""
        async with self._lock:  # every transaction of the tasks runs under it
            self.abandon()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def abandon(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for task in self._tasks:
            task.cancel()

    # ------------------------------------------------------------------------------------- posting

    def synced(self) -> None:
        """The journal has more on disk than before."""
        if not self._background or not self._poster.pending or self._posting:
            return
        if self._waiters or len(self._poster.pending) >= BATCH_RECORDS:
            self._wake.set()
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            wait_us = max(0, POST_AGE_US - self._poster.lag_us())
            self._timer = loop.call_later(wait_us * ONE_US_S, self._due)

    def _due(self) -> None:
        self._timer = None
        self._wake.set()

    async def wait_posted(self, place: int) -> None:
        """Returns when SQL knows everything before ``place``. Raises Frozen."""
        if self._poster.cursor >= place:
            return
        if self._admission.stopped is not None:
            raise Frozen(self._admission.stopped)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((place, waiter))
        self._wake.set()
        await waiter

    async def _post_forever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._posting = True
            try:
                await self._flush()
                waits_us = 0 if self._waiters else POST_AGE_US
                await self._poster.run(self._journal.synced, rest_waits_us=waits_us)
            except Frozen as error:
                logger.critical("%s", error)
                self._admission.stopped = str(error)
                self._answer_waiters(error)
                return
            except (Unavailable, Rejected) as error:
                logger.warning("posting waits for the database: %s", error)
                await asyncio.sleep(RETRY_S)
                self._wake.set()
            finally:
                self._posting = False
            self._answer_waiters(None)
            self.synced()  # what came meanwhile, and was not due then

    async def _flush(self) -> None:
        """What has just been written goes into this batch too, not into one of its own."""
        try:
            await self._journal.flush()
        except JournalFailed:
            pass  # what is on disk is posted all the same

    def _answer_waiters(self, error: Frozen | None) -> None:
        waiting, self._waiters = self._waiters, []
        for place, waiter in waiting:
            if waiter.done():
                continue
            if error is not None:
                waiter.set_exception(error)
            elif place <= self._poster.cursor:
                waiter.set_result(None)
            else:
                self._waiters.append((place, waiter))

    # ---------------------------------------------------------------------------------------- ticks

    async def _tick_forever(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await self.tick()
            except (Unavailable, Rejected) as error:
                logger.warning("the database did not answer: %s", error)
            except JournalFailed:
                pass  # admission has stopped already, and the journal says why

    async def tick(self) -> None:
        """Once a second. Raises Unavailable, Rejected, JournalFailed."""
        now_us = self._clock.monotonic_us()
        self._watch_backlog()
        if self._journal.used_b() == 0:
            self._segment_since_us = now_us
        elif now_us - self._segment_since_us > SEGMENT_AGE_US or self._journal.trouble:
            self._segment_since_us = now_us
            self._journal.rotate()
        await self._leases.release_idle(now_us)
        if now_us - self._expired_us > EXPIRE_EVERY_US:
            self._expired_us = now_us
            async with self._lock:
                await expire(self._database, self._clock.wall_us())
        if now_us - self._collected_us > COLLECT_EVERY_US:
            self._collected_us = now_us
            await self._collect()

    async def _collect(self) -> None:
        wall_us = self._clock.wall_us()
        try:
            await collect_garbage(self._database, self._root, wall_us)
            drop_posted_segments(self._journal.directory, self._poster.cursor, wall_us)
        except (OSError, JournalCorrupt) as error:
            logger.warning("old journal files stay: %s", error)

    def _watch_backlog(self) -> None:
        if self._admission.stopped is not None and not self._admission.stopped.startswith(
            "backlog"
        ):
            return  # frozen stays frozen
        self._admission.stopped = None
        lag_us = self._poster.lag_us()
        if lag_us > BACKLOG_US:
            self._admission.stopped = (
                f"backlog: requests wait for the database since {lag_us // 1_000_000} s"
            )
        elif self._poster.lag_b() > BACKLOG_B:
            self._admission.stopped = "backlog: too many requests wait for the database"
