"""Receipts: gathered in a few microseconds when a request ends, written out when somebody asks.

``gather`` makes a compact array of facts, which travels in the settlement record and into SQL;
``render`` turns it into the shape of ``design/api.md`` section 8. A receipt that recovery wrote for
a request whose process died is already in that shape.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tokenmarket.billing.funds import Capture
from tokenmarket.billing.records import StoredAnswer, UsageEvent
from tokenmarket.core.catalog import Route
from tokenmarket.core.catalog_groups import percent_text
from tokenmarket.core.money import usd_from_nano
from tokenmarket.core.routing import Candidate
from tokenmarket.core.trace import trace_id
from tokenmarket.core.usage import UNITS, Item, Usage
from tokenmarket.exchange import Attempt, Exchange

_encode = msgspec.json.Encoder().encode
_NO_CANDIDATES: tuple[Candidate, ...] = ()


class Failure(msgspec.Struct, array_like=True, frozen=True):
    """The caller's error, as it was answered."""

    type: str
    code: str
    reason: str | None
    status: int
    message: str
    fault: str


class Facts(msgspec.Struct, array_like=True, frozen=True):
    """One receipt, compact: fields are only ever added at the end. Times in microseconds, relative
    to the start where they say when; money in nano-USD."""

    request_id: str
    status: str
    operation: str
    model: str | None
    provider: str | None
    key_id: str
    created_s: int
    first_byte_us: int | None
    duration_us: int
    overhead_us: int
    stream: bool
    policy: str | None
    requested: str | None
    candidates: tuple[Candidate, ...]
    attempts: list[Attempt]
    usage: Usage | None
    items: list[Item]
    price_version: str | None
    max_output_tokens: int | None
    held_nano: int
    charged_nano: int
    released_nano: int
    uncollected_nano: int
    transfer_ids: tuple[str, ...]
    finish_reason: str | None
    dropped_params: tuple[str, ...]
    error: Failure | None
    idempotency_key: str | None
    client_request_id: str | None
    session_id: str | None
    trace_id: str | None
    parameters: dict[str, str] | None = None  # what a media request came to: size, voice …
    markup_bp: int | None = None  # of the caller's group, within the prices; None: not recorded


_decode_facts = msgspec.json.Decoder(Facts).decode


def gather(exchange: Exchange, capture: Capture | None, now_us: int) -> Facts:
    """Everything the receipt says. ``capture`` is what was taken of the hold; None: no hold."""
    inbound = exchange.inbound
    headers = inbound.headers
    plan = exchange.plan
    hold = exchange.hold
    route = exchange.route
    request = exchange.request
    caller = exchange.caller
    error = exchange.error
    duration_us = now_us - exchange.started_us
    overhead_us = duration_us - exchange.upstream_us
    return Facts(
        inbound.request_id,
        exchange.status,
        exchange.operation,
        route.model.id if route is not None else (request.model if request is not None else None),
        route.provider.name if route is not None else None,
        caller.key_id if caller is not None else "",
        inbound.accepted_us // 1_000_000,
        exchange.first_byte_us,
        duration_us,
        overhead_us if overhead_us > 0 else 0,
        request is not None and request.stream,
        plan.policy if plan is not None else None,
        plan.requested if plan is not None else None,
        plan.candidates if plan is not None else _NO_CANDIDATES,
        exchange.attempts,
        exchange.usage,
        exchange.items,
        route.prices.version if route is not None else None,
        request.output_limit if request is not None else None,
        hold.amount_nano if hold is not None else 0,
        capture.charged_nano if capture is not None else 0,
        capture.released_nano if capture is not None else 0,
        capture.uncollected_nano if capture is not None else 0,
        capture.transfer_ids if capture is not None else (),
        exchange.finish_reason,
        exchange.dropped_params,
        None
        if error is None
        else Failure(
            error.type, error.code, error.reason, error.status, error.message, error.fault
        ),
        exchange.idempotency_key,
        header_text(headers.get(b"x-client-request-id")),
        header_text(headers.get(b"x-session-id")),
        trace_id(headers.get(b"traceparent")),
        request.attributes or None if request is not None else None,
        route.prices.markup_bp if route is not None else None,
    )


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
    units = ""
    if usage is not None:
        if request is not None and request.attributes:
            usage = msgspec.structs.replace(
                usage, attributes={**request.attributes, **(usage.attributes or {})}
            )
        units = _encode(usage).decode("ascii")
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
        prompt_tokens=exchange.prompt_tokens,
        completion_tokens=exchange.completion_tokens,
        cached_tokens=usage.cached_input_tokens if usage is not None else 0,
        reasoning_tokens=usage.reasoning_tokens if usage is not None else 0,
        units_json=units,
        price_version=route.prices.version if route is not None else "",
        receipt=_encode(gather(exchange, capture, now_us)),
        answer=answer,
    )


def text_form(
    key_id: str,
    route: Route,
    credential_id: str,
    output_limit: int | None,
    names: tuple[str | None, str | None],
) -> bytes:
    """``gather``, encoded, of plain chats that succeed at their first attempt (``lane``), but for
    the numbers. ``names``: the client's own request id and session id.

    To be filled with, in the order of ``Facts``: request id; created_s; first_byte_us, duration_us,
    overhead_us; of the attempt started_us, status, finished_us, first_byte_us, upstream_request_id
    (JSON); usage and items (JSON); held, charged, released nano-USD; request id; finish_reason
    (JSON).
    """

    def fixed(*values: object) -> bytes:
        return b",".join(map(_encode, values)).replace(b"%", b"%%")

    at = (route.provider.name, route.upstream_model)
    return b"".join(
        (
            b'["%b","succeeded","chat",',
            fixed(route.model.id, route.provider.name, key_id),
            b",%d,%d,%d,%d,false,",
            fixed(route.model.policy, None, [[*at, "chosen", None]]),
            b",[[",
            fixed(*at),
            b",%d,",
            fixed(credential_id),
            b",%d,%d,%d,null,%b]],%b,%b,",
            fixed(route.prices.version, output_limit),
            b',%d,%d,%d,0,["%b.c"],%b,[],null,null,',
            fixed(*names, None, None, route.prices.markup_bp),
            b"]",
        )
    )


def task_receipt(exchange: Exchange, held_nano: int, now_us: int) -> str:
    """The receipt of a task that runs: what its create did, and what is held."""
    facts = gather(exchange, None, now_us)
    return _encode(msgspec.structs.replace(facts, held_nano=held_nano)).decode()


def ended_receipt(
    running: str,
    capture: Capture,
    *,
    status: str,
    provider: str,
    price_version: str,
    duration_us: int,
    usage: Usage | None,
    items: list[Item],
    finish_reason: str,
    error: Failure | None,
) -> bytes:
    """The final receipt of a task, from the one it had while it ran."""
    facts = _decode_facts(running)
    return _encode(
        msgspec.structs.replace(
            facts,
            status=status,
            provider=provider,
            price_version=price_version,
            duration_us=duration_us,
            usage=usage,
            items=items,
            charged_nano=capture.charged_nano,
            released_nano=capture.released_nano,
            uncollected_nano=capture.uncollected_nano,
            transfer_ids=capture.transfer_ids,
            finish_reason=finish_reason,
            error=error,
        )
    )


def render(stored: bytes) -> bytes:
    """The JSON of ``GET /requests/{id}`` from what was stored."""
    if stored.startswith(b"{"):
        return stored
    return _encode(shown(_decode_facts(stored)))


def document(stored: bytes) -> dict[str, Any]:
    """The receipt in its public shape, as values."""
    if stored.startswith(b"{"):
        found: dict[str, Any] = msgspec.json.decode(stored)
        return found
    return shown(_decode_facts(stored))


def items_of(stored: bytes) -> list[Item]:
    """The priced lines of a stored receipt; none of one that recovery wrote, or of no receipt."""
    if not stored.startswith(b"["):
        return []
    return _decode_facts(stored).items


def shown(facts: Facts) -> dict[str, object]:
    """The receipt in its public shape."""
    error = facts.error
    return {
        "object": "request",
        "id": facts.request_id,
        "status": facts.status,
        "operation": facts.operation,
        "model": facts.model,
        "provider": facts.provider,
        "key_id": facts.key_id,
        "created_at": facts.created_s,
        "dispatched_at_ms": _ms(facts.attempts[0].started_us) if facts.attempts else None,
        "first_byte_ms": _ms(facts.first_byte_us),
        "duration_ms": _ms(facts.duration_us),
        "overhead_ms": facts.overhead_us / 1000,
        "stream": facts.stream,
        "route": None if facts.policy is None else _route(facts),
        "attempts": [_attempt(attempt, facts.duration_us) for attempt in facts.attempts],
        "usage": usage_counts(facts.usage),
        "items": [_item(line) for line in facts.items],
        "price_version": facts.price_version,
        "markup_percent": None if facts.markup_bp is None else percent_text(facts.markup_bp),
        "max_output_tokens": facts.max_output_tokens,
        "amounts": {
            "currency": "USD",
            "held": usd_from_nano(facts.held_nano),
            "charged": usd_from_nano(facts.charged_nano),
            "released": usd_from_nano(facts.released_nano),
            "uncollected": usd_from_nano(facts.uncollected_nano),
        },
        "ledger": list(facts.transfer_ids),
        "finish_reason": facts.finish_reason,
        "dropped_params": list(facts.dropped_params),
        "parameters": facts.parameters or {},
        "error": None
        if error is None
        else {name: getattr(error, name) for name in error.__struct_fields__},
        "idempotency_key": facts.idempotency_key,
        "client_request_id": facts.client_request_id,
        "session_id": facts.session_id,
        "trace_id": facts.trace_id,
    }


def _ms(us: int | None) -> float | None:
    return None if us is None else us / 1000


def _route(facts: Facts) -> dict[str, object]:
    return {
        "policy": facts.policy,
        "requested": facts.requested,
        "candidates": [
            {
                "provider": line.provider,
                "upstream_model": line.upstream_model,
                "decision": line.decision,
                "reason": line.reason
                or ("not needed" if line.decision == "skipped" else facts.policy),
            }
            for line in facts.candidates
        ],
    }


def _attempt(attempt: Attempt, duration_us: int) -> dict[str, object]:
    """Its own times count from its own start; ``started_ms`` from the request's."""
    started_us, first_us = attempt.started_us, attempt.first_byte_us
    ended_us = duration_us if attempt.finished_us is None else attempt.finished_us
    return {
        "provider": attempt.provider,
        "upstream_model": attempt.upstream_model,
        "status": attempt.status,
        "started_ms": _ms(started_us),
        "duration_ms": _ms(ended_us - started_us),
        "first_byte_ms": None if first_us is None else _ms(first_us - started_us),
        "error": attempt.error,
        "upstream_request_id": attempt.upstream_request_id,
    }


def _item(line: Item) -> dict[str, object]:
    return {
        "unit": line.unit,
        "quantity": quantity(line),
        "usd": line.usd,
        "per": line.per,
        "amount": usd_from_nano(line.amount_nano),
    }


def usage_counts(usage: Usage | None) -> dict[str, object] | None:
    """OpenAI's totals and every non-zero count. None = the upstream reported nothing."""
    if usage is None:
        return None
    counts: dict[str, object] = msgspec.to_builtins(usage)
    counts["prompt_tokens"] = usage.prompt_tokens
    counts["completion_tokens"] = usage.completion_tokens
    counts["total_tokens"] = usage.prompt_tokens + usage.completion_tokens
    return counts


def quantity(line: Item) -> str:
    """Catalog units as a decimal string: seconds are counted in ms."""
    counts = UNITS[line.unit].counts_per_unit
    if counts == 1:
        return str(line.quantity)
    whole, rest = divmod(line.quantity, counts)
    return f"{whole}.{rest:03d}".rstrip("0").rstrip(".")


def header_text(value: bytes | None) -> str | None:
    """A header as a receipt shows it."""
    return None if value is None else value[:255].decode("latin-1")
