"""The length of sound that is a row of frames without an index: MP3, AAC in ADTS, AMR.

The frames are walked; past ``WALK_BYTES_MAX`` or ``FRAMES_MAX`` the rest is taken to be like what
was walked, which is exact for a constant bit rate.
"""

from __future__ import annotations

from collections.abc import Callable

from tokenmarket.core.media.mpeg import HEADER_BYTES, Frame
from tokenmarket.core.media.reader import Bounded

WALK_BYTES_MAX = 1024 * 1024
FRAMES_MAX = 8_000
SEARCH_BYTES_MAX = 64 * 1024

_PIECE_BYTES = 64 * 1024

Parse = Callable[[bytes, int], Frame | None]


def first_frame(
    source: Bounded, start: int, parse: Parse, search_bytes: int = SEARCH_BYTES_MAX
) -> int | None:
    """Where the first frame is that another one follows (or the end); None if not that near."""
    data = source.some(start, search_bytes)
    at = data.find(b"\xff")
    while at >= 0:
        frame = parse(data, at)
        if frame is not None:
            after = start + at + frame.length
            if after <= source.size and _frame_or_end(source, after, parse):
                return start + at
        at = data.find(b"\xff", at + 1)
    return None


def _frame_or_end(source: Bounded, at: int, parse: Parse) -> bool:
    following = source.some(at, HEADER_BYTES)
    return len(following) < HEADER_BYTES or parse(following, 0) is not None


def walked_ms(source: Bounded, start: int, parse: Parse) -> int | None:
    """Milliseconds of the frames from ``start`` on; None if there is none."""
    at, nanoseconds, walked, frames = start, 0, 0, 0
    search_left = SEARCH_BYTES_MAX
    data, begin = b"", start  # the piece that is looked at, and where it begins
    while walked < WALK_BYTES_MAX and frames < FRAMES_MAX:
        if at - begin + HEADER_BYTES > len(data):
            data, begin = source.some(at, _PIECE_BYTES), at
        frame = parse(data, at - begin)
        if frame is None:  # a tag at the end, or damage: look a little further
            found = first_frame(source, at + 1, parse, search_left)
            if found is None:
                # A tag at the end is small. Behind more than that a decoder may find sound again.
                ended = frames and source.size - at <= SEARCH_BYTES_MAX
                return nanoseconds // 1_000_000 if ended else None
            search_left -= found - at
            at = found
            continue
        nanoseconds += frame.samples * 1_000_000_000 // frame.rate_hz
        walked += frame.length
        frames += 1
        at += frame.length
    if at < source.size:
        nanoseconds = nanoseconds * (source.size - start) // (at - start)
    return nanoseconds // 1_000_000
