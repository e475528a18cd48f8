"""Embeddings: unit vectors, both encodings agree, every form of input."""

import base64
import json
import math
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse

from tokenmarket.sandbox import tokens
from tokenmarket.sandbox.desk import Desk
from tokenmarket.sandbox.embeddings import vector


def post(**fields: Any) -> tuple[int, Any]:
    body = json.dumps({"model": "sandbox-embed", **fields}).encode()
    script = Desk(lambda: 1).answer("POST", "/v1/embeddings", {}, body)
    return script.status, json.loads(script.pieces[0])


@given(st.binary(), st.integers(1, 600))
def test_vectors_have_length_one(seed: bytes, dimensions: int) -> None:
    made = vector(seed, dimensions)
    assert len(made) == dimensions
    assert math.hypot(*made) == pytest.approx(1, abs=1e-4)
    assert made == vector(seed, dimensions)
    assert array("f", made).tolist() == pytest.approx(made, abs=1e-7)


def test_the_answer_is_openais_and_float_and_base64_agree() -> None:
    status, floats = post(input=["one two", "drei"], dimensions=16)
    assert status == 200
    reply = CreateEmbeddingResponse.model_validate(floats, strict=True)
    assert [row.index for row in reply.data] == [0, 1]
    assert reply.data[0].embedding != reply.data[1].embedding
    assert reply.usage.prompt_tokens == reply.usage.total_tokens == 3
    _, packed = post(input=["one two", "drei"], dimensions=16, encoding_format="base64")
    for row, text in zip(reply.data, packed["data"], strict=True):
        values = array("f", base64.b64decode(text["embedding"]))
        assert values.tolist() == pytest.approx(row.embedding, abs=1e-7)


def test_an_input_has_one_vector_wherever_it_stands() -> None:
    _, one = post(input="hello")
    _, two = post(input=["other", "hello"])
    assert len(one["data"][0]["embedding"]) == 256
    assert one["data"][0]["embedding"] == two["data"][1]["embedding"]


@given(st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=5))
def test_texts_are_counted(texts: list[str]) -> None:
    _, reply = post(input=texts, dimensions=1)
    assert reply["usage"]["prompt_tokens"] == sum(map(tokens.count, texts))


@pytest.mark.parametrize(
    ("given_input", "rows", "count"), [([1, 2, 3], 1, 3), ([[1], [2, 3]], 2, 3)], ids=str
)
def test_token_ids_are_accepted(given_input: Any, rows: int, count: int) -> None:
    _, reply = post(input=given_input)
    assert len(reply["data"]) == rows
    assert reply["usage"]["prompt_tokens"] == count


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"input": ""},
        {"input": []},
        {"input": [""]},
        {"input": [[]]},
        {"input": ["a", 1]},
        {"input": [["a"]]},
        {"input": [-1]},
        {"input": [True]},
        {"input": [10**30]},
        {"input": ["a"] * 2049},
        {"input": ["a"] * 200, "dimensions": 4096},
        {"input": "a", "dimensions": 0},
        {"input": "a", "dimensions": 4097},
        {"input": "a", "dimensions": "8"},
        {"input": "a", "encoding_format": "int8"},
    ],
    ids=range(16),
)
def test_bad_inputs_are_refused(fields: dict[str, Any]) -> None:
    status, reply = post(**fields)
    assert status == 400
    assert reply["error"]["type"] == "invalid_request_error"


def test_a_full_batch_is_answered() -> None:
    status, reply = post(input=["a"] * 2048)
    assert status == 200
    assert len(reply["data"]) == 2048
