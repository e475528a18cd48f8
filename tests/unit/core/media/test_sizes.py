"""Sizes, ratios, tiers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmarket.core.media.reader import MediaError
from tokenmarket.core.media.sizes import (
    VIDEO_SEPARATORS,
    gpt_image_size_fault,
    nearest_ratio,
    parse_size,
    ratio,
    size_tier,
)

LEGAL = ("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3", "21:9", "adaptive")


@pytest.mark.parametrize("text", ["1280x720", "1280X720", "1280×720", " 1280 x 720 "])
def test_sizes(text: str) -> None:
    assert parse_size(text) == (1280, 720)


@pytest.mark.parametrize("text", ["1280*720", "1280:720", "1280x720"])
def test_video_takes_more_signs(text: str) -> None:
    assert parse_size(text, VIDEO_SEPARATORS) == (1280, 720)


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "auto", "1280", "0x0", "-1x5", "1280*720", "1280:720", "1x2x3", "1e3x5"),
        *("٣x٤", "99999x1", "100000x1", "1x1\n2", "01x1", "1.5x2", "x" * 100_000),
    ],
)
def test_no_sizes(text: str) -> None:
    with pytest.raises(MediaError, match="WIDTHxHEIGHT") as caught:
        parse_size(text)
    assert len(str(caught.value)) < 200


@given(st.integers(1, 32_768), st.integers(1, 32_768))
def test_ratio_is_reduced(width: int, height: int) -> None:
    assert parse_size(f"{width}x{height}") == (width, height)
    wide, high = map(int, ratio(width, height).split(":"))
    assert width * high == height * wide
    assert nearest_ratio(width, height, [ratio(width, height)]) is not None


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1024, 1024), "1:1"),
        ((1280, 720), "16:9"),
        ((720, 1280), "9:16"),
        ((1792, 1024), "16:9"),  # 7:4 is 1.6 % off
        ((1024, 1792), "9:16"),
        ((1536, 1024), "3:2"),
        ((854, 480), "16:9"),
        ((1000, 1021), None),
        ((1000, 1020), "1:1"),
        ((1920, 1100), "16:9"),
        ((5, 4), None),
    ],
)
def test_nearest_ratio(size: tuple[int, int], expected: str | None) -> None:
    assert nearest_ratio(*size, LEGAL) == expected


def test_the_exact_ratio_wins_and_keeps_its_spelling() -> None:
    assert nearest_ratio(1000, 1010, ("1:1", "100x101")) == "100x101"
    assert nearest_ratio(16, 9, ("auto", "0:9", "16x9")) == "16x9"


def test_tiers() -> None:
    sizes = ((512, 512), (1024, 100), (1025, 100), (100, 2048), (2049, 1), (4096, 4096))
    assert [size_tier(*size) for size in sizes] == ["1K", "1K", "2K", "2K", "4K", "4K"]


@pytest.mark.parametrize(
    "size", [(1024, 1024), (3840, 2160), (2160, 3840), (1536, 512), (2880, 2880)]
)
def test_gpt_image_takes(size: tuple[int, int]) -> None:
    assert gpt_image_size_fault(*size) is None


@pytest.mark.parametrize(
    ("size", "fault"),
    [((1000, 1024), "16"), ((1600, 512), "1:3"), ((3856, 2160), "3840"), ((3840, 2176), "3840")],
)
def test_gpt_image_refuses(size: tuple[int, int], fault: str) -> None:
    assert fault in (gpt_image_size_fault(*size) or "")
