"""Who may see and do what with media: other organisations, limited keys, signed addresses."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.media_lane import (
    EDITS,
    IMAGES,
    MODERATIONS,
    RERANK,
    SPEECH,
    media_lane,
    media_lanes,
)
from tests.gateway.site import Org, Site
from tests.gateway.upstream import answers
from tests.unit.adapters.pictures import DATA_URL
from tokenmarket.accounts import admin
from tokenmarket.core import sealing
from tokenmarket.store.accounts import Limits

pytestmark = pytest.mark.asyncio(loop_scope="module")
LANES = 0
CATALOG = media_lanes(8)
GOOD: dict[str, dict[str, Any]] = {
    IMAGES: {"model": "sandbox-image", "prompt": "a"},
    SPEECH: {"model": "sandbox-speech", "input": "Hello", "voice": "alloy"},
    RERANK: {"model": "sandbox-rerank", "query": "a", "documents": ["a"]},
    MODERATIONS: {"model": "sandbox-moderation", "input": "a"},
    "/api/v1/videos": {"model": "sandbox-video", "prompt": "a", "seconds": 1},
    "/api/v2/embed": {"model": "sandbox-embed", "texts": ["a"], "input_type": "search_query"},
}


async def key_of(site: Site, org: Org, **wishes: Any) -> str:
    """Another key of the organisation, which may do only that."""
    database, now_us = site.server.database, site.clock.wall_us()
    pepper = site.server.config.root.derive(sealing.PEPPER)
    asked = admin.KeyWishes(limits=Limits(), **wishes)
    async with database.begin() as conn:
        row = await admin.find_org(conn, org.id)
        made = await admin.create_key(conn, row, asked, pepper, now_us=now_us, actor="test")
    return made.token


@pytest.mark.parametrize("path", GOOD)
async def test_a_key_for_another_model(site: Site, path: str) -> None:
    org = await site.org(models=("sandbox-chat",))
    answer = await org.post(path, GOOD[path])
    assert answer.status == 403, answer.body[:300]
    assert answer.json["error"]["code"] == "AUTH_002"
    assert answer.headers["x-should-retry"] == "false"
    await org.settled()


@pytest.mark.parametrize("path", GOOD)
async def test_a_receipt_is_its_organisation_s(site: Site, path: str) -> None:
    org, other = await site.org(), await site.org()
    answer = await org.post(path, GOOD[path] | {"model": "nothing-of-this-name"})
    assert (answer.status, answer.json["error"]["code"]) == (404, "MODEL_001")
    assert (await other.get(f"/api/v1/requests/{answer.id}")).status == 404
    assert (await org.receipt(answer.id))["status"] == "rejected"
    await org.settled()


@pytest.mark.parametrize("path", GOOD)
async def test_without_a_key(site: Site, path: str) -> None:
    for key in (None, "tm_live_nobody", "\x7f"):
        answer = await site.post(path, GOOD[path], key=key)
        assert answer.status in (400, 401), answer.body[:300]


async def test_the_address_of_a_picture_cannot_be_changed(site: Site) -> None:
    org = await site.org()
    answer = await org.post(IMAGES, GOOD[IMAGES] | {"response_format": "url"})
    path = "/" + answer.json["data"][0]["url"].split("/", 3)[3]
    assert (await site.get(path)).status == 200
    start, _, query = path.partition("?")
    wrong = [start, f"{start}?{query}0", f"{start}?{query[:-1]}", f"{start}?{query}&e=9999999999"]
    wrong += [path.replace("e=", "e=9"), path.replace(start[-8:], "0000.png"), start + "/.."]
    for address in wrong:
        found = await site.get(address)
        assert found.status in (404, 410), (address, found.status)
    await org.settled(answer.headers["x-tokenmarket-cost"])


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1/x.png",
        "https://127.0.0.1/x.png",
        "https://localhost/x.png",
        "https://[::1]/x.png",
        "https://[::ffff:127.0.0.1]/x",
        "https://169.254.169.254/latest",
        "https://10.0.0.1/x",
        "https://192.168.0.1/x",
        "https://100.64.0.1/x",
        "https://0.0.0.0/x",
        "https://0x7f000001/x",
        "https://2130706433/x",
        "https://127.1/x",
        "https://a@127.0.0.1/x",
        "https://127.0.0.1:22/x",
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "data:image/png;base64,%%%",
        "data:text/html,<script>",
        "data:,",
        "data:image/png;base64," + "A" * 10_000,
        "https://" + "a" * 3000,
        "https://no-such-host.invalid/x",
        "//x",
        "",
    ],
)
async def test_addresses_of_pictures_that_nobody_fetches(site: Site, address: str) -> None:
    org = await site.org()
    for change, param in (
        ({"images": [{"image_url": address}]}, "images[0].image_url"),
        ({"image": [DATA_URL, address]}, "image[1]"),
        ({"image": DATA_URL, "mask": {"image_url": address}}, "mask.image_url"),
    ):
        answer = await org.post(EDITS, GOOD[IMAGES] | change)
        assert answer.error(400, "REQUEST_001", fault="caller")["param"] == param
    await org.settled()


async def test_a_fallback_model_that_lacks_the_size_hides_no_failure(site: Site) -> None:
    """The first model failed: that is what the caller is told, not what the second cannot do."""
    lane = media_lane(site)
    org = await site.org()
    body = {"model": lane.model("anysize"), "models": [lane.model("picture")], "prompt": "a"}
    lane.will("s", *[answers(500, b"oops")] * 2)
    answer = await org.post(IMAGES, body | {"size": "320x320"})
    answer.error(502, "PROVIDER_001", fault="provider")
    assert lane.seen("a") == []
    answer = await org.post(IMAGES, body | {"size": "512x512"})
    assert answer.headers["x-tokenmarket-provider"] == lane.provider("a")
    await org.settled("0.01")


@pytest.mark.parametrize("path", GOOD)
async def test_a_key_for_another_operation_or_provider(site: Site, path: str) -> None:
    org = await site.org()
    for wishes in ({"operations": ("chat",)}, {"providers": ("openai",)}):
        key = await key_of(site, org, **wishes)
        answer = await site.post(path, GOOD[path], key=key)
        org.asked += 1
        assert answer.status in (403, 503), (wishes, answer.body[:300])
        assert answer.json["error"]["code"] in ("AUTH_002", "MODEL_002"), answer.body[:300]
        if "operations" in wishes:
            assert answer.status == 403
    await org.settled()
