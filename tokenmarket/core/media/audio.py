"""How long a sound file plays, from its headers: for holds, and to check what an upstream bills.

``duration_ms`` takes what OpenAI's transcriptions take (``reference/media/audio.md`` section 1.2)
and AMR. None means "cannot tell"; it is never a guess of zero. Where a header can lie in the
caller's favour it is held against the bytes that are there, but a file that lies with care gets a
wrong number: this is an estimate to hold money by, and the upstream's own count settles.
"""

from __future__ import annotations

from collections.abc import Callable

from tokenmarket.core.media import frames, mp4, mpeg
from tokenmarket.core.media.matroska import matroska_ms
from tokenmarket.core.media.mpeg import Frame
from tokenmarket.core.media.ogg import ogg_ms
from tokenmarket.core.media.reader import Bounded, MediaError, Reader
from tokenmarket.core.media.sniff import SNIFF_BYTES, sniff

DURATION_MS_MAX = 30 * 24 * 3600 * 1000  # above is no recording but nonsense

_ID3_TAGS_MAX = 4
_CHUNKS_MAX = 1000
_PCM_TAGS = {1, 3, 6, 7}  # integer, float, A-law, µ-law: bytes per second follow from the format
_MPEG_BITS_PER_S = (8_000, 448_000)
_AMR_BYTES = (13, 14, 16, 18, 20, 21, 27, 32, 6, 0, 0, 0, 0, 0, 0, 1)
_AMR_WB_BYTES = (18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 0, 0, 0, 0, 1, 1)


def duration_ms(source: Reader, size: int | None = None) -> int | None:
    """Milliseconds of playing time, or None. Reads at most 4 MiB, whatever the file says.

    ``size``: only so many bytes count (an upload of which more was promised).
    """
    bounded = Bounded(source, size)
    try:
        measure = _MEASURES.get(sniff(bounded.some(0, SNIFF_BYTES)) or "")
        found = None if measure is None else measure(bounded)
    except MediaError:
        return None
    return found if found is not None and 0 < found <= DURATION_MS_MAX else None


def _wav_ms(source: Bounded) -> int | None:
    """Samples by the data chunk, or up to the end where the chunk claims more than is there.

    Writers that stream leave 0, 0x7FFF0000 or 0xFFFFFFFF there. RF64 has the length in ``ds64``.
    """
    at, byte_rate, long_bytes = 12, 0, None
    for _ in range(_CHUNKS_MAX):
        head = source.take(at, 8)
        kind, length = head[:4], int.from_bytes(head[4:], "little")
        if kind == b"data":
            there = source.size - at - 8
            if length == 0xFFFF_FFFF and long_bytes is not None:
                length = long_bytes
            if not 0 < length <= there:
                length = there
            return length * 1000 // byte_rate if byte_rate else None
        if kind == b"fmt ":
            byte_rate = _wav_byte_rate(source.take(at + 8, min(max(length, 16), 40)))
        elif kind == b"ds64":
            long_bytes = int.from_bytes(source.take(at + 16, 8), "little")
        at += 8 + length + (length & 1)
    return None


def _wav_byte_rate(fields: bytes) -> int:
    """Bytes per second; of PCM as the other fields have it, since the stated number may lie."""
    tag, channels = (int.from_bytes(fields[i : i + 2], "little") for i in (0, 2))
    rate_hz, stated = (int.from_bytes(fields[i : i + 4], "little") for i in (4, 8))
    bits = int.from_bytes(fields[14:16], "little")
    if tag == 0xFFFE and len(fields) >= 26:
        tag = int.from_bytes(fields[24:26], "little")
    return rate_hz * channels * ((bits + 7) // 8) if tag in _PCM_TAGS else stated


def _after_tags(source: Bounded) -> int:
    """Where the sound begins behind ID3v2 tags (several happen)."""
    at = 0
    for _ in range(_ID3_TAGS_MAX):
        length = mpeg.id3_bytes(source.some(at, 10))
        if not length:
            break
        at += length
    return at


def _mp3_ms(source: Bounded) -> int | None:
    at = frames.first_frame(source, _after_tags(source), mpeg.mp3_frame)
    if at is None:
        return None
    head = source.some(at, 256)
    frame = mpeg.mp3_frame(head, 0)
    if frame is None:
        return None
    count = _mp3_frame_count(head, frame)
    if count is not None:
        counted_ms = count * frame.samples * 1000 // frame.rate_hz
        sound_bits = (source.size - at) * 8
        slowest, fastest = _MPEG_BITS_PER_S
        # A count that no bit rate explains is a lie, or the file is cut: then the frames decide.
        if sound_bits * 1000 // fastest <= counted_ms <= sound_bits * 1000 // slowest:
            return counted_ms
    return frames.walked_ms(source, at, mpeg.mp3_frame)


def _mp3_frame_count(head: bytes, frame: Frame) -> int | None:
    """What a Xing, Info or VBRI header says, which lies inside a silent first frame."""
    xing = head[frame.side_bytes : frame.side_bytes + 12]
    if xing[:4] in (b"Xing", b"Info") and len(xing) == 12 and xing[7] & 1:
        return int.from_bytes(xing[8:12], "big") or None
    vbri = head[36:54]
    if vbri[:4] == b"VBRI" and len(vbri) == 18:
        return int.from_bytes(vbri[14:18], "big") or None
    return None


def _aac_ms(source: Bounded) -> int | None:
    at = frames.first_frame(source, _after_tags(source), mpeg.adts_frame)
    return None if at is None else frames.walked_ms(source, at, mpeg.adts_frame)


def _amr(magic_bytes: int, lengths: tuple[int, ...]) -> Callable[[Bounded], int | None]:
    """Frames of 20 ms; bits 3 to 6 of the first byte give the length."""

    def parse(data: bytes, at: int) -> Frame | None:
        if at >= len(data):
            return None
        length = lengths[data[at] >> 3 & 15]
        return Frame(length, 20, 1000) if length else None

    return lambda source: frames.walked_ms(source, magic_bytes, parse)


def _flac_ms(source: Bounded) -> int | None:
    """STREAMINFO; a streaming encoder leaves the number of samples 0, then the last frame tells."""
    at = _after_tags(source)
    head = source.take(at, 26)
    if head[:4] != b"fLaC" or head[4] & 0x7F != 0:
        return None
    packed = int.from_bytes(head[18:26], "big")
    rate_hz, samples = packed >> 44, packed & (1 << 36) - 1
    if not rate_hz:
        return None
    if not samples:
        samples = _flac_last_sample(source, int.from_bytes(head[8:10], "big")) or 0
    return samples * 1000 // rate_hz


def _flac_last_sample(source: Bounded, block_samples: int) -> int | None:
    """The number of samples before the last frame, found by its header's sync code and CRC-8."""
    begin = max(0, source.size - frames.SEARCH_BYTES_MAX)
    data = source.some(begin, frames.SEARCH_BYTES_MAX)
    at = len(data)
    while (at := data.rfind(b"\xff", 0, at)) >= 0:
        number = _flac_frame_number(data[at : at + 16])
        if number is not None:
            # Fixed block size: the number is of frames. This one's length is near enough a block.
            fixed = not data[at + 1] & 1
            return (number + 1) * block_samples if fixed else number
    return None


def _flac_frame_number(head: bytes) -> int | None:
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xFE != 0xF8:
        return None
    first = head[4]
    extra = 0 if first < 0x80 else 7 - (first ^ 0xFF).bit_length()
    if (extra == 0 and first >= 0x80) or first == 0xFF:  # in the middle of a number, or no number
        return None
    number = first if extra == 0 else first & (1 << 6 - extra) - 1
    for byte in head[5 : 5 + extra]:
        number = number << 6 | byte & 0x3F
    size_code, rate_code = head[2] >> 4, head[2] & 15
    end = 5 + extra + {6: 1, 7: 2}.get(size_code, 0) + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    return number if end < len(head) and _crc8(head[:end]) == head[end] else None


def _crc8(data: bytes) -> int:
    """Polynomial 0x07, from 0."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07 if crc & 0x80 else crc << 1) & 0xFF
    return crc


_MEASURES: dict[str, Callable[[Bounded], int | None]] = {
    "audio/wav": _wav_ms,
    "audio/mpeg": _mp3_ms,
    "audio/aac": _aac_ms,
    "audio/flac": _flac_ms,
    "audio/ogg": ogg_ms,
    "video/ogg": ogg_ms,
    "application/ogg": ogg_ms,
    "audio/mp4": mp4.mp4_ms,
    "video/mp4": mp4.mp4_ms,
    "video/3gpp": mp4.mp4_ms,
    "video/quicktime": mp4.mp4_ms,
    "video/webm": matroska_ms,
    "video/x-matroska": matroska_ms,
    "audio/amr": _amr(6, _AMR_BYTES),
    "audio/amr-wb": _amr(9, _AMR_WB_BYTES),
}
