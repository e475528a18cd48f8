"""A payment provider for trying things out: no money, a page of our own, everything else as real.

It is offered to the demo organisation, and to all if the setting ``payment_test_gateway`` says so;
pages call it a test. It keeps nothing: a payment's name holds its state, under our signature, and
news are signed like a provider's, so that they take the same way as real ones.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Literal

import msgspec

from tokenmarket.payments.gateway import SIGNATURE_AGE_S, Checkout, Forged, News, Payment, State
from tokenmarket.store.orders import OrderRow

HEADER = b"tokenmarket-test-signature"
Outcome = Literal["paid", "failed", "expired", "refunded", "disputed"]
OUTCOMES: tuple[Outcome, ...] = ("paid", "failed", "expired", "refunded", "disputed")


class _Said(msgspec.Struct, array_like=True, frozen=True):
    """What is inside a payment's name."""

    order_id: str
    org_id: str
    outcome: Outcome
    currency: str
    amount_minor: int


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    subject: str


class TestGateway:
    """``secret`` signs; ``root.derive(sealing.TEST_PAYMENTS)``."""

    name = "test"
    currencies: tuple[str, ...] = ("USD", "CNY")
    __test__ = False  # not a class of tests

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    async def create_checkout(self, order: OrderRow, *, return_url: str) -> Checkout:
        """Our own page, which stands beside the one that is returned to."""
        return Checkout(f"test_{order.id}", f"{return_url}/test")

    def news(self, order: OrderRow, outcome: Outcome, now_s: int) -> tuple[bytes, bytes]:
        """(body, signature header) of what the test page's buttons tell."""
        said = _Said(order.id, order.org_id, outcome, order.currency, order.pay_minor)
        subject = self._named(said)
        event_id = f"evt_{hashlib.sha256(subject.encode()).hexdigest()[:24]}"
        body = msgspec.json.encode(_Body(event_id, subject))
        return body, f"t={now_s},v1={self._signature(b'%d.' % now_s + body)}".encode()

    def verify(self, body: bytes, headers: Mapping[bytes, bytes], now_s: int) -> News:
        """As ``Gateway.verify``."""
        stamp, _, signature = headers.get(HEADER, b"").partition(b",v1=")
        digits = stamp.removeprefix(b"t=")
        if not digits.isdigit() or len(digits) > 12:
            raise Forged("no signature")
        expected = self._signature(digits + b"." + body).encode()
        if not hmac.compare_digest(expected, signature):
            raise Forged("a wrong signature")
        if abs(now_s - int(digits)) > SIGNATURE_AGE_S:
            raise Forged("an old signature")
        try:
            told = msgspec.json.decode(body, type=_Body)
        except msgspec.MsgspecError as error:
            raise Forged("no news of ours") from error
        return News(told.id, "payment.changed", told.subject)

    async def fetch(self, subject: str) -> Payment | None:
        """As ``Gateway.fetch``; a payment nobody has decided yet is not known here."""
        encoded, _, signature = subject.partition(".")
        if not hmac.compare_digest(self._signature(encoded.encode()), signature):
            return None
        said = msgspec.json.decode(bytes.fromhex(encoded), type=_Said)
        state: State = "paid"
        if said.outcome in ("failed", "expired"):
            state = "failed" if said.outcome == "failed" else "expired"
        return Payment(
            session=f"test_{said.order_id}",
            payment=f"pay_{said.order_id}",
            order_id=said.order_id,
            org_id=said.org_id,
            state=state,
            currency=said.currency,
            amount_minor=said.amount_minor,
            refunded_minor=said.amount_minor if said.outcome == "refunded" else 0,
            disputed_minor=said.amount_minor if said.outcome == "disputed" else 0,
        )

    def _named(self, said: _Said) -> str:
        encoded = msgspec.json.encode(said).hex()
        return f"{encoded}.{self._signature(encoded.encode())}"

    def _signature(self, data: bytes) -> str:
        return hmac.new(self._secret, data, hashlib.sha256).hexdigest()
