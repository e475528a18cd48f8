"""Management endpoints of the operator about routes: order, share, price in force, cool-downs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from tokenmarket.accounts.admin import Refused
from tokenmarket.backoffice import catalog_edits, cool_downs
from tokenmarket.backoffice.catalog_edits import RouteWishes
from tokenmarket.core.catalog import Route
from tokenmarket.core.catalog_rows import PriceEntry, RouteRow
from tokenmarket.core.price_terms import terms_of
from tokenmarket.core.routing import RouteState
from tokenmarket.reports.routes import RouteFigures
from tokenmarket.web.manage.endpoint import OPERATOR, Call, Deleted, Endpoint, Listing, page
from tokenmarket.web.manage.pricing import PriceRowBody

_TAG = "supply"
_Name = Annotated[str, msgspec.Meta(max_length=300)]


class RouteBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A route as it shall be. Without ``upstream_model`` it stays; a new route then uses the
    model's own id."""

    upstream_model: _Name | None = None
    priority: int = 0
    weight: int = 1
    enabled: bool = True


class RouteObject(msgspec.Struct, kw_only=True):
    """A route with its live state and its price in force, before the markup. ``changed``: it is not
    as shipped. Figures are of the last 24 hours; null: no data yet."""

    object: Literal["route"] = "route"
    model: str
    provider: str
    upstream_model: str
    priority: int
    weight: int
    enabled: bool
    changed: bool
    available: bool
    reason: str | None
    price: list[PriceRowBody]
    cost: list[PriceRowBody]
    markup_percent: str
    price_version: str
    attempts_24h: int | None
    failures_24h: int | None
    ttft_ms_p50: float | None
    tokens_per_s: float | None


class CoolDown(msgspec.Struct, kw_only=True):
    """A route that takes no requests for a while, in this server."""

    object: Literal["cool_down"] = "cool_down"
    model: str
    provider: str
    reason: str | None
    retry_after_s: float | None


class _Seen(msgspec.Struct, frozen=True):
    """What is known beside the rows of the catalog."""

    own: set[tuple[str, ...]]
    live: dict[tuple[str, str], Route]
    figures: Mapping[tuple[str, str], RouteFigures]
    off: set[str]  # providers that are switched off


async def list_routes(call: Call) -> Listing[RouteObject]:
    model, provider = call.query.get("model"), call.query.get("provider")
    rows, seen = await _read(call)
    found = [
        row
        for row in rows
        if model in (None, "", row.model)
        and provider in (None, "", row.provider)
        and _cursor(row) > call.cursor
    ]
    shown = page(sorted(found, key=_cursor), call.limit, _cursor)
    return Listing(
        data=[_route(call, row, seen) for row in shown.data], next_cursor=shown.next_cursor
    )


async def show_route(call: Call) -> RouteObject:
    return await _one(call)


async def put_route(call: Call) -> RouteObject:
    body: RouteBody = call.body
    model, provider = key = _key(call)
    shipped = call.parts.catalog.shipped
    async with call.parts.database.begin() as conn:
        document = await catalog_edits.in_force(conn, shipped)
        before = [row for row in document.routes if (row.model, row.provider) == key]
        if not before and all(row.model.id != model for row in document.models):
            raise Refused("There is no such model.")
        upstream_model = body.upstream_model or (before[0].upstream_model if before else model)
        wishes = RouteWishes(upstream_model, body.priority, body.weight, body.enabled)
        await catalog_edits.put_route(
            conn, shipped, (model, provider), wishes, now_us=call.now_us, actor=call.actor
        )
    return await _one(call)


async def reset_route(call: Call) -> Deleted:
    key = _key(call)
    async with call.parts.database.begin() as conn:
        shipped, now_us = call.parts.catalog.shipped, call.now_us
        await catalog_edits.reset(conn, shipped, "route", key, now_us=now_us, actor=call.actor)
    return Deleted(id=" at ".join(key))


async def list_cool_downs(call: Call) -> Listing[CoolDown]:
    found = [
        CoolDown(
            model=route.model.id,
            provider=route.provider.name,
            reason=state.reason,
            retry_after_s=state.retry_after_s,
        )
        for route, state in cool_downs.cooling(call.parts.catalog.current, call.parts.outbound)
    ]
    rest = [one for one in sorted(found, key=_cursor) if _cursor(one) > call.cursor]
    return page(rest, call.limit, _cursor)


async def end_cool_downs(call: Call) -> Deleted:
    parts, name = call.parts, call.params["provider"]
    await cool_downs.end_of_provider(
        parts.database,
        parts.catalog.current,
        parts.outbound,
        name,
        now_us=call.now_us,
        actor=call.actor,
    )
    return Deleted(id=name)


async def end_cool_down(call: Call) -> Deleted:
    parts, key = call.parts, _key(call)
    await cool_downs.end_of_route(
        parts.database,
        parts.catalog.current,
        parts.outbound,
        key,
        now_us=call.now_us,
        actor=call.actor,
    )
    return Deleted(id=" at ".join(key))


async def _read(call: Call) -> tuple[tuple[RouteRow, ...], _Seen]:
    parts = call.parts
    async with parts.database.read() as conn:
        document = await catalog_edits.in_force(conn, parts.catalog.shipped)
        own = await catalog_edits.own_rows(conn)
    live = {
        (name, route.provider.name): route
        for name, some in parts.catalog.current.routes.items()
        for route in some
    }
    off = {row.provider.name for row in document.providers if not row.provider.enabled}
    figures = await parts.measurements.targets(call.now_us)
    return document.routes, _Seen(own, live, figures, off)


async def _one(call: Call) -> RouteObject:
    """Raises NotThere."""
    rows, seen = await _read(call)
    row = catalog_edits.find_route(catalog_edits.CatalogDocument(routes=rows), _key(call))
    return _route(call, row, seen)


def _route(call: Call, row: RouteRow, seen: _Seen) -> RouteObject:
    """A route that was just written is in no snapshot yet: it is not available until it is."""
    route = seen.live.get((row.model, row.provider))
    state = RouteState(available=False, kind="missing", reason="not yet taken up by this server")
    if route is not None:
        state = call.parts.outbound.state(route)
    terms = terms_of(row)
    figures = seen.figures.get((row.provider, row.upstream_model))
    enabled = row.enabled and row.provider not in seen.off
    return RouteObject(
        model=row.model,
        provider=row.provider,
        upstream_model=row.upstream_model,
        priority=row.priority,
        weight=row.weight,
        enabled=row.enabled,
        changed=("route", row.model, row.provider) in seen.own,
        available=enabled and state.available and (route is None or route.unpriced is None),
        reason=state.reason,
        price=_rows(terms.price),
        cost=_rows(terms.cost),
        markup_percent=terms.markup_percent,
        price_version=terms.sheet().version,
        attempts_24h=None if figures is None else figures.attempts,
        failures_24h=None if figures is None else figures.failures,
        ttft_ms_p50=None if figures is None else figures.ttft_ms_p50,
        tokens_per_s=None if figures is None else figures.tokens_per_s,
    )


def _rows(entries: tuple[PriceEntry, ...]) -> list[PriceRowBody]:
    return [
        PriceRowBody(
            unit=one.unit, usd=one.usd, when=dict(one.when), context_above=one.context_above
        )
        for one in entries
    ]


def _key(call: Call) -> tuple[str, str]:
    return call.params["model"], call.params["provider"]


def _cursor(one: RouteRow | CoolDown) -> str:
    return f"{one.model} {one.provider}"


_FILTERS = (("model", "Only of this model."), ("provider", "Only at this provider."))
_ONE = "/admin/routes/{provider}/{model}"
_REST = "/admin/cool-downs/{provider}"
ENDPOINTS = [
    Endpoint(
        "GET",
        "/admin/routes",
        OPERATOR,
        list_routes,
        None,
        Listing[RouteObject],
        "All routes with their live state.",
        _TAG,
        query=_FILTERS,
    ),
    Endpoint("GET", _ONE, OPERATOR, show_route, None, RouteObject, "One route.", _TAG),
    Endpoint(
        "PUT",
        _ONE,
        OPERATOR,
        put_route,
        RouteBody,
        RouteObject,
        "Changes a route, or adds it; requests take a new one when it has a price.",
        _TAG,
    ),
    Endpoint(
        "DELETE",
        _ONE,
        OPERATOR,
        reset_route,
        None,
        Deleted,
        "Takes back what was changed: route and price are as shipped, or gone if added.",
        _TAG,
    ),
    Endpoint(
        "GET",
        "/admin/cool-downs",
        OPERATOR,
        list_cool_downs,
        None,
        Listing[CoolDown],
        "Routes that cool down after failures.",
        _TAG,
    ),
    Endpoint(
        "DELETE",
        _REST,
        OPERATOR,
        end_cool_downs,
        None,
        Deleted,
        "Ends the cool-downs of a provider and its keys.",
        _TAG,
    ),
    Endpoint(
        "DELETE",
        f"{_REST}/{{model}}",
        OPERATOR,
        end_cool_down,
        None,
        Deleted,
        "Ends the cool-down of one route.",
        _TAG,
    ),
]
