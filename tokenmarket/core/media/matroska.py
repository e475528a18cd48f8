"""WebM and Matroska: elements, the segment's info, tracks, and the end of the last cluster.

Source: RFC 8794 (EBML), RFC 9559 (Matroska). Recorders that stream (browsers) write no duration and
clusters of unknown length; then the last cluster's last block tells how long the file is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

from tokenmarket.core.media.reader import Bounded, MediaError

_EBML, _SEGMENT, _INFO, _TRACKS, _CLUSTER = (
    0x1A45DFA3,
    0x18538067,
    0x1549A966,
    0x1654AE6B,
    0x1F43B675,
)
_SCALE, _DURATION = 0x2AD7B1, 0x4489
_TRACK, _TRACK_TYPE, _FRAME_NS, _VIDEO = 0xAE, 0x83, 0x23E383, 0xE0
_WIDTH, _HEIGHT = 0xB0, 0xBA
_TIMESTAMP, _SIMPLE_BLOCK, _BLOCK_GROUP, _BLOCK, _BLOCK_DURATION = 0xE7, 0xA3, 0xA0, 0xA1, 0x9B
_WHOLE = {_EBML, _INFO, _TRACKS}
_TYPES = {1: "video", 2: "audio"}

_ELEMENTS_MAX = 4000
_TRACKS_MAX = 64
_TAIL_BYTES_MAX = 2 * 1024 * 1024
_PIECE_BYTES = 128 * 1024
_CLUSTER_TRIES_MAX = 8  # the four bytes also happen inside sound and pictures


class Element(msgspec.Struct, frozen=True):
    """One element; ``end`` is that of its parent where it does not say its length.

    ``cut``: it claims to be longer than its parent. Only clusters and the segment may be.
    """

    id: int
    begin: int
    end: int
    cut: bool = False


class TrackEntry(msgspec.Struct):
    """``kind`` is "video", "audio" or ""; ``frame_ns`` the time of one frame, 0 if not said."""

    kind: str = ""
    frame_ns: int = 0
    width: int = 0
    height: int = 0


class Segment(msgspec.Struct):
    """What a file says of itself."""

    doc_type: str
    tracks: list[TrackEntry]
    scale_ns: int = 1_000_000
    duration_ms: int | None = None


def elements(source: Bounded, begin: int, end: int) -> Iterator[Element]:
    """The elements between two places; one of unknown length reaches to the end."""
    at = begin
    for _ in range(_ELEMENTS_MAX):
        if at + 2 > end:
            return
        element = _element(source.some(at, 12), at, end)
        yield element
        at = element.end
    raise MediaError("video/webm: too many elements")


def _element(head: bytes, at: int, end: int) -> Element:
    id_bytes = 9 - head[0].bit_length() if head else 9
    if id_bytes > 4 or len(head) <= id_bytes:
        raise MediaError("video/webm: no element where one must be")
    size_bytes = 9 - head[id_bytes].bit_length()
    header = id_bytes + size_bytes
    if size_bytes > 8 or len(head) < header:
        raise MediaError("video/webm: an element has no length")
    all_ones = (1 << 7 * size_bytes) - 1
    size = int.from_bytes(head[id_bytes:header], "big") & all_ones
    stop = end if size == all_ones else at + header + size
    code = int.from_bytes(head[:id_bytes], "big")
    cut = stop > end or at + header > end
    if cut and code in _WHOLE:
        raise MediaError("video/webm: the file ends inside its headers")
    return Element(code, min(at + header, end), min(stop, end), cut)


def _unsigned(source: Bounded, element: Element) -> int:
    if element.cut:
        raise MediaError("video/webm: a number is longer than what is around it")
    return int.from_bytes(source.take(element.begin, min(element.end - element.begin, 8)), "big")


def matroska_ms(source: Bounded) -> int | None:
    """How long the file plays, or None."""
    return read_segment(source).duration_ms


def read_segment(source: Bounded) -> Segment:
    """Info and tracks; the duration from the last cluster where the info has none."""
    top = elements(source, 0, source.size)
    header = next(top, None)
    if header is None or header.id != _EBML:
        raise MediaError("video/webm: does not begin with an EBML header")
    doc_type = ""
    for element in elements(source, header.begin, header.end):
        if element.id == 0x4282:
            doc_type = source.take(element.begin, min(element.end - element.begin, 16)).decode(
                "ascii", "replace"
            )
    segment = Segment(doc_type.rstrip("\x00"), [])
    body = next((element for element in top if element.id == _SEGMENT), None)
    if body is None:
        raise MediaError("video/webm: no segment")
    for element in elements(source, body.begin, body.end):
        if element.id == _INFO:
            _info(source, element, segment)
        elif element.id == _TRACKS:
            _tracks(source, element, segment)
        elif element.id == _CLUSTER:
            break  # info and tracks stand before the first cluster, or nobody could play it
    if segment.duration_ms is None:
        segment.duration_ms = _last_block_ms(source, body, segment)
    return segment


def _info(source: Bounded, info: Element, segment: Segment) -> None:
    ticks = None
    for element in elements(source, info.begin, info.end):
        if element.id == _SCALE:
            segment.scale_ns = _unsigned(source, element) or segment.scale_ns
        elif element.id == _DURATION and element.end - element.begin in (4, 8):
            data = source.take(element.begin, element.end - element.begin)
            ticks = struct.unpack(">f" if len(data) == 4 else ">d", data)[0]
    if ticks is not None and 0 < ticks < 1e18:  # NaN and infinity are not
        segment.duration_ms = int(ticks * segment.scale_ns / 1_000_000)


def _tracks(source: Bounded, tracks: Element, segment: Segment) -> None:
    for entry in elements(source, tracks.begin, tracks.end):
        if entry.id != _TRACK or len(segment.tracks) >= _TRACKS_MAX:
            continue
        track = TrackEntry()
        for element in elements(source, entry.begin, entry.end):
            if element.id == _TRACK_TYPE:
                track.kind = _TYPES.get(_unsigned(source, element), "")
            elif element.id == _FRAME_NS:
                track.frame_ns = _unsigned(source, element)
            elif element.id == _VIDEO:
                for field in elements(source, element.begin, element.end):
                    if field.id == _WIDTH:
                        track.width = _unsigned(source, field)
                    elif field.id == _HEIGHT:
                        track.height = _unsigned(source, field)
        segment.tracks.append(track)


def _last_block_ms(source: Bounded, body: Element, segment: Segment) -> int | None:
    """Looks from the end for a cluster that can be read, and in it for the latest block."""
    floor = max(body.begin, source.size - _TAIL_BYTES_MAX)
    end, tries = source.size, _CLUSTER_TRIES_MAX
    while end > floor:
        begin = max(floor, end - _PIECE_BYTES)
        data = source.some(begin, min(_PIECE_BYTES + 3, source.size - begin))
        at = len(data)
        while (at := data.rfind(b"\x1f\x43\xb6\x75", 0, at)) >= 0:
            ticks = _cluster_end(source, begin + at, segment)
            if ticks is not None:
                return ticks * segment.scale_ns // 1_000_000
            tries -= 1
            if not tries:
                return None
        end = begin
    return None


def _cluster_end(source: Bounded, at: int, segment: Segment) -> int | None:
    """Ticks at which the latest block of this cluster ends; None if it is no cluster."""
    start, latest, before, lasts = None, None, None, 0
    try:
        cluster = _element(source.some(at, 12), at, source.size)
        for element in elements(source, cluster.begin, cluster.end):
            if element.id == _TIMESTAMP:
                start = _unsigned(source, element)
                continue
            if element.id not in (_SIMPLE_BLOCK, _BLOCK_GROUP):
                continue
            relative, duration = _block(source, element)
            if relative is not None and (latest is None or relative >= latest):
                before = latest if latest != relative else before
                latest, lasts = relative, duration
    except MediaError:
        pass  # the file is cut inside the cluster: what was read counts
    if start is None:
        return None
    if latest is None:
        return start
    if not lasts:
        frame_ns = max((track.frame_ns for track in segment.tracks), default=0)
        lasts = frame_ns // segment.scale_ns if frame_ns else latest - (before or latest)
    return start + latest + lasts


def _block(source: Bounded, element: Element) -> tuple[int | None, int]:
    """A block's time within its cluster, and how long it lasts (0: not said)."""
    if element.id == _SIMPLE_BLOCK:
        return _relative(source, element), 0
    relative, duration = None, 0
    for inner in elements(source, element.begin, element.end):
        if inner.id == _BLOCK:
            relative = _relative(source, inner)
        elif inner.id == _BLOCK_DURATION:
            duration = _unsigned(source, inner)
    return relative, duration


def _relative(source: Bounded, block: Element) -> int | None:
    """After the track's number (one byte for the first 127) two bytes with a sign."""
    head = source.some(block.begin, 10)
    number_bytes = 9 - head[0].bit_length() if head else 9
    field = head[number_bytes : number_bytes + 2]
    return int.from_bytes(field, "big", signed=True) if len(field) == 2 else None
