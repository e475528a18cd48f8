"""The journal's bytes: segment header, frames, and how to tell a torn tail from corruption. Pure.

A segment is a 128-byte header, then frames ``u32 length, u32 crc32, payload`` (little endian), then
the zeros of the preallocated rest. The header names the worker, the number and the SHA-256 of the
whole content of the previous segment; that hash is filled in once the previous one is on disk, so
only the last segment of a journal may lack it.

A position in the journal is one integer, ``segment << 40 | offset``: it orders like time.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple
from zlib import crc32

MAGIC = b"TMJOURN1"
HEADER_BYTES = 128
HASH_AT = 64  # offset of the previous segment's hash
NO_HASH = bytes(32)
FRAME_BYTES_MAX = 16 << 20  # a stored answer is 256 kB; anything near this is garbage
SEGMENT_SHIFT = 40

_HEADER = struct.Struct("<8sI32sI16x")  # magic, segment, worker id, crc of the first 44 bytes
_FRAME = struct.Struct("<II")
_pack = _FRAME.pack
# (buffer, offset, length, crc): what stands before a payload, written after it
put_frame_header = _FRAME.pack_into


class JournalCorrupt(Exception):
    """The bytes cannot be trusted: nothing is adopted automatically, a person must look."""


class Frame(NamedTuple):
    """``start`` and ``end`` are offsets inside the segment."""

    start: int
    end: int
    payload: bytes


def frame(payload: bytes) -> bytes:
    """The payload as it stands in the file."""
    return _pack(len(payload), crc32(payload)) + payload


def position(segment: int, offset: int) -> int:
    """One integer for a place in the journal."""
    return segment << SEGMENT_SHIFT | offset


def segment_of(place: int) -> int:
    return place >> SEGMENT_SHIFT


def offset_of(place: int) -> int:
    return place & ((1 << SEGMENT_SHIFT) - 1)


def header(worker_id: str, segment: int) -> bytes:
    """A header without the previous hash. ``worker_id``: at most 32 ASCII characters."""
    name = worker_id.encode("ascii")
    if not 0 < len(name) <= 32:
        raise ValueError(f"a worker id has 1 to 32 ASCII characters, not {worker_id!r}")
    checked = struct.pack("<8sI32s", MAGIC, segment, name)
    return _HEADER.pack(MAGIC, segment, name, crc32(checked)) + bytes(64)


def read_header(content: bytes, worker_id: str, segment: int) -> bytes:
    """Checks the header and returns the previous segment's hash. Raises JournalCorrupt."""
    if content[:HASH_AT] != header(worker_id, segment)[:HASH_AT]:
        raise JournalCorrupt(f"segment {segment} of {worker_id} has a foreign or damaged header")
    return content[HASH_AT : HASH_AT + 32]


def _frame_at(content: bytes, offset: int) -> Frame | None:
    if offset + 8 > len(content):
        return None
    length, crc = _FRAME.unpack_from(content, offset)
    end = offset + 8 + length
    if not 0 < length <= FRAME_BYTES_MAX or end > len(content):
        return None
    payload = content[offset + 8 : end]
    return Frame(offset, end, payload) if crc32(payload) == crc else None


def frames(content: bytes, *, last: bool) -> Iterator[Frame]:
    """The frames of a segment, header included in ``content``.

    The first bad frame ends the reading. It is a torn tail only in the last segment, and only if
    nothing valid follows it; everything else raises JournalCorrupt.
    """
    offset = HEADER_BYTES
    while (found := _frame_at(content, offset)) is not None:
        yield found
        offset = found.end
    used = len(content.rstrip(b"\0"))
    if used <= offset:
        return
    if not last:
        raise JournalCorrupt(f"bad frame at byte {offset} of a finished segment")
    for later in range(offset + 1, used):
        if _frame_at(content, later) is not None:
            raise JournalCorrupt(f"bad frame at byte {offset}, a good one at byte {later}")
