"""Rerank: what each provider is sent, and what becomes of any answer.

Exchanges that nobody recorded (Jina, SiliconFlow, TEI, DashScope's compatible wire, vLLM) are
written from shared/reference/providers/cohere_jina_voyage.md sections 3 to 6.
"""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json as msgspec_json

from tokenmarket.adapters.protocol import Again, Head, MediaAdapter, UpstreamRequest
from tokenmarket.adapters.registry import ADAPTERS
from tokenmarket.core.catalog import Model, Provider, Route
from tokenmarket.core.errors import ApiError, UpstreamError
from tokenmarket.core.parse import parse
from tokenmarket.core.pricing import ceiling, charge, price_row, price_sheet
from tokenmarket.core.requests import Request
from tokenmarket.core.usage import Usage, sanitize

OK = Head(200, {})
DOCUMENTS = ["cats purr", "dogs bark", "cows moo"]
NAMES = sorted(name for name, own in ADAPTERS.items() if "rerank" in own)
SHEETS = [
    price_sheet([price_row("search", "0.002")]),
    price_sheet([price_row("input_token", "0.05")]),
    price_sheet([price_row("request", "0.001"), price_row("input_token", "0.05")]),
]


def adapter(name: str) -> MediaAdapter:
    found = ADAPTERS[name]["rerank"]
    assert isinstance(found, MediaAdapter)
    return found


def route(upstream_model: str = "theirs", **capabilities: Any) -> Route:
    return Route(
        Model("ours", "rerank", "Ours", "我们", "us", capabilities=capabilities),
        Provider("far", "cohere", "https://bedrock-runtime.eu-west-1.amazonaws.com"),
        upstream_model,
        SHEETS[0],
    )


def request(**members: Any) -> Request:
    base = {"model": "ours", "query": "which purrs?", "documents": DOCUMENTS}
    made = parse("rerank", json.dumps(base | members).encode())
    made.request_id = "req_77"
    return made


def built(name: str, found: Route | None = None, **members: Any) -> tuple[Any, UpstreamRequest]:
    sent = adapter(name).build(request(**members), found or route(), now_s=0)
    return json.loads(sent.body), sent


def read(
    name: str, answer: Any, found: Route | None = None, **members: Any
) -> tuple[dict[str, Any], Usage]:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    reply = adapter(name).read(request(**members), found or route(), OK, body)
    assert not isinstance(reply, Again)
    assert reply.usage is not None
    return json.loads(reply.payload(b'{"cost":1}')), reply.usage


def rows(*scores: float, **more: Any) -> list[dict[str, Any]]:
    return [{"index": i, "relevance_score": score} | more for i, score in enumerate(scores)]


def test_the_answer_is_the_superset_that_every_client_reads() -> None:
    answer = {
        "id": "abc",
        "results": rows(0.1, 0.9, 0.5),
        "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1.0}},
    }
    document, usage = read("cohere", answer, return_documents=True, top_n=2)
    assert document == {
        "id": "rerank-77",
        "object": "list",
        "model": "ours",
        "results": [
            {"index": 1, "relevance_score": 0.9, "document": {"text": "dogs bark"}},
            {"index": 2, "relevance_score": 0.5, "document": {"text": "cows moo"}},
        ],
        "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}},
        "usage": {"cost": 1},
    }
    assert list(document)[-1] == "usage"
    assert usage == Usage(searches=1, requests=1)
    plain, _ = read("cohere", answer)
    assert all("document" not in result for result in plain["results"])
    assert len(plain["results"]) == 3


def test_cohere_v5_is_billed_by_token_and_finds_spans() -> None:
    found = route("rerank-v5.0-pro")
    spans = {"mode": "enabled", "threshold": 0.1}
    body, _ = built("cohere", found, relevant_spans=spans, max_tokens_per_doc=512, priority=0)
    assert body == {
        "model": "rerank-v5.0-pro",
        "query": "which purrs?",
        "documents": DOCUMENTS,
        "relevant_spans": spans,
        "max_tokens_per_doc": 512,
    }
    answer = {
        "results": rows(0.9, 0.1, relevant_spans=[{"start": 0, "end": 4, "score": 0.7}, {"a": 1}]),
        "meta": {"billed_units": {"input_tokens": 21}},
    }
    document, usage = read("cohere", answer, found)
    assert document["results"][0]["relevant_spans"] == [{"start": 0, "end": 4, "score": 0.7}]
    assert usage == Usage(input_tokens=21, requests=1)
    assert document["meta"]["tokens"] == {"input_tokens": 21, "output_tokens": 0}


@pytest.mark.parametrize("name", NAMES)
def test_spans_are_refused_elsewhere(name: str) -> None:
    with pytest.raises(ApiError) as caught:
        built(name, route("rerank-v4.0-pro"), relevant_spans={"mode": "enabled"})
    assert (caught.value.code, caught.value.param) == ("REQUEST_002", "relevant_spans")
    built(name, route("rerank-v4.0-pro"), relevant_spans={"mode": "disabled"})


def test_what_jina_is_sent_and_answers() -> None:
    body, sent = built("jina", return_documents=True, top_n=2)
    assert sent.path == "/rerank"
    assert body["return_documents"] is False
    assert body["top_n"] == 2
    answer = {
        "model": "jina-reranker-v3",
        "results": rows(0.2, 0.4, document="ignored"),
        "usage": {"total_tokens": 12},
    }
    document, usage = read("jina", answer, return_documents=True)
    assert document["results"][0]["document"] == {"text": "dogs bark"}
    assert usage == Usage(input_tokens=12, requests=1)


def test_what_voyage_is_sent_and_answers() -> None:
    body, sent = built("voyage", top_n=2, truncate="NONE")
    assert body == {
        "model": "theirs",
        "query": "which purrs?",
        "documents": DOCUMENTS,
        "top_k": 2,
        "return_documents": False,
        "truncation": False,
    }
    assert sent.dropped == ()
    _, usage = read("voyage", {"data": rows(0.5), "usage": {"total_tokens": 9}})
    assert usage == Usage(input_tokens=9, requests=1)


def test_what_siliconflow_answers_old_and_new() -> None:
    body, _ = built("siliconflow", instruction="rank", max_chunks_per_doc=3)
    assert (body["instruction"], body["max_chunks_per_doc"]) == ("rank", 3)
    old = {"id": "x", "results": rows(0.5), "tokens": {"input_tokens": 9, "output_tokens": 0}}
    new = {"results": rows(0.5), "meta": {"tokens": {"input_tokens": 9, "output_tokens": 0}}}
    for answer in (old, new):
        assert read("siliconflow", answer)[1] == Usage(input_tokens=9, requests=1)


def test_dashscope_has_two_wires() -> None:
    body, sent = built("dashscope", route("qwen3-rerank"), instruction="rank", top_n=1)
    assert (sent.path, sent.from_root) == ("/compatible-api/v1/reranks", True)
    assert (body["instruct"], body["top_n"]) == ("rank", 1)
    body, sent = built("dashscope", route("gte-rerank-v2"), top_n=1)
    assert sent.path == "/api/v1/services/rerank/text-rerank/text-rerank"
    assert body == {
        "model": "gte-rerank-v2",
        "input": {"query": "which purrs?", "documents": DOCUMENTS},
        "parameters": {"top_n": 1, "return_documents": False},
    }
    _, sent = built("dashscope", route("gte-rerank-v2", rerank_api="compatible"))
    assert sent.path == "/compatible-api/v1/reranks"
    answer = {"results": rows(0.5), "usage": {"total_tokens": 4}}
    assert read("dashscope", answer)[1] == Usage(input_tokens=4, requests=1)


def test_tei_ranks_a_bare_list_and_counts_nothing() -> None:
    body, sent = built("tei", top_n=1, truncation=True)
    assert body == {"query": "which purrs?", "texts": DOCUMENTS, "truncate": True}
    assert (sent.path, sent.from_root) == ("/rerank", True)
    answer = [{"index": 2, "score": 0.1}, {"index": 0, "score": 0.8}]
    document, usage = read("tei", answer, top_n=1)
    assert [row["index"] for row in document["results"]] == [0]
    assert usage.estimated
    assert usage.searches == 1
    assert usage.input_tokens > 0


def test_bedrock_has_cohere_by_invoke_and_amazon_by_its_runtime() -> None:
    body, sent = built("bedrock", route("cohere.rerank-v3-5:0"), top_n=2)
    assert sent.path == "/model/cohere.rerank-v3-5%3A0/invoke"
    assert body == {
        "query": "which purrs?",
        "documents": DOCUMENTS,
        "top_n": 2,
        "api_version": 2,
    }
    body, sent = built("bedrock", route("amazon.rerank-v1:0"), top_n=2)
    assert sent.url == "https://bedrock-agent-runtime.eu-west-1.amazonaws.com/rerank"
    inner = body["rerankingConfiguration"]["bedrockRerankingConfiguration"]
    assert inner["numberOfResults"] == 2
    assert inner["modelConfiguration"]["modelArn"] == (
        "arn:aws:bedrock:eu-west-1::foundation-model/amazon.rerank-v1:0"
    )
    assert body["sources"][1]["inlineDocumentSource"]["textDocument"] == {"text": "dogs bark"}


def test_logits_become_probabilities_where_the_catalog_says_so() -> None:
    answer = {"results": rows(-4.75, 900.0, 0.0), "usage": {"total_tokens": 4}}
    document, _ = read("vllm", answer, route(raw_scores=True))
    scores = [row["relevance_score"] for row in document["results"]]
    assert scores == pytest.approx([1.0, 0.5, 1 / (1 + math.exp(4.75))])
    plain, _ = read("vllm", answer)
    assert plain["results"][0]["relevance_score"] == 900.0


def test_what_cannot_be_expressed_is_named() -> None:
    _, sent = built("cohere", instruction="x", max_chunks_per_doc=2, foo=1, user="u")
    assert set(sent.dropped) == {"instruction", "max_chunks_per_doc", "foo"}
    with pytest.raises(ApiError) as caught:
        built("cohere", foo=1, provider={"require_parameters": True})
    assert (caught.value.code, caught.value.param) == ("REQUEST_002", "foo")


def test_a_models_own_limit_of_documents() -> None:
    with pytest.raises(ApiError) as caught:
        built("cohere", route(documents_max=2))
    assert (caught.value.param, caught.value.reason) == ("documents", "too_many_documents")


@pytest.mark.parametrize(
    "answer",
    [
        {"results": [{"index": 3, "relevance_score": 0.1}]},
        {"results": [{"index": -1, "relevance_score": 0.1}]},
        {"results": [{"index": 0, "relevance_score": 0.1}, {"index": 0, "relevance_score": 0.2}]},
        {"results": [{"index": 0, "relevance_score": "0.1"}]},
        {"results": [{"index": 0, "relevance_score": True}]},
        {"results": [{"index": 0}]},
        {"results": [{"index": True, "relevance_score": 0.1}]},
        {"results": []},
        {"results": [7]},
        {"results": None},
        b'{"results":[{"index":0,"relevance_score":1e999}]}',
        b'{"results":[{"index":0,"relevance_score":NaN}]}',
        b"",
        b"<html>",
        b"[" * 100_000,
        {"message": "no"},
        {"error": {"message": "no"}},
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_garbage_is_an_upstream_error(name: str, answer: Any) -> None:
    with pytest.raises(UpstreamError):
        read(name, answer)


def test_an_answer_without_usage_is_marked() -> None:
    _, usage = read("cohere", {"results": rows(0.5)})
    assert usage == Usage(requests=1, flags=("usage_missing",))


@pytest.mark.parametrize(
    ("name", "status", "body", "kind"),
    [
        ("cohere", 498, {"message": "invalid token"}, "auth"),
        ("cohere", 401, {"message": "Incorrect API key provided"}, "auth"),
        ("cohere", 404, {"message": "model 'x' not found"}, "not_found"),
        ("cohere", 429, {"message": "too many"}, "rate_limited"),
        (
            "cohere",
            429,
            {"message": "You are using a Trial key, which is limited to 1000 API calls / month"},
            "quota_exhausted",
        ),
        (
            "voyage",
            400,
            {"detail": "Model x is not supported. Supported models are []"},
            "not_found",
        ),
        ("voyage", 400, {"detail": "documents is too long"}, "bad_request"),
        ("jina", 402, {"detail": "Payment"}, "no_balance"),
        ("tei", 429, {"error": "Model is overloaded", "error_type": "Overloaded"}, "overloaded"),
        ("tei", 424, {"error": "Inference failed", "error_type": "Backend"}, "upstream_error"),
        ("tei", 413, {"error": "batch size 40 > 32", "error_type": "Validation"}, "bad_request"),
        ("dashscope", 400, {"code": "Arrearage", "message": "x"}, "no_balance"),
        ("bedrock", 400, {"message": "Malformed input request"}, "bad_request"),
    ],
)
def test_errors(name: str, status: int, body: Any, kind: str) -> None:
    assert adapter(name).explain(Head(status, {}), json.dumps(body).encode()).kind == kind


def test_bedrock_names_its_errors_in_a_header() -> None:
    head = Head(400, {"x-amzn-errortype": "ThrottlingException:http://internal.amazon.com/"})
    error = adapter("bedrock").explain(head, b'{"message":"slow down"}')
    assert (error.kind, error.code) == ("rate_limited", "ThrottlingException")


MEMBERS = [
    "results",
    "data",
    "output",
    "index",
    "relevance_score",
    "relevanceScore",
    "score",
    "usage",
    "meta",
    "billed_units",
    "search_units",
    "total_tokens",
    "input_tokens",
    "tokens",
    "id",
    "relevant_spans",
    "start",
    "end",
    "error",
    "message",
]
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(MEMBERS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=25,
)


@given(st.sampled_from(NAMES), values, st.booleans())
def test_no_answer_breaks_anything(name: str, answer: Any, raw: bool) -> None:
    """Every answer is an UpstreamError or a valid ranking whose charge the hold covers."""
    asked = request()
    try:
        reply = adapter(name).read(asked, route(raw_scores=raw), OK, msgspec_json.encode(answer))
    except UpstreamError:
        return
    assert not isinstance(reply, Again)
    assert reply.usage is not None
    document = json.loads(reply.payload(None))
    found = document["results"]
    assert found
    scores = [row["relevance_score"] for row in found]
    assert all(map(math.isfinite, scores))
    assert scores == sorted(scores, reverse=True)
    assert len({row["index"] for row in found} & set(range(3))) == len(found)


@given(
    st.text(min_size=1, max_size=700).filter(str.strip),
    st.lists(st.text(min_size=1, max_size=3000), min_size=1, max_size=30),
    st.sampled_from(SHEETS),
)
def test_what_is_counted_here_stays_inside_the_hold(
    query: str, documents: list[str], sheet: Any
) -> None:
    asked = request(query=query, documents=documents)
    answer = json.dumps([{"index": 0, "score": 0.5}]).encode()
    reply = adapter("tei").read(asked, route(), OK, answer)
    assert not isinstance(reply, Again)
    assert reply.usage is not None
    usage = sanitize(reply.usage, asked.bound, 0)
    assert usage == reply.usage
    assert charge(sheet, usage) <= ceiling(sheet, asked.bound)
