"""Decimal strings become exact integers, or are refused."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmarket.core.money import (
    NANO_MAX,
    NANO_PER_USD,
    decimal_text,
    div_ceil,
    nano_from_usd,
    usd_from_nano,
)


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        ("0", 0),
        ("-0", 0),
        ("0.14", 140_000_000),
        ("0.000000001", 1),
        ("12.345678901", 12_345_678_901),
        ("-3.5", -3_500_000_000),
        ("9000000000", NANO_MAX),
        ("007", 7_000_000_000),
    ],
)
def test_reads(text: str, nano: int) -> None:
    assert nano_from_usd(text) == nano


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "1 ", " 1", "1\n", "+1", "1.", ".5", "1,5", "1e3", "$1", "0x1", "nan", "inf"),
        *("0.0000000001", "--1", "1.2.3", "9000000000.000000001", "99999999999", "٣", "１", "1_0"),
    ],
)
def test_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"USD"):
        nano_from_usd(text)


def test_a_hostile_amount_is_not_repeated_whole() -> None:
    with pytest.raises(ValueError, match=r"USD") as caught:
        nano_from_usd("9" * 100_000)
    assert len(str(caught.value)) < 300


@given(st.integers(-NANO_MAX, NANO_MAX))
def test_round_trip(nano: int) -> None:
    text = usd_from_nano(nano)
    assert nano_from_usd(text) == nano
    assert Fraction(text) == Fraction(nano, NANO_PER_USD)


@given(st.integers(-(10**30), 10**30), st.integers(2, 15))
def test_decimal_text_is_exact(value: int, places: int) -> None:
    text = decimal_text(value, places)
    assert Fraction(text) == Fraction(value, 10**places)
    assert len(text.split(".")[1]) >= 2


def test_shows_two_decimals_at_least() -> None:
    assert [usd_from_nano(n) for n in (0, 500_000_000, 1, -1)] == [
        "0.00",
        "0.50",
        "0.000000001",
        "-0.000000001",
    ]


@given(st.integers(-(10**20), 10**20), st.integers(1, 10**12))
def test_div_ceil(numerator: int, denominator: int) -> None:
    exact = Fraction(numerator, denominator)
    assert exact <= div_ceil(numerator, denominator) < exact + 1
