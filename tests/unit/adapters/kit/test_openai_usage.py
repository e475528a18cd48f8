"""Usage of many dialects -> disjoint counts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.adapters.made import sheet
from tokenmarket.adapters.kit.openai_usage import parse_usage
from tokenmarket.core.pricing import Bound
from tokenmarket.core.usage import Usage, sanitize

TEXT = sheet("input_token", "output_token")


def parsed(usage: object, **more: Any) -> Usage | None:
    return parse_usage(json.dumps(usage).encode(), TEXT, **more)


def test_openai_totals_are_inclusive() -> None:
    usage = parsed(
        {
            "prompt_tokens": 100,
            "completion_tokens": 40,
            "total_tokens": 140,
            "prompt_tokens_details": {
                "cached_tokens": 60,
                "cache_write_tokens": 10,
                "audio_tokens": 5,
            },
            "completion_tokens_details": {
                "reasoning_tokens": 16,
                "audio_tokens": 4,
                "rejected_prediction_tokens": 3,
            },
        },
        service_tier="Priority",
    )
    assert usage == Usage(
        input_tokens=25,
        cached_input_tokens=60,
        cache_write_tokens=10,
        audio_input_tokens=5,
        output_tokens=20,
        reasoning_tokens=16,
        audio_output_tokens=4,
        rejected_prediction_tokens=3,
        attributes={"service_tier": "priority"},
    )


@pytest.mark.parametrize(
    "alias",
    ["prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens", "cache_read_input_tokens"],
)
def test_vendor_names_of_the_cached_part(alias: str) -> None:
    usage = parsed({"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10, alias: 4})
    assert usage == Usage(input_tokens=5, cached_input_tokens=4, output_tokens=1)


def test_reasoning_beside_completion_is_proven_by_the_total() -> None:
    """xAI: 291 + 26 + 189 = 506."""
    details = {"reasoning_tokens": 189}
    counts = {"prompt_tokens": 291, "completion_tokens": 26, "total_tokens": 506}
    usage = parsed(counts | {"completion_tokens_details": details})
    assert usage == Usage(input_tokens=291, output_tokens=26, reasoning_tokens=189)
    inside = parsed(counts | {"completion_tokens": 215, "completion_tokens_details": details})
    assert inside == Usage(input_tokens=291, output_tokens=26, reasoning_tokens=189)


def test_reasoning_outside_by_quirk() -> None:
    counts = {"prompt_tokens": 33, "completion_tokens": 7, "total_tokens": 40}
    usage = parsed(counts | {"reasoning_tokens": 95}, reasoning_outside=True)
    assert usage is not None
    assert (usage.output_tokens, usage.reasoning_tokens) == (7, 95)


def test_audio_beside_the_prompt_is_proven_by_the_total() -> None:
    """Mistral: 9 + 375 audio + 201 = 585."""
    usage = parsed(
        {
            "prompt_tokens": 9,
            "completion_tokens": 201,
            "total_tokens": 585,
            "prompt_tokens_details": {"audio_tokens": 375},
        }
    )
    assert usage == Usage(input_tokens=9, audio_input_tokens=375, output_tokens=201)


def test_image_tokens_are_apart_only_where_they_have_a_price() -> None:
    raw = b'{"prompt_tokens":9,"completion_tokens":1,"prompt_tokens_details":{"image_tokens":4}}'
    assert parse_usage(raw, TEXT) == Usage(input_tokens=9, output_tokens=1)
    priced = sheet("input_token", "image_input_token", "output_token")
    expected = Usage(input_tokens=5, image_input_tokens=4, output_tokens=1)
    assert parse_usage(raw, priced) == expected


def test_lies_are_clamped_and_flagged() -> None:
    usage = parsed(
        {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7, "cached_tokens": 50}
    )
    assert usage == Usage(cached_input_tokens=5, output_tokens=2, flags=("cached_above_input",))
    usage = parsed(
        {
            "prompt_tokens": 5,
            "completion_tokens": 2,
            "total_tokens": 7,
            "completion_tokens_details": {"reasoning_tokens": 9},
        }
    )
    assert usage == Usage(input_tokens=5, reasoning_tokens=2, flags=("reasoning_above_output",))


@pytest.mark.parametrize("raw", [b"null", b"[]", b"{}", b"3", b'"x"', b'{"x":1}', b"{"])
def test_nothing_reported_is_none(raw: bytes) -> None:
    assert parse_usage(raw, TEXT) is None


def test_reported_zero_is_zero() -> None:
    assert parsed({"prompt_tokens": 0, "completion_tokens": 0}) == Usage()


def test_total_only_is_input() -> None:
    assert parsed({"total_tokens": 8}) == Usage(input_tokens=8)


VALUES = st.one_of(
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=3),
    st.none(),
    st.booleans(),
    st.lists(st.integers(), max_size=2),
)
NAMES = st.sampled_from(
    [
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "cached_tokens",
        "reasoning_tokens",
        "prompt_audio_seconds",
        "service_tier",
        "num_sources_used",
    ]
)
DETAILS = st.dictionaries(
    st.sampled_from(["cached_tokens", "audio_tokens", "reasoning_tokens", "image_tokens"]), VALUES
)


@given(st.dictionaries(NAMES, VALUES), DETAILS, DETAILS)
def test_any_object_is_read_and_can_be_billed(
    usage: dict[str, Any], details_in: dict[str, Any], details_out: dict[str, Any]
) -> None:
    whole = usage | {
        "prompt_tokens_details": details_in,
        "completion_tokens_details": details_out,
    }
    found = parse_usage(json.dumps(whole).encode(), sheet("image_input_token", "audio_second"))
    if found is not None:
        billed = sanitize(found, Bound(1000, 1000), 0)
        assert billed.input_tokens >= 0
        assert billed.output_tokens >= 0
        assert billed.prompt_tokens <= 10**8


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"num_sources_used": 2}, Usage(input_tokens=3, output_tokens=2, searches=2)),
        ({"num_sources_used": 0, "cost_in_usd_ticks": 5}, Usage(input_tokens=3, output_tokens=2)),
        (
            {"prompt_cache_hit_tokens": 2, "prompt_cache_miss_tokens": 1},
            Usage(input_tokens=1, cached_input_tokens=2, output_tokens=2),
        ),
        ({"queue_time": 0.1, "total_time": 1.5}, Usage(input_tokens=3, output_tokens=2)),
        (
            {"completion_tokens_details": {"accepted_prediction_tokens": 1}},
            Usage(input_tokens=3, output_tokens=2, accepted_prediction_tokens=1),
        ),
    ],
)
def test_members_beside_the_counts(more: dict[str, Any], expected: Usage) -> None:
    counts = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert parsed(counts | more) == expected
