"""Media requests in JSON whose fields are wrong in every way: always 4xx in the envelope with the
path of what is wrong, one receipt each, and never a held or charged nano-USD."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import pytest

from tests.gateway.media_lane import (
    EDITS,
    EMBED,
    IMAGES,
    MODERATIONS,
    RERANK,
    SPEECH,
    VARIATIONS,
    media_lane,
    media_lanes,
    nothing_left,
)
from tests.gateway.site import Site
from tests.unit.adapters.pictures import DATA_URL

pytestmark = pytest.mark.asyncio(loop_scope="module")
LANES = 0
CATALOG = media_lanes(30)
IMAGE = {"model": "sandbox-image", "prompt": "a lake", "size": "256x256"}
EDIT = IMAGE | {"images": [{"image_url": DATA_URL}]}
SAY = {"model": "sandbox-speech", "input": "Hello", "voice": "alloy"}
RANK = {"model": "sandbox-rerank", "query": "lake", "documents": ["a lake", "a hill"]}
JUDGE = {"model": "sandbox-moderation", "input": "Hello"}
VECTORS = {"model": "sandbox-embed", "texts": ["Hello"], "input_type": "search_query"}
BODIES: dict[str, dict[str, Any]] = {
    IMAGES: IMAGE,
    EDITS: EDIT,
    SPEECH: SAY,
    RERANK: RANK,
    MODERATIONS: JUDGE,
    EMBED: VECTORS,
}
HUGE = 10**40
DEEP: Any = json.loads("[" * 60 + "]" * 60)
NO_TEXT: tuple[Any, ...] = (..., None, "", 5, [])
NO_INPUT: tuple[Any, ...] = (*NO_TEXT, {})
NO_LIST: tuple[Any, ...] = (..., None, [], "a", {})

VALUES: list[Any] = [
    *(None, 0, -1, HUGE, -HUGE, 1e308, "", "\x00", "x" * 5000, [], {}, True),
    *(DEEP, {"a": {"b": [1, None]}}, 'a"\r\nevil: 1'),
]

FIELDS: list[tuple[str, dict[str, Any], str]] = [
    *[(path, {"model": wrong}, "model") for path in BODIES for wrong in (None, "", 5, ["x"])],
    *[(path, {"provider": 5}, "provider") for path in BODIES],
    *[(path, {"provider": "nobody"}, "provider") for path in BODIES],
    *[(path, {"provider": {"order": 5}}, "provider.order") for path in BODIES],
    *[(IMAGES, {"prompt": wrong}, "prompt") for wrong in (*NO_TEXT, "x" * 32_001)],
    *[(IMAGES, {"n": wrong}, "n") for wrong in (0, -1, 11, 1.5, "1", True, HUGE)],
    *[(IMAGES, {"size": wrong}, "size") for wrong in (5, "", "x", "0x0", "256", "1x1", "9" * 5000)],
    (IMAGES, {"size": "256x256 "}, "size"),
    (IMAGES, {"size": "-256x256"}, "size"),
    (IMAGES, {"size": "٢٥٦x٢٥٦"}, "size"),
    (IMAGES, {"quality": "best"}, "quality"),
    (IMAGES, {"quality": 1}, "quality"),
    (IMAGES, {"response_format": "hex"}, "response_format"),
    (IMAGES, {"output_format": "tiff"}, "output_format"),
    (IMAGES, {"output_compression": 101}, "output_compression"),
    (IMAGES, {"background": "red"}, "background"),
    (IMAGES, {"background": "transparent", "output_format": "jpeg"}, "background"),
    (IMAGES, {"moderation": "none"}, "moderation"),
    (IMAGES, {"stream": "yes"}, "stream"),
    (IMAGES, {"stream": True, "partial_images": 4}, "partial_images"),
    (IMAGES, {"partial_images": 1}, "partial_images"),
    (IMAGES, {"seed": 1.5}, "seed"),
    (IMAGES, {"mask": {"image_url": DATA_URL}}, "mask"),
    (IMAGES, {"image": 5}, "image"),
    (IMAGES, {"image": [5]}, "image"),
    (IMAGES, {"image": {"url": DATA_URL}}, "image"),
    (IMAGES, {"models": ["x"] * 17}, "models"),
    (EDITS, {"images": ...}, "image"),
    (EDITS, {"images": []}, "image"),
    (EDITS, {"images": DATA_URL}, "images"),
    (EDITS, {"images": [DATA_URL]}, "images[0]"),
    (EDITS, {"images": [{}]}, "images[0].image_url"),
    (EDITS, {"images": [{"file_id": "file-1"}]}, "images[0].file_id"),
    (EDITS, {"images": [{"image_url": DATA_URL}] * 17}, "images"),
    (EDITS, {"mask": DATA_URL}, "mask"),
    (EDITS, {"mask": {}}, "mask.image_url"),
    (VARIATIONS, EDIT, "prompt"),
    *[(SPEECH, {"input": wrong}, "input") for wrong in (..., None, "", 5, "x" * 4097)],
    *[(SPEECH, {"voice": wrong}, "voice") for wrong in (5, ["alloy"], "nobody", "../alloy")],
    (SPEECH, {"voice": {}}, "voice.id"),
    (SPEECH, {"voice": {"id": "nobody"}}, "voice"),
    *[(SPEECH, {"speed": wrong}, "speed") for wrong in (0, 0.1, 4.1, "fast", -1, 1e300)],
    *[(SPEECH, {"response_format": wrong}, "response_format") for wrong in ("ogg", "", 5)],
    (SPEECH, {"stream_format": "chunks"}, "stream_format"),
    (SPEECH, {"instructions": "x" * 4097}, "instructions"),
    *[(RERANK, {"query": wrong}, "query") for wrong in (..., None, "", "  \n", 5)],
    *[(RERANK, {"documents": wrong}, "documents") for wrong in NO_LIST],
    (RERANK, {"documents": ["a"] * 10_001}, "documents"),
    (RERANK, {"documents": ["a", ""]}, "documents[1]"),
    (RERANK, {"documents": ["a", 5]}, "documents[1]"),
    (RERANK, {"documents": [{}]}, "documents[0].text"),
    (RERANK, {"documents": [{"text": 5}]}, "documents[0].text"),
    (RERANK, {"documents": [{"text": ""}]}, "documents[0]"),
    (RERANK, {"documents": [{"a": "b"}], "rank_fields": ["c"]}, "documents[0]"),
    *[(RERANK, {"top_n": wrong}, "top_n") for wrong in (0, -1, 1.5, "1")],
    (RERANK, {"top_n": 1, "top_k": 2}, "top_k"),
    (RERANK, {"max_tokens_per_doc": 0}, "max_tokens_per_doc"),
    (RERANK, {"relevant_spans": {"mode": "on"}}, "relevant_spans.mode"),
    (RERANK, {"relevant_spans": {"threshold": 2}}, "relevant_spans.threshold"),
    *[(MODERATIONS, {"input": wrong}, "input") for wrong in NO_INPUT],
    (MODERATIONS, {"input": ["a"] * 2049}, "input"),
    (MODERATIONS, {"input": ["a", ""]}, "input[1]"),
    (MODERATIONS, {"input": ["a", {"type": "text", "text": "b"}]}, "input[1]"),
    (MODERATIONS, {"input": [{"type": "text"}]}, "input[0].text"),
    (MODERATIONS, {"input": [{"type": "film"}]}, "input[0].type"),
    (MODERATIONS, {"input": [{"type": "image_url", "image_url": "x"}]}, "input[0].image_url.url"),
    (
        MODERATIONS,
        {"input": [{"type": "image_url", "image_url": {"url": "ftp://a/b"}}]},
        "input[0].image_url.url",
    ),
    *[(EMBED, {"texts": wrong}, "texts") for wrong in (..., None, [], "a", ["a"] * 97)],
    (EMBED, {"texts": ["a", ""]}, "texts[1]"),
    (EMBED, {"texts": [5]}, "texts[0]"),
    (EMBED, {"images": [DATA_URL]}, "texts"),
    (EMBED, {"embedding_types": ["int8"]}, "embedding_types"),
    (EMBED, {"embedding_types": ["float", "base64"]}, "embedding_types"),
    (EMBED, {"embedding_types": ["text"]}, "embedding_types[0]"),
    (EMBED, {"output_dimension": 0}, "output_dimension"),
    (EMBED, {"output_dimension": "many"}, "output_dimension"),
    (EMBED, {"output_dimension": HUGE}, "output_dimension"),
]


def changed(body: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (body | change).items() if value is not ...}


@pytest.mark.parametrize(
    ("path", "change", "param"), FIELDS, ids=[f"{p[8:]}-{c}"[:70] for p, c, _ in FIELDS]
)
async def test_a_wrong_field_is_named(
    site: Site, path: str, change: dict[str, Any], param: str
) -> None:
    org = await site.org()
    answer = await org.post(path, changed(BODIES.get(path, EDIT), change))
    error = answer.json["error"]
    assert (answer.status, error["code"]) == (400, "REQUEST_001"), answer.body[:500]
    assert error["param"] == param
    if path != EMBED and path != RERANK:
        answer.error(400, "REQUEST_001", fault="caller", retryable=False)
    await org.settled()


@pytest.mark.parametrize(
    ("path", "change", "legal"),
    [
        (IMAGES, {"size": "300x300"}, "256x256"),
        (IMAGES, {"quality": "best"}, "high"),
        (IMAGES, {"output_format": "webp"}, "png"),
        (SPEECH, {"voice": "nobody"}, "alloy"),
    ],
)
async def test_what_is_legal_is_listed(
    site: Site, path: str, change: dict[str, Any], legal: str
) -> None:
    org = await site.org()
    error = (await org.post(path, BODIES[path] | change)).error(400, "REQUEST_001")
    assert legal in error["legal"]
    assert legal in error["message"]
    await org.settled()


RAW: list[bytes] = [
    b"",
    b" ",
    b"null",
    b"[]",
    b'"x"',
    b"5",
    b"{",
    b'{"model":"%m","model":"%m"}',
    b'{"model":"%m","n":NaN,"prompt":"a"}',
    b'{"model":"%m","n":1e999,"prompt":"a"}',
    b'{"model":"%m","prompt":"\xff"}',
    b'{"model":"%m","prompt":"\\ud800","input":"\\ud800","query":"\\ud800","documents":["\\ud800"],"texts":["\\ud800"]}',
    b'\xef\xbb\xbf{"model":"%m"}',
    b'{"model":"%m"} trailing',
    b'{"model":"%m",}',
    b"{'model':'%m'}",
    b'{"model":"%m","x":' + b"[" * 200 + b"]" * 200 + b"}",
    b'{"model":"%m","x":' + b"[" * 100_000,
    b'{"model":"%m","x":' + b'{"a":' * 100_000,
    b'{"model":"%m\x00"}',
]


@pytest.mark.parametrize("path", [*BODIES, VARIATIONS])
async def test_bodies_that_are_no_request(site: Site, path: str) -> None:
    org = await site.org()
    model = str(BODIES.get(path, EDIT)["model"]).encode()
    for body in RAW:
        answer = await org.post(path, body.replace(b"%m", model))
        assert answer.status == 400, (body[:80], answer.body[:300])
        assert answer.json["error"]["code"] == "REQUEST_001"
    await org.settled()


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/mixed; boundary=x",
        "multipart/form-data",
        "application/json; charset=utf-16",
        "image/png",
        "\x00",
    ],
)
async def test_other_content_types(site: Site, path: str, kind: str) -> None:
    org = await site.org()
    answer = await org.post(path, BODIES[path], headers={"content-type": kind})
    assert answer.status in (400, 415), answer.body
    assert answer.json["error"]["code"] in ("REQUEST_001", "REQUEST_007")
    if kind == "\x00":  # no HTTP, so nobody was asked who it is
        org.asked -= 1
    await org.settled()
    await nothing_left(site)


async def test_json_for_what_takes_files_only(site: Site) -> None:
    org = await site.org()
    for operation in ("transcriptions", "translations"):
        for body in ({}, {"model": "sandbox-transcribe", "file": DATA_URL}):
            answer = await org.post(f"/api/v1/audio/{operation}", body)
            answer.error(415, "REQUEST_007", param="Content-Type")
    await org.settled()


@pytest.mark.parametrize(
    ("path", "text"),
    [(path, f'{json.dumps(body)[:-1]}, "%": 1, "%": 2}}') for path, body in BODIES.items()],
)
async def test_what_came_twice(site: Site, path: str, text: str) -> None:
    org = await site.org()
    for name in ("model", "extra", "\\u0065xtra"):
        body = text.replace("%", name, 1).replace("%", name.replace("\\u0065", "e"))
        answer = await org.post(path, body.encode())
        error = answer.json["error"]
        assert (answer.status, error["code"]) == (400, "REQUEST_001"), answer.body
    await org.settled()


@pytest.mark.parametrize("name", ["picture", "pictures", "speech", "ranked", "judged", "vectors"])
async def test_members_nobody_knows_go_on_or_are_named(site: Site, name: str) -> None:
    """To upstreams over HTTP, where a bad name or value could break the request."""
    lane = media_lane(site)
    org = await site.org("5")
    names = ["extra", "user", "x\r\nevil", "", "__class__", 'a"b', "é", "metadata", "style"]
    for member in names:
        for value in VALUES:
            path, body, _ = lane.ask(name)
            answer = await org.post(path, body | {member: value})
            assert answer.status in (200, 400), (member, value, answer.body[:300])
    balance, held = await org.credits()
    assert held == 0
    assert balance <= org.granted


@pytest.mark.parametrize("value", [*VALUES, 1])
async def test_members_nobody_knows_in_a_form_upstream(site: Site, value: Any) -> None:
    """A JSON edit becomes a form at OpenAI."""
    lane = media_lane(site)
    org = await site.org()
    for member in ("extra", "x\r\nevil: 1", 'a"; filename="b', "é"):
        body = {"model": lane.model("picture"), "prompt": "a", "image": DATA_URL, member: value}
        answer = await org.post(EDITS, body)
        assert answer.status == 200, (member, value, answer.body[:300])
    for seen in lane.seen("a"):
        heads = re.findall(rb'content-disposition: form-data; name="([^"\r\n]*)"', seen.body)
        assert len(heads) == 6, heads
        assert seen.body.count(b'filename="') == 1
    await org.settled(*["0.01"] * 4)


async def test_numbers_that_nobody_can_hold(site: Site) -> None:
    """Where a member is decoded to be written into a form."""
    lane = media_lane(site)
    org = await site.org()
    body = {"model": lane.model("picture"), "prompt": "a", "image": DATA_URL, "extra": "%"}
    answer = await org.post(EDITS, json.dumps(body).replace('"%"', "[1e999]").encode())
    answer.error(400, "REQUEST_001")
    await org.settled()


@pytest.mark.parametrize("path", BODIES)
async def test_random_damage_never_crashes(site: Site, path: str) -> None:
    org = await site.org()
    rng = random.Random(path)
    text = json.dumps(BODIES[path]).encode()
    for _ in range(150):
        data = bytearray(text)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(data))
            if rng.random() < 0.5:
                data[at] = rng.choice(b'{}[]",:\\\x00\xff0-e1n')
            else:
                del data[at]
        answer = await org.post(path, bytes(data))
        assert answer.status in (200, 400, 404), (bytes(data), answer.body[:300])
    assert (await org.credits())[1] == 0
