"""(pure) What kind of picture some bytes are, and how large: PNG, JPEG, WebP and GIF.

Reads structure, not pixels. A PNG's checksums are verified, because that is cheap; of the others
the head is believed.
"""

from __future__ import annotations

import struct
import zlib

import msgspec


class Probe(msgspec.Struct, frozen=True):
    kind: str
    width: int
    height: int


def picture(data: bytes) -> Probe | None:
    """None for what is no picture, broken, or without pixels."""
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            found = _png(data)
        elif data.startswith(b"\xff\xd8\xff"):
            found = _jpeg(data)
        elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            found = _webp(data)
        elif data[:6] in (b"GIF87a", b"GIF89a"):
            found = Probe("gif", *struct.unpack_from("<HH", data, 6))
        else:
            return None
    except (struct.error, IndexError):
        return None  # it ends too early
    return found if found is not None and found.width and found.height else None


def _png(data: bytes) -> Probe | None:
    offset = 8
    found: Probe | None = None
    pixels = False
    while offset < len(data):
        length, kind = struct.unpack_from(">I4s", data, offset)
        body_end = offset + 8 + length
        (check,) = struct.unpack_from(">I", data, body_end)
        if zlib.crc32(memoryview(data)[offset + 4 : body_end]) != check:
            return None
        if kind == b"IHDR" and offset == 8:
            found = Probe("png", *struct.unpack_from(">II", data, 16))
        pixels = pixels or kind == b"IDAT"
        if kind == b"IEND":
            return found if pixels else None
        offset = body_end + 4
    return None


def _jpeg(data: bytes) -> Probe | None:
    offset = 2
    while offset + 4 <= len(data):
        if data[offset] != 0xFF:
            return None
        marker = data[offset + 1]
        if marker == 0xFF:  # padding
            offset += 1
            continue
        (length,) = struct.unpack_from(">H", data, offset + 2)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, offset + 5)
            return Probe("jpeg", width, height)
        offset += 2 + length
    return None


def _webp(data: bytes) -> Probe | None:
    match data[12:16]:
        case b"VP8X":
            return Probe(
                "webp",
                int.from_bytes(data[24:27], "little") + 1,
                int.from_bytes(data[27:30], "little") + 1,
            )
        case b"VP8L" if data[20] == 0x2F:
            (bits,) = struct.unpack_from("<I", data, 21)
            return Probe("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
        case b"VP8 " if data[23:26] == b"\x9d\x01\x2a":
            width, height = struct.unpack_from("<HH", data, 26)
            return Probe("webp", width & 0x3FFF, height & 0x3FFF)
        case _:
            return None
