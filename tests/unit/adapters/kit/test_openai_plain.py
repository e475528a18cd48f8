"""Answers in OpenAI's shape: the typed way gives what the general one gives."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.adapters.made import OK, adapter, request, route
from tokenmarket.adapters.kit import openai_answer
from tokenmarket.adapters.kit.openai_answer import read_text
from tokenmarket.adapters.kit.openai_plain import read_plain
from tokenmarket.adapters.kit.route_plan import RoutePlan
from tokenmarket.adapters.protocol import Reply
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.usage import Usage

CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def seen(reply: Reply) -> tuple[Any, ...]:
    document = json.loads(msgspec.json.encode(reply.document))
    return document, reply.usage, reply.finish_reason, reply.upstream_id


def plain(name: str, body: bytes) -> Reply | None:
    quirks = adapter(name).quirks
    plan = RoutePlan(route(), quirks, chat=True)
    return read_plain(request(), plan, body, quirks, chat=True)


def general(name: str, body: bytes) -> Reply:
    """Every choice cleaned, nothing known by its type."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openai_answer, "_plain", lambda *_, **__: None)
        return read_text(request(), route(), OK, body, adapter(name).quirks, chat=True)


def maybe(values: list[Any]) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "role": maybe(["assistant", "assistant", "user", None, ""]),
        "content": maybe(["hi", "é你", "", None, " <think>a</think>b", [], {"a": 1}, 7]),
        "refusal": maybe([None, "no"]),
        "annotations": maybe([[], None]),
        "reasoning_content": maybe(["why", None]),
        "reasoning": st.just("why"),
        "tool_calls": maybe(
            [None, [], [CALL], [CALL, CALL], [CALL, CALL | {"id": "b"}], [CALL | {"index": 0}]]
        ),
    },
)
CHOICES = st.fixed_dictionaries(
    {"message": MESSAGES},
    optional={
        "index": maybe([0, 1, None, "0"]),
        "finish_reason": maybe(["stop", "stop", "length", "tool_calls", "eos", "", None]),
        "logprobs": maybe([None, {"content": []}]),
        "stop_reason": st.none(),
    },
)
ANSWERS = st.fixed_dictionaries(
    {"choices": st.lists(CHOICES, max_size=2)},
    optional={
        "id": maybe(["up-1", "", None, "x" * 300]),
        "created": maybe([5, 0, -1, 10**12, 1.5, None]),
        "model": st.just("m"),
        "object": st.just("chat.completion"),
        "service_tier": maybe(["default", "on_demand", None, ""]),
        "system_fingerprint": maybe(["fp", None]),
        "x_groq": st.just({"id": "r"}),
        "provider": st.just("p"),
        "error": st.none(),
        "usage": maybe(
            [
                None,
                {},
                USAGE,
                USAGE | {"total_tokens": 9},
                USAGE | {"prompt_cache_hit_tokens": 2, "prompt_cache_miss_tokens": 1},
                USAGE | {"queue_time": 0.1, "num_sources_used": 2},
                USAGE | {"completion_tokens_details": {"rejected_prediction_tokens": 1}},
                USAGE | {"prompt_tokens_details": {"audio_tokens": 1, "cached_tokens": 2}},
            ]
        ),
    },
)


@settings(max_examples=500)
@given(ANSWERS, st.sampled_from(["openai", "vllm", "minimax", "groq"]))
def test_equal_to_the_general_way(answer: dict[str, Any], name: str) -> None:
    body = json.dumps(answer, ensure_ascii=False).encode()
    reply = plain(name, body)
    if reply is not None:
        assert seen(reply) == seen(general(name, body))


def usual(**more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": "hi", "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return {"id": "up-1", "object": "chat.completion", "created": 5, "choices": [choice]} | more


def test_the_payload_has_the_usage_last() -> None:
    reply = plain("openai", json.dumps(usual(usage=USAGE, system_fingerprint="fp")).encode())
    assert reply is not None
    payload = reply.payload(b'{"prompt_tokens":3}')
    assert payload == reply.prefix + b'{"prompt_tokens":3}}'
    document = {name: json.loads(bytes(value)) for name, value in reply.document.items()}
    assert json.loads(payload) == document | {"usage": {"prompt_tokens": 3}}


def test_a_payload_of_members() -> None:
    reply = Reply({"id": "x"}, Usage())
    assert reply.payload(b"{}") == b'{"id":"x","usage":{}}'
    assert reply.payload(None) == b'{"id":"x","usage":null}'
    assert Reply(None, None, prefix=b'{"id":1,"usage":').payload(None) == b'{"id":1,"usage":null}'


@pytest.mark.parametrize("name", ["openai", "vllm", "groq", "mistral"])
def test_text_that_is_no_text_is_an_upstream_error(name: str) -> None:
    body = json.dumps(usual()).encode().replace(b'"hi"', b'"\xff"')
    with pytest.raises(UpstreamError) as caught:
        adapter(name).read(request(), route(), OK, body)
    assert caught.value.kind == "upstream_error"


def said(**more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": "hi"} | more.pop("message", {})
    return usual(choices=[usual()["choices"][0] | {"message": message} | more])


@pytest.mark.parametrize(
    ("answer", "fits"),
    [
        (usual(), True),
        (usual(created=0), True),
        (usual(created=10**12), True),
        (usual(created=-5), True),
        (usual(usage=USAGE | {"num_sources_used": 2}), True),
        (usual(usage=USAGE | {"prompt_cache_hit_tokens": 2}), True),
        (usual(service_tier="on_demand", usage=USAGE), True),
        (
            said(message={"tool_calls": [CALL, CALL | {"id": "b"}]}, finish_reason="tool_calls"),
            True,
        ),
        (said(message={"tool_calls": [CALL, CALL]}, finish_reason="tool_calls"), False),
        (said(message={"tool_calls": [CALL]}, finish_reason="stop"), False),
        (said(message={"tool_calls": []}), False),
        (said(message={"role": "user"}), False),
        (said(message={"reasoning": "why"}), False),
        (said(index=1), False),
        (said(finish_reason="eos"), False),
        (usual(moderation={}), False),
        (usual(error=None), False),
    ],
)
def test_what_fits(answer: dict[str, Any], fits: bool) -> None:
    body = json.dumps(answer).encode()
    reply = plain("vllm", body)
    assert (reply is not None) == fits
    if reply is not None:
        assert seen(reply) == seen(general("vllm", body))
    assert adapter("vllm").read(request(), route(), OK, body).finish_reason
