"""Webhooks of one process: the deliverer, keys that expire soon, what is old enough to forget."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable

from tokenmarket.accounts.key_events import publish_key
from tokenmarket.billing.clock import Clock
from tokenmarket.store import webhook_endpoints, webhook_sending
from tokenmarket.store.database import Database
from tokenmarket.store.webhook_endpoints import EndpointRow
from tokenmarket.telemetry import Log
from tokenmarket.upstream.fetch import Fetcher
from tokenmarket.webhooks.callbacks import Callbacks
from tokenmarket.webhooks.deliverer import Deliverer
from tokenmarket.webhooks.dispatches import Dispatches

LOOK_S = 600.0  # for keys that expire, and for what is old
EXPIRING_S = 7 * 86_400
KEPT_US = 30 * 86_400 * 1_000_000  # events and what was tried
STOP_S = 5.0
TRIED_POLL_S = 0.05
_US = 1_000_000


class Webhooks:
    """``start`` when the server listens, ``stop`` before the database closes."""

    def __init__(
        self,
        database: Database,
        fetcher: Fetcher,
        clock: Clock,
        log: Log,
        worker_id: str,
        kek: bytes,
        origins: tuple[str, ...],
        tell: Callable[[EndpointRow], Awaitable[object]],
    ) -> None:
        """``tell`` is called after an endpoint was turned off (``webhooks/off_letters.py``)."""
        self._database = database
        self._clock = clock
        self._log = log
        self.deliverer = Deliverer(
            [
                Dispatches(database, worker_id, kek, clock, _draw, origins, tell),
                Callbacks(database, worker_id, kek, clock, _draw, os.urandom),
            ],
            fetcher,
            clock,
            log,
        )
        self._loops: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await webhook_sending.take_over(self._database)
        self._loops = [
            asyncio.create_task(self.deliverer.run(), name="webhooks"),
            asyncio.create_task(self._look_forever(), name="webhooks-look"),
        ]

    async def stop(self) -> None:
        for task in self._loops:
            task.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        await self.deliverer.stop(STOP_S)
        self._loops = []

    async def tried(self, org_id: str, endpoint_id: str, dispatch_id: str, within_s: float) -> bool:
        """Wakes the deliverer, and waits at most so long for the dispatch's first attempt."""
        self.deliverer.wake()
        ends_us = self._clock.monotonic_us() + int(within_s * _US)
        while self._clock.monotonic_us() < ends_us:
            async with self._database.read() as conn:
                found = await webhook_sending.dispatch_by_id(conn, org_id, endpoint_id, dispatch_id)
            if found is None or found.delivered_us or found.last_error:
                return found is not None
            await asyncio.sleep(TRIED_POLL_S)
        return False

    async def _look_forever(self) -> None:
        while True:
            try:
                await self.look()
            except Exception as error:
                self._log.write("error", "webhooks_look", error=repr(error)[:300])
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Tell of keys that expire soon (each once), forget what is old."""
        now_us = self._clock.wall_us()
        now_s = now_us // _US
        async with self._database.read() as conn:
            keys = await webhook_endpoints.keys_expiring(conn, now_s, now_s + EXPIRING_S)
        for row in keys:
            async with self._database.begin() as conn:
                await publish_key(conn, "key.expiring", row, now_us)
        if keys:
            self.deliverer.wake()
        async with self._database.begin() as conn:
            await webhook_sending.forget_before(conn, now_us - KEPT_US)


def _draw() -> int:
    return random.getrandbits(30)
