"""Every recorded OpenAI-like JSON answer, embedding and error through its adapter."""

from __future__ import annotations

import base64
import json
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion

from tests.recorded import exchanges
from tests.recorded.exchanges import ADAPTER_OF, PUBLIC_MODEL, Exchange
from tests.recorded.test_openai_streams import audio_beside
from tokenmarket.adapters.protocol import Adapter, Head, Reply
from tokenmarket.adapters.registry import ADAPTERS
from tokenmarket.core.pricing import Bound
from tokenmarket.core.usage import sanitize


def read(exchange: Exchange, operation: str) -> tuple[Reply, dict[str, Any]]:
    own = ADAPTERS[ADAPTER_OF[exchange["provider"]]]
    adapter: Adapter = own.get(operation) or ADAPTERS["openai"][operation]
    reply = adapter.read(
        exchanges.request(operation),
        exchanges.route("openai"),
        Head(200, exchanges.headers(exchange)),
        exchanges.body_bytes(exchange),
    )
    return reply, json.loads(msgspec.json.encode(reply.document))


def test_chat_answers(recorded: Path) -> None:
    answers = exchanges.load(recorded, "chat")
    assert len(answers) >= 250
    for exchange in answers:
        reply, document = read(exchange, "chat")
        assert document["id"] == "chatcmpl-0123456789abcdef"
        assert document["model"] == PUBLIC_MODEL
        assert document["object"] == "chat.completion"
        assert "usage" not in document
        assert not document.keys() & {"provider", "x_groq", "cost", "time_info", "request_id"}
        body = exchange["response"]["body"]
        assert len(document["choices"]) == len(body["choices"])
        for choice, theirs in zip(document["choices"], body["choices"], strict=True):
            # OpenRouter's file annotations have no type in the SDK; they are passed on all the same
            notes = choice["message"].get("annotations") or []
            choice["message"]["annotations"] = [
                note for note in notes if note["type"] == "url_citation"
            ]
            same_message(choice["message"], theirs.get("message") or {}, exchange["id"])
        ChatCompletion.model_validate(document)
        assert reply.finish_reason == document["choices"][0]["finish_reason"]
        same_usage(reply, body.get("usage"), exchange["id"])


def same_message(ours: dict[str, Any], theirs: dict[str, Any], name: str) -> None:
    content = theirs.get("content")
    if isinstance(content, list):
        content = "".join(block.get("text") or "" for block in content)
    elif isinstance(content, dict):
        content = ours["content"] if json.loads(ours["content"]) == content else None
    assert ours.get("content") == content, name
    reasoning = theirs.get("reasoning_content") or theirs.get("reasoning")
    if reasoning:
        assert ours["reasoning_content"] == reasoning, name
    assert "reasoning" not in ours, name
    calls = ours.get("tool_calls") or []
    assert len(calls) == len(theirs.get("tool_calls") or []), name
    for call, wire in zip(calls, theirs.get("tool_calls") or [], strict=True):
        assert call["id"] == wire["id"] or (not wire["id"] and call["id"])
        if call["type"] == "function":
            assert call["function"]["arguments"] == wire["function"]["arguments"]


def same_usage(reply: Reply, expected: dict[str, Any] | None, name: str) -> None:
    if not expected:
        assert reply.usage is None, name
        return
    usage = reply.usage
    assert usage is not None, name
    assert usage.prompt_tokens == expected["prompt_tokens"] + audio_beside(expected), name
    assert usage.completion_tokens >= expected["completion_tokens"], name
    if expected["total_tokens"] != usage.prompt_tokens + usage.completion_tokens:
        assert "total_above_parts" in usage.flags, (name, expected)
    billed = sanitize(usage, Bound(10**6, 10**6), 0)  # what the gateway does next
    assert min(billed.input_tokens, billed.output_tokens, billed.cached_input_tokens) >= 0, name
    assert billed.prompt_tokens == usage.prompt_tokens, name
    assert billed.completion_tokens == usage.completion_tokens, name


def test_completions(recorded: Path) -> None:
    answers = exchanges.load(recorded, "completions")
    assert len(answers) >= 9
    for exchange in answers:
        reply, document = read(exchange, "completions")
        Completion.model_validate(document)
        assert document["id"] == "cmpl-0123456789abcdef"
        assert document["object"] == "text_completion"
        texts = [choice["text"] for choice in exchange["response"]["body"]["choices"]]
        assert [choice["text"] for choice in document["choices"]] == texts
        same_usage(reply, exchange["response"]["body"]["usage"], exchange["id"])


def test_embeddings_in_both_forms(recorded: Path) -> None:
    answers = [
        one
        for one in exchanges.load(recorded, "embeddings")
        if one["provider"] != "perplexity"  # its base64 holds int8; we have no embeddings there
        and (one["request"].get("body") or {}).get("output_dtype") in (None, "float")
    ]
    assert len(answers) >= 20
    for exchange in answers:
        theirs = exchange["response"]["body"]
        expected = [floats(item["embedding"]) for item in theirs["data"]]
        for form in ("float", "base64"):
            request = exchanges.request("embeddings")
            request.typed = msgspec.structs.replace(request.typed, encoding_format=form)
            reply = ADAPTERS["openai"]["embeddings"].read(
                request, exchanges.route("openai"), Head(200, {}), exchanges.body_bytes(exchange)
            )
            document = json.loads(msgspec.json.encode(reply.document))
            kind = list if form == "float" else str
            for item, vector in zip(document["data"], expected, strict=True):
                assert type(item["embedding"]) is kind, exchange["id"]
                assert floats(item["embedding"]) == vector, exchange["id"]
            if form == "float":
                document["usage"] = {"prompt_tokens": 0, "total_tokens": 0}
                CreateEmbeddingResponse.model_validate(document)
            assert reply.usage is not None
            assert reply.usage.prompt_tokens == theirs["usage"]["total_tokens"]
            assert reply.usage.completion_tokens == 0


def floats(vector: str | list[float]) -> tuple[float, ...]:
    """As float32, the precision that base64 carries."""
    if isinstance(vector, str):
        data = base64.b64decode(vector)
    else:
        data = struct.pack(f"<{len(vector)}f", *vector)
    return struct.unpack(f"<{len(data) // 4}f", data)


# What an adapter must call the recorded refusals, where the status alone does not say it.
KINDS = {
    "deepseek.error.a6d87cc10494": "context_too_long",
    "deepseek.error.62c60fc75edd": "not_found",
    "mistral.error.148f7a1ef6ad": "not_found",
    "mistral.error.fafacc40d767": "not_found",
    "ollama.error.5de2db63a822": "context_too_long",
    "openrouter.error.1bd5f6ca0916": "context_too_long",
    "openrouter.error.845f1d05ebb1": "content_policy",
    "openrouter.error.e34dbeb330a2": "not_found",
    "perplexity.error.3be7dfa0d9df": "context_too_long",
    "qwen.error.fefaee0882d2": "auth",
    "xai.error.f0e179565fad": "auth",
}
BY_STATUS = {
    401: {"auth"},
    403: {"forbidden", "content_policy"},
    404: {"not_found"},
    429: {"rate_limited"},
    500: {"upstream_error"},
    501: {"upstream_error"},
}
CALLERS = {"bad_request", "context_too_long", "content_policy", "not_found", "auth"}
FOREIGN = {"fal", "replicate", "cohere", "bedrock", "vertex", "gemini"}


def test_errors(recorded: Path) -> None:
    refusals = exchanges.load(recorded, "error")
    assert len(refusals) >= 80
    seen: Counter[str] = Counter()
    for exchange in refusals:
        if exchange["provider"] in FOREIGN or str(exchange["api"]).startswith("anthropic"):
            continue
        adapter = ADAPTERS[ADAPTER_OF[exchange["provider"]]]["chat"]
        status = exchange["response"]["status"]
        head = Head(status, exchanges.headers(exchange))
        error = adapter.explain(head, exchanges.body_bytes(exchange))
        seen[error.kind] += 1
        if exchange["id"] in KINDS:
            assert error.kind == KINDS[exchange["id"]], exchange["id"]
        else:
            assert error.kind in BY_STATUS.get(status, CALLERS), (exchange["id"], error.kind)
        assert error.status == status
        assert error.message
        assert len(error.message) <= 500
        assert "5bfd0532-8fa8-4e41" not in error.message  # a key's id, in one recording
        body = exchange["response"]["body"]
        wire = body.get("error") if isinstance(body, dict) else None
        if isinstance(wire, dict) and wire.get("param"):
            assert error.param == wire["param"]
    assert seen["context_too_long"] >= 4
