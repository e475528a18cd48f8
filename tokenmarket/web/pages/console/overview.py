"""The overview of an organisation: figures beside those of the time before, spend by model, the
balance, how its models' routes do, the newest requests."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from markupsafe import Markup
from starlette.responses import Response

from tokenmarket.core.roles import may
from tokenmarket.reports import prices
from tokenmarket.reports.asking import Asked, read_span
from tokenmarket.reports.names import names_of
from tokenmarket.reports.usage import METRICS, Sums, Usage, by_day, usage
from tokenmarket.store.usage_rollup import DAY_US, QUARTER_US
from tokenmarket.store.usage_sums import values_between
from tokenmarket.web.pages.drawn import metric_name, usage_chart
from tokenmarket.web.pages.public.marketplace import model_path
from tokenmarket.web.site import charts, formats
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import member
from tokenmarket.web.site.visit import Visit

RANGES = ("7d", "30d", "90d")
RECENT = 8
MODELS = 6
NOTICE_US = 30 * DAY_US  # a model that was used in this time is of interest
FIRST_BYTES = 1_000  # of how many of the newest requests the median is taken


class ModelHealth(NamedTuple):
    """A model by its best route over 24 hours; None: no data yet."""

    model_id: str
    routes: int
    availability: float | None
    bar: Markup | None


async def page(visit: Visit) -> Response:
    """``range`` is one of RANGES, ``metric`` what the chart shows."""
    org_id, parts = visit.params["org"], visit.parts
    wanted = visit.query.get("range", "30d")
    span = read_span(
        {"range": wanted if wanted in RANGES else "30d"}, visit.time_zone, visit.now_us
    )
    asked = Asked(span)
    metric = visit.query.get("metric", "charge")
    if metric not in METRICS:
        metric = "charge"
    found = await parts.reports.requests.listing(org_id, asked, limit=RECENT)
    report = await usage(parts.database, org_id, asked, "model", None, metric)
    async with parts.database.read() as conn:
        names = await names_of(conn, org_id)
    first_bytes = await parts.reports.requests.first_bytes_ms(org_id, span, FIRST_BYTES)
    base = visit.url("@")
    sees_money = may(visit.role or "", "billing.view")

    def link(range_: str, metric_: str) -> str:
        return f"{base}?range={range_}&metric={metric_}"

    return await visit.render(
        "console/overview.html",
        nav="overview",
        span=span,
        report=report,
        sparks=_sparks(report),
        change=partial(change, visit),
        first_bytes=first_bytes,
        quantile=quantile,
        drawn=usage_chart(visit, report, metric, str),
        metric=metric,
        metrics=[(metric_name(visit, one), link(span.name, one), one == metric) for one in METRICS],
        ranges=[
            (visit.n_("{n} day", "{n} days", days), link(name, metric), name == span.name)
            for name, days in zip(RANGES, (7, 30, 90), strict=True)
        ],
        names=names,
        found=found,
        balance=await parts.wallet.balance(org_id) if sees_money else None,
        alert=await parts.payments.alerts.of(org_id) if sees_money else None,
        health=await _health(visit, report),
        csv=f"{visit.url('@/usage/csv')}?range={span.name}&by=model",
        changes=await _price_changes(visit),
    )


async def _price_changes(visit: Visit) -> list[tuple[prices.Change, str]]:
    """Announced ones of models that were used in the last 30 days, and where to read more."""
    org_id, now_us = visit.params["org"], visit.now_us
    catalog = visit.parts.catalog.current
    to_us = now_us - now_us % QUARTER_US + QUARTER_US
    async with visit.parts.database.read() as conn:
        coming = await prices.announced(conn)
        if not coming:
            return []
        values = await values_between(conn, org_id, to_us - NOTICE_US, to_us)
    used = {value for dimension, value in values if dimension == "model"}
    return [
        (change, visit.url(model_path(catalog.models[change.model])))
        for change in coming
        if change.model in used and change.model in catalog.models
    ]


def _sparks(report: Usage) -> dict[str, Markup]:
    days = by_day(report)
    return {
        "charge": charts.sparkline([day.charge_nano for day in days]),
        "requests": charts.sparkline([day.requests for day in days]),
        "tokens": charts.sparkline([day.tokens for day in days]),
        "success": charts.sparkline([success(day) for day in days]),
    }


def success(some: Sums) -> float | None:
    """Share of requests that succeeded; None without requests."""
    return None if some.requests == 0 else (some.requests - some.failed) / some.requests


def change(visit: Visit, now: int, then: int) -> str:
    """In words, against the time before."""
    if then == 0:
        return visit._("Nothing in the period before")
    share = (now - then) / then
    arrow = "▲" if share > 0 else "▼" if share < 0 else "＝"
    text = formats.percent(visit.lang, abs(share))
    said = visit._("{share} vs previous period", share=text)
    return f"{arrow} {said}"


def quantile(values: list[float], share: float) -> float | None:
    """Of ascending values: the smallest one that is not below the share of them."""
    if not values:
        return None
    return values[min(len(values) - 1, int(share * len(values)))]


async def _health(visit: Visit, report: Usage) -> list[ModelHealth]:
    """Of the models that were used most."""
    parts = visit.parts
    catalog = parts.catalog.current
    figures = await parts.measurements.snapshot(catalog, visit.now_us)
    found: list[ModelHealth] = []
    for row in report.rows:
        routes = catalog.routes.get(row.name, ())
        if not routes or row.sums.requests == 0 or len(found) == MODELS:
            continue
        measured = [
            one
            for route in routes
            if (one := figures.get((row.name, route.provider.name))) is not None
        ]
        best = max(measured, key=lambda one: one.availability_24h or 0.0, default=None)
        bar = None
        if best is not None:
            label = visit._("Availability of {model}, hour by hour", model=row.name)
            bar = charts.availability_bar([hour.availability for hour in best.hours], label)
        share = None if best is None else best.availability_24h
        found.append(ModelHealth(row.name, len(routes), share, bar))
    return found


PAGES = [Page("/{lang}/console/{org}", page, member("view"))]
