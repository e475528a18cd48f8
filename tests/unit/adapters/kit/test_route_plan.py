"""The short way of building a request gives what the general one gives."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.adapters import made
from tokenmarket.adapters.kit import route_plan
from tokenmarket.adapters.kit.openai_request import build_text
from tokenmarket.adapters.kit.quirks import OPENAI_ONLY, Quirks
from tokenmarket.adapters.kit.route_plan import RoutePlan, RoutePlans
from tokenmarket.adapters.registry import ADAPTERS
from tokenmarket.core.errors import ApiError
from tokenmarket.core.requests import Request

TOOL = {"type": "function", "function": {"name": "f", "parameters": {}, "strict": True}}
CUSTOM = {"type": "custom", "custom": {"name": "c"}}
SAID: list[dict[str, Any]] = [
    {"role": "user", "content": "hi"},
    {"role": "user", "content": "hi", "name": None},
    {"role": "developer", "content": "be brief"},
    {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    {"role": "assistant", "content": "x", "reasoning_content": "why", "refusal": None},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function"}]},
]
MEMBERS: dict[str, st.SearchStrategy[Any]] = {
    "messages": st.lists(st.sampled_from(SAID), min_size=1, max_size=3),
    "tools": st.sampled_from([[TOOL], [CUSTOM], [TOOL, CUSTOM], [], None]),
    "max_tokens": st.sampled_from([1, 50, None]),
    "max_completion_tokens": st.sampled_from([50, None]),
    "temperature": st.sampled_from([0, 0.7, 1.5, 2, None]),
    "top_p": st.sampled_from([0.5, None]),
    "n": st.sampled_from([1, 2, None]),
    "stop": st.sampled_from(["x", None]),
    "stream": st.booleans(),
    "stream_options": st.sampled_from([None, {"include_usage": True}]),
    "tool_choice": st.sampled_from(["auto", "none", "required", None, {"type": "function"}]),
    "reasoning_effort": st.sampled_from(["none", "low", "max", None]),
    "response_format": st.sampled_from([{"type": "json_object"}, {"type": "json_schema"}]),
    "provider": st.sampled_from([None, {"sort": "price"}, {"require_parameters": True}]),
    "models": st.just(["other"]),
    "functions": st.sampled_from([None, [], [{"name": "f"}]]),
    "best_of": st.sampled_from([1, None]),
    "max_new_tokens": st.just(9),
    "usage": st.just({"include": True}),
    "seed": st.just(1),
    "user": st.just("u"),
    "metadata": st.just({}),
    "logprobs": st.just(True),
    "service_tier": st.just("flex"),
    "thinking": st.just({"type": "enabled"}),
    "new_member": st.just([1]),
}
CAPABILITIES: list[dict[str, object]] = [
    {},
    {"reasoning": True},
    {"reasoning": True, "sampling": False, "max_tokens_field": "max_completion_tokens"},
    {"tools": False, "stop": False},
    {"chat_tools": False, "reasoning_efforts": ["low", "max"]},
]
DIALECTS = sorted(
    {name: one["chat"].quirks for name, one in ADAPTERS.items() if "chat" in one}.items()
)


def general(request: Request, quirks: Quirks, capabilities: dict[str, object]) -> Any:
    try:
        sent = build_text(request, made.route(capabilities), quirks)
    except ApiError as error:
        return error.code, error.param
    return json.loads(sent.body), sent.dropped


@settings(max_examples=400)
@given(
    st.fixed_dictionaries({}, optional=MEMBERS),
    st.sampled_from(DIALECTS),
    st.sampled_from(CAPABILITIES),
    st.sampled_from([None, 77]),
)
def test_equal_to_the_general_way(
    members: dict[str, Any],
    dialect: tuple[str, Quirks],
    capabilities: dict[str, object],
    limit: int | None,
) -> None:
    try:
        request = made.request(limit=limit, **members)
    except ApiError:
        return
    _, quirks = dialect
    plan = RoutePlan(made.route(capabilities), quirks, chat=True)
    fields = plan.fields(request)
    if fields is not None:
        sent = {name: json.loads(bytes(value)) for name, value in fields.items()}
        assert (sent, ()) == general(request, quirks, capabilities)


@settings(max_examples=100)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: MEMBERS[name]
            for name in ("max_tokens", "temperature", "stream", "provider", "best_of", "seed")
        },
    ),
    st.sampled_from([name for name, one in ADAPTERS.items() if "completions" in one]),
)
def test_equal_for_legacy_completions(members: dict[str, Any], name: str) -> None:
    try:
        request = made.request("completions", limit=16, **members)
    except ApiError:
        return
    quirks = ADAPTERS[name]["completions"].quirks
    fields = RoutePlan(made.route(), quirks, chat=False).fields(request)
    if fields is not None:
        sent = {name: json.loads(bytes(value)) for name, value in fields.items()}
        assert (sent, ()) == general(request, quirks, {})


def test_usual_requests_take_the_short_way() -> None:
    usual: dict[str, Any] = {"tools": [TOOL], "tool_choice": "auto", "temperature": 0.2}
    for name in ("openai", "sandbox", "newapi", "vllm", "deepseek", "groq"):
        quirks = ADAPTERS[name]["chat"].quirks
        plan = RoutePlan(made.route(), quirks, chat=True)
        for more in ({}, {"stream": True}, {"provider": {"sort": "price"}}):
            request = made.request(max_tokens=5, limit=5, user="u", **usual, **more)
            assert plan.fields(request) is not None, (name, more)


def test_what_a_dialect_does_not_know_is_dropped_by_the_general_way() -> None:
    request = made.request(verbosity="low", metadata={})
    assert request.members.keys() & OPENAI_ONLY
    plan = RoutePlan(made.route(), ADAPTERS["vllm"]["chat"].quirks, chat=True)
    assert plan.fields(request) is None
    assert made.built("vllm", verbosity="low")[1] == ("verbosity",)


def test_custom_tools_are_for_the_general_way() -> None:
    request = made.request(tools=[TOOL, CUSTOM])
    for name, fits in (("vllm", False), ("openai", True)):
        plan = RoutePlan(made.route(), ADAPTERS[name]["chat"].quirks, chat=True)
        assert (plan.fields(request) is not None) == fits


def test_a_request_is_not_changed() -> None:
    request = made.request(max_tokens=5, limit=9, provider={"sort": "price"})
    before = dict(request.members)
    assert RoutePlan(made.route(), Quirks(), chat=True).fields(request) is not None
    assert request.members == before


def test_plans_are_of_the_route_itself(monkeypatch: Any) -> None:
    monkeypatch.setattr(route_plan, "PLANS_MAX", 3)
    plans = RoutePlans(Quirks(), chat=True)
    routes = [made.route() for _ in range(10)]
    for route in routes + routes:
        plan = plans.of(route)
        assert plan.route is route
        assert plans.of(route) is plan
