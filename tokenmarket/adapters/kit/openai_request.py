"""A caller's body -> the body for one OpenAI-compatible upstream, by its Quirks.

The order matters and is the one of ``reference/providers/openai_compatible.md`` section 4: refuse,
drop, rename, clamp, roles and contents, tools, reasoning, output limit, stream options. Members
stay undecoded bytes unless a quirk has to look inside; for OpenAI itself nothing is looked into.
This is the general way; most requests take the short one of ``route_plan.py``.

What is removed is named in ``dropped``; what would change the meaning of the answer (tools,
response_format, n > 1) is refused with REQUEST_002, and with ``provider.require_parameters``
everything is.
"""

from __future__ import annotations

from typing import NoReturn

import msgspec

from tokenmarket.adapters.kit import openai_messages
from tokenmarket.adapters.kit.quirks import (
    GATEWAY_FIELDS,
    HONOURED_HERE,
    LIMIT_ESCAPES,
    SAMPLING,
    Quirks,
)
from tokenmarket.adapters.kit.route_plan import limit_field, stream_options
from tokenmarket.adapters.kit.shape import mapping, sequence
from tokenmarket.adapters.protocol import UpstreamRequest
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import ApiError
from tokenmarket.core.requests import ChatBody, CompletionBody, Request
from tokenmarket.core.wording import say

HEADERS = (("content-type", "application/json"), ("accept", "application/json"))
STREAM_HEADERS = (("content-type", "application/json"), ("accept", "text/event-stream"))

Fields = dict[str, msgspec.Raw]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_TRUE = msgspec.Raw(b"true")
_NULL = (b"", b"null")

_TEMPERATURE = frozenset({"temperature"})
_STOP = frozenset({"stop"})
_SAFE_LEGACY = frozenset({"best_of"})  # a documented and priced member of /completions


def raw(value: object) -> msgspec.Raw:
    """Any JSON-able value as a member of ``Fields``."""
    return msgspec.Raw(_encode(value))


def build_text(request: Request, route: Route, quirks: Quirks) -> UpstreamRequest:
    """Chat and legacy completions. Raises ApiError(REQUEST_002) for what can never work there."""
    fields = request.fields
    capabilities = route.model.capabilities
    typed = request.typed
    dropped: list[str] = []
    for name in GATEWAY_FIELDS:
        fields.pop(name, None)
    fields["model"] = raw(route.upstream_model)
    _refuse(fields, quirks, route)
    drop(fields, quirks.drop, dropped)
    escapes = LIMIT_ESCAPES if request.operation == "chat" else LIMIT_ESCAPES - _SAFE_LEGACY
    drop(fields, escapes, dropped)
    if isinstance(typed, ChatBody):
        _chat(fields, typed, route, quirks, dropped)
    for old, new in quirks.rename:
        if old in fields:
            fields[new] = fields.pop(old)
    _clamp(fields, typed, quirks, capabilities, dropped)
    _limit(fields, request, quirks, capabilities)
    _stream(fields, request, quirks)
    for name, value in quirks.force:
        fields.setdefault(name, msgspec.Raw(value))
    finish(request, route, dropped)
    return UpstreamRequest(
        quirks.path,
        STREAM_HEADERS if request.stream else HEADERS,
        _encode(fields),
        dropped=tuple(dropped),
    )


def finish(request: Request, route: Route, dropped: list[str]) -> None:
    """``provider.require_parameters`` turns what would be dropped into a refusal."""
    if dropped and request.choice is not None and request.choice.require_parameters:
        unsupported(dropped[0], route)


def unsupported(param: str, route: Route, why: str = "") -> NoReturn:
    """REQUEST_002 for one member of the request at this provider."""
    raise ApiError(
        "REQUEST_002",
        why
        or say(
            "{provider_name} does not support {param!r} for {model_id}.",
            provider_name=route.provider.name,
            param=param,
            model_id=route.model.id,
        ),
        param=param,
        reason="unsupported_parameter",
    )


def drop(fields: Fields, names: frozenset[str], dropped: list[str]) -> None:
    """Remove members and name them, unless they said nothing or are honoured by the gateway."""
    if names.isdisjoint(fields):
        return
    for name in sorted(names.intersection(fields)):
        if bytes(fields.pop(name)) != b"null" and name not in HONOURED_HERE:
            dropped.append(name)


def _refuse(fields: Fields, quirks: Quirks, route: Route) -> None:
    if quirks.refuse.isdisjoint(fields):
        return
    for name in sorted(quirks.refuse.intersection(fields)):
        if bytes(fields.pop(name)) not in (b"null", b"[]"):
            unsupported(name, route)


def _chat(
    fields: Fields, typed: ChatBody, route: Route, quirks: Quirks, dropped: list[str]
) -> None:
    if typed.n is not None and typed.n > quirks.n_max:
        unsupported("n", route, f"{route.provider.name} gives one answer per request (n = 1).")
    if typed.tools:
        _check_tools(typed, route, quirks)
    if quirks.strip_strict and b'"strict"' in bytes(fields.get("tools", msgspec.Raw())):
        _strip_strict(fields)
    _tool_choice(fields, quirks, dropped)
    form = typed.response_format or {}
    if not quirks.json_schema and bytes(form.get("type", b"")) == b'"json_schema"':
        unsupported("response_format", route)
    if openai_messages.needs_change(typed, quirks, route.model.capabilities):
        fields["messages"] = openai_messages.rewrite(
            fields["messages"], quirks, route.model.capabilities
        )
    if typed.reasoning_effort is not None:
        efforts = sequence(route.model.capabilities.get("reasoning_efforts"))
        _reasoning(fields, typed.reasoning_effort, efforts, quirks, dropped)


def _check_tools(typed: ChatBody, route: Route, quirks: Quirks) -> None:
    """Facts of the model: no tools at all, or tools only on another endpoint of the vendor."""
    capabilities = route.model.capabilities
    if capabilities.get("tools") is False:
        unsupported("tools", route, f"{route.model.id} has no tools.")
    for position, tool in enumerate(typed.tools or ()):
        if tool.type == "custom" and not quirks.custom_tools:
            unsupported(f"tools[{position}].type", route)
    # OpenAI gpt-5.4 and newer (https://platform.openai.com/docs/models; facts as of 2026-11-23).
    if capabilities.get("chat_tools") is False and typed.reasoning_effort != "none":
        unsupported(
            "tools",
            route,
            f"{route.model.id} takes tools on /v1/responses only, which this gateway does not "
            "translate to yet; use a model that takes tools on /chat/completions.",
        )


def _strip_strict(fields: Fields) -> None:
    tools = sequence(_decode(fields["tools"]))
    for tool in tools:
        mapping(mapping(tool).get("function")).pop("strict", None)
    fields["tools"] = raw(tools)


def _tool_choice(fields: Fields, quirks: Quirks, dropped: list[str]) -> None:
    value = fields.get("tool_choice")
    if value is None or bytes(value) in (b"null", b'"auto"'):
        return
    choice = _decode(value)
    word = choice if isinstance(choice, str) else str(mapping(choice).get("type", ""))
    if word not in quirks.tool_choices:
        del fields["tool_choice"]
        dropped.append("tool_choice")
        return
    for ours, theirs in quirks.tool_choice_words:
        if word == ours:
            fields["tool_choice"] = raw(theirs)


def _reasoning(
    fields: Fields, effort: str, known: list[object], quirks: Quirks, dropped: list[str]
) -> None:
    """``reasoning_effort`` in the upstream's words; the vendor's own switch, if given, wins.

    ``known`` are the words the model itself takes; a vendor that switches its older models on and
    off grades the ones that have such a list (Kimi K3, GLM-5.3).
    """
    style = quirks.reasoning
    if known and style == "thinking":
        style = "reasoning_effort"
    on = effort not in ("none", "minimal")
    if style != "reasoning_effort" and not (style == "thinking_and_effort" and on):
        del fields["reasoning_effort"]
    if style == "none":
        dropped.append("reasoning_effort")
    elif style == "enable_thinking":
        fields.setdefault("enable_thinking", raw(on))
    elif style in ("thinking", "thinking_and_effort"):
        fields.setdefault("thinking", raw({"type": quirks.thinking_on if on else "disabled"}))
    if "reasoning_effort" in fields and effort not in known:
        for ours, theirs in quirks.efforts:
            if effort == ours:
                fields["reasoning_effort"] = raw(theirs)


def _clamp(
    fields: Fields,
    typed: object,
    quirks: Quirks,
    capabilities: dict[str, object],
    dropped: list[str],
) -> None:
    if not isinstance(typed, ChatBody | CompletionBody):
        return
    temperature = typed.temperature
    if temperature is not None and temperature > quirks.temperature_max:
        fields["temperature"] = raw(quirks.temperature_max)
        dropped.append("temperature")
    if not isinstance(typed, ChatBody):
        return
    if quirks.temperature_fixed and capabilities.get("reasoning"):
        drop(fields, _TEMPERATURE, dropped)
    # Reasoning models of OpenAI take sampling members only where the effort resolves to none.
    if capabilities.get("sampling") is False and typed.reasoning_effort != "none":
        drop(fields, SAMPLING, dropped)
    if capabilities.get("stop") is False:
        drop(fields, _STOP, dropped)


def _limit(
    fields: Fields, request: Request, quirks: Quirks, capabilities: dict[str, object]
) -> None:
    """Exactly one limit field, with the number that was paid for."""
    fields.pop("max_tokens", None)
    fields.pop("max_completion_tokens", None)
    if request.output_limit is not None:
        name = limit_field(quirks, capabilities, chat=request.operation == "chat")
        fields[name] = msgspec.Raw(b"%d" % request.output_limit)


def _stream(fields: Fields, request: Request, quirks: Quirks) -> None:
    if not request.stream:
        if bytes(fields.get("stream_options", msgspec.Raw())) in _NULL:
            fields.pop("stream_options", None)  # null is as good as absent, but some refuse it
        return
    fields["stream"] = _TRUE
    options = stream_options(quirks)
    if options is None:
        fields.pop("stream_options", None)
    else:
        fields["stream_options"] = options
