"""Media upstreams that do everything wrong: the caller is told, pays nothing, and has one receipt;
what can be tried elsewhere is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.gateway.media_lane import (
    MODELS,
    judged,
    media_lane,
    media_lanes,
    nothing_left,
    pictures,
    ranking,
    transcript,
)
from tests.gateway.site import Site
from tests.gateway.upstream import Act, answers, http, raw, silent
from tests.unit.adapters.pictures import PNG_B64

pytestmark = pytest.mark.asyncio(loop_scope="module")
LANES = 0
CATALOG = media_lanes(260)
NAMES = ["picture", "pictures", "speech", "spoken", "heard", "translated", "ranked", "judged"]
LETTER = {name: MODELS[name][2][0][0] for name in MODELS}
GOOD = json.dumps({"created": 1, "data": [{"b64_json": PNG_B64}], "text": "x"}).encode()
DEEP = b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}"

FAULTS: dict[str, Act] = {
    "refuses": answers(400, {"error": {"message": "no", "type": "invalid_request_error"}}),
    "is full": answers(429, {"error": {"message": "slow down"}}),
    "is broken": answers(500, b"<html>oops</html>"),
    "has no key": answers(401, {"error": {"message": "bad key sk-secret1234567890"}}),
    "redirects": raw(http(302, b"", headers=(("location", "http://127.0.0.1:1/"),))),
    "says nothing": silent,
    "closes": raw(b"", then="close"),
    "resets": raw(b"", then="reset"),
    "resets in the head": raw(b"HTTP/1.1 200 OK\r\ncontent-ty", then="reset"),
    "resets in the body": raw(http(200, GOOD)[:-10], then="reset"),
    "closes in the body": raw(http(200, GOOD)[:-10], then="close"),
    "is no HTTP": raw(b"SSH-2.0-OpenSSH_9\r\n", then="close"),
    "is empty": answers(200, b""),
    "is garbage": answers(200, bytes(range(256))),
    "is text": raw(http(200, b"fine", content_type="text/plain")),
    "is a page": raw(http(200, b"<html></html>", content_type="text/html")),
    "is null": answers(200, b"null"),
    "is a number": answers(200, b"1e999"),
    "is a list": answers(200, []),
    "is nothing": answers(200, {}),
    "is too deep": answers(200, DEEP),
    "has an error inside": answers(200, {"error": {"message": "no", "code": "server_error"}}),
    "has another error inside": answers(200, {"code": 1, "message": "no"}),
    "has wrong types": answers(
        200,
        {"data": [5, None, {"b64_json": 5}], "images": {}, "text": 5, "results": [5], "usage": []},
    ),
    "has empty lists": answers(200, {"data": [], "images": [], "results": [], "text": None}),
    "is gzip that is none": raw(http(200, b"xx", headers=(("content-encoding", "gzip"),))),
    "is 204": raw(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "is 100 for ever": raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 50_000, then="close"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", NAMES)
async def test_an_upstream_that(site: Site, name: str, fault: str) -> None:
    lane = media_lane(site)
    org = await site.org()
    lane.will(LETTER[name], *[FAULTS[fault]] * 4)
    path, body, headers = lane.ask(name)
    answer = await org.post(path, body, headers=headers)
    assert 400 <= answer.status < 600, (answer.status, answer.body[:300])
    error = answer.json["error"]
    assert error["code"] in ("PROVIDER_001", "PROVIDER_002", "PROVIDER_TIMEOUT"), error
    assert "secret" not in answer.body.decode()
    assert answer.headers["x-tokenmarket-cost"] == "0.00"
    await org.settled()
    receipt = await org.receipt(answer.id)
    assert receipt["status"] == "failed"
    assert len(receipt["attempts"]) == 1
    await nothing_left(site)


@pytest.mark.parametrize("fault", ["is broken", "resets in the body", "is garbage", "says nothing"])
@pytest.mark.parametrize(
    ("name", "cost"),
    [("picture2", "0.02"), ("speech2", "0.0001"), ("heard2", "0.001"), ("ranked2", "0.001")],
)
async def test_the_second_route_answers(site: Site, name: str, cost: str, fault: str) -> None:
    lane = media_lane(site)
    org = await site.org()
    first, second = (letter for letter, _ in MODELS[name][2])
    lane.will(first, *[FAULTS[fault]] * 4)
    path, body, headers = lane.ask(name)
    answer = await org.post(path, body, headers=headers)
    assert answer.status == 200, answer.body[:300]
    assert answer.headers["x-tokenmarket-provider"] == lane.provider(second)
    assert len(lane.seen(second)) == 1
    await org.settled(cost)


USAGES: list[Any] = [
    None, [], "x", 5, {}, {"seconds": -5}, {"seconds": 1e9}, {"seconds": 1e300}, {"seconds": "9"},
    {"seconds": True}, {"type": "duration", "seconds": 10**30}, {"input_tokens": -5},
    {"input_tokens": 10**30, "output_tokens": 10**30}, {"output_tokens": 1.5},
    {"input_tokens": "many", "output_tokens": None}, {"search_units": 10**9},
    {"input_tokens": 5, "input_tokens_details": {"image_tokens": 10**12, "text_tokens": -1}},
]  # fmt: skip


@pytest.mark.parametrize("name", ["picture", "drawn", "heard", "counted", "judged"])
async def test_usage_that_is_absurd(site: Site, name: str) -> None:
    """The charge is a price of something possible: at most a tenth above what was held, twice where
    tokens may be of two kinds."""
    lane = media_lane(site)
    org = await site.org("5")
    for usage in USAGES:
        more = {} if usage is None else {"usage": usage}
        good: Any = {
            "images": pictures(**more),
            "transcription": transcript(**more),
            "moderation": judged(**more),
        }[MODELS[name][0]]
        lane.will("a", good)
        path, body, headers = lane.ask(name)
        answer = await org.post(path, body, headers=headers)
        assert answer.status == 200, (usage, answer.body[:300])
        amounts = (await org.receipt(answer.id))["amounts"]
        assert 0 <= float(amounts["charged"]) <= float(amounts["held"]) * 2.2, (usage, amounts)
        if usage in (None, {}) and name in ("drawn", "counted"):
            assert float(amounts["charged"]) == 0
    assert (await org.credits())[1] == 0


@pytest.mark.parametrize("searches", [None, -1, 10**9, 1e300, "1", [], True, 0])
async def test_searches_that_are_absurd(site: Site, searches: Any) -> None:
    lane = media_lane(site)
    org = await site.org()
    path, body, _ = lane.ask("ranked")
    lane.will("c", ranking(0.5, 0.4, searches=searches))
    answer = await org.post(path, body)
    assert answer.status == 200
    amounts = (await org.receipt(answer.id))["amounts"]
    assert 0 <= float(amounts["charged"]) <= float(amounts["held"])
    await org.settled(amounts["charged"])


@pytest.mark.parametrize(
    "results",
    [
        [{"index": 5, "relevance_score": 0.5}],
        [{"index": -1, "relevance_score": 0.5}],
        [{"index": True, "relevance_score": 0.5}],
        [{"index": 0, "relevance_score": 0.5}] * 2,
        [{"index": 0, "relevance_score": "high"}],
        [{"index": 0}],
        [{"index": 0, "relevance_score": 10**400}],
    ],
)
async def test_rankings_of_what_was_not_asked(site: Site, results: list[Any]) -> None:
    lane = media_lane(site)
    org = await site.org()
    path, body, _ = lane.ask("ranked")
    lane.will("c", answers(document={"results": results}))
    answer = await org.post(path, body)
    assert answer.status == 502, answer.body[:300]
    await org.settled()
