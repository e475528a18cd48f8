"""OpenAI's images. Answers and events are written from ``reference/media/images.md`` section 1;
recorded ones are in ``tests/recorded/test_images.py``."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.adapters import pictures
from tests.unit.adapters.pictures import DATA_URL, EDITS, PNG, PNG_B64, route
from tokenmarket.adapters.protocol import Head
from tokenmarket.core.errors import ApiError, UpstreamError
from tokenmarket.core.uploads import joined
from tokenmarket.core.usage import Usage

TOKENS = ("input_token", "image_input_token", "image_output_token")
OPENAI = route("openai", *TOKENS, **EDITS)
USAGE = {
    "input_tokens": 50,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
    "output_tokens": 210,
    "output_tokens_details": {"text_tokens": 14, "image_tokens": 196},
    "total_tokens": 260,
}
ANSWER: dict[str, Any] = {
    "created": 1_790_000_001,
    "background": "opaque",
    "output_format": "png",
    "quality": "low",
    "size": "1024x1024",
    "data": [{"b64_json": PNG_B64, "revised_prompt": "a calm lake"}],
    "usage": USAGE,
}


def form_of(at: Any = OPENAI, variant: str = "edits", **members: Any) -> tuple[str, bytes]:
    call = pictures.sent(at, pictures.request(at, variant, **members))
    assert call.headers[0][1].startswith("multipart/form-data; boundary=")
    return call.path, joined(call.body)


# ------------------------------------------------------------------------------------- requests


def test_a_generation_goes_out_without_what_only_the_gateway_reads() -> None:
    path, body, dropped = pictures.sent_json(
        OPENAI,
        n=3,
        size="1024x1024",
        quality="high",
        response_format="url",
        background="transparent",
        output_format="webp",
        output_compression=60,
        moderation="low",
        user="u",
        provider="far",
        models=["other"],
    )
    assert path == "/images/generations"
    assert body == {
        "model": "theirs",
        "prompt": "a lake",
        "n": 3,
        "size": "1024x1024",
        "quality": "high",
        "background": "transparent",
        "output_format": "webp",
        "output_compression": 60,
        "moderation": "low",
        "user": "u",
    }
    assert not dropped


def test_what_gpt_image_models_refuse_is_dropped_by_name() -> None:
    _, body, dropped = pictures.sent_json(
        OPENAI,
        seed=1,
        negative_prompt="fog",
        style="vivid",
        frame_count=16,
        input_fidelity="high",
        svg={"model": "x"},
    )
    assert body == {"model": "theirs", "prompt": "a lake"}
    assert dropped == {
        *("seed", "negative_prompt", "style", "frame_count", "input_fidelity", "svg")
    }
    _, body, dropped = pictures.sent_json(
        route("openai", input_fidelity=True), input_fidelity="high"
    )
    assert (body["input_fidelity"], dropped) == ("high", set())


def test_auto_means_that_nothing_is_sent() -> None:
    _, body, _ = pictures.sent_json(OPENAI, size="auto", quality="auto")
    assert body == {"model": "theirs", "prompt": "a lake"}


def test_several_pictures_go_as_repeated_fields_of_a_form() -> None:
    path, body = form_of(files=(("image[]", PNG), ("image[]", PNG), ("mask", PNG)), n="2")
    assert path == "/images/edits"
    assert body.count(b'name="image[]"; filename="image[].png"') == 2
    assert body.count(b'name="mask"; filename="mask.png"') == 1
    assert body.count(PNG) == 3
    assert body.count(b"content-type: image/png") == 3
    for name, value in ((b"model", b"theirs"), (b"prompt", b"a lake"), (b"n", b"2")):
        assert b'name="%b"\r\n\r\n%b\r\n' % (name, value) in body


def test_an_edit_in_json_becomes_the_same_form() -> None:
    path, body = form_of(images=[{"image_url": DATA_URL}], mask={"image_url": DATA_URL})
    assert path == "/images/edits"
    assert b'name="image"; filename="image"' in body
    assert b'name="mask"; filename="mask"' in body
    assert body.count(PNG) == 2
    assert b"image_url" not in body


def test_a_generation_with_pictures_is_an_edit() -> None:
    path, body = form_of(variant="generations", image=DATA_URL)
    assert path == "/images/edits"
    assert body.count(PNG) == 1


def test_a_variation_is_an_edit_in_our_words() -> None:
    path, body = form_of(variant="variations", files=(("image", PNG),))
    assert path == "/images/edits"
    assert b"Make a variation of this picture" in body


@pytest.mark.parametrize("variant", ["edits", "variations"])
def test_a_model_without_edits_says_so(variant: str) -> None:
    with pytest.raises(ApiError) as caught:
        pictures.request(route("openai"), variant, files=(("image", PNG),))
    assert (caught.value.code, caught.value.reason) == ("REQUEST_001", "unsupported_operation")


def test_streams_are_asked_for_as_they_are() -> None:
    _, body, _ = pictures.sent_json(OPENAI, stream=True, partial_images=2)
    assert (body["stream"], body["partial_images"]) == (True, 2)
    adapter = pictures.adapter("openai")
    assert adapter.streams(pictures.request(OPENAI, stream=True), OPENAI)
    assert not adapter.streams(pictures.request(OPENAI), OPENAI)


# -------------------------------------------------------------------------------------- answers


def test_an_answer() -> None:
    reply = pictures.read(OPENAI, ANSWER)
    assert [item.b64 for item in reply.produced] == [PNG_B64]
    assert reply.produced[0].facts == {"revised_prompt": "a calm lake"}
    assert reply.members == {
        "created": 1_790_000_001,
        "background": "opaque",
        "output_format": "png",
        "quality": "low",
        "size": "1024x1024",
    }
    assert reply.usage == Usage(
        input_tokens=10,
        image_input_tokens=40,
        output_tokens=14,
        image_output_tokens=196,
        images=1,
    )


def test_without_details_all_output_is_picture() -> None:
    usage = {"input_tokens": 10, "output_tokens": 196}
    reply = pictures.read(OPENAI, ANSWER | {"usage": usage})
    assert reply.usage == Usage(input_tokens=10, image_output_tokens=196, images=1)


def test_missing_usage_is_unknown_unless_pictures_are_the_unit() -> None:
    bare = {"data": [{"b64_json": PNG_B64}, {"url": "https://x.example/1.png"}, {}, 7]}
    assert pictures.read(OPENAI, bare).usage is None
    assert pictures.read(route("openai"), bare).usage == Usage(images=2)


def test_data_urls_are_bytes() -> None:
    for name in ("url", "b64_json"):
        reply = pictures.read(OPENAI, {"data": [{name: DATA_URL}]})
        assert [(item.b64, item.url) for item in reply.produced] == [(PNG_B64, None)]


def test_an_error_inside_a_200() -> None:
    error = {"error": {"code": "moderation_blocked", "message": "no", "type": "x"}}
    with pytest.raises(UpstreamError) as caught:
        pictures.read(OPENAI, error)
    assert caught.value.kind == "content_policy"


def test_the_refusal_of_a_prompt() -> None:
    body = {
        "error": {
            "code": "moderation_blocked",
            "message": "Your request was rejected by the safety system.",
            "param": None,
            "type": "image_generation_user_error",
        }
    }
    error = pictures.adapter("openai").explain(Head(400, {}), json.dumps(body).encode())
    assert (error.kind, error.failover) == ("content_policy", False)


@given(
    st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=8) | st.floats(allow_nan=False),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["data", "usage", "b64_json", "url", "error", "input_tokens"]),
                    inner,
                    max_size=4,
                )
            ),
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_garbage_is_an_upstream_error_or_an_answer(body: bytes) -> None:
    adapter = pictures.adapter("openai")
    adapter.explain(Head(500, {}), body)
    try:
        pictures.read(OPENAI, body)
    except UpstreamError:
        pass


# -------------------------------------------------------------------------------------- streams


def event(kind: str, **members: Any) -> bytes:
    data = json.dumps({"type": kind, **members}).encode()
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"


PARTIAL = event("image_generation.partial_image", b64_json="AAAA", partial_image_index=0)
COMPLETED = event("image_generation.completed", b64_json=PNG_B64, size="1024x1024", usage=USAGE)


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_partial_pictures_pass_and_the_last_waits_for_its_price(step: int) -> None:
    decoder = pictures.adapter("openai").decoder(
        pictures.request(OPENAI, stream=True), OPENAI, pictures.OK
    )
    stream = PARTIAL + COMPLETED
    passed = b"".join(decoder.feed(stream[at : at + step]) for at in range(0, len(stream), step))
    assert passed.startswith(b"event: image_generation.partial_image\ndata: ")
    assert b"completed" not in passed
    assert decoder.delivered_output
    assert decoder.usage is None
    assert decoder.finish() == b""
    assert decoder.usage == pictures.read(OPENAI, ANSWER).usage
    tail = decoder.tail(b'{"cost":0.1}')
    assert tail.startswith(b"event: image_generation.completed\ndata: ")
    last = json.loads(tail.split(b"data: ")[1])
    assert (last["b64_json"], last["usage"]) == (PNG_B64, {"cost": 0.1})


def test_usage_of_a_stream_of_several_pictures() -> None:
    made = pictures.request(OPENAI, stream=True, n=2)
    bare = event("image_generation.completed", b64_json=PNG_B64)
    for events, usage in (
        ((COMPLETED, COMPLETED), Usage(20, image_input_tokens=80, output_tokens=28)),
        ((bare, COMPLETED), Usage(10, image_input_tokens=40, output_tokens=14)),
        ((bare, bare), None),
    ):
        decoder = pictures.adapter("openai").decoder(made, OPENAI, pictures.OK)
        decoder.feed(b"".join(events))
        decoder.finish()
        if usage is None:
            assert decoder.usage is None
            continue
        assert decoder.usage is not None
        assert decoder.usage.images == 2
        assert decoder.usage.input_tokens == usage.input_tokens
        assert decoder.usage.image_input_tokens == usage.image_input_tokens
        assert decoder.usage.output_tokens == usage.output_tokens


@pytest.mark.parametrize(
    ("stream", "kind"),
    [
        (PARTIAL, "stream_broken"),
        (b"", "stream_broken"),
        (b"data: {\n\n", "upstream_error"),
        (event("error", error={"code": "moderation_blocked", "message": "no"}), "content_policy"),
    ],
)
def test_a_stream_that_fails(stream: bytes, kind: str) -> None:
    decoder = pictures.adapter("openai").decoder(
        pictures.request(OPENAI, stream=True), OPENAI, pictures.OK
    )
    with pytest.raises(UpstreamError) as caught:
        (decoder.feed(stream), decoder.finish())
    assert caught.value.kind == kind


# ------------------------------------------------------------------------------------- catalog


@pytest.mark.parametrize(
    ("size", "tokens"), [("1024x1024", 8_192), ("1536x1024", 8_192), ("3840x2160", 43_200)]
)
def test_the_hold_grows_with_the_picture(size: str, tokens: int) -> None:
    at = route("openai", *TOKENS, size_rule="gpt-image-2", image_tokens_max=8_192)
    bound = dict(pictures.request(at, size=size, n=2).bound.any_units)
    assert bound["image_output_token"] == 2 * tokens


def test_legal_lists_are_named() -> None:
    at = route("openai", formats=["png"], backgrounds=["opaque"], tiers=["2K"], inputs_max=1)
    assert pictures.request(at, size="2K").attributes == {"size": "2K", "resolution": "2K"}
    for name, value in (("output_format", "webp"), ("background", "transparent")):
        with pytest.raises(ApiError) as caught:
            pictures.request(at, **{name: value})
        assert caught.value.param == name
        assert caught.value.reason == f"unsupported_{name}"
        assert caught.value.details is not None
    with pytest.raises(ApiError) as caught:
        pictures.request(
            route("openai", edits=True, inputs_max=1), "edits", files=(("image", PNG),) * 2
        )
    assert caught.value.reason == "too_many_images"
