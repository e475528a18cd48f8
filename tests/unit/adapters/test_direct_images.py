"""Pictures of providers that answer at once in words of their own: Ark (Seedream), MiniMax,
Stability, Ideogram, Recraft. Exchanges are written from ``reference/media/images.md`` section 2."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.adapters import pictures
from tests.unit.adapters.pictures import DATA_URL, EDITS, PNG, PNG_B64, route
from tokenmarket.adapters.protocol import Head
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import ApiError, UpstreamError
from tokenmarket.core.uploads import joined
from tokenmarket.core.usage import Usage

ARK = route("ark", **EDITS)
MINIMAX = route("minimax", **EDITS)
STABILITY = route("stability", **EDITS)
IDEOGRAM = route("ideogram", **EDITS)
RECRAFT = route("recraft", **EDITS)
ALL = ("ark", "minimax", "stability", "ideogram", "recraft")
URL = "https://far.example/1.png"


def refused(at: Route, variant: str = "generations", **members: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        pictures.sent(at, pictures.request(at, variant, **members))
    return caught.value


def form_of(at: Route, variant: str = "generations", **members: Any) -> tuple[Any, dict[str, str]]:
    """The call, and the text fields of its form."""
    call = pictures.sent(at, pictures.request(at, variant, **members))
    assert dict(call.headers)["content-type"].startswith("multipart/form-data")
    assert ("accept", "application/json") in call.headers
    found = re.findall(rb'form-data; name="(\w+)"\r\n\r\n(.*?)\r\n--', joined(call.body), re.DOTALL)
    return call, {name.decode(): value.decode() for name, value in found}


def failed(at: Route, document: object) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        pictures.read(at, document)
    return caught.value


# ----------------------------------------------------------------------------------------- ark


def test_ark() -> None:
    at = route("ark", tiers=["2K"], **EDITS)
    base = {"model": "theirs", "prompt": "a lake", "response_format": "b64_json"}
    path, body, dropped = pictures.sent_json(
        at,
        size="2K",
        seed=3,
        watermark=False,
        guidance_scale=2.5,
        output_format="webp",
        style="vivid",
        sequential_image_generation="disabled",
        stream=True,
    )
    assert path == "/images/generations"
    wanted = {"size": "2K", "seed": 3, "watermark": False, "guidance_scale": 2.5}
    assert body == base | wanted
    assert dropped == {"output_format", "style"}
    _, body, _ = pictures.sent_json(at, "edits", image=DATA_URL)
    assert body == base | {"image": DATA_URL}
    _, body, _ = pictures.sent_json(at, "edits", image=[DATA_URL] * 2)
    assert body == base | {"image": [DATA_URL] * 2}
    assert pictures.sent_json(at, negative_prompt="", seed=None)[1] == base
    assert len(pictures.adapter("ark").split(pictures.request(at, n=3), at)) == 3


def test_ark_makes_no_series_nobody_paid_for() -> None:
    assert refused(ARK, sequential_image_generation="auto").code == "REQUEST_002"
    options = {"max_images": 15}
    assert refused(ARK, sequential_image_generation_options=options).code == "REQUEST_002"
    assert refused(ARK, "edits", files=(("image", PNG), ("mask", PNG))).param == "mask"
    assert refused(ARK, seed="three").param == "seed"


def test_ark_answers() -> None:
    usage = {"generated_images": 1, "output_tokens": 4096, "total_tokens": 4096}
    item = {"b64_json": PNG_B64, "size": "2048x2048"}
    reply = pictures.read(ARK, {"created": 1_790_000_009, "data": [item], "usage": usage})
    assert [made.b64 for made in reply.produced] == [PNG_B64]
    assert reply.members == {"created": 1_790_000_009, "size": "2048x2048"}
    assert reply.usage is not None
    assert reply.usage.images == 1
    error = {"code": "OutputImageSensitiveContentDetected", "message": "It may be sensitive."}
    reply = pictures.read(ARK, {"data": [{"error": error}, {"url": URL}]})
    assert [made.url for made in reply.produced] == [URL]
    assert reply.usage == Usage(images=1)
    assert len(reply.warnings) == 1
    assert failed(ARK, {"data": [{"error": error}]}).kind == "content_policy"
    assert failed(ARK, {"data": []}).kind == "upstream_error"


def test_ark_s_codes_have_details() -> None:
    def kind(status: int, code: str) -> str:
        body = json.dumps({"error": {"code": code, "message": "No."}}).encode()
        return pictures.adapter("ark").explain(Head(status, {}), body).kind

    assert kind(400, "InputTextSensitiveContentDetected.PolicyViolation") == "content_policy"
    assert kind(404, "InvalidEndpointOrModel.NotFound") == "not_found"
    assert kind(429, "RateLimitExceeded.EndpointRPMExceeded") == "rate_limited"
    assert kind(403, "AccountOverdueError") == "no_balance"
    assert kind(400, "InvalidParameter.size") == "bad_request"


# ------------------------------------------------------------------------------------- minimax


def test_minimax() -> None:
    base = {"model": "theirs", "prompt": "a lake", "n": 2, "response_format": "base64"}
    path, body, dropped = pictures.sent_json(
        MINIMAX,
        n=2,
        size="1024x1536",
        prompt_optimizer=True,
        subject_reference=[{"type": "character", "image_file": "https://elsewhere.example"}],
    )
    assert path == "/image_generation"
    assert body == base | {"width": 1024, "height": 1536, "prompt_optimizer": True}
    assert dropped == {"subject_reference"}
    _, body, _ = pictures.sent_json(MINIMAX, n=2, aspect_ratio="16:9")
    assert body == base | {"aspect_ratio": "16:9"}
    assert refused(MINIMAX, size="1000x1001").reason == "unsupported_size"
    assert refused(MINIMAX, aspect_ratio="5:1").param == "aspect_ratio"
    assert refused(MINIMAX, "edits", image=DATA_URL).param == "image"


def test_minimax_answers() -> None:
    good = {"base_resp": {"status_code": 0, "status_msg": "success"}, "id": "job"}
    reply = pictures.read(MINIMAX, good | {"data": {"image_base64": [PNG_B64, PNG_B64]}})
    assert reply.usage == Usage(images=2)
    assert [made.b64 for made in reply.produced] == [PNG_B64] * 2
    reply = pictures.read(MINIMAX, good | {"data": {"image_urls": [URL]}})
    assert [made.url for made in reply.produced] == [URL]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (1002, "rate_limited"),
        (1004, "auth"),
        (1008, "no_balance"),
        (1026, "content_policy"),
        (2013, "bad_request"),
        (7777, "upstream_error"),
    ],
)
def test_minimax_says_no_with_200(code: int, kind: str) -> None:
    assert failed(MINIMAX, {"base_resp": {"status_code": code, "status_msg": "no"}}).kind == kind


# ----------------------------------------------------------------------------------- stability


def test_stability_is_a_form_without_files_too() -> None:
    call, fields = form_of(
        STABILITY, size="1920x1080", seed=7, negative_prompt="fog", output_format="webp", style="x"
    )
    assert call.path == "/stable-image/generate/sd3"
    assert fields == {
        "prompt": "a lake",
        "model": "theirs",
        "negative_prompt": "fog",
        "seed": "7",
        "output_format": "webp",
        "aspect_ratio": "16:9",
    }
    assert set(call.dropped) == {"style"}
    assert refused(STABILITY, size="1000x100").reason == "unsupported_size"


def test_stability_s_pictures_need_a_strength() -> None:
    call, fields = form_of(STABILITY, "edits", files=(("image", PNG),), strength="0.4")
    assert fields["strength"] == "0.4"
    assert fields["mode"] == "image-to-image"
    assert PNG in joined(call.body)
    assert refused(STABILITY, "edits", image=DATA_URL).param == "strength"
    assert refused(STABILITY, "edits", image=DATA_URL, strength=2).reason == "invalid_parameter"


def test_stability_answers() -> None:
    reply = pictures.read(STABILITY, {"image": PNG_B64, "finish_reason": "SUCCESS", "seed": 7})
    (made,) = reply.produced
    assert (made.b64, made.facts) == (PNG_B64, {"seed": 7})
    assert reply.usage == Usage(images=1)
    blurred = {"image": PNG_B64, "finish_reason": "CONTENT_FILTERED"}
    assert failed(STABILITY, blurred).kind == "content_policy"
    assert failed(STABILITY, blurred | {"finish_reason": "NEW"}).kind == "upstream_error"


def test_stability_refuses() -> None:
    def kind(status: int, name: str, words: str = "no") -> str:
        body = json.dumps({"id": "1", "name": name, "errors": [words]}).encode()
        return pictures.adapter("stability").explain(Head(status, {}), body).kind

    assert kind(403, "content_moderation") == "content_policy"
    assert kind(402, "payment_required") == "no_balance"
    assert kind(400, "bad_request", "prompt: cannot be blank") == "bad_request"
    assert kind(500, "internal_error") == "upstream_error"


# ------------------------------------------------------------------------------------ ideogram


def test_ideogram() -> None:
    call, fields = form_of(
        IDEOGRAM, n=2, size="1920x1080", quality="low", magic_prompt="OFF", style_type="ODD"
    )
    assert call.path == "/v1/theirs/generate"
    assert fields == {
        "prompt": "a lake",
        "num_images": "2",
        "aspect_ratio": "16x9",
        "rendering_speed": "TURBO",
        "magic_prompt": "OFF",
    }
    assert set(call.dropped) == {"style_type"}
    at = route("ideogram", sizes=["1312x736"], ratios=["16:9"], default_quality="medium")
    assert form_of(at, size="1312x736")[1]["resolution"] == "1312x736"
    _, fields = form_of(at, aspect_ratio="16:9")
    assert (fields["aspect_ratio"], fields["rendering_speed"]) == ("16x9", "DEFAULT")
    call, fields = form_of(IDEOGRAM, "edits", files=(("image", PNG),), image_weight="60")
    assert call.path == "/v1/theirs/remix"
    assert fields["image_weight"] == "60"


def test_ideogram_s_price_is_not_chosen_behind_our_back() -> None:
    assert refused(IDEOGRAM, rendering_speed="QUALITY").code == "REQUEST_002"
    assert refused(IDEOGRAM, num_images=8).code == "REQUEST_002"
    assert refused(IDEOGRAM, quality="hd").param == "quality"
    assert refused(IDEOGRAM, "edits", files=(("image", PNG), ("mask", PNG))).param == "mask"


def test_ideogram_answers() -> None:
    good = {"url": URL, "prompt": "A lake", "resolution": "1312x736", "is_image_safe": True}
    bad = {"url": None, "is_image_safe": False}
    reply = pictures.read(IDEOGRAM, {"data": [good, bad]})
    (made,) = reply.produced
    assert made.facts == {"revised_prompt": "A lake", "size": "1312x736"}
    assert reply.usage == Usage(images=1)
    assert len(reply.warnings) == 1
    assert failed(IDEOGRAM, {"data": [bad]}).kind == "content_policy"
    words = b'{"error": "Prompt provided failed safety check"}'
    error = pictures.adapter("ideogram").explain(Head(422, {}), words)
    assert error.kind == "content_policy"


# ------------------------------------------------------------------------------------- recraft


def test_recraft() -> None:
    path, body, dropped = pictures.sent_json(
        RECRAFT, n=3, size="1365x1024", seed=5, style="digital_illustration", quality="high"
    )
    assert path == "/images/generations"
    assert body == {
        "model": "theirs",
        "prompt": "a lake",
        "n": 3,
        "response_format": "b64_json",
        "size": "1365x1024",
        "style": "digital_illustration",
        "random_seed": 5,
    }
    assert dropped == {"quality"}
    _, body, dropped = pictures.sent_json(RECRAFT, style="vivid")
    assert "style" not in body
    assert dropped == {"style"}
    assert refused(RECRAFT, style="vector_illustration").param == "style"
    assert refused(RECRAFT, style_id="5").param == "style_id"
    parts = pictures.adapter("recraft").split(pictures.request(RECRAFT, n=8), RECRAFT)
    assert [part.n for part in parts] == [6, 2]


def test_recraft_answers() -> None:
    item = {"image_id": "1", "b64_json": PNG_B64, "revised_prompt": "A lake"}
    reply = pictures.read(RECRAFT, {"created": 1_790_000_009, "data": [item], "credits": 40})
    assert reply.usage == Usage(images=1)
    assert reply.produced[0].facts == {"revised_prompt": "A lake"}
    assert failed(RECRAFT, {"code": "not_enough_credits", "message": "x"}).kind == "upstream_error"


# ----------------------------------------------------------------------------------------- all

JUNK = st.binary(max_size=40) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("data", "url", "b64_json", "usage", "error", "code", "created", "message"),
                    *("base_resp", "status_code", "image_urls", "image", "finish_reason", "seed"),
                    *("is_image_safe", "size", "errors", "name", "prompt"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
).map(lambda value: json.dumps(value).encode())


@pytest.mark.parametrize("name", ALL)
@given(body=JUNK)
def test_garbage_is_an_upstream_error_or_an_answer(name: str, body: bytes) -> None:
    pictures.adapter(name).explain(Head(500, {}), body)
    try:
        pictures.read(route(name), body)
    except UpstreamError:
        pass
