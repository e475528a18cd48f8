"""MP4, M4A and MOV: boxes, the movie header, tracks and fragments.

Source: ISO/IEC 14496-12 (ISO base media file format); Apple's QuickTime File Format for MOV. The
path through the boxes is fixed, nothing recurses, and every box is at least as long as its header.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from tokenmarket.core.media.reader import Bounded, MediaError

TRACKS_MAX = 64

_BOXES_MAX = 4000  # in one parent; top level of a fragmented film has two per fragment
_TABLE_ENTRIES_MAX = 4000
_UNKNOWN = (0, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF)


class Box(msgspec.Struct, frozen=True):
    """One box: ``begin`` is the first byte after its header, ``end`` the first after the box.

    ``cut``: it claims to be longer than what is around it.
    """

    kind: bytes
    begin: int
    end: int
    cut: bool


class Track(msgspec.Struct):
    """What a ``trak`` says. Durations in ms, None where unknown; ``kind`` is soun, vide …"""

    track_id: int = 0
    kind: bytes = b""
    timescale: int = 0
    media_ms: int | None = None  # of all samples
    played_ms: int | None = None  # by the edit list, if there is one
    width: int = 0
    height: int = 0
    samples: int = 0
    samples_ticks: int = 0
    default_ticks: int = 0  # per sample, in fragments

    @property
    def duration_ms(self) -> int | None:
        """The edited length where there is an edit list, else that of all samples."""
        return self.media_ms if self.played_ms is None else self.played_ms


class Movie(msgspec.Struct):
    """What a file says of itself. ``header_ms`` is that of ``mvhd`` or ``mehd``."""

    tracks: list[Track]
    timescale: int = 0
    header_ms: int | None = None
    fragmented: bool = False

    @property
    def duration_ms(self) -> int | None:
        """The longest sound or picture track; the header's word where no track has one."""
        known = [
            track.duration_ms
            for track in self.tracks
            if track.kind in (b"soun", b"vide") and track.duration_ms
        ]
        return max(known, default=self.header_ms)


def boxes(source: Bounded, begin: int, end: int) -> Iterator[Box]:
    """The boxes between two places. Only at the top may the last one be cut, with the file."""
    at = begin
    for _ in range(_BOXES_MAX):
        if at + 8 > end:
            return
        head = source.take(at, 8)
        length, header = int.from_bytes(head[:4], "big"), 8
        if length == 1:
            length, header = int.from_bytes(source.take(at + 8, 8), "big"), 16
        elif length == 0:
            length = end - at
        if length < header:
            raise MediaError("video/mp4: a box is shorter than its header")
        cut = at + length > end
        if cut and begin:
            raise MediaError("video/mp4: a box is longer than the one around it")
        yield Box(head[4:], at + header, min(at + length, end), cut)
        at += length
    raise MediaError("video/mp4: too many boxes")


def mp4_ms(source: Bounded) -> int | None:
    """How long the film or sound plays, None if nothing says so."""
    return read_movie(source).duration_ms


def read_movie(source: Bounded) -> Movie:
    """The ``moov`` box, wherever it is, and the lengths of fragments. MediaError without one."""
    movie: Movie | None = None
    fragments: list[Box] = []
    for box in boxes(source, 0, source.size):
        if box.kind == b"moov" and movie is None:
            if box.cut:
                raise MediaError("video/mp4: the file ends inside its moov box")
            movie = _movie(source, box)
            if not movie.fragmented:
                return movie
        elif box.kind == b"moof" and not box.cut:
            fragments.append(box)
    if movie is None:
        raise MediaError("video/mp4: no moov box")
    _add_fragments(source, movie, fragments)
    return movie


def _movie(source: Bounded, moov: Box) -> Movie:
    movie = Movie([])
    traks: list[Box] = []
    defaults: dict[int, int] = {}
    for box in boxes(source, moov.begin, moov.end):
        if box.kind == b"mvhd":
            movie.timescale, duration = _times(source, box)
            movie.header_ms = _ms(duration, movie.timescale)
        elif box.kind == b"trak" and len(traks) < TRACKS_MAX:
            traks.append(box)
        elif box.kind == b"mvex":
            movie.fragmented = True
            for inner in boxes(source, box.begin, box.end):
                if inner.kind == b"mehd":
                    version = source.take(inner.begin, 1)[0]
                    ticks = _number(source, inner.begin + 4, 8 if version else 4)
                    movie.header_ms = _ms(ticks, movie.timescale) or movie.header_ms
                elif inner.kind == b"trex" and len(defaults) < TRACKS_MAX:
                    fields = source.take(inner.begin, 16)
                    defaults[int.from_bytes(fields[4:8], "big")] = int.from_bytes(
                        fields[12:16], "big"
                    )
    for trak in traks:
        track = _track(source, trak, movie.timescale)
        track.default_ticks = defaults.get(track.track_id, 0)
        movie.tracks.append(track)
    return movie


def _number(source: Bounded, at: int, length: int) -> int:
    return int.from_bytes(source.take(at, length), "big")


def _ms(ticks: int, timescale: int) -> int | None:
    if ticks in _UNKNOWN or not timescale:
        return None
    return ticks * 1000 // timescale


def _times(source: Bounded, box: Box) -> tuple[int, int]:
    """Timescale and duration of an mvhd or mdhd."""
    if source.take(box.begin, 1)[0] == 1:
        return _number(source, box.begin + 20, 4), _number(source, box.begin + 24, 8)
    return _number(source, box.begin + 12, 4), _number(source, box.begin + 16, 4)


def _track(source: Bounded, trak: Box, movie_timescale: int) -> Track:
    track = Track()
    for box in boxes(source, trak.begin, trak.end):
        if box.kind == b"tkhd":
            _track_header(source, box, track)
        elif box.kind == b"edts":
            for inner in boxes(source, box.begin, box.end):
                if inner.kind == b"elst":
                    track.played_ms = _edited_ms(source, inner, movie_timescale)
        elif box.kind == b"mdia":
            _media(source, box, track)
    return track


def _track_header(source: Bounded, box: Box, track: Track) -> None:
    """Size in 16.16 fixed point; a matrix that turns by a quarter swaps the sides."""
    wide = source.take(box.begin, 1)[0] == 1
    track.track_id = _number(source, box.begin + (20 if wide else 12), 4)
    fields = source.take(box.begin + (52 if wide else 40), 44)
    width, height = (int.from_bytes(fields[i : i + 2], "big") for i in (36, 40))
    turned = fields[0:4] == fields[16:20] == bytes(4) and fields[4:8] != bytes(4)
    track.width, track.height = (height, width) if turned else (width, height)


def _edited_ms(source: Bounded, box: Box, timescale: int) -> int | None:
    version = source.take(box.begin, 1)[0]
    field = 8 if version else 4
    ticks, at = 0, box.begin + 8
    for _ in range(min(_number(source, box.begin + 4, 4), _TABLE_ENTRIES_MAX)):
        if at + 2 * field + 4 > box.end:
            break
        ticks += _number(source, at, field)
        at += 2 * field + 4
    return _ms(ticks, timescale)


def _media(source: Bounded, mdia: Box, track: Track) -> None:
    tables: list[Box] = []
    for box in boxes(source, mdia.begin, mdia.end):
        if box.kind == b"mdhd":
            track.timescale, duration = _times(source, box)
            track.media_ms = _ms(duration, track.timescale)
        elif box.kind == b"hdlr":
            track.kind = source.take(box.begin + 8, 4)
        elif box.kind == b"minf":
            for inner in boxes(source, box.begin, box.end):
                if inner.kind == b"stbl":
                    tables.extend(boxes(source, inner.begin, inner.end))
    for box in tables:
        if box.kind == b"stts":
            _sample_times(source, box, track)
        elif box.kind == b"stsd" and track.kind == b"vide" and not track.width:
            entry = source.take(box.begin + 8, 36)
            track.width, track.height = (int.from_bytes(entry[i : i + 2], "big") for i in (32, 34))
    if track.samples_ticks:
        # The samples decide: a decoder plays them, whatever the header says.
        track.media_ms = _ms(track.samples_ticks, track.timescale) or track.media_ms


def _sample_times(source: Bounded, box: Box, track: Track) -> None:
    """Number of samples and their ticks; left alone when the table is longer than is read."""
    count = _number(source, box.begin + 4, 4)
    if count > _TABLE_ENTRIES_MAX or box.begin + 8 + 8 * count > box.end:
        return
    table = source.take(box.begin + 8, 8 * count) if count else b""
    for at in range(0, len(table), 8):
        samples = int.from_bytes(table[at : at + 4], "big")
        track.samples += samples
        track.samples_ticks += samples * int.from_bytes(table[at + 4 : at + 8], "big")


def _add_fragments(source: Bounded, movie: Movie, fragments: list[Box]) -> None:
    """The last fragment of each track says where it begins (``tfdt``) and how long it is.

    Only the last few are read; a track that is not among them keeps what the headers say.
    """
    by_id = {track.track_id: track for track in movie.tracks}
    done: set[int] = set()
    for moof in reversed(fragments[-2 * TRACKS_MAX :]):
        for traf in boxes(source, moof.begin, moof.end):
            if traf.kind != b"traf":
                continue
            track_id, end_ticks = _fragment_end(source, traf, by_id)
            track = by_id.get(track_id)
            if track is not None and end_ticks is not None and track_id not in done:
                done.add(track_id)
                track.media_ms = _ms(end_ticks, track.timescale) or track.media_ms
        if len(done) == len(by_id):
            return


def _fragment_end(source: Bounded, traf: Box, by_id: dict[int, Track]) -> tuple[int, int | None]:
    track_id, default, start, ticks = 0, 0, None, 0
    for box in boxes(source, traf.begin, traf.end):
        if box.kind == b"tfhd":
            flags = _number(source, box.begin, 4) & 0xFF_FFFF
            track_id = _number(source, box.begin + 4, 4)
            track = by_id.get(track_id)
            default = 0 if track is None else track.default_ticks
            if flags & 0x08:
                at = box.begin + 8 + (8 if flags & 0x01 else 0) + (4 if flags & 0x02 else 0)
                default = _number(source, at, 4)
        elif box.kind == b"tfdt":
            start = _number(source, box.begin + 4, 8 if source.take(box.begin, 1)[0] else 4)
        elif box.kind == b"trun":
            ticks += _run_ticks(source, box, default)
    return track_id, None if start is None else start + ticks


def _run_ticks(source: Bounded, box: Box, default: int) -> int:
    flags = _number(source, box.begin, 4) & 0xFF_FFFF
    count = _number(source, box.begin + 4, 4)
    if not flags & 0x100:  # no duration of their own
        return count * default
    entry = 4 * (flags >> 8 & 15).bit_count()
    at = box.begin + 8 + (4 if flags & 0x01 else 0) + (4 if flags & 0x04 else 0)
    count = min(count, _TABLE_ENTRIES_MAX, max(0, box.end - at) // entry)
    table = source.take(at, count * entry) if count else b""
    return sum(int.from_bytes(table[i : i + 4], "big") for i in range(0, len(table), entry))
