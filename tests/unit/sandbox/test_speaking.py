"""The sandbox's speech: files that others decode, of the right length, in chunks and events."""

import base64
import hashlib
import io
import json
import math
import shutil
import struct
import subprocess
import wave
from itertools import pairwise
from typing import Any

import pytest

from tokenmarket.sandbox import mp3, voices
from tokenmarket.sandbox.behaviour import Script
from tokenmarket.sandbox.desk import Desk
from tokenmarket.sandbox.speaking import CONTENT_TYPES

TEXT = "A paper plane flies over a lake. 你好"
FFMPEG = shutil.which("ffmpeg")


def ask(headers: dict[str, str] | None = None, **fields: Any) -> Script:
    body = {"model": "sandbox-speech", "voice": "alloy", "input": TEXT, **fields}
    raw = json.dumps(body).encode()
    return Desk(lambda: 1).answer("POST", "/v1/audio/speech", headers or {}, raw)


def spoken(**fields: Any) -> bytes:
    script = ask(**fields)
    assert (script.status, script.stream) == (200, True)
    assert all(script.pieces)
    return b"".join(script.pieces)


def samples_of(data: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(data) // 2}h", data)


def test_wav_is_read_by_the_standard_library_and_audible() -> None:
    with wave.open(io.BytesIO(spoken(response_format="wav"))) as file:
        assert file.getparams()[:3] == (1, 2, 24_000)
        seconds = file.getnframes() / file.getframerate()
        data = file.readframes(file.getnframes())
    assert seconds == pytest.approx(0.07 * len(TEXT))
    samples = samples_of(data)
    loudness = math.sqrt(sum(value * value for value in samples) / len(samples))
    assert 1000 < loudness < 8000
    assert max(map(abs, samples)) < 32_767
    assert spoken(response_format="pcm") == data
    steps = [abs(right - left) for left, right in pairwise(samples)]
    assert max(steps) < 12_000  # nothing clicks


def test_flac_has_the_same_samples_and_right_checksums() -> None:
    data = spoken(response_format="flac")
    pcm = spoken(response_format="pcm")
    assert data[:4] == b"fLaC"
    block, packed = struct.unpack_from(">H", data, 8)[0], int.from_bytes(data[18:26], "big")
    assert (packed >> 44, packed & (1 << 36) - 1) == (24_000, len(pcm) // 2)
    assert data[26:42] == hashlib.md5(pcm, usedforsecurity=False).digest()
    start = 42 + 4 + int.from_bytes(data[43:46], "big")
    frame_bytes = 8 + 1 + 2 * block + 2
    found = b""
    for number, at in enumerate(range(start, len(data), frame_bytes)):
        frame = data[at : at + frame_bytes]
        assert frame[:5] == b"\xff\xf8\x77\x08" + bytes((number,))
        assert checksum(frame[:8], 0x107, 8) == 0
        assert checksum(frame, 0x18005, 16) == 0
        swapped = bytearray(frame[9:-2])
        swapped[0::2], swapped[1::2] = swapped[1::2], swapped[0::2]
        found += swapped
    assert found == pcm


def checksum(data: bytes, polynomial: int, bits: int) -> int:
    """Bit by bit, as the format defines it."""
    value = 0
    for byte in data:
        value ^= byte << (bits - 8)
        for _ in range(8):
            value = value << 1 ^ (polynomial if value >> (bits - 1) else 0)
    return value


def test_a_long_flac_numbers_its_frames_as_the_format_says() -> None:
    data = spoken(input="la " * 1000, response_format="flac")
    assert b"\xff\xf8\x77\x08" + bytes((0xC2, 0x80)) in data  # number 128
    assert b"\xff\xf8\x77\x08" + bytes((0xE0, 0xA0, 0x80)) in data  # number 2048


def test_mp3_is_frames_of_one_length_after_a_tag() -> None:
    data = spoken()
    assert data[:3] == b"ID3"
    start = 10 + (data[8] << 7 | data[9])
    frames = [data[at : at + 96] for at in range(start, len(data), 96)]
    assert {frame[:4] for frame in frames} == {b"\xff\xf3\x44\xc4"}
    assert {len(frame) for frame in frames} == {96}
    seconds = (len(frames) - 1) * 576 / 24_000
    assert seconds == pytest.approx(0.07 * len(TEXT), abs=0.024)
    assert len(set(frames)) > 20


def test_the_codes_of_mp3_are_complete_and_none_begins_another() -> None:
    codes = [
        f"{mp3._CODES[left][right]:0{mp3._LENGTHS[left][right]}b}"
        for left in range(6)
        for right in range(6)
    ]
    assert sum(2.0 ** -len(code) for code in codes) == 1
    assert not any(b.startswith(a) for a, b in pairwise(sorted(codes)))


def test_an_mp3_frame_never_overflows() -> None:
    loud = {line: (-1) ** line * 5 for line in range(576)}
    assert len(mp3.frame(loud, 255)) == mp3.FRAME_BYTES
    assert len(mp3.frame({}, 0)) == mp3.FRAME_BYTES


@pytest.mark.skipif(FFMPEG is None, reason="no ffmpeg on this machine")
@pytest.mark.parametrize("form", ["mp3", "wav", "flac"])
@pytest.mark.parametrize("voice", ["onyx", "shimmer"])
def test_ffmpeg_decodes_every_format_to_audible_sound(form: str, voice: str) -> None:
    assert FFMPEG is not None
    command = [FFMPEG, "-v", "warning", "-err_detect", "explode", "-i", "-", "-f", "s16le", "-"]
    data = spoken(response_format=form, voice=voice)
    done = subprocess.run(command, input=data, capture_output=True, check=True)
    remarks = (b"Estimating duration", b"Guessed Channel Layout")
    assert not [line for line in done.stderr.splitlines() if not any(r in line for r in remarks)]
    samples = samples_of(done.stdout)
    assert len(samples) / 24_000 == pytest.approx(0.07 * len(TEXT), abs=0.1)
    loudness = math.sqrt(sum(value * value for value in samples) / len(samples))
    assert 1000 < loudness < 8000


def test_voices_and_speed_make_a_difference() -> None:
    sounds = {spoken(voice=voice, response_format="pcm") for voice in voices.PITCH_HZ}
    assert len(sounds) == len(voices.PITCH_HZ)
    assert spoken(voice={"id": "nova"}) == spoken(voice="nova")
    slow, fast = (spoken(response_format="pcm", speed=speed) for speed in (0.5, 2))
    assert len(slow) == pytest.approx(4 * len(fast))
    assert spoken(instructions="Whisper.") == spoken()


@pytest.mark.parametrize("form", CONTENT_TYPES)
def test_a_long_text_ends_within_a_minute_and_comes_in_chunks(form: str) -> None:
    script = ask(input="word " * 819, response_format=form, speed=0.25)
    assert script.content_type == CONTENT_TYPES[form]
    size = sum(map(len, script.pieces))
    assert len(script.pieces) > 20
    if form == "mp3":
        assert size < 60.1 * 4000 + 20_000
    else:
        assert 59 * 48_000 < size < 60 * 48_000 + 100_000


def test_silence_is_fine() -> None:
    assert set(spoken(input="...", response_format="pcm")) == {0}
    assert len(spoken(input=" ", response_format="mp3")) > 300


def test_events() -> None:
    script = ask(stream_format="sse", response_format="wav")
    assert script.content_type.startswith("text/event-stream")
    *deltas, done = [json.loads(piece.removeprefix(b"data: ")) for piece in script.pieces]
    assert {event["type"] for event in deltas} == {"speech.audio.delta"}
    assert b"".join(base64.b64decode(event["audio"]) for event in deltas) == spoken(
        response_format="wav"
    )
    assert done["type"] == "speech.audio.done"
    usage = done["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    silent = ask({"fault": "nousage"}, stream_format="sse").pieces[-1]
    assert silent == b'data: {"type":"speech.audio.done"}\n\n'


@pytest.mark.parametrize(
    ("fields", "param", "named"),
    [
        ({"voice": "bob"}, "voice", "alloy"),
        ({"voice": {"id": "voice_1"}}, "voice", "alloy"),
        ({"response_format": "opus"}, "response_format", "mp3, wav, flac, pcm"),
        ({"stream_format": "ws"}, "stream_format", "sse"),
        ({"speed": 5}, "speed", "4"),
        ({"input": ""}, "input", "length"),
        ({"input": "x" * 4097}, "input", "4096"),
        ({"instructions": "x" * 4097}, "instructions", "4096"),
    ],
)
def test_bad_requests_are_refused_by_name(fields: dict[str, Any], param: str, named: str) -> None:
    script = ask(**fields)
    error = json.loads(script.pieces[0])["error"]
    assert (script.status, error["param"]) == (400, param)
    assert named in error["message"]


def test_faults() -> None:
    whole = ask(input="word " * 100, response_format="pcm")
    for fault, ending in (("cut", "cut"), ("stall", "stall"), ("stream-error", "cut")):
        script = ask({"fault": fault}, input="word " * 100, response_format="pcm")
        assert script.ending == ending
        assert len(script.pieces) < len(whole.pieces)
    short = ask({"fault": "badjson"}, input="word " * 100, response_format="pcm")
    assert 0 < len(short.pieces) < len(whole.pieces)
    assert ask({"fault": "nodone"}, stream_format="sse").pieces == ask(stream_format="sse").pieces
    assert ask({"pace-ms": "7"}).pace_ms == 7
