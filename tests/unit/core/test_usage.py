"""Upstream numbers are made safe to bill, and shown to the caller in OpenAI's shape."""

from __future__ import annotations

import json
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmarket.core.pricing import charge, items, price_row, price_sheet
from tokenmarket.core.usage import (
    COST_GROUPS,
    INPUT_FIELDS,
    OUTPUT_FIELDS,
    UNITS,
    Bound,
    Usage,
    openai_usage,
    sanitize,
    usage_json,
)

ROOM = Bound(input_tokens=10_000, output_tokens=1000)
FIELDS = sorted({unit.field for unit in UNITS.values()})


def test_an_honest_usage_is_returned_as_it_is() -> None:
    usage = Usage(input_tokens=900, cached_input_tokens=100, output_tokens=50, reasoning_tokens=5)
    assert sanitize(usage, ROOM, 128_000) is usage


def test_cached_above_input_keeps_the_total() -> None:
    # prompt_tokens 100, cached_tokens 130: the adapter's subtraction gave -30
    fixed = sanitize(Usage(input_tokens=-30, cached_input_tokens=130), ROOM, 0)
    assert (fixed.input_tokens, fixed.cached_input_tokens) == (0, 100)
    assert fixed.flags == ("input_parts_above_total",)


def test_reasoning_above_output_keeps_the_total() -> None:
    fixed = sanitize(Usage(output_tokens=-5, reasoning_tokens=25), ROOM, 0)
    assert (fixed.output_tokens, fixed.reasoning_tokens) == (0, 20)
    assert fixed.flags == ("output_parts_above_total",)


def test_a_negative_total_is_nothing() -> None:
    fixed = sanitize(Usage(input_tokens=-5, output_tokens=-1, images=-1), ROOM, 0)
    assert (fixed.prompt_tokens, fixed.completion_tokens, fixed.images) == (0, 0, 0)
    assert fixed.flags == ("negative_input_tokens", "negative_output_tokens", "negative_images")


def test_above_the_context_window_is_capped() -> None:
    usage = Usage(input_tokens=10**12, cached_input_tokens=7, output_tokens=10**12)
    fixed = sanitize(usage, ROOM, 128_000)
    assert fixed.prompt_tokens == fixed.completion_tokens == 128_000
    assert fixed.flags == ("input_above_context", "output_above_context")


def test_a_batch_of_embeddings_may_be_longer_than_the_window() -> None:
    usage = Usage(input_tokens=300_000)
    assert sanitize(usage, Bound(input_tokens=900_000), 8192) is usage


def test_without_a_known_window_an_absurd_number_is_capped_too() -> None:
    fixed = sanitize(Usage(input_tokens=2**63), ROOM, 0)
    assert fixed.input_tokens == 100_000_000


def test_above_the_bound_but_possible_is_only_flagged() -> None:
    usage = Usage(input_tokens=20_000, output_tokens=2000, flags=("seen_before",))
    fixed = sanitize(usage, ROOM, 128_000)
    assert (fixed.input_tokens, fixed.output_tokens) == (20_000, 2000)
    assert fixed.flags == ("seen_before", "input_above_bound", "output_above_bound")
    assert sanitize(fixed, ROOM, 128_000).flags == fixed.flags


def test_seconds_are_capped_a_tenth_above_what_was_asked() -> None:
    bound = Bound(units=(("video_second", 5000),))
    assert sanitize(Usage(video_ms=5400), bound, 0).video_ms == 5400
    fixed = sanitize(Usage(video_ms=50_000), bound, 0)
    assert (fixed.video_ms, fixed.flags) == (5500, ("video_ms_above_bound",))


def test_units_bounded_apart_belong_to_their_side() -> None:
    bound = Bound(input_tokens=10, units=(("video_token", 1000),))
    usage = Usage(input_tokens=10, video_tokens=900)
    assert sanitize(usage, bound, 0).flags == ()


@given(
    st.dictionaries(st.sampled_from(FIELDS), st.integers(-(2**70), 2**70)),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.integers(0, 10**7),
)
@settings(deadline=None)
def test_whatever_comes_the_result_is_billable(
    fields: dict[str, int], reads: int, writes: int, context: int
) -> None:
    usage, bound = Usage(**fields), Bound(reads, writes)
    fixed = sanitize(usage, bound, context)
    assert all(getattr(fixed, name) >= 0 for name in FIELDS)
    window = context or 100_000_000
    assert fixed.prompt_tokens <= max(window, reads)
    assert fixed.completion_tokens <= max(window, writes)
    if all(value >= 0 for value in fields.values()):  # nothing is ever added
        assert all(getattr(fixed, name) <= getattr(usage, name) for name in FIELDS)
    else:
        assert fixed.flags
    again = sanitize(fixed, bound, context)
    assert all(getattr(again, name) == getattr(fixed, name) for name in FIELDS)


# ------------------------------------------------------------------------------- the JSON object

SHEET = price_sheet(
    price_row(unit, usd)
    for unit, usd in {
        "input_token": "2",
        "cached_input_token": "0.2",
        "cache_write_token": "2.5",
        "output_token": "10",
        "audio_input_token": "32",
        "web_search": "0.01",
        "request": "0.001",
    }.items()
)


def test_the_shape() -> None:
    usage = Usage(
        input_tokens=50,
        cached_input_tokens=64,
        cache_write_tokens=6,
        cache_write_long_tokens=4,
        audio_input_tokens=8,
        output_tokens=30,
        reasoning_tokens=10,
        accepted_prediction_tokens=3,
        rejected_prediction_tokens=2,
        web_searches=2,
    )
    amount = charge(SHEET, usage)
    body = json.loads(usage_json(usage, items(SHEET, usage), amount), parse_float=Decimal)
    assert body == {
        "prompt_tokens": 132,
        "completion_tokens": 40,
        "total_tokens": 172,
        "prompt_tokens_details": {
            "cached_tokens": 64,
            "cache_write_tokens": 10,
            "audio_tokens": 8,
            "image_tokens": 0,
            "video_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": 10,
            "audio_tokens": 0,
            "image_tokens": 0,
            "accepted_prediction_tokens": 3,
            "rejected_prediction_tokens": 2,
        },
        "cost": Decimal("0.0217938"),
        "cost_details": {
            "input": "0.0001",
            "output": "0.0003",
            "cached": "0.0000128",
            "cache_write": "0.000025",
            "reasoning": "0.0001",
            "audio": "0.000256",
            "image": "0.00",
            "video": "0.00",
            "search": "0.02",
            "request": "0.001",
            "total": "0.0217938",
        },
        "is_byok": False,
    }


def test_nothing_costs_nothing() -> None:
    body = json.loads(usage_json(Usage(), [], 0))
    assert body["cost"] == 0
    assert body["cost_details"]["total"] == "0.00"
    assert body["total_tokens"] == 0


@given(st.dictionaries(st.sampled_from(FIELDS), st.integers(0, 10**9)))
@settings(deadline=None)
def test_parts_add_up(fields: dict[str, int]) -> None:
    usage = Usage(**fields)
    amount = charge(SHEET, usage)
    body = openai_usage(usage, items(SHEET, usage), amount)
    details = msgspec.convert(body["cost_details"], dict[str, str])
    assert list(details) == [*COST_GROUPS, "total"]
    total = Decimal(details.pop("total"))
    assert total == Decimal(amount) / 10**9
    assert sum(map(Decimal, details.values())) == total
    assert body["total_tokens"] == usage.prompt_tokens + usage.completion_tokens
    assert body["cost"] == pytest.approx(float(total))


def test_every_unit_has_a_place_in_the_object() -> None:
    sheet = price_sheet(price_row(unit, "1") for unit in UNITS)
    for unit in UNITS.values():
        usage = Usage(**{unit.field: 10**6})
        body = openai_usage(usage, items(sheet, usage), charge(sheet, usage))
        details = msgspec.convert(body["cost_details"], dict[str, str])
        assert sum(value != "0.00" for value in details.values()) in (2, 3)  # request, total
    names = set(Usage.__struct_fields__)
    assert names >= {*INPUT_FIELDS, *OUTPUT_FIELDS}
