"""Embeddings of providers with a wire or limits of their own.

Shapes are those of shared/reference/providers: cohere_jina_voyage.md (1.2, 2, 3, 6, 8), gemini.md
section 5, bedrock.md section 7; recordings are read in tests/recorded.
"""

from __future__ import annotations

import base64
import json
import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json as msgspec_json

from tokenmarket.adapters.kit.add_usage import add_usage
from tokenmarket.adapters.protocol import Again, Head, MediaAdapter, Reply, UpstreamRequest
from tokenmarket.adapters.registry import ADAPTERS
from tokenmarket.core.catalog import Model, Provider, Route
from tokenmarket.core.errors import ApiError, UpstreamError
from tokenmarket.core.parse import parse
from tokenmarket.core.pricing import price_row, price_sheet
from tokenmarket.core.requests import Request
from tokenmarket.core.usage import Usage

OK = Head(200, {})
PRICES = price_sheet([price_row("input_token", "0.1")])
BATCHED = sorted(
    name for name, own in ADAPTERS.items() if isinstance(own.get("embeddings"), MediaAdapter)
)


def adapter(name: str) -> Any:
    return ADAPTERS[name]["embeddings"]


def route(upstream_model: str = "theirs", **capabilities: Any) -> Route:
    model = Model("ours", "embeddings", "O", "我", "us", capabilities=capabilities)
    return Route(model, Provider("far", "cohere", "https://x.test/v1"), upstream_model, PRICES)


def request(value: Any = "hi", **members: Any) -> Request:
    made = parse("embeddings", json.dumps({"model": "ours", "input": value} | members).encode())
    made.request_id = "req_77"
    return made


def built(
    name: str, value: Any = "hi", found: Route | None = None, **members: Any
) -> tuple[dict[str, Any], UpstreamRequest]:
    sent = adapter(name).build(request(value, **members), found or route(), now_s=0)
    return json.loads(sent.body), sent


def read(
    name: str, answer: Any, value: Any = "hi", found: Route | None = None, **members: Any
) -> tuple[dict[str, Any], Usage | None]:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    reply = adapter(name).read(request(value, **members), found or route(), OK, body)
    return json.loads(reply.payload(None)), reply.usage


def refused(name: str, param: str, found: Route | None = None, **members: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        built(name, found=found, **members)
    assert caught.value.param == param
    return caught.value


# ----------------------------------------------------------------------------------------- requests


def test_what_cohere_is_sent() -> None:
    body, sent = built("cohere", ["a", "b"], encoding_format="base64", user="u", foo=1)
    assert body == {
        "model": "theirs",
        "texts": ["a", "b"],
        "input_type": "search_document",
        "embedding_types": ["float"],
    }
    assert (sent.path, sent.dropped) == ("/embed", ("foo",))
    body, _ = built("cohere", dimensions=512, input_type="query", truncate="END")
    assert body["output_dimension"] == 512
    assert body["input_type"] == "search_query"
    assert body["truncate"] == "END"
    assert built("cohere", input_type="classification")[0]["input_type"] == "classification"
    assert built("cohere", input_type="similarity")[1].dropped == ("input_type",)
    error = refused("cohere", "input_type", input_type="poem")
    assert "search_query" in error.message
    refused("cohere", "dimensions", route("embed-english-v3.0"), dimensions=512)
    error = refused("cohere", "dimensions", route(dimensions=[256, 512]), dimensions=300)
    assert "256, 512" in error.message


@pytest.mark.parametrize(
    ("name", "field", "words"),
    [
        ("jina", "task", {"query": "retrieval.query", "document": "retrieval.passage"}),
        ("jina", "task", {"clustering": "separation", "similarity": "text-matching"}),
        ("jina", "task", {"retrieval.query": "retrieval.query"}),
        ("voyage", "input_type", {"query": "query", "document": "document"}),
    ],
)
def test_words_for_what_a_text_is_for(name: str, field: str, words: dict[str, str]) -> None:
    for ours, theirs in words.items():
        for member in ("input_type", "task"):
            body, _ = built(name, **{member: ours})
            assert body[field] == theirs
    assert field not in built(name)[0]


def test_voyage_does_not_know_float() -> None:
    assert built("voyage", encoding_format="float")[0] == {"model": "theirs", "input": ["hi"]}
    body, _ = built("voyage", encoding_format="base64", dimensions=256, truncation=False)
    assert body["encoding_format"] == "base64"
    assert (body["output_dimension"], body["truncation"]) == (256, False)
    assert built("jina", encoding_format="base64")[0]["embedding_type"] == "base64"


def test_what_gemini_is_sent_and_answers() -> None:
    body, sent = built("gemini", ["a", "b"], route("gemini-embedding-2"), input_type="query")
    assert sent.path == "/models/gemini-embedding-2:batchEmbedContents"
    assert body["requests"][1] == {
        "model": "models/gemini-embedding-2",
        "taskType": "RETRIEVAL_QUERY",
        "content": {"parts": [{"text": "b"}]},
    }
    answer: dict[str, Any] = {"embeddings": [{"values": [3.0, 4.0]}]}
    document, usage = read("gemini", answer, dimensions=2)
    assert document["data"][0]["embedding"] == pytest.approx([0.6, 0.8])
    assert usage == Usage(input_tokens=1, requests=1, estimated=True)
    answer["usageMetadata"] = {"promptTokenCount": 7}
    assert read("gemini", answer)[1] == Usage(input_tokens=7, requests=1)
    assert read("gemini", answer)[0]["data"][0]["embedding"] == [3.0, 4.0]


def test_bedrock_speaks_three_wires() -> None:
    body, sent = built("bedrock", found=route("amazon.titan-embed-text-v2:0"), dimensions=256)
    assert (sent.path, body) == (
        "/model/amazon.titan-embed-text-v2%3A0/invoke",
        {"inputText": "hi", "dimensions": 256},
    )
    body, _ = built("bedrock", ["a", "b"], route("us.cohere.embed-v4:0"), input_type="query")
    assert body["input_type"] == "search_query"
    assert body["texts"] == ["a", "b"]
    body, _ = built("bedrock", found=route("amazon.nova-2-multimodal-embeddings-v1:0"))
    assert body["singleEmbeddingParams"]["embeddingPurpose"] == "GENERIC_INDEX"
    refused("bedrock", "dimensions", route("amazon.titan-embed-text-v1"), dimensions=5)


@pytest.mark.parametrize("name", BATCHED)
def test_token_ids_are_refused(name: str) -> None:
    asked = request([[1, 2], [3]])
    assert adapter(name).split(asked, route()) == (asked,)
    assert refused(name, "input", value=[1, 2, 3]).code == "REQUEST_002"


# ----------------------------------------------------------------------------------- split, merge


LIMITS = {
    "bedrock": 1,
    "cohere": 96,
    "dashscope": 10,
    "gemini": 100,
    "jina": 0,
    "siliconflow": 32,
    "tei": 32,
    "voyage": 1000,
}


def answered(name: str, part: Request) -> Reply:
    """What the provider would say: the vector of text "7" is [7, 1]."""
    body = json.loads(part.body)["input"]
    texts = [body] if isinstance(body, str) else body
    vectors = [[float(text), 1.0] for text in texts]
    answer: dict[str, Any]
    if name == "cohere":
        billed = {"input_tokens": len(texts)}
        answer = {"embeddings": {"float": vectors}, "meta": {"billed_units": billed}}
    elif name == "gemini":
        answer = {
            "embeddings": [{"values": vector} for vector in vectors],
            "usageMetadata": {"promptTokenCount": len(texts)},
        }
    elif name == "bedrock":
        answer = {"embedding": vectors[0], "inputTextTokenCount": 1}
    else:
        rows = [{"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(vectors)]
        rows.reverse()  # a provider may answer in any order
        answer = {"data": rows, "usage": {"total_tokens": len(texts)}}
    reply = adapter(name).read(part, route(), OK, json.dumps(answer).encode())
    assert isinstance(reply, Reply)
    return reply


def test_every_provider_with_batches_is_here() -> None:
    assert set(BATCHED) == LIMITS.keys()


@pytest.mark.parametrize("name", BATCHED)
@given(count=st.integers(1, 230), base64_form=st.booleans())
def test_batches_keep_the_order_and_add_up(name: str, count: int, base64_form: bool) -> None:
    texts = [str(number) for number in range(count)]
    form = {"encoding_format": "base64"} if base64_form else {}
    whole = request(texts, **form)
    parts = adapter(name).split(whole, route())
    limit = LIMITS[name] or count
    assert len(parts) == -(-count // limit)
    inputs = [json.loads(part.body)["input"] for part in parts]
    assert [text for chunk in inputs for text in chunk] == texts
    for part, chunk in zip(parts, inputs, strict=True):
        assert part.typed.input == chunk
        assert len(chunk) <= limit
        adapter(name).build(part, route(), now_s=0)
    if len(parts) == 1:
        return
    reply = adapter(name).merge(whole, route(), [answered(name, part) for part in parts])
    document = json.loads(reply.payload(None))
    assert [row["index"] for row in document["data"]] == list(range(count))
    for number, row in enumerate(document["data"]):
        vector = row["embedding"]
        if base64_form:
            vector = list(struct.unpack("<2f", base64.b64decode(vector)))
        assert vector == [number, 1.0]
    assert reply.usage is not None
    assert reply.usage.input_tokens == count
    assert reply.usage.requests <= 1


def test_a_part_that_lost_a_vector_fails_the_whole() -> None:
    texts = [str(number) for number in range(70)]
    parts = adapter("tei").split(request(texts), route())
    replies = [answered("tei", part) for part in parts]
    data = replies[1].document["data"]
    replies[1].document["data"] = msgspec_json.decode(msgspec_json.encode(data))[1:]
    with pytest.raises(UpstreamError):
        adapter("tei").merge(request(texts), route(), replies)


def test_usage_of_parts() -> None:
    one, two = Usage(input_tokens=2, requests=1), Usage(input_tokens=3, requests=1, estimated=True)
    assert add_usage([one, two]) == Usage(input_tokens=5, requests=1, estimated=True)
    assert add_usage([None, None]) is None
    assert add_usage([one, None]) == Usage(input_tokens=2, requests=1, flags=("usage_missing",))


# ---------------------------------------------------------------------------------------- answers


@pytest.mark.parametrize(
    "answer",
    [
        {},
        [],
        7,
        b"",
        b"<html>",
        {"embeddings": []},
        {"embeddings": {"float": []}},
        {"embeddings": {"float": [[]]}},
        {"embeddings": {"float": [["x"]]}},
        {"embeddings": {"float": [[1.0], [2.0]]}},
        {"embeddings": [{"values": None}]},
        {"embeddings": [{"values": [1.0, "x"]}]},
        {"embedding": "x"},
        {"embedding": None},
        b'{"embeddings":{"float":[[NaN]]}}',
        b'{"embeddings":{"float":[[1e999]]}}',
    ],
)
@pytest.mark.parametrize("name", ["bedrock", "cohere", "gemini"])
def test_garbage_is_an_upstream_error(name: str, answer: Any) -> None:
    with pytest.raises(UpstreamError):
        read(name, answer)


def test_vectors_of_different_lengths_are_garbage() -> None:
    with pytest.raises(UpstreamError, match="length"):
        read("cohere", {"embeddings": {"float": [[1.0, 2.0], [1.0]]}}, ["a", "b"])


numbers = st.floats(-1e6, 1e6, width=32)


@given(st.lists(numbers, min_size=8, max_size=8), st.integers(1, 8), st.booleans())
def test_vectors_are_shortened_only_where_the_model_allows_it(
    vector: list[float], dimensions: int, base64_form: bool
) -> None:
    """Together's wire has no dimensions."""
    found = route(matryoshka=True, dimensions_max=8)
    form = {"encoding_format": "base64" if base64_form else "float"}
    body, sent = built("together", found=found, dimensions=dimensions, **form)
    assert "dimensions" not in body
    assert sent.dropped == ()
    answer = {"data": [{"index": 0, "embedding": vector}], "usage": {"total_tokens": 1}}
    document, _ = read("together", answer, found=found, dimensions=dimensions, **form)
    made = document["data"][0]["embedding"]
    if base64_form:
        made = list(struct.unpack(f"<{dimensions}f", base64.b64decode(made)))
    assert len(made) == dimensions
    length = math.hypot(*vector[:dimensions])
    if length > 1e-3:
        assert math.hypot(*made) == pytest.approx(1, abs=1e-5)
    refused("together", "dimensions", dimensions=dimensions)
    error = refused("together", "dimensions", found, dimensions=9)
    assert "at most 8" in error.message


@pytest.mark.parametrize(
    ("name", "status", "headers", "body", "kind"),
    [
        ("gemini", 400, {}, {"error": {"code": 400, "message": "API key not valid. Pass"}}, "auth"),
        ("gemini", 429, {}, {"error": {"code": 429, "message": "quota"}}, "rate_limited"),
        ("cohere", 498, {}, {"message": "x"}, "auth"),
        ("voyage", 400, {}, {"detail": "Model m is not supported."}, "not_found"),
        ("bedrock", 403, {"x-amzn-errortype": "AccessDeniedException"}, {}, "forbidden"),
        ("tei", 413, {}, {"message": "batch size", "error_type": "Validation"}, "bad_request"),
    ],
)
def test_errors(name: str, status: int, headers: dict[str, str], body: Any, kind: str) -> None:
    assert adapter(name).explain(Head(status, headers), json.dumps(body).encode()).kind == kind


def test_nothing_is_polled_for() -> None:
    reply = adapter("cohere").read(
        request(), route(), OK, b'{"embeddings":{"float":[[1.0]]},"id":"x"}'
    )
    assert not isinstance(reply, Again)
    assert (reply.usage, reply.upstream_id) == (None, "x")
