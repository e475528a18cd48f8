"""What a top-up costs and how it is counted: minimum, maximum, fee, currencies, refund window.

Pure. Amounts to pay are whole cents or fen; what is credited is exactly what the payer chose in
USD. For CNY the amount to pay is the USD amount at the operator's rate, rounded up to a fen.
"""

from __future__ import annotations

import re

import msgspec

from tokenmarket.core.money import NANO_PER_USD, div_ceil

MINOR_NANO = NANO_PER_USD // 100  # one cent or fen, in nano of its currency
RATE_PLACES = 6
_RATE = re.compile(r"([0-9]{1,4})(?:\.([0-9]{1,6}))?")
_SCALE = 10**RATE_PLACES


class Terms(msgspec.Struct, frozen=True):
    """The operator's conditions; ``cny_per_usd`` '' = USD only."""

    minimum_nano: int
    maximum_nano: int
    refund_days: int
    cny_per_usd: str = ""

    @property
    def currencies(self) -> tuple[str, ...]:
        return ("USD", "CNY") if self.cny_per_usd else ("USD",)


def micro_rate(text: str) -> int:
    """``"7.12"`` -> 7_120_000, in millionths; ValueError for what is no rate."""
    match = _RATE.fullmatch(text)
    if match is None:
        raise ValueError("a rate is a number with at most 6 decimals, as in 7.12")
    value = int(match[1]) * _SCALE + int((match[2] or "").ljust(RATE_PLACES, "0"))
    if value <= 0:
        raise ValueError("a rate is above zero")
    return value


def to_pay_minor(amount_nano: int, currency: str, rate: str) -> int:
    """What is paid for a credit of whole cents. ValueError for less than a cent or a part of it."""
    cents, rest = divmod(amount_nano, MINOR_NANO)
    if rest or cents <= 0:
        raise ValueError("an amount has at most two decimals")
    if currency == "USD":
        return cents
    return div_ceil(cents * micro_rate(rate), _SCALE)
