"""Moderation: OpenAI's shape in and out, Mistral's categories under OpenAI's names.

Shapes as recorded (tests/recorded); Mistral's text wire takes the same input as OpenAI's.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmarket.adapters.protocol import Again, Head
from tokenmarket.adapters.registry import ADAPTERS
from tokenmarket.core.catalog import Model, Provider, Route
from tokenmarket.core.errors import ApiError, UpstreamError, rerank_error_members
from tokenmarket.core.parse import parse
from tokenmarket.core.pricing import price_row, price_sheet
from tokenmarket.core.requests import Request
from tokenmarket.core.usage import Usage

ROUTE = Route(
    Model("ours", "moderation", "O", "我", "us"),
    Provider("far", "openai", "https://x.test/v1"),
    "theirs",
    price_sheet([price_row("request", "0")]),
)
RESULT: dict[str, Any] = {
    "flagged": True,
    "categories": {"violence": True, "hate": False, "illicit": None},
    "category_scores": {"violence": 0.9, "hate": 0.1, "illicit": None},
}
IMAGE = {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}


def request(value: Any = "hi", **members: Any) -> Request:
    made = parse("moderation", json.dumps({"model": "ours", "input": value} | members).encode())
    made.request_id = "req_77"
    return made


def built(name: str, value: Any = "hi", **members: Any) -> tuple[Any, tuple[str, ...]]:
    sent = ADAPTERS[name]["moderation"].build(request(value, **members), ROUTE, now_s=0)
    return json.loads(sent.body), sent.dropped


def read(name: str, answer: Any, value: Any = "hi") -> tuple[dict[str, Any], Usage | None]:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    reply = ADAPTERS[name]["moderation"].read(request(value), ROUTE, Head(200, {}), body)
    assert not isinstance(reply, Again)
    return json.loads(reply.payload(None)), reply.usage


def test_requests() -> None:
    parts = [{"type": "text", "text": "a"}, IMAGE]
    assert built("openai", parts) == ({"model": "theirs", "input": parts}, ())
    assert built("openai", "hi", user="u", foo=1, metadata={"a": "b"}) == (
        {"model": "theirs", "input": "hi"},
        ("foo",),
    )
    assert built("sandbox", metadata={"a": "b"})[0]["metadata"] == {"a": "b"}
    texts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert built("mistral", texts)[0]["input"] == ["a\nb"]
    assert built("mistral", "a")[0]["input"] == ["a"]
    with pytest.raises(ApiError) as caught:
        built("mistral", parts)
    assert (caught.value.code, caught.value.param) == ("REQUEST_002", "input")


def test_answers() -> None:
    document, usage = read("openai", {"id": "modr-1", "model": "theirs", "results": [RESULT]})
    assert document == {
        "id": "modr-77",
        "model": "ours",
        "results": [
            {
                "flagged": True,
                "categories": {"violence": True, "hate": False},
                "category_scores": {"violence": 0.9, "hate": 0.1},
            }
        ],
        "usage": None,
    }
    assert usage == Usage(requests=1)
    _, usage = read("openai", {"results": [RESULT], "usage": {"prompt_tokens": 5}})
    assert usage == Usage(input_tokens=5, requests=1)
    document, _ = read("openai", {"results": [RESULT, RESULT]}, ["a", "b"])
    assert len(document["results"]) == 2


def test_mistrals_categories_under_openais_names() -> None:
    theirs = {
        "categories": {"selfharm": True, "pii": False, "hate_and_discrimination": False},
        "category_scores": {"selfharm": 0.8, "pii": 0.2, "hate_and_discrimination": 0.1},
    }
    usage = {"prompt_tokens": 12, "completion_tokens": 0, "total_tokens": 73, "request_count": 1}
    document, counted = read("mistral", {"results": [theirs], "usage": usage})
    assert document["results"] == [
        {
            "flagged": True,
            "categories": {"self-harm": True, "pii": False, "hate": False},
            "category_scores": {"self-harm": 0.8, "pii": 0.2, "hate": 0.1},
            "category_applied_input_types": {
                "self-harm": ["text"],
                "pii": ["text"],
                "hate": ["text"],
            },
        }
    ]
    assert counted == Usage(input_tokens=12, requests=1)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        [],
        b"",
        b"<html>",
        {"results": []},
        {"results": [RESULT, RESULT]},
        {"results": [7]},
        {"results": [{"flagged": True}]},
        {"results": [RESULT | {"categories": {"hate": "no"}}]},
        {"results": [RESULT | {"category_scores": {"hate": "no"}}]},
        {"results": [RESULT | {"category_scores": {"hate": True}}]},
        b'{"results":[{"categories":{"a":true},"category_scores":{"a":1e999}}]}',
        {"error": {"message": "no"}},
        {"message": "no"},
    ],
)
@pytest.mark.parametrize("name", ["mistral", "openai", "sandbox"])
def test_garbage_is_an_upstream_error(name: str, answer: Any) -> None:
    with pytest.raises(UpstreamError):
        read(name, answer)


MEMBERS = ["results", "flagged", "categories", "category_scores", "hate", "usage", "error"]
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.sampled_from(["mistral", "openai"]), values)
def test_no_answer_breaks_anything(name: str, answer: Any) -> None:
    try:
        document, usage = read(name, answer)
    except UpstreamError:
        return
    (result,) = document["results"]
    assert isinstance(result["flagged"], bool)
    assert all(isinstance(hit, bool) for hit in result["categories"].values())
    assert usage is not None
    assert usage.requests == 1


def test_the_error_body_that_every_rerank_client_reads() -> None:
    error = ApiError("REQUEST_001", "no", param="query").body("req_1", "https://x.test")
    body = rerank_error_members(error)
    assert body == {"message": "no", "detail": "no", "error": error}
