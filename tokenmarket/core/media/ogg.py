"""How long an Ogg file plays: what its last page says, in the clock of its first stream.

Sources: RFC 3533 (pages), RFC 7845 (Opus), the Vorbis I specification, the Ogg mapping of FLAC.
"""

from __future__ import annotations

from tokenmarket.core.media.reader import Bounded, MediaError

_TAIL_BYTES_MAX = 1024 * 1024
_PIECE_BYTES = 128 * 1024  # two pages of the greatest size
_NO_PACKET_ENDS = 0xFFFF_FFFF_FFFF_FFFF
_STREAMS_MAX = 16
_BITS_PER_S_MAX = 10_000_000  # more than any codec here: then the last page lies


def ogg_ms(source: Bounded) -> int | None:
    """Milliseconds, or None."""
    at = 0
    for _ in range(_STREAMS_MAX):
        head = source.take(at, 27)
        if head[:4] != b"OggS" or not head[5] & 2:  # not the beginning of a stream any more
            return None
        lengths = source.take(at + 27, head[26])
        clock = _clock(source.some(at + 27 + head[26], min(sum(lengths), 64)))
        if clock is not None:
            rate_hz, skip = clock
            last = _last_granule(source, head[14:18])
            if last is None or last <= skip:
                return None
            duration_ms = (last - skip) * 1000 // rate_hz
            plausible = source.size * 8000 <= (duration_ms + 1000) * _BITS_PER_S_MAX
            return duration_ms if plausible else None
        at += 27 + head[26] + sum(lengths)
    return None


def _clock(packet: bytes) -> tuple[int, int] | None:
    """Ticks per second and ticks to leave out at the start; None for no known sound."""
    if packet.startswith(b"OpusHead") and len(packet) >= 19:
        return 48_000, int.from_bytes(packet[10:12], "little")
    rate_hz = 0
    if packet.startswith(b"\x01vorbis") and len(packet) >= 30:
        rate_hz = int.from_bytes(packet[12:16], "little")
    elif packet.startswith(b"\x7fFLAC") and len(packet) >= 13 + 4 + 18:
        rate_hz = int.from_bytes(packet[27:30], "big") >> 4
    elif packet.startswith(b"Speex   ") and len(packet) >= 40:
        rate_hz = int.from_bytes(packet[36:40], "little")
    return (rate_hz, 0) if rate_hz else None


def _last_granule(source: Bounded, serial: bytes) -> int | None:
    """The position of the last page of that stream on which a packet ends."""
    end = source.size
    floor = max(0, end - _TAIL_BYTES_MAX)
    while end > floor:
        begin = max(floor, end - _PIECE_BYTES)
        data = source.some(begin, min(_PIECE_BYTES + 26, source.size - begin))
        at = len(data)
        while (at := data.rfind(b"OggS", 0, at)) >= 0:
            page = data[at : at + 27]
            if len(page) == 27 and page[4] == 0 and page[14:18] == serial:
                granule = int.from_bytes(page[6:14], "little")
                if granule not in (0, _NO_PACKET_ENDS) and granule < 1 << 62:
                    return granule
        end = begin
    if floor:
        raise MediaError("application/ogg: no page of the sound near the end")
    return None
