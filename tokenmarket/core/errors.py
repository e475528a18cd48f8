"""Every error a caller can get, and every way an upstream can fail.

A reader must know two exceptions:

* ApiError       what the caller sees: one row of CODES plus message, param, reason.
  + raised anywhere in the request path; rendered once, in ``web/api.py``.
* UpstreamError  what an attempt at a provider ended with.
  + raised by adapters (``explain``) and by ``upstream/client.py``; ``gateway.py`` decides from its
    fields whether the next route is tried, and turns the last one into an ApiError.

Source (whose fault), retry and status are fields, set where the knowledge is, obeyed where the
loop is (``design/api.md`` section 5).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from tokenmarket.core.wording import Find, Language, said_in

Fault = Literal["caller", "platform", "provider"]


class Code(msgspec.Struct, frozen=True):
    """One row of the public error table."""

    status: int
    type: str
    fault: Fault
    retryable: bool


CODES: dict[str, Code] = {
    "REQUEST_001": Code(400, "invalid_request_body", "caller", False),
    "REQUEST_002": Code(400, "invalid_request_body", "caller", False),
    "REQUEST_004": Code(404, "not_found", "caller", False),
    "REQUEST_005": Code(405, "method_not_allowed", "caller", False),
    "REQUEST_006": Code(413, "request_too_large", "caller", False),
    "REQUEST_007": Code(415, "unsupported_media_type", "caller", False),
    "REQUEST_008": Code(409, "conflict", "caller", False),
    "REQUEST_009": Code(410, "gone", "caller", False),
    "AUTH_001": Code(401, "unauthorized", "caller", False),
    "AUTH_002": Code(403, "forbidden", "caller", False),
    "BILLING_001": Code(402, "insufficient_balance", "caller", False),
    "BILLING_002": Code(402, "insufficient_balance", "caller", True),
    "BILLING_003": Code(403, "spend_limit", "caller", False),
    "IDEMPOTENCY_001": Code(409, "idempotency_conflict", "caller", False),
    "QUOTA_001": Code(429, "rate_limited", "caller", True),
    "MODEL_001": Code(404, "model_not_found", "caller", False),
    "MODEL_002": Code(503, "model_unavailable", "platform", False),
    "PROVIDER_001": Code(502, "provider_error", "provider", True),
    "PROVIDER_002": Code(503, "provider_error", "provider", True),
    "PROVIDER_TIMEOUT": Code(504, "timeout", "provider", True),
    "CLIENT_001": Code(499, "cancelled", "caller", False),
    "PLATFORM_001": Code(503, "unavailable", "platform", True),
    "PLATFORM_002": Code(500, "internal_error", "platform", True),
}


# What is said in the caller's language where there is none of the message itself.
SUMMARIES: dict[str, str] = {
    "REQUEST_001": "The request is not valid.",
    "REQUEST_002": "The request asks for something that cannot be done here.",
    "REQUEST_004": "There is nothing here.",
    "REQUEST_005": "This method is not answered here.",
    "REQUEST_006": "The request is too large.",
    "REQUEST_007": "The type of the body is not read here.",
    "REQUEST_008": "This cannot be done in the present state.",
    "REQUEST_009": "It is not kept any more.",
    "AUTH_001": "The API key is missing or not valid.",
    "AUTH_002": "This is not allowed.",
    "BILLING_001": "The balance is too low.",
    "BILLING_002": "The balance is held by running requests.",
    "BILLING_003": "A spend limit is reached.",
    "IDEMPOTENCY_001": "The idempotency key is in use.",
    "QUOTA_001": "A rate limit is reached.",
    "MODEL_001": "There is no such model here.",
    "MODEL_002": "The model has no usable route.",
    "PROVIDER_001": "The provider failed.",
    "PROVIDER_002": "The provider is at its limit.",
    "PROVIDER_TIMEOUT": "The provider did not finish in time.",
    "CLIENT_001": "The client closed the connection.",
    "PLATFORM_001": "The service is not available at the moment.",
    "PLATFORM_002": "An internal error.",
}


class ProviderError(msgspec.Struct, frozen=True, omit_defaults=True):
    """The provider's own words, cleaned of secrets; shown as ``error.provider``."""

    name: str
    status: int | None = None
    code: str | None = None
    message: str | None = None


class ApiError(Exception):
    """The one error a caller sees.

    ``status``, ``fault`` and ``retryable`` default to the code's row; give them only where the
    case differs from the row (an upstream 4xx that the caller caused keeps its status).
    ``details`` are extra members of the error object (``available``, ``needed`` …), JSON-able.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        param: str | None = None,
        reason: str | None = None,
        status: int | None = None,
        fault: Fault | None = None,
        retryable: bool | None = None,
        retry_after_s: float | None = None,
        provider: ProviderError | None = None,
        allow: str | None = None,
        details: dict[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        row = CODES[code]
        self.code = code
        self.type = row.type
        self.said = message  # perhaps a Said: how it was made
        self.message = str(message)
        self.param = param
        self.reason = reason
        self.status = row.status if status is None else status
        self.fault: Fault = row.fault if fault is None else fault
        self.retryable = row.retryable if retryable is None else retryable
        self.retry_after_s = retry_after_s
        self.provider = provider
        self.allow = allow
        self.details = details

    def message_in(self, find: Find) -> str:
        """The message in another language; if it has none, a summary of the code and the message
        as it is."""
        told = said_in(self.said, find)
        if told is None:
            told = f"{find(SUMMARIES[self.code]) or ''} {self.message}".lstrip()
        return told

    def body(
        self,
        request_id: str,
        docs_base_url: str,
        language: Language = "en",
        message: str | None = None,
    ) -> dict[str, object]:
        """The error object of the envelope, ready for JSON. ``message``: in ``language``, where
        that is not English."""
        error: dict[str, object] = {"type": self.type, "code": self.code}
        if self.reason is not None:
            error["reason"] = self.reason
        error["message"] = self.message if message is None else message
        error["param"] = self.param
        error["request_id"] = request_id
        error["fault"] = self.fault
        error["retryable"] = self.retryable
        if self.provider is not None:
            error["provider"] = self.provider
        if self.details:
            error.update(self.details)
        error["docs_url"] = f"{docs_base_url}/{language}/docs/errors#{self.code.lower()}"
        return error


def rerank_error_members(error: dict[str, object]) -> dict[str, object]:
    """The whole error body of rerank: Cohere's clients show ``message``, Jina's and Voyage's
    ``detail``, OpenAI's ``error``. ``error`` is what ``ApiError.body`` gives."""
    message = error.get("message")
    return {"message": message, "detail": message, "error": error}


FailureKind = Literal[
    "bad_request",  # the upstream refused what the caller wrote
    "context_too_long",
    "content_policy",
    "auth",  # our credential is bad there
    "forbidden",  # our credential may not do this there
    "no_balance",  # our account there is empty
    "not_found",  # the model does not exist there
    "rate_limited",
    "quota_exhausted",  # long: this credential is done for now
    "overloaded",
    "timeout",
    "upstream_error",  # 5xx, garbage, protocol violation
    "connect",  # no connection; nothing was sent
    "stream_broken",  # the answer began and did not end properly
]

# May the next route (or the next key of the pool) be tried, as long as no byte reached the client?
FAILOVER: frozenset[str] = frozenset(
    {
        "auth",
        "forbidden",
        "no_balance",
        "not_found",
        "rate_limited",
        "quota_exhausted",
        "overloaded",
        "timeout",
        "upstream_error",
        "connect",
        "stream_broken",
    }
)

# Failures that are about our credential there: it cools down, the caller never sees them as theirs.
CREDENTIAL: frozenset[str] = frozenset(
    {"auth", "forbidden", "no_balance", "rate_limited", "quota_exhausted"}
)


class UpstreamError(Exception):
    """How one attempt at a provider failed.

    ``status`` is the provider's HTTP status (None when there was no answer). ``message`` and
    ``code`` are the provider's, not yet cleaned for the caller. ``retry_after_s`` only if it said.
    ``stage`` tells timeouts apart: connect | first_byte | idle | total; "address" is one that the
    provider named and that may not be asked.
    """

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
        stage: str | None = None,
    ) -> None:
        super().__init__(message)
        self.kind: FailureKind = kind
        self.message = message
        self.status = status
        self.code = code
        self.param = param
        self.retry_after_s = retry_after_s
        self.stage = stage

    @property
    def failover(self) -> bool:
        """Whether another route may be tried before the first client byte."""
        return self.kind in FAILOVER
