"""``Idempotency-Key`` with media: answers of every kind are replayed, and forms have a fingerprint
of what is in them, whatever their boundary is."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.media_lane import (
    BOUNDARY,
    EDITS,
    FORM,
    MP3,
    TRANSCRIPTIONS,
    WAV,
    MediaLane,
    audio,
    form,
    media_lane,
    media_lanes,
    nothing_left,
)
from tests.gateway.site import Org, Site
from tests.gateway.wire import Answer
from tests.unit.adapters.pictures import PNG

pytestmark = pytest.mark.asyncio(loop_scope="module")
LANES = 0
CATALOG = media_lanes(40)
KEY = {"idempotency-key": "once"}


async def twice(org: Org, path: str, body: Any, headers: dict[str, str]) -> Answer:
    """The first answer; the second is the same one, replayed."""
    first = await org.post(path, body, headers=KEY | headers)
    again = await org.post(path, body, headers=KEY | headers)
    assert first.status == again.status == 200, again.body[:300]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.body == first.body
    assert again.headers["x-tokenmarket-cost"] == "0.00"
    return first


@pytest.mark.parametrize(
    "name", ["picture", "pictures", "speech", "spoken", "heard", "translated", "ranked", "judged"]
)
async def test_an_answer_is_given_again(site: Site, name: str) -> None:
    lane = media_lane(site)
    org = await site.org()
    path, body, headers = lane.ask(name)
    first = await twice(org, path, body, dict(headers))
    receipt = await org.receipt(first.id)
    letter = receipt["provider"].removeprefix(f"m{lane.n}")
    assert len(lane.seen(letter)) == 1
    await org.settled(receipt["amounts"]["charged"])
    await nothing_left(site)


async def test_audio_too_large_to_keep_is_not_made_twice(site: Site) -> None:
    lane = media_lane(site)
    org = await site.org()
    path, body, _ = lane.ask("speech")
    lane.will("a", audio(MP3 * 10))
    first = await org.post(path, body, headers=KEY)
    assert len(first.body) == len(MP3) * 10 > 256 * 1024
    again = await org.post(path, body, headers=KEY)
    again.error(409, "IDEMPOTENCY_001", reason="answer_not_kept", retryable=False)
    assert len(lane.seen("a")) == 1
    await org.settled("0.00005")


@pytest.mark.parametrize("name", ["picture", "speech", "ranked", "judged", "vectors"])
async def test_another_body_under_the_same_key(site: Site, name: str) -> None:
    lane = media_lane(site)
    org = await site.org()
    path, body, _ = lane.ask(name)
    first = await org.post(path, body, headers=KEY)
    assert first.status == 200
    again = await org.post(path, body | {"user": "another"}, headers=KEY)
    assert (again.status, again.json["error"]["reason"]) == (409, "other_body")
    assert again.headers["x-should-retry"] == "false"
    await org.settled(first.headers["x-tokenmarket-cost"])


def hearing(lane: MediaLane, data: bytes = WAV, name: str = "a.wav", **more: str) -> bytes:
    fields = [("model", lane.model("heard")), *more.items()]
    return form(fields, [("file", name, data)])


@pytest.mark.parametrize(
    "change",
    [
        {"data": WAV[:-2] + b"\x01\x02"},
        {"name": "b.wav"},
        {"language": "en"},
        {"prompt": "x"},
    ],
)
async def test_another_form_under_the_same_key(site: Site, change: dict[str, Any]) -> None:
    lane = media_lane(site)
    org = await site.org()
    first = await org.post(TRANSCRIPTIONS, hearing(lane), headers=KEY | FORM)
    assert first.status == 200
    again = await org.post(TRANSCRIPTIONS, hearing(lane, **change), headers=KEY | FORM)
    again.error(409, "IDEMPOTENCY_001", reason="other_body", retryable=False)
    await org.settled("0.001")
    await nothing_left(site)


async def test_the_same_form_with_another_boundary(site: Site) -> None:
    """As an SDK sends it when it tries again."""
    lane = media_lane(site)
    org = await site.org()
    body = hearing(lane)
    first = await org.post(TRANSCRIPTIONS, body, headers=KEY | FORM)
    other = {"content-type": "multipart/form-data; boundary=quite-another"}
    renamed = body.replace(BOUNDARY.encode(), b"quite-another")
    again = await org.post(TRANSCRIPTIONS, renamed, headers=KEY | other)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.body == first.body
    await org.settled("0.001")


async def test_a_large_form(site: Site) -> None:
    """Read beside the event loop."""
    lane = media_lane(site)
    org = await site.org()
    large = WAV + bytes(9 * 1024 * 1024)
    fields = [("model", lane.model("picture")), ("prompt", "a")]
    body = form(fields, [("image", "a.png", PNG + large)])
    await twice(org, EDITS, body, FORM)
    other = form(fields, [("image", "a.png", PNG + large[:-1] + b"\x01")])
    again = await org.post(EDITS, other, headers=KEY | FORM)
    again.error(409, "IDEMPOTENCY_001", reason="other_body")
    await org.settled("0.01")
    await nothing_left(site)


async def test_a_failure_is_not_kept(site: Site) -> None:
    lane = media_lane(site)
    org = await site.org()
    broken = form([("model", lane.model("heard"))])
    for _ in range(2):
        answer = await org.post(TRANSCRIPTIONS, broken, headers=KEY | FORM)
        answer.error(400, "REQUEST_001", param="file")
    cut = hearing(lane)[:-8]
    for _ in range(2):
        answer = await org.post(TRANSCRIPTIONS, cut, headers=KEY | FORM)
        answer.error(400, "REQUEST_001", reason="cut")
    assert (await org.post(TRANSCRIPTIONS, hearing(lane), headers=KEY | FORM)).status == 200
    await org.settled("0.001")


async def test_an_empty_and_a_strange_key(site: Site) -> None:
    lane = media_lane(site)
    org = await site.org()
    path, body, headers = lane.ask("heard")
    for key in ("", "x" * 256, "a\xadb"):
        answer = await org.post(path, body, headers=dict(headers) | {"idempotency-key": key})
        answer.error(400, "REQUEST_001", param="Idempotency-Key")
    await org.settled()
    await nothing_left(site)
