"""Conversion by ffmpeg: every pair of formats, back-pressure, and every way to end early. Skipped
where the machine has no ffmpeg."""

from __future__ import annotations

import asyncio
import math
import struct

import pytest

from tokenmarket import transcode
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.media.audio import duration_ms
from tokenmarket.core.media.reader import BytesReader
from tokenmarket.core.media.sniff import sniff
from tokenmarket.core.media.speech import FORMATS, PCM_RATE_HZ, wav_header
from tokenmarket.speech import converted
from tokenmarket.transcode import CHUNK_BYTES, Transcoder

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.skipif(not transcode.available(), reason="no ffmpeg on this machine"),
]

TONE_MS = 1_200
PCM = b"".join(
    struct.pack("<h", int(12_000 * math.sin(2 * math.pi * 440 * i / PCM_RATE_HZ)))
    for i in range(PCM_RATE_HZ * TONE_MS // 1000)
)
SNIFFED = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": None,
}


async def nothing(_: bytes) -> None:
    raise AssertionError("nothing can come of this")


def length_ms(audio: bytes, form: str) -> int | None:
    if form == "pcm":
        return len(audio) * 1000 // (2 * PCM_RATE_HZ)
    return duration_ms(BytesReader(audio))


@pytest.mark.parametrize(
    ("made", "asked"),
    [(made, asked) for made in FORMATS for asked in FORMATS if "wav" in (made, asked)]
    + [("mp3", "opus"), ("opus", "mp3"), ("pcm", "mp3"), ("mp3", "pcm"), ("mp3", "aac")],
)
async def test_every_format_becomes_every_other(made: str, asked: str) -> None:
    source = await converted(wav_header(None) + PCM, "wav", made)
    audio = await converted(source, made, asked)
    assert sniff(audio[:4096]) == SNIFFED[asked]
    found = length_ms(audio, asked)
    assert found is not None
    assert abs(found - TONE_MS) < 150  # encoders pad


async def test_the_same_format_starts_no_process() -> None:
    assert await converted(b"whatever", "mp3", "mp3") == b"whatever"


async def test_pieces_come_out_while_others_go_in() -> None:
    """Nothing is gathered: with a taker that stops, writing stops, too."""
    taken: list[int] = []
    go_on = asyncio.Event()

    async def slowly(audio: bytes) -> None:
        taken.append(len(audio))
        await go_on.wait()

    transcoder = await Transcoder.start("pcm", "wav", slowly)
    written = 0

    async def write() -> None:
        nonlocal written
        for _ in range(400):  # 23 MB
            await transcoder.write(PCM)
            written += len(PCM)

    try:
        writing = asyncio.ensure_future(write())
        last = -1
        while written != last or not taken:  # until nothing moves any more
            last = written
            await asyncio.wait([writing], timeout=0.3)
        assert 0 < written < 8_000_000
        assert len(taken) == 1
        assert taken[0] <= CHUNK_BYTES
        go_on.set()
        await writing
        await transcoder.finish()
    finally:
        await transcoder.close()
    assert 0 < sum(taken) - 400 * len(PCM) < 1000  # the header


async def test_a_taker_who_leaves_ends_the_writing() -> None:
    class Left(Exception):
        pass

    async def leaves(_: bytes) -> None:
        raise Left

    transcoder = await Transcoder.start("pcm", "wav", leaves)

    async def write() -> None:
        while True:
            await transcoder.write(PCM)

    with pytest.raises(Left):
        await asyncio.wait_for(write(), 20)
    await transcoder.close()
    with pytest.raises(Left):
        await transcoder.write(PCM)


async def test_audio_that_is_none_is_the_upstream_s_fault() -> None:
    for made in ("wav", "flac", "opus"):
        with pytest.raises(UpstreamError) as caught:
            await converted(b"this is no audio " * 5000, made, "mp3")
        assert caught.value.kind == "upstream_error"
        with pytest.raises(UpstreamError):
            await converted(b"", made, "mp3")


async def test_closing_in_the_middle_leaves_no_process() -> None:
    transcoder = await Transcoder.start("pcm", "mp3", nothing)
    await transcoder.write(PCM[:64])
    await transcoder.close()
    assert transcoder.ended
    await transcoder.close()


async def test_nothing_a_caller_writes_is_an_argument() -> None:
    with pytest.raises(KeyError):
        await Transcoder.start("wav", "-f null", nothing)
