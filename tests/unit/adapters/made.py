"""Requests, routes and streams made by ourselves for adapter tests."""

from __future__ import annotations

import json
from typing import Any

from tokenmarket.adapters.protocol import Adapter, Decoder, Head
from tokenmarket.adapters.registry import ADAPTERS
from tokenmarket.core.catalog import Model, Provider, Route
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.parse import parse
from tokenmarket.core.pricing import PriceRow, PriceSheet
from tokenmarket.core.requests import Request
from tokenmarket.core.usage import Usage

OK = Head(200, {})
MESSAGES = [{"role": "user", "content": "hi"}]


def sheet(*units: str) -> PriceSheet:
    """A price sheet with one row per unit."""
    return PriceSheet("v", tuple(PriceRow(unit, 1, "0.001") for unit in units), True)


def route(
    capabilities: dict[str, object] | None = None, *, prices: PriceSheet | None = None
) -> Route:
    return Route(
        model=Model("ours", "chat", "Ours", "我们", "us", capabilities=capabilities or {}),
        provider=Provider("far", "openai", "https://far.example/v1"),
        upstream_model="theirs",
        prices=prices or sheet("input_token", "output_token"),
    )


def request(operation: str = "chat", **members: Any) -> Request:
    """A request as the gateway would hold it; ``limit`` becomes ``output_limit``."""
    limit = members.pop("limit", None)
    base: dict[str, Any] = {"model": "ours"}
    if operation == "chat":
        base["messages"] = MESSAGES
    elif operation == "completions":
        base["prompt"] = "hi"
    else:
        base["input"] = "hi"
    made = parse(operation, json.dumps(base | members).encode())
    made.output_limit = limit
    made.request_id = "req_77"
    made.created_s = 1_700_000_000
    return made


def adapter(name: str, operation: str = "chat") -> Adapter:
    return ADAPTERS[name][operation]


def built(
    name: str,
    capabilities: dict[str, object] | None = None,
    operation: str = "chat",
    **members: Any,
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """(the body sent upstream, what was dropped)."""
    made = request(operation, **members)
    sent = adapter(name, operation).build(made, route(capabilities), now_s=0)
    return json.loads(sent.body), sent.dropped


def event(payload: object) -> bytes:
    return b"data: " + json.dumps(payload, separators=(",", ":")).encode() + b"\n\n"


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    """One event as OpenAI writes it."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    head = {"id": "up-1", "object": "chat.completion.chunk", "created": 1_764_000_000}
    return event({**head, "model": "theirs-2026", "choices": [choice], **more})


DONE = b"data: [DONE]\n\n"


def decoder(name: str = "openai", operation: str = "chat", **members: Any) -> Decoder:
    made = request(operation, stream=True, **members)
    return adapter(name, operation).decoder(made, route(), OK)


def play(decoder: Decoder, *pieces: bytes) -> tuple[list[Any], Usage | None, str | None]:
    """(delivered chunks, usage, kind of the error that ended it)."""
    out = b""
    kind = None
    try:
        for piece in pieces:
            out += decoder.feed(piece)
        out += decoder.finish()
    except UpstreamError as error:
        kind = error.kind
    events = out.split(b"\n\n")
    assert events.pop() == b""
    return [json.loads(one.removeprefix(b"data: ")) for one in events], decoder.usage, kind
