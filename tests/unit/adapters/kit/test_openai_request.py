"""What goes upstream, per dialect."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.adapters.made import adapter, built, request, route
from tokenmarket.adapters.registry import ADAPTERS
from tokenmarket.core.errors import ApiError
from tokenmarket.core.parse import parse

TOOL = {"type": "function", "function": {"name": "f", "strict": True, "parameters": {}}}
CHATS = sorted(name for name, own in ADAPTERS.items() if "chat" in own)


@pytest.mark.parametrize("name", CHATS)
def test_every_dialect_sends_the_upstream_model_and_one_limit(name: str) -> None:
    body, dropped = built(
        name, limit=50, max_tokens=70, provider={"only": ["far"]}, models=["other"]
    )
    assert body["model"] == "theirs"
    assert body["messages"] == [{"role": "user", "content": "hi"}]
    limits = {key: body[key] for key in ("max_tokens", "max_completion_tokens") if key in body}
    assert list(limits.values()) == [50]
    assert not body.keys() & {"provider", "models"}
    assert dropped == ()


@pytest.mark.parametrize("name", CHATS)
def test_no_limit_is_sent_when_none_was_planned(name: str) -> None:
    body, _ = built(name, max_completion_tokens=70)
    assert not body.keys() & {"max_tokens", "max_completion_tokens"}


@pytest.mark.parametrize("name", CHATS)
@pytest.mark.parametrize("field", ["best_of", "max_new_tokens", "max_output_tokens"])
def test_nothing_may_escape_the_limit(name: str, field: str) -> None:
    body, dropped = built(name, limit=5, **{field: 1000})
    assert field not in body
    assert field in dropped


def test_openai_passes_what_it_does_not_know() -> None:
    extras: dict[str, Any] = {
        "verbosity": "low",
        "prompt_cache_key": "k",
        "something_new": {"a": [1, 2.5, "x"]},
        "user": "u",
        "metadata": {"a": "b"},
        "seed": 3,
    }
    body, dropped = built("openai", **extras)
    assert {key: body[key] for key in extras} == extras
    assert dropped == ()


def test_the_model_says_how_its_limit_is_called() -> None:
    body, _ = built("newapi", {"max_tokens_field": "max_completion_tokens"}, limit=9)
    assert body["max_completion_tokens"] == 9
    assert "max_tokens" not in body


def test_openai_only_members_are_dropped_and_named() -> None:
    body, dropped = built("deepseek", store=True, verbosity="low", metadata={"a": "b"}, top_k=5)
    assert not body.keys() & {"store", "verbosity", "metadata"}
    assert dropped == ("store", "verbosity")  # metadata is for our own records
    assert body["top_k"] == 5


def test_a_null_member_is_nothing_to_report() -> None:
    body, dropped = built("deepseek", store=None)
    assert "store" not in body
    assert dropped == ()


def test_require_parameters_turns_dropping_into_refusal() -> None:
    with pytest.raises(ApiError) as caught:
        built("deepseek", store=True, provider={"require_parameters": True})
    assert (caught.value.code, caught.value.param) == ("REQUEST_002", "store")


@pytest.mark.parametrize(
    ("name", "members", "param"),
    [
        ("perplexity", {"tools": [TOOL]}, "tools"),
        ("deepseek", {"n": 2}, "n"),
        ("groq", {"n": 3}, "n"),
        ("deepseek", {"functions": [{"name": "f"}]}, "functions"),
        (
            "deepseek",
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
            "response_format",
        ),
        ("mistral", {"tools": [{"type": "custom", "custom": {"name": "c"}}]}, "tools[0].type"),
    ],
)
def test_what_changes_the_answer_is_refused(name: str, members: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        built(name, **members)
    assert (caught.value.code, caught.value.param) == ("REQUEST_002", param)


def test_tools_that_need_the_responses_endpoint() -> None:
    with pytest.raises(ApiError) as caught:
        built("openai", {"chat_tools": False}, tools=[TOOL])
    assert caught.value.code == "REQUEST_002"
    assert "/v1/responses" in caught.value.message
    body, _ = built("openai", {"chat_tools": False}, tools=[TOOL], reasoning_effort="none")
    assert body["tools"] == [TOOL]
    with pytest.raises(ApiError):
        built("openai", {"tools": False}, tools=[TOOL])


def test_sampling_of_reasoning_models() -> None:
    facts: dict[str, object] = {"sampling": False}
    body, dropped = built("openai", facts, temperature=0.5, top_p=0.9)
    assert not body.keys() & {"temperature", "top_p"}
    assert dropped == ("temperature", "top_p")
    body, dropped = built("openai", facts, temperature=0.5, reasoning_effort="none")
    assert body["temperature"] == 0.5
    body, dropped = built("xai", {"stop": False}, stop=["x"])
    assert dropped == ("stop",)


def test_streams_always_ask_for_usage() -> None:
    body, _ = built("openai", stream=True)
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True, "include_obfuscation": False}
    body, _ = built("groq", stream=True, stream_options={"include_usage": False})
    assert body["stream_options"] == {"include_usage": True}
    for name in ("mistral", "perplexity"):
        body, _ = built(name, stream=True, stream_options={"include_usage": True})
        assert "stream_options" not in body
    body, _ = built("openai")
    assert not body.keys() & {"stream", "stream_options"}


@pytest.mark.parametrize(
    ("name", "facts", "effort", "expected", "dropped"),
    [
        ("openai", {}, "high", {"reasoning_effort": "high"}, ()),
        ("deepseek", {}, "low", {"thinking": {"type": "enabled"}, "reasoning_effort": "low"}, ()),
        ("deepseek", {}, "none", {"thinking": {"type": "disabled"}}, ()),
        ("dashscope", {}, "medium", {"enable_thinking": True}, ()),
        ("dashscope", {}, "none", {"enable_thinking": False}, ()),
        ("zhipu", {}, "high", {"thinking": {"type": "enabled"}}, ()),
        ("zhipu", {"reasoning_efforts": ["low", "max"]}, "xhigh", {"reasoning_effort": "max"}, ()),
        ("moonshot", {"reasoning_efforts": ["high"]}, "medium", {"reasoning_effort": "high"}, ()),
        ("groq", {}, "max", {"reasoning_effort": "high"}, ()),
        ("groq", {"reasoning_efforts": ["max"]}, "max", {"reasoning_effort": "max"}, ()),
        ("minimax", {}, "low", {"thinking": {"type": "adaptive"}}, ()),
        ("openrouter", {}, "max", {"reasoning_effort": "xhigh"}, ()),
    ],
)
def test_reasoning_effort_in_their_words(
    name: str,
    facts: dict[str, object],
    effort: str,
    expected: dict[str, Any],
    dropped: tuple[str, ...],
) -> None:
    body, named = built(name, facts, reasoning_effort=effort)
    switches = {"thinking", "enable_thinking", "reasoning_effort"}
    assert {key: body[key] for key in switches & body.keys()} == expected
    assert named == dropped


def test_the_vendors_own_switch_wins() -> None:
    own = {"type": "disabled"}
    body, _ = built("zhipu", thinking=own, reasoning_effort="high")
    assert body["thinking"] == own


def test_developer_becomes_system_where_it_is_unknown() -> None:
    messages = [{"role": "developer", "content": "be"}, {"role": "user", "content": "hi"}]
    for name, role in (("openai", "developer"), ("vllm", "system"), ("deepseek", "system")):
        body, _ = built(name, messages=messages)
        assert body["messages"][0] == {"role": role, "content": "be"}


def test_text_parts_become_one_string_where_lists_are_refused() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    image = {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}
    body, _ = built("deepseek", messages=[{"role": "user", "content": parts}])
    assert body["messages"][0]["content"] == "a\nb"
    body, _ = built("deepseek", messages=[{"role": "user", "content": [*parts, image]}])
    assert body["messages"][0]["content"] == [*parts, image]
    body, _ = built("vllm", messages=[{"role": "user", "content": parts}])
    assert body["messages"][0]["content"] == parts


CALLED = {
    "role": "assistant",
    "content": None,
    "name": "bot",
    "reasoning_content": "why",
    "refusal": None,
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
}
RESULT = {"role": "tool", "tool_call_id": "c1", "name": "f", "content": "ok"}
HISTORY = [{"role": "user", "content": "hi"}, CALLED, RESULT]


def test_history_for_strict_upstreams() -> None:
    body, _ = built("mistral", messages=HISTORY)
    called, result = body["messages"][1:]
    assert called.keys() == {"role", "content", "tool_calls"}
    assert result == RESULT  # a tool message keeps its name there
    body, _ = built("groq", messages=HISTORY)
    assert "content" not in body["messages"][1]
    assert "reasoning_content" not in body["messages"][1]


def test_lost_reasoning_is_replaced_where_it_is_demanded() -> None:
    lost = {key: value for key, value in CALLED.items() if key != "reasoning_content"}
    history = [HISTORY[0], lost, RESULT]
    body, _ = built("deepseek", {"reasoning": True}, messages=history)
    assert body["messages"][1]["reasoning_content"] == " "
    body, _ = built("deepseek", {"reasoning": True}, messages=HISTORY)
    assert body["messages"][1]["reasoning_content"] == "why"
    body, _ = built("deepseek", messages=history)
    assert "reasoning_content" not in body["messages"][1]


def test_neighbours_of_one_role_are_merged_where_roles_must_alternate() -> None:
    said = [{"role": "system", "content": "a"}, {"role": "developer", "content": "b"}]
    asked = [{"role": "user", "content": "c"}, {"role": "user", "content": "d"}]
    body, _ = built("perplexity", messages=[*said, *asked])
    assert body["messages"] == [
        {"role": "system", "content": "a\n\nb"},
        {"role": "user", "content": "c\n\nd"},
    ]


def test_renames_clamps_and_tools() -> None:
    body, _ = built("mistral", seed=7, tools=[TOOL], tool_choice="required")
    assert body["random_seed"] == 7
    assert "seed" not in body
    assert body["tool_choice"] == "any"
    assert "strict" not in body["tools"][0]["function"]
    body, dropped = built("zhipu", temperature=1.5, tools=[TOOL], tool_choice="required")
    assert body["temperature"] == 1.0
    assert "tool_choice" not in body
    assert set(dropped) == {"temperature", "tool_choice"}
    body, dropped = built("moonshot", {"reasoning": True}, temperature=0.3)
    assert dropped == ("temperature",)
    body, _ = built("minimax", limit=3)
    assert (body["reasoning_split"], body["max_completion_tokens"]) == (True, 3)
    body, _ = built("minimax", reasoning_split=False)
    assert body["reasoning_split"] is False


def test_legacy_completions() -> None:
    body, _ = built("openai", operation="completions", limit=16, best_of=2, echo=True, suffix="s")
    assert body == {
        "model": "theirs",
        "prompt": "hi",
        "best_of": 2,
        "echo": True,
        "suffix": "s",
        "max_tokens": 16,
    }


def test_heads_are_reused() -> None:
    """upstream/client.py caches rendered heads by the identity of the tuple."""
    chat = adapter("openai")
    first, second = (chat.build(request(), route(), now_s=0) for _ in range(2))
    assert first.headers is second.headers
    streamed = chat.build(request(stream=True), route(), now_s=0)
    assert dict(streamed.headers)["accept"] == "text/event-stream"
    assert (first.path, first.method) == ("/chat/completions", "POST")


def test_numbers_and_text_survive_unchanged() -> None:
    """Members are copied as bytes: no float is rounded, no escape rewritten."""
    body = request().body[:-1] + b',"x":1.10000000000000000001,"y":"\\u00e9\\ud83d\\ude00"}'
    made = parse("chat", body)
    sent = adapter("openai").build(made, route(), now_s=0).body
    assert b'"x":1.10000000000000000001' in sent
    assert b'"y":"\\u00e9\\ud83d\\ude00"' in sent
    assert json.loads(sent)["model"] == "theirs"
