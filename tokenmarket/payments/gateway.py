"""What a payment provider is to us: a checkout for an order, signed news, and the truth on request.

What a reader must know:

* News (a webhook) only say that something changed. What changed is then asked of the provider
  (``fetch``), so that an old, reordered or repeated piece of news does no harm.
* ``Payment`` is the provider's present state of one payment, with the order and organisation that
  we wrote on it; ``payments/settling.py`` holds it against our order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, Protocol

from tokenmarket.store.orders import OrderRow

SIGNATURE_AGE_S = 300  # older or newer news are refused
SECRET_BYTES_MIN = 24
BODY_BYTES_MAX = 256 * 1024

State = Literal["open", "paid", "failed", "expired"]


class Forged(Exception):
    """The news are not the provider's, or too old; nothing was read of them."""


class Unreachable(Exception):
    """The provider did not answer as it should; the text is for the log, without secrets."""


class Checkout(NamedTuple):
    """Where one order is paid: the provider's name of it, and the address to send the payer to."""

    session: str
    url: str


class News(NamedTuple):
    """One verified webhook event. ``subject`` is what ``fetch`` takes; '' for news of no matter."""

    id: str
    kind: str
    subject: str


class Payment(NamedTuple):
    """The truth about one payment; amounts in minor units (cents, fen) of ``currency``."""

    session: str
    payment: str
    order_id: str
    org_id: str
    state: State
    currency: str
    amount_minor: int
    refunded_minor: int = 0
    disputed_minor: int = 0  # charged back, or held by the provider in a dispute


class Gateway(Protocol):
    """One provider. ``name`` is its name in addresses, orders and the books."""

    name: str
    currencies: tuple[str, ...]

    async def create_checkout(self, order: OrderRow, *, return_url: str) -> Checkout:
        """The same order gives the same checkout. Raises Unreachable."""
        ...

    def verify(self, body: bytes, headers: Mapping[bytes, bytes], now_s: int) -> News:
        """Raises Forged. ``body`` is what came, byte for byte."""
        ...

    async def fetch(self, subject: str) -> Payment | None:
        """The present state; None if it is no payment of ours. Raises Unreachable."""
        ...
