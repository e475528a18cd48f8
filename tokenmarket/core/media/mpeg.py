"""Headers of MPEG audio frames (MP3 and its siblings), of AAC in ADTS, and of ID3 tags.

Sources: ISO/IEC 11172-3 and 13818-3 (frame header tables), 13818-7 (ADTS), id3.org (ID3v2).
"""

from __future__ import annotations

from typing import NamedTuple

HEADER_BYTES = 7  # the longer of the two: ADTS

_LAYER_3 = 1
_KBPS: dict[tuple[bool, int], tuple[int, ...]] = {  # (MPEG-1, layer bits) -> kbit/s by index 1–14
    (True, 3): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 1): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = (44100, 48000, 32000)
_RATE_SHIFT = {3: 0, 2: 1, 0: 2}  # version bits: MPEG-1, MPEG-2 (half), MPEG-2.5 (quarter)
_AAC_RATES = (
    *(96000, 88200, 64000, 48000, 44100, 32000, 24000),
    *(22050, 16000, 12000, 11025, 8000, 7350),
)


class Frame(NamedTuple):
    """One frame: its bytes with the header, and the samples per channel it decodes to."""

    length: int
    samples: int
    rate_hz: int
    side_bytes: int = 0  # MP3: where a Xing header begins, from the frame's first byte


def mp3_frame(data: bytes, at: int) -> Frame | None:
    """The MPEG audio frame whose header is at ``at``, or None. Free-format frames are not read."""
    if at + 4 > len(data) or data[at] != 0xFF or data[at + 1] & 0xE0 != 0xE0:
        return None
    second, third, fourth = data[at + 1], data[at + 2], data[at + 3]
    version, layer = second >> 3 & 3, second >> 1 & 3
    index, rate_index = third >> 4, third >> 2 & 3
    if version == 1 or layer == 0 or rate_index == 3 or not 0 < index < 15 or fourth & 3 == 2:
        return None
    first_version = version == 3
    bits_per_s = _KBPS[first_version, layer][index - 1] * 1000
    rate_hz = _RATES[rate_index] >> _RATE_SHIFT[version]
    padding = third >> 1 & 1
    if layer == 3:
        return Frame((12 * bits_per_s // rate_hz + padding) * 4, 384, rate_hz)
    samples = 576 if layer == _LAYER_3 and not first_version else 1152
    mono = fourth >> 6 == 3
    side = (17 if mono else 32) if first_version else (9 if mono else 17)
    return Frame(samples // 8 * bits_per_s // rate_hz + padding, samples, rate_hz, 4 + side)


def adts_frame(data: bytes, at: int) -> Frame | None:
    """The ADTS frame whose header is at ``at``, or None."""
    if at + 7 > len(data) or data[at] != 0xFF or data[at + 1] & 0xF6 != 0xF0:
        return None
    rate_index = data[at + 2] >> 2 & 15
    length = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
    header = 7 if data[at + 1] & 1 else 9
    if rate_index >= len(_AAC_RATES) or length <= header:
        return None
    return Frame(length, 1024 * ((data[at + 6] & 3) + 1), _AAC_RATES[rate_index])


def id3_bytes(head: bytes) -> int:
    """The length of the ID3v2 tag that ``head`` begins with, 0 if there is none."""
    if len(head) < 10 or not head.startswith(b"ID3") or max(head[6:10]) > 0x7F:
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    footer = 10 if head[5] & 0x10 else 0
    return 10 + size + footer
