"""Four integers against the whole price sheet: the same charge, lines and usage object."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmarket.core.pricing import PriceRow, bill, ceiling, price_row, price_sheet
from tokenmarket.core.text_prices import TextCounts, text_prices, usage_facts
from tokenmarket.core.usage import Bound, Usage, usage_json

USD = st.integers(0, 10**8).map(lambda n: f"{n // 10**4}.{n % 10**4:04d}")
COUNT = st.integers(0, 10**7)


@st.composite
def plain_rows(draw: st.DrawFn) -> list[PriceRow]:
    rows = [price_row("input_token", draw(USD)), price_row("output_token", draw(USD))]
    for unit in ("cached_input_token", "reasoning_token", "cache_write_token", "image"):
        if draw(st.booleans()):
            rows.append(price_row(unit, draw(USD)))
    return rows


@given(
    rows=plain_rows(),
    counts=st.builds(TextCounts, COUNT, COUNT, COUNT, COUNT),
    tier=st.sampled_from([None, "default", 'fl"ex']),
)
def test_the_same_bill(rows: list[PriceRow], counts: TextCounts, tier: str | None) -> None:
    sheet = price_sheet(rows)
    prices = text_prices(sheet)
    assert prices is not None
    attributes = None if tier is None else {"service_tier": tier}
    usage = Usage(
        input_tokens=counts.input,
        cached_input_tokens=counts.cached,
        output_tokens=counts.output,
        reasoning_tokens=counts.reasoning,
        attributes=attributes,
    )
    charge_nano, items = bill(sheet, usage)
    found = prices.bill(counts)
    assert found.charge_nano == charge_nano
    assert found.items == msgspec.json.encode(items)
    assert found.usage == usage_json(usage, items, charge_nano)
    assert usage_facts(counts, tier) == msgspec.json.encode(usage)


@given(rows=plain_rows(), read=st.integers(1, 10**7), written=st.integers(1, 10**7))
def test_the_same_ceiling(rows: list[PriceRow], read: int, written: int) -> None:
    sheet = price_sheet(rows)
    prices = text_prices(sheet)
    assert prices is not None
    bound = Bound(read, written, long_cache_writes=False)
    assert prices.ceiling(read, written) == ceiling(sheet, bound)


BASE = [price_row("input_token", "1"), price_row("output_token", "2")]


@pytest.mark.parametrize(
    "rows",
    [
        BASE[:1],
        BASE[1:],
        [*BASE, price_row("request", "0.01")],
        [*BASE, price_row("input_token", "2", context_above=1000)],
        [*BASE, price_row("output_token", "2", when=[("service_tier", "flex")])],
        [*BASE, price_row("cache_write_long_token", "2")],
    ],
)
def test_what_is_priced_by_more_than_counts(rows: list[PriceRow]) -> None:
    assert text_prices(price_sheet(rows)) is None
