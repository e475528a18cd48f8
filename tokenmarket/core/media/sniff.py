"""What a file is, from its first bytes: its name and its declared type are never trusted.

Give the first ``SNIFF_BYTES`` (fewer if the file is shorter). A picture in SVG is recognised so
that it can be refused by name (``design/security.md`` F5): it is a program.
"""

from __future__ import annotations

import re

from tokenmarket.core.media import mpeg

SNIFF_BYTES = 4096
SVG = "image/svg+xml"

_PLAIN: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"fLaC", "audio/flac"),
    (b"#!AMR\n", "audio/amr"),
    (b"#!AMR-WB\n", "audio/amr-wb"),
    (b"%PDF-", "application/pdf"),
)
_RIFF = {b"WAVE": "audio/wav", b"WEBP": "image/webp", b"AVI ": "video/x-msvideo"}
_BRANDS = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"M4A ": "audio/mp4",
    b"M4B ": "audio/mp4",
    b"qt  ": "video/quicktime",
}
_OLD_QUICKTIME = {b"moov", b"mdat", b"wide"}  # QuickTime from before there was a brand
# The length: 4 or 8 in one byte, or written in all of eight.
_DOC_TYPE = re.compile(
    rb"\x42\x82(?:[\x84-\x8a]|\x01\x00{6}[\x04-\x0a])(webm|matroska)(?![a-z])", re.DOTALL
)
_DOC_TYPES = {b"webm": "video/webm", b"matroska": "video/x-matroska"}
_OGG_AUDIO = (b"OpusHead", b"\x01vorbis", b"\x7fFLAC", b"Speex   ")
_BMP_HEADERS = {12, 16, 40, 52, 56, 64, 108, 124}
_XML_PROLOGUE = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]{0,200}>\s*|<!--.{0,1000}?-->\s*|<!DOCTYPE\s+svg[^>]{0,500}>\s*){0,8}"
    rb"<(?:svg:)?svg[\s>/]",
    re.DOTALL | re.IGNORECASE,
)


def sniff(head: bytes) -> str | None:
    """The content type, or None for what is none of the kinds known here."""
    for magic, content_type in _PLAIN:
        if head.startswith(magic):
            return content_type
    if head[:4] in (b"RIFF", b"RF64", b"BW64"):
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _iso(head)
    if head[4:8] in _OLD_QUICKTIME:
        return "video/quicktime"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return _matroska(head)
    if head.startswith(b"OggS"):
        return _ogg(head)
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "image/bmp"
    if head.startswith(b"ID3"):
        return _after_id3(head)
    if (kind := _frames(head)) is not None:
        return kind
    if _XML_PROLOGUE.match(head[:SNIFF_BYTES]):
        return SVG
    return None


def _iso(head: bytes) -> str | None:
    """ISO media: the major brand says what it is, else the compatible ones (HEIF: ``mif1``)."""
    major = head[8:12]
    if len(major) < 4:
        return None
    if major in _BRANDS:
        return _BRANDS[major]
    if major.startswith(b"3gp"):
        return "video/3gpp"
    size = min(int.from_bytes(head[:4], "big"), len(head), 512)
    if major in (b"mif1", b"msf1"):
        for at in range(16, size - 3, 4):
            if head[at : at + 4] in (b"avif", b"avis"):
                return "image/avif"
        return "image/heic"
    return "video/mp4"


def _matroska(head: bytes) -> str | None:
    """The DocType is within the first few dozen bytes: id 42 82, a length, text."""
    match = _DOC_TYPE.search(head[4:128])
    return None if match is None else _DOC_TYPES[match.group(1)]


def _ogg(head: bytes) -> str | None:
    """Ogg: the first packet of the first page names the codec."""
    packet = head[27 + head[26] :] if len(head) > 27 else b""
    if len(packet) < 8:
        return None
    if packet.startswith(b"\x80theora"):
        return "video/ogg"
    return "audio/ogg" if packet.startswith(_OGG_AUDIO) else "application/ogg"


def _after_id3(head: bytes) -> str:
    """A tag in front of MP3, sometimes of FLAC or AAC; it is often longer than ``head``."""
    at = mpeg.id3_bytes(head)
    if at and head[at : at + 4] == b"fLaC":
        return "audio/flac"
    if at and (frame := mpeg.adts_frame(head, at)) and mpeg.adts_frame(head, at + frame.length):
        return "audio/aac"
    return "audio/mpeg"


def _frames(head: bytes) -> str | None:
    """Bare frames: one must be legal, and so must the next, where it can be seen."""
    for content_type, parse in (
        ("audio/aac", mpeg.adts_frame),
        ("audio/mpeg", mpeg.mp3_frame),
    ):
        frame = parse(head, 0)
        if frame is None:
            continue
        following = head[frame.length : frame.length + mpeg.HEADER_BYTES]
        if len(following) < mpeg.HEADER_BYTES or parse(head, frame.length) is not None:
            return content_type
    return None
