"""Route figures: measured or None, the same after a restart, hours of the clock."""

from __future__ import annotations

import pytest

from tokenmarket.core.catalog import Catalog, Model, Provider, Route
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.pricing import PriceSheet
from tokenmarket.core.routing import AVAILABLE, RouteState
from tokenmarket.reports.routes import HOURS, RouteMeasurements, percentile_ms
from tokenmarket.reports.status import DAYS, status_report
from tokenmarket.store import route_rows
from tokenmarket.store.database import Database
from tokenmarket.store.route_rows import HOUR_US
from tokenmarket.upstream.health import Health

NOON_US = 1_795_435_200_000_000  # 2026-11-23 12:00 UTC
MINUTE_US = 60_000_000
MODEL = Model(id="m", operation="chat", name_en="m", name_zh="m", vendor="v")


def make_route(provider: str) -> Route:
    there = Provider(provider, "openai", "https://p.example/v1")
    return Route(MODEL, there, "up", PriceSheet("v1", ()))


ROUTE, OTHER = make_route("p"), make_route("q")
CATALOG = Catalog(
    1, {"p": ROUTE.provider, "q": OTHER.provider}, {"m": MODEL}, {"m": (ROUTE, OTHER)}, {}
)
BROKEN = UpstreamError("upstream_error", "500", status=500)


@pytest.fixture
def health() -> Health:
    return Health(lambda: 1000.0)


@pytest.fixture
def measurements(database: Database, health: Health) -> RouteMeasurements:
    return RouteMeasurements(database, health)


async def test_without_traffic_there_is_no_data(measurements: RouteMeasurements) -> None:
    await measurements.sample(NOON_US)
    assert await measurements.snapshot(CATALOG, NOON_US) == {("m", "p"): None, ("m", "q"): None}


async def test_what_was_counted_is_told(measurements: RouteMeasurements, health: Health) -> None:
    for first_byte_ms in (100, 100, 100, 900):
        health.success(ROUTE, first_byte_ms=first_byte_ms, tokens_per_s=50)
    health.failure(ROUTE, BROKEN)
    await measurements.sample(NOON_US)
    figures = (await measurements.snapshot(CATALOG, NOON_US))["m", "p"]
    assert figures is not None
    assert (figures.attempts, figures.failures) == (5, 1)
    assert figures.availability_24h == 0.8
    assert figures.tokens_per_s == 50
    assert figures.ttft_ms_p50 == pytest.approx(100, rel=0.13)
    assert figures.ttft_ms_p95 == pytest.approx(900, rel=0.13)
    assert [hour.availability for hour in figures.hours] == [None] * (HOURS - 1) + [0.8]


async def test_failures_alone_have_no_latency(
    measurements: RouteMeasurements, health: Health
) -> None:
    health.failure(ROUTE, BROKEN)
    await measurements.sample(NOON_US)
    figures = (await measurements.snapshot(CATALOG, NOON_US))["m", "p"]
    assert figures is not None
    assert figures.availability_24h == 0
    assert (figures.ttft_ms_p50, figures.ttft_ms_p95, figures.tokens_per_s) == (None, None, None)


async def test_a_restart_forgets_nothing(
    database: Database, measurements: RouteMeasurements, health: Health
) -> None:
    """The samples of an hour are folded when it has passed; the figures are the same before and
    after, and for a process that did not count any of it."""
    now_us = NOON_US + 59 * MINUTE_US
    for _ in range(3):
        health.success(ROUTE, first_byte_ms=100, tokens_per_s=40)
        health.failure(ROUTE, BROKEN)
        await measurements.sample(now_us)
        now_us += MINUTE_US
    again = RouteMeasurements(database, Health(lambda: 0.0))
    assert await again.targets(now_us) == await measurements.targets(now_us)
    figures = (await again.targets(now_us))["p", "up"]
    assert [(hour.good, hour.failed) for hour in figures.hours[-2:]] == [(1, 1), (2, 2)]
    await again.sample(now_us + HOUR_US)
    async with database.read() as conn:
        rows = await route_rows.since(conn, 0)
    assert sorted(row.at_us for row in rows) == [NOON_US, NOON_US + HOUR_US]  # folded
    figures = (await again.targets(now_us + HOUR_US))["p", "up"]
    assert (figures.attempts, figures.failures) == (6, 3)
    assert [(hour.good, hour.failed) for hour in figures.hours[-3:]] == [(1, 1), (2, 2), (0, 0)]


async def test_a_late_sample_is_added_to_its_hour(database: Database) -> None:
    sample = route_rows.Counts(NOON_US + 1, "p", "up", 1, 0, {3: 1}, 1, 5000)
    for _ in range(2):
        async with database.begin() as conn:
            await route_rows.add_samples(conn, [sample])
            await route_rows.fold(conn, NOON_US + HOUR_US)
    async with database.read() as conn:
        [row] = await route_rows.since(conn, 0)
    assert row == route_rows.Counts(NOON_US, "p", "up", 2, 0, {3: 2}, 2, 10_000)


async def test_a_day_later_it_is_gone_from_the_figures(
    measurements: RouteMeasurements, health: Health
) -> None:
    health.success(ROUTE)
    await measurements.sample(NOON_US)
    await measurements.sample(NOON_US + 24 * HOUR_US)
    assert await measurements.targets(NOON_US + 24 * HOUR_US) == {}


@pytest.mark.parametrize(("share", "low", "high"), [(0.5, 1.0, 1.125), (1.0, 2.0, 2.25)])
def test_percentiles_lie_in_their_class(share: float, low: float, high: float) -> None:
    found = percentile_ms({8: 10, 16: 1}, share)
    assert found is not None
    assert low <= found <= high


async def test_status_is_that_of_the_best_route(
    database: Database, measurements: RouteMeasurements, health: Health
) -> None:
    def state(route: Route) -> RouteState:
        return AVAILABLE if route is OTHER else RouteState(False, "cooling", "upstream_error")

    report = await status_report(database, measurements, CATALOG, state, NOON_US)
    assert [route.condition for route in report.models[0].routes] == ["down", "no_data"]
    for _ in range(20):
        health.success(OTHER)
        health.failure(ROUTE, BROKEN)
    await measurements.sample(NOON_US)
    await measurements.sample(NOON_US + HOUR_US)
    report = await status_report(database, measurements, CATALOG, state, NOON_US + HOUR_US)
    [model] = report.models
    assert (report.condition, model.condition) == ("operational", "operational")
    assert model.availability_24h == 1.0
    assert [(route.condition, route.reason) for route in model.routes] == [
        ("down", "upstream_error"),
        ("operational", None),
    ]
    assert len(model.days) == DAYS
    assert (model.days[-1].good, model.days[-1].failed) == (20, 20)
    assert model.days[0].good == 0
