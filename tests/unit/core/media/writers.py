"""Tiny writers of media files, each from the specification its function names.

They write structure, not sound or pictures: enough for headers to be read. Where ffmpeg is
installed, ``test_ffmpeg.py`` reads files of its making beside these.
"""

from __future__ import annotations

import struct
import zlib

# ------------------------------------------------------------------------------------- pictures


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, colour: int = 2, depth: int = 8, extra: bytes = b"") -> bytes:
    """W3C PNG (third edition)."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = b"\x00" + bytes((width * channels * depth + 7) // 8)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    palette = png_chunk(b"PLTE", bytes(3)) if colour == 3 else b""
    pixels = zlib.compress(row * height) if width * height < 100_000 else b""
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + palette
        + extra
        + png_chunk(b"IDAT", pixels)
        + png_chunk(b"IEND", b"")
    )


def jpeg_segment(code: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, code, len(data) + 2) + data


def jpeg(width: int, height: int, sof: int = 0xC0, before: bytes = b"") -> bytes:
    """ITU-T T.81: APP0, a table, the frame header, one scan without content."""
    frame = struct.pack(">BHHB", 8, height, width, 3) + bytes((1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0))
    return (
        b"\xff\xd8"
        + jpeg_segment(0xE0, b"JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00")
        + before
        + jpeg_segment(0xDB, bytes(65))
        + b"\xff\xff"  # fill bytes are legal before a marker
        + jpeg_segment(sof, frame)
        + jpeg_segment(0xDA, bytes((3, 1, 0, 2, 0, 3, 0, 0, 63, 0)))
        + b"\x12\x34\xff\xd9"
    )


def riff(form: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(
        kind + struct.pack("<I", len(data)) + data + bytes(len(data) & 1) for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + form + body


def vp8(width: int, height: int) -> tuple[bytes, bytes]:
    """RFC 6386 section 9.1: a key frame's start code and size."""
    return b"VP8 ", b"\x10\x00\x00\x9d\x01\x2a" + struct.pack("<HH", width, height) + bytes(20)


def vp8l(width: int, height: int, alpha: bool) -> tuple[bytes, bytes]:
    """RFC 9649 section 3.4."""
    bits = (width - 1) | (height - 1) << 14 | alpha << 28
    return b"VP8L", b"\x2f" + struct.pack("<I", bits) + bytes(20)


def vp8x(width: int, height: int, flags: int) -> tuple[bytes, bytes]:
    """RFC 9649 section 2.7; flags 0x10 alpha, 0x02 animation."""
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"VP8X", bytes((flags, 0, 0, 0)) + sides


def gif(width: int, height: int, transparent: bool = False, frame: tuple[int, int] | None = None):
    """GIF89a specification."""
    wide, high = frame or (width, height)
    control = b"!\xf9\x04" + bytes((1 if transparent else 0, 10, 0, 0)) + b"\x00"
    comment = b"!\xfe\x05hello\x00"
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", width, height, 0x80, 0, 0)
        + bytes(6)
        + control
        + comment
        + b","
        + struct.pack("<HHHHB", 0, 0, wide, high, 0)
        + b"\x02\x02\x44\x01\x00;"
    )


# ---------------------------------------------------------------------------------------- sound


def wav(
    seconds: float = 1.0,
    rate_hz: int = 8000,
    *,
    claimed: int | None = None,
    byte_rate: int | None = None,
    tag: int = 1,
    before: bytes = b"",
) -> bytes:
    """RIFF WAVE, 16 bit mono, with a LIST chunk of odd length before the samples."""
    samples = bytes(2 * int(seconds * rate_hz))
    rate = rate_hz * 2 if byte_rate is None else byte_rate
    fields = struct.pack("<HHIIHH", tag, 1, rate_hz, rate, 2, 16)
    said = len(samples) if claimed is None else claimed
    body = b"fmt \x10\x00\x00\x00" + fields + b"LIST\x05\x00\x00\x00INFO!\x00" + before
    body += b"data" + struct.pack("<I", said) + samples
    return b"RIFF" + struct.pack("<I", min(len(body) + 4, 0xFFFFFFFF)) + b"WAVE" + body


def mp3(frames: int, *, xing: int | None = None, vbri: int | None = None, id3: int = 0) -> bytes:
    """MPEG-1 layer III, 128 kbit/s, 44.1 kHz, joint stereo: 417 bytes and 1152 samples a frame."""
    header = b"\xff\xfb\x90\x44"
    first = b""
    if xing is not None:
        first = (header + bytes(32) + b"Xing" + struct.pack(">II", 1, xing)).ljust(417, b"\x00")
    if vbri is not None:
        fields = struct.pack(">HHHII", 1, 0, 0, 417 * frames, vbri)
        first = (header + bytes(32) + b"VBRI" + fields).ljust(417, b"\x00")
    tag = b""
    if id3:
        size = bytes((id3 >> 21 & 127, id3 >> 14 & 127, id3 >> 7 & 127, id3 & 127))
        tag = b"ID3\x04\x00\x00" + size + bytes(id3)
    return tag + first + header.ljust(417, b"\x00") * frames


def adts(frames: int, payload: int = 200) -> bytes:
    """ISO/IEC 13818-7: AAC LC, 44.1 kHz, mono, 1024 samples a frame."""
    length = payload + 7
    header = bytes(
        (0xFF, 0xF1, 0x50, 0x40 | length >> 11, length >> 3 & 255, (length & 7) << 5 | 0x1F, 0xFC)
    )
    return (header + bytes(payload)) * frames


def flac(samples: int, rate_hz: int = 44100, total: int | None = None) -> bytes:
    """RFC 9639: STREAMINFO and frame headers (fixed blocks of 4096) without real content."""
    said = samples if total is None else total
    packed = rate_hz << 44 | 0 << 41 | 15 << 36 | said
    info = struct.pack(">HH", 4096, 4096) + bytes(6) + packed.to_bytes(8, "big") + bytes(16)
    out = b"fLaC" + b"\x80" + len(info).to_bytes(3, "big") + info
    for number in range(samples // 4096):
        head = b"\xff\xf8\xc9\x08" + chr(number).encode("utf-8", "surrogatepass")
        out += head + bytes((crc8(head),)) + bytes(50)
    return out


def crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 7) & 255 if crc & 128 else crc << 1
    return crc


def ogg_page(serial: int, granule: int, packet: bytes, flags: int = 0, number: int = 0) -> bytes:
    """RFC 3533, with the checksum."""
    lacing = bytes([255] * (len(packet) // 255) + [len(packet) % 255])
    head = struct.pack("<4sBBqIII", b"OggS", 0, flags, granule, serial, number, 0)
    page = bytearray(head + bytes((len(lacing),)) + lacing + packet)
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7) & 0xFFFFFFFF if crc >> 31 else crc << 1
    page[22:26] = struct.pack("<I", crc)
    return bytes(page)


def opus(seconds: int, serial: int = 7) -> bytes:
    """RFC 7845: head, tags, one page a second; 312 ticks of pre-skip."""
    head = b"OpusHead" + struct.pack("<BBHIHB", 1, 1, 312, 24000, 0, 0)
    pages = [
        ogg_page(serial, 0, head, 2),
        ogg_page(serial, 0, b"OpusTags" + struct.pack("<II", 0, 0), 0, 1),
    ]
    for second in range(1, seconds + 1):
        last = 4 if second == seconds else 0
        pages.append(ogg_page(serial, 312 + 48000 * second, bytes(600), last, second + 1))
    return b"".join(pages)


def vorbis(samples: int, rate_hz: int = 44100) -> bytes:
    """Vorbis I section 4.2.2."""
    head = b"\x01vorbis" + struct.pack("<IBIiiiBB", 0, 1, rate_hz, 0, 128000, 0, 0xB8, 1)
    return ogg_page(9, 0, head, 2) + ogg_page(9, samples, bytes(300), 4, 1)


# ------------------------------------------------------------------------------------------ film


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", len(body) + 8) + kind + body


IDENTITY = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
QUARTER_TURN = struct.pack(">9I", 0, 0x10000, 0, 0xFFFF0000, 0, 0, 0, 0, 0x40000000)


def trak(
    kind: bytes,
    timescale: int,
    samples: int,
    ticks: int,
    *,
    size: tuple[int, int] = (0, 0),
    matrix: bytes = IDENTITY,
    edit: int | None = None,
    track_id: int = 1,
) -> bytes:
    """ISO/IEC 14496-12 section 8.3: ``samples`` of ``ticks`` each."""
    duration = samples * ticks
    header = struct.pack(">IIIIII", 7, 0, 0, track_id, 0, duration) + bytes(16) + matrix
    header += struct.pack(">II", size[0] << 16, size[1] << 16)
    edits = b""
    if edit is not None:
        edits = box(b"edts", box(b"elst", struct.pack(">IIIiI", 0, 1, edit, 0, 0x10000)))
    stts = box(b"stts", struct.pack(">II", 0, 1), struct.pack(">II", samples, ticks))
    if not samples:
        stts = box(b"stts", struct.pack(">II", 0, 0))
    return box(
        b"trak",
        box(b"tkhd", header),
        edits,
        box(
            b"mdia",
            box(b"mdhd", struct.pack(">IIIIIHH", 0, 0, 0, timescale, duration, 0x55C4, 0)),
            box(b"hdlr", struct.pack(">II", 0, 0), kind, bytes(13)),
            box(b"minf", box(b"stbl", box(b"stsd", struct.pack(">II", 0, 0)), stts)),
        ),
    )


def moov(*traks: bytes, timescale: int = 1000, duration: int = 0, mvex: bytes = b"") -> bytes:
    header = struct.pack(">IIIII", 0, 0, 0, timescale, duration) + bytes(80)
    return box(b"moov", box(b"mvhd", header), *traks, mvex)


def ftyp(brand: bytes = b"isom") -> bytes:
    return box(b"ftyp", brand, struct.pack(">I", 512), b"isomiso2")


def mp4(*, moov_first: bool = True, width: int = 640, height: int = 360, **options) -> bytes:
    """25 frames a second for 4 s of picture, 4 s of sound."""
    movie = moov(
        trak(b"vide", 12800, 100, 512, size=(width, height), **options),
        trak(b"soun", 48000, 188, 1024, track_id=2),
        duration=4000,
    )
    media = box(b"mdat", bytes(5000))
    return ftyp() + (movie + media if moov_first else media + movie)


def m4a(seconds: int, moov_first: bool = False, claimed: int | None = None) -> bytes:
    movie = moov(
        trak(b"soun", 1000, seconds, 1000),
        duration=seconds * 1000 if claimed is None else claimed,
    )
    media = box(b"mdat", bytes(3000))
    return ftyp(b"M4A ") + (movie + media if moov_first else media + movie)


def fragmented(fragments: int, own_durations: bool = False) -> bytes:
    """One second each: 10 samples of 100 ticks. As Safari records: no durations in moov."""
    mvex = box(b"mvex", box(b"trex", struct.pack(">IIIIII", 0, 1, 1, 100, 0, 0)))
    out = ftyp() + moov(trak(b"soun", 1000, 0, 0), mvex=mvex)
    for number in range(fragments):
        entries = struct.pack(">II", 100, 7) * 10 if own_durations else struct.pack(">I", 7) * 10
        run = struct.pack(">III", 0x301 if own_durations else 0x201, 10, 0) + entries
        traf = box(
            b"traf",
            box(b"tfhd", struct.pack(">II", 0x20000, 1)),
            box(b"tfdt", struct.pack(">IQ", 0x01000000, number * 1000)),
            box(b"trun", run),
        )
        out += box(b"moof", box(b"mfhd", struct.pack(">II", 0, number)), traf)
        out += box(b"mdat", bytes(70))
    return out


def element(code: int, data: bytes, unknown: bool = False) -> bytes:
    """RFC 8794: id as it is, length in eight bytes, or all ones."""
    head = code.to_bytes((code.bit_length() + 7) // 8, "big")
    return (
        head
        + (b"\x01" + b"\xff" * 7 if unknown else (1 << 56 | len(data)).to_bytes(8, "big"))
        + data
    )


def number(code: int, value: int) -> bytes:
    return element(code, value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"))


def webm(
    *,
    duration_ms: float | None = 3000.0,
    live: bool = False,
    video: bool = True,
    clusters: int = 3,
    doc_type: bytes = b"webm",
) -> bytes:
    """RFC 9559: a second per cluster, a block every 100 ms."""
    header = element(0x1A45DFA3, element(0x4282, doc_type) + number(0x4287, 2))
    info = number(0x2AD7B1, 1_000_000)
    if duration_ms is not None:
        info += element(0x4489, struct.pack(">d", duration_ms))
    picture = number(0xD7, 1) + number(0x83, 1) + number(0x23E383, 40_000_000)
    picture += element(0xE0, number(0xB0, 854) + number(0xBA, 480))
    sound = number(0xD7, 2) + number(0x83, 2) + element(0x86, b"A_OPUS")
    tracks = (element(0xAE, picture) if video else b"") + element(0xAE, sound)
    body = element(0x1549A966, info) + element(0x1654AE6B, tracks)
    for second in range(clusters):
        blocks = b"".join(
            element(0xA3, b"\x82" + struct.pack(">hB", tenth * 100, 0x80) + bytes(30))
            for tenth in range(10)
        )
        body += element(0x1F43B675, number(0xE7, second * 1000) + blocks, unknown=live)
    return header + element(0x18538067, body, unknown=live)
