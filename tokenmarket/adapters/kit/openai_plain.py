"""Answers that are already OpenAI's own: known by one typed decode, relayed as bytes.

The types below name what OpenAI sends and forbid everything else, so that whoever fits needs no
member looked at again. What does not fit is None here and goes the general way
(``openai_answer.py``), which gives the same document: only the order of members may differ.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tokenmarket.adapters.kit.openai_usage import (
    OpenAIUsage,
    billed_tier,
    parse_usage,
    text_counts,
    text_usage,
)
from tokenmarket.adapters.kit.quirks import Quirks
from tokenmarket.adapters.kit.route_plan import RoutePlan
from tokenmarket.adapters.protocol import Reply, TextAnswer
from tokenmarket.core.requests import Request

ABSENT = msgspec.Raw(b"")
# OpenAI's words for service_tier; a vendor's own is known to billing only, typed clients refuse it.
TIERS = frozenset({"auto", "default", "flex", "scale", "priority", "fast", "ultrafast"})
CREATED_S_MAX = 10**11  # more than that are milliseconds
ID_CHARS_MAX = 200

Text = Annotated[str, msgspec.Meta(min_length=1)]
Finish = Literal["stop", "length", "tool_calls", "content_filter", "function_call"]


class _Function(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    name: str
    arguments: str


class _Call(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    id: Text
    type: Literal["function"]
    function: _Function


class _Message(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    role: Literal["assistant"]
    content: str | None
    tool_calls: Annotated[list[_Call], msgspec.Meta(min_length=1)] | None = None
    refusal: msgspec.Raw = ABSENT
    annotations: msgspec.Raw = ABSENT
    audio: msgspec.Raw = ABSENT
    function_call: msgspec.Raw = ABSENT
    reasoning_content: msgspec.Raw = ABSENT
    reasoning_details: msgspec.Raw = ABSENT


class _Choice(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    index: int
    message: _Message
    finish_reason: Finish
    logprobs: msgspec.Raw = ABSENT


class _TextChoice(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    index: int
    text: str
    finish_reason: Finish
    logprobs: msgspec.Raw = ABSENT


class _Members(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    choices: msgspec.Raw
    id: str = ""
    created: int = 0
    service_tier: str | msgspec.UnsetType | None = msgspec.UNSET
    system_fingerprint: msgspec.Raw = ABSENT
    object: msgspec.Raw = ABSENT  # replaced, as is the model
    model: msgspec.Raw = ABSENT
    x_groq: msgspec.Raw = ABSENT  # members of vendors, dropped
    usage_breakdown: msgspec.Raw = ABSENT
    request_id: msgspec.Raw = ABSENT


class _Answer(_Members, gc=False):
    usage: msgspec.Raw = ABSENT


class _TextAnswer(_Members, gc=False):
    usage: OpenAIUsage | None = None


TIER_MEMBER = {tier: b',"service_tier":"%b"' % tier.encode("ascii") for tier in TIERS}
_CHAT_HEAD = b'{"id":"chatcmpl-%b","object":"chat.completion","created":%d,"model":'
_TEXT_HEAD = b'{"id":"cmpl-%b","object":"text_completion","created":%d,"model":'

_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_text_answer = msgspec.json.Decoder(_TextAnswer).decode
_decode_choices = msgspec.json.Decoder(list[_Choice]).decode
_decode_texts = msgspec.json.Decoder(list[_TextChoice]).decode


def read_plain(
    request: Request, plan: RoutePlan, body: bytes, quirks: Quirks, *, chat: bool
) -> Reply | None:
    """The Reply of a chat or legacy completion in OpenAI's shape; None: look closer."""
    try:
        answer = _decode_answer(body)
        choices = answer.choices
        finish_reason = plain_chat(choices, quirks) if chat else plain_texts(choices)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if finish_reason is None:
        return None
    tier, extras = _tier_and_extras(answer)
    usage = None
    if answer.usage is not ABSENT:
        usage = None if quirks.reasoning_outside else text_usage(answer.usage, tier)
        if usage is None:
            usage = parse_usage(
                answer.usage,
                plan.route.prices,
                service_tier=tier,
                reasoning_outside=quirks.reasoning_outside,
            )
    prefix = _prefix(
        answer, plan, request.request_id.removeprefix("req_"), request.created_s, extras, chat=chat
    )
    return Reply(None, usage, finish_reason, answer.id[:ID_CHARS_MAX] or None, prefix)


def read_text(
    plan: RoutePlan, quirks: Quirks, request_id: str, created_s: int, body: bytes
) -> TextAnswer | None:
    """The same for a chat whose usage is plain text too, of a vendor whose reasoning tokens are
    part of the completion; None: look closer."""
    try:
        answer = _decode_text_answer(body)
        finish_reason = plain_chat(answer.choices, quirks)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if finish_reason is None or answer.usage is None:
        return None
    counts = text_counts(answer.usage)
    if counts is None:
        return None
    tier, extras = _tier_and_extras(answer)
    prefix = _prefix(answer, plan, request_id[4:], created_s, extras, chat=True)
    return TextAnswer(prefix, finish_reason, counts, billed_tier(tier) if tier else None)


def _tier_and_extras(found: _Members) -> tuple[str | None, bytes]:
    """The tier that served, and the members that go between choices and usage."""
    tier = found.service_tier
    if tier is msgspec.UNSET:
        tier, extras = None, b""
    elif tier is None:
        extras = b',"service_tier":null'
    else:
        extras = TIER_MEMBER.get(tier, b"")
    if found.system_fingerprint is not ABSENT:
        extras += b',"system_fingerprint":' + bytes(found.system_fingerprint)
    return tier, extras


def _prefix(
    found: _Members, plan: RoutePlan, id_: str, created_s: int, extras: bytes, *, chat: bool
) -> bytes:
    seconds = found.created
    if not 0 < seconds < CREATED_S_MAX:
        seconds = created_s
    return b"".join(
        (
            (_CHAT_HEAD if chat else _TEXT_HEAD) % (id_.encode(), seconds),
            plan.model_json,
            b',"choices":',
            found.choices,
            extras,
            b',"usage":',
        )
    )


def plain_chat(choices: msgspec.Raw, quirks: Quirks) -> str | None:
    """The finish reason if every choice may pass as it is; None or DecodeError: it may not."""
    decoded = _decode_choices(choices)
    for position, choice in enumerate(decoded):
        message = choice.message
        if choice.index != position:
            return None
        calls = message.tool_calls
        if calls is not None:
            if choice.finish_reason == "stop" and quirks.stop_means_tools:
                return None
            if len(calls) > 1 and len({call.id for call in calls}) < len(calls):
                return None  # fragments of one call
        if quirks.think_tags and (message.content or "").lstrip().startswith("<"):
            return None
    return decoded[0].finish_reason if decoded else None


def plain_texts(choices: msgspec.Raw) -> str | None:
    """The same for legacy completions."""
    decoded = _decode_texts(choices)
    for position, choice in enumerate(decoded):
        if choice.index != position:
            return None
    return decoded[0].finish_reason if decoded else None
