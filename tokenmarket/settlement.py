"""Rooms 8 and 9: what is due, and the one end of every request.

``price`` turns reported usage into a charge, ``note_progress`` tells the journal what a stream has
delivered, ``close`` settles or voids the hold, frees the limits and writes the receipt. After a
request is closed nothing about it changes any more.
"""

from __future__ import annotations

from msgspec.structs import replace

from tokenmarket.billing.clock import Clock
from tokenmarket.billing.records import UsageEvent
from tokenmarket.billing.wallet import Capture, Wallet
from tokenmarket.core.catalog import Route
from tokenmarket.core.media_answers import MEDIA_USAGE, media_usage_json
from tokenmarket.core.pricing import bill, charge
from tokenmarket.core.usage import Usage, sanitize, usage_json
from tokenmarket.exchange import Exchange, Status
from tokenmarket.idempotency import Claim
from tokenmarket.receipts import usage_event
from tokenmarket.telemetry import Telemetry

_NO_ATTRIBUTES: dict[str, str] = {}


class Settlement:
    """Ends requests. Synchronous throughout: on one event loop each call is atomic."""

    def __init__(self, wallet: Wallet, telemetry: Telemetry, clock: Clock) -> None:
        self._wallet = wallet
        self._telemetry = telemetry
        self._clock = clock

    def price(self, exchange: Exchange, route: Route, usage: Usage | None) -> int:
        """Nano-USD due for what the upstream reported; nothing reported is never estimated."""
        if usage is None:
            exchange.usage, exchange.items = None, []
            self._telemetry.usage_missing(route)
            return 0
        usage = sanitize(usage, exchange.bound, route.model.context_tokens)
        request = exchange.request
        exchange.usage = usage
        exchange.prompt_tokens = usage.prompt_tokens
        exchange.completion_tokens = usage.completion_tokens
        charge_nano, exchange.items = bill(
            route.prices, usage, request.attributes if request is not None else _NO_ATTRIBUTES
        )
        if not exchange.items:  # nothing in it has a price: served for nothing, but never silently
            exchange.usage = replace(usage, flags=(*usage.flags, "nothing_priced"))
            self._telemetry.usage_missing(route)
        return charge_nano

    def usage_json(self, exchange: Exchange, charge_nano: int) -> bytes | None:
        """The caller's usage object with what ``close`` is about to take; None: not reported."""
        if exchange.usage is None:
            return None
        hold = exchange.hold_open
        if hold is not None:  # no await until the settlement: it will take exactly this
            charge_nano = self._wallet.collectable_nano(hold, charge_nano)
        if exchange.operation in MEDIA_USAGE:
            return media_usage_json(exchange.operation, exchange.usage, exchange.items, charge_nano)
        return usage_json(exchange.usage, exchange.items, charge_nano)

    def note_progress(self, exchange: Exchange, route: Route) -> None:
        """Journal what was delivered so far: what a death of this process would charge."""
        hold = exchange.hold_open
        if hold is None:
            return
        request = exchange.request
        attributes = request.attributes if request is not None else _NO_ATTRIBUTES
        due_nano = charge(route.prices, exchange.delivered_usage(), attributes)
        self._wallet.progress(hold, min(due_nano, hold.amount_nano))

    def close(
        self, exchange: Exchange, status: Status, charge_nano: int, claim: Claim | None = None
    ) -> int:
        """The one outcome: settle or void the hold, free the limits, write receipt and log.

        Returns the journal position that must be durable before the last byte (wallet policy).
        Raises JournalFailed; the request is then still open.
        """
        now_us = self._clock.monotonic_us()
        answer = claim.answer_to_keep() if claim is not None and status == "succeeded" else None
        exchange.status = status

        def event(capture: Capture | None = None) -> UsageEvent:
            exchange.captured = capture
            return usage_event(exchange, capture, self._clock.wall_us(), now_us, answer)

        hold = exchange.hold_open
        try:
            if hold is None:
                place = self._wallet.record(event())
            elif charge_nano or status == "succeeded":
                place = self._wallet.settle(hold, charge_nano, event)
            else:
                place = self._wallet.void(hold, event)
        except BaseException:
            exchange.status = "running"
            raise
        exchange.hold_open = None
        ticket = exchange.ticket
        if ticket is not None:
            tokens = exchange.prompt_tokens + exchange.completion_tokens
            ticket.done(None if exchange.usage is None else tokens)
        caller = exchange.caller
        if caller is not None and caller.funds is not None:
            exchange.balance_nano = self._wallet.balance_nano(caller.funds)
        self._telemetry.finished(exchange, now_us)
        return place
