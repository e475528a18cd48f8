"""How the installation does right now, and the money of today: measured, nothing guessed."""

from __future__ import annotations

import shutil
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from tokenmarket.backoffice.cool_downs import cooling
from tokenmarket.billing.wallet import Wallet
from tokenmarket.core.catalog import Catalog, Route
from tokenmarket.core.routing import RouteState
from tokenmarket.reports import usage
from tokenmarket.reports.asking import Span
from tokenmarket.reports.periods import day_start_us, local_day
from tokenmarket.reports.usage import Sums
from tokenmarket.store import price_changes, recon_rows
from tokenmarket.store.database import Database
from tokenmarket.store.price_changes import PriceChange
from tokenmarket.store.usage_rollup import QUARTER_US
from tokenmarket.upstream.outbound import Outbound

DISK_LOW_SHARE = 0.1
CHANGES_SHOWN = 5


class Health(msgspec.Struct, frozen=True):
    """``sums`` and what is in ``metrics`` (``Wallet.metrics``): requests of all organisations since
    midnight of the zone, and this process's money. ``not_ready``: why no request is taken, or None.
    ``alerts`` are (provider, kind) of keys that a person must look at."""

    not_ready: str | None
    sums: Sums
    metrics: dict[str, int]
    cooling: list[tuple[Route, RouteState]]
    alerts: list[tuple[str, str]]
    disk_free_b: int
    disk_total_b: int
    last_proof: recon_rows.Run | None
    coming: list[PriceChange]

    @property
    def disk_low(self) -> bool:
        return self.disk_free_b < self.disk_total_b * DISK_LOW_SHARE


async def read_health(
    database: Database,
    wallet: Wallet,
    catalog: Catalog,
    outbound: Outbound,
    data_dir: Path,
    *,
    zone: ZoneInfo,
    now_us: int,
) -> Health:
    """Everything as it is now."""
    await wallet.flush()
    start_us = day_start_us(local_day(now_us, zone), zone)
    end_us = (now_us // QUARTER_US + 1) * QUARTER_US
    sums = await usage.total(database, None, Span(start_us, end_us, zone, "today"))
    async with database.read() as conn:
        proofs = await recon_rows.runs(conn, 1)
        coming = await price_changes.listed(conn, states=("scheduled",), limit=CHANGES_SHOWN)
    disk = shutil.disk_usage(data_dir)
    return Health(
        not_ready=wallet.ready(),
        sums=sums,
        metrics=wallet.metrics(),
        cooling=cooling(catalog, outbound),
        alerts=[
            (name, key.alert)
            for name in sorted(catalog.providers)
            for key in outbound.keys(name)
            if key.alert
        ],
        disk_free_b=disk.free,
        disk_total_b=disk.total,
        last_proof=proofs[0] if proofs else None,
        coming=coming,
    )
