"""Proofs of the books on demand, and what providers cost us against what we charged.

A proof reads every table and journal and computes for a while, so it runs in a thread with an event
loop and a database connection of its own; requests do not notice it.
"""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from tokenmarket.accounts.admin import NotThere, Taken
from tokenmarket.billing.clock import Clock
from tokenmarket.billing.verify import Difference, verify
from tokenmarket.billing.wallet import Wallet
from tokenmarket.core import ids
from tokenmarket.core.catalog import Catalog
from tokenmarket.core.pricing import charge, unpriced_units
from tokenmarket.core.texts import N_
from tokenmarket.reports.periods import day_start_us, local_day
from tokenmarket.store import accounts as rows
from tokenmarket.store import recon_rows
from tokenmarket.store.database import Connection, Database
from tokenmarket.store.money_checks import record_run
from tokenmarket.store.recon_rows import RouteUse, Run


class ProviderBalance(msgspec.Struct, frozen=True):
    """One provider over a time. ``cost_nano`` is of the requests whose route has cost rows, those
    charged ``covered_nano``; ``uncosted`` requests have none, so nothing is known of their cost."""

    provider: str
    requests: int
    charge_nano: int
    covered_nano: int
    cost_nano: int
    uncosted: int


class Proofs:
    """At most one proof at a time in this process."""

    def __init__(
        self, database: Database, wallet: Wallet, journal_root: Path, clock: Clock
    ) -> None:
        self._database = database
        self._wallet = wallet
        self._journal_root = journal_root
        self._clock = clock
        self._running: asyncio.Task[str] | None = None
        self.problem: str | None = None  # why the last one could not be made

    @property
    def running(self) -> bool:
        return self._running is not None and not self._running.done()

    async def begin(self, actor: str) -> None:
        """Starts one; it is in the list when it has ended. Raises Taken while one runs."""
        if self.running:
            raise Taken(N_("A proof is running already."))
        now_us = self._clock.wall_us()
        async with self._database.begin() as conn:
            await rows.append_audit(conn, now_us, actor, "ledger.verify", "ledger", {})
        self.problem = None
        self._running = asyncio.get_running_loop().create_task(self.run())
        self._running.add_done_callback(self._ended)

    async def run(self) -> str:
        """One proof from beginning to end; the id of the run."""
        started_us = self._clock.wall_us()
        await self._wallet.flush()
        found = await asyncio.to_thread(
            lambda: asyncio.run(_verify_beside(self._database.path, self._journal_root))
        )
        run_id = ids.new_id("rec", started_us, os.urandom(ids.RANDOM_BYTES))
        await record_run(
            self._database,
            run_id,
            started_us,
            self._clock.wall_us(),
            [(one.rule, one.subject, one.expected, one.actual) for one in found],
        )
        return run_id

    async def stop(self) -> None:
        """Wait for a running one: it writes its result."""
        if self._running is not None:
            await asyncio.wait([self._running])

    def _ended(self, task: asyncio.Task[str]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self.problem = repr(task.exception())[:300]


async def _verify_beside(path: Path, journal_root: Path) -> list[Difference]:
    database = await Database.open(path, beside=True)
    try:
        return await verify(database, journal_root)
    finally:
        await database.close()


async def find_run(conn: Connection, run_id: str) -> Run:
    """Raises NotThere."""
    found = await recon_rows.run_by_id(conn, run_id) if ids.is_id(run_id, "rec") else None
    if found is None:
        raise NotThere(N_("There is no such proof."))
    return found


def midnight_us(now_us: int, zone: ZoneInfo, days: int) -> int:
    """When the last ``days`` days, of which today is one, began in the zone."""
    return day_start_us(local_day(now_us, zone) - timedelta(days=days - 1), zone)


async def provider_balances(
    database: Database, catalog: Catalog, from_us: int, to_us: int
) -> list[ProviderBalance]:
    """By provider. Costs are at the present cost rows, and only where these depend on nothing but
    the units; what they do not cover is said, never guessed."""
    async with database.read() as conn:
        used = await recon_rows.route_use(conn, from_us, to_us)
    by_provider: dict[str, list[tuple[RouteUse, int | None]]] = {}
    for use in used:
        by_provider.setdefault(use.provider, []).append((use, _cost_nano(catalog, use)))
    return [
        ProviderBalance(
            provider=name,
            requests=sum(use.requests for use, _ in uses),
            charge_nano=sum(use.charge_nano for use, _ in uses),
            covered_nano=sum(use.charge_nano for use, cost in uses if cost is not None),
            cost_nano=sum(cost for _, cost in uses if cost is not None),
            uncosted=sum(use.requests for use, cost in uses if cost is None),
        )
        for name, uses in sorted(by_provider.items())
    ]


def _cost_nano(catalog: Catalog, use: RouteUse) -> int | None:
    for route in catalog.routes.get(use.model, ()):
        costs = route.costs
        if route.provider.name != use.provider or costs is None or not costs.plain:
            continue
        if unpriced_units(costs, use.usage):
            return None
        return charge(costs, use.usage)
    return None
