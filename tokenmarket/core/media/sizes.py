"""Picture and film sizes: "1280x720" in pixels, reduced to a ratio, a tier, a legal size.

Providers that take a ratio get the exact one, else the nearest within 2 %; what is further away is
the caller's 400 ``unsupported_size`` with the legal list (``reference/media/images.md`` section 2).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction
from math import gcd

from tokenmarket.core.media.reader import MediaError
from tokenmarket.core.wording import say

SIDE_MAX = 32_768
RATIO_TOLERANCE = Fraction(102, 100)
IMAGE_SEPARATORS = "x"
VIDEO_SEPARATORS = "x*:"  # ``reference/media/video_contract.md`` section 2.1

_SIZE = re.compile(r"([1-9][0-9]{0,4})\s?([xX×*:])\s?([1-9][0-9]{0,4})", re.ASCII)
_RATIO = re.compile(r"([1-9][0-9]{0,4})[x:/]([1-9][0-9]{0,4})", re.ASCII)


def parse_size(text: str, separators: str = IMAGE_SEPARATORS) -> tuple[int, int]:
    """("1024x768") -> (1024, 768). MediaError with a message for the caller otherwise."""
    match = _SIZE.fullmatch(text.strip())
    if match is not None:
        sign = match.group(2).lower().replace("×", "x")
        width, height = int(match.group(1)), int(match.group(3))
        if sign in separators and max(width, height) <= SIDE_MAX:
            return width, height
    raise MediaError(
        say("a size is WIDTHxHEIGHT in pixels, e.g. 1024x768, not {text!r}", text=text[:40])
    )


def ratio(width: int, height: int) -> str:
    """(1920, 1080) -> "16:9". Both above zero."""
    divisor = gcd(width, height)
    return f"{width // divisor}:{height // divisor}"


def nearest_ratio(width: int, height: int, legal: Iterable[str]) -> str | None:
    """The member of ``legal`` ("16:9", "16x9"; others are skipped) that this size may stand for.

    The exact one, else the nearest within 2 % either way; None when there is none.
    """
    best: tuple[Fraction, str] | None = None
    wanted = Fraction(width, height)
    for one in legal:
        match = _RATIO.fullmatch(one)
        if match is None:  # "adaptive", "auto"
            continue
        other = Fraction(int(match.group(1)), int(match.group(2)))
        off = max(wanted / other, other / wanted)  # 1 is exact; the same upright and lying
        if off <= RATIO_TOLERANCE and (best is None or off < best[0]):
            best = (off, one)
    return None if best is None else best[1]


def size_tier(width: int, height: int) -> str:
    """ "1K", "2K" or "4K", by the longer side."""
    longer = max(width, height)
    if longer <= 1024:
        return "1K"
    return "2K" if longer <= 2048 else "4K"


GPT_IMAGE_MULTIPLE = 16
GPT_IMAGE_SIDE_MAX = 3840
GPT_IMAGE_PIXELS_MAX = 3840 * 2160


def gpt_image_size_fault(width: int, height: int) -> str | None:
    """Why gpt-image-2 and later refuse this size, None if they take it (images.md section 1.2)."""
    if width % GPT_IMAGE_MULTIPLE or height % GPT_IMAGE_MULTIPLE:
        return say("both sides must be multiples of 16")
    if max(width, height) > 3 * min(width, height):
        return say("the ratio must be between 1:3 and 3:1")
    if max(width, height) > GPT_IMAGE_SIDE_MAX or width * height > GPT_IMAGE_PIXELS_MAX:
        return say("at most 3840x2160 (either way round)")
    return None
