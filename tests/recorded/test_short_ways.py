"""The short ways give what the general ones give, for everything that was recorded."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.recorded import exchanges
from tests.recorded.exchanges import ADAPTER_OF
from tokenmarket.adapters.kit import openai_answer
from tokenmarket.adapters.kit.embeddings_plain import read_vectors
from tokenmarket.adapters.kit.openai_answer import read_text
from tokenmarket.adapters.kit.openai_embeddings import OpenAIEmbeddings
from tokenmarket.adapters.kit.openai_plain import read_plain
from tokenmarket.adapters.kit.quirks import Quirks
from tokenmarket.adapters.kit.route_plan import RoutePlan
from tokenmarket.adapters.protocol import Head, Reply
from tokenmarket.adapters.registry import ADAPTERS

OK = Head(200, {})


def seen(reply: Reply) -> tuple[Any, ...]:
    document = json.loads(msgspec.json.encode(reply.document))
    return document, reply.usage, reply.finish_reason, reply.upstream_id


@pytest.mark.parametrize("operation", ["chat", "completions"])
def test_answers(recorded: Path, operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_answer, "_plain", lambda *_, **__: None)
    short: Counter[str] = Counter()
    chat = operation == "chat"
    for exchange in exchanges.load(recorded, operation):
        own = ADAPTERS[ADAPTER_OF[exchange["provider"]]]
        quirks: Quirks = (own.get(operation) or ADAPTERS["openai"][operation]).quirks
        request, route = exchanges.request(operation), exchanges.route("openai")
        plan = RoutePlan(route, quirks, chat=chat)
        body = exchanges.body_bytes(exchange)
        reply = read_plain(request, plan, body, quirks, chat=chat)
        if reply is None:
            continue
        short[exchange["provider"]] += 1
        assert seen(reply) == seen(read_text(request, route, OK, body, quirks, chat=chat))
    if chat:  # else this would prove nothing
        assert short["openai"] >= 40, short
        assert min(short[name] for name in ("deepseek", "groq", "xai", "zai", "qwen")) >= 5, short


def test_embeddings(recorded: Path) -> None:
    short = 0
    for exchange in exchanges.load(recorded, "embeddings"):
        if (exchange["request"].get("body") or {}).get("output_dtype") not in (None, "float"):
            continue
        body, route = exchanges.body_bytes(exchange), exchanges.route("openai")
        for as_base64 in (False, True):
            reply = read_vectors(route, body, as_base64=as_base64)
            if reply is not None:
                short += 1
                general = ADAPTERS["openai"]["embeddings"]
                assert isinstance(general, OpenAIEmbeddings)
                assert seen(reply) == seen(general.read_any(route, OK, body, as_base64=as_base64))
    assert short >= 8
