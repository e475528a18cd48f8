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
from tokenmarket.core.errors import ApiError
from tokenmarket.core.pricing import ceiling
from tokenmarket.core.uploads import Input
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
        found.append({"inputs": (frame_for(route),)})
    if able.audio:
        found.append({"audio": True})
    if route.model.capabilities.get("text_to_video") is False:  # always with a picture
        found = [{"inputs": (frame_for(route),)} | asked for asked in found]
    return found


def frame_for(route: Route) -> Input:
    """A picture in the form that the provider takes."""
    adapter, legacy = route.provider.adapter, route.model.capabilities.get("dialect") == "legacy"
    by_address = VIDEO[adapter].inputs == "url" or (adapter == "luma" and legacy)
    return linked("first_frame", "a.png") if by_address else picture("first_frame")


@pytest.mark.parametrize("route", ROUTES, ids=lambda at: f"{at.model.id}@{at.provider.name}")
def test_it_can_be_ordered_and_has_a_price(route: Route) -> None:
    for asked in orders(route):
        given = tuple(name for name in asked if name != "inputs")
        request = VideoRequest(route.model.id, prompt="a lake", given=given, **asked)
        video = resolve(request, route.model)
        assert ceiling(route.prices, video.bound, video.attributes) > 0, asked
        try:
            built = VIDEO[route.provider.adapter].build(
                video, route, task_id=TASK, now_s=1, callback_url=None
            )
        except ApiError as refused:  # a further route may lack what the model's own one has
            own = route.provider.name == route.model.default_provider
            if own or refused.code != "REQUEST_002":
                raise
            continue
        if isinstance(built, Before):  # an upload comes first
            continue
        assert built.dropped == (), asked


def test_there_are_some() -> None:
    served = {route.provider.adapter for route in ROUTES if route.model.enabled}
    assert served >= {"ark", "dashscope", "gemini", "kling", "minimax", "sandbox"}
