"""What runs beside the requests for reports: a sample of the routes every minute, the roll-up of
usage as requests come in. Neither sees a request; both are a few statements on the SQL thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from tokenmarket.billing.clock import Clock
from tokenmarket.billing.wallet import Wallet
from tokenmarket.exchange import Exchange
from tokenmarket.reports.requests import Requests
from tokenmarket.reports.routes import SAMPLE_S, Counter, RouteMeasurements
from tokenmarket.store import usage_rolling
from tokenmarket.store.database import Database

ROLL_UP_S = 5.0  # how often is looked whether there is enough to roll up
ROLL_UP_ROWS = 2_000  # are enough: every question reads what is not rolled up row by row
ROLL_UP_AGE_S = 60.0  # then with whatever there is
PAUSE_S = 0.05  # between two batches, for whoever else wants to write


class Reports:
    """Started with the server; ``routes`` has the measurements of routes, ``requests`` answers the
    questions about requests."""

    def __init__(
        self,
        database: Database,
        wallet: Wallet,
        counter: Counter,
        clock: Clock,
        *,
        running: Callable[[], Iterable[Exchange]],
        running_one: Callable[[str], Exchange | None],
        failed: Callable[[str, Exception], object],
    ) -> None:
        """``failed`` is told of what could not be written: (what, why)."""
        self.routes = RouteMeasurements(database, counter)
        self.requests = Requests(database, wallet, running, running_one, clock)
        self._database = database
        self._clock = clock
        self._failed = failed
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begins the two loops."""
        self._tasks = [
            asyncio.create_task(self._sample_forever(), name="reports-sample"),
            asyncio.create_task(self._roll_up_forever(), name="reports-roll-up"),
        ]

    async def stop(self) -> None:
        """Ends the loops; what was counted since the last minute is kept."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._tasks:
            await self._sample()
        self._tasks = []

    async def _sample_forever(self) -> None:
        while True:
            await asyncio.sleep(SAMPLE_S)
            await self._sample()

    async def _sample(self) -> None:
        try:
            await self.routes.sample(self._clock.wall_us())
        except Exception as error:
            self._failed("route_sample", error)

    async def _roll_up_forever(self) -> None:
        await self._repair()
        since_us = self._clock.monotonic_us()
        while True:
            now_us = self._clock.monotonic_us()
            try:
                if (
                    now_us - since_us >= ROLL_UP_AGE_S * 1e6
                    or await self._waiting() >= ROLL_UP_ROWS
                ):
                    await self.catch_up()
                    since_us = now_us
            except Exception as error:
                self._failed("roll_up", error)
            await asyncio.sleep(ROLL_UP_S)

    async def _repair(self) -> None:
        """A rollup that does not count what is behind it is made anew."""
        try:
            async with self._database.read() as conn:
                complete = await usage_rolling.is_complete(conn)
            if not complete:
                async with self._database.begin() as conn:
                    await usage_rolling.forget(conn)
            await self.catch_up()
        except Exception as error:
            self._failed("roll_up", error)

    async def _waiting(self) -> int:
        """How many posted requests are not rolled up."""
        async with self._database.read() as conn:
            newest = await usage_rolling.newest_row(conn)
            return newest - await usage_rolling.rolled_up(conn)

    async def catch_up(self) -> None:
        """Roll up what has been posted by now. What comes meanwhile waits: a busy server never
        sees the end of it, and small batches take as many statements as large ones."""
        left = await self._waiting()
        while left > 0 and (done := await usage_rolling.roll_up(self._database)):
            left -= done
            await asyncio.sleep(PAUSE_S)
