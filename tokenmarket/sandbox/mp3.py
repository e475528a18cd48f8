"""(pure) MPEG-2 Layer III without an encoder: sound that is written where MP3 keeps it.

Tones are put into the spectrum directly, as quantised lines, so there is no filter bank, no
psychoacoustics and no search: a frame of a steady sound is one constant. Every frame stands for
itself (no bit reservoir), mono, 24 kHz, 32 kbit/s, 576 samples.

Numbers are those of ISO/IEC 11172-3 and 13818-3.
"""

from __future__ import annotations

from collections.abc import Mapping

RATE = 24_000
FRAME_SAMPLES = 576
FRAME_BYTES = 96
LINE_HZ = RATE / 2 / FRAME_SAMPLES
VALUE_MAX = 5

_HEADER = b"\xff\xf3\x44\xc4"  # MPEG-2 Layer III, no CRC, 32 kbit/s, 24 kHz, mono, original
_SIDE_BITS = 72
_MAIN_BITS = 8 * FRAME_BYTES - 32 - _SIDE_BITS
# Huffman table 7: pairs of values 0 to 5, as (code, bits) without signs.
_CODES = (
    (1, 2, 10, 19, 16, 10),
    (3, 3, 7, 10, 5, 3),
    (11, 4, 13, 17, 8, 4),
    (12, 11, 18, 15, 11, 2),
    (7, 6, 9, 14, 3, 1),
    (6, 4, 5, 3, 2, 0),
)
_LENGTHS = (
    (1, 3, 6, 8, 8, 9),
    (3, 4, 6, 7, 7, 8),
    (6, 5, 7, 8, 8, 9),
    (7, 7, 8, 9, 9, 9),
    (7, 7, 8, 9, 9, 10),
    (8, 8, 9, 10, 10, 10),
)
_TABLE = 7
_REGION_0, _REGION_1 = 7, 5  # where the table could change, if it did


class _Bits:
    """Most significant bit first."""

    def __init__(self) -> None:
        self.value = 0
        self.count = 0

    def put(self, value: int, bits: int) -> None:
        self.value = self.value << bits | value
        self.count += bits


def frame(lines: Mapping[int, int], gain: int) -> bytes:
    """One frame. ``lines``: spectral line -> value of -VALUE_MAX to VALUE_MAX; its loudness is
    ``|value| ** (4/3) * 2 ** ((gain - 210) / 4)``. Lines that do not fit are left out from above.
    """
    main, pairs = _spectrum(lines)
    side = _Bits()
    side.put(0, 8 + 1)  # main_data_begin, private
    side.put(main.count, 12)
    side.put(pairs, 9)
    side.put(gain, 8)
    side.put(0, 9 + 1)  # scalefac_compress, window_switching
    for _ in range(3):
        side.put(_TABLE, 5)
    side.put(_REGION_0, 4)
    side.put(_REGION_1, 3)
    side.put(0, 2)  # scalefac_scale, count1table_select
    value = side.value << _MAIN_BITS | main.value << (_MAIN_BITS - main.count)
    return _HEADER + value.to_bytes(FRAME_BYTES - len(_HEADER), "big")


def _spectrum(lines: Mapping[int, int]) -> tuple[_Bits, int]:
    used = [line for line, value in lines.items() if value]
    pairs = max(used) // 2 + 1 if used else 0
    bits = _Bits()
    for pair in range(pairs):
        left, right = lines.get(2 * pair, 0), lines.get(2 * pair + 1, 0)
        size = _LENGTHS[abs(left)][abs(right)] + bool(left) + bool(right)
        if bits.count + size > _MAIN_BITS:
            return bits, pair
        bits.put(_CODES[abs(left)][abs(right)], _LENGTHS[abs(left)][abs(right)])
        for value in (left, right):
            if value:
                bits.put(value < 0, 1)
    return bits, pairs
