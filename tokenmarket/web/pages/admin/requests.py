"""The requests of all organisations, for the operator: list and receipts of the console."""

from __future__ import annotations

from starlette.responses import Response

from tokenmarket.reports.names import names_of
from tokenmarket.reports.requests import Listing
from tokenmarket.store import report_names
from tokenmarket.web.pages.console.requests import (
    NOBODY_NAMES,
    list_context,
    pretty,
    read_filters,
)
from tokenmarket.web.pages.receipt_view import receipt_view
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import OPERATOR
from tokenmarket.web.site.visit import Visit


async def listing(visit: Visit) -> Response:
    """``org`` narrows it to one organisation."""
    parts = visit.parts
    org_id = visit.query.get("org") or None
    names = NOBODY_NAMES
    if org_id is not None:
        async with parts.database.read() as conn:
            names = await names_of(conn, org_id)
    asked, problems = read_filters(visit, "24h")
    base = visit.url("/admin/requests")
    shown = await list_context(visit, org_id, names, asked, base, org=org_id or "")
    if shown is None:
        return Response(status_code=204)
    found: Listing = shown["found"]
    orgs = {line.org_id for line in (*found.running, *found.lines)} | {org_id or ""}
    async with parts.database.read() as conn:
        org_names = await report_names.org_names(conn, sorted(orgs - {""}))
    return await visit.render(
        "admin/requests.html", problems=problems, org_id=org_id, org_names=org_names, **shown
    )


async def receipt(visit: Visit) -> Response:
    """One request of any organisation."""
    org_id = await _org(visit)
    told = await visit.parts.reports.requests.one(org_id, visit.params["id"])
    if told is None:
        raise visit.not_found()
    async with visit.parts.database.read() as conn:
        names = await names_of(conn, org_id)
        org_names = await report_names.org_names(conn, [org_id])
    return await visit.render(
        "admin/request.html",
        nav="requests",
        view=receipt_view(visit, told),
        names=names,
        org_id=org_id,
        org_name=org_names.get(org_id, org_id),
        back=visit.url("/admin/requests"),
        json_address=visit.url(f"/admin/requests/{visit.params['id']}/json"),
    )


async def receipt_json(visit: Visit) -> Response:
    """The document."""
    told = await visit.parts.reports.requests.one(await _org(visit), visit.params["id"])
    if told is None:
        raise visit.not_found()
    return Response(pretty(told.receipt), media_type="application/json")


async def _org(visit: Visit) -> str:
    """Whose request it is. Raises Answered(404)."""
    org_id = await visit.parts.reports.requests.org_of(visit.params["id"])
    if org_id is None:
        raise visit.not_found()
    return org_id


PAGES = [
    Page("/{lang}/admin/requests", listing, OPERATOR),
    Page("/{lang}/admin/requests/{id}", receipt, OPERATOR),
    Page("/{lang}/admin/requests/{id}/json", receipt_json, OPERATOR),
]
