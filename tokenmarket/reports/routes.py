"""How routes do, from our own traffic: time to the first byte, tokens per second, availability.

``upstream/health.py`` counts; once a minute ``RouteMeasurements.sample`` takes the counts into SQL,
so that they survive a restart. What was not measured is None ("no data yet"), never 0 and never a
guess. A failed attempt is one that was the provider's doing; what the caller or our key did wrong
says nothing about the route.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from tokenmarket.core.catalog import Catalog
from tokenmarket.store import route_rows
from tokenmarket.store.database import Database
from tokenmarket.store.route_rows import HOUR_US, Counts
from tokenmarket.upstream.health import Tally, class_ms

HOURS = 24
SAMPLE_S = 60.0


class Hour(NamedTuple):
    """Attempts at one route in one hour."""

    start_us: int
    good: int
    failed: int

    @property
    def availability(self) -> float | None:
        """Share of attempts that the provider answered; None without attempts."""
        return _share(self.good, self.failed)


class RouteFigures(NamedTuple):
    """One route over the last 24 hours; None is "no data yet". ``hours``: oldest first, the last
    is the present one."""

    attempts: int
    failures: int
    ttft_ms_p50: float | None
    ttft_ms_p95: float | None
    tokens_per_s: float | None
    availability_24h: float | None
    hours: tuple[Hour, ...]


class Counter(Protocol):
    """``upstream.health.Health``, as much of it as is needed here."""

    def collect(self) -> list[tuple[str, str, Tally]]: ...


class RouteMeasurements:
    """Collects and tells. One per process; the figures of a minute are computed once."""

    def __init__(self, database: Database, counter: Counter) -> None:
        self._database = database
        self._counter = counter
        self._targets: dict[tuple[str, str], RouteFigures] | None = None
        self._hour_us = 0

    async def sample(self, now_us: int) -> None:
        """Take what was counted into SQL. What cannot be written now is lost: it was a minute of
        measurements, not of money."""
        samples = [
            Counts(
                now_us,
                provider,
                upstream_model,
                tally.good,
                tally.failed,
                tally.first_bytes,
                tally.rates,
                round(tally.rate_sum * 1000),
            )
            for provider, upstream_model, tally in self._counter.collect()
        ]
        hour_us = now_us - now_us % HOUR_US
        if samples or hour_us != self._hour_us:
            async with self._database.begin() as conn:
                await route_rows.add_samples(conn, samples)
                await route_rows.fold(conn, now_us)
            self._targets = None
            self._hour_us = hour_us

    async def targets(self, now_us: int) -> Mapping[tuple[str, str], RouteFigures]:
        """Figures by (provider, upstream model), as of the last sample."""
        found = self._targets
        if found is None:
            async with self._database.read() as conn:
                rows = await route_rows.since(conn, _first_us(now_us))
            found = self._targets = figures_by_target(rows, now_us)
        return found

    async def snapshot(
        self, catalog: Catalog, now_us: int
    ) -> dict[tuple[str, str], RouteFigures | None]:
        """Figures of every route in the catalog by (model id, provider); None: no data yet."""
        targets = await self.targets(now_us)
        return {
            (model_id, route.provider.name): targets.get(
                (route.provider.name, route.upstream_model)
            )
            for model_id, routes in catalog.routes.items()
            for route in routes
        }


def figures_by_target(rows: Iterable[Counts], now_us: int) -> dict[tuple[str, str], RouteFigures]:
    """From the hours and samples of the last day."""
    parts: dict[tuple[str, str], list[Counts]] = {}
    for counts in rows:
        parts.setdefault((counts.provider, counts.upstream_model), []).append(counts)
    return {target: _figures(counted, now_us) for target, counted in parts.items()}


def _figures(counted: list[Counts], now_us: int) -> RouteFigures:
    total = counted[0]
    for counts in counted[1:]:
        total = total.plus(counts)
    first_us = _first_us(now_us)
    pairs = [[0, 0] for _ in range(HOURS)]
    for counts in counted:
        index = (counts.at_us - first_us) // HOUR_US
        if 0 <= index < HOURS:
            pairs[index][0] += counts.good
            pairs[index][1] += counts.failed
    return RouteFigures(
        attempts=total.good + total.failed,
        failures=total.failed,
        ttft_ms_p50=percentile_ms(total.first_bytes, 0.5),
        ttft_ms_p95=percentile_ms(total.first_bytes, 0.95),
        tokens_per_s=total.rate_sum_milli / total.rates / 1000 if total.rates else None,
        availability_24h=_share(total.good, total.failed),
        hours=tuple(Hour(first_us + n * HOUR_US, *pair) for n, pair in enumerate(pairs)),
    )


def percentile_ms(classes: Mapping[int, int], share: float) -> float | None:
    """From counts per class of time, between the edges of its class; None without counts."""
    total = sum(classes.values())
    if total == 0:
        return None
    rank = share * total
    passed = 0
    for class_, count in sorted(classes.items()):
        if passed + count >= rank:
            low, high = class_ms(class_), class_ms(class_ + 1)
            return low + (high - low) * (rank - passed) / count
        passed += count
    raise AssertionError("a share is at most 1")


def _first_us(now_us: int) -> int:
    return now_us - now_us % HOUR_US - (HOURS - 1) * HOUR_US


def _share(good: int, failed: int) -> float | None:
    return good / (good + failed) if good + failed else None
