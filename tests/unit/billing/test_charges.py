"""T1.3: what a request costs, against exact rational arithmetic; a hold is never below a charge."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmarket.core.pricing import Bound, PriceRow, PriceSheet, ceiling, charge, items
from tokenmarket.core.usage import Usage

PRICES = st.integers(0, 10**12)
COUNTS = st.integers(0, 10**7)
UNITS = ("input_token", "cached_input_token", "output_token", "reasoning_token")


def sheet(prices: tuple[int, ...]) -> PriceSheet:
    rows = tuple(PriceRow(unit, price, "") for unit, price in zip(UNITS, prices, strict=True))
    return PriceSheet("v", rows, True)


def usage(counts: tuple[int, ...]) -> Usage:
    return Usage(
        input_tokens=counts[0],
        cached_input_tokens=counts[1],
        output_tokens=counts[2],
        reasoning_tokens=counts[3],
    )


FOUR_PRICES = st.tuples(PRICES, PRICES, PRICES, PRICES)
FOUR_COUNTS = st.tuples(COUNTS, COUNTS, COUNTS, COUNTS)


@settings(max_examples=1_000, deadline=None)
@given(FOUR_PRICES, FOUR_COUNTS)
def test_one_division_rounded_up(prices: tuple[int, ...], counts: tuple[int, ...]) -> None:
    exact = sum(Fraction(n * p, 10**6) for n, p in zip(counts, prices, strict=True))
    due = charge(sheet(prices), usage(counts))
    assert exact <= due < exact + 1
    assert sum(item.amount_nano for item in items(sheet(prices), usage(counts))) == due


@settings(max_examples=500, deadline=None)
@given(FOUR_PRICES, FOUR_COUNTS, st.integers(0, 3), st.integers(1, 1_000))
def test_more_never_costs_less(
    prices: tuple[int, ...], counts: tuple[int, ...], which: int, more: int
) -> None:
    grown = tuple(n + more if i == which else n for i, n in enumerate(counts))
    assert charge(sheet(prices), usage(grown)) >= charge(sheet(prices), usage(counts))


@settings(max_examples=500, deadline=None)
@given(FOUR_PRICES, FOUR_COUNTS, COUNTS, COUNTS)
def test_the_hold_covers_every_usage_inside_its_bound(
    prices: tuple[int, ...], counts: tuple[int, ...], slack_in: int, slack_out: int
) -> None:
    bound = Bound(
        input_tokens=counts[0] + counts[1] + slack_in,
        output_tokens=counts[2] + counts[3] + slack_out,
    )
    assert ceiling(sheet(prices), bound) >= charge(sheet(prices), usage(counts))
