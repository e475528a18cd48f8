"""The marketplace: the list of models, and one model with its routes, prices and code."""

from __future__ import annotations

from starlette.responses import Response

from tokenmarket.catalog import usable
from tokenmarket.core.catalog import Model
from tokenmarket.reports import prices
from tokenmarket.reports.routes import RouteFigures
from tokenmarket.web.pages.public import offers, samples
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import PUBLIC
from tokenmarket.web.site.rates import shown_in
from tokenmarket.web.site.visit import Visit


async def models(visit: Visit) -> Response:
    """Search, filters and order are in the address."""
    parts = visit.parts
    catalog = parts.catalog.current
    wanted = offers.choice(visit.query, catalog)
    found = offers.offers(catalog, parts.catalog.credentialed, wanted, visit.lang)
    operations, vendors, providers = offers.facets(catalog)
    return await visit.render(
        "public/models.html",
        offers=found,
        wanted=wanted,
        operations=operations,
        vendors=vendors,
        providers=providers,
        total=sum(model.enabled for model in catalog.models.values()),
        price_in=await shown_in(visit),
    )


async def model(visit: Visit) -> Response:
    """One model. An alias and a wrong vendor lead to the one address of the model."""
    parts = visit.parts
    found = parts.catalog.find_model(visit.params["model"])
    if found is None:
        raise visit.not_found()
    home = model_path(found)
    if (visit.params["vendor"], visit.params["model"]) != (found.vendor or "other", found.id):
        return visit.redirect(visit.url(home))
    catalog = parts.catalog.current
    figures = await parts.measurements.snapshot(catalog, visit.now_us)
    offered = [
        route
        for route in catalog.routes.get(found.id, ())
        if route.enabled and route.provider.enabled
    ]
    routes = [
        {
            "route": route,
            "lines": offers.price_lines(route),
            "ready": usable(route, parts.catalog.credentialed),
            "state": parts.outbound.state(route),
            "figures": figures.get((found.id, route.provider.name)),
            "hours": hour_marks(figures.get((found.id, route.provider.name))),
        }
        for route in offered
    ]
    async with parts.database.read() as conn:
        changes = await prices.history(conn, found.id, [route.provider.name for route in offered])
    return await visit.render(
        "public/model.html",
        model=found,
        name=found.name_zh if visit.lang == "zh" else found.name_en,
        routes=routes,
        reason=parts.catalog.unavailable_reason(found),
        features=offers.features(found),
        facts=_facts(found),
        samples=samples.samples(found.operation, found.id, f"{parts.base_url()}/api/v1"),
        changes=changes,
        price_in=await shown_in(visit),
    )


def model_path(model: Model) -> str:
    """The page of a model, without the language."""
    return f"/models/{model.vendor or 'other'}/{model.id}"


def hour_marks(figures: RouteFigures | None) -> list[str]:
    """Hour by hour for ``ui.uptime``: ok, warn, bad, or "" without traffic."""
    if figures is None:
        return []
    shares = [hour.availability for hour in figures.hours]
    return [
        "" if share is None else "ok" if share >= 0.99 else "warn" if share >= 0.9 else "bad"
        for share in shares
    ]


def _facts(model: Model) -> list[tuple[str, str]]:
    """Capabilities that are a value or a list of values, as text."""
    found: list[tuple[str, str]] = []
    for name, value in sorted(model.capabilities.items()):
        if isinstance(value, list):
            found.append((name.replace("_", " "), ", ".join(str(item) for item in value)))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        elif isinstance(value, str | int) and not isinstance(value, bool):
            found.append((name.replace("_", " "), str(value)))
    return found


PAGES = [
    Page("/{lang}/models", models, PUBLIC),
    Page("/{lang}/models/{vendor}/{model:path}", model, PUBLIC),
]
