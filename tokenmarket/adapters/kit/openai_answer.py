"""A whole JSON answer of an OpenAI-compatible upstream -> Reply.

Answers that are OpenAI's own are known by ``openai_plain.py``; the rest is read here, member by
member. Members nobody has to look into stay the bytes they came in.
"""

from __future__ import annotations

import msgspec

from tokenmarket.adapters.kit.openai_choice import ChoiceCleaner
from tokenmarket.adapters.kit.openai_errors import inside_200
from tokenmarket.adapters.kit.openai_plain import (
    CREATED_S_MAX,
    ID_CHARS_MAX,
    TIERS,
    plain_chat,
    plain_texts,
)
from tokenmarket.adapters.kit.openai_usage import parse_usage
from tokenmarket.adapters.kit.quirks import Quirks
from tokenmarket.adapters.kit.shape import count, mapping, sequence
from tokenmarket.adapters.protocol import Head, Reply
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.requests import Request

Fields = dict[str, msgspec.Raw]

_decode_fields = msgspec.json.Decoder(Fields).decode
_decode_any = msgspec.json.Decoder().decode
_decode_text = msgspec.json.Decoder(str).decode

# Members of answers and chunks that say more about the vendor than about the answer.
VENDOR_FIELDS = frozenset(
    {
        "base_resp",
        "cost",
        "generationId",
        "kv_transfer_params",
        "latency_checkpoint",
        "obfuscation",
        "openrouter_metadata",
        "p",  # Mistral's padding
        "prompt_filter_results",
        "prompt_logprobs",
        "prompt_token_ids",
        "provider",
        "request_id",
        "sglext",
        "time_info",
        "timings",
        "user_id",
        "usage_breakdown",
        "venice_parameters",
        "x_groq",
    }
)

_TIERS = frozenset({b"null"} | {b'"%s"' % tier.encode("ascii") for tier in TIERS})


def answer_id(prefix: str, request: Request) -> str:
    """Our id in OpenAI's shape; the upstream's own stays in the ledger."""
    return prefix + request.request_id.removeprefix("req_")


def document_of(body: bytes, quirks: Quirks) -> Fields:
    """The top-level members of a 2xx body. Raises UpstreamError for garbage and errors inside."""
    try:
        fields = _decode_fields(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _not_an_answer(body) from None
    error = fields.get("error")
    if error is not None and bytes(error) not in (b"null", b'""', b"{}", b"false"):
        raise inside_200(_decode_any(body), quirks.codes)
    if "base_resp" in fields:
        status = mapping(_decode_any(fields["base_resp"])).get("status_code")
        if status:
            raise inside_200(_decode_any(body), quirks.codes)
    return fields


def _not_an_answer(body: bytes) -> UpstreamError:
    begin = body[:64].lstrip()
    kind = "nothing" if not begin else "HTML" if begin.startswith(b"<") else "no JSON object"
    return UpstreamError("upstream_error", f"the upstream answered 200 with {kind}", status=200)


def read_text(
    request: Request, route: Route, head: Head, body: bytes, quirks: Quirks, *, chat: bool
) -> Reply:
    """Chat and legacy completions of any shape."""
    fields = document_of(body, quirks)
    choices = fields.get("choices")
    if choices is None or not bytes(choices).startswith(b"["):
        if fields.keys() & {"message", "detail", "code"}:
            raise inside_200(_decode_any(body), quirks.codes)
        raise UpstreamError(
            "upstream_error", "the upstream's answer has no choices", status=head.status
        )
    try:
        cleaned: object = choices
        finish_reason = _plain(choices, quirks, chat=chat)
        if finish_reason is None:
            cleaned, finish_reason = _clean(choices, request, quirks, chat=chat)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UpstreamError(
            "upstream_error", "the upstream's choices are malformed", status=head.status
        ) from None
    document: dict[str, object] = {
        "id": answer_id("chatcmpl-" if chat else "cmpl-", request),
        "object": "chat.completion" if chat else "text_completion",
        "created": created(fields.get("created")) or request.created_s,
        "model": route.model.id,
        "choices": cleaned,
    }
    upstream_id = string(fields.get("id"))
    usage = fields.get("usage")
    parsed = None
    if usage is not None:
        parsed = parse_usage(
            usage,
            route.prices,
            service_tier=string(fields.get("service_tier")),
            reasoning_outside=quirks.reasoning_outside,
        )
    for name, value in fields.items():
        if name not in document and name != "usage" and name not in VENDOR_FIELDS:
            document[name] = value
    if foreign_tier(fields):
        del document["service_tier"]
    return Reply(document, parsed, finish_reason, upstream_id)


def foreign_tier(fields: Fields) -> bool:
    """Whether service_tier is a vendor's own word (Groq: on_demand), which typed clients refuse.
    Billing sees it all the same."""
    tier = fields.get("service_tier")
    return tier is not None and bytes(tier) not in _TIERS


def created(value: msgspec.Raw | None) -> int:
    """Unix seconds, 0 when the upstream gave none (or milliseconds, or text)."""
    seconds = count(_decode_any(value)) if value is not None else 0
    return seconds if 0 < seconds < CREATED_S_MAX else 0


def string(value: msgspec.Raw | None) -> str | None:
    """A short text member, else None."""
    if value is None or not bytes(value).startswith(b'"'):
        return None
    try:
        return _decode_text(value)[:ID_CHARS_MAX] or None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _plain(choices: msgspec.Raw, quirks: Quirks, *, chat: bool) -> str | None:
    """The finish reason if every choice is already OpenAI's own shape; None: look closer."""
    try:
        return plain_chat(choices, quirks) if chat else plain_texts(choices)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _clean(
    choices: msgspec.Raw, request: Request, quirks: Quirks, *, chat: bool
) -> tuple[object, str | None]:
    decoded = sequence(_decode_any(choices))
    if not decoded:
        raise UpstreamError("upstream_error", "the upstream's answer has no choices", status=200)
    finish_reason: str | None = None
    changed = False
    for position, item in enumerate(decoded):
        choice = mapping(item)
        if not choice:
            raise UpstreamError("upstream_error", "the upstream's choices are malformed")
        if type(choice.get("index")) is not int:
            choice["index"] = position
            changed = True
        cleaner = ChoiceCleaner(quirks, answer_id("-", request), position, streamed=False)
        changed |= cleaner.clean(choice) if chat else cleaner.clean_text(choice)
        finish_reason = finish_reason or cleaner.finish_reason
    return (decoded if changed else choices), finish_reason
