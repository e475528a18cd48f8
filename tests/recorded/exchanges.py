"""Recorded exchanges as test input: which adapter reads which recording, and how."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from tokenmarket.core.catalog import Model, Provider, Route
from tokenmarket.core.pricing import PriceSheet
from tokenmarket.core.requests import ChatBody, CompletionBody, EmbeddingBody, Request

# Recording's provider -> our adapter. Who has no adapter of its own speaks plain OpenAI here.
ADAPTER_OF = {
    "openai": "openai",
    "deepseek": "deepseek",
    "groq": "groq",
    "xai": "xai",
    "mistral": "mistral",
    "openrouter": "openrouter",
    "qwen": "dashscope",
    "zai": "zhipu",
    "together": "together",
    "fireworks": "fireworks",
    "perplexity": "perplexity",
    "ollama": "ollama",
    "llamacpp": "vllm",
    "venice": "vllm",
    "doubleword": "vllm",
    "nebius": "vllm",
    "hyperbolic": "vllm",
    "anthropic": "openai",
    "azure_openai": "openai",
    "bedrock_mantle": "openai",
    "cerebras": "openai",
    "cloudflare": "openai",
    "cohere": "openai",
    "databricks": "openai",
    "gemini": "openai",
    "huggingface": "openai",
    "novita": "newapi",
    "sambanova": "openai",
    "snowflake": "openai",
    "vercel_gateway": "openai",
    "voyage": "openai",
}
API_OF = {
    "chat": "openai.chat_completions",
    "completions": "openai.completions",
    "embeddings": "openai.embeddings",
}
PUBLIC_MODEL = "public-model"
REQUEST_ID = "req_0123456789abcdef"

Exchange = dict[str, Any]


@cache
def load(folder: Path, operation: str) -> tuple[Exchange, ...]:
    """Every exchange of ``<provider>.<operation>.jsonl`` that speaks OpenAI's wire."""
    found: list[Exchange] = []
    wanted = API_OF.get(operation.removesuffix("_stream"))
    for path in sorted(folder.glob(f"*.{operation}.jsonl")):
        provider = path.name.split(".")[0]
        if provider not in ADAPTER_OF:
            continue
        for line in path.read_text(encoding="utf-8").splitlines():
            exchange = json.loads(line)
            if wanted is None or exchange["api"] == wanted:
                found.append(exchange)
    return tuple(found)


def route(adapter: str) -> Route:
    """A route through this adapter, with no prices."""
    return Route(
        model=Model(PUBLIC_MODEL, "chat", "Public", "公开", "somebody"),
        provider=Provider("upstream", adapter, "https://upstream.example/v1"),
        upstream_model="upstream-model",
        prices=PriceSheet("none", (), True),
    )


def request(operation: str, *, stream: bool = False, include_usage: bool = False) -> Request:
    """What the gateway would hold while the recorded answer comes in."""
    typed: ChatBody | CompletionBody | EmbeddingBody
    if operation == "chat":
        body = b'{"model":"public-model","messages":[{"role":"user","content":"hi"}]}'
        typed = msgspec.json.decode(body, type=ChatBody)
    elif operation == "completions":
        body = b'{"model":"public-model","prompt":"hi"}'
        typed = msgspec.json.decode(body, type=CompletionBody)
    else:
        body = b'{"model":"public-model","input":"hi"}'
        typed = msgspec.json.decode(body, type=EmbeddingBody)
    return Request(
        operation,
        "public-model",
        body,
        typed,
        stream=stream,
        include_usage=include_usage,
        request_id=REQUEST_ID,
        created_s=1_790_000_000,
    )


def body_bytes(exchange: Exchange) -> bytes:
    """The answer's body as bytes; parsed JSON is written again."""
    response = exchange["response"]
    if response.get("sse") is not None:
        return str(response["sse"]).encode()
    body = response.get("body")
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


def headers(exchange: Exchange) -> dict[str, str]:
    """Header names are lower case already; of a repeated one the first counts."""
    return {
        name: value[0] if isinstance(value, list) else str(value)
        for name, value in exchange["response"]["headers"].items()
    }
