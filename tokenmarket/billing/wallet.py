"""The money side of a request: hold before dispatch, settle before the last byte, no I/O between.

    funds = await wallet.funds(org_id, key_id)              # once per caller, cached
    hold = wallet.try_hold(funds, request_id, ceiling, …)   # synchronous; journal H
    wallet.progress(hold, charge_so_far)                    # journal P, about once a second
    place = wallet.settle(hold, charge, event)              # journal S; or wallet.void: V
    await wallet.durable(place)                             # as the operator chose

What a reader must know:

* ``try_hold`` checks everything, writes H, then deducts everything, without an ``await``: on one
  event loop that is atomic, and a failed write leaves nothing behind.
* On InsufficientFunds the caller asks ``refill`` once and tries again: money may wait in SQL (a new
  grant, a lease that was given back while idle, a new day of a spend limit).
* Memory first, SQL later: the poster moves ended requests to SQL a tenth of a second after they
  ended; until then their receipts and answers are found here.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from tokenmarket.billing.clock import Clock
from tokenmarket.billing.funds import (
    Balance,
    Capture,
    Funds,
    Hold,
    InsufficientFunds,
    Pool,
    SpendLimitReached,
)
from tokenmarket.billing.journal import (
    SEGMENT_BYTES,
    AlreadyRunning,
    Journal,
    JournalFailed,
    take_lock,
)
from tokenmarket.billing.keeper import Keeper
from tokenmarket.billing.leases import Leases
from tokenmarket.billing.periods import Limit
from tokenmarket.billing.poster import Poster
from tokenmarket.billing.records import End, StoredAnswer, UsageEvent
from tokenmarket.billing.recovery import Recovered, adopt_dead
from tokenmarket.billing.replay import ADOPTED
from tokenmarket.billing.tasks import TaskMoney
from tokenmarket.billing.till import AdmissionStopped, HoldEnded, Till, no_failpoint
from tokenmarket.core.pricing import PriceSheet
from tokenmarket.store.database import Database
from tokenmarket.store.money import stored_answer
from tokenmarket.store.money_ledger import balance, remember_prices
from tokenmarket.store.money_moves import register_worker
from tokenmarket.store.money_posting import Batch, close_worker

__all__ = [
    "AdmissionStopped",
    "AlreadyRunning",
    "Balance",
    "Capture",
    "Funds",
    "Hold",
    "HoldEnded",
    "InsufficientFunds",
    "JournalFailed",
    "SpendLimitReached",
    "StoredAnswer",
    "UsageEvent",
    "Wallet",
]

JournalSync = Literal["interval", "group", "replicated"]


class Wallet(Till):
    """Made with ``await Wallet.open(...)``, ended with ``await wallet.close()``."""

    def __init__(
        self,
        database: Database,
        root: Path,
        root_lock: int,
        worker_id: str,
        clock: Clock,
        recovered: Recovered,
        *,
        journal_sync: JournalSync,
        segment_bytes: int,
        background: bool,
        failpoint: Callable[[str], None],
        sync: Callable[[int], None],
    ) -> None:
        self.worker_id = worker_id
        self.recovered = recovered
        self._database = database
        self._root_lock = root_lock
        self._clock = clock
        self._policy: JournalSync = journal_sync
        self._funds: dict[tuple[str, str], Funds] = {}
        self._remembered: set[str] = set()  # versions of price sheets
        self._lock = asyncio.Lock()
        journal = Journal(
            root,
            worker_id,
            checkpoint=self._checkpoint,
            on_synced=self._synced,
            segment_bytes=segment_bytes,
            background=background,
            sync=sync,
        )
        self._poster = Poster(
            database, worker_id, journal.synced, clock, self._lock, failpoint, segment_bytes
        )
        self._poster.on_posted = self._forget
        self._leases = Leases(database, worker_id, clock, self._lock, self._poster)
        super().__init__(journal, self._leases.pools, self._poster.pending, clock, failpoint)
        self.tasks = TaskMoney(database, worker_id, self._leases, self, self._funds, clock)
        self._keeper = Keeper(
            database,
            root,
            clock,
            journal,
            self._poster,
            self._leases,
            self._lock,
            self.admission,
            background=background,
        )

    @classmethod
    async def open(
        cls,
        database: Database,
        root: Path,
        *,
        clock: Clock,
        worker_id: str,
        journal_sync: JournalSync = "interval",
        segment_bytes: int = SEGMENT_BYTES,
        background: bool = True,
        failpoint: Callable[[str], None] = no_failpoint,
        sync: Callable[[int], None] = os.fdatasync,
    ) -> Wallet:
        """Adopt what dead processes left, then begin a journal of our own under ``root``.

        ``worker_id``: new for every start, 1-32 ASCII characters. ``background=False``: flushing,
        posting and idle returns happen only when asked for (tests that own the time).
        Raises AlreadyRunning, Unavailable, OSError.
        """
        root_lock = _lock_root(root)
        try:
            recovered = await adopt_dead(database, root, clock, failpoint)
            wallet = cls(
                database,
                root,
                root_lock,
                worker_id,
                clock,
                recovered,
                journal_sync=journal_sync,
                segment_bytes=segment_bytes,
                background=background,
                failpoint=failpoint,
                sync=sync,
            )
        except BaseException:
            os.close(root_lock)
            raise
        try:
            await register_worker(
                database,
                worker_id,
                str(root.joinpath(worker_id).absolute()),
                os.getpid(),
                wallet._poster.cursor,
                clock.wall_us(),
            )
        except BaseException:
            wallet.abandon()
            raise
        wallet._keeper.start()
        return wallet

    # -------------------------------------------------------------------------------- request path

    async def funds(self, org_id: str, key_id: str) -> Funds:
        """The money this key may spend; the first call leases it. Raises Unavailable."""
        found = self._funds.get((org_id, key_id))
        if found is None:
            pool = self._leases.pools.setdefault(org_id, Pool(org_id))
            found = self._funds.setdefault((org_id, key_id), Funds(pool, key_id))
            try:
                await self._leases.open(found)
            except BaseException:
                self._funds.pop((org_id, key_id), None)
                raise
        return found

    async def refill(self, funds: Funds, need_nano: int, model: str | None = None) -> bool:
        """Look for more money in SQL; whether ``need_nano`` may be there now. Raises Unavailable.

        For 200 ms after a refusal the answer is False without asking.
        """
        return await self._leases.refill(funds, need_nano, model)

    @property
    def settles_at_once(self) -> bool:
        """Whether ``durable`` never waits."""
        return self._policy == "interval"

    async def durable(self, place: int) -> None:
        """Wait as the policy says: not at all, for the disk, or for SQL. Raises JournalFailed."""
        if self._policy == "interval":
            return
        await self._journal.wait_synced(place)
        if self._policy == "replicated":
            await self._keeper.wait_posted(place)

    # ----------------------------------------------------------------------------------- questions

    def unposted_receipt(self, org_id: str, request_id: str) -> bytes | None:
        """The receipt of a request that ended and is not in SQL yet."""
        event = self._unposted.get(request_id)
        return event.receipt if event is not None and event.org_id == org_id else None

    def unposted_answer(self, org_id: str, endpoint: str, key: str) -> StoredAnswer | None:
        """The stored answer of a request that ended and is not in SQL yet."""
        event = self._unposted_answers.get((org_id, endpoint, key))
        return None if event is None else event.answer

    async def stored_answer(self, org_id: str, endpoint: str, key: str) -> StoredAnswer | None:
        """The answer that is kept for an idempotency key, posted or not."""
        answer = self.unposted_answer(org_id, endpoint, key)
        if answer is not None:
            return answer
        now_us = self._clock.wall_us()
        found = await stored_answer(self._database, org_id, endpoint, key, now_us)
        if found is None:
            return None
        _, fingerprint, status, content_type, body = found
        return StoredAnswer(key, endpoint, fingerprint, status, content_type, body)

    def balance_nano(self, funds: Funds, wall_us: int | None = None) -> int:
        """What this process has of the balance, without I/O: exact when one process serves and
        everything is leased; money granted since the last ``refill`` is missing."""
        return funds.pool.total_nano(self._wall_us() if wall_us is None else wall_us)

    async def balance(self, org_id: str) -> Balance:
        """Exact, settled but unposted requests included. Raises Unavailable."""
        async with self._lock:
            await self._leases.resolve()
            posted, pending = await balance(self._database, org_id)
            # no await from here on: memory and SQL are of one moment
            pool = self._leases.pools.get(org_id)
            free = held_back = 0
            if pool is not None:
                free = sum(b.free + b.returning for b in pool.buckets)
                held_back = sum(b.unposted for b in pool.buckets)
        held = pending - free - held_back
        total = posted - held_back
        return Balance(total, held, total - held)

    async def spent(self, funds: Funds) -> list[tuple[Limit, int]]:
        """Every spend limit that counts for this key, and how much of it is used, running tasks
        at their full hold. Raises Unavailable."""
        await self._leases.open(funds)  # a window may be parked, or its period over
        return [
            (window.limit, window.limit.limit_nano - window.free - window.held)
            for window in funds.windows
        ]

    def ready(self) -> str | None:
        """Why nothing can be admitted safely, or None."""
        return self._journal.trouble or self.admission.stopped

    def metrics(self) -> dict[str, int]:
        """Gauges and counters by name; money in nano-USD, times in µs."""
        return {
            "holds": len(self._live),
            "held_nano": self._held_nano,
            "settled": self._settled,
            "settled_nano": self._settled_nano,
            "uncollected_nano": self.uncollected_nano,
            "unposted": len(self._pending),
            "posted": self._poster.posted,
            "posting_lag_us": self._poster.lag_us(),
            "unsynced_b": self._journal.place - self._journal.synced,
            "journal_b": self._journal.appended_b,
            "set_aside": self._poster.set_aside,
            "quarantined": len(self.recovered.quarantined),
            "sql_operations": self._database.operations,
        }

    # ------------------------------------------------------------------------------------ life time

    async def reload(self) -> None:
        """The control plane has changed: every key's next hold fails once with InsufficientFunds,
        and the ``refill`` that follows reads limits and balances again."""
        for funds in self._funds.values():
            funds.stale = True

    async def remember_prices(self, sheets: Iterable[PriceSheet]) -> None:
        """Keep these versions for the proof of the books; call it with every new catalog."""
        new = {s.version: s for s in sheets if s.version not in self._remembered}
        rows = [(s.version, msgspec.json.encode(s.rows).decode()) for s in new.values()]
        if rows:
            await remember_prices(self._database, rows, self._clock.wall_us())
            self._remembered.update(new)

    async def flush(self) -> None:
        """Everything written so far is on disk and posted. Raises JournalFailed, Unavailable."""
        await self._journal.flush()
        await self._poster.run(self._journal.synced)

    async def release_idle(self, now_us: int) -> None:
        """Give back money that nobody wanted for ten seconds. ``now_us`` is monotonic."""
        await self._leases.release_idle(now_us)

    async def close(self) -> None:
        """Post everything, give everything back, let go. What cannot be posted now is adopted at
        the next start; the same for holds that are still open."""
        await self._keeper.stop()
        try:
            await self.flush()
            if not self._live and not self._poster.set_aside:
                last = Batch(
                    self.worker_id, self._poster.cursor, ADOPTED, 0, [], [], {}, {}, {}, []
                )
                async with self._lock:
                    await close_worker(self._database, last, self._clock.wall_us())
                    self._leases.pools.clear()  # every lease is closed
        finally:
            try:
                await self._journal.close()
            finally:
                os.close(self._root_lock)

    def abandon(self) -> None:
        """Let go without flushing or posting, as a death would; the next start adopts."""
        self._keeper.abandon()
        self._journal.abandon()
        os.close(self._root_lock)

    # ------------------------------------------------------------------------------------ callbacks

    def _synced(self) -> None:
        self._keeper.synced()

    def _forget(self, records: Sequence[End]) -> None:
        unposted, answers = self._unposted, self._unposted_answers
        for record in records:
            event = record.event
            if unposted.get(record.request_id) is event:
                del unposted[record.request_id]
            if event.answer is not None:
                key = (event.org_id, event.answer.endpoint, event.answer.key)
                if answers.get(key) is event:
                    del answers[key]


def _lock_root(root: Path) -> int:
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        return take_lock(root.joinpath("lock"))
    except AlreadyRunning:
        raise AlreadyRunning(
            f"another TokenMarket process is using {root}: stop it first, or give this one "
            "another data directory (--data)"
        ) from None
