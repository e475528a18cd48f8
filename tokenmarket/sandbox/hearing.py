"""(pure) What an audio file is, how long it plays, and the text that ``soundfiles`` put inside.

WAV, FLAC, MP3, Ogg (Opus, Vorbis), MP4 (also M4A) and WebM. Only heads and frames' headers are
read, no sound is decoded. Numbers in a file are not believed beyond what they are used for here.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator

import msgspec

from tokenmarket.sandbox.soundfiles import MAKER, TAG

SECONDS_MAX = 24 * 3600.0


class Heard(msgspec.Struct, frozen=True):
    kind: str
    seconds: float
    text: str | None = None


def audio(data: bytes) -> Heard | None:
    """None for what is none of these, or whose length cannot be read."""
    for recognised, reader in _READERS:
        if recognised(data):
            try:
                found = reader(data)
            except (struct.error, IndexError, ZeroDivisionError, OverflowError, UnicodeError):
                return None
            return found if found is not None and 0 < found.seconds <= SECONDS_MAX else None
    return None


def _wav(data: bytes) -> Heard | None:
    bytes_per_s = 0
    maker = text = None
    for kind, start, size in _riff(data, 12, len(data)):
        if kind == b"fmt ":
            (bytes_per_s,) = struct.unpack_from("<I", data, start + 8)
        elif kind == b"LIST" and data[start : start + 4] == b"INFO":
            for name, at, length in _riff(data, start + 4, start + size):
                value = data[at : at + length].rstrip(b"\0")
                maker = value if name == b"ISFT" else maker
                text = value if name == b"ICMT" else text
        elif kind == b"data":
            # A streamed file does not know its length: then it is what follows.
            size = min(size, len(data) - start) or len(data) - start
            own = text.decode() if text is not None and maker == MAKER else None
            return Heard("wav", size / bytes_per_s, own)
    return None


def _riff(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The chunks from ``start`` on, as (name, where the body starts, its length)."""
    while start + 8 <= end:
        name, size = struct.unpack_from("<4sI", data, start)
        yield name, start + 8, size
        start += 8 + size + size % 2


def _flac(data: bytes) -> Heard | None:
    start, last, seconds, text = 4, False, 0.0, None
    while not last:
        kind = data[start] & 0x7F
        last = data[start] >= 0x80
        size = int.from_bytes(data[start + 1 : start + 4], "big")
        start += 4
        if kind == 0:
            packed = int.from_bytes(data[start + 10 : start + 18], "big")
            seconds = (packed & (1 << 36) - 1) / (packed >> 44)
        elif kind == 4:
            text = _vorbis_text(data[start : start + size])
        start += size
    return Heard("flac", seconds, text)


def _vorbis_text(block: bytes) -> str | None:
    (length,) = struct.unpack_from("<I", block, 0)
    start = 4 + length
    (count,) = struct.unpack_from("<I", block, start)
    start += 4
    for _ in range(min(count, 1000)):
        (length,) = struct.unpack_from("<I", block, start)
        name, _, value = block[start + 4 : start + 4 + length].partition(b"=")
        if name == TAG.encode():
            return value.decode()
        start += 4 + length
    return None


# Of Layer III: kbit/s by index, Hz by index; first MPEG-1, then MPEG-2 and 2.5.
_KBITS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_FRAMES_MAX = 100_000  # are counted, some 40 minutes; what follows is taken to be like them
_HERTZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def _mp3(data: bytes) -> Heard | None:
    start, text = 0, None
    if data[:3] == b"ID3":
        size = 0
        for byte in data[6:10]:
            size = size << 7 | byte & 0x7F
        text = _id3_text(data[10 : 10 + size])
        start = 10 + size
    first, frames, seconds = start, 0, 0.0
    while frames < _FRAMES_MAX and (found := _mp3_frame(data, start)) is not None:
        length, frame_s = found
        start += length
        seconds += frame_s
        frames += 1
    if frames == _FRAMES_MAX:
        seconds *= (len(data) - first) / (start - first)
    return Heard("mp3", round(seconds, 6), text)


def _mp3_frame(data: bytes, start: int) -> tuple[int, float] | None:
    """Length in bytes and seconds of the frame at ``start``; None if there is no whole one."""
    if len(data) < start + 4:
        return None
    (head,) = struct.unpack_from(">I", data, start)
    version, rate_index, kbits_index = head >> 19 & 3, head >> 10 & 3, head >> 12 & 15
    layer_3 = head >> 21 == 0x7FF and head >> 17 & 3 == 1
    if not layer_3 or version == 1 or rate_index == 3 or kbits_index in (0, 15):
        return None
    hertz = _HERTZ[version][rate_index]
    kbits, frame_samples = (
        (_KBITS_1[kbits_index], 1152) if version == 3 else (_KBITS_2[kbits_index], 576)
    )
    length = frame_samples // 8 * kbits * 1000 // hertz + (head >> 9 & 1)
    if start + length > len(data):
        return None
    return length, frame_samples / hertz


def _id3_text(tag: bytes) -> str | None:
    start = 0
    while start + 10 <= len(tag) and tag[start]:
        name, size = struct.unpack_from(">4sI", tag, start)
        body = tag[start + 10 : start + 10 + size]
        if name == b"TXXX" and body[:1] == b"\x01":
            # Two texts in UTF-16, each with its byte order mark: a name and a value.
            mark = f"{TAG}\0".encode("utf-16")
            if body[1 : 1 + len(mark)] == mark:
                return body[1 + len(mark) :].decode("utf-16")
        start += 10 + size
    return None


def _ogg(data: bytes) -> Heard | None:
    opus = data.find(b"OpusHead", 0, 4096)
    vorbis = data.find(b"\x01vorbis", 0, 4096)
    last = data.rfind(b"OggS")
    (granule,) = struct.unpack_from("<q", data, last + 6)
    if opus >= 0:
        (skipped,) = struct.unpack_from("<H", data, opus + 10)
        return Heard("ogg", (granule - skipped) / 48_000)
    if vorbis >= 0:
        (hertz,) = struct.unpack_from("<I", data, vorbis + 12)
        return Heard("ogg", granule / hertz)
    return None


def _mp4(data: bytes) -> Heard | None:
    start, end = 0, len(data)
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, start + 8)
            head = 16
        if kind == b"moov":  # go inside
            end = min(end, start + size) if size else end
            start += head
            continue
        if kind == b"mvhd":
            form, at = (">IQ", 20) if data[start + head] == 1 else (">II", 12)
            scale, duration = struct.unpack_from(form, data, start + head + at)
            return Heard("mp4", duration / scale)
        if size < head:  # 0 = up to the end
            return None
        start += size
    return None


_SCALE, _DURATION, _CLUSTER = b"\x2a\xd7\xb1", b"\x44\x89", b"\x1f\x43\xb6\x75"


def _webm(data: bytes) -> Heard | None:
    """Looks for the few elements that tell; a live recording has no duration, but clusters."""
    scale_ns = 1_000_000
    at = data.find(_SCALE, 0, 65_536)
    if at >= 0:
        size = data[at + 3] & 0x0F
        scale_ns = int.from_bytes(data[at + 4 : at + 4 + size], "big")
    at = data.find(_DURATION, 0, 65_536)
    if at >= 0 and data[at + 2] in (0x84, 0x88):
        (ticks,) = struct.unpack_from(">f" if data[at + 2] == 0x84 else ">d", data, at + 3)
        if math.isfinite(ticks):
            return Heard("webm", ticks * scale_ns / 1e9)
    at = data.rfind(_CLUSTER)
    at = data.find(b"\xe7", at + 4) if at >= 0 else -1
    if at < 0:
        return None
    size = data[at + 1] & 0x0F
    ticks = int.from_bytes(data[at + 2 : at + 2 + size], "big")
    return Heard("webm", ticks * scale_ns / 1e9)


_READERS: tuple[tuple[Callable[[bytes], bool], Callable[[bytes], Heard | None]], ...] = (
    (lambda data: data[:4] == b"RIFF" and data[8:12] == b"WAVE", _wav),
    (lambda data: data[:4] == b"fLaC", _flac),
    (lambda data: data[:4] == b"OggS", _ogg),
    (lambda data: data[4:8] == b"ftyp", _mp4),
    (lambda data: data[:4] == b"\x1a\x45\xdf\xa3", _webm),
    (lambda data: data[:3] == b"ID3" or (data[:1] == b"\xff" and data[1:2] >= b"\xe0"), _mp3),
)
