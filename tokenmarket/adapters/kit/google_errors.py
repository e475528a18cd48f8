"""Google's refusals (google.rpc.Status) -> UpstreamError (gemini.md section 4).

``{"error": {"code", "message", "status", "details": [...]}}``, sometimes inside a list of one. A
key that is wrong is a 400 whose ErrorInfo says so; how long to wait is in RetryInfo, not in a
header; a quota of a day ends the key for long.
"""

from __future__ import annotations

import re

import msgspec

from tokenmarket.adapters.kit.openai_errors import BODY_BYTES_MAX, RETRY_AFTER_S_MAX, clean
from tokenmarket.adapters.kit.openai_errors import explain as explain_plain
from tokenmarket.adapters.kit.shape import mapping, sequence, text
from tokenmarket.adapters.protocol import Head
from tokenmarket.core.errors import FailureKind, UpstreamError

# ErrorInfo.reason, which is more exact than the status.
REASONS: dict[str, FailureKind] = {
    "API_KEY_INVALID": "auth",
    "API_KEY_EXPIRED": "auth",
    "ACCESS_TOKEN_EXPIRED": "auth",
    "API_KEY_SERVICE_BLOCKED": "forbidden",
    "SERVICE_DISABLED": "forbidden",
    "BILLING_DISABLED": "no_balance",
    "CONSUMER_SUSPENDED": "forbidden",
}
STATUSES: dict[str, FailureKind] = {
    "INVALID_ARGUMENT": "bad_request",
    "FAILED_PRECONDITION": "forbidden",  # region or free tier: this key may not
    "OUT_OF_RANGE": "bad_request",
    "UNAUTHENTICATED": "auth",
    "PERMISSION_DENIED": "forbidden",
    "NOT_FOUND": "not_found",
    "RESOURCE_EXHAUSTED": "rate_limited",
    "CANCELLED": "upstream_error",
    "INTERNAL": "upstream_error",
    "UNAVAILABLE": "overloaded",
    "DEADLINE_EXCEEDED": "timeout",
}
_BAD_KEY = ("API key not valid", "API key expired")
_TOO_LONG = re.compile(r"token count.{0,40}exceeds|input (context|token).{0,40}too long", re.I)
_DELAY = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s", re.ASCII)

_decode = msgspec.json.Decoder().decode


def explain(head: Head, body: bytes) -> UpstreamError:
    """An answer that is not 2xx. Never raises."""
    error = error_of(body)
    if not error:
        return explain_plain(head, body, {})
    return described(error, head.status)


def error_of(body: bytes) -> dict[str, object]:
    """The ``error`` object of a body; empty where there is none."""
    if len(body) > BODY_BYTES_MAX:
        return {}
    try:
        document = _decode(body)
    except (msgspec.DecodeError, RecursionError):
        return {}
    items = sequence(document)
    return mapping(mapping(items[0] if items else document).get("error"))


def described(error: dict[str, object], status: int | None) -> UpstreamError:
    """An ``error`` object, also one inside a stream or a finished operation (``status`` None)."""
    message = text(error.get("message")) or ""
    word = text(error.get("status"))
    details = [mapping(item) for item in sequence(error.get("details"))]
    reason = _first(details, "reason")
    kind = _kind(word, reason, message, details, status)
    return UpstreamError(
        kind,
        clean(message) or word or f"HTTP {status}",
        status=status,
        code=clean(reason or word or "")[:80] or None,
        retry_after_s=_retry_after_s(details),
    )


def _kind(
    word: str | None,
    reason: str | None,
    message: str,
    details: list[dict[str, object]],
    status: int | None,
) -> FailureKind:
    if reason in REASONS:
        return REASONS[reason]
    if message.startswith(_BAD_KEY):
        return "auth"
    if status == 402:
        return "no_balance"
    kind = STATUSES.get(word or "")
    if kind is None:
        return explain_plain(Head(status or 500, {}), b"", {}).kind
    if kind == "rate_limited" and _daily(details):
        return "quota_exhausted"
    if kind == "bad_request" and _TOO_LONG.search(message[:2000]):
        return "context_too_long"
    return kind


def _first(details: list[dict[str, object]], name: str) -> str | None:
    return next((found for item in details if (found := text(item.get(name)))), None)


def _daily(details: list[dict[str, object]]) -> bool:
    for item in details:
        for violation in sequence(item.get("violations")):
            if "PerDay" in (text(mapping(violation).get("quotaId")) or ""):
                return True
    return False


def _retry_after_s(details: list[dict[str, object]]) -> float | None:
    delay = _DELAY.fullmatch(_first(details, "retryDelay") or "")
    return None if delay is None else min(float(delay.group(1)), RETRY_AFTER_S_MAX)
