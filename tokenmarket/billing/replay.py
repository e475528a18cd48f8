"""Reads a journal back: which records came after the cursor, and which requests never ended.

Reading begins at the segment that holds the cursor; its checkpoint says what was open before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from tokenmarket.billing.frames import (
    HEADER_BYTES,
    NO_HASH,
    JournalCorrupt,
    frames,
    position,
    read_header,
    segment_of,
)
from tokenmarket.billing.journal import segment_path
from tokenmarket.billing.records import C, End, H, P, Record, S, V, decode

ADOPTED = 1 << 62  # the cursor of a journal whose owner is dead and whose story is told


class Ending(NamedTuple):
    """A record that ends a request, with the position after it and the hold it ends (not for R)."""

    place: int
    record: End
    hold: H | None


class Story(NamedTuple):
    """What a dead worker left: ends to post, and holds without an end with their last progress."""

    endings: list[Ending]
    open_holds: list[tuple[H, P | None]]
    end: int


def segments(directory: Path) -> list[int]:
    """Numbers of the segments there, ascending. JournalCorrupt if one is missing between."""
    numbers = sorted(int(p.stem) for p in directory.glob("*.tmj") if p.stem.isdecimal())
    if numbers and numbers != list(range(numbers[0], numbers[-1] + 1)):
        raise JournalCorrupt(f"{directory}: a segment between others is missing")
    return numbers


def records(directory: Path, worker_id: str, first: int) -> Iterator[tuple[int, Record]]:
    """(position after it, record) from segment ``first`` on. Raises JournalCorrupt, OSError."""
    numbers = [n for n in segments(directory) if n >= first]
    if numbers and numbers[0] != max(first, 1):
        raise JournalCorrupt(f"{directory}: segment {first} is missing")
    last_used = _last_used(directory, numbers)
    before: bytes | None = None  # hash of the previous segment's content
    unsealed = False
    for number in numbers:
        content = segment_path(directory, number).read_bytes()
        if number > last_used and not content.strip(b"\0"):
            return  # made, but its header never reached the disk
        sealed_by = read_header(content, worker_id, number)
        # seals are written in order, so after one that is missing none can follow
        if before is not None:
            if sealed_by == NO_HASH:
                unsealed = True
            elif unsealed or sealed_by != before:
                raise JournalCorrupt(f"{directory}: segment {number - 1} is not what was sealed")
        for found in frames(content, last=number >= last_used):
            try:
                record = decode(found.payload)
            except msgspec.MsgspecError as error:
                raise JournalCorrupt(f"{directory}: unknown record in {number}: {error}") from error
            yield position(number, found.end), record
        before = hashlib.sha256(content).digest()


def _last_used(directory: Path, numbers: list[int]) -> int:
    """The last segment with a frame: what comes after it was made ahead and never written to."""
    for number in reversed(numbers):
        with segment_path(directory, number).open("rb") as file:
            if file.read(HEADER_BYTES + 8)[HEADER_BYTES:].strip(b"\0"):
                return number
    return 0


def tell(directory: Path, worker_id: str, cursor: int) -> Story:
    """Everything after ``cursor``. Raises JournalCorrupt, OSError."""
    holds: dict[str, H] = {}
    progress: dict[str, P] = {}
    endings: list[Ending] = []
    end = 0
    for place, record in records(directory, worker_id, segment_of(cursor) or 1):
        end = max(end, place)
        if isinstance(record, H):
            holds[record.request_id] = record
        elif isinstance(record, P):
            progress[record.request_id] = record
        elif isinstance(record, C):
            # only what this reader has not seen: later records may have moved on
            for hold in record.open_holds:
                holds.setdefault(hold.request_id, hold)
            for step in record.progress:
                progress.setdefault(step.request_id, step)
        else:
            hold = holds.pop(record.request_id, None) if isinstance(record, S | V) else None
            progress.pop(record.request_id, None)
            if place > cursor:
                endings.append(Ending(place, record, hold))
    opened = [(hold, progress.get(hold.request_id)) for hold in holds.values()]
    return Story(endings, opened, end)


def start_position() -> int:
    """Where the cursor of a new journal stands."""
    return position(1, HEADER_BYTES)
