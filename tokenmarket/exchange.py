"""What is known of one request while it runs.

``Exchange`` is the only mutable record of a request: rooms fill it in, ``receipts.py`` makes the
receipt of it, ``telemetry.py`` the log line and the metrics.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Literal

import msgspec

from tokenmarket.core.errors import ApiError, UpstreamError
from tokenmarket.core.estimate import estimate_tokens
from tokenmarket.core.usage import Bound, Item, Usage

if TYPE_CHECKING:
    from tokenmarket.accounts import Caller
    from tokenmarket.adapters.protocol import Decoder
    from tokenmarket.billing.wallet import Capture, Hold
    from tokenmarket.contents import Copy
    from tokenmarket.core.catalog import Route
    from tokenmarket.core.requests import Request
    from tokenmarket.core.routing import Plan
    from tokenmarket.core.wire import Inbound
    from tokenmarket.limits import Ticket

ESTIMATE_BYTES_MAX = 64 * 1024
METADATA_MAX = 16

Status = Literal["running", "succeeded", "failed", "cancelled", "rejected"]


class Attempt(msgspec.Struct, array_like=True):
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
        "bound",
        "caller",
        "captured",
        "completion_tokens",
        "copy",
        "decoder",
        "dropped_params",
        "error",
        "events_sent",
        "expected",
        "finish_reason",
        "first_byte_us",
        "hold",
        "hold_open",
        "idempotency_key",
        "inbound",
        "input_estimate",
        "items",
        "operation",
        "plan",
        "prompt_tokens",
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
        self.copy: Copy | None = None  # the client, if its organization has contents kept
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
        self.expected: Usage | None = None  # of a whole answer, known before it has come
        self.prompt_tokens = 0  # of the usage, as are the next
        self.completion_tokens = 0
        self.items: list[Item] = []  # price lines of the usage
        self.error: ApiError | None = None
        self.finish_reason: str | None = None
        self.first_byte_us: int | None = None
        self.upstream_us = 0
        self.events_sent = 0
        self.input_estimate: int | None = None
        self.dropped_params: tuple[str, ...] = ()
        self.idempotency_key: str | None = None

    @property
    def request_id(self) -> str:
        """Also the receipt's id."""
        return self.inbound.request_id

    @property
    def org_id(self) -> str:
        """The caller's organisation; "" before it is known."""
        return self.caller.org_id if self.caller is not None else ""

    @property
    def user(self) -> str:
        """The caller's ``user`` field, shortened; for the log only."""
        user = self.request.typed.user if self.request is not None else None
        return user[:128] if user else ""

    @property
    def metadata(self) -> dict[str, str] | None:
        """The caller's ``metadata``, as much of it as OpenAI allows; for the log only."""
        typed = self.request.typed if self.request is not None else None
        given = getattr(typed, "metadata", None)  # chat has it, the other bodies do not
        if not given:
            return None
        return {
            name[:64]: _json(value)[:512].decode("utf-8", "replace").strip('"')
            for name, value in islice(given.items(), METADATA_MAX)
        }

    def delivered_usage(self) -> Usage:
        """A local count of what the client got so far, marked as estimated: input by the text
        heuristic, output by the events that were sent (the first one only says the role). Never
        above the bound, and so never above the hold."""
        body = self.inbound.body
        if self.input_estimate is None:
            sample = body[:ESTIMATE_BYTES_MAX]
            tokens = estimate_tokens(sample.decode("utf-8", "replace"))
            tokens = tokens * len(body) // max(len(sample), 1)
            self.input_estimate = min(tokens, self.bound.input_tokens)
        return Usage(
            input_tokens=self.input_estimate,
            output_tokens=min(max(self.events_sent - 1, 0), self.bound.output_tokens),
            estimated=True,
        )

    def begin_attempt(self, index: int, route: Route, now_us: int) -> Attempt:
        """The plan's ``index``-th route is being tried."""
        attempt = Attempt(route.provider.name, route.upstream_model, now_us - self.started_us)
        self.attempts.append(attempt)
        self.route = route
        if self.plan is not None:
            self.plan.candidates[index].decision = "chosen"
        return attempt

    def skip(self, index: int, reason: str) -> None:
        """The plan's ``index``-th route was found unfit before anything was sent."""
        self.dropped_params = ()
        if self.plan is not None:
            self.plan.candidates[index].reason = reason

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


def _json(value: object) -> bytes:
    """Members of chat bodies are undecoded, those of video orders are values."""
    return bytes(value) if isinstance(value, msgspec.Raw) else msgspec.json.encode(value)
