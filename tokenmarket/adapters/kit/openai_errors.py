"""An upstream's refusal -> UpstreamError: which kind, whose words, when to come back.

Knows the error bodies met in recordings: ``{"error": {…}}``, ``{"error": "text", "code"}``,
``{"error": ["text"]}``, flat ``{"object": "error", "message"}``, ``{"code", "message"}``,
``{"detail": …}``, ``{"base_resp": {…}}``, a bare JSON string, plain text, HTML. Nothing in here
raises on input: what cannot be read is classified by its status.

Order of knowledge: the vendor's code table, OpenAI's codes, tell-tale words, the status.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from tokenmarket.adapters.kit.shape import mapping, sequence, text
from tokenmarket.adapters.protocol import Head
from tokenmarket.core.errors import FailureKind, UpstreamError

MESSAGE_CHARS_MAX = 500
WORDS_CHARS_MAX = 4000  # of a message are looked at
BODY_BYTES_MAX = 64 * 1024  # an error body is read no further
RETRY_AFTER_S_MAX = 86_400.0

_decode = msgspec.json.Decoder().decode

# Codes and types of OpenAI, and words its followers use for the same (lower case).
CODES: dict[str, FailureKind] = {
    "context_length_exceeded": "context_too_long",
    "string_above_max_length": "context_too_long",
    "too_many_prompt_tokens": "context_too_long",  # Perplexity
    "exceed_context_size_error": "context_too_long",  # llama.cpp
    "max_tokens_exceeded": "context_too_long",
    "token_limit_exceeded": "context_too_long",
    "content_policy_violation": "content_policy",
    "content_filter": "content_policy",
    "misalignment_policy_violation": "content_policy",
    "moderation_blocked": "content_policy",
    "bio_policy": "content_policy",
    "invalid_api_key": "auth",
    "ip_not_authorized": "auth",
    "authentication_error": "auth",
    "invalid_authentication_error": "auth",
    "unsupported_country_region_territory": "forbidden",
    "permission_denied": "forbidden",
    "insufficient_quota": "quota_exhausted",
    "credit_balance_exhausted": "no_balance",
    "billing_hard_limit_reached": "no_balance",
    "billing_not_active": "no_balance",
    "insufficient_user_quota": "no_balance",  # new-api
    "pre_consume_token_quota_failed": "no_balance",  # new-api
    "model_not_found": "not_found",
    "invalid_model": "not_found",
    "deploymentnotfound": "not_found",
    "rate_limit_exceeded": "rate_limited",
    "rate_limit_error": "rate_limited",
    "slow_down": "overloaded",
    "server_is_overloaded": "overloaded",
    "overloaded_error": "overloaded",
    "provider_overloaded": "overloaded",
}

_STATUS: dict[int, FailureKind] = {
    401: "auth",
    402: "no_balance",
    403: "forbidden",
    404: "not_found",
    405: "upstream_error",  # we called it wrongly; the caller cannot help it
    407: "upstream_error",
    408: "timeout",
    409: "upstream_error",
    425: "overloaded",
    429: "rate_limited",
    498: "overloaded",  # Groq: flex capacity exceeded
    503: "overloaded",
    504: "timeout",
    524: "timeout",
    529: "overloaded",
}

# Words of error messages, looked at when no code said it; only for the statuses they fit.
_TOO_LONG = re.compile(
    r"maximum context length|context (length|window|size)|prompt (is )?too long"
    r"|exceeds? the (model'?s? )?(max|context|token limit)|too many (prompt |input )?tokens"
    r"|length of all messages is too long|reduce the length|max context"
    r"|`?inputs`? tokens \+|input is too long|输入.{0,12}(过长|超过)",
    re.IGNORECASE,
)
_POLICY = re.compile(
    r"content (policy|management policy|violates|filter)|usage guidelines|safety system|moderation"
    r"|(sensitive|inappropriate) (content|information)|flagged|敏感|不合规",
    re.IGNORECASE,
)
_AUTH = re.compile(
    r"(incorrect|invalid|missing|wrong) (api[ -]?key|access token|authentication)"
    r"|api[ -]?key (is )?(invalid|provided is)|authentication fail",
    re.IGNORECASE,
)
_BALANCE = re.compile(
    r"insufficient (account )?(balance|credits?|funds)|(out of|not enough) credits?|arrearage"
    r"|overdue|exceeded your current quota|payment required|余额不足|欠费",
    re.IGNORECASE,
)
_NO_MODEL = re.compile(
    r"model.{0,80}(does not exist|not found|not exist)|invalid model\b|not a valid model"
    r"|supported api model names|unknown model|no such model|模型不存在",
    re.IGNORECASE | re.DOTALL,
)
_RETRY_IN = re.compile(
    r"(?:try again|retry) (?:in|after) (\d+(?:\.\d+)?) ?(ms|s|m)?", re.IGNORECASE
)

# What must never reach a caller: credentials, account names, and other people's request ids.
_SECRETS = re.compile(
    r"\b(?:sk|pk|rk|xai|gsk|pplx|hf|r8|fw|tgp|nvapi|csk|key|eyJ|AKIA|ASIA|AIza)[-_]?"
    r"[A-Za-z0-9*][A-Za-z0-9_*.\-]{9,}"
    r"|\bBearer\s+\S+"
    r"|\b(?:org|proj|user|acct|team|req|ws)[-_][A-Za-z0-9]{6,}"
    r"|\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"
    r"|\b[0-9a-fA-F]{24,}\b"
    r"|[^\s*]{0,40}\*{3,}\S{0,40}"
    r"|[\w.+-]{1,64}@[\w-]{1,64}\.[\w.]{1,64}"
)
_SPACE = re.compile(r"[\x00-\x20\x7f]+")


def explain(head: Head, body: bytes, codes: dict[str, FailureKind]) -> UpstreamError:
    """An answer that is not 2xx. Never raises."""
    found = _read(body)
    message = found.message or f"HTTP {head.status}"
    kind = _classify(found, head.status, codes)
    retry_after_s = _retry_after_s(head.headers)
    if kind in ("rate_limited", "overloaded"):
        if head.headers.get("x-should-retry") == "false" and head.status == 429:
            kind = "quota_exhausted"
        elif retry_after_s is None:
            retry_after_s = _retry_in_s(message)
    return UpstreamError(
        kind,
        clean(message) or f"HTTP {head.status}",
        status=head.status,
        code=found.shown_code,
        param=found.param,
        retry_after_s=retry_after_s,
    )


def inside_200(document: object, codes: dict[str, FailureKind]) -> UpstreamError:
    """An error object found where an answer was promised: in a 200 body or a stream event."""
    found = _from_json(document)
    status = found.status if found.status is not None and 400 <= found.status <= 599 else None
    kind = _classify(found, status or 500, codes)
    return UpstreamError(
        kind,
        clean(found.message or "") or "the upstream reported an error without words",
        status=status,
        code=found.shown_code,
        param=found.param,
        retry_after_s=_retry_in_s(found.message or ""),
    )


def clean(message: str) -> str:
    """One short line without credentials, account names and request ids."""
    short = _SPACE.sub(" ", message[: MESSAGE_CHARS_MAX * 4]).strip()
    short = _SECRETS.sub("[redacted]", short)
    if len(short) > MESSAGE_CHARS_MAX:
        short = short[: MESSAGE_CHARS_MAX - 1] + "…"
    return short


class _Found(msgspec.Struct, frozen=True):
    """What an error body said; ``codes`` are all words that may be codes, most exact first."""

    message: str | None = None
    codes: tuple[str, ...] = ()
    param: str | None = None
    status: int | None = None
    inner: str = ""  # the vendor's words behind a router: classify by them, never show them

    @property
    def shown_code(self) -> str | None:
        return clean(self.codes[0])[:80] if self.codes else None


def _read(body: bytes) -> _Found:
    if len(body) <= BODY_BYTES_MAX:
        try:
            return _from_json(_decode(body))
        except (msgspec.DecodeError, RecursionError):
            pass
    plain = body[:2000].decode("utf-8", "replace").strip()
    if not plain or plain.startswith("<"):  # an HTML page of a proxy says nothing to a caller
        return _Found()
    return _Found(message=plain)


def _from_json(document: object) -> _Found:
    if isinstance(document, str):
        return _Found(message=document)
    fields = mapping(document)
    base_resp = mapping(fields.get("base_resp"))
    if base_resp and base_resp.get("status_code"):
        return _Found(
            message=text(base_resp.get("status_msg")), codes=(str(base_resp["status_code"]),)
        )
    error = fields.get("error")
    nested = mapping(error)
    if not nested:
        words = error if isinstance(error, str) else _first_text(sequence(error))
        return _flat(fields, words)
    metadata = mapping(nested.get("metadata"))
    return _Found(
        message=_words(nested.get("message")) or _words(nested.get("msg")),
        codes=_codes(
            nested.get("code"),
            nested.get("type"),
            metadata.get("error_type"),
            metadata.get("provider_code"),
        ),
        param=text(nested.get("param")),
        status=_status(nested.get("code"), nested.get("status_code"), nested.get("status")),
        inner=str(metadata.get("raw") or "")[:WORDS_CHARS_MAX],
    )


def _flat(fields: dict[str, object], words: str | None) -> _Found:
    message = words or _words(fields.get("message")) or _words(fields.get("detail"))
    return _Found(
        message=message or _words(fields.get("msg")),
        codes=_codes(fields.get("code"), fields.get("type"), fields.get("error_type")),
        param=text(fields.get("param")),
        status=_status(fields.get("code"), fields.get("raw_status_code"), fields.get("status")),
    )


def _words(value: object) -> str | None:
    """A message may be text, an object with ``detail``, or a list of pydantic errors."""
    if isinstance(value, str):
        return value or None
    nested, items = mapping(value), sequence(value)
    if nested:
        inner = nested.get("detail") or nested.get("message")
        if isinstance(inner, dict):  # one level is met; a hostile body may nest thousands
            return None
        return _words(inner)
    first = mapping(items[0]) if items else {}
    place = ".".join(str(step) for step in sequence(first.get("loc"))[:8] if step != "body")
    words = text(first.get("msg")) or _first_text(items)
    return f"{place}: {words}" if place and words else words


def _first_text(values: list[object]) -> str | None:
    return next((value for value in values if isinstance(value, str) and value), None)


def _codes(*values: object) -> tuple[str, ...]:
    return tuple(str(value) for value in values if type(value) in (str, int) and value != "")


def _status(*values: object) -> int | None:
    for value in values:
        if type(value) is int and 400 <= value <= 599:
            return value
    return None


def _classify(found: _Found, status: int, codes: dict[str, FailureKind]) -> FailureKind:
    for code in found.codes:
        kind = codes.get(code.lower()) or CODES.get(code.lower())
        if kind is not None:
            return kind
    words = f"{(found.message or '')[:WORDS_CHARS_MAX]}\n{found.inner}"
    if status in (400, 403, 404, 413, 422, 429, 500) and words.strip():
        kind = _by_words(words, status)
        if kind is not None:
            return kind
    if status in _STATUS:
        return _STATUS[status]
    return "bad_request" if 400 <= status < 500 else "upstream_error"


def _by_words(words: str, status: int) -> FailureKind | None:
    """A message may quote the caller's own text, so what would cool our credential down must be
    its first words (where the status alone does not already say that it is about us)."""
    if _AUTH.match(words) or (status != 429 and _BALANCE.match(words)):
        return "auth" if _AUTH.match(words) else "no_balance"
    if status in (403, 429) and _BALANCE.search(words):
        return "no_balance"
    if status != 429 and _TOO_LONG.search(words):
        return "context_too_long"
    if status in (400, 403, 422) and _POLICY.search(words):
        return "content_policy"
    if status in (400, 404, 422) and _NO_MODEL.search(words):
        return "not_found"
    return None


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """``retry-after-ms`` before ``retry-after``, as the official SDKs do.

    The HTTP-date form needs a clock, which adapters do not have: None.
    """
    for name, divisor in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if re.fullmatch(r"\d{1,12}(?:\.\d{1,9})?", value, re.ASCII):
            return min(float(value) / divisor, RETRY_AFTER_S_MAX)
    return None


def _retry_in_s(message: str) -> float | None:
    """OpenAI and Groq name the wait in words: "Please try again in 1.2s"."""
    match = _RETRY_IN.search(message[:2000])
    if match is None or len(match.group(1)) > 12:
        return None
    scale = {"ms": 0.001, "m": 60.0}.get((match.group(2) or "s").lower(), 1.0)
    return min(float(match.group(1)) * scale, RETRY_AFTER_S_MAX)
