"""The first page of the operator: how the installation does right now, and today's money."""

from __future__ import annotations

import shutil

from starlette.responses import Response

from tokenmarket.core.catalog import Route
from tokenmarket.core.routing import RouteState
from tokenmarket.reports import usage
from tokenmarket.reports.asking import Span
from tokenmarket.reports.periods import day_start_us, local_day
from tokenmarket.store import price_changes, recon_rows
from tokenmarket.store.usage_rollup import QUARTER_US
from tokenmarket.web.pages.admin.said import reading
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import OPERATOR
from tokenmarket.web.site.visit import Visit

DISK_LOW_SHARE = 0.1


async def page(visit: Visit) -> Response:
    """Everything measured now; counts of requests and money since midnight of the page's zone."""
    parts = visit.parts
    await parts.wallet.flush()
    zone = visit.time_zone
    start_us = day_start_us(local_day(visit.now_us, zone), zone)
    end_us = (visit.now_us // QUARTER_US + 1) * QUARTER_US
    sums = await usage.total(parts.database, None, Span(start_us, end_us, zone, "today"))
    async with reading(visit) as conn:
        proofs = await recon_rows.runs(conn, 1)
        coming = await price_changes.listed(conn, states=("scheduled",), limit=5)
    disk = shutil.disk_usage(parts.config.data_dir)
    return await visit.render(
        "admin/health.html",
        sums=sums,
        metrics=parts.wallet.metrics(),
        not_ready=parts.wallet.ready(),
        cooling=_cooling(visit),
        alerts=[
            (name, key.alert)
            for name in sorted(parts.catalog.current.providers)
            for key in parts.outbound.keys(name)
            if key.alert
        ],
        disk=disk,
        disk_low=disk.free < disk.total * DISK_LOW_SHARE,
        last_proof=proofs[0] if proofs else None,
        coming=coming,
        zone=str(visit.time_zone),
    )


def _cooling(visit: Visit) -> list[tuple[Route, RouteState]]:
    """Routes whose breaker is open or whose keys rest."""
    return [
        (route, state)
        for some in visit.parts.catalog.current.routes.values()
        for route in some
        if (state := visit.parts.outbound.state(route)).kind == "cooling"
    ]


PAGES = [Page("/{lang}/admin", page, OPERATOR)]
