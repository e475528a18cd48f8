"""Integer money: nano-USD (1 USD = 10**9), prices in nano-USD per 10**6 units.

No float and no Decimal: a decimal string becomes an exact integer or is refused
(``design/billing.md`` section 1).
"""

from __future__ import annotations

import re

from tokenmarket.core.wording import say

NANO_PER_USD = 1_000_000_000
PRICE_UNITS = 1_000_000
_CENT = 10_000_000
NANO_MAX = 9_000_000_000 * NANO_PER_USD  # one account's range fits a signed 64-bit column

# [0-9], not \d: that also matches the digits of every other script.
_USD = re.compile(r"(-?)([0-9]{1,10})(?:\.([0-9]{1,9}))?")


def nano_from_usd(text: str) -> int:
    """``"0.14"`` -> 140_000_000. At most 9 fractional digits; ValueError says what is wrong."""
    match = _USD.fullmatch(text)
    if match is None:
        raise ValueError(
            say(
                "{text!r} is not an amount in USD: write digits with at most 9 decimals,"
                " as in '0.14'",
                text=text[:64],
            )
        )
    sign, whole, fraction = match.groups()
    nano = int(whole) * NANO_PER_USD + int((fraction or "").ljust(9, "0"))
    if nano > NANO_MAX:
        raise ValueError(say("{text!r} is above the largest amount, 9000000000 USD", text=text))
    return -nano if sign else nano


def usd_from_nano(nano: int) -> str:
    """12345678901 -> ``"12.345678901"``; trailing zeros are cut, two decimals at the least."""
    return decimal_text(nano, 9)


def usd_bytes(nano: int) -> bytes:
    """``usd_from_nano`` as bytes, for amounts >= 0: a JSON number and a header value."""
    if nano % _CENT == 0:
        return b"%d.%02d" % divmod(nano // _CENT, 100)
    if nano < NANO_PER_USD:  # nearly every charge
        return (b"0.%09d" % nano).rstrip(b"0")
    return (b"%d.%09d" % divmod(nano, NANO_PER_USD)).rstrip(b"0")


def decimal_text(value: int, places: int) -> str:
    """``value / 10**places`` exactly; trailing zeros are cut, two decimals at the least."""
    sign = "-" if value < 0 else ""
    whole, fraction = divmod(abs(value), 10**places)
    digits = f"{fraction:0{places}d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{digits}"


def div_ceil(numerator: int, denominator: int) -> int:
    """Integer division rounded up; denominator > 0."""
    return -(-numerator // denominator)
