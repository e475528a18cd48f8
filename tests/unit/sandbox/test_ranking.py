"""The sandbox's rerank: a ranking that means something, in the shape every rerank client reads."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmarket.sandbox.desk import Desk
from tokenmarket.sandbox.ranking import DOCUMENTS_MAX, scores, words


def post(path: str = "/v1/rerank", **fields: Any) -> tuple[int, Any]:
    body = {"model": "sandbox-rerank", "query": "red fox", "documents": ["a"], **fields}
    script = Desk(lambda: 1).answer("POST", path, {}, json.dumps(body).encode())
    return script.status, json.loads(script.pieces[0])


def test_words_of_both_kinds_of_script() -> None:
    assert words("The RED-fox, 3rd!") == ["the", "red", "fox", "3rd"]
    assert words("abc机器学习x") == ["abc", "机器", "器学", "学习", "x"]
    assert words("猫") == ["猫"]
    assert words("…") == []


def test_documents_with_more_and_rarer_words_of_the_query_come_first() -> None:
    documents = ["the weather today", "a red barn", "the red fox jumps", "a fox and a red, red fox"]
    status, body = post(documents=documents, return_documents=True)
    assert status == 200
    order = [row["index"] for row in body["results"]]
    assert set(order[:2]) == {2, 3}
    assert order[2:] == [1, 0]
    assert body["results"][-1] == {
        "index": 0,
        "relevance_score": 0.0,
        "document": {"text": "the weather today"},
    }


def test_chinese_is_ranked_too() -> None:
    _, body = post(query="机器学习", documents=["今天天气很好", "我在学习烹饪", "机器学习入门"])
    assert [row["index"] for row in body["results"]] == [2, 1, 0]


@given(st.text(max_size=60), st.lists(st.text(max_size=60), min_size=1, max_size=8))
def test_scores_are_finite_between_0_and_1(query: str, documents: list[str]) -> None:
    assert all(0 <= score <= 1 for score in scores(query, documents))


def test_the_shape_that_cohere_jina_and_openai_like_clients_read() -> None:
    status, body = post("/v2/rerank", documents=["red"] * 101, top_n=3)
    assert status == 200
    assert body.keys() == {"id", "object", "model", "results", "meta", "usage"}
    assert len(body["results"]) == 3
    assert all(row.keys() == {"index", "relevance_score"} for row in body["results"])
    assert body["meta"]["billed_units"]["search_units"] == 2
    assert body["usage"]["total_tokens"] == 101 * 3
    assert len(post(documents=["a", "b"], top_k=9)[1]["results"]) == 2


def test_a_long_document_counts_as_several_and_can_be_cut() -> None:
    long = ["fox " * 10_000] * 12
    assert post(documents=long)[1]["meta"]["billed_units"]["search_units"] > 1
    cut = post(documents=long, max_tokens_per_doc=400)[1]
    assert cut["meta"]["billed_units"]["search_units"] == 1


def test_documents_may_be_objects() -> None:
    documents = [{"title": "fox", "body": "cat"}, {"text": "red fox", "n": 1}, {"title": "cat"}]
    _, body = post(documents=documents, return_documents=True)
    assert body["results"][0]["document"] == {"text": "red fox"}
    _, body = post(documents=documents, rank_fields=["title", "none"], return_documents=True)
    assert body["results"][0] == {
        "index": 0,
        "relevance_score": body["results"][0]["relevance_score"],
        "document": {"text": "title: fox"},
    }


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"documents": []}, "documents"),
        ({"documents": ["a"] * (DOCUMENTS_MAX + 1)}, "documents"),
        ({"documents": [1]}, "documents[0]"),
        ({"query": ""}, "query"),
        ({"top_n": 0}, "top_n"),
        ({"documents": ["x" * 300_000] * 2}, "documents"),
    ],
)
def test_bad_requests_are_refused_by_name(fields: dict[str, Any], param: str) -> None:
    status, body = post(**fields)
    assert (status, body["error"]["param"]) == (400, param)


def test_other_operations_are_not_answered() -> None:
    assert post(model="sandbox-chat")[0] == 404
    assert post(model="sandbox-fail-500")[0] == 500
    assert "usage" not in post(model="sandbox-nousage")[1]
    assert post(metadata={"sandbox_usage": '{"total_tokens":-1}'})[1]["usage"] == {
        "total_tokens": -1
    }
