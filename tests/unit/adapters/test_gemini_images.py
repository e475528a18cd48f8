"""Pictures of Gemini. Exchanges are written from ``reference/media/images.md`` section 2 and
``reference/providers/gemini.md`` sections 2 to 4; the refused prompt and the answer without a
picture have the fields of live answers in vercel/ai (``packages/google/src/__fixtures__``)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.adapters import pictures
from tests.unit.adapters.pictures import DATA_URL, PNG, PNG_B64, route
from tokenmarket.adapters.protocol import Head
from tokenmarket.core.errors import ApiError, UpstreamError
from tokenmarket.core.usage import Usage

TOKENS = ("input_token", "image_input_token", "output_token", "image_output_token")
RATIOS = ["1:1", "16:9", "9:16", "4:3", "3:4"]
TIERS = ["512", "1K", "2K", "4K"]
PRO = route("gemini", *TOKENS, edits=True, ratios=RATIOS, tiers=TIERS)
PLAIN = route("gemini", *TOKENS, edits=True)
TEXT_AND_IMAGE = {"responseModalities": ["TEXT", "IMAGE"]}


def part(data: str = PNG_B64, **more: Any) -> dict[str, Any]:
    return {"inlineData": {"mimeType": "image/png", "data": data}, **more}


def answer(*parts: Any, finish: str = "STOP", **more: Any) -> dict[str, Any]:
    candidate = {"index": 0, "finishReason": finish, "content": {"role": "model", "parts": parts}}
    usage = {
        "promptTokenCount": 300,
        "candidatesTokenCount": 1140,
        "thoughtsTokenCount": 60,
        "totalTokenCount": 1500,
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": 42},
            {"modality": "IMAGE", "tokenCount": 258},
        ],
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1120}],
    }
    return {"candidates": [candidate], "usageMetadata": usage, "responseId": "r1", **more}


# ------------------------------------------------------------------------------------- requests


def test_a_prompt_and_the_size_in_google_s_words() -> None:
    path, body, dropped = pictures.sent_json(PRO, size="1920x1080", seed=7)
    assert path == "/models/theirs:generateContent"
    assert body == {
        "contents": [{"role": "user", "parts": [{"text": "a lake"}]}],
        "generationConfig": {
            **TEXT_AND_IMAGE,
            "imageConfig": {"aspectRatio": "16:9", "imageSize": "2K"},
            "seed": 7,
        },
    }
    assert not dropped


@pytest.mark.parametrize(
    ("members", "picture"),
    [
        ({}, None),
        ({"size": "auto"}, None),
        ({"size": "512x512"}, {"aspectRatio": "1:1", "imageSize": "512"}),
        ({"size": "1024x1024"}, {"aspectRatio": "1:1", "imageSize": "1K"}),
        ({"size": "1344x768"}, {"aspectRatio": "16:9", "imageSize": "2K"}),
        ({"size": "4K"}, {"imageSize": "4K"}),
        ({"aspect_ratio": "9:16", "resolution": "2K"}, {"aspectRatio": "9:16", "imageSize": "2K"}),
        ({"aspect_ratio": "auto"}, None),
    ],
)
def test_sizes(members: dict[str, Any], picture: dict[str, str] | None) -> None:
    if members.get("size") == "1344x768":  # 1.75 is within 2 % of 16:9
        assert abs(1344 / 768 / (16 / 9) - 1) < 0.02
    _, body, dropped = pictures.sent_json(PRO, **members)
    assert body["generationConfig"].get("imageConfig") == picture
    assert not dropped


def test_a_model_of_one_tier_is_not_told_which() -> None:
    _, body, _ = pictures.sent_json(PLAIN, size="1024x1024")
    assert body["generationConfig"]["imageConfig"] == {"aspectRatio": "1:1"}
    with pytest.raises(ApiError) as caught:
        pictures.sent_json(PLAIN, size="2048x2048")
    assert (caught.value.code, caught.value.reason) == ("REQUEST_002", "unsupported_size")
    with pytest.raises(ApiError) as caught:
        pictures.sent_json(PLAIN, size="1000x200")
    assert caught.value.param == "size"


@pytest.mark.parametrize("word", ["17:9", 3, ["1:1"]])
def test_a_ratio_that_is_none(word: object) -> None:
    with pytest.raises(ApiError) as caught:
        pictures.sent_json(PRO, aspect_ratio=word)
    assert caught.value.param == "aspect_ratio"


def test_pictures_go_before_the_words() -> None:
    _, body, _ = pictures.sent_json(PRO, "edits", images=[{"image_url": DATA_URL}] * 2)
    assert body["contents"][0]["parts"] == [part(), part(), {"text": "a lake"}]
    call = pictures.sent(PRO, pictures.request(PRO, "variations", files=(("image", PNG),)))
    assert b"Make a variation of this picture" in call.body


def test_what_it_cannot_do_is_named() -> None:
    _, body, dropped = pictures.sent_json(
        PRO,
        quality="high",
        background="transparent",
        output_format="webp",
        negative_prompt="fog",
        moderation="low",
        user="u",
        response_format="url",
        style=None,
    )
    assert body["generationConfig"] == TEXT_AND_IMAGE
    assert dropped == {"quality", "background", "output_format", "negative_prompt", "moderation"}
    _, _, dropped = pictures.sent_json(PRO, quality="auto", background="auto", size="auto")
    assert not dropped


def test_a_mask_is_refused() -> None:
    at = route("gemini", edits=True, masks=True)
    with pytest.raises(ApiError) as caught:
        pictures.sent(at, pictures.request(at, "edits", files=(("image", PNG), ("mask", PNG))))
    assert (caught.value.code, caught.value.param) == ("REQUEST_002", "mask")


def test_every_picture_is_a_call() -> None:
    adapter = pictures.adapter("gemini")
    made = pictures.request(PRO, n=3)
    parts = adapter.split(made, PRO)
    assert [one.n for one in parts] == [1, 1, 1]
    reply = pictures.read(PRO, answer(part()))
    merged = adapter.merge(made, PRO, [reply, reply, reply])
    assert len(merged.produced) == 3
    assert merged.usage is not None
    assert (merged.usage.images, merged.usage.image_output_tokens) == (3, 3360)


# -------------------------------------------------------------------------------------- answers


def test_an_answer_with_thoughts_and_words() -> None:
    reply = pictures.read(
        PRO, answer({"text": "Here it is."}, part("ZHJhZnQ=", thought=True), part(), {"text": "!"})
    )
    assert [(item.b64, item.content_type) for item in reply.produced] == [(PNG_B64, "image/png")]
    assert reply.usage == Usage(
        input_tokens=42,
        image_input_tokens=258,
        output_tokens=20,
        reasoning_tokens=60,
        image_output_tokens=1120,
        images=1,
    )
    assert reply.upstream_id == "r1"


def test_thoughts_among_the_candidates_are_not_counted_twice() -> None:
    document = answer(part())
    document["usageMetadata"] |= {"candidatesTokenCount": 1200, "totalTokenCount": 1500}
    usage = pictures.read(PRO, document).usage
    assert usage is not None
    assert (usage.output_tokens, usage.reasoning_tokens) == (20, 60)


def test_usage_without_details_and_without_anything() -> None:
    document = answer(part())
    document["usageMetadata"] = {"promptTokenCount": 9, "candidatesTokenCount": 1290}
    assert pictures.read(PRO, document).usage == Usage(9, image_output_tokens=1290, images=1)
    del document["usageMetadata"]
    assert pictures.read(PRO, document).usage is None
    assert pictures.read(route("gemini"), document).usage == Usage(images=1)


@pytest.mark.parametrize(
    ("document", "kind", "code"),
    [
        (answer(finish="IMAGE_SAFETY"), "content_policy", "IMAGE_SAFETY"),
        (answer({"text": "no"}, finish="PROHIBITED_CONTENT"), "content_policy", None),
        (
            {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {}},
            "content_policy",
            "PROHIBITED_CONTENT",
        ),
        (answer(finish="NO_IMAGE"), "upstream_error", "no_image_returned"),
        (answer({"text": "A story."}), "upstream_error", "no_image_returned"),
        (answer(part(thought=True)), "upstream_error", "no_image_returned"),
        ({"candidates": []}, "upstream_error", "no_image_returned"),
        ({"error": {"code": 503, "status": "UNAVAILABLE", "message": "x"}}, "overloaded", None),
    ],
)
def test_an_answer_without_a_picture(document: object, kind: str, code: str | None) -> None:
    with pytest.raises(UpstreamError) as caught:
        pictures.read(PRO, document)
    assert caught.value.kind == kind
    if code is not None:
        assert caught.value.code == code
    assert caught.value.failover == (kind != "content_policy")


# Members of every level, in any wrong shape.
_NAMES = ["candidates", "content", "parts", "inlineData", "data", "mimeType", "usageMetadata"]
_NAMES += ["promptTokenCount", "candidatesTokensDetails", "error", "details", "finishReason"]


@given(
    st.binary(max_size=100)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=4)
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_garbage_is_an_upstream_error_or_an_answer(body: bytes) -> None:
    pictures.adapter("gemini").explain(Head(400, {}), body)
    try:
        pictures.read(PRO, body)
    except UpstreamError:
        pass
