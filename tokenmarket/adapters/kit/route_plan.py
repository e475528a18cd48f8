"""What a route and its dialect decide for every request alike, worked out once.

``RoutePlan.fields`` is the fast way of ``openai_request.build_text``: it takes requests that hold
none of the members some quirk would refuse, drop, rename or rewrite. It returns None for all
others, which ``build_text`` handles; for those that both can take, both give the same members.
"""

from __future__ import annotations

import msgspec

from tokenmarket.adapters.kit import openai_messages
from tokenmarket.adapters.kit.quirks import GATEWAY_FIELDS, LIMIT_ESCAPES, SAMPLING, Quirks
from tokenmarket.adapters.kit.shape import text
from tokenmarket.core.catalog import Route
from tokenmarket.core.requests import ChatBody, Request

Fields = dict[str, msgspec.Raw]

PLANS_MAX = 2048  # routes of old catalogs are forgotten with the rest when there are more

_encode = msgspec.json.Encoder().encode
_TRUE = msgspec.Raw(b"true")
_GATEWAY = frozenset(GATEWAY_FIELDS)
_ASK = msgspec.Raw(b'{"include_usage":true}')
# The padding would only be removed again here; it guards a plaintext length we do not leak.
_ASK_UNPADDED = msgspec.Raw(b'{"include_usage":true,"include_obfuscation":false}')


def stream_options(quirks: Quirks) -> msgspec.Raw | None:
    """The member that makes the upstream report usage; None where it does so anyway."""
    if quirks.stream_usage == "always":
        return None
    return _ASK_UNPADDED if quirks.obfuscation else _ASK


def limit_field(quirks: Quirks, capabilities: dict[str, object], *, chat: bool) -> str:
    """The one name under which the output limit is sent."""
    known = text(capabilities.get("max_tokens_field")) if chat else None
    return known or quirks.max_tokens_field


class RoutePlan:
    """One route in one dialect. ``model_json`` is our model name, encoded."""

    __slots__ = (
        "_capabilities",
        "_chat",
        "_force",
        "_limit_field",
        "_look_at_messages",
        "_model",
        "_no_custom_tools",
        "_options",
        "_quirks",
        "_special",
        "_tool_choices",
        "model_json",
        "route",
    )

    def __init__(self, route: Route, quirks: Quirks, *, chat: bool) -> None:
        capabilities = route.model.capabilities
        self.route = route
        self.model_json = _encode(route.model.id)
        self._capabilities = capabilities
        self._quirks = quirks
        self._chat = chat
        self._model = msgspec.Raw(_encode(route.upstream_model))
        self._limit_field = limit_field(quirks, capabilities, chat=chat)
        self._options = stream_options(quirks)
        self._force = tuple((name, msgspec.Raw(value)) for name, value in quirks.force)
        self._no_custom_tools = not quirks.custom_tools
        self._special = _special(quirks, capabilities, chat=chat)
        changed = {word for word, _ in quirks.tool_choice_words}
        self._tool_choices = frozenset(
            [b"null", b'"auto"']
            + [_encode(word) for word in quirks.tool_choices if word not in changed]
        )
        self._look_at_messages = chat and not (
            quirks.developer_role
            and quirks.content_lists
            and not quirks.drop_nulls
            and not quirks.assistant_drop
            and not quirks.message_drop
            and not quirks.merge_roles
            and not (quirks.reasoning_back and capabilities.get("reasoning"))
        )

    @property
    def keeps_text_messages(self) -> bool:
        """Whether messages of the usual roles with only text are sent as they came."""
        quirks = self._quirks
        return not (
            quirks.drop_nulls or quirks.assistant_drop or quirks.message_drop or quirks.merge_roles
        )

    def fields(self, request: Request) -> Fields | None:
        """The members to send, nothing of the caller's dropped; None: the general way."""
        members = request.members
        fields = members.copy()
        if not self._special.isdisjoint(members):
            if not self._special.intersection(members) <= _GATEWAY:
                return None
            for name in GATEWAY_FIELDS:
                fields.pop(name, None)
        if "tool_choice" in members and bytes(members["tool_choice"]) not in self._tool_choices:
            return None
        typed = request.typed
        if isinstance(typed, ChatBody):
            if self._no_custom_tools and typed.tools:
                for tool in typed.tools:
                    if tool.type == "custom":
                        return None
            if self._look_at_messages and openai_messages.needs_change(
                typed, self._quirks, self._capabilities
            ):
                fields["messages"] = openai_messages.rewrite(
                    fields["messages"], self._quirks, self._capabilities
                )
        fields["model"] = self._model
        if "max_tokens" in members:
            del fields["max_tokens"]
        if "max_completion_tokens" in members:
            del fields["max_completion_tokens"]
        if request.output_limit is not None:
            fields[self._limit_field] = msgspec.Raw(b"%d" % request.output_limit)
        if request.stream:
            fields["stream"] = _TRUE
            if self._options is None:
                fields.pop("stream_options", None)
            else:
                fields["stream_options"] = self._options
        elif "stream_options" in members:
            return None
        for name, value in self._force:
            fields.setdefault(name, value)
        return fields


def _special(quirks: Quirks, capabilities: dict[str, object], *, chat: bool) -> frozenset[str]:
    """Members that the general way may have to do something about."""
    names = {*GATEWAY_FIELDS, *quirks.refuse, *quirks.drop, *(old for old, _ in quirks.rename)}
    names |= LIMIT_ESCAPES if chat else LIMIT_ESCAPES - {"best_of"}
    if quirks.temperature_max < 2 or (quirks.temperature_fixed and capabilities.get("reasoning")):
        names.add("temperature")
    if not chat:
        return frozenset(names)
    if quirks.n_max < 8:
        names.add("n")
    if (
        quirks.strip_strict
        or capabilities.get("tools") is False
        or capabilities.get("chat_tools") is False
    ):
        names.add("tools")
    if not quirks.json_schema:
        names.add("response_format")
    if quirks.reasoning != "reasoning_effort" or quirks.efforts:
        names.add("reasoning_effort")
    if capabilities.get("sampling") is False:
        names |= SAMPLING
    if capabilities.get("stop") is False:
        names.add("stop")
    return frozenset(names)


class RoutePlans:
    """The plans of one adapter, by route. Only memory: a plan is made again at any time."""

    def __init__(self, quirks: Quirks, *, chat: bool) -> None:
        self._quirks = quirks
        self._chat = chat
        self._plans: dict[int, RoutePlan] = {}

    def of(self, route: Route) -> RoutePlan:
        """The plan of this very object: a kept plan keeps its route, so ids cannot be reused."""
        plan = self._plans.get(id(route))
        if plan is not None and plan.route is route:
            return plan
        if len(self._plans) >= PLANS_MAX:
            self._plans.clear()
        plan = self._plans[id(route)] = RoutePlan(route, self._quirks, chat=self._chat)
        return plan
