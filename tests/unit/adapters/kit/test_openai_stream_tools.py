"""Tool calls in streams: what compatible upstreams leave out is filled in, nothing is mixed up."""

from __future__ import annotations

from typing import Any

from openai.types.chat import ChatCompletionChunk

from tests.unit.adapters.made import DONE, chunk, decoder, play

STOP = chunk({}, "stop")


def calls_of(chunks: list[Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for one in chunks:
        ChatCompletionChunk.model_validate(one)
        found += one["choices"][0]["delta"].get("tool_calls") or []
    return found


def tool(**call: Any) -> bytes:
    return chunk({"tool_calls": [call]})


def test_openai_tool_calls_pass() -> None:
    function = {"name": "f", "arguments": ""}
    first = tool(index=0, id="c1", type="function", function=function)
    more = [tool(index=0, function={"arguments": part}) for part in ('{"a', '":', "1}")]
    chunks, _, _ = play(decoder(), first, *more, chunk({}, "tool_calls"), DONE)
    calls = calls_of(chunks)
    assert calls[0] == {"index": 0, "id": "c1", "type": "function", "function": function}
    assert [call["function"] for call in calls[1:]] == [
        {"arguments": part} for part in ('{"a', '":', "1}")
    ]


def test_missing_index_type_and_id() -> None:
    stream = (
        tool(id="c1", function={"name": "f", "arguments": '{"a":1}'}),  # Mistral: whole, no index
        tool(id="c2", function={"name": "g", "arguments": None}),
        tool(id="", function={"name": None, "arguments": "{}"}),  # Qwen: an empty id goes on
    )
    chunks, _, _ = play(decoder("mistral"), *stream, STOP, DONE)
    assert calls_of(chunks) == [
        {
            "index": 0,
            "id": "c1",
            "type": "function",
            "function": {"name": "f", "arguments": '{"a":1}'},
        },
        {"index": 1, "id": "c2", "type": "function", "function": {"name": "g", "arguments": ""}},
        {"index": 1, "function": {"arguments": "{}"}},
    ]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_repeated_ids_go_on_and_new_ids_begin() -> None:
    stream = (
        tool(index=0, id="c1", type="function", function={"name": "f", "arguments": "{"}),
        tool(index=0, id="c1", type="function", function={"name": "f", "arguments": "}"}),
        tool(index=0, id="c2", type="function", function={"name": "g", "arguments": "{}"}),
    )
    chunks, _, _ = play(decoder("vllm"), *stream, STOP, DONE)
    calls = calls_of(chunks)
    assert [call.get("id") for call in calls] == ["c1", None, "c2"]
    assert [call["index"] for call in calls] == [0, 0, 1]
    assert calls[1] == {"index": 0, "function": {"arguments": "}"}}


def test_calls_without_any_id_get_one() -> None:
    stream = (
        tool(index=0, function={"name": "f", "arguments": "{"}),
        tool(index=0, function={"arguments": "}"}),
        tool(index=1, function={"name": "g", "arguments": {"a": 1}}),
    )
    chunks, _, _ = play(decoder("vllm"), *stream, STOP, DONE)
    calls = calls_of(chunks)
    assert [call.get("id") for call in calls] == ["call_77_0_0", None, "call_77_0_1"]
    assert calls[2]["function"] == {"name": "g", "arguments": '{"a":1}'}


def test_a_new_index_begins_a_call_even_without_a_name() -> None:
    stream = (
        tool(index=0, id="c1", type="function", function={"name": "f", "arguments": "{}"}),
        tool(index=1, function={"arguments": "{}"}),
    )
    calls = calls_of(play(decoder("vllm"), *stream, STOP, DONE)[0])
    assert [call["index"] for call in calls] == [0, 1]
    assert calls[1]["id"] == "call_77_0_1"


def test_custom_tool_calls_are_left_alone() -> None:
    first = tool(index=0, id="c1", type="custom", custom={"name": "c", "input": ""})
    chunks, _, _ = play(
        decoder(), first, tool(index=0, custom={"input": "abc"}), chunk({}, "tool_calls"), DONE
    )
    calls = [one["choices"][0]["delta"]["tool_calls"][0] for one in chunks[:2]]
    assert calls == [
        {"index": 0, "id": "c1", "type": "custom", "custom": {"name": "c", "input": ""}},
        {"index": 0, "custom": {"input": "abc"}},
    ]
