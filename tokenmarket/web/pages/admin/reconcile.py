"""Reconciliation: proofs of the books, and what providers cost against what was charged."""

from __future__ import annotations

from starlette.responses import Response

from tokenmarket.backoffice.reconcile import find_run, midnight_us, provider_balances
from tokenmarket.store import recon_rows
from tokenmarket.web.pages.admin.said import WRONG, reading, said
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import OPERATOR
from tokenmarket.web.site.visit import Visit

DAYS = (1, 7, 30)


async def overview(visit: Visit) -> Response:
    """All runs, and the providers over the last days (from midnight in the page's zone)."""
    wanted = visit.query.get("days", "7")
    days = int(wanted) if wanted in {str(one) for one in DAYS} else 7
    parts = visit.parts
    from_us = midnight_us(visit.now_us, visit.time_zone, days)
    async with reading(visit) as conn:
        runs = await recon_rows.runs(conn)
    return await visit.render(
        "admin/reconcile.html",
        runs=runs,
        running=parts.proofs.running,
        problem=parts.proofs.problem,
        balances=await provider_balances(
            parts.database, parts.catalog.current, from_us, visit.now_us
        ),
        from_us=from_us,
        days=days,
        spans=DAYS,
        zone=str(visit.time_zone),
    )


async def begin(visit: Visit) -> Response:
    """Starts a proof."""
    here = visit.url("/admin/reconcile")
    try:
        await visit.parts.proofs.begin(visit.actor)
    except WRONG as error:
        return visit.redirect(here, flash=("warn", said(visit, error)))
    text = visit._("The proof runs; its result stands in the list when it is done.")
    return visit.redirect(here, flash=("ok", text))


async def run(visit: Visit) -> Response:
    """One run and its differences."""
    async with reading(visit) as conn:
        found = await find_run(conn, visit.params["run"])
        differences = await recon_rows.differences(conn, found.id)
    return await visit.render("admin/proof.html", run=found, differences=differences)


PAGES = [
    Page("/{lang}/admin/reconcile", overview, OPERATOR),
    Page("/{lang}/admin/reconcile", begin, OPERATOR, ("POST",)),
    Page("/{lang}/admin/reconcile/{run}", run, OPERATOR),
]
