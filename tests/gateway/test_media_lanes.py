"""The lanes themselves: a good request to each model is answered, and costs what it must."""

from __future__ import annotations

import pytest

from tests.gateway.media_lane import MODELS, media_lane, media_lanes, nothing_left
from tests.gateway.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="module")
LANES = 0
CATALOG = media_lanes(len(MODELS))
COSTS = {
    "picture": "0.01",
    "picture2": "0.01",
    "pictures": "0.01",
    "anysize": "0.01",
    "drawn": "0",  # nothing was reported
    "speech": "0.00005",
    "speech2": "0.00005",
    "spoken": "0.00021",
    "heard": "0.001",
    "heard2": "0.001",
    "counted": "0",
    "translated": "0.001",
    "ranked": "0.002",
    "ranked2": "0.002",
    "judged": "0.0005",
    "vectors": "0.00000008",
}


@pytest.mark.parametrize("name", MODELS)
async def test_a_good_request(site: Site, name: str) -> None:
    lane = media_lane(site)
    org = await site.org()
    path, body, headers = lane.ask(name)
    answer = await org.post(path, body, headers=headers)
    assert answer.status == 200, answer.body
    await org.settled(COSTS[name])
    await nothing_left(site)
