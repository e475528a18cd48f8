"""Routes that rest after failures, and ending the rest when somebody has seen to the cause.

Breakers and rests of keys live in the memory of this process (``upstream/``); each server has its
own.
"""

from __future__ import annotations

from tokenmarket.accounts.admin import NotThere
from tokenmarket.core.catalog import Catalog, Route
from tokenmarket.core.routing import RouteState
from tokenmarket.core.texts import N_
from tokenmarket.store import accounts as rows
from tokenmarket.store.database import Database
from tokenmarket.upstream.outbound import Outbound


def cooling(catalog: Catalog, outbound: Outbound) -> list[tuple[Route, RouteState]]:
    """Routes whose breaker is open or whose keys rest."""
    return [
        (route, state)
        for some in catalog.routes.values()
        for route in some
        if (state := outbound.state(route)).kind == "cooling"
    ]


def find_route(catalog: Catalog, key: tuple[str, str]) -> Route:
    """``key`` is (model, provider). Raises NotThere."""
    model, provider = key
    for route in catalog.routes.get(model, ()):
        if route.provider.name == provider:
            return route
    raise NotThere(N_("There is no such route."))


async def end_of_provider(
    database: Database, catalog: Catalog, outbound: Outbound, name: str, *, now_us: int, actor: str
) -> None:
    """All its breakers close and its keys are rested enough. Raises NotThere."""
    if name not in catalog.providers:
        raise NotThere(N_("There is no such provider."))
    outbound.reset(name)
    await _told(database, name, now_us, actor)


async def end_of_route(
    database: Database,
    catalog: Catalog,
    outbound: Outbound,
    key: tuple[str, str],
    *,
    now_us: int,
    actor: str,
) -> None:
    """Its breaker closes, and the provider's keys are rested enough. Raises NotThere."""
    route = find_route(catalog, key)
    outbound.reset(route.provider.name, route.upstream_model)
    await _told(database, " at ".join(key), now_us, actor)


async def _told(database: Database, subject: str, now_us: int, actor: str) -> None:
    async with database.begin() as conn:
        await rows.append_audit(conn, now_us, actor, "cool_down.end", subject, {})
