"""What is known of one request while it runs, and the receipt made of it at its end.

``Exchange`` is the only mutable record of a request: rooms fill it in, ``receipt`` renders it in
the shape of ``design/api.md`` section 8, ``telemetry.py`` reads it for the log line and metrics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from tokenmarket.billing.records import StoredAnswer, UsageEvent
from tokenmarket.core.errors import ApiError, UpstreamError
from tokenmarket.core.money import usd_from_nano
from tokenmarket.core.pricing import items
from tokenmarket.core.usage import UNITS, Bound, Item, Usage

if TYPE_CHECKING:
    from tokenmarket.adapters.protocol import Decoder
    from tokenmarket.accounts import Caller
    from tokenmarket.billing.wallet import Capture, Hold
    from tokenmarket.core.catalog import Route
    from tokenmarket.core.requests import Request
    from tokenmarket.core.routing import Plan
    from tokenmarket.core.wire import Inbound
    from tokenmarket.limits import Ticket

_encode = msgspec.json.Encoder().encode

Status = Literal["running", "succeeded", "failed", "cancelled", "rejected"]


class Attempt(msgspec.Struct):
    """One try at one provider. Times in microseconds, relative to the request's start."""

    provider: str
    upstream_model: str
    started_us: int
    credential_id: str | None = None
    status: int | None = None
    finished_us: int | None = None
    first_byte_us: int | None = None
    error: str | None = None
    upstream_request_id: str | None = None


class Exchange:
    """One request on its way through the rooms."""

    __slots__ = (
        "attempts",
        "balance_nano",
        "caller",
        "bound",
        "captured",
        "decoder",
        "dropped_params",
        "error",
        "finish_reason",
        "first_byte_us",
        "hold",
        "hold_open",
        "idempotency_key",
        "inbound",
        "operation",
        "plan",
        "request",
        "route",
        "started_us",
        "status",
        "ticket",
        "upstream_us",
        "usage",
    )

    def __init__(self, operation: str, inbound: Inbound) -> None:
        self.operation = operation
        self.inbound = inbound
        self.started_us = inbound.started_us
        self.status: Status = "running"
        self.caller: Caller | None = None
        self.request: Request | None = None
        self.plan: Plan | None = None
        self.ticket: Ticket | None = None
        self.hold: Hold | None = None  # for the record
        self.hold_open: Hold | None = None  # until its one end
        self.balance_nano: int | None = None  # after the settlement
        self.bound = Bound()
        self.decoder: Decoder | None = None
        self.captured: Capture | None = None
        self.route: Route | None = None
        self.attempts: list[Attempt] = []
        self.usage: Usage | None = None
        self.error: ApiError | None = None
        self.finish_reason: str | None = None
        self.first_byte_us: int | None = None
        self.upstream_us = 0
        self.dropped_params: tuple[str, ...] = ()
        self.idempotency_key: str | None = None

    @property
    def request_id(self) -> str:
        """Also the receipt's id."""
        return self.inbound.request_id

    def begin_attempt(self, index: int, route: Route, now_us: int) -> Attempt:
        """The plan's ``index``-th route is being tried."""
        attempt = Attempt(route.provider.name, route.upstream_model, now_us - self.started_us)
        self.attempts.append(attempt)
        self.route = route
        if self.plan is not None:
            self.plan.candidates[index].decision = "chosen"
        return attempt

    def end_attempt(self, index: int, now_us: int, error: UpstreamError | None) -> None:
        """The attempt is over; upstream time is what passed since it began."""
        attempt = self.attempts[-1]
        attempt.finished_us = now_us - self.started_us
        self.upstream_us += attempt.finished_us - attempt.started_us
        if error is not None:
            attempt.error = f"{error.kind}: {error.message}"[:300]
            if attempt.status is None:
                attempt.status = error.status
            if self.plan is not None:
                candidate = self.plan.candidates[index]
                candidate.decision = "failed"
                candidate.reason = error.kind

    def charge_items(self) -> list[Item]:
        """The price lines of the usage at the pinned sheet."""
        if self.usage is None or self.route is None or self.request is None:
            return []
        return items(self.route.prices, self.usage, self.request.attributes)


def _ms(us: int | None) -> int | None:
    return None if us is None else us // 1000


def usage_counts(usage: Usage | None) -> dict[str, object] | None:
    """Usage on the receipt: OpenAI's totals and every non-zero count. None = not reported."""
    if usage is None:
        return None
    counts: dict[str, object] = msgspec.to_builtins(usage)
    counts["prompt_tokens"] = usage.prompt_tokens
    counts["completion_tokens"] = usage.completion_tokens
    counts["total_tokens"] = usage.prompt_tokens + usage.completion_tokens
    return counts


def receipt(exchange: Exchange, capture: Capture | None, now_us: int) -> dict[str, object]:
    """The receipt, JSON-able. ``capture`` is what was taken of the hold; None if there was none."""
    inbound = exchange.inbound
    plan = exchange.plan
    hold = exchange.hold
    route = exchange.route
    request = exchange.request
    started_us = exchange.started_us
    duration_us = now_us - started_us
    charged = capture.charged_nano if capture is not None else 0
    attempts: list[dict[str, object]] = [
        {
            "provider": a.provider,
            "upstream_model": a.upstream_model,
            "status": a.status,
            "started_ms": _ms(a.started_us),
            "duration_ms": _ms((a.finished_us or duration_us) - a.started_us),
            "first_byte_ms": _ms(a.first_byte_us),
            "error": a.error,
            "upstream_request_id": a.upstream_request_id,
        }
        for a in exchange.attempts
    ]
    error = exchange.error
    headers = inbound.headers
    return {
        "object": "request",
        "id": inbound.request_id,
        "status": exchange.status,
        "operation": exchange.operation,
        "model": request.model if request is not None else None,
        "provider": route.provider.name if route is not None else None,
        "key_id": exchange.caller.key_id if exchange.caller is not None else None,
        "created_at": inbound.accepted_us // 1_000_000,
        "dispatched_at_ms": _ms(exchange.attempts[0].started_us) if exchange.attempts else None,
        "first_byte_ms": _ms(exchange.first_byte_us),
        "duration_ms": duration_us // 1000,
        "overhead_ms": max(duration_us - exchange.upstream_us, 0) / 1000,
        "stream": request.stream if request is not None else False,
        "route": None
        if plan is None
        else {
            "policy": plan.policy,
            "requested": plan.requested,
            "candidates": [
                {
                    "provider": c.provider,
                    "upstream_model": c.upstream_model,
                    "decision": c.decision,
                    "reason": c.reason
                    or ("not needed" if c.decision == "skipped" else plan.policy),
                }
                for c in plan.candidates
            ],
        },
        "attempts": attempts,
        "usage": usage_counts(exchange.usage),
        "items": []
        if not charged
        else [
            {
                "unit": line.unit,
                "quantity": quantity(line),
                "usd": line.usd,
                "per": line.per,
                "amount": usd_from_nano(line.amount_nano),
            }
            for line in exchange.charge_items()
        ],
        "price_version": route.prices.version if route is not None else None,
        "max_output_tokens": request.output_limit if request is not None else None,
        "amounts": {
            "currency": "USD",
            "held": usd_from_nano(hold.amount_nano if hold is not None else 0),
            "charged": usd_from_nano(charged),
            "released": usd_from_nano(capture.released_nano if capture is not None else 0),
            "uncollected": usd_from_nano(capture.uncollected_nano if capture is not None else 0),
        },
        "ledger": list(capture.transfer_ids) if capture is not None else [],
        "finish_reason": exchange.finish_reason,
        "dropped_params": list(exchange.dropped_params),
        "error": None
        if error is None
        else {
            "type": error.type,
            "code": error.code,
            "reason": error.reason,
            "status": error.status,
            "message": error.message,
            "fault": error.fault,
        },
        "idempotency_key": exchange.idempotency_key,
        "client_request_id": _text(headers.get(b"x-client-request-id")),
        "session_id": _text(headers.get(b"x-session-id")),
        "trace_id": trace_id(headers.get(b"traceparent")),
    }


def usage_event(
    exchange: Exchange,
    capture: Capture | None,
    wall_us: int,
    now_us: int,
    answer: StoredAnswer | None,
) -> UsageEvent:
    """The journal's record of a finished request, receipt included."""
    usage = exchange.usage
    caller = exchange.caller
    route = exchange.route
    request = exchange.request
    units = b""
    prompt_tokens = completion_tokens = 0
    if usage is not None:
        if request is not None and request.attributes:
            usage = msgspec.structs.replace(
                usage, attributes={**request.attributes, **(usage.attributes or {})}
            )
        units = _encode(usage)
        prompt_tokens = usage.prompt_tokens
        completion_tokens = usage.completion_tokens
    return UsageEvent(
        request_id=exchange.request_id,
        org_id=caller.org_id if caller is not None else "",
        key_id=caller.key_id if caller is not None else "",
        accepted_us=exchange.inbound.accepted_us,
        finished_us=wall_us,
        operation=exchange.operation,
        model=route.model.id if route is not None else (request.model if request else ""),
        provider=route.provider.name if route is not None else "",
        status=exchange.status,
        error_code=exchange.error.code if exchange.error is not None else "",
        charge_nano=capture.charged_nano if capture is not None else 0,
        uncollected_nano=capture.uncollected_nano if capture is not None else 0,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        cached_tokens=usage.cached_input_tokens if usage is not None else 0,
        reasoning_tokens=usage.reasoning_tokens if usage is not None else 0,
        units_json=units.decode("ascii"),
        price_version=route.prices.version if route is not None else "",
        receipt=_encode(receipt(exchange, capture, now_us)),
        answer=answer,
    )


def quantity(line: Item) -> str:
    """Catalog units as a decimal string: seconds are counted in ms."""
    counts = UNITS[line.unit].counts_per_unit
    if counts == 1:
        return str(line.quantity)
    whole, rest = divmod(line.quantity, counts)
    return f"{whole}.{rest:03d}".rstrip("0").rstrip(".")


def _text(value: bytes | None) -> str | None:
    return None if value is None else value[:255].decode("latin-1")


def trace_id(traceparent: bytes | None) -> str | None:
    """The trace id of a W3C traceparent header, or None if it is not one."""
    parts = (traceparent or b"").split(b"-")
    if len(parts) < 4 or len(parts[1]) != 32:
        return None
    try:
        int(parts[1], 16)
    except ValueError:
        return None
    return parts[1].decode("ascii")
