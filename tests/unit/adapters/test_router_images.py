"""Pictures at SiliconFlow, OpenRouter and new-api servers.

SiliconFlow: docs.siliconflow.cn/api-reference/images/images-generations, read 2026-11. OpenRouter:
``reference/media/images.md`` section 2 and the components of PyPI openrouter 1.3.84. new-api speaks
OpenAI's wire (``test_openai_images.py``)."""

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

SILICON = route("siliconflow", **EDITS)
ROUTER = route("openrouter", "input_token", "image_output_token", **EDITS)
NEWAPI = route("newapi", "input_token", "image_output_token", **EDITS)
BASE = {"model": "theirs", "prompt": "a lake"}
URL = "https://far.example/1.png"


# --------------------------------------------------------------------------------- siliconflow


def test_siliconflow_generates_and_edits_at_one_address() -> None:
    path, body, dropped = pictures.sent_json(
        SILICON,
        size="1328x1328",
        negative_prompt="fog",
        seed=4,
        num_inference_steps=20,
        quality="high",
        batch_size=4,
    )
    assert path == "/images/generations"
    assert body == BASE | {
        "image_size": "1328x1328",
        "negative_prompt": "fog",
        "seed": 4,
        "num_inference_steps": 20,
    }
    assert dropped == {"quality", "batch_size"}
    path, body, _ = pictures.sent_json(SILICON, "edits", images=[{"image_url": DATA_URL}] * 3)
    assert path == "/images/generations"
    assert body == BASE | {"image": DATA_URL, "image2": DATA_URL, "image3": DATA_URL}
    with pytest.raises(ApiError):
        pictures.sent_json(SILICON, "edits", images=[{"image_url": DATA_URL}] * 4)


def test_siliconflow_makes_one_picture_a_call() -> None:
    parts = pictures.adapter("siliconflow").split(pictures.request(SILICON, n=3), SILICON)
    assert len(parts) == 3
    for one in parts:
        assert "n" not in json.loads(joined(pictures.sent(SILICON, one).body))


@pytest.mark.parametrize("name", ["images", "data"])
def test_siliconflow_answers(name: str) -> None:
    reply = pictures.read(SILICON, {name: [{"url": URL}], "timings": {"inference": 1}, "seed": 7})
    assert [item.url for item in reply.produced] == [URL]
    assert reply.usage == Usage(images=1)


@pytest.mark.parametrize(
    ("status", "document", "kind"),
    [
        (400, {"code": 20012, "message": "Model does not exist.", "data": None}, "not_found"),
        (400, {"code": 20015, "message": "image_size is invalid", "data": ""}, "bad_request"),
        (503, {"code": 50505, "message": "Model service overloaded."}, "overloaded"),
        (401, "Invalid token", "auth"),
    ],
)
def test_siliconflow_refuses(status: int, document: object, kind: str) -> None:
    error = pictures.adapter("siliconflow").explain(Head(status, {}), json.dumps(document).encode())
    assert error.kind == kind


# ---------------------------------------------------------------------------------- openrouter


def test_openrouter() -> None:
    path, body, dropped = pictures.sent_json(
        ROUTER, size="2048x2048", quality="high", background="opaque", seed=1, style="vivid"
    )
    assert path == "/images"
    assert body == BASE | {
        "size": "2048x2048",
        "quality": "high",
        "background": "opaque",
        "seed": 1,
    }
    assert dropped == {"style"}
    reference = {"type": "image_url", "image_url": {"url": DATA_URL}}
    path, body, dropped = pictures.sent_json(
        ROUTER, "edits", image=DATA_URL, input_references=["https://elsewhere.example"]
    )
    assert (path, body) == ("/images", BASE | {"input_references": [reference]})
    assert dropped == {"input_references"}
    with pytest.raises(ApiError):
        pictures.sent_json(ROUTER, "edits", files=(("image", PNG), ("mask", PNG)))
    _, body, _ = pictures.sent_json(ROUTER, stream=True, partial_images=1)
    assert body == BASE


def test_openrouter_counts_as_chat_does() -> None:
    usage = {
        "prompt_tokens": 20,
        "completion_tokens": 1200,
        "completion_tokens_details": {"image_tokens": 1120, "reasoning_tokens": 50},
        "cost": 0.03,
    }
    reply = pictures.read(
        ROUTER, {"created": 0, "data": [{"b64_json": PNG_B64, "media_type": "x"}], "usage": usage}
    )
    assert reply.usage == Usage(
        input_tokens=20,
        output_tokens=30,
        reasoning_tokens=50,
        image_output_tokens=1120,
        images=1,
    )
    assert reply.members == {}
    with pytest.raises(UpstreamError) as caught:
        pictures.read(ROUTER, {"error": {"code": 402, "message": "More credits are needed."}})
    assert caught.value.kind == "no_balance"


# ------------------------------------------------------------------------------------- new-api


def test_newapi_is_openai_s_wire() -> None:
    path, body, dropped = pictures.sent_json(
        NEWAPI, size="1024x1024", response_format="b64_json", stream=True, seed=1
    )
    assert (path, body) == ("/images/generations", BASE | {"size": "1024x1024", "seed": 1})
    assert not dropped
    call = pictures.sent(NEWAPI, pictures.request(NEWAPI, "edits", files=(("image", PNG),)))
    assert call.path == "/images/edits"
    assert PNG in joined(call.body)
    error = pictures.adapter("newapi").explain(
        Head(403, {}),
        b'{"error":{"message":"user quota is not enough","type":"new_api_error",'
        b'"code":"insufficient_user_quota"}}',
    )
    assert error.kind == "no_balance"


# --------------------------------------------------------------------------------------- all


@pytest.mark.parametrize("name", ["siliconflow", "openrouter", "newapi", "xai", "sandbox"])
@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["data", "images", "url", "b64_json", "usage", "error", "code"]),
                inner,
                max_size=3,
            )
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_garbage_is_an_upstream_error_or_an_answer(name: str, body: bytes) -> None:
    pictures.adapter(name).explain(Head(500, {}), body)
    try:
        pictures.read(route(name), body)
    except UpstreamError:
        pass


def test_everything_that_is_dropped_was_given() -> None:
    members: dict[str, Any] = {"quality": "high", "style": "vivid", "seed": 3, "moderation": "low"}
    for name in ("openai", "xai", "siliconflow", "openrouter", "newapi", "gemini", "sandbox"):
        _, body, dropped = pictures.sent_json(route(name), **members)
        config = body.get("generationConfig", body)
        for member in members:
            assert (member in dropped) != (member in config), (name, member)
