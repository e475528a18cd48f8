"""Whole answers: cleaned where they must be, untouched where they may."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from tests.unit.adapters.made import OK, adapter, request, route
from tokenmarket.adapters.protocol import Reply
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.usage import Usage

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def read(body: Any, name: str = "openai", operation: str = "chat") -> tuple[Reply, dict[str, Any]]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = adapter(name, operation).read(request(operation), route(), OK, raw)
    return reply, json.loads(msgspec.json.encode(reply.document))


def answer(message: dict[str, Any], finish: str | None = "stop", **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    return {
        "id": "up-1",
        "object": "chat.completion",
        "created": 5,
        "model": "theirs-2026",
        "choices": [choice],
        "usage": USAGE,
        **more,
    }


def message_of(document: dict[str, Any]) -> dict[str, Any]:
    ChatCompletion.model_validate(document)
    return document["choices"][0]["message"]


SAID = {"role": "assistant", "content": "hi", "refusal": None}


def test_openai_passes_with_our_names() -> None:
    reply, document = read(answer(SAID, system_fingerprint="fp", service_tier="flex", new=[1]))
    assert document == {
        "id": "chatcmpl-77",
        "object": "chat.completion",
        "created": 5,
        "model": "ours",
        "choices": answer(SAID)["choices"],
        "system_fingerprint": "fp",
        "service_tier": "flex",
        "new": [1],
    }
    assert reply.usage == Usage(
        input_tokens=3, output_tokens=2, attributes={"service_tier": "flex"}
    )
    assert (reply.finish_reason, reply.upstream_id) == ("stop", "up-1")


def test_choices_nobody_must_change_keep_their_bytes() -> None:
    raw = json.dumps(answer(SAID | {"content": "\u00e9"})).encode()
    reply, _ = read(raw)
    choices = reply.document["choices"]
    assert isinstance(choices, msgspec.Raw)
    assert bytes(choices) in raw


def test_vendor_members_are_dropped() -> None:
    vendor = {"provider": "x", "x_groq": {"id": "r"}, "cost": 1, "time_info": {}, "sglext": {}}
    _, document = read(answer(SAID, service_tier="on_demand", **vendor))
    assert not document.keys() & (vendor.keys() | {"service_tier"})


def test_what_is_missing_is_filled_in() -> None:
    body = {"choices": [{"message": {"content": "hi"}, "finish_reason": "eos"}]}
    reply, document = read(body, "zhipu")
    assert message_of(document) == {"content": "hi", "role": "assistant"}
    assert document["created"] == 1_700_000_000
    assert document["choices"][0]["index"] == 0
    assert (reply.usage, reply.upstream_id) == (None, None)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("eos", "stop"),
        ("", "stop"),
        (None, "stop"),
        ("model_length", "length"),
        ("sensitive", "content_filter"),
        ("tool_call", "tool_calls"),
        ("SAFETY", "content_filter"),
        ("something else", "stop"),
        (7, "stop"),
    ],
)
def test_finish_reasons(given: Any, expected: str) -> None:
    reply, document = read(answer(SAID, given))
    assert document["choices"][0]["finish_reason"] == expected
    assert reply.finish_reason == expected


@pytest.mark.parametrize(
    ("word", "kind"),
    [("error", "upstream_error"), ("insufficient_system_resource", "overloaded")],
)
def test_a_failed_finish_is_an_error(word: str, kind: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        read(answer(SAID, word))
    assert caught.value.kind == kind


def test_reasoning_has_one_name() -> None:
    _, document = read(answer(SAID | {"reasoning": "why"}), "groq")
    assert message_of(document)["reasoning_content"] == "why"
    assert "reasoning" not in message_of(document)
    both = SAID | {"reasoning": "a", "reasoning_content": "b"}
    assert message_of(read(answer(both), "vllm")[1])["reasoning_content"] == "b"


def test_mistral_blocks() -> None:
    blocks = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "why"}]},
        {"type": "text", "text": "hi"},
        {"type": "reference", "reference_ids": [1]},
    ]
    message = message_of(read(answer(SAID | {"content": blocks}), "mistral")[1])
    assert (message["content"], message["reasoning_content"]) == ("hi", "why")


def test_think_tags() -> None:
    tagged = SAID | {"content": "<think>\nwhy</think>\n\nhi"}
    message = message_of(read(answer(tagged), "minimax")[1])
    assert (message["content"], message["reasoning_content"]) == ("hi", "\nwhy")
    assert message_of(read(answer(tagged), "openai")[1]) == tagged


def test_tool_calls_get_what_they_lack() -> None:
    calls = [
        {"function": {"name": "f", "arguments": {"a": 1}}, "index": 0},
        {"id": "x", "type": "function", "function": {"name": "g", "arguments": None}},
    ]
    body = answer({"role": "assistant", "content": "", "tool_calls": calls}, "stop")
    _, document = read(body, "mistral")
    message = message_of(document)
    assert message["tool_calls"] == [
        {
            "function": {"name": "f", "arguments": '{"a":1}'},
            "id": "call_77_0_0",
            "type": "function",
        },
        {"id": "x", "type": "function", "function": {"name": "g", "arguments": ""}},
    ]
    assert document["choices"][0]["finish_reason"] == "tool_calls"


def test_openai_may_stop_after_a_forced_call() -> None:
    call = {"id": "x", "type": "function", "function": {"name": "g", "arguments": "{}"}}
    body = answer({"role": "assistant", "content": None, "tool_calls": [call]}, "stop")
    assert read(body, "openai")[1]["choices"] == body["choices"]
    assert read(body, "deepseek")[1]["choices"][0]["finish_reason"] == "tool_calls"


def test_n_choices() -> None:
    body = answer(SAID)
    body["choices"] = [body["choices"][0] | {"index": i} for i in range(3)]
    assert [one["index"] for one in read(body)[1]["choices"]] == [0, 1, 2]


@pytest.mark.parametrize(
    ("body", "name", "kind"),
    [
        (b"", "openai", "upstream_error"),
        (b"<html>", "openai", "upstream_error"),
        (b"[]", "openai", "upstream_error"),
        (b"null", "openai", "upstream_error"),
        (b'{"choices":[]}', "openai", "upstream_error"),
        (b'{"choices":null}', "openai", "upstream_error"),
        (b'{"choices":[1]}', "openai", "upstream_error"),
        (b'{"choices":[{"mess', "openai", "upstream_error"),
        (b'{"id":"x"}', "openai", "upstream_error"),
        (b'{"error":{"message":"x","code":429}}', "openrouter", "rate_limited"),
        (b'{"error":"context length exceeded"}', "vllm", "context_too_long"),
        (b'{"object":"error","message":"x","code":503}', "vllm", "overloaded"),
        (
            b'{"base_resp":{"status_code":1008,"status_msg":"no money"},"choices":null}',
            "minimax",
            "no_balance",
        ),
    ],
)
def test_errors_inside_a_200(body: bytes, name: str, kind: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        read(body, name)
    assert caught.value.kind == kind
    assert caught.value.message


def test_an_empty_error_is_none() -> None:
    assert read(answer(SAID, error=None, base_resp={"status_code": 0}), "minimax")[1]["choices"]


def test_legacy_completion() -> None:
    body = {
        "id": "c",
        "object": "text_completion",
        "created": 5,
        "choices": [
            {"index": 0, "text": "hi", "logprobs": None, "finish_reason": "eos", "seed": 1}
        ],
        "usage": USAGE,
        "prompt": [],
    }
    _, document = read(body, "together", "completions")
    assert document["id"] == "cmpl-77"
    assert document["choices"] == [
        {"index": 0, "text": "hi", "logprobs": None, "finish_reason": "stop"}
    ]


MEMBERS = st.sampled_from(
    ["content", "tool_calls", "reasoning", "role", "index", "message", "finish_reason", "function"]
)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MEMBERS, inner, max_size=4),
    max_leaves=10,
)


@given(st.lists(st.dictionaries(MEMBERS, ANY), min_size=1, max_size=3))
def test_garbage_is_an_upstream_error_or_an_answer(choices: list[dict[str, Any]]) -> None:
    for name in ("openai", "mistral", "minimax"):
        try:
            _, document = read({"choices": choices}, name)
        except UpstreamError:
            continue
        assert len(document["choices"]) == len(choices)
