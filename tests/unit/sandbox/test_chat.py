"""Chat answers, in JSON and as a stream: right kind of answer, counts that add up."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tokenmarket.sandbox import tokens
from tokenmarket.sandbox.behaviour import Script
from tokenmarket.sandbox.desk import Desk

_PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"enum": ["c", "f"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}
_WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": _PARAMETERS}}
_CLOCK = {"type": "function", "function": {"name": "read_clock"}}
_CUSTOM = {"type": "custom", "custom": {"name": "shell"}}


def post(path: str, body: dict[str, Any], **headers: str) -> Script:
    asked = {name.replace("_", "-"): value for name, value in headers.items()}
    return Desk(lambda: 1_795_000_000).answer("POST", path, asked, json.dumps(body).encode())


def said(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "sandbox-chat", "messages": [{"role": "user", "content": text}], **fields}


def chat(body: dict[str, Any], **headers: str) -> ChatCompletion:
    script = post("/chat/completions", body, **headers)
    assert script.status == 200, script.pieces
    assert script.body_bytes == len(script.pieces[0])
    return ChatCompletion.model_validate_json(script.pieces[0], strict=True)


def events(script: Script) -> list[dict[str, Any]]:
    assert script.status == 200, script.pieces
    assert script.stream
    assert script.pieces[-1] == b"data: [DONE]\n\n"
    assert all(
        piece.startswith(b"data: ") and piece.endswith(b"\n\n") and piece.count(b"\n") == 2
        for piece in script.pieces
    )
    return [json.loads(piece[6:]) for piece in script.pieces[:-1]]


def chunks(body: dict[str, Any], **headers: str) -> list[ChatCompletionChunk]:
    rows = events(post("/chat/completions", {**body, "stream": True}, **headers))
    return [ChatCompletionChunk.model_validate(row) for row in rows]


def refused(body: dict[str, Any], path: str = "/chat/completions", **headers: str) -> Any:
    script = post(path, body, **headers)
    error = json.loads(script.pieces[0])["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    return script.status, error["param"]


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("Please answer OK", "OK"),
        ("answer OK.", "OK"),
        ("Reply with exactly: OK", "OK"),
        ('Say "hello there" and nothing else', "hello there"),
        ("Respond only with the word pong!", "pong"),
        ("请只回答OK", "OK"),
        ("请回答“好的”。", "好的"),
    ],
)
def test_a_prompt_that_names_its_answer_gets_it(prompt: str, answer: str) -> None:
    assert chat(said(prompt)).choices[0].message.content == answer


@pytest.mark.parametrize(
    "prompt", ["Answer the question about boats", "What did she say?", "I reply to letters often"]
)
def test_other_prompts_get_a_text_that_says_what_this_is(prompt: str) -> None:
    content = chat(said(prompt)).choices[0].message.content
    assert content is not None
    assert "sandbox" in content
    assert prompt in content


def test_chinese_prompts_are_answered_in_chinese() -> None:
    content = chat(said("介绍一下你自己")).choices[0].message.content or ""
    assert "沙盒" in content
    assert "介绍一下你自己" in content


def test_the_same_request_gets_the_same_bytes_and_another_one_another_id() -> None:
    first = post("/chat/completions", said("hello"))
    assert post("/v1/chat/completions", said("hello")).pieces == first.pieces
    assert chat(said("hello")).id != chat(said("hello!")).id
    assert chat(said("hello")).created == 1_795_000_000


_contents = st.text(max_size=200) | st.lists(
    st.builds(lambda text: {"type": "text", "text": text}, st.text(max_size=50))
    | st.builds(
        lambda size: {"type": "image_url", "image_url": {"url": "d" * size}}, st.integers(0, 5000)
    )
    | st.builds(
        lambda size: {"type": "input_audio", "input_audio": {"data": "d" * size}},
        st.integers(0, 5000),
    )
    | st.builds(
        lambda size: {"type": "file", "file": {"file_data": "d" * size}}, st.integers(0, 9)
    ),
    max_size=4,
)


@given(
    st.lists(
        st.builds(
            lambda role, content: {"role": role, "content": content},
            st.sampled_from(["system", "user", "assistant"]),
            _contents,
        ),
        min_size=1,
        max_size=4,
    ),
    st.integers(1, 40),
    st.integers(1, 3),
    st.sampled_from(["sandbox-chat", "sandbox-reasoner"]),
)
def test_usage_is_true_and_never_above_the_bytes_of_the_request(
    messages: list[Any], limit: int, n: int, model: str
) -> None:
    body = {"model": model, "messages": messages, "max_tokens": limit, "n": n}
    raw = msgspec.json.encode(body)
    script = Desk(lambda: 1).answer("POST", "/chat/completions", {}, raw)
    reply = ChatCompletion.model_validate_json(script.pieces[0])
    usage = reply.usage
    assert usage is not None
    assert len(messages) < usage.prompt_tokens <= len(raw)
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.completion_tokens <= limit * n
    texts = [choice.message.content or "" for choice in reply.choices]
    thoughts = [getattr(choice.message, "reasoning_content", "") for choice in reply.choices]
    counted = [
        tokens.count(text) + tokens.count(thought)
        for text, thought in zip(texts, thoughts, strict=True)
    ]
    assert usage.completion_tokens == sum(counted)
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.reasoning_tokens == sum(map(tokens.count, thoughts))
    for choice, count in zip(reply.choices, counted, strict=True):
        assert choice.finish_reason == ("length" if count == limit else "stop")


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_limits_cut_at_a_token(field: str) -> None:
    whole = chat(said("hello")).choices[0].message.content or ""
    cut = chat(said("hello", **{field: 5})).choices[0]
    assert cut.finish_reason == "length"
    assert whole.startswith(cut.message.content or "-")
    assert tokens.count(cut.message.content or "") == 5


def test_stop_sequences_end_the_text_before_them() -> None:
    choice = chat(said("hello", stop=["zzz", " same "])).choices[0]
    assert choice.finish_reason == "stop"
    assert (choice.message.content or "").endswith("and the")


def test_asked_number_of_tokens_is_exact_and_bounded_over_all_choices() -> None:
    usage = chat(said("hello", n=2), tokens="37").usage
    assert usage is not None
    assert usage.completion_tokens == 74
    usage = chat(said("hello", n=4, metadata={"sandbox_tokens": "8192"})).usage
    assert usage is not None
    assert usage.completion_tokens == 8192


def test_mentioned_tools_are_called_with_conforming_arguments() -> None:
    body = said("What is the weather, and what does the clock say?", tools=[_WEATHER, _CLOCK])
    choice = chat(body).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    calls = choice.message.tool_calls
    assert calls is not None
    assert [call.function.name for call in calls] == ["get_weather", "read_clock"]
    arguments = json.loads(calls[0].function.arguments)
    assert isinstance(arguments["city"], str)
    assert arguments["unit"] in ("c", "f")
    assert json.loads(calls[1].function.arguments) == {}
    assert len({call.id for call in calls}) == 2
    one = chat({**body, "parallel_tool_calls": False}).choices[0].message.tool_calls
    assert one is not None
    assert len(one) == 1


@pytest.mark.parametrize(
    ("prompt", "choice", "called"),
    [
        ("hello", None, []),
        ("hello", "auto", []),
        ("hello", "required", ["get_weather"]),
        ("read the clock", "required", ["read_clock"]),
        ("the weather", "none", []),
        ("hello", {"type": "function", "function": {"name": "read_clock"}}, ["read_clock"]),
        (
            "the weather and the clock",
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [_CLOCK]},
            },
            ["read_clock"],
        ),
        ("get it from the list", "auto", []),
        ("use get_weather", "auto", ["get_weather"]),
    ],
)
def test_tool_choice_is_obeyed(prompt: str, choice: Any, called: list[str]) -> None:
    body = said(prompt, tools=[_WEATHER, _CLOCK], tool_choice=choice)
    calls = chat(body).choices[0].message.tool_calls or []
    assert [call.function.name for call in calls] == called


def test_a_custom_tool_gets_an_input() -> None:
    reply = chat(said("open a shell", tools=[_CUSTOM])).choices[0].message.tool_calls
    assert reply is not None
    assert reply[0].type == "custom"
    assert reply[0].custom.name == "shell"
    assert reply[0].custom.input


def test_after_a_tool_result_comes_a_text_that_quotes_it() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather"}}
    body = said("What is the weather?", tools=[_WEATHER])
    body["messages"] += [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "18 degrees"},
    ]
    choice = chat(body).choices[0]
    assert choice.finish_reason == "stop"
    assert choice.message.content == "The tool get_weather answered: 18 degrees"


def test_structured_output_conforms() -> None:
    shape = {"type": "json_object"}
    text = chat(said("hello", response_format=shape)).choices[0].message.content or ""
    assert "sandbox" in json.loads(text)["answer"]
    shape = {"type": "json_schema", "json_schema": {"name": "w", "schema": _PARAMETERS}}
    text = chat(said("hello", response_format=shape, stop=["city"])).choices[0].message.content
    assert json.loads(text or "").keys() == {"city", "unit"}


@pytest.mark.parametrize(
    ("effort", "thought"), [("none", 0), ("low", 16), (None, 48), ("max", 512)]
)
def test_the_reasoner_reasons_by_effort(effort: str | None, thought: int) -> None:
    body = {**said("answer OK"), "model": "sandbox-reasoner", "reasoning_effort": effort}
    usage = chat(body).usage
    assert usage is not None
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.reasoning_tokens == thought
    assert usage.completion_tokens == thought + 1
    streamed = chunks(body)
    deltas = [getattr(chunk.choices[0].delta, "reasoning_content", None) for chunk in streamed]
    assert len([delta for delta in deltas if delta]) == thought


@given(
    st.sampled_from(["hello", "answer OK", "the weather and the clock", "shell", "你好"]),
    st.sampled_from(["sandbox-chat", "sandbox-reasoner"]),
    st.integers(1, 3),
    st.none() | st.integers(1, 70),
    st.booleans(),
)
def test_a_stream_says_the_same_as_the_document(
    prompt: str, model: str, n: int, limit: int | None, logprobs: bool
) -> None:
    body = {**said(prompt, n=n, tools=[_WEATHER, _CLOCK, _CUSTOM]), "model": model}
    body |= {"max_tokens": limit, "logprobs": logprobs}
    whole = json.loads(post("/chat/completions", body).pieces[0])
    with_usage = {**body, "stream": True, "stream_options": {"include_usage": True}}
    rows = events(post("/chat/completions", with_usage))
    for row in rows:
        if b'"custom"' not in msgspec.json.encode(row):  # the SDK has no type for these in streams
            ChatCompletionChunk.model_validate(row)
    assert rows[-1]["choices"] == []
    assert all(row["usage"] is None for row in rows[:-1])
    assert _assembled(rows[:-1]) == [_comparable(row) for row in whole["choices"]]
    assert rows[-1]["usage"] == whole["usage"]
    silent = events(post("/chat/completions", {**body, "stream": True}))
    assert not any("usage" in row for row in silent)
    assert len(silent) == len(rows) - 1


def _assembled(rows: list[Any]) -> list[Any]:
    """Puts the deltas of a stream together as a client does."""
    found: dict[int, dict[str, Any]] = {}
    for row in rows:
        (choice,) = row["choices"]
        delta = choice["delta"]
        made = found.setdefault(
            choice["index"], {"text": "", "thought": 0, "calls": {}, "finish": None, "rows": 0}
        )
        made["text"] += delta.get("content") or ""
        made["thought"] += tokens.count(delta.get("reasoning_content") or "")
        made["rows"] += len((choice["logprobs"] or {"content": ()})["content"])
        assert made["finish"] is None
        made["finish"] = choice["finish_reason"]
        for call in delta.get("tool_calls", ()):
            part = call.get("function") or call["custom"]
            value = part.get("arguments", "") + part.get("input", "")
            known = made["calls"].setdefault(call["index"], [part.get("name"), call.get("id"), ""])
            known[2] += value
    return [{**made, "calls": list(made["calls"].values())} for _, made in sorted(found.items())]


def _comparable(choice: Any) -> Any:
    message = choice["message"]
    calls: list[list[str]] = []
    for call in message.get("tool_calls", ()):
        part = call.get("function") or call["custom"]
        value = part.get("arguments", "") + part.get("input", "")
        calls.append([part["name"], call["id"], value])
    return {
        "text": message["content"] or "",
        "thought": tokens.count(message.get("reasoning_content", "")),
        "calls": calls,
        "finish": choice["finish_reason"],
        "rows": len((choice["logprobs"] or {"content": ()})["content"]),
    }


def test_logprobs_are_plausible_and_carry_their_alternatives() -> None:
    choice = chat(said("hello", logprobs=True, top_logprobs=3)).choices[0]
    assert choice.logprobs is not None
    rows = choice.logprobs.content
    assert rows is not None
    assert "".join(row.token for row in rows) == choice.message.content
    for row in rows:
        assert row.logprob <= 0
        assert len(row.top_logprobs) == 3
        assert row.top_logprobs[0].token == row.token
        assert max(top.logprob for top in row.top_logprobs) == row.logprob
        assert bytes(row.bytes or ()).decode() == row.token


def test_cached_tokens_are_reported_only_on_demand_and_never_above_the_prompt() -> None:
    def cached(**headers: str) -> int | None:
        usage = chat(said("hello"), **headers).usage
        assert usage is not None
        assert usage.prompt_tokens_details is not None
        return usage.prompt_tokens_details.cached_tokens

    assert cached() == 0
    assert cached(cached_tokens="4") == 4
    assert cached(cached_tokens="4000") == 8


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_tokens": 1, "max_completion_tokens": 1}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"n": 0}, "n"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"tools": {}}, "tools"),
        ({"tools": [{"type": "function"}], "tool_choice": "required"}, "tools"),
        ({"tools": [{"type": "function", "function": {"name": ""}}]}, "tools.[0].function.name"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "perhaps"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema"),
        ({"model": "sandbox-reasoner", "reasoning_effort": "huge"}, "reasoning_effort"),
        ({"metadata": {"a": 5}}, "metadata[...]"),
    ],
    ids=str,
)
def test_bad_fields_are_refused_with_their_path(fields: Any, param: str) -> None:
    assert refused({**said("hello"), **fields}) == (400, param)


@pytest.mark.parametrize("model", ["gpt-4o", "sandbox-embed", "sandbox-", "Sandbox-chat"])
def test_it_never_answers_for_a_model_that_is_not_its_own(model: str) -> None:
    assert refused({**said("hello"), "model": model}) == (404, "model")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"{",
        b'{"model":"sandbox-chat","messages":[{"role":"user","content":"\\ud800"}]}',
        b'{"model":"sandbox-chat","messages":' + b"[" * 200_000,
        b'{"model":"sandbox-chat","messages":[],"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b'{"model":"sandbox-chat","messages":[{"role":"user"}],"tools":[{"type":"function",'
        b'"function":{"name":"a","parameters":{"const":' + b"[" * 900 + b"]" * 900 + b"}}}],"
        b'"tool_choice":"required"}',
        b'{"model":"sandbox-chat","messages":[{"role":"user"}],"max_tokens":1' + b"0" * 5000 + b"}",
    ],
    ids=range(10),
)
def test_hostile_bodies_get_an_error_object(raw: bytes) -> None:
    script = Desk(lambda: 1).answer("POST", "/chat/completions", {}, raw)
    assert script.status in (200, 400)
    assert ("error" in json.loads(script.pieces[0])) == (script.status == 400)


def test_legacy_completions_answer_every_prompt() -> None:
    body = {"model": "sandbox-chat", "prompt": ["say hi", "b"], "n": 2, "echo": True, "logprobs": 2}
    reply = Completion.model_validate_json(post("/completions", body).pieces[0], strict=True)
    assert [choice.text for choice in reply.choices[:2]] == ["say hihi", "say hihi"]
    assert reply.choices[2].finish_reason == "length"  # 16 tokens when max_tokens is absent
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (3, 2 + 32)
    rows = events(post("/completions", {**body, "stream": True}))
    texts = ["", "", "", ""]
    for row in rows:
        if row["choices"][0]["finish_reason"]:  # the SDK's type wants one in every chunk
            Completion.model_validate(row)
        texts[row["choices"][0]["index"]] += row["choices"][0]["text"]
    assert texts == [choice.text for choice in reply.choices]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [([1, 2, 3], 3), ([[1], [2, 3]], 3), ("one two", 2)],
    ids=str,
)
def test_legacy_prompts_may_be_token_ids(prompt: Any, expected: int) -> None:
    script = post("/completions", {"model": "sandbox-chat", "prompt": prompt})
    assert json.loads(script.pieces[0])["usage"]["prompt_tokens"] == expected


@pytest.mark.parametrize("prompt", [[], [1, "a"], [[1], "a"], ["a"] * 129, {"a": 1}], ids=range(5))
def test_odd_legacy_prompts_are_refused(prompt: Any) -> None:
    status, _ = refused({"model": "sandbox-chat", "prompt": prompt}, "/completions")
    assert status == 400
