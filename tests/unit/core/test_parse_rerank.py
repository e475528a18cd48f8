"""POST /rerank and /moderations: what is refused, with which path, and what is bounded."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmarket.core.bodies import ModerationBody, RerankBody
from tokenmarket.core.errors import ApiError
from tokenmarket.core.parse import parse
from tokenmarket.core.parse_moderation import text_inputs
from tokenmarket.core.parse_rerank import document_texts, top_n, wants_spans
from tokenmarket.core.requests import Request


def rerank(**fields: Any) -> Request:
    base = {"model": "m", "query": "q", "documents": ["a", "b"]}
    return parse("rerank", json.dumps(base | fields).encode())


def moderation(value: Any) -> Request:
    return parse("moderation", json.dumps({"model": "m", "input": value}).encode())


def typed(request: Request) -> RerankBody:
    assert isinstance(request.typed, RerankBody)
    return request.typed


@pytest.mark.parametrize(
    ("fields", "param", "reason"),
    [
        ({"query": ""}, "query", "empty_query"),
        ({"query": " \n"}, "query", "empty_query"),
        ({"documents": []}, "documents", "empty_documents"),
        ({"documents": ["x"] * 10_001}, "documents", "too_many_documents"),
        ({"documents": ["x", {"title": "y"}]}, "documents[1].text", "document_without_text"),
        ({"documents": ["x", {"text": 7}]}, "documents[1].text", "document_without_text"),
        ({"documents": ["x", ""]}, "documents[1]", "empty_document"),
        (
            {"documents": [{"a": "x"}], "rank_fields": ["b"]},
            "documents[0]",
            "document_without_text",
        ),
        ({"top_n": 1, "top_k": 2}, "top_k", "conflicting_parameters"),
        ({"relevant_spans": {"mode": "on"}}, "relevant_spans.mode", "invalid_value"),
        ({"relevant_spans": {"threshold": 2}}, "relevant_spans.threshold", "invalid_value"),
        ({"relevant_spans": {"max_spans": 0}}, "relevant_spans.max_spans", "invalid_value"),
        ({"query": ["q"]}, "query", None),
        ({"documents": "x"}, "documents", None),
        ({"documents": ["x", 7]}, "documents[1]", None),
        ({"top_n": 0}, "top_n", None),
    ],
)
def test_what_is_refused(fields: dict[str, Any], param: str, reason: str | None) -> None:
    with pytest.raises(ApiError) as caught:
        rerank(**fields)
    error = caught.value
    assert (error.code, error.status, error.param) == ("REQUEST_001", 400, param)
    assert error.reason == reason


def test_the_limit_of_documents_is_named() -> None:
    with pytest.raises(ApiError, match="1000 documents, these are 1001"):
        rerank(documents=["x"] * 1001)
    assert rerank(documents=["x"] * 1000)


def test_documents_of_all_forms_become_texts() -> None:
    body = typed(rerank(documents=["same", "same", {"text": "third", "id": 3}]))
    assert document_texts(body) == ["same", "same", "third"]


def test_rank_fields_are_joined_as_yaml() -> None:
    document = {
        "Title": "How to: bake",
        "Content": "Bread needs time",
        "pages": 3,
        "tags": ["a"],
        "year": "2024",
        "x": None,
    }
    fields = ["Title", "Content", "pages", "tags", "year", "x", "absent"]
    body = typed(rerank(documents=[document, "plain"], rank_fields=fields))
    assert document_texts(body) == [
        'Title: "How to: bake"\nContent: Bread needs time\npages: 3\ntags: ["a"]\nyear: "2024"',
        "plain",
    ]


def test_how_many_results() -> None:
    assert top_n(typed(rerank())) == 2
    assert top_n(typed(rerank(top_n=1))) == 1
    assert top_n(typed(rerank(top_k=1))) == 1
    assert top_n(typed(rerank(top_n=1, top_k=1))) == 1
    assert top_n(typed(rerank(top_n=99))) == 2
    assert wants_spans(typed(rerank(relevant_spans={"mode": "enabled"})))
    assert not wants_spans(typed(rerank(relevant_spans={"mode": "disabled"})))


def test_searches_are_bounded_by_pieces_of_500_tokens() -> None:
    def searches(**fields: Any) -> int:
        return dict(rerank(**fields).bound.any_units)["search"]

    assert searches() == 1
    assert searches(documents=["x"] * 100) == 1
    assert searches(documents=["x"] * 101) == 2
    assert searches(documents=["x" * 499] * 100) == 1
    assert searches(documents=["x" * 500] * 100) == 2
    assert searches(documents=["x" * 50_000] * 100) == 9  # cut at 4096 tokens
    assert searches(documents=["x" * 50_000] * 100, max_tokens_per_doc=400) == 1
    assert searches(query="q" * 5_000, documents=["x" * 50] * 100) == 1
    assert searches(query="q" * 5_000, documents=["x" * 51] * 100) == 2


@given(
    st.text(min_size=1).filter(str.strip),
    st.lists(st.text(min_size=1), min_size=1, max_size=20),
    st.integers(0, 600),
)
def test_no_byte_tokenizer_counts_more_than_the_bound(
    query: str, documents: list[str], padding: int
) -> None:
    documents = [text + "x" * padding for text in documents]
    bound = dict(rerank(query=query, documents=documents).bound.any_units)
    tokens = [len(text.encode()) for text in documents]
    asked = len(query.encode())
    assert bound["input_token"] >= len(documents) * asked + sum(tokens)
    assert bound["request"] == 1
    if asked <= 450:
        pieces = sum(max(1, -(-count // (500 - asked))) for count in tokens)
        assert bound["search"] >= -(-pieces // 100)


@pytest.mark.parametrize(
    ("value", "param", "reason"),
    [
        ("", "input", "empty_input"),
        ([], "input", "empty_input"),
        (["a", ""], "input[1]", "empty_input"),
        (["a"] * 2049, "input", "too_many_inputs"),
        (["a", {"type": "text", "text": "b"}], "input[1]", "mixed_input"),
        ([{"type": "text", "text": "b"}, "a"], "input[1]", "mixed_input"),
        ([{"type": "text"}], "input[0].text", "missing_text"),
        ([{"type": "video_url"}], "input[0].type", "invalid_value"),
        ([{"type": "image_url"}], "input[0].image_url.url", "invalid_url"),
        ([{"type": "image_url", "image_url": 7}], "input[0].image_url.url", "invalid_url"),
        (
            [{"type": "image_url", "image_url": {"url": "file:///x"}}],
            "input[0].image_url.url",
            "invalid_url",
        ),
        (7, "input", None),
        ([7], "input[0]", None),
    ],
)
def test_what_moderation_refuses(value: Any, param: str, reason: str | None) -> None:
    with pytest.raises(ApiError) as caught:
        moderation(value)
    assert (caught.value.code, caught.value.param) == ("REQUEST_001", param)
    assert caught.value.reason == reason


def test_inputs_of_moderation() -> None:
    def texts(value: Any) -> list[str] | None:
        body = moderation(value).typed
        assert isinstance(body, ModerationBody)
        return text_inputs(body)

    image = {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}
    assert texts("a") == ["a"]
    assert texts(["a", "b"]) == ["a", "b"]
    assert texts([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]) == ["a\nb"]
    assert texts([{"type": "text", "text": "a"}, image]) is None
    bound = dict(moderation([image]).bound.any_units)
    assert bound["request"] == 1
    assert bound["input_token"] > 20_000
