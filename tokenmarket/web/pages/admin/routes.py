"""Routes: which model goes where, in which order, and how it does right now."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from tokenmarket.accounts.admin import NotThere
from tokenmarket.backoffice import catalog_edits, cool_downs, prices
from tokenmarket.backoffice.catalog_edits import RouteWishes
from tokenmarket.core.catalog import Route
from tokenmarket.core.catalog_rows import RouteRow
from tokenmarket.core.routing import RouteState
from tokenmarket.reports.routes import RouteFigures
from tokenmarket.store import price_changes
from tokenmarket.web.pages.admin.said import WRONG, Entries, reading, said, shipped, whole
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import OPERATOR
from tokenmarket.web.site.visit import Visit

PAGE_ROUTES = 100


class Line(msgspec.Struct, frozen=True):
    """One route with its live state; ``figures`` None: no traffic in 24 hours."""

    route: Route
    state: RouteState
    figures: RouteFigures | None
    own: bool


async def listing(visit: Visit) -> Response:
    """All routes by model; filters by text, provider and state."""
    query = visit.query
    text, provider, wanted = (query.get(name, "") for name in ("q", "provider", "state"))
    async with reading(visit) as conn:
        own = await catalog_edits.own_rows(conn)
    figures = await visit.parts.measurements.targets(visit.now_us)
    found = [
        line
        for _, some in sorted(visit.parts.catalog.current.routes.items())
        for route in some
        if text.lower() in route.model.id.lower() and provider in ("", route.provider.name)
        for line in [_line(visit, route, figures.get(_target(route)), own)]
        if wanted in ("", _kind(line))
    ]
    start = int(query["start"]) if query.get("start", "").isdecimal() else 0
    return await visit.render(
        "admin/routes.html",
        lines=[(line, _kind(line)) for line in found[start : start + PAGE_ROUTES]],
        total=len(found),
        start=start,
        page_routes=PAGE_ROUTES,
        providers=[(name, name) for name in sorted(visit.parts.catalog.current.providers)],
        chosen={"q": text, "provider": provider, "state": wanted},
    )


async def detail(visit: Visit) -> Response:
    """One route: order, state, price and its history."""
    return await _detail(visit, {})


async def act(visit: Visit) -> Response:
    """Takes every form of the detail page; ``action`` says which."""
    provider, model = visit.params["provider"], visit.params["model"]
    action, known = visit.form.get("action", ""), shipped(visit)
    flash = ("ok", visit._("Saved."))
    try:
        if action == "reset":
            await cool_downs.end_of_route(
                visit.parts.database,
                visit.parts.catalog.current,
                visit.parts.outbound,
                (model, provider),
                now_us=visit.now_us,
                actor=visit.actor,
            )
            flash = ("ok", visit._("Breakers are closed and keys rested enough."))
        else:
            async with visit.parts.database.begin() as conn:
                now_us, actor = visit.now_us, visit.actor
                if action == "shipped":
                    await catalog_edits.reset(
                        conn, known, "route", (model, provider), now_us=now_us, actor=actor
                    )
                else:
                    await catalog_edits.change_route(
                        conn, known, (model, provider), _wishes(visit), now_us=now_us, actor=actor
                    )
    except NotThere as error:
        if action != "shipped":
            raise visit.not_found() from None
        flash = ("bad", said(visit, error))
    except WRONG as error:
        return await _detail(visit, {"": said(visit, error)})
    except ValueError:
        return await _detail(visit, {"": visit._("Write whole numbers, or leave a field empty.")})
    return visit.redirect(visit.url(f"/admin/routes/{provider}/{model}"), flash=flash)


async def _detail(visit: Visit, errors: dict[str, str]) -> Response:
    provider, model = visit.params["provider"], visit.params["model"]
    async with reading(visit) as conn:
        document = await catalog_edits.in_force(conn, shipped(visit))
        row = catalog_edits.find_route(document, (model, provider))
        own = await catalog_edits.own_rows(conn)
        changes = await price_changes.listed(conn, model=model, provider=provider, limit=50)
    route = _find(visit, provider, model)
    figures = (await visit.parts.measurements.targets(visit.now_us)).get(_target(route))
    line = _line(visit, route, figures, own)
    return await visit.render(
        "admin/route.html",
        status=422 if errors else 200,
        line=line,
        kind=_kind(line),
        row=row,
        prices=prices.compare(_terms(row), _terms(row)).rows,
        changes=changes,
        errors=errors,
        entries=Entries(visit.form) if errors else msgspec.structs.asdict(row),
    )


def _terms(row: RouteRow) -> prices.PriceTerms:
    return prices.terms_of(row)


def _find(visit: Visit, provider: str, model: str) -> Route:
    try:
        return cool_downs.find_route(visit.parts.catalog.current, (model, provider))
    except NotThere:
        raise visit.not_found() from None


def _wishes(visit: Visit) -> RouteWishes:
    """Raises ValueError for what is no number."""
    form = visit.form
    return RouteWishes(
        upstream_model=form.get("upstream_model", "").strip(),
        priority=whole(form.get("priority", "")) or 0,
        weight=1 if (weight := whole(form.get("weight", ""))) is None else weight,
        enabled=form.get("enabled") == "1",
    )


def _line(
    visit: Visit, route: Route, figures: RouteFigures | None, own: set[tuple[str, ...]]
) -> Line:
    key = ("route", route.model.id, route.provider.name)
    return Line(route, visit.parts.outbound.state(route), figures, key in own)


def _target(route: Route) -> tuple[str, str]:
    return route.provider.name, route.upstream_model


def _kind(line: Line) -> str:
    """off, cooling, limit, missing (a key) or ok."""
    route = line.route
    if not route.enabled or not route.provider.enabled:
        return "off"
    if route.unpriced is not None:
        return "unpriced"
    return "ok" if line.state.available else str(line.state.kind or "cooling")


PAGES = [
    Page("/{lang}/admin/routes", listing, OPERATOR),
    Page("/{lang}/admin/routes/{provider}/{model:path}", detail, OPERATOR),
    Page("/{lang}/admin/routes/{provider}/{model:path}", act, OPERATOR, ("POST",)),
]
