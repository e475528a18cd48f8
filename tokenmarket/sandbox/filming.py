"""(pure) Films: a paper plane crosses a landscape, as a real MP4 that browsers play.

The landscape is a ``painting``; only the macroblocks that the plane touches are written anew in
each picture, so that 12 seconds stay within a few megabytes without any compression.
"""

from __future__ import annotations

import math
import struct
from functools import lru_cache

import msgspec

from tokenmarket.sandbox.h264 import MACROBLOCK, Stream
from tokenmarket.sandbox.painting import INK, SHADOW, Picture, Rows, landscape, palette, run

_TOP, _BELOW = INK, SHADOW
_MOVIE_SCALE = 1000
_UNITY = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


class Film(msgspec.Struct, frozen=True):
    seed: bytes
    width: int
    height: int
    seconds: int
    fps: int

    @property
    def poster(self) -> Picture:
        """The landscape alone."""
        return Picture(self.seed, self.width, self.height)


@lru_cache(maxsize=4)
def mp4(film: Film) -> bytes:
    """The whole file, head first."""
    stream = Stream(film.width, film.height)
    canvas = _Canvas(film, stream)
    pictures = [stream.first([canvas.block(at) for at in range(stream.columns * stream.rows)])]
    total = film.seconds * film.fps
    before: set[int] = set()
    for number in range(1, total):
        touched = canvas.fly(number / total)
        pictures.append(
            stream.later(number, {at: canvas.block(at) for at in sorted(touched | before)})
        )
        before = touched
    samples = [struct.pack(">I", len(picture)) + picture for picture in pictures]
    head = _box(b"ftyp", b"isom", struct.pack(">I", 0x200), b"isomiso2avc1mp41")
    offset = len(head) + len(_movie(film, stream, samples, 0)) + 8
    return head + _movie(film, stream, samples, offset) + _box(b"mdat", *samples)


class _Canvas:
    """The picture of the moment in palette colours, and its macroblocks in luma and chroma."""

    def __init__(self, film: Film, stream: Stream) -> None:
        width, height = stream.columns * MACROBLOCK, stream.rows * MACROBLOCK
        rows = landscape(film.poster)
        rows = [row + row[-1:] * (width - film.width) for row in rows]
        rows += [bytearray(rows[-1]) for _ in range(height - film.height)]
        self._film = film
        self._columns = stream.columns
        self._empty = rows
        self._rows: Rows = [bytearray(row) for row in rows]
        self._drawn = range(0)
        self._tables = _tables(palette(film.seed))

    def block(self, position: int) -> bytes:
        """The macroblock as raw samples."""
        top, left = (MACROBLOCK * at for at in divmod(position, self._columns))
        end = left + MACROBLOCK
        luma, blue, red = self._tables
        rows = [row[left:end] for row in self._rows[top : top + MACROBLOCK]]
        thinned = b"".join(row[::2] for row in rows[::2])
        whole = b"".join(rows).translate(luma)
        return whole + thinned.translate(blue) + thinned.translate(red)

    def fly(self, done: float) -> set[int]:
        """Draws the plane where it is after this share of the film, and nowhere else.

        Returns the positions of the macroblocks that it touches.
        """
        for y in self._drawn:
            self._rows[y][:] = self._empty[y]
        width, height = self._film.width, self._film.height
        size = max(4, min(24, height // 14))
        x = size + int((width - 2 * size) * done)
        y = int(height * (0.5 - 0.22 * done + 0.06 * math.sin(9 * done + self._film.seed[1])))
        y = max(size, min(height - size - 1, y))
        self._drawn = range(y - size, y + size // 2)
        for at in self._drawn:
            down = at - y
            if down <= 0:
                run(self._rows[at], x - size, x + size + 2 * down, _TOP)
            else:
                run(self._rows[at], x - size + 3 * down, x + size - 2 * down, _BELOW)
        across = range(max(0, x - size) // MACROBLOCK, (x + size - 1) // MACROBLOCK + 1)
        along = range((y - size) // MACROBLOCK, (y + size // 2) // MACROBLOCK + 1)
        return {row * self._columns + column for row in along for column in across}


def _tables(colours: bytes) -> tuple[bytes, bytes, bytes]:
    """Palette entry -> luma, blue and red chroma (BT.601, studio range)."""
    found = (bytearray(), bytearray(), bytearray())
    for at in range(0, len(colours), 3):
        red, green, blue = colours[at : at + 3]
        found[0].append(16 + (66 * red + 129 * green + 25 * blue + 128 >> 8))
        found[1].append(128 + (-38 * red - 74 * green + 112 * blue + 128 >> 8))
        found[2].append(128 + (112 * red - 94 * green - 18 * blue + 128 >> 8))
    return bytes(found[0]), bytes(found[1]), bytes(found[2])


# ------------------------------------------------------------------------------------- container


def _movie(film: Film, stream: Stream, samples: list[bytes], offset: int) -> bytes:
    """The ``moov`` box; ``offset`` is where the samples begin in the file."""
    length = film.seconds * _MOVIE_SCALE
    size = struct.pack(">II", film.width << 16, film.height << 16)
    track = struct.pack(">IIIII", 0, 0, 1, 0, length)
    media = struct.pack(">IIIIHH", 0, 0, film.fps, len(samples), 0x55C4, 0)  # language: und
    handler = struct.pack(">I4s12x", 0, b"vide") + b"sandbox\0"
    header = struct.pack(">IIIIIH10x", 0, 0, _MOVIE_SCALE, length, 0x10000, 0x100)
    return _box(
        b"moov",
        _full(b"mvhd", 0, header, _UNITY, bytes(24), struct.pack(">I", 2)),
        _box(
            b"trak",
            _full(b"tkhd", 3, track, bytes(16), _UNITY, size),
            _box(
                b"mdia",
                _full(b"mdhd", 0, media),
                _full(b"hdlr", 0, handler),
                _box(
                    b"minf",
                    _full(b"vmhd", 1, bytes(8)),
                    _box(b"dinf", _full(b"dref", 0, _number(1), _full(b"url ", 1))),
                    _sample_table(film, stream, samples, offset),
                ),
            ),
        ),
    )


def _sample_table(film: Film, stream: Stream, samples: list[bytes], offset: int) -> bytes:
    sps, pps = stream.sequence_set, stream.picture_set
    config = b"\1%b\xff\xe1%b%b\1%b%b" % (
        sps[1:4],
        struct.pack(">H", len(sps)),
        sps,
        struct.pack(">H", len(pps)),
        pps,
    )
    entry = struct.pack(">6xH16xHHIIIH", 1, film.width, film.height, 0x480000, 0x480000, 0, 1)
    entry += bytes(32) + struct.pack(">Hh", 24, -1)
    sizes = b"".join(_number(len(sample)) for sample in samples)
    count = len(samples)
    return _box(
        b"stbl",
        _full(b"stsd", 0, _number(1), _box(b"avc1", entry, _box(b"avcC", config))),
        _full(b"stts", 0, _number(1), _number(count), _number(1)),
        _full(b"stss", 0, _number(1), _number(1)),
        _full(b"stsc", 0, _number(1), _number(1), _number(count), _number(1)),
        _full(b"stsz", 0, _number(0), _number(count), sizes),
        _full(b"stco", 0, _number(1), _number(offset)),
    )


def _number(value: int) -> bytes:
    return struct.pack(">I", value)


def _full(kind: bytes, flags: int, *parts: bytes) -> bytes:
    return _box(kind, _number(flags), *parts)


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return _number(8 + len(body)) + kind + body
