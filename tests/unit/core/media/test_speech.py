"""WAV headers on and off, events, formats."""

from __future__ import annotations

import base64
import io
import json
import wave
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.media import writers
from tokenmarket.core.media.audio import duration_ms
from tokenmarket.core.media.reader import BytesReader, MediaError
from tokenmarket.core.media.sniff import sniff
from tokenmarket.core.media.speech import (
    FORMATS,
    OPENAI_VOICES,
    WAV_HEADER_BYTES,
    WavStripper,
    characters,
    delta_event,
    done_event,
    l16_rate_hz,
    wav_header,
)

PCM = bytes(range(256)) * 20


def strip(data: bytes, cuts: list[int]) -> bytes:
    stripper, out, begin = WavStripper(), b"", 0
    for cut in [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]:
        out += stripper.feed(data[begin:cut])
        begin = cut
    return out + stripper.finish()


def test_the_standard_library_reads_our_header() -> None:
    header = wav_header(len(PCM))
    assert len(header) == WAV_HEADER_BYTES
    with wave.open(io.BytesIO(header + PCM)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24000, 1, 2)
        assert file.readframes(1_000_000) == PCM


def test_a_stream_has_no_length() -> None:
    header = wav_header(None, 8000)
    assert header[4:8] == header[40:44] == b"\xff\xff\xff\xff"
    assert duration_ms(BytesReader(header + bytes(16_000))) == 1000


@given(
    st.lists(st.integers(0, 6000), max_size=8), st.sampled_from(["known", "stream", "list", "odd"])
)
def test_the_header_comes_off_wherever_it_is_cut(cuts: list[int], kind: str) -> None:
    data = {
        "known": wav_header(len(PCM)) + PCM,
        "stream": wav_header(None) + PCM,
        "list": wav_header(len(PCM)) + PCM + b"LIST\x04\x00\x00\x00INFO",
        "odd": writers.wav(0, claimed=len(PCM)) + PCM,  # a LIST chunk stands before the samples
    }[kind]
    assert strip(data, cuts) == PCM


def test_cut_between_all_bytes() -> None:
    data = writers.wav(0, claimed=0) + PCM
    assert strip(data, list(range(len(data)))) == PCM


@pytest.mark.parametrize("data", [b"", b"R", b"RIF", b"RIFT" + PCM, PCM])
def test_pcm_without_a_header_passes(data: bytes) -> None:
    for cut in range(6):
        assert strip(data, [cut]) == data


def test_what_the_header_says_is_known() -> None:
    stripper = WavStripper()
    stripper.feed(wav_header(10, 22050, 2))
    assert (stripper.rate_hz, stripper.channels, stripper.bits) == (22050, 2, 16)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"RIFF\x00\x00\x00\x00AVI LIST", "without WAVE"),
        (b"RIFF\x00\x00\x00\x00WAVEdata\x00\x00\x00\x00", "before their format"),
        (writers.wav(0, tag=0x55), "not PCM"),
        (b"RIFF\x00\x00\x00\x00WAVE" + b"JUNK\x00\x00\x00\x00" * 10_000, "64 KiB"),
        (b"RIFF\x00\x00\x00\x00WAVEJUNK\xff\xff\xff\xff", "64 KiB"),
        (wav_header(10)[:30], "inside the header"),
    ],
)
def test_bad_headers(data: bytes, message: str) -> None:
    with pytest.raises(MediaError, match=message):
        strip(data, [])


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes(data: bytes, wav: bool) -> None:
    data = b"RIFF1234WAVE" + data if wav else data
    try:
        assert len(strip(data, [3, 13, 50])) <= len(data)
    except MediaError:
        pass


def test_events() -> None:
    delta = json.loads(delta_event(b"\x00\x01\xff").removeprefix(b"data: "))
    assert delta == {
        "type": "speech.audio.delta",
        "audio": base64.b64encode(b"\x00\x01\xff").decode(),
    }
    done = json.loads(done_event(characters=7).removeprefix(b"data: "))
    zeros = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    assert done == {"type": "speech.audio.done", "usage": zeros | {"characters": 7}}
    counted = json.loads(done_event(input_tokens=2, output_tokens=3).removeprefix(b"data: "))
    assert counted["usage"] == {"input_tokens": 2, "output_tokens": 3, "total_tokens": 5}
    assert delta_event(b"").endswith(b"}\n\n")


def test_characters_are_code_points() -> None:
    assert [characters(text) for text in ("", "héé", "你好", "👩‍👩‍👧")] == [0, 3, 2, 5]


def test_l16() -> None:
    assert l16_rate_hz("audio/L16;codec=pcm;rate=24000") == 24000
    assert l16_rate_hz("audio/pcm; rate=16000 ; channels=1") == 16000
    for text in ("audio/L16", "audio/mpeg;rate=1", "audio/L16;rate=", "audio/L16;rate=²", ""):
        assert l16_rate_hz(text) is None


def test_tables() -> None:
    assert set(FORMATS) == {"mp3", "opus", "aac", "flac", "wav", "pcm"}
    assert len(OPENAI_VOICES) == len(set(OPENAI_VOICES)) == 13


def test_recorded_speech(recorded: Path) -> None:
    """What six providers sent is what they said it was, and its length can be told."""
    lengths: dict[str, int] = {}
    for path in sorted(recorded.glob("*.speech.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            exchange = json.loads(line)
            text = exchange["response"].get("body_b64")
            if text is None:  # audio inside JSON
                continue
            data = base64.b64decode(text)
            assert sniff(data) == exchange["response"]["headers"]["content-type"]
            length = duration_ms(BytesReader(data))
            assert length is not None, exchange["id"]
            assert 300 < length < 10_000
            lengths[exchange["provider"]] = length
    assert len(lengths) >= 6
    # Deepgram streams: its header says 0x7FFF0000 bytes
    assert lengths["deepgram"] == 1720
