"""Charges are exact, holds are never below them, and nothing is free by accident."""

from __future__ import annotations

import ast
import random
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmarket.core import money, pricing
from tokenmarket.core import usage as usage_module
from tokenmarket.core.pricing import (
    INPUT_SIDE,
    OUTPUT_SIDE,
    PriceRow,
    PriceSheet,
    Unpriced,
    ceiling,
    charge,
    items,
    price_row,
    price_sheet,
    unpriced_units,
)
from tokenmarket.core.usage import INPUT_FIELDS, OUTPUT_FIELDS, UNITS, Bound, Usage

TIERS = ("default", "flex", "priority")


def sheet_of(**prices: str) -> PriceSheet:
    return price_sheet(price_row(unit, usd) for unit, usd in prices.items())


def exact(sheet: PriceSheet, usage: Usage, attributes: dict[str, str]) -> Fraction:
    """The charge by the rules of the design page, in rationals, written a second time."""
    attributes = attributes | (usage.attributes or {})
    total = Fraction(0)
    for name, unit in UNITS.items():
        quantity = getattr(usage, unit.field)
        if name == "request" and quantity == 0:
            quantity = 1
        row = best_row(sheet, name, attributes, usage.prompt_tokens)
        if row is None and name in (*INPUT_SIDE, *OUTPUT_SIDE):
            side = INPUT_SIDE if name in INPUT_SIDE else OUTPUT_SIDE
            others = [best_own(sheet, other, attributes, usage.prompt_tokens) for other in side]
            row = max(
                (other for other in others if other is not None),
                key=lambda found: Fraction(found.usd),
                default=None,
            )
        if row is not None:
            total += quantity * Fraction(row.usd) / UNITS[row.unit].per / unit.counts_per_unit
    return total


def best_own(
    sheet: PriceSheet, unit: str, attributes: dict[str, str], prompt_tokens: int
) -> PriceRow | None:
    rows = [
        row
        for row in sheet.rows
        if row.unit == unit
        and (not row.context_above or prompt_tokens > row.context_above)
        and all(attributes.get(key) == value for key, value in row.when)
    ]
    return max(rows, key=lambda row: row.rank, default=None)


def best_row(
    sheet: PriceSheet, unit: str | None, attributes: dict[str, str], prompt_tokens: int
) -> PriceRow | None:
    while unit is not None:
        row = best_own(sheet, unit, attributes, prompt_tokens)
        if row is not None:
            return row
        unit = UNITS[unit].parent
    return None


usd = st.integers(0, 200 * 10**9).map(lambda nano: money.usd_from_nano(nano))
counts = st.integers(0, 3_000_000)


@st.composite
def sheets(draw: st.DrawFn) -> PriceSheet:
    rows = [price_row("input_token", draw(usd)), price_row("output_token", draw(usd))]
    for unit in draw(st.sets(st.sampled_from(sorted(UNITS)))) - {"input_token", "output_token"}:
        rows.append(price_row(unit, draw(usd)))
    if draw(st.booleans()):
        above = draw(st.integers(1, 2_000_000))
        for unit in ("input_token", "cached_input_token", "output_token"):
            rows.append(price_row(unit, draw(usd), context_above=above))
    for tier in draw(st.sets(st.sampled_from(TIERS))):
        unit = draw(st.sampled_from(["input_token", "output_token", "reasoning_token"]))
        rows.append(price_row(unit, draw(usd), [("service_tier", tier)]))
        above = draw(st.integers(1, 2_000_000))
        rows.append(price_row(unit, draw(usd), [("service_tier", tier)], above))
    return price_sheet(rows)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    fields = [unit.field for unit in UNITS.values()]
    chosen = draw(st.lists(st.sampled_from(fields), unique=True, max_size=8))
    attributes = draw(st.sampled_from([None, *({"service_tier": tier} for tier in TIERS)]))
    return Usage(**{name: draw(counts) for name in chosen}, attributes=attributes)


@given(sheets(), usages())
@settings(max_examples=300, deadline=None)
def test_charge_is_the_exact_amount_rounded_up_once(sheet: PriceSheet, usage: Usage) -> None:
    wanted = exact(sheet, usage, {}) * money.NANO_PER_USD
    got = charge(sheet, usage)
    assert wanted <= got < wanted + 1


@given(sheets(), usages())
@settings(max_examples=300, deadline=None)
def test_items_add_up_to_the_charge(sheet: PriceSheet, usage: Usage) -> None:
    lines = items(sheet, usage)
    assert sum(line.amount_nano for line in lines) == charge(sheet, usage)
    assert all(line.amount_nano >= 0 and line.quantity > 0 for line in lines)
    for line in lines:  # a line is its own exact amount, but for less than one nano
        unit = UNITS[line.unit]
        own = line.quantity * Fraction(line.usd) / line.per / unit.counts_per_unit
        assert abs(line.amount_nano - own * money.NANO_PER_USD) < 1


def test_a_hundred_thousand_random_charges_against_fractions() -> None:
    random_source = random.Random(7)
    names = sorted(UNITS)
    for _ in range(1000):
        prices = {
            name: money.usd_from_nano(random_source.randrange(10 ** random_source.randrange(1, 13)))
            for name in names
            if name not in ("request", "cached_input_token") or random_source.random() < 0.5
        }
        sheet = sheet_of(**prices)
        rate = [
            Fraction(prices.get(name, prices["input_token"]))
            / UNITS[name].per
            / UNITS[name].counts_per_unit
            * money.NANO_PER_USD
            for name in names
            if name != "request"
        ]
        request = Fraction(prices.get("request", "0")) * money.NANO_PER_USD
        for _ in range(100):
            amounts = [random_source.randrange(1_000_000) for _ in rate]
            fields = [UNITS[name].field for name in names if name != "request"]
            wanted = request + sum(map(Fraction.__mul__, map(Fraction, amounts), rate))
            usage = Usage(**dict(zip(fields, amounts, strict=True)))
            assert charge(sheet, usage) == -((-wanted).__floor__())


@st.composite
def bounded(draw: st.DrawFn) -> tuple[Bound, Usage, dict[str, str]]:
    """A bound, a usage inside it, and attributes whose tier the answer may lower to the plain."""
    bound = Bound(
        input_tokens=draw(counts),
        output_tokens=draw(counts),
        audio_input=draw(st.booleans()),
        audio_output=draw(st.booleans()),
        image_input=draw(st.booleans()),
        long_cache_writes=draw(st.booleans()),
        units=tuple(
            (unit, draw(st.integers(1, 100_000)))
            for unit in draw(st.sets(st.sampled_from(["image", "audio_second", "web_search"])))
        ),
    )
    kinds_in = ["input_tokens", "cached_input_tokens", "cache_write_tokens"]
    kinds_in += ["cache_write_long_tokens"] if bound.long_cache_writes else []
    kinds_in += ["audio_input_tokens"] if bound.audio_input else []
    kinds_in += ["image_input_tokens"] if bound.image_input else []
    kinds_out = ["output_tokens", "reasoning_tokens"]
    kinds_out += ["audio_output_tokens"] if bound.audio_output else []
    fields: dict[str, int] = {}
    for kinds, most in ((kinds_in, bound.input_tokens), (kinds_out, bound.output_tokens)):
        left = draw(st.one_of(st.just(most), st.integers(0, most)))
        for kind in draw(st.permutations(kinds)):
            fields[kind] = draw(st.one_of(st.just(left), st.integers(0, left)))
            left -= fields[kind]
    for unit, most in bound.units:
        fields[UNITS[unit].field] = draw(st.integers(0, most))
    asked = draw(st.sampled_from([None, "auto", "fast", *TIERS]))
    answered = TIERS if asked in (None, "auto", "fast") else (asked,)
    tier = draw(st.sampled_from([None, *answered]))
    usage = Usage(**fields, attributes=None if tier is None else {"service_tier": tier})
    return bound, usage, {} if asked is None else {"service_tier": asked}


@given(sheets(), bounded())
@settings(max_examples=500, deadline=None)
def test_the_hold_covers_every_charge_inside_the_bound(
    sheet: PriceSheet, case: tuple[Bound, Usage, dict[str, str]]
) -> None:
    bound, usage, attributes = case
    asked = [unit for unit, _ in bound.units]
    asked += ["audio_input_token"] if bound.audio_input and bound.input_tokens else []
    asked += ["audio_output_token"] if bound.audio_output and bound.output_tokens else []
    if all(map(sheet.has, asked)):
        assert ceiling(sheet, bound, attributes) >= charge(sheet, usage, attributes)
    else:
        with pytest.raises(Unpriced):
            ceiling(sheet, bound, attributes)


@given(
    st.fixed_dictionaries(dict.fromkeys(UNITS, usd)),
    usages(),
    st.sampled_from(sorted(unit.field for unit in UNITS.values())),
    st.integers(1, 1_000_000),
)
@settings(max_examples=200, deadline=None)
def test_more_of_a_unit_never_costs_less(
    prices: dict[str, str], usage: Usage, field: str, more: int
) -> None:
    fields = {unit.field: getattr(usage, unit.field) for unit in UNITS.values()}
    larger = Usage(**(fields | {field: fields[field] + more}))
    sheet = sheet_of(**prices)
    assert charge(sheet, larger) >= charge(sheet, usage)


# ------------------------------------------------------------------------------- single rules


def test_the_whole_request_is_priced_by_the_long_context_row() -> None:
    sheet = price_sheet(
        [
            price_row("input_token", "2"),
            price_row("input_token", "4", context_above=272_000),
            price_row("output_token", "10"),
            price_row("output_token", "15", context_above=272_000),
        ]
    )
    at = Usage(input_tokens=272_000, output_tokens=1000)
    above = Usage(input_tokens=1, cached_input_tokens=272_000, output_tokens=1000)
    assert charge(sheet, at) == 272_000 * 2000 + 1000 * 10_000
    assert charge(sheet, above) == 272_001 * 4000 + 1000 * 15_000


def test_the_largest_threshold_that_is_passed_wins() -> None:
    sheet = price_sheet(
        [price_row("input_token", str(n + 1), context_above=n * 100) for n in (0, 1, 2)]
    )
    assert [charge(sheet, Usage(input_tokens=n)) // n for n in (100, 101, 200, 201)] == [
        1000,
        2000,
        2000,
        3000,
    ]


def test_the_answers_tier_decides_and_more_keys_win() -> None:
    sheet = price_sheet(
        [
            price_row("output_token", "10"),
            price_row("output_token", "20", [("service_tier", "priority")]),
            price_row("output_token", "30", [("service_tier", "priority"), ("mode", "x")]),
        ]
    )
    usage = Usage(output_tokens=1_000_000, attributes={"service_tier": "priority"})
    asked = {"service_tier": "flex"}
    assert charge(sheet, usage, asked) == 20 * money.NANO_PER_USD
    assert charge(sheet, usage, asked | {"mode": "x"}) == 30 * money.NANO_PER_USD
    assert charge(sheet, Usage(output_tokens=1_000_000), asked) == 10 * money.NANO_PER_USD


@pytest.mark.parametrize(
    ("tier", "usd_held"),
    [(None, 20), ("auto", 20), ("fast", 20), ("default", 10), ("flex", 10), ("priority", 20)],
)
def test_a_hold_counts_every_tier_the_answer_may_name(tier: str | None, usd_held: int) -> None:
    sheet = price_sheet(
        [
            price_row("output_token", "10"),
            price_row("output_token", "5", [("service_tier", "flex")]),
            price_row("output_token", "20", [("service_tier", "priority")]),
        ]
    )
    attributes = {} if tier is None else {"service_tier": tier}
    bound = Bound(output_tokens=1_000_000)
    assert ceiling(sheet, bound, attributes) == usd_held * money.NANO_PER_USD


def test_a_missing_row_falls_back_to_its_parent() -> None:
    sheet = sheet_of(input_token="2", output_token="8", cache_write_token="3")
    assert charge(sheet, Usage(cached_input_tokens=10**6)) == 2 * 10**9
    assert charge(sheet, Usage(cache_write_long_tokens=10**6)) == 3 * 10**9
    assert charge(sheet, Usage(reasoning_tokens=10**6)) == 8 * 10**9


def test_an_unexpected_token_costs_the_dearest_row_of_its_side_and_is_marked() -> None:
    sheet = sheet_of(input_token="2", cache_write_token="3", output_token="8")
    usage = Usage(audio_input_tokens=10**6, audio_output_tokens=10**6)
    lines = {line.unit: (line.amount_nano, line.unexpected) for line in items(sheet, usage)}
    assert lines == {
        "audio_input_token": (3 * 10**9, True),
        "audio_output_token": (8 * 10**9, True),
    }
    assert not any(line.unexpected for line in items(sheet, Usage(reasoning_tokens=5)))
    assert unpriced_units(sheet, usage) == ()


def test_units_without_any_price_are_named() -> None:
    sheet = sheet_of(input_token="2", output_token="8")
    usage = Usage(web_searches=3, input_tokens=1, requests=1)
    assert unpriced_units(sheet, usage) == ("web_search",)
    assert charge(sheet, usage) == 2000


def test_a_request_row_is_due_once_whether_it_was_counted_or_not() -> None:
    sheet = sheet_of(input_token="1", output_token="1", request="0.005")
    assert charge(sheet, Usage(input_tokens=10)) == 5_010_000
    assert charge(sheet, Usage(input_tokens=10, requests=1)) == 5_010_000
    assert charge(sheet, Usage(requests=2)) == 10_000_000
    assert ceiling(sheet, Bound(input_tokens=10)) == 5_010_000
    assert ceiling(sheet, Bound(units=(("request", 2),))) == 10_000_000
    assert [line.unit for line in items(sheet, Usage(requests=1))] == ["request"]


def test_seconds_are_counted_in_ms() -> None:
    sheet = sheet_of(video_second="0.14")
    assert charge(sheet, Usage(video_ms=5000)) == 700_000_000
    assert charge(sheet, Usage(video_ms=1)) == 140_000


@pytest.mark.parametrize(
    ("bound", "unit"),
    [
        (Bound(input_tokens=1), "input_token"),
        (Bound(output_tokens=1), "output_token"),
        (Bound(units=(("image", 1),)), "image"),
    ],
)
def test_a_hold_without_a_price_is_refused(bound: Bound, unit: str) -> None:
    with pytest.raises(Unpriced) as caught:
        ceiling(sheet_of(request="1"), bound)
    assert caught.value.unit == unit


def test_a_hold_counts_the_dearer_kinds_only_where_they_are_possible() -> None:
    sheet = sheet_of(
        input_token="1",
        cache_write_token="2",
        cache_write_long_token="3",
        image_input_token="4",
        audio_input_token="5",
        output_token="6",
        reasoning_token="7",
        audio_output_token="8",
    )

    def held(**kinds: bool) -> int:
        return ceiling(sheet, Bound(1000, 0, **kinds)) // 1_000_000

    assert held(long_cache_writes=False) == 2
    assert held() == 3
    assert held(image_input=True) == 4
    assert held(image_input=True, audio_input=True) == 5
    assert ceiling(sheet, Bound(0, 1000)) // 1_000_000 == 7
    assert ceiling(sheet, Bound(0, 1000, audio_output=True)) // 1_000_000 == 8
    # images without a row of their own cost the dearest row of the side, so they are held at that
    bare = sheet_of(input_token="1", audio_input_token="5", output_token="1")
    assert ceiling(bare, Bound(1000, image_input=True)) // 1_000_000 == 5
    assert charge(bare, Usage(image_input_tokens=1000)) // 1_000_000 == 5


def test_audio_that_was_asked_for_needs_its_row() -> None:
    sheet = sheet_of(input_token="1", output_token="1")
    with pytest.raises(Unpriced, match="audio_input_token"):
        ceiling(sheet, Bound(input_tokens=1, audio_input=True))
    with pytest.raises(Unpriced, match="audio_output_token"):
        ceiling(sheet, Bound(output_tokens=1, audio_output=True))


def test_an_empty_sheet_and_a_free_one_charge_nothing() -> None:
    assert charge(price_sheet([]), Usage(images=5)) == 0
    assert items(price_sheet([]), Usage(images=5)) == []
    free = sheet_of(input_token="0", output_token="0")
    assert charge(free, Usage(input_tokens=10**9)) == 0
    assert ceiling(free, Bound(10, 10)) == 0


def test_a_sheet_of_one_unit() -> None:
    sheet = sheet_of(image="0.04")
    assert charge(sheet, Usage(images=2)) == 80_000_000
    assert [(line.unit, line.quantity) for line in items(sheet, Usage(images=2))] == [("image", 2)]


# -------------------------------------------------------------------------------- rows, sheets


@given(usd, st.integers(0, 5 * 10**12).map(lambda nano: money.usd_from_nano(nano)))
def test_markup_is_exact_and_rounded_up(price: str, percent: str) -> None:
    for unit in UNITS:
        row = price_row(unit, price, markup_percent=percent)
        scale = money.PRICE_UNITS // (UNITS[unit].per * UNITS[unit].counts_per_unit)
        wanted = Fraction(price) * (100 + Fraction(percent)) / 100 * 10**9 * scale
        assert wanted <= row.nano_per_million < wanted + 1
        shown = Fraction(row.usd) * 10**9 * scale
        assert shown == row.nano_per_million


def test_without_markup_the_price_is_shown_as_written() -> None:
    assert price_row("input_token", "0.0375").usd == "0.0375"
    assert price_row("input_token", "0.0375").nano_per_million == 37_500_000
    assert price_row("image", "2").usd == "2.00"


@pytest.mark.parametrize("percent", ["-100", "1000001", "x", ""])
def test_markup_that_makes_no_sense_is_refused(percent: str) -> None:
    with pytest.raises(ValueError, match=r"markup|USD"):
        price_row("image", "1", markup_percent=percent)


def test_a_negative_price_or_unknown_unit_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        price_row("image", "-1")
    with pytest.raises(ValueError, match="not a unit"):
        price_row("imagee", "1")


def test_the_version_is_of_the_content() -> None:
    one = sheet_of(input_token="1", output_token="2")
    other = sheet_of(output_token="2", input_token="1")
    assert one == other
    assert one.version == other.version
    assert hash(one) == hash(other)
    charge(one, Usage(input_tokens=1))  # a warm cache is not content
    assert one == other
    assert one != sheet_of(input_token="1", output_token="3")


def test_attributes_of_callers_do_not_fill_the_caches() -> None:
    sheet = price_sheet(
        [
            price_row("input_token", "1"),
            price_row("output_token", "1"),
            price_row("output_token", "2", [("service_tier", "priority")]),
        ]
    )
    for number in range(500):
        attributes = {"service_tier": f"x{number}", f"y{number}": "1"}
        assert charge(sheet, Usage(output_tokens=1), attributes) == 1000
        assert ceiling(sheet, Bound(output_tokens=1), attributes) == 1000
    assert len(sheet._cache) + len(sheet._worst_cache) <= 4


def test_no_float_in_the_money_modules() -> None:
    for module in (money, pricing, usage_module):
        tree = ast.parse(Path(str(module.__file__)).read_text("utf-8"))
        for node in ast.walk(tree):
            assert not (isinstance(node, ast.Constant) and isinstance(node.value, float))
            assert not isinstance(node, ast.Div)
            assert not (isinstance(node, ast.Name) and node.id in ("float", "round", "Decimal"))


def test_every_token_field_has_a_side() -> None:
    tokens = {unit.field for unit in UNITS.values() if unit.field.endswith("_tokens")}
    assert tokens == {*INPUT_FIELDS, *OUTPUT_FIELDS}
