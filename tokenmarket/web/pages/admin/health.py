"""The first page of the operator: how the installation does right now, and today's money."""

from __future__ import annotations

from starlette.responses import Response

from tokenmarket.backoffice.health import read_health
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import OPERATOR
from tokenmarket.web.site.visit import Visit


async def page(visit: Visit) -> Response:
    """Everything measured now; counts of requests and money since midnight of the page's zone."""
    parts = visit.parts
    health = await read_health(
        parts.database,
        parts.wallet,
        parts.catalog.current,
        parts.outbound,
        parts.config.data_dir,
        zone=visit.time_zone,
        now_us=visit.now_us,
    )
    return await visit.render("admin/health.html", health=health, zone=str(visit.time_zone))


PAGES = [Page("/{lang}/admin", page, OPERATOR)]
