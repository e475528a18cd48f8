"""Tools and structured output with the official SDK: whole loops, streamed calls, parsed models."""

import json
from typing import Any, Literal

import pytest
from openai import BadRequestError, OpenAI
from pydantic import BaseModel

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a place",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"type": "string", "enum": ["c", "f"]},
            },
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}
CLOCK: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_clock",
        "parameters": {"type": "object", "properties": {"zone": {"type": "string"}}},
    },
}


def ask(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def test_the_whole_loop(client: OpenAI) -> None:
    messages = ask("What is the weather in Oslo?")
    called = client.chat.completions.create(
        model="sandbox-chat", messages=messages, tools=[WEATHER, CLOCK]
    )
    (choice,) = called.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    assert choice.message.tool_calls is not None
    (call,) = choice.message.tool_calls
    assert call.type == "function"
    assert call.function.name == "get_weather"
    arguments = json.loads(call.function.arguments)
    assert set(arguments) == {"city", "unit"}
    assert arguments["unit"] in ("c", "f")
    messages.append(choice.message.model_dump(exclude_none=True))
    messages.append({"role": "tool", "tool_call_id": call.id, "content": '{"degrees": 21}'})
    answered = client.chat.completions.create(
        model="sandbox-chat", messages=messages, tools=[WEATHER, CLOCK]
    )
    content = answered.choices[0].message.content
    assert content is not None
    assert "get_weather" in content
    assert '{"degrees": 21}' in content
    assert answered.choices[0].finish_reason == "stop"


def test_parallel_calls_and_their_absence(client: OpenAI) -> None:
    messages = ask("weather and clock, please")
    both = client.chat.completions.create(
        model="sandbox-chat", messages=messages, tools=[WEATHER, CLOCK]
    )
    calls = both.choices[0].message.tool_calls or []
    assert [call.function.name for call in calls] == ["get_weather", "get_clock"]
    assert len({call.id for call in calls}) == 2
    one = client.chat.completions.create(
        model="sandbox-chat", messages=messages, tools=[WEATHER, CLOCK], parallel_tool_calls=False
    )
    assert len(one.choices[0].message.tool_calls or []) == 1


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ("none", None),
        ("auto", None),
        ("required", "get_weather"),
        ({"type": "function", "function": {"name": "get_clock"}}, "get_clock"),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": "get_clock"}}],
                },
            },
            "get_clock",
        ),
    ],
    ids=["none", "auto", "required", "named", "allowed"],
)
def test_tool_choice(client: OpenAI, choice: Any, called: str | None) -> None:
    completion = client.chat.completions.create(
        model="sandbox-chat", messages=ask("Hello!"), tools=[WEATHER, CLOCK], tool_choice=choice
    )
    calls = completion.choices[0].message.tool_calls
    assert (calls[0].function.name if calls else None) == called


def test_streamed_calls_are_those_of_the_whole_answer(client: OpenAI) -> None:
    messages = ask("weather and clock, please")
    calls: dict[int, dict[str, str]] = {}
    finish = None
    for chunk in client.chat.completions.create(
        model="sandbox-chat", messages=messages, tools=[WEATHER, CLOCK], stream=True
    ):
        choice = chunk.choices[0]
        finish = choice.finish_reason or finish
        for delta in choice.delta.tool_calls or []:
            call = calls.setdefault(delta.index, {"id": "", "name": "", "arguments": ""})
            assert delta.function is not None
            call["id"] += delta.id or ""
            call["name"] += delta.function.name or ""
            call["arguments"] += delta.function.arguments or ""
    assert finish == "tool_calls"
    whole = client.chat.completions.create(
        model="sandbox-chat", messages=messages, tools=[WEATHER, CLOCK]
    )
    assert list(calls.values()) == [
        {"id": call.id, "name": call.function.name, "arguments": call.function.arguments}
        for call in whole.choices[0].message.tool_calls or []
    ]


def test_the_stream_helper_gathers_calls(client: OpenAI) -> None:
    with client.chat.completions.stream(
        model="sandbox-chat", messages=ask("the weather?"), tools=[WEATHER]
    ) as stream:
        done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
        completion = stream.get_final_completion()
    (event,) = done
    assert event.name == "get_weather"
    calls = completion.choices[0].message.tool_calls
    assert calls is not None
    assert json.loads(calls[0].function.arguments) == json.loads(event.arguments)


def test_a_custom_tool(client: OpenAI) -> None:
    completion = client.chat.completions.create(
        model="sandbox-chat",
        messages=ask("use the editor"),
        tools=[{"type": "custom", "custom": {"name": "editor", "description": "edits"}}],
    )
    calls = completion.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].type == "custom"
    assert calls[0].custom.name == "editor"


def test_a_custom_tool_can_be_forced(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="sandbox-chat",
        messages=ask("Hello!"),
        tools=[WEATHER, {"type": "custom", "custom": {"name": "editor"}}],
        tool_choice={"type": "custom", "custom": {"name": "editor"}},
    )
    assert "x-tokenmarket-dropped-params" not in raw.headers
    calls = raw.parse().choices[0].message.tool_calls
    assert [call.type for call in calls or []] == ["custom"]


def test_tool_choice_without_tools_is_refused(client: OpenAI) -> None:
    with pytest.raises(BadRequestError) as raised:
        client.chat.completions.create(
            model="sandbox-chat", messages=ask("Hello!"), tool_choice="required"
        )
    assert raised.value.code == "REQUEST_001"
    assert raised.value.param == "tool_choice"


# --- structured output --------------------------------------------------------------------------


class Step(BaseModel):
    text: str
    number: int


class Plan(BaseModel):
    title: str
    level: Literal["low", "high"]
    steps: list[Step]
    done: bool


def test_json_object(client: OpenAI) -> None:
    completion = client.chat.completions.create(
        model="sandbox-chat",
        messages=ask("Answer in JSON."),
        response_format={"type": "json_object"},
    )
    content = completion.choices[0].message.content
    assert content is not None
    assert isinstance(json.loads(content), dict)


def test_json_schema(client: OpenAI) -> None:
    completion = client.chat.completions.create(
        model="sandbox-chat",
        messages=ask("A plan."),
        response_format={
            "type": "json_schema",
            "json_schema": {
                "name": "plan",
                "strict": True,
                "schema": {
                    "type": "object",
                    "properties": {"size": {"type": "integer", "minimum": 3, "maximum": 5}},
                    "required": ["size"],
                    "additionalProperties": False,
                },
            },
        },
    )
    content = completion.choices[0].message.content
    assert content is not None
    document = json.loads(content)
    assert list(document) == ["size"]
    assert 3 <= document["size"] <= 5


def test_parse_gives_the_model(client: OpenAI) -> None:
    completion = client.chat.completions.parse(
        model="sandbox-chat", messages=ask("A plan."), response_format=Plan
    )
    parsed = completion.choices[0].message.parsed
    assert isinstance(parsed, Plan)
    assert parsed.level in ("low", "high")


def test_parse_streamed(client: OpenAI) -> None:
    with client.chat.completions.stream(
        model="sandbox-chat", messages=ask("A plan."), response_format=Plan
    ) as stream:
        completion = stream.get_final_completion()
    assert isinstance(completion.choices[0].message.parsed, Plan)


def test_tool_definitions_are_input_that_is_paid(client: OpenAI) -> None:
    without = client.chat.completions.create(model="sandbox-chat", messages=ask("Hello!"))
    offered = client.chat.completions.create(
        model="sandbox-chat", messages=ask("Hello!"), tools=[WEATHER]
    )
    assert without.usage is not None
    assert offered.usage is not None
    assert offered.usage.prompt_tokens > without.usage.prompt_tokens
