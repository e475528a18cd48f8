"""Vectors in the form the caller asked for."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import msgspec
import pytest

from tests.unit.adapters.made import OK, adapter, built, request, route
from tokenmarket.adapters.kit.embeddings_plain import read_vectors
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


ITEM = {"object": "embedding", "index": 0, "embedding": [0.5, -1e-3, 2]}
ONE = {"object": "list", "data": [ITEM], "model": "m", "usage": {"prompt_tokens": 3}}


def raw_answer(*items: Any, indent: int | None = None, **more: Any) -> bytes:
    body = ONE | {"data": list(items), "usage": {"prompt_tokens": 3, "total_tokens": 3}} | more
    return json.dumps(
        body, indent=indent, separators=(",", ":") if indent is None else None
    ).encode()


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("as_base64", [False, True])
def test_vectors_are_cut_out_of_plain_answers(indent: int | None, as_base64: bool) -> None:
    vector: Any = "AAAAPwAAgL8=" if as_base64 else [0.5, -1e-3, 2]
    items = [ITEM | {"index": n, "embedding": vector} for n in (0, 1, 2)]
    body = raw_answer(*items, indent=indent)
    reply = read_vectors(route(), body, as_base64=as_base64)
    assert reply is not None
    encoding = "base64" if as_base64 else "float"
    made = request("embeddings", encoding_format=encoding)
    assert adapter("openai", "embeddings").read(made, route(), OK, body).prefix == reply.prefix
    assert json.loads(reply.payload(b"1")) == {
        "object": "list",
        "data": items,
        "model": "ours",
        "usage": 1,
    }
    assert reply.usage == Usage(input_tokens=3)


PLAIN = raw_answer(ITEM, ITEM | {"index": 1})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        PLAIN[:-1],
        PLAIN[: PLAIN.index(b"2]}")],
        PLAIN.replace(b"[0.5", b"[NaN"),
        PLAIN.replace(b"[0.5", b"[null"),
        PLAIN.replace(b"[0.5", b"[[1]"),
        PLAIN.replace(b"[0.5", b'["x"'),
        PLAIN.replace(b"[0.5", b"[-Infinity"),
        PLAIN.replace(b'"index":0', b'"index":0,"embedding":[7]'),  # which one would count?
        PLAIN.replace(b'"index":0', b'"index":0,"new":{"embedding":[7]}'),
        PLAIN.replace(b'"index":0', b'"index":"0"'),
        PLAIN.replace(b'"model":"m"', b'"new":{"embedding":[1]}'),
        PLAIN.replace(b'"object":"list"', b'"error":{"message":"x"}'),
        PLAIN.replace(b'"data"', b'"dat"'),
        PLAIN.replace(b'"embedding":[', b'"embedding" : ['),
        raw_answer(),
        raw_answer(ITEM | {"embedding": "AAAA"}),
        raw_answer(ITEM, ITEM | {"embedding": "AAAA"}),
    ],
)
def test_other_answers_are_decoded(body: bytes) -> None:
    assert read_vectors(route(), body, as_base64=False) is None


def test_a_base64_that_is_none_is_decoded() -> None:
    body = raw_answer(ITEM | {"embedding": 'AA"A\n'})
    assert read_vectors(route(), body, as_base64=True) is None
