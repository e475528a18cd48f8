"""(pure) H.264 without an encoder: raw macroblocks (I_PCM), and "as before" for the rest.

Constrained Baseline, CAVLC, one slice a picture, one reference. The first picture is an IDR of raw
macroblocks; every later one repeats it except for the macroblocks that are given anew. Samples must
be 16 to 240, so that no start code can appear in them. Numbers are those of ITU-T H.264.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

MACROBLOCK = 16
MACROBLOCK_BYTES = 384  # 256 of luma, 64 and 64 of chroma
PICTURES_MAX = 65_536

_FRAME_NUM_BITS = 16
_PROFILE, _CONSTRAINTS = 66, 0xC0
# Macroblocks of a picture that a level allows.
_LEVELS = ((1_620, 30), (3_600, 31), (5_120, 32), (8_192, 40), (22_080, 50), (36_864, 51))
_MB_TYPE_RAW_I = 25
_MB_TYPE_RAW_P = 5 + _MB_TYPE_RAW_I
_FALSE_START = re.compile(b"\0\0(?=[\0-\3])")


class _Bits:
    """Most significant bit first."""

    def __init__(self) -> None:
        self._value = 1  # a leading one keeps leading zeros
        self._count = 0

    def put(self, value: int, bits: int) -> _Bits:
        self._value = self._value << bits | value
        self._count += bits
        return self

    def golomb(self, *values: int) -> _Bits:
        """Unsigned numbers in the code of Golomb; a signed 0 is the same."""
        for value in values:
            size = (value + 1).bit_length()
            self.put(value + 1, 2 * size - 1)
        return self

    def aligned(self) -> bytes:
        """Everything so far, zeros up to the whole byte."""
        missing = -self._count % 8
        value, count = self._value << missing, self._count + missing
        return (value - (1 << count)).to_bytes(count // 8, "big")

    def ended(self) -> bytes:
        """The same behind the bit that ends a unit."""
        return self.put(1, 1).aligned()


class Stream:
    """The pictures of one film. Sizes are even numbers of samples."""

    def __init__(self, width: int, height: int) -> None:
        self.columns = -(-width // MACROBLOCK)
        self.rows = -(-height // MACROBLOCK)
        count = self.columns * self.rows
        level = next(level for blocks, level in _LEVELS if count <= blocks)
        right, bottom = self.columns * MACROBLOCK - width, self.rows * MACROBLOCK - height
        bits = _Bits().put(_PROFILE, 8).put(_CONSTRAINTS, 8).put(level, 8)
        bits.golomb(0, _FRAME_NUM_BITS - 4, 2, 1)  # id, frame_num, order of output, references
        bits.put(0, 1).golomb(self.columns - 1, self.rows - 1).put(0b11, 2)
        bits.put(bool(right or bottom), 1)
        if right or bottom:
            bits.golomb(0, right // 2, 0, bottom // 2)
        self.sequence_set = _unit(0x67, bits.put(0, 1).ended())
        bits = _Bits().golomb(0, 0).put(0, 2).golomb(0, 0, 0).put(0, 3).golomb(0, 0, 0)
        self.picture_set = _unit(0x68, bits.put(0b100, 3).ended())  # deblocking is controlled

    def first(self, blocks: Sequence[bytes]) -> bytes:
        """The picture that stands for itself: all macroblocks, row by row."""
        bits = _Bits().golomb(0, 7, 0).put(0, _FRAME_NUM_BITS).golomb(0).put(0, 2).golomb(0, 1)
        parts = [bits.golomb(_MB_TYPE_RAW_I).aligned(), blocks[0]]
        between = _Bits().golomb(_MB_TYPE_RAW_I).aligned()
        for block in blocks[1:]:
            parts += (between, block)
        return _unit(0x65, b"".join([*parts, b"\x80"]))

    def later(self, number: int, changed: Mapping[int, bytes]) -> bytes:
        """Picture ``number`` (1, 2, ...): the one before, with these macroblocks by position."""
        bits = _Bits().golomb(0, 5, 0).put(number, _FRAME_NUM_BITS).put(0, 3).golomb(0, 1)
        parts: list[bytes] = []
        at = 0
        for position in sorted(changed):
            parts += (bits.golomb(position - at, _MB_TYPE_RAW_P).aligned(), changed[position])
            bits = _Bits()
            at = position + 1
        left = self.columns * self.rows - at
        parts.append((bits.golomb(left) if left else bits).ended())
        return _unit(0x41, b"".join(parts))


def _unit(kind: int, body: bytes) -> bytes:
    return bytes((kind,)) + _FALSE_START.sub(b"\0\0\3", body)
