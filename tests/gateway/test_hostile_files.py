"""Files that are not what they say: refused before anything is paid, or handed on as what they are;
nothing crashes, nothing hangs, nothing is left."""

from __future__ import annotations

import io
import struct
import time
import zipfile
import zlib

import pytest

from tests.gateway.media_lane import (
    EDITS,
    FORM,
    MP3,
    TRANSCRIPTIONS,
    TRANSLATIONS,
    VARIATIONS,
    WAV,
    MediaLane,
    form,
    media_lane,
    media_lanes,
    nothing_left,
)
from tests.gateway.site import Site
from tests.unit.adapters.pictures import PNG
from tests.unit.core.media import writers

pytestmark = pytest.mark.asyncio(loop_scope="module")
LANES = 0
CATALOG = media_lanes(1)
MIB = 1024 * 1024
_LANES: dict[int, MediaLane] = {}


def lane_of(site: Site) -> MediaLane:
    if id(site) not in _LANES:
        _LANES[id(site)] = media_lane(site)
    return _LANES[id(site)]


def zipped() -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(20 * MIB))
    return held.getvalue()


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A picture that says so, with a right checksum."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + body
        + struct.pack(">I", zlib.crc32(body))
        + data
    )


SVG = b"""<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>
<svg xmlns="http://www.w3.org/2000/svg">&x;</svg>"""
BOMB = zlib.compress(bytes(50 * MIB))
PICTURES: dict[str, bytes] = {
    "text": b"hello",
    "one byte": b"\x89",
    "the magic alone": b"\x89PNG\r\n\x1a\n",
    "a cut header": PNG[:30],
    "a wrong checksum": PNG[:16] + b"\x01" + PNG[17:],
    "100000x100000": png(100_000, 100_000),
    "65535x65535": png(65_535, 65_535),
    "0x0": png(0, 0),
    "2^32-1": png(2**32 - 1, 1),
    "svg": SVG,
    "html": b"<html><script>alert(1)</script></html>",
    "zip": zipped(),
    "pdf": b"%PDF-1.7\n",
    "elf": b"\x7fELF" + bytes(100),
    "bmp": b"BM" + bytes(12) + struct.pack("<I", 40) + bytes(40),
    "a sound": WAV,
    "a film": writers.webm(),
    "jpeg without frames": b"\xff\xd8\xff\xe0\x00\x02" * 20_000,
    "jpeg of fill bytes": b"\xff\xd8" + b"\xff" * MIB,
    "gif of nothing": b"GIF89a" + struct.pack("<HH", 0, 0) + bytes(20),
    "gif of 65535": b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + bytes(20),
    "webp that lies": b"RIFF\xff\xff\xff\xffWEBPVP8X" + b"\xff" * 30,
    "zeros": bytes(MIB),
}


@pytest.mark.parametrize("name", PICTURES)
async def test_what_is_no_picture(site: Site, name: str) -> None:
    org = await site.org()
    fields = {"model": "sandbox-image", "prompt": "a"}
    began_s = time.monotonic()
    for path, files, param in (
        (EDITS, [("image", "a.png", PICTURES[name])], "image"),
        (EDITS, [("image", "a.png", PNG), ("mask", "a.png", PICTURES[name])], "mask"),
        (VARIATIONS, [("image", "a.png", PICTURES[name])], "image"),
    ):
        asked = fields if path == EDITS else {"model": "sandbox-image"}
        answer = await org.post(path, form(asked, files), headers=FORM)
        found = answer.error(400, "REQUEST_001", param=param, reason="invalid_image")
        assert "passwd" not in found["message"]
    assert time.monotonic() - began_s < 5
    await org.settled()
    await nothing_left(site)


def lying_wav(**more: int) -> bytes:
    """One second that says more."""
    return writers.wav(1, **more)


LENGTH = struct.pack("<I", 0x7FFF_FFFF)
SOUNDS: dict[str, bytes] = {
    "text": b"hello",
    "zip": zipped(),
    "a picture": PNG,
    "svg": SVG,
    "zeros": bytes(MIB),
    "noise": bytes(range(1, 256)) * 1000,
    "an id3 tag without an end": b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + bytes(1000),
    "wav head alone": WAV[:20],
    "wav of a billion seconds": lying_wav(claimed=0x7FFF_FFFF, byte_rate=1),
    "wav without samples": WAV[:44],
    "wav of no rate": WAV[:24] + bytes(8) + WAV[32:],
    "mp3 of a billion frames": writers.mp3(100, xing=2**31),
    "mp3 of one frame": MP3[:417],
    "mp3 cut": MP3[:500],
    "flac of 2^36 samples": writers.flac(44_100, total=2**36 - 1),
    "m4a that claims a year": writers.m4a(9, claimed=31_536_000),
    "m4a cut": writers.m4a(9)[:60],
    "webm cut": writers.webm()[:40],
    "ogg cut": writers.opus(3)[:60],
    "mp4 of deep boxes": b"\x00\x00\x00\x10ftypisom\x00\x00\x00\x00"
    + b"\xff\xff\xff\xffmoov" * 9999,
    "mp4 of empty boxes": b"\x00\x00\x00\x10ftypisom\x00\x00\x00\x00"
    + b"\x00\x00\x00\x08free" * 99999,
}


@pytest.mark.parametrize("name", SOUNDS)
async def test_sounds_that_lie(site: Site, name: str) -> None:
    """400, or heard: then what is held is paid at most, whatever the file claims."""
    lane = lane_of(site)
    org = await site.org("2")
    charged: list[str] = []
    began_s = time.monotonic()
    for path, model in ((TRANSCRIPTIONS, "heard"), (TRANSLATIONS, "translated")):
        body = form({"model": lane.model(model)}, [("file", "a.wav", SOUNDS[name])])
        answer = await org.post(path, body, headers=FORM)
        if answer.status == 402:  # held as long as it claims to be: too long for 2 USD
            continue
        if answer.status != 200:
            answer.error(400, "REQUEST_001", param="file", reason="invalid_audio")
            continue
        amounts = (await org.receipt(answer.id))["amounts"]
        assert float(amounts["charged"]) <= float(amounts["held"])
        charged.append(amounts["charged"])
    assert time.monotonic() - began_s < 5
    await org.settled(*charged)
    await nothing_left(site)


async def test_a_picture_that_unpacks_to_50_mib_is_not_unpacked(site: Site) -> None:
    """Its header is small enough; its pixels are nobody's business here."""
    lane = lane_of(site)
    org = await site.org()
    data = struct.pack(">I", len(BOMB)) + b"IDAT" + BOMB
    picture = png(7_000, 7_000, data + struct.pack(">I", zlib.crc32(b"IDAT" + BOMB)))
    fields = {"model": lane.model("picture"), "prompt": "a"}
    answer = await org.post(EDITS, form(fields, [("image", "a.png", picture)]), headers=FORM)
    assert answer.status == 200
    assert picture in lane.seen("a")[-1].body
    await org.settled("0.01")
