"""What the status page says: each model by its routes, now, hour by hour and day by day.

A model is as well as its best route, because a request moves on when a route fails. Days are UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from tokenmarket.core.catalog import Catalog, Route
from tokenmarket.core.routing import RouteState
from tokenmarket.reports.routes import Hour, RouteFigures, RouteMeasurements
from tokenmarket.store import route_rows
from tokenmarket.store.database import Database
from tokenmarket.store.route_rows import HOUR_US

Condition = Literal["operational", "degraded", "down", "no_data"]

DAYS = 90
DEGRADED_BELOW = 0.95  # of the attempts of the present and the last hour
DAY_US = 24 * HOUR_US


class RouteStatus(NamedTuple):
    """One route of a model. ``reason``: why it is not used now, for people; None if it is."""

    provider: str
    condition: Condition
    reason: str | None
    figures: RouteFigures | None


class DayStatus(NamedTuple):
    """One day of one model: attempts at all of its routes."""

    day: int  # since 1970, UTC
    good: int
    failed: int


class ModelStatus(NamedTuple):
    """``hours`` and ``availability_24h`` are those of the best route that has data."""

    model_id: str
    condition: Condition
    availability_24h: float | None
    hours: tuple[Hour, ...]
    routes: tuple[RouteStatus, ...]
    days: tuple[DayStatus, ...]


class StatusReport(NamedTuple):
    """``condition`` is the worst of the models with data."""

    condition: Condition
    at_us: int
    models: tuple[ModelStatus, ...]


async def status_report(
    database: Database,
    measurements: RouteMeasurements,
    catalog: Catalog,
    route_state: Callable[[Route], RouteState],
    now_us: int,
) -> StatusReport:
    """Every model that has an enabled route, in the catalog's order."""
    targets = await measurements.targets(now_us)
    first_day = now_us // DAY_US - DAYS + 1
    async with database.read() as conn:
        rows = await route_rows.days(conn, first_day * DAY_US)
    by_target: dict[tuple[str, str], list[tuple[int, int, int]]] = {}
    for day, provider, upstream_model, good, failed in rows:
        by_target.setdefault((provider, upstream_model), []).append((day, good, failed))
    models = [
        _model(model_id, enabled, targets, route_state, by_target, first_day)
        for model_id, routes in catalog.routes.items()
        if (enabled := [route for route in routes if route.enabled and route.provider.enabled])
    ]
    return StatusReport(worst([model.condition for model in models]), now_us, tuple(models))


def worst(conditions: list[Condition]) -> Condition:
    """Of several things; what has no data does not count."""
    return _first(("down", "degraded", "operational"), conditions)


def best(conditions: list[Condition]) -> Condition:
    """Of the routes of one model: a request goes on to the next."""
    return _first(("operational", "degraded", "down"), conditions)


def _first(order: tuple[Condition, ...], conditions: list[Condition]) -> Condition:
    for condition in order:
        if condition in conditions:
            return condition
    return "no_data"


def _model(
    model_id: str,
    routes: list[Route],
    targets: Mapping[tuple[str, str], RouteFigures],
    route_state: Callable[[Route], RouteState],
    by_target: Mapping[tuple[str, str], list[tuple[int, int, int]]],
    first_day: int,
) -> ModelStatus:
    found: list[RouteStatus] = []
    days: dict[int, tuple[int, int]] = {}
    for route in routes:
        target = (route.provider.name, route.upstream_model)
        figures = targets.get(target)
        state = route_state(route)
        found.append(
            RouteStatus(route.provider.name, _condition(state, figures), state.reason, figures)
        )
        for day, good, failed in by_target.get(target, ()):
            before = days.get(day, (0, 0))
            days[day] = (before[0] + good, before[1] + failed)
    measured = [status.figures for status in found if status.figures is not None]
    strongest = max(measured, key=lambda one: one.availability_24h or 0.0, default=None)
    return ModelStatus(
        model_id,
        best([status.condition for status in found]),
        None if strongest is None else strongest.availability_24h,
        () if strongest is None else strongest.hours,
        tuple(found),
        tuple(DayStatus(day, *days.get(day, (0, 0))) for day in range(first_day, first_day + DAYS)),
    )


def _condition(state: RouteState, figures: RouteFigures | None) -> Condition:
    """A route without a key was never offered to anybody; one that rests is down now."""
    if not state.available:
        return "no_data" if state.kind == "missing" else "down"
    if figures is None:
        return "no_data"
    good = sum(hour.good for hour in figures.hours[-2:])
    failed = sum(hour.failed for hour in figures.hours[-2:])
    if good + failed == 0:
        return "operational" if figures.attempts else "no_data"
    if good == 0:
        return "down"
    return "operational" if good >= DEGRADED_BELOW * (good + failed) else "degraded"
