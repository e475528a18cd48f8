"""(pure) Files around samples and frames: WAV, FLAC and MP3, each with the spoken text inside.

The text is a comment (WAV: LIST/INFO, FLAC: Vorbis comment, MP3: ID3), which ``hearing`` reads
back: what the sandbox spoke, it can transcribe. All are mono at 24 kHz, 16 bit.
"""

from __future__ import annotations

import hashlib
import struct

RATE = 24_000
TAG = "sandbox-text"
MAKER = b"tokenmarket sandbox"


def wav_head(text: str, data_bytes: int) -> bytes:
    """Everything before the samples of a WAV file."""
    info = b"INFO" + _info(b"ISFT", MAKER) + _info(b"ICMT", text.encode())
    form = struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)
    chunks = b"WAVEfmt " + struct.pack("<I", len(form)) + form
    chunks += b"LIST" + struct.pack("<I", len(info)) + info
    chunks += b"data" + struct.pack("<I", data_bytes)
    return b"RIFF" + struct.pack("<I", len(chunks) + data_bytes) + chunks


def _info(name: bytes, value: bytes) -> bytes:
    value += b"\0"
    return name + struct.pack("<I", len(value)) + value + b"\0" * (len(value) % 2)


def id3_head(text: str) -> bytes:
    """An ID3v2.3 tag to put before MP3 frames."""
    body = b"\x01" + f"{TAG}\0".encode("utf-16") + text.encode("utf-16")
    tag = b"TXXX" + struct.pack(">I", len(body)) + b"\0\0" + body
    size = len(tag)
    return b"ID3\x03\0\0" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + tag


def flac_head(text: str, blocks: list[bytes], block_samples: int) -> bytes:
    """Everything before the frames of a FLAC file. ``blocks``: the samples, little-endian."""
    digest = hashlib.md5(usedforsecurity=False)
    for block in blocks:
        digest.update(block)
    total = len(blocks) * block_samples
    packed = RATE << 44 | 0 << 41 | 15 << 36 | total
    info = struct.pack(">HH", block_samples, block_samples) + bytes(6)
    info += packed.to_bytes(8, "big") + digest.digest()
    comment = f"{TAG}={text}".encode()
    comments = struct.pack("<I", len(MAKER)) + MAKER
    comments += struct.pack("<II", 1, len(comment)) + comment
    return b"fLaC%b%b%b%b" % (
        struct.pack(">I", len(info)),
        info,
        struct.pack(">I", 0x84 << 24 | len(comments)),
        comments,
    )


class FlacFrames:
    """Frames of the same length, uncompressed; the checksum of a repeated block is kept."""

    def __init__(self, block_samples: int) -> None:
        self._samples = block_samples
        self._bodies: dict[bytes, tuple[bytes, int]] = {}
        self._power = _power(8 * (1 + 2 * block_samples))
        self._number = 0

    def frame(self, block: bytes) -> bytes:
        """The next frame. ``block``: the samples, little-endian."""
        body, check = self._body(block)
        head = b"\xff\xf8\x77\x08" + _number(self._number) + struct.pack(">H", self._samples - 1)
        head += bytes((_crc8(head),))
        self._number += 1
        # The checksum of head and body is that of the head, moved past the body, plus the body's.
        whole = _times(_crc16(head), self._power) ^ check
        return head + body + struct.pack(">H", whole)

    def _body(self, block: bytes) -> tuple[bytes, int]:
        found = self._bodies.get(block)
        if found is None:
            swapped = bytearray(block)
            swapped[0::2], swapped[1::2] = block[1::2], block[0::2]
            body = b"\x02" + bytes(swapped)  # one verbatim subframe
            found = self._bodies[block] = (body, _crc16(body))
        return found


def _number(value: int) -> bytes:
    """A frame's number, coded like a character in UTF-8."""
    if value < 0x80:
        return bytes((value,))
    if value < 0x800:
        return bytes((0xC0 | value >> 6, 0x80 | value & 0x3F))
    return bytes((0xE0 | value >> 12, 0x80 | value >> 6 & 0x3F, 0x80 | value & 0x3F))


_POLYNOMIAL = 0x18005


def _table(polynomial: int, bits: int) -> tuple[int, ...]:
    found: list[int] = []
    for byte in range(256):
        value = byte << (bits - 8)
        for _ in range(8):
            value = value << 1 ^ (polynomial if value >> (bits - 1) else 0)
        found.append(value)
    return tuple(found)


_TABLE_8 = _table(0x107, 8)
_TABLE_16 = _table(_POLYNOMIAL, 16)


def _crc8(data: bytes) -> int:
    value = 0
    for byte in data:
        value = _TABLE_8[value ^ byte]
    return value


def _crc16(data: bytes) -> int:
    value = 0
    for byte in data:
        value = (value << 8 & 0xFF00) ^ _TABLE_16[value >> 8 ^ byte]
    return value


def _times(left: int, right: int) -> int:
    """The product of two polynomials over bits, modulo the checksum's."""
    product = 0
    while right:
        if right & 1:
            product ^= left
        left <<= 1
        if left & 0x10000:
            left ^= _POLYNOMIAL
        right >>= 1
    return product


def _power(exponent: int) -> int:
    """x to the ``exponent``, modulo the checksum's polynomial."""
    result, base = 1, 2
    while exponent:
        if exponent & 1:
            result = _times(result, base)
        base = _times(base, base)
        exponent >>= 1
    return result
