"""The SQL side of the wallet's memory: takes leases, gives idle money back, reads the truth.

All of it runs under one lock with the poster, because a lease's rest in SQL and the sums in memory
are only comparable while neither changes. Holding and settling go on meanwhile: they move money
between ``free``, ``held`` and ``unposted``, which does not change their sum.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import count
from typing import TypeVar

from tokenmarket.billing import periods
from tokenmarket.billing.clock import Clock
from tokenmarket.billing.funds import Bucket, Funds, Pool, Window
from tokenmarket.billing.poster import Poster
from tokenmarket.store.database import Database
from tokenmarket.store.money_holds import Part, pending_nano
from tokenmarket.store.money_limits import spend_limits
from tokenmarket.store.money_moves import (
    Limit,
    Return,
    Slice,
    WindowSlice,
    acquire,
    give_back,
    lease_rests,
)

Result = TypeVar("Result")

REFUSED_US = 200_000  # a broke customer asks SQL at most five times a second
IDLE_US = 10_000_000


class Leases:
    """All pools of this process. ``operations`` counts transactions."""

    def __init__(
        self,
        database: Database,
        worker_id: str,
        clock: Clock,
        lock: asyncio.Lock,
        poster: Poster,
    ) -> None:
        self.pools: dict[str, Pool] = {}
        self.operations = 0
        self._database = database
        self._worker_id = worker_id
        self._clock = clock
        self._lock = lock
        self._numbers = count(1)
        self._poster = poster
        self._doubtful = False

    async def open(self, funds: Funds) -> None:
        """First lease of this key's money and limits; again whenever those have changed."""
        async with self._lock:
            await self._acquire(funds)

    async def refill(self, funds: Funds, need_nano: int, model: str | None) -> bool:
        """Whether ``need_nano`` may be there now. Raises Unavailable."""
        pool = funds.pool
        async with self._lock:
            now_us = self._clock.wall_us()
            current = not funds.stale and all(w.covers(now_us) for w in funds.windows)
            if current and pool.free_nano(model, now_us) >= need_nano:
                return True  # somebody else refilled while we waited for the lock
            if current and self._clock.monotonic_us() < pool.refused_until_us:
                return False
            await self._acquire(funds)
            if pool.free_nano(model, now_us) >= need_nano:
                return True
            pool.refused_until_us = self._clock.monotonic_us() + REFUSED_US
            return False

    async def _acquire(self, funds: Funds) -> None:
        await self.resolve()
        pool = funds.pool
        now_us = self._clock.wall_us()
        limits = [
            periods.limit(kind, owner, period, nano, now_us)
            for kind, owner, period, nano in await spend_limits(
                self._database, pool.org_id, funds.key_id
            )
        ]
        self.operations += 1
        self._doubtful = True
        slices, windows = await acquire(
            self._database,
            self._worker_id,
            pool.org_id,
            limits,
            next_number=lambda: next(self._numbers),
            now_us=now_us,
        )
        self._doubtful = False
        _take_over(pool, slices)
        if not pool.durable_known:  # from then on every change of it is ours
            pool.durable_nano = await pending_nano(self._database, pool.org_id)
            pool.durable_known = True
        funds.stale = False
        funds.windows = tuple(_take_over_window(pool, item) for item in windows)

    async def make_durable(
        self,
        pool: Pool,
        parts: Callable[[], Sequence[tuple[Bucket | Window, int]]],
        write: Callable[[Sequence[Part]], Awaitable[Result]],
    ) -> Result:
        """Move free money out of our leases into a durable hold.

        ``parts`` says how much of which, with the sums as they are under the lock; ``write`` is the
        transaction that takes as much out of the leases in SQL. Raises what they raise; then SQL
        has been asked what is true, or will be before anything else is.
        """
        async with self._lock:
            await self.resolve()
            taken = parts()
            for item, amount in taken:
                item.free -= amount  # first here, then in SQL: it can never be spent twice
                item.returning += amount
            self.operations += 1
            self._doubtful = True
            try:
                result = await write([Part(*_name(i), i.lease_no, n) for i, n in taken])
            except Exception:
                with suppress(Exception):  # then the next step looks; the first error is told
                    await self._look()
                raise
            self._doubtful = False
            for item, amount in taken:
                item.returning -= amount
                if isinstance(item, Bucket):
                    pool.durable_nano += amount
            return result

    async def end_durable(
        self, org_id: str, held_nano: int, write: Callable[[], Awaitable[Result]]
    ) -> Result:
        """Run the transaction that ends a durable hold. What it gives back is money in SQL, which
        the next ``refill`` leases: the caller makes the organisation's Funds stale."""
        async with self._lock:
            await self.resolve()
            self.operations += 1
            self._doubtful = True
            result = await write()
            self._doubtful = False
            pool = self.pools.get(org_id)
            if pool is not None and result is not None:
                pool.durable_nano -= held_nano
                pool.refused_until_us = 0
            return result

    async def release_idle(self, now_us: int) -> None:
        """Give back what no request wanted for ten seconds, and what can no longer be spent.

        ``now_us`` is monotonic. Raises Unavailable; nothing is lost then, the next round reads the
        truth from SQL.
        """
        wall_us = self._clock.wall_us()
        for pool in self.pools.values():
            if pool.active:
                pool.active = False
                pool.idle_since_us = now_us
            idle = now_us - pool.idle_since_us >= IDLE_US
            some: list[Bucket | Window] = [
                item
                for item in (*pool.buckets, *pool.windows.values())
                if item.lease_no
                and (idle or _ended(item, wall_us))
                and (_spare(item) > 0 or not (item.held or item.unposted))
            ]
            if some:
                async with self._lock:
                    await self._give_back(pool, some)

    async def _give_back(self, pool: Pool, items: Sequence[Bucket | Window]) -> None:
        await self.resolve()
        returns: list[Return] = []
        for item in items:
            if not item.lease_no:
                continue  # the look above found it closed
            amount = max(0, item.free)
            item.free -= amount  # first here, then in SQL: it can never be spent twice
            if isinstance(item, Window):
                item.parked = True
                amount += min(0, item.free) + item.excess
                item.free, item.excess = 0, 0
            item.returning += amount
            close = not (item.held or item.unposted or item.free)
            kind, target = _name(item)
            returns.append(Return(kind, target, item.lease_no, amount, close))
        self.operations += 1
        self._doubtful = True
        await give_back(self._database, self._worker_id, returns, self._clock.wall_us())
        self._doubtful = False
        closed = {(done.kind, done.target) for done in returns if done.close}
        for item in items:
            item.returning = 0
            if _name(item) in closed:
                _forget(pool, item)
        pool.refused_until_us = 0  # there is something to take again

    async def resolve(self) -> None:
        """Make memory and SQL comparable again after a lost answer; only under the lock."""
        await self._poster.resolve()
        if self._doubtful:
            await self._look()

    async def _look(self) -> None:
        """After a lost answer: what SQL says of every lease of ours is the truth."""
        rests = await lease_rests(self._database, self._worker_id)
        for pool in self.pools.values():
            items: list[Bucket | Window] = [*pool.buckets, *pool.windows.values()]
            for item in items:
                item.returning = 0
                rest = rests.get(item.lease_no)
                if rest is None:
                    _forget(pool, item)
                elif isinstance(item, Window):
                    item.set_rest(rest, item.excess)
                else:
                    item.set_rest(rest)
            pool.durable_nano = await pending_nano(self._database, pool.org_id)
        self._doubtful = False


def _forget(pool: Pool, item: Bucket | Window) -> None:
    item.lease_no = 0
    item.free = 0
    if isinstance(item, Window):
        item.parked = True
        pool.windows.pop(item.limit.window_id, None)


def _ended(item: Bucket | Window, wall_us: int) -> bool:
    ends_us = item.limit.ends_us if isinstance(item, Window) else item.expires_us
    return ends_us <= wall_us


def _spare(item: Bucket | Window) -> int:
    return item.free + item.excess if isinstance(item, Window) else item.free


def _name(item: Bucket | Window) -> tuple[str, str]:
    if isinstance(item, Window):
        return "window", item.limit.window_id
    return "balance", item.account_id


def _take_over(pool: Pool, slices: Sequence[Slice]) -> None:
    for item in slices:
        bucket = pool.by_account.get(item.account_id)
        if bucket is None:
            bucket = pool.by_account[item.account_id] = Bucket(item.account_id)
        bucket.scope = item.scope
        bucket.priority = item.priority
        bucket.expires_us = item.expires_us
        bucket.lease_no = item.lease_no
        bucket.set_rest(item.rest_nano)
    pool.buckets = sorted(
        (bucket for bucket in pool.by_account.values() if bucket.lease_no),
        key=lambda bucket: bucket.burn_order,
    )


def _take_over_window(pool: Pool, item: WindowSlice) -> Window:
    limit: Limit = item.limit
    window = pool.windows.get(limit.window_id)
    if window is None:
        window = pool.windows[limit.window_id] = Window(limit)
    window.limit = limit
    window.parked = False
    window.lease_no = item.lease_no
    window.set_rest(item.rest_nano, item.excess_nano)
    return window
