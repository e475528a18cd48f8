"""Header blocks and error bodies of answers (``design/api.md`` sections 3 and 5).

A block is ready bytes, every line ending in CRLF; fronts add status line, framing and date.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from tokenmarket.core.errors import (
    ApiError,
    ProviderError,
    UpstreamError,
    rerank_error_members,
)
from tokenmarket.core.money import usd_bytes
from tokenmarket.core.wire import Inbound, header_value
from tokenmarket.core.wording import Find, Language, preferred, say
from tokenmarket.exchange import Exchange

_encode = msgspec.json.Encoder().encode

_HEAD = (
    b"x-request-id: %b\r\nopenai-processing-ms: %d\r\nopenai-version: 2020-10-01\r\n"
    b"x-tokenmarket-attempts: %d\r\nx-tokenmarket-overhead-ms: %.3f\r\n"
)


@lru_cache(maxsize=4096)
def route_lines(provider: str, upstream_model: str) -> bytes:
    """Who answered."""
    return b"x-tokenmarket-provider: %b\r\nx-tokenmarket-model: %b\r\n" % (
        header_value(provider),
        header_value(upstream_model),
    )


def _lines(exchange: Exchange, now_us: int) -> bytes:
    """What every answer says."""
    duration_us = now_us - exchange.started_us
    overhead_us = duration_us - exchange.upstream_us
    attempts = exchange.attempts
    if attempts and attempts[-1].finished_us is None:  # a stream: the attempt is still running
        first_byte_us = attempts[-1].first_byte_us or duration_us
        overhead_us -= first_byte_us - attempts[-1].started_us
    overhead_us = max(overhead_us, 0)
    head = _HEAD % (
        exchange.inbound.request_id.encode("ascii"),
        duration_us // 1000,
        len(attempts),
        overhead_us / 1000,
    )
    route = exchange.route
    if route is not None:
        head += route_lines(route.provider.name, route.upstream_model)
    caller = exchange.caller
    if caller is not None and caller.limiter is not None:
        head += caller.limiter.headers(now_us)
    request = exchange.request
    if request is not None and request.output_limit is not None:
        head += output_limit_line(request.output_limit)
    if exchange.dropped_params:
        names = ", ".join(exchange.dropped_params)
        head += b"x-tokenmarket-dropped-params: %b\r\n" % header_value(names.replace(", ", ","))
    return head


def output_limit_line(limit: int | None) -> bytes:
    """The output limit that was sent upstream."""
    return b"" if limit is None else b"x-tokenmarket-max-tokens: %d\r\n" % limit


def text_head_form(provider: str, upstream_model: str, limit: int | None) -> bytes:
    """``reply_head`` of plain chats that succeed at their first attempt (``lane``), to be filled
    with: request id; duration and overhead in ms; the lines of the rate limits; charge
    and balance in USD."""
    form = _HEAD % (b"%b", 910_001, 1, 910_002)
    for mark, hole in ((b"910001", b"%d"), (b"910002.000", b"%.3f")):
        form = form.replace(mark, hole)
    return b"".join(
        (
            form,
            route_lines(provider, upstream_model).replace(b"%", b"%%"),
            b"%b",
            output_limit_line(limit),
            b"content-type: application/json\r\nx-tokenmarket-cost: %b\r\n"
            b"x-tokenmarket-balance: %b\r\n",
        )
    )


def reply_head(
    exchange: Exchange,
    now_us: int,
    *,
    content_type: bytes = b"application/json",
    replayed: bool = False,
) -> bytes:
    """A whole answer: cost and balance are known."""
    head = _lines(exchange, now_us)
    capture = exchange.captured
    charged = capture.charged_nano if capture is not None else 0
    cost = usd_bytes(charged)
    if exchange.balance_nano is None:
        head += b"content-type: %b\r\nx-tokenmarket-cost: %b\r\n" % (content_type, cost)
    else:
        head += b"content-type: %b\r\nx-tokenmarket-cost: %b\r\nx-tokenmarket-balance: %b\r\n" % (
            content_type,
            cost,
            usd_bytes(exchange.balance_nano),
        )
    if replayed:
        head += b"idempotent-replayed: true\r\n"
    return head


def stream_head(exchange: Exchange, now_us: int) -> bytes:
    """A stream: its cost comes with the last usage event and on the receipt."""
    return (
        _lines(exchange, now_us)
        + b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
        b"x-accel-buffering: no\r\n"
    )


def audio_head(exchange: Exchange, now_us: int, content_type: str, cost_nano: int | None) -> bytes:
    """Audio that is still coming. Its cost is known where characters are what is billed."""
    head = _lines(exchange, now_us) + b"content-type: %b\r\ncache-control: no-store\r\n" % (
        header_value(content_type)
    )
    if cost_nano is not None:
        head += b"x-tokenmarket-cost: %b\r\n" % usd_bytes(cost_nano)
    return head


def task_lines(exchange: Exchange) -> bytes:
    """What a created task's answer says beside what every read says; its cost comes later."""
    head = b"x-tokenmarket-attempts: %d\r\n" % len(exchange.attempts)
    route = exchange.route
    if route is not None:
        head += route_lines(route.provider.name, route.upstream_model)
    if exchange.dropped_params:
        names = ",".join(exchange.dropped_params)
        head += b"x-tokenmarket-dropped-params: %b\r\n" % header_value(names)
    return head


_CONTENT_LANGUAGE = {"en": b"en", "zh": b"zh-CN"}


def language_of(inbound: Inbound) -> Language:
    """The language a caller wants errors in; English for who says nothing, as SDKs do."""
    accepted = inbound.headers.get(b"accept-language")
    return "en" if accepted is None else preferred(accepted[:500].decode("latin-1"))


def error_lines(error: ApiError, language: Language = "en") -> bytes:
    """The headers that belong to an error alone."""
    head = (
        b"content-type: application/json\r\ncontent-language: %b\r\nvary: accept-language\r\n"
        b"x-should-retry: %b\r\n"
        % (_CONTENT_LANGUAGE[language], b"true" if error.retryable else b"false")
    )
    if error.retry_after_s is not None:
        ms = max(int(error.retry_after_s * 1000), 1)
        head += b"retry-after: %d\r\nretry-after-ms: %d\r\n" % (-(-ms // 1000), ms)
    if error.allow is not None:
        head += b"allow: %b\r\n" % header_value(error.allow.replace(", ", ","))
    if error.status == 401:
        head += b"www-authenticate: Bearer\r\n"
    return head


def error_head(exchange: Exchange, error: ApiError, now_us: int) -> bytes:
    """An error answer; nothing was charged, which the cost header says."""
    lines = error_lines(error, language_of(exchange.inbound))
    return _lines(exchange, now_us) + lines + b"x-tokenmarket-cost: 0.00\r\n"


class ErrorBodies:
    """The bodies of errors, in the language of who asked. ``docs_url`` may be moved."""

    def __init__(self, docs_url: str, chinese: Find) -> None:
        """``chinese``: the Chinese of an English template (``core/wording.py``)."""
        self.docs_url = docs_url
        self._chinese = chinese

    def message(self, error: ApiError, language: Language) -> str:
        """What the error says."""
        return error.message if language == "en" else error.message_in(self._chinese)

    def body(
        self,
        error: ApiError,
        request_id: str,
        language: Language = "en",
        operation: str | None = None,
    ) -> bytes:
        """The envelope; beside it what other clients of an operation read."""
        message = self.message(error, language)
        body = error.body(request_id, self.docs_url, language, message)
        return _encode(rerank_error_members(body) if operation == "rerank" else {"error": body})

    def event(self, error: ApiError, request_id: str, language: Language = "en") -> bytes:
        """The envelope inside a stream; no ``[DONE]`` follows, so SDKs raise."""
        return b"data: " + self.body(error, request_id, language) + b"\n\n"


def caller_error(failure: UpstreamError, exchange: Exchange, *, stream: bool) -> ApiError:
    """The last attempt's failure as the caller sees it (``design/api.md`` section 5)."""
    route = exchange.route
    provider = ProviderError(
        name=route.provider.name if route is not None else "",
        status=failure.status,
        code=failure.code,
        message=failure.message[:500],
    )
    kind = failure.kind
    if kind in ("bad_request", "context_too_long", "content_policy") and not stream:
        status = failure.status if failure.status and 400 <= failure.status < 500 else 400
        return ApiError(
            "PROVIDER_001",
            say(
                "{provider_name} refused the request: {message}",
                provider_name=provider.name,
                message=provider.message,
            ),
            status=status,
            fault="caller",
            retryable=False,
            param=failure.param,
            reason=None if kind == "bad_request" else kind,
            provider=provider,
        )
    if kind == "timeout":
        return ApiError(
            "PROVIDER_TIMEOUT",
            say(
                "{provider_name} did not finish in time ({stage}).",
                provider_name=provider.name,
                stage=failure.stage or "total",
            ),
            reason=failure.stage,
            retryable=False if failure.stage == "job" else None,  # a second job would cost again
            provider=provider,
        )
    if kind in ("auth", "forbidden", "no_balance", "quota_exhausted"):
        # Our account there, not the caller's: its words stay with us.
        return ApiError(
            "PROVIDER_001",
            say(
                "{provider_name} does not accept our credential at the moment.",
                provider_name=provider.name,
            ),
            fault="platform",
            reason=kind,
            provider=ProviderError(name=provider.name, status=failure.status),
        )
    if kind in ("rate_limited", "overloaded"):
        return ApiError(
            "PROVIDER_002",
            say("{provider_name} is at its limit.", provider_name=provider.name),
            reason=kind,
            retry_after_s=failure.retry_after_s or 1.0,
            provider=provider,
        )
    if kind == "not_found":
        return ApiError(
            "PROVIDER_001",
            say(
                "{provider_name} does not offer this model at the moment.",
                provider_name=provider.name,
            ),
            status=404,
            retryable=False,
            reason="model_not_at_provider",
            provider=provider,
        )
    return ApiError(
        "PROVIDER_001",
        say(
            "{provider_name} failed: {message}",
            provider_name=provider.name,
            message=provider.message,
        ),
        reason=kind,
        provider=provider,
    )
