"""Every shipped video model, as the catalog describes it: ordered plainly, in every resolution,
with a picture and with sound, it has a price, and its adapter builds the order with all of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.adapters.videos import TASK, linked, picture
from tokenmarket.adapters.registry import VIDEO
from tokenmarket.adapters.video_protocol import Before
from tokenmarket.catalog import load_shipped
from tokenmarket.core.catalog import Route
from tokenmarket.core.catalog_toml import compile
from tokenmarket.core.pricing import ceiling
from tokenmarket.core.video.abilities import abilities
from tokenmarket.core.video.capabilities import resolve
from tokenmarket.core.video.request import VideoRequest

ROUTES = [
    route
    for routes in compile(load_shipped(), 1).routes.values()
    for route in routes
    if route.model.operation == "video" and route.provider.adapter in VIDEO
]


def orders(route: Route) -> list[dict[str, Any]]:
    able = abilities(route.model.capabilities)
    found: list[dict[str, Any]] = [{}]
    found += [{"resolution": name} for name in able.resolutions]
    found += [{"mode": name} for name in able.modes]
    found += [{"aspect_ratio": name} for name in able.aspect_ratios if name != "adaptive"]
    if "first_frame" in able.frames:
        by_address = VIDEO[route.provider.adapter].inputs == "url"
        frame = linked("first_frame", "a.png") if by_address else picture("first_frame")
        found.append({"inputs": (frame,)})
    if able.audio:
        found.append({"audio": True})
    return found


@pytest.mark.parametrize("route", ROUTES, ids=lambda at: f"{at.model.id}@{at.provider.name}")
def test_it_can_be_ordered_and_has_a_price(route: Route) -> None:
    for asked in orders(route):
        given = tuple(name for name in asked if name != "inputs")
        request = VideoRequest(route.model.id, prompt="a lake", given=given, **asked)
        video = resolve(request, route.model)
        assert ceiling(route.prices, video.bound, video.attributes) > 0, asked
        built = VIDEO[route.provider.adapter].build(
            video, route, task_id=TASK, now_s=1, callback_url=None
        )
        if isinstance(built, Before):  # an upload comes first
            continue
        assert built.dropped == (), asked


def test_there_are_some() -> None:
    served = {route.provider.adapter for route in ROUTES if route.model.enabled}
    assert served >= {"ark", "dashscope", "gemini", "kling", "minimax", "sandbox"}
