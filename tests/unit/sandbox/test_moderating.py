"""The sandbox's moderations: OpenAI's shape, its own transparent lists of words."""

import json
from typing import Any

import pytest
from openai.types import ModerationCreateResponse

from tokenmarket.sandbox.desk import Desk
from tokenmarket.sandbox.moderating import WORDS


def post(**fields: Any) -> tuple[int, Any]:
    script = Desk(lambda: 1).answer("POST", "/v1/moderations", {}, json.dumps(fields).encode())
    return script.status, json.loads(script.pieces[0])


def flagged(text: str) -> set[str]:
    _, body = post(input=text)
    (result,) = body["results"]
    return {category for category, hit in result["categories"].items() if hit}


def test_the_answer_is_openais() -> None:
    status, body = post(model="sandbox-moderation", input=["hello", "I will murder you"])
    assert status == 200
    reply = ModerationCreateResponse.model_validate(body, strict=True)
    assert [result.flagged for result in reply.results] == [False, True]
    assert reply.results[1].categories.violence
    assert reply.results[1].category_scores.violence > 0.9 > reply.results[0].category_scores.hate


@pytest.mark.parametrize("category", WORDS)
def test_every_word_is_found_under_its_category_and_the_parent(category: str) -> None:
    for word in WORDS[category]:
        found = flagged(f"... {word.upper()}!")
        assert {category, category.partition("/")[0]} <= found


@pytest.mark.parametrize("text", ["", "A skilled marksman stabilised the table.", "今天天气很好"])
def test_clean_texts_pass(text: str) -> None:
    assert flagged(text) == set()


def test_parts_are_one_input_and_pictures_count_where_openai_counts_them() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    parts = [{"type": "text", "text": "hello"}, picture]
    _, body = post(input=parts)
    (result,) = body["results"]
    assert result["category_applied_input_types"]["violence"] == ["text", "image"]
    assert result["category_applied_input_types"]["harassment"] == ["text"]


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ([], "input"),
        (5, "input"),
        (["a", {"type": "text", "text": "b"}], "input"),
        ([{"type": "text"}], "input[0]"),
        ([{"type": "audio", "text": "b"}], "input[0]"),
        ("x" * 530_000, "input"),
    ],
)
def test_bad_requests_are_refused_by_name(value: object, param: str) -> None:
    status, body = post(input=value)
    assert (status, body["error"]["param"]) == (400, param)
