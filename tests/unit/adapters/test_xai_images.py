"""Pictures of xAI, after ``reference/media/images.md`` section 2 and the image service of
PyPI xai-sdk (ratios, 1k and 2k, ``respect_moderation``); recordings in ``tests/recorded``."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.adapters import pictures
from tests.unit.adapters.pictures import DATA_URL, EDITS, PNG, PNG_B64, route
from tokenmarket.adapters.protocol import Head
from tokenmarket.catalog import load_shipped
from tokenmarket.core.catalog_toml import compile
from tokenmarket.core.errors import ApiError, UpstreamError
from tokenmarket.core.pricing import charge
from tokenmarket.core.usage import Usage

XAI = route("xai", **EDITS)
REFERENCE = {"type": "image_url", "url": DATA_URL}
PLAIN = {"model": "theirs", "prompt": "a lake", "response_format": "b64_json"}


@pytest.mark.parametrize(
    ("members", "more"),
    [
        ({}, {}),
        ({"size": "1024x1024", "n": 2}, {"aspect_ratio": "1:1", "resolution": "1k", "n": 2}),
        ({"size": "1920x1080"}, {"aspect_ratio": "16:9", "resolution": "2k"}),
        ({"aspect_ratio": "19.5:9"}, {"aspect_ratio": "19.5:9"}),
        ({"response_format": "url", "user": "u"}, {"user": "u"}),
    ],
)
def test_a_generation(members: dict[str, Any], more: dict[str, Any]) -> None:
    path, body, dropped = pictures.sent_json(XAI, **members)
    assert (path, body, dropped) == ("/images/generations", PLAIN | more, set())


def test_what_it_lacks() -> None:
    _, body, dropped = pictures.sent_json(XAI, quality="high", seed=1, output_format="jpeg")
    assert (body, dropped) == (PLAIN, {"quality", "seed", "output_format"})
    for size in ("4096x4096", "1000x300"):
        with pytest.raises(ApiError) as caught:
            pictures.sent_json(XAI, size=size)
        assert (caught.value.code, caught.value.param) == ("REQUEST_002", "size")


def test_edits_are_json() -> None:
    path, body, dropped = pictures.sent_json(XAI, "edits", image=DATA_URL, size="1536x1024")
    assert (path, body) == ("/images/edits", PLAIN | {"image": REFERENCE, "resolution": "2k"})
    assert dropped == {"size"}
    path, body, dropped = pictures.sent_json(
        XAI, "edits", images=[{"image_url": DATA_URL}] * 2, size="1536x1024"
    )
    assert body["images"] == [REFERENCE, REFERENCE]
    assert (body["aspect_ratio"], dropped) == ("3:2", set())
    path, body, _ = pictures.sent_json(XAI, "variations", files=(("image", PNG),))
    assert path == "/images/edits"
    assert body["prompt"].startswith("Make a variation")
    with pytest.raises(ApiError):
        pictures.sent_json(XAI, "edits", files=(("image", PNG), ("mask", PNG)))


def test_moderated_pictures() -> None:
    good = {"b64_json": PNG_B64, "mime_type": "image/jpeg", "respect_moderation": True}
    bad = {"b64_json": "", "respect_moderation": False}
    reply = pictures.read(XAI, {"data": [good, bad], "usage": {"cost_in_usd_ticks": 400_000_000}})
    assert [item.content_type for item in reply.produced] == ["image/jpeg"]
    assert reply.usage == Usage(images=1)
    with pytest.raises(UpstreamError) as caught:
        pictures.read(XAI, {"data": [bad]})
    assert caught.value.kind == "content_policy"
    error = pictures.adapter("xai").explain(
        Head(400, {}),
        b'{"code":"invalid-argument","error":"Generated image rejected by content moderation."}',
    )
    assert error.kind == "content_policy"


def test_an_edit_costs_what_it_reads() -> None:
    (at,) = compile(load_shipped(), 1).routes["grok-imagine-image"]
    for inputs, nano in ((0, 40_000_000), (1, 44_000_000), (3, 52_000_000)):
        made = pictures.request(
            at, "edits" if inputs else "generations", files=(("image", PNG),) * inputs, n=2
        )
        assert charge(at.prices, Usage(images=2), made.attributes) == nano
