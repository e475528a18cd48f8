"""Vectors in the form the caller asked for."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import msgspec
import pytest

from tests.unit.adapters.made import OK, adapter, built, request, route
from tokenmarket.core.errors import ApiError, UpstreamError
from tokenmarket.core.usage import Usage

VECTOR = [0.5, -1.25, 3.0]
PACKED = base64.b64encode(struct.pack("<3f", *VECTOR)).decode()


def answer(*vectors: Any, **more: Any) -> dict[str, Any]:
    data = [
        {"object": "embedding", "index": place, "embedding": vector}
        for place, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": 4, "total_tokens": 4}
    return {"object": "list", "data": data, "model": "theirs", "usage": usage, "id": "e", **more}


def read(body: Any, form: str | None, name: str = "openai") -> dict[str, Any]:
    members = {} if form is None else {"encoding_format": form}
    made = request("embeddings", **members)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = adapter(name, "embeddings").read(made, route(), OK, raw)
    assert reply.usage == Usage(input_tokens=4)
    assert reply.upstream_id == "e"
    return json.loads(msgspec.json.encode(reply.document))


@pytest.mark.parametrize("sent", [VECTOR, PACKED])
@pytest.mark.parametrize(
    ("form", "expected"), [(None, VECTOR), ("float", VECTOR), ("base64", PACKED)]
)
def test_both_forms_from_either(sent: Any, form: str | None, expected: Any) -> None:
    document = read(answer(sent, sent), form)
    assert document == {
        "object": "list",
        "data": answer(expected, expected)["data"],
        "model": "ours",
    }


def test_vectors_in_the_right_form_keep_their_bytes() -> None:
    raw = json.dumps(answer(VECTOR), separators=(",", ":")).encode()
    reply = adapter("openai", "embeddings").read(request("embeddings"), route(), OK, raw)
    assert isinstance(reply.document["data"], msgspec.Raw)


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'{"data":null}',
        b'{"data":[{"embedding":"!!"}]}',
        b'{"data":[{"embedding":"AAA="}]}',
        b'{"data":[{"embedding":{}}]}',
        b'{"error":{"message":"x"}}',
        b'{"detail":"x"}',
    ],
)
def test_garbage_is_an_upstream_error(body: bytes) -> None:
    made = request("embeddings", encoding_format="float")
    with pytest.raises(UpstreamError):
        adapter("openai", "embeddings").read(made, route(), OK, body)


def test_the_form_upstreams_are_asked_for() -> None:
    asked: dict[str, Any] = {"operation": "embeddings", "encoding_format": "base64"}
    assert built("openai", **asked)[0]["encoding_format"] == "base64"
    assert built("mistral", **asked)[0]["encoding_format"] == "float"
    assert "encoding_format" not in built("ollama", **asked)[0]
    body, dropped = built("openai", operation="embeddings", user="u", extra=1)
    assert body == {"model": "theirs", "input": "hi", "user": "u", "extra": 1}
    assert dropped == ()


def test_dimensions() -> None:
    asked: dict[str, Any] = {"operation": "embeddings", "dimensions": 256}
    assert built("openai", **asked)[0]["dimensions"] == 256
    assert built("mistral", **asked)[0]["output_dimension"] == 256
    with pytest.raises(ApiError) as caught:
        built("together", **asked)
    assert (caught.value.code, caught.value.param) == ("REQUEST_002", "dimensions")


@pytest.mark.parametrize("ids", [[1, 2], [[1], [2, 3]]])
def test_token_ids_go_where_they_mean_something(ids: Any) -> None:
    assert built("openai", operation="embeddings", input=ids)[0]["input"] == ids
    with pytest.raises(ApiError) as caught:
        built("mistral", operation="embeddings", input=ids)
    assert (caught.value.code, caught.value.param) == ("REQUEST_002", "input")
