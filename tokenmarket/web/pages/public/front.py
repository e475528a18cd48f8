"""The first page, the status page, and the choice of a currency."""

from __future__ import annotations

from starlette.responses import Response

from tokenmarket.catalog import usable
from tokenmarket.reports.status import ModelStatus, status_report
from tokenmarket.web.pages.public import offers, samples
from tokenmarket.web.pages.public.marketplace import hour_marks
from tokenmarket.web.site.cookies import CURRENCY
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import PUBLIC
from tokenmarket.web.site.visit import CURRENCIES, Visit


async def landing(visit: Visit) -> Response:
    """What this is, a first request, and what is here now: counted, not claimed."""
    parts = visit.parts
    catalog, credentialed = parts.catalog.current, parts.catalog.credentialed
    here = [model for model in catalog.models.values() if model.enabled]
    ready = {
        model.id
        for model in here
        for route in catalog.routes.get(model.id, ())
        if usable(route, credentialed)
    }
    operations, _, providers = offers.facets(catalog)
    return await visit.render(
        "public/landing.html",
        models=len(here),
        ready=len(ready),
        providers=len(providers),
        kinds=[
            (operation, sum(model.operation == operation for model in here))
            for operation in operations
        ],
        sign_up=await parts.identity.sign_up_mode() == "open",
        samples=samples.samples("chat", "sandbox-chat", f"{parts.base_url()}/api/v1"),
    )


async def status(visit: Visit) -> Response:
    """What was measured of every model that had traffic, and whether the gateway admits."""
    parts = visit.parts
    report = await status_report(
        parts.database,
        parts.measurements,
        parts.catalog.current,
        parts.outbound.state,
        visit.now_us,
    )
    measured = [model for model in report.models if model.availability_24h is not None]
    return await visit.render(
        "public/status.html",
        report=report,
        models=[(model, _name(visit, model), _marks(model)) for model in measured],
        quiet=len(report.models) - len(measured),
        ready=parts.wallet.ready(),
    )


async def currency(visit: Visit) -> Response:
    """Remember the currency that prices are shown in, and go back."""
    code = visit.params["code"]
    if code not in CURRENCIES:
        raise visit.not_found()
    response = visit.redirect(visit.query.get("next", visit.url("/models")))
    visit.site.cookies.remember(response, CURRENCY, code)
    return response


def _name(visit: Visit, status: ModelStatus) -> str:
    model = visit.parts.catalog.current.models[status.model_id]
    return model.name_zh if visit.lang == "zh" else model.name_en


def _marks(status: ModelStatus) -> list[str]:
    figures = [route.figures for route in status.routes if route.figures is not None]
    best = max(figures, key=lambda found: found.availability_24h or 0.0, default=None)
    return hour_marks(best)


PAGES = [
    Page("/{lang}/", landing, PUBLIC),
    Page("/{lang}/status", status, PUBLIC),
    Page("/{lang}/currency/{code}", currency, PUBLIC),
]
