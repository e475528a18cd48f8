"""Every shipped model of pictures, as the catalog describes it: ordered plainly, in every size,
tier and quality, and with a picture, it has a price, and its adapter builds all of the order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.adapters import pictures
from tests.unit.adapters.pictures import PNG
from tokenmarket.adapters.registry import ADAPTERS
from tokenmarket.catalog import load_shipped
from tokenmarket.core.catalog import Route
from tokenmarket.core.catalog_toml import compile
from tokenmarket.core.media_rules import texts
from tokenmarket.core.pricing import ceiling, charge
from tokenmarket.core.usage import Usage

ROUTES = [
    route
    for routes in compile(load_shipped(), 1).routes.values()
    for route in routes
    if route.model.operation == "images" and route.provider.adapter != "sandbox"
]


def orders(route: Route) -> Iterator[dict[str, Any]]:
    capabilities = route.model.capabilities
    yield {}
    for name in ("sizes", "tiers"):
        for size in texts(capabilities.get(name)):
            yield {"size": size}
    for ratio in texts(capabilities.get("ratios")):
        width, _, height = ratio.partition(":")
        yield {"size": f"{int(width) * 32}x{int(height) * 32}"}
    for quality in texts(capabilities.get("qualities")):
        yield {"quality": quality}


def check(route: Route, variant: str = "generations", **asked: Any) -> None:
    request = pictures.request(route, variant, **asked)
    parts = pictures.adapter(route.provider.adapter).split(request, route)
    assert sum(part.n for part in parts) == request.n
    for part in parts:
        assert pictures.sent(route, part).dropped == (), asked
    assert request.bound is not None
    most = ceiling(route.prices, request.bound, request.attributes)
    assert most > 0, asked
    if route.prices.has("image"):
        assert 0 < charge(route.prices, Usage(images=request.n), request.attributes) <= most


@pytest.mark.parametrize("route", ROUTES, ids=lambda at: f"{at.model.id}@{at.provider.name}")
def test_it_can_be_ordered_and_has_a_price(route: Route) -> None:
    for asked in orders(route):
        check(route, **asked)
    check(route, n=2)
    if route.model.capabilities.get("edits") is True:
        check(route, "edits", files=(("image", PNG),))


def test_every_adapter_of_pictures_has_a_model() -> None:
    """But for those without a confirmed price, which are named in their catalog files."""
    served = {route.provider.adapter for route in ROUTES if route.model.enabled}
    able = {name for name, operations in ADAPTERS.items() if "images" in operations}
    assert able - served <= {"sandbox", "siliconflow", "newapi", "vertex", "replicate"}
