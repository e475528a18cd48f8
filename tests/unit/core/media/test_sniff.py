"""What a file is by its bytes; names and declared types are not looked at."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.media import writers
from tokenmarket.core.media.sniff import SNIFF_BYTES, SVG, sniff

FILES: dict[str, tuple[bytes, str]] = {
    "png": (writers.png(3, 2), "image/png"),
    "jpeg": (writers.jpeg(3, 2), "image/jpeg"),
    "webp": (writers.riff(b"WEBP", writers.vp8(3, 2)), "image/webp"),
    "gif": (writers.gif(3, 2), "image/gif"),
    "bmp": (b"BM" + bytes(12) + b"\x28\x00\x00\x00" + bytes(36), "image/bmp"),
    "avif": (writers.box(b"ftyp", b"avif", bytes(4), b"avifmif1"), "image/avif"),
    "avif by its second brand": (
        writers.box(b"ftyp", b"mif1", bytes(4), b"miafavif"),
        "image/avif",
    ),
    "heic": (writers.box(b"ftyp", b"heic", bytes(4), b"mif1heic"), "image/heic"),
    "mp4": (writers.mp4(), "video/mp4"),
    "m4a": (writers.m4a(1), "audio/mp4"),
    "mov": (writers.ftyp(b"qt  "), "video/quicktime"),
    "old mov": (writers.box(b"wide"), "video/quicktime"),
    "3gp": (writers.ftyp(b"3gp5"), "video/3gpp"),
    "webm": (writers.webm(), "video/webm"),
    "mkv": (writers.webm(doc_type=b"matroska"), "video/x-matroska"),
    "wav": (writers.wav(), "audio/wav"),
    "rf64": (b"RF64\xff\xff\xff\xffWAVEds64", "audio/wav"),
    "avi": (writers.riff(b"AVI "), "video/x-msvideo"),
    "flac": (writers.flac(8192), "audio/flac"),
    "opus": (writers.opus(1), "audio/ogg"),
    "vorbis": (writers.vorbis(1000), "audio/ogg"),
    "theora": (writers.ogg_page(1, 0, b"\x80theora" + bytes(30), 2), "video/ogg"),
    "mp3": (writers.mp3(3), "audio/mpeg"),
    "mp3 of one frame": (writers.mp3(1), "audio/mpeg"),
    "mp3 with a tag": (writers.mp3(3, id3=300), "audio/mpeg"),
    "mp3 with a long tag": (writers.mp3(3, id3=90_000), "audio/mpeg"),
    "aac": (writers.adts(3), "audio/aac"),
    "aac with a tag": (writers.mp3(0, id3=30) + writers.adts(3), "audio/aac"),
    "flac with a tag": (writers.mp3(0, id3=30) + writers.flac(0), "audio/flac"),
    "amr": (b"#!AMR\n" + bytes(20), "audio/amr"),
    "amr wide": (b"#!AMR-WB\n" + bytes(20), "audio/amr-wb"),
    "pdf": (b"%PDF-1.7\n", "application/pdf"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg">', SVG),
    "svg in disguise": (
        b'\xef\xbb\xbf <?xml version="1.0"?>\n<!-- > -->\n<!DOCTYPE svg PUBLIC "x">\n<SVG >',
        SVG,
    ),
}
NOTHING: dict[str, bytes] = {
    "empty": b"",
    "text": b"hello, this is text",
    "html": b"<!DOCTYPE html><html><svg></svg>",
    "a zip": b"PK\x03\x04" + bytes(30),
    "an executable": b"\x7fELF" + bytes(30),
    "utf-16": "\ufeffhello, this is text in sixteen bits. ".encode("utf-16-le") * 40,
    "a riff of something": writers.riff(b"ACON"),
    "a matroska of something": writers.webm(doc_type=b"other"),
    "one frame and then none": writers.mp3(1) + b"text text text",
    "a name": b"BMW is a name",
}


@pytest.mark.parametrize("name", FILES)
def test_known_kinds(name: str) -> None:
    data, content_type = FILES[name]
    assert sniff(data[:SNIFF_BYTES]) == content_type


@pytest.mark.parametrize("name", NOTHING)
def test_other_bytes_are_nothing(name: str) -> None:
    assert sniff(NOTHING[name]) is None


@pytest.mark.parametrize("name", FILES)
def test_a_cut_beginning_is_the_same_or_nothing(name: str) -> None:
    data, content_type = FILES[name]
    head = data[:200]
    for length in range(len(head)):
        # a tag alone says "mp3" until what follows it can be seen
        assert sniff(head[:length]) in (None, content_type, "audio/mpeg", "image/heic", "audio/ogg")


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    sniff(data)
    for prefix in (b"ID3", b"OggS", b"\x1a\x45\xdf\xa3", b"\xff\xfb", b"\xff\xf1", b"<"):
        sniff(prefix + data)
