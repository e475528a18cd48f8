"""Recorded rerank, embeddings of other wires, moderation: built as sent, read as they came."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from msgspec import json as msgspec_json
from openai.types import CreateEmbeddingResponse, ModerationCreateResponse

from tests.recorded import exchanges
from tests.recorded.exchanges import PUBLIC_MODEL, Exchange
from tokenmarket.adapters.protocol import Again, Head, MediaAdapter, Reply
from tokenmarket.adapters.registry import ADAPTERS
from tokenmarket.core.catalog import Model, Provider, Route
from tokenmarket.core.parse import parse
from tokenmarket.core.pricing import price_row, price_sheet
from tokenmarket.core.requests import Request
from tokenmarket.core.usage import sanitize

BASES = {
    "bedrock": "https://bedrock-runtime.us-east-1.amazonaws.com",
    "bedrock_agent": "https://bedrock-runtime.us-east-1.amazonaws.com",
    "cohere": "https://api.cohere.com/v2",
    "gemini": "https://generativelanguage.googleapis.com/v1beta",
    "llamacpp": "http://localhost:8080/v1",
    "mistral": "https://api.mistral.ai/v1",
    "openai": "https://api.openai.com/v1",
    "openrouter": "https://openrouter.ai/api/v1",
    "qwen": "https://dashscope.aliyuncs.com/compatible-mode/v1",
    "together": "https://api.together.xyz/v1",
    "voyage": "https://api.voyageai.com/v1",
}
ADAPTER_OF = {"bedrock_agent": "bedrock", "llamacpp": "vllm", "qwen": "dashscope"}
RAW_SCORES = {"llamacpp": True}


def load(folder: Path, operation: str, *providers: str) -> Iterator[Exchange]:
    for provider in providers:
        for line in (folder / f"{provider}.{operation}.jsonl").read_text("utf-8").splitlines():
            yield json.loads(line)


def route(exchange: Exchange, operation: str, upstream_model: str) -> Route:
    provider = exchange["provider"]
    capabilities: dict[str, object] = {}
    if RAW_SCORES.get(provider):
        capabilities["raw_scores"] = True
    rows = [price_row("search", "0.002"), price_row("input_token", "0.05")]
    return Route(
        Model(PUBLIC_MODEL, operation, "P", "P", "v", capabilities=capabilities),
        Provider(provider, ADAPTER_OF.get(provider, provider), BASES[provider]),
        upstream_model,
        price_sheet(rows),
    )


def asked(operation: str, **members: Any) -> Request:
    made = parse(operation, json.dumps({"model": PUBLIC_MODEL, **members}).encode())
    made.request_id = exchanges.REQUEST_ID
    return made


def adapter_of(found: Route, operation: str) -> MediaAdapter:
    adapter = ADAPTERS[found.provider.adapter][operation]
    assert isinstance(adapter, MediaAdapter)
    return adapter


def sent(adapter: MediaAdapter, request: Request, found: Route) -> tuple[str, dict[str, Any]]:
    made = adapter.build(request, found, now_s=0)
    assert made.dropped == ()
    base = found.provider.base_url
    if made.url is not None:
        return made.url, json.loads(made.body)
    if made.from_root:
        parts = urlsplit(base)
        base = f"{parts.scheme}://{parts.netloc}"
    return base + made.path, json.loads(made.body)


def read(
    adapter: MediaAdapter, request: Request, found: Route, exchange: Exchange
) -> tuple[Reply, dict[str, Any]]:
    head = Head(200, exchanges.headers(exchange))
    reply = adapter.read(request, found, head, exchanges.body_bytes(exchange))
    assert not isinstance(reply, Again)
    assert reply.usage is not None
    assert sanitize(reply.usage, request.bound, 0) == reply.usage, exchange["id"]
    return reply, json.loads(msgspec_json.encode(reply.document))


# ------------------------------------------------------------------------------------------ rerank


def rerank_request(exchange: Exchange) -> tuple[Request, str]:
    body = exchange["request"].get("body")
    if not body:  # only the answer was kept
        documents = [f"document {n} " * 100 for n in range(6)]
        return asked("rerank", query="q", documents=documents), "model"
    source = body.get("input", body)
    top = body.get("parameters", body).get("top_n") or body.get("top_k")
    members = {"query": source["query"], "documents": source["documents"], "top_n": top}
    return asked("rerank", **members, return_documents=True), body.get("model", "")


def test_rerank(recorded: Path) -> None:
    seen = 0
    providers = ("bedrock", "bedrock_agent", "cohere", "llamacpp", "openrouter", "qwen")
    for exchange in load(recorded, "rerank", *providers, "together", "voyage"):
        provider = exchange["provider"]
        request, upstream_model = rerank_request(exchange)
        body = exchange["request"].get("body")
        url = exchange["request"]["url"]
        if provider == "bedrock":
            upstream_model = "cohere.rerank-v3-5:0"
        found = route(exchange, "rerank", upstream_model)
        adapter = adapter_of(found, "rerank")
        built_url, built = sent(adapter, request, found)
        assert built_url == url
        if body:
            same_rerank(built, body)
        if exchange["response"]["body"].get("results") == []:
            continue  # llama.cpp, asked for the best none of them
        reply, document = read(adapter, request, found, exchange)
        rows = theirs(exchange)
        assert [row["index"] for row in document["results"]] == [row["index"] for row in rows]
        for ours, row in zip(document["results"], rows, strict=True):
            score = row.get("relevance_score", row.get("relevanceScore"))
            if RAW_SCORES.get(provider):
                score = 1 / (1 + math.exp(-score))
            assert ours["relevance_score"] == pytest.approx(score)
            if body:
                index = row["index"]
                assert ours["document"] == {"text": json.loads(request.body)["documents"][index]}
        usage = reply.usage
        assert usage is not None
        assert usage.requests == 1
        assert usage.searches or usage.input_tokens
        assert usage.estimated is provider.startswith("bedrock")
        if provider == "cohere":
            assert document["meta"]["billed_units"] == {"search_units": 1}
        seen += 1
    assert seen == 14


def theirs(exchange: Exchange) -> list[Any]:
    body = exchange["response"]["body"]
    body = body.get("output", body)
    return body.get("results") or body["data"]


def same_rerank(built: dict[str, Any], body: dict[str, Any]) -> None:
    """What we send is what was sent, but for defaults spelled out."""
    for members in (built, built.get("parameters", {})):
        assert members.pop("return_documents", False) is False
    body.pop("truncation", None)
    known = body.get("parameters", body)
    documents = body.get("input", body)["documents"]
    if known.get("top_n", 0) == 0 or known["top_n"] >= len(documents):
        known.pop("top_n", None)
    assert built == {name: value for name, value in body.items() if value is not None}


# -------------------------------------------------------------------------------------- embeddings


def embedding_request(exchange: Exchange) -> tuple[Request, str] | None:
    """None: not a request of ours (a picture, another type of numbers)."""
    body = exchange["request"].get("body") or {}
    url = exchange["request"]["url"]
    model = body.get("model", "")
    members: dict[str, Any] = {}
    if exchange["provider"] == "gemini":
        requests = body.get("requests")
        if not requests or any(len(one["content"]["parts"]) > 1 for one in requests):
            return None
        first = requests[0]
        members["input"] = [one["content"]["parts"][0]["text"] for one in requests]
        members["dimensions"] = first.get("outputDimensionality")
        members["input_type"] = first.get("taskType")
        model = first["model"].removeprefix("models/")
    elif "invoke" in url:
        model = url.split("/model/")[1].removesuffix("/invoke").replace("%3A", ":")
        single = body.get("singleEmbeddingParams", {})
        members["input"] = body.get("texts") or [
            body.get("inputText") or single["text"]["value"],
        ]
        members["dimensions"] = (
            body.get("output_dimension")
            or body.get("dimensions")
            or single.get("embeddingDimension")
        )
        members["input_type"] = body.get("input_type") or single.get("embeddingPurpose")
        members |= {name: body[name] for name in ("truncate", "max_tokens") if name in body}
        members |= {"normalize": True} if "normalize" in body else {}
    elif exchange["provider"] == "cohere":
        if not body.get("texts") or "int8" in body["embedding_types"]:
            return None
        members["input"] = body["texts"]
        members["dimensions"] = body.get("output_dimension")
        members["input_type"] = body["input_type"]
        members |= {name: body.get(name) for name in ("truncate", "max_tokens") if body.get(name)}
    else:
        members["input"] = body["input"]
        members["encoding_format"] = body.get("encoding_format")
        members["input_type"] = body.get("input_type")
        members["truncation"] = body.get("truncation")
    return asked("embeddings", **members), model


def test_embeddings_of_other_wires(recorded: Path) -> None:
    seen = 0
    for exchange in load(recorded, "embeddings", "bedrock", "cohere", "gemini", "voyage"):
        if exchange["fidelity"] == "response_only":
            continue
        made = embedding_request(exchange)
        if made is None:
            continue
        request, upstream_model = made
        found = route(exchange, "embeddings", upstream_model)
        adapter = adapter_of(found, "embeddings")
        built_url, built = sent(adapter, request, found)
        if exchange["provider"] != "bedrock":  # regions are masked there, and ':' is not encoded
            assert built_url == exchange["request"]["url"]
        body = {
            name: value for name, value in exchange["request"]["body"].items() if value is not None
        }
        if "texts" in body:
            body.setdefault("embedding_types", ["float"])
        assert built == body, exchange["id"]
        reply, document = read(adapter, request, found, exchange)
        document["usage"] = {"prompt_tokens": 0, "total_tokens": 0}
        if json.loads(request.body).get("encoding_format") != "base64":
            CreateEmbeddingResponse.model_validate(document)
        assert [row["index"] for row in document["data"]] == list(range(len(document["data"])))
        assert reply.usage is not None
        assert reply.usage.input_tokens > 0
        seen += 1
    assert seen >= 20


# -------------------------------------------------------------------------------------- moderation


def test_moderations(recorded: Path) -> None:
    seen = 0
    for exchange in load(recorded, "moderation", "openai", "mistral"):
        given = exchange["request"]["body"]["input"]
        if exchange["provider"] == "mistral":  # recorded on the chat wire: messages
            given = [message["content"] for message in given]
        request = asked("moderation", input=given)
        found = route(exchange, "moderation", "theirs")
        adapter = adapter_of(found, "moderation")
        built_url, built = sent(adapter, request, found)
        assert built == {"model": "theirs", "input": given}
        assert built_url == BASES[exchange["provider"]] + "/moderations"
        reply, document = read(adapter, request, found, exchange)
        theirs = exchange["response"]["body"]["results"][0]
        (ours,) = document["results"]
        assert sorted(ours["category_scores"].values()) == sorted(
            theirs["category_scores"].values()
        )
        assert reply.usage is not None
        assert reply.usage.requests == 1
        if exchange["provider"] == "openai":
            assert ours == theirs
            if "category_applied_input_types" in ours:
                ModerationCreateResponse.model_validate(document)
        else:
            assert ours["categories"]["hate"] is theirs["categories"]["hate_and_discrimination"]
            assert set(ours["categories"]) - set(theirs["categories"]) == {
                *("hate", "violence", "self-harm", "illicit"),
            }
            assert ours["flagged"] is False
            assert reply.usage.input_tokens == 12
        seen += 1
    assert seen == 6
