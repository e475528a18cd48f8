"""(pure) Pictures: a small landscape with the word "sandbox", drawn from a seed, as a real PNG.

A ``Picture`` says everything about one picture and fits into a file name, so that a server can
serve what it never stored. Rows are built from runs of palette colours: a million pixels take some
20 ms. Drawing goes row by row into bytearrays, which ``filming`` uses for video frames as well.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import struct
import zlib

import msgspec

SIDE_MIN = 16
SIDE_MAX = 4096
DETAIL_MAX = 3

_SHADES = 192  # palette entries of the sky; the rest are the colours of things
INK, SHADOW, _SUN, _FRAME, _CLEAR = 250, 251, 252, 253, 255
_PACKED = struct.Struct(">8sHHBBHH")
_CHECK_BYTES = 4

# Five columns, seven rows a letter; a bit is a dot.
_LETTERS = {
    "s": (0x0F, 0x10, 0x10, 0x0E, 0x01, 0x01, 0x1E),
    "a": (0x0E, 0x11, 0x11, 0x1F, 0x11, 0x11, 0x11),
    "n": (0x11, 0x19, 0x15, 0x13, 0x11, 0x11, 0x11),
    "d": (0x1E, 0x11, 0x11, 0x11, 0x11, 0x11, 0x1E),
    "b": (0x1E, 0x11, 0x11, 0x1E, 0x11, 0x11, 0x1E),
    "o": (0x0E, 0x11, 0x11, 0x11, 0x11, 0x11, 0x0E),
    "x": (0x11, 0x11, 0x0A, 0x04, 0x0A, 0x11, 0x11),
}
LABEL = "sandbox"
LABEL_COLUMNS = 6 * len(LABEL) - 1
LABEL_ROWS = 7

Rows = list[bytearray]


class Picture(msgspec.Struct, frozen=True):
    """What is drawn. ``detail`` 0 is sky alone, DETAIL_MAX everything; ``inner_*``: the shape of a
    picture that this one was made from, shown as a frame; 0 = none."""

    seed: bytes
    width: int
    height: int
    detail: int = DETAIL_MAX
    transparent: bool = False
    inner_width: int = 0
    inner_height: int = 0

    def name(self) -> str:
        """A file name that says everything."""
        flags = int(self.transparent)
        packed = _PACKED.pack(
            self.seed,
            self.width,
            self.height,
            self.detail,
            flags,
            self.inner_width,
            self.inner_height,
        )
        return base64.urlsafe_b64encode(packed + _check(packed)).decode().rstrip("=") + ".png"


def seed_of(*parts: bytes) -> bytes:
    """The eight bytes that stand for all ``parts``."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(struct.pack(">Q", len(part)) + part)
    return digest.digest()


def named(name: str) -> Picture | None:
    """The picture of a file name; None for any other text."""
    stem = name.removesuffix(".png")
    try:
        raw = base64.b64decode(stem + "=" * (-len(stem) % 4), altchars="-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    packed, check = raw[:-_CHECK_BYTES], raw[-_CHECK_BYTES:]
    if len(packed) != _PACKED.size or check != _check(packed):
        return None
    seed, width, height, detail, flags, inner_width, inner_height = _PACKED.unpack(packed)
    return Picture(seed, width, height, detail, bool(flags), inner_width, inner_height)


def png(picture: Picture) -> bytes:
    """The picture as a PNG with a palette."""
    size = struct.pack(">IIBBBBB", picture.width, picture.height, 8, 3, 0, 0, 0)
    pixels = b"".join(b"\0" + row for row in landscape(picture))
    chunks = [_chunk(b"IHDR", size), _chunk(b"PLTE", palette(picture.seed))]
    if picture.transparent:
        chunks.append(_chunk(b"tRNS", b"\xff" * _CLEAR + b"\0"))
    chunks.append(_chunk(b"IDAT", zlib.compress(pixels, 1)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + _chunk(b"IEND", b"")


def disc(rows: Rows, centre_x: int, centre_y: int, radius: int, colour: int) -> None:
    """A filled circle; what lies outside of ``rows`` is left out."""
    for y in range(max(0, centre_y - radius), min(len(rows), centre_y + radius + 1)):
        half = math.isqrt(radius * radius - (y - centre_y) ** 2)
        run(rows[y], centre_x - half, centre_x + half + 1, colour)


def run(row: bytearray, start: int, end: int, colour: int) -> None:
    """One colour from ``start`` to before ``end``."""
    start, end = max(0, start), min(len(row), end)
    if start < end:
        row[start:end] = bytes((colour,)) * (end - start)


def label(rows: Rows, left: int, top: int, scale: int, colour: int) -> None:
    """The word "sandbox", LABEL_COLUMNS x LABEL_ROWS dots of ``scale`` pixels."""
    for position, letter in enumerate(LABEL):
        for line, bits in enumerate(_LETTERS[letter]):
            for column in range(5):
                if bits >> (4 - column) & 1:
                    start = left + (6 * position + column) * scale
                    for y in range(top + line * scale, min(len(rows), top + (line + 1) * scale)):
                        run(rows[y], start, start + scale, colour)


def label_scale(width: int, height: int) -> int:
    """How large a dot of the label is in a picture of this size; 0 = there is no room."""
    return min(max(1, min(width, height) // 160), width // (LABEL_COLUMNS + 4), height // 12)


def landscape(picture: Picture) -> Rows:
    """The picture as one byte a pixel: the numbers of palette entries."""
    width, height, seed = picture.width, picture.height, picture.seed
    if picture.transparent:
        rows = [bytearray(bytes((_CLEAR,)) * width) for _ in range(height)]
    else:
        slant = width // 4
        span = slant + height
        ramp = bytes(_SHADES * at // (span + width // 2) for at in range(span + width // 2))
        wide = bytes(value for value in ramp for _ in (0, 1))  # one step to the right is half a row
        rows = [bytearray(wide[2 * y : 2 * y + width]) for y in range(height)]
    if picture.detail >= 1:
        radius = min(width, height) * (8 + seed[0] % 8) // 100
        centre_x = width * (20 + seed[1] % 60) // 100
        disc(rows, centre_x, height * (18 + seed[2] % 18) // 100, radius, _SUN)
    for layer in range(picture.detail):
        _hills(rows, seed[3 + layer], layer, width, height)
    if picture.inner_width:
        _frame(rows, picture)
    scale = label_scale(width, height)
    if scale:
        left, top = 2 * scale, height - (LABEL_ROWS + 2) * scale
        label(rows, left + max(1, scale // 3), top + max(1, scale // 3), scale, SHADOW)
        label(rows, left, top, scale, INK)
    return rows


def _hills(rows: Rows, shape: int, layer: int, width: int, height: int) -> None:
    """Three peaks; nearer layers (larger numbers) are lower, darker and cover the others."""
    colour = _SHADES + layer
    base = height * (62 + 10 * layer) // 100
    for peak in range(3):
        top = base - height * (6 + (shape >> peak) % 16) // 100
        middle = width * ((shape * (peak + 3) + 37 * peak) % 100) // 100
        for y in range(max(0, top), min(height, base)):
            half = (y - top) * (2 + (shape + peak) % 3)
            run(rows[y], middle - half, middle + half, colour)
    for y in range(max(0, base), height):
        run(rows[y], 0, width, colour)


def _frame(rows: Rows, picture: Picture) -> None:
    """The outline of the picture that was edited, in its own proportions, in the middle."""
    width, height = picture.width, picture.height
    shrink = max(2 * picture.inner_width / width, 2 * picture.inner_height / height)
    inner_width = max(2, int(picture.inner_width / shrink))
    inner_height = max(2, int(picture.inner_height / shrink))
    left, top = (width - inner_width) // 2, (height - inner_height) // 2
    thick = max(1, min(width, height) // 128)
    for y in range(top, top + inner_height):
        if y - top < thick or top + inner_height - y <= thick:
            run(rows[y], left, left + inner_width, _FRAME)
        else:
            run(rows[y], left, left + thick, _FRAME)
            run(rows[y], left + inner_width - thick, left + inner_width, _FRAME)


def palette(seed: bytes) -> bytes:
    """256 times red, green and blue: a sky from one colour to the next, hills, light things."""
    hue = seed[6] / 256
    upper, lower = _colour(hue, 0.55, 0.75), _colour(hue + 0.08 + seed[7] / 1024, 0.35, 1.0)
    entries = [
        tuple(round(a + (b - a) * step / (_SHADES - 1)) for a, b in zip(upper, lower, strict=True))
        for step in range(_SHADES)
    ]
    for layer in range(256 - _SHADES):
        entries.append(_colour(hue + 0.3 + 0.05 * layer, 0.5, max(0.2, 0.7 - 0.16 * layer)))
    entries[INK], entries[SHADOW] = (255, 255, 255), (40, 40, 48)
    entries[_SUN], entries[_FRAME] = _colour(hue + 0.5, 0.25, 1.0), (250, 250, 240)
    return bytes(value for entry in entries for value in entry)


def _colour(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    """HSV, all 0 to 1 (hue wraps around), as bytes of red, green and blue."""

    def part(offset: float) -> int:
        at = (offset + hue * 6) % 6
        return round(255 * value * (1 - saturation * max(0.0, min(at, 4 - at, 1.0))))

    return part(5), part(3), part(1)


def _chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def _check(packed: bytes) -> bytes:
    return hashlib.blake2b(b"picture" + packed, digest_size=_CHECK_BYTES).digest()
