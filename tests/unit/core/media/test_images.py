"""Sizes of pictures from their headers; headers that lie are refused."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.core.media import writers
from tokenmarket.core.media.images import PIXELS_MAX, ImageInfo, image_size
from tokenmarket.core.media.reader import MediaError

TRANSPARENT = writers.png_chunk(b"tRNS", b"\x00\x00\x00\x00\x00\x00")
STILL = writers.riff(
    b"WEBP", writers.vp8x(90, 50, 0x10), (b"ALPH", b"\x00" * 31), writers.vp8(90, 50)
)
FILES: dict[str, tuple[bytes, ImageInfo]] = {
    "png": (writers.png(30, 20), ImageInfo("image/png", 30, 20, False)),
    "png with alpha": (writers.png(30, 20, 6), ImageInfo("image/png", 30, 20, True)),
    "png with a transparent colour": (
        writers.png(30, 20, 2, extra=TRANSPARENT),
        ImageInfo("image/png", 30, 20, True),
    ),
    "png with a palette": (writers.png(30, 20, 3, 1), ImageInfo("image/png", 30, 20, False)),
    "jpeg": (writers.jpeg(640, 480), ImageInfo("image/jpeg", 640, 480, False)),
    "progressive jpeg": (writers.jpeg(9, 65535, 0xC2), ImageInfo("image/jpeg", 9, 65535, False)),
    "jpeg with a long comment": (
        writers.jpeg(5, 6, before=writers.jpeg_segment(0xFE, b"\xff\xc0" * 30_000)),
        ImageInfo("image/jpeg", 5, 6, False),
    ),
    "webp": (writers.riff(b"WEBP", writers.vp8(90, 50)), ImageInfo("image/webp", 90, 50, False)),
    "webp scaled": (
        writers.riff(b"WEBP", writers.vp8(90 | 0x4000, 50)),
        ImageInfo("image/webp", 90, 50, False),
    ),
    "webp lossless": (
        writers.riff(b"WEBP", writers.vp8l(16384, 1, True)),
        ImageInfo("image/webp", 16384, 1, True),
    ),
    "webp lossless, opaque": (
        writers.riff(b"WEBP", writers.vp8l(1, 16384, False)),
        ImageInfo("image/webp", 1, 16384, False),
    ),
    "webp extended": (STILL, ImageInfo("image/webp", 90, 50, True)),
    "webp animated": (
        writers.riff(b"WEBP", writers.vp8x(90, 50, 2), (b"ANIM", bytes(6)), (b"ANMF", bytes(40))),
        ImageInfo("image/webp", 90, 50, False),
    ),
    "gif": (writers.gif(7, 9), ImageInfo("image/gif", 7, 9, False)),
    "transparent gif": (writers.gif(7, 9, transparent=True), ImageInfo("image/gif", 7, 9, True)),
}


def png_with_header(**fields: int) -> bytes:
    values = {
        "width": 3,
        "height": 2,
        "depth": 8,
        "colour": 2,
        "packing": 0,
        "filter": 0,
        "lace": 0,
    }
    header = struct.pack(">IIBBBBB", *(values | fields).values())
    return b"\x89PNG\r\n\x1a\n" + writers.png_chunk(b"IHDR", header)


LIES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "not a PNG"),
    "text": (b"GIF is a format", "not a PNG"),
    "svg": (b"<svg width='9' height='9'/>", "not a PNG"),
    "checksum": (writers.png(30, 20).replace(b"\x00\x00\x00\x1e", b"\x00\x00\x00\x1f"), "checksum"),
    "png without width": (png_with_header(width=0), "0x2"),
    "png as wide as can be written": (png_with_header(width=0xFFFFFFFF), "4294967295x2"),
    "png of no colour type": (png_with_header(colour=5), "format"),
    "png of a depth its colour type lacks": (png_with_header(depth=4), "format"),
    "png compressed otherwise": (png_with_header(packing=1), "format"),
    "png with two sizes": (
        png_with_header() + writers.png_chunk(b"IHDR", bytes(13)) + bytes(20),
        "two IHDR",
    ),
    "png that begins otherwise": (
        b"\x89PNG\r\n\x1a\n" + writers.png_chunk(b"IDAT", bytes(13)),
        "IHDR",
    ),
    "jpeg without a frame": (b"\xff\xd8" + writers.jpeg_segment(0xDA, bytes(10)), "no frame"),
    "jpeg with two frames": (
        writers.jpeg(
            9, 9, before=writers.jpeg_segment(0xC0, struct.pack(">BHHB", 8, 1, 1, 1) + bytes(3))
        ),
        "two frame headers",
    ),
    "jpeg with a height to come": (writers.jpeg(9, 0), "9x0"),
    "jpeg with an empty segment": (b"\xff\xd8\xff\xe0\x00\x00", "malformed"),
    "jpeg with text in it": (b"\xff\xd8\xff\xe0\x00\x02hello", "no marker"),
    "jpeg in a jpeg": (b"\xff\xd8\xff\xd8\x00\x10" + bytes(20), "malformed"),
    "webp with two sizes": (
        writers.riff(b"WEBP", writers.vp8x(9, 9, 0), writers.vp8(9000, 9)),
        "different sizes",
    ),
    "webp longer than itself": (
        writers.riff(b"WEBP", writers.vp8(9, 9)).replace(b"VP8 \x1e\x00", b"VP8 \xff\xff"),
        "longer",
    ),
    "webp that goes on with something": (writers.riff(b"WEBP", (b"JUNK", bytes(30))), "neither"),
    "webp lossless of version 7": (
        writers.riff(b"WEBP", (b"VP8L", b"\x2f\x00\x00\x00\xff" + bytes(9))),
        "signature",
    ),
    "gif with a frame larger than its screen": (writers.gif(7, 9, frame=(8, 9)), "larger"),
    "gif with text in it": (writers.gif(7, 9)[:19] + b"hello", "no frame"),
    "gif without a size": (writers.gif(0, 9, frame=(0, 0)), "0x9"),
}


@pytest.mark.parametrize("name", FILES)
def test_what_headers_say(name: str) -> None:
    data, expected = FILES[name]
    assert image_size(data) == expected


@pytest.mark.parametrize("name", LIES)
def test_lies_are_refused(name: str) -> None:
    data, message = LIES[name]
    with pytest.raises(MediaError, match=message):
        image_size(data)


@pytest.mark.parametrize("name", FILES)
def test_cut_at_every_byte(name: str) -> None:
    data, expected = FILES[name]
    understood: list[bool] = []
    for length in range(min(len(data), 2000)):
        try:
            found = image_size(data[:length])
        except MediaError:
            understood.append(False)
            continue
        understood.append(True)
        assert (found.width, found.height) == (expected.width, expected.height)
        assert found.has_alpha in (expected.has_alpha, None)
    assert understood == sorted(understood)  # more bytes never make it less clear
    assert understood[-1] or len(data) > 2000


@settings(max_examples=300)
@given(
    st.sampled_from(sorted(FILES)),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4),
)
def test_flipped_bytes(name: str, flips: list[tuple[int, int]]) -> None:
    data = bytearray(FILES[name][0])
    for at, value in flips:
        data[at % len(data)] ^= value
    try:
        found = image_size(bytes(data))
    except MediaError:
        return
    assert 0 < found.width <= 65535
    assert 0 < found.height <= 65535


def test_a_bomb_is_measured_not_opened() -> None:
    bomb = image_size(writers.png(60_000, 60_000))
    assert bomb.width * bomb.height > PIXELS_MAX


def test_long_rows_of_chunks_end() -> None:
    endless = writers.png(3, 2)[:33] + writers.png_chunk(b"tEXt", b"") * 20_000
    assert image_size(endless).has_alpha is None
    with pytest.raises(MediaError):
        image_size(b"\xff\xd8" + b"\xff\xd0" * 20_000)


def test_recorded_pictures(recorded: Path) -> None:
    """Pictures that OpenAI, OpenRouter, Vertex and Hugging Face sent."""
    found: list[ImageInfo] = []
    for path in sorted(recorded.glob("*.images.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            response = json.loads(line)["response"]
            found.extend(image_size(base64.b64decode(text)) for text in _media(response))
    assert len(found) >= 10
    assert {info.content_type for info in found} == {"image/png", "image/jpeg"}
    assert {(info.width, info.height) for info in found} == {(256, 256), (512, 512), (1024, 1024)}


def _media(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for inner in value.values() for text in _media(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in _media(inner)]
    return [value] if isinstance(value, str) and len(value) > 2000 else []
