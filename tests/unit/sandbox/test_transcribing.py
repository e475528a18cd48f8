"""The sandbox listens: real durations, its own speech understood, every format, refusals."""

import io
import json
import shutil
import struct
import subprocess
import wave
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.audio import (
    Transcription,
    TranscriptionDiarized,
    TranscriptionTextDeltaEvent,
    TranscriptionTextDoneEvent,
    TranscriptionTextSegmentEvent,
    TranscriptionVerbose,
    TranslationVerbose,
)

from tokenmarket.sandbox import hearing
from tokenmarket.sandbox.behaviour import Script
from tokenmarket.sandbox.desk import Desk

TEXT = "A paper plane flies over a lake at sunrise, and nobody is there to see it. 你好世界"
FFMPEG = shutil.which("ffmpeg")


def spoken(form: str = "wav", text: str = TEXT) -> bytes:
    body = {"model": "sandbox-speech", "voice": "alloy", "input": text, "response_format": form}
    script = Desk(lambda: 1).answer("POST", "/audio/speech", {}, json.dumps(body).encode())
    return b"".join(script.pieces)


def recorded(seconds: float = 10.0, sample: int = 0, hertz: int = 8_000) -> bytes:
    """A wav that the sandbox did not make."""
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setparams((2, 2, hertz, 0, "NONE", ""))
        file.writeframes(struct.pack("<hh", sample, sample) * int(hertz * seconds))
    return made.getvalue()


def ask(
    sound: bytes | None,
    headers: dict[str, str] | None = None,
    *fields: tuple[str, str],
    path: str = "transcriptions",
    model: str = "",
) -> Script:
    model = model or {"translations": "sandbox-translate"}.get(path, "sandbox-transcribe")
    body = b""
    for name, value in (("model", model), *fields):
        head = f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        body += head.encode()
    if sound is not None:
        body += b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
        body += b"Content-Type: audio/wav\r\n\r\n" + sound + b"\r\n"
    kind = "multipart/form-data; boundary=b"
    return Desk(lambda: 1).answer(
        "POST", f"/v1/audio/{path}", headers or {}, body + b"--b--\r\n", content_type=kind
    )


def post(sound: bytes | None, *fields: tuple[str, str], **more: str) -> tuple[int, Any]:
    script = ask(sound, None, *fields, **more)
    return script.status, json.loads(script.pieces[0])


@pytest.mark.parametrize("form", ["wav", "flac", "mp3"])
def test_its_own_speech_is_understood(form: str) -> None:
    status, body = post(spoken(form))
    assert status == 200
    assert Transcription.model_validate(body).text == TEXT
    assert body["usage"] == {"type": "duration", "seconds": 6}
    status, body = post(spoken(form, "In English."), path="translations")
    assert (status, body["text"]) == (200, "In English.")


def test_other_sound_gives_a_text_of_its_own_as_long_as_it_plays() -> None:
    texts = [post(recorded(seconds, 5))[1]["text"] for seconds in (2, 10, 100)]
    assert [len(text.split()) for text in texts] == [5, 23, 230]
    assert post(recorded(10, 5))[1]["text"] == texts[1] != post(recorded(10, 6))[1]["text"]
    # What is not English cannot be given back in English.
    assert post(spoken(), path="translations")[1]["text"].isascii()


def test_verbose_json_is_openais() -> None:
    granularities = [("timestamp_granularities[]", value) for value in ("word", "segment")]
    _, body = post(spoken(), ("response_format", "verbose_json"), *granularities)
    reply = TranscriptionVerbose.model_validate(body)
    assert body["task"] == "transcribe"
    assert reply.language == "english"
    assert reply.duration == pytest.approx(0.07 * len(TEXT), abs=0.001)
    assert reply.segments is not None
    assert reply.words is not None
    ends = [0.0]
    for segment in reply.segments:
        assert ends[-1] <= segment.start < segment.end <= reply.duration
        ends.append(segment.end)
    assert [word.word for word in reply.words][-2:] == ["你好", "世界"]
    _, plain = post(spoken(), ("response_format", "verbose_json"), ("language", "fr"))
    assert "words" not in plain
    assert plain["language"] == "french"
    _, english = post(spoken(), ("response_format", "verbose_json"), path="translations")
    assert TranslationVerbose.model_validate(english).language == "english"
    assert english["task"] == "translate"


def test_diarized_json_is_openais() -> None:
    names = (("known_speaker_names[]", "Ada"), ("known_speaker_names[]", "Bob"))
    _, body = post(spoken(), ("response_format", "diarized_json"), *names)
    reply = TranscriptionDiarized.model_validate(body)
    assert [segment.speaker for segment in reply.segments] == ["Ada", "Bob", "Ada"]
    _, body = post(spoken(), ("response_format", "diarized_json"))
    assert {row["speaker"] for row in body["segments"]} == {"A", "B"}


def plain(form: str) -> str:
    script = ask(recorded(4000, hertz=100), None, ("response_format", form))
    assert script.content_type == "text/plain; charset=utf-8"
    return script.pieces[0].decode()


def test_plain_formats() -> None:
    text = plain("text")
    srt, vtt = plain("srt"), plain("vtt")
    first, *_, last = srt.removesuffix("\n\n").split("\n\n")
    assert first.startswith("1\n00:00:00,000 --> 00:00:0")
    assert " --> 01:06:" in last
    assert vtt.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:0")
    said = " ".join(block.split("\n")[2] for block in srt.removesuffix("\n\n").split("\n\n"))
    assert said == text.strip()


def test_a_stream_of_deltas_adds_up_to_the_text() -> None:
    script = ask(spoken(), None, ("stream", "true"), ("response_format", "diarized_json"))
    assert script.stream
    events = [json.loads(piece.removeprefix(b"data: ")) for piece in script.pieces]
    *before, last = events
    deltas = [event for event in before if event["type"] == "transcript.text.delta"]
    segments = [event for event in before if event["type"] == "transcript.text.segment"]
    joined = "".join(TranscriptionTextDeltaEvent.model_validate(event).delta for event in deltas)
    assert len(deltas) > 10
    assert [TranscriptionTextSegmentEvent.model_validate(event).speaker for event in segments] == [
        "A",
        "B",
        "A",
    ]
    assert TranscriptionTextDoneEvent.model_validate({**last, "usage": None}).text == joined == TEXT
    assert last["usage"]["seconds"] == 6
    silent = ask(spoken(), {"fault": "nousage"}, ("stream", "true")).pieces[-1]
    assert b"usage" not in silent
    assert not ask(spoken(), None, ("stream", "true"), path="translations").stream


def test_logprobs_on_demand() -> None:
    _, body = post(spoken(), ("include[]", "logprobs"))
    reply = Transcription.model_validate(body)
    assert reply.logprobs is not None
    assert "".join(row.token or "" for row in reply.logprobs) == TEXT


@pytest.mark.parametrize(
    ("sound", "fields", "param"),
    [
        (None, (), "file"),
        (b"", (), "file"),
        (b"not audio at all", (), "file"),
        (recorded(0.05), (), "file"),
        (recorded(1)[:40], (), "file"),
        (recorded(1), (("response_format", "xml"),), "response_format"),
        (recorded(1), (("stream", "true"), ("response_format", "srt")), "response_format"),
        (recorded(1), (("temperature", "warm"),), "temperature"),
    ],
)
def test_bad_requests_are_refused_by_name(
    sound: bytes | None, fields: tuple[tuple[str, str], ...], param: str
) -> None:
    status, body = post(sound, *fields)
    assert (status, body["error"]["param"]) == (400, param)


def test_faults() -> None:
    assert ask(recorded(), model="sandbox-fail-429").status == 429
    assert ask(recorded(), None, ("metadata[sandbox_fault]", "cut")).ending == "cut"
    assert ask(recorded(), model="sandbox-speech").status == 404
    lie = ask(recorded(), {"usage": '{"type":"duration","seconds":-1}'})
    assert json.loads(lie.pieces[0])["usage"]["seconds"] == -1


# Heads of other containers, written from the formats' definitions.
_OPUS = b"OggS\0\2" + bytes(8) + bytes(12) + b"\1\x13OpusHead\1\1\x38\1" + struct.pack("<I", 48_000)
_OPUS += b"\0\0\0OggS\0\4" + struct.pack("<q", 48_000 * 3 + 312) + bytes(13)
_VORBIS = b"OggS\0\2" + bytes(20) + b"\1\x1e\1vorbis\0\0\0\0\1" + struct.pack("<I", 8_000)
_VORBIS += b"OggS\0\4" + struct.pack("<q", 24_000) + bytes(13)


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


_MVHD = _box(b"mvhd", bytes(12) + struct.pack(">II", 600, 1800) + bytes(80))
_MVHD_LONG = _box(b"mvhd", b"\1" + bytes(19) + struct.pack(">IQ", 600, 1800) + bytes(80))
_M4A = _box(b"ftyp", b"M4A \0\0\0\0") + _box(b"free", bytes(9))
_WEBM = b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\xff\x2a\xd7\xb1\x83\x0f\x42\x40"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (_OPUS, "ogg"),
        (_VORBIS, "ogg"),
        (_M4A + _box(b"moov", _MVHD), "mp4"),
        (_M4A + struct.pack(">I4sQ", 1, b"mdat", 20) + bytes(4) + _box(b"moov", _MVHD_LONG), "mp4"),
        (_WEBM + b"\x44\x89\x88" + struct.pack(">d", 3000), "webm"),
        (_WEBM + b"\x1f\x43\xb6\x75\xff\xe7\x82" + struct.pack(">H", 3000) + bytes(4), "webm"),
        (b"\xff\xfb\x90\x00" + bytes(413), "mp3"),
        (recorded(3), "wav"),
    ],
)
def test_the_length_of_other_containers(data: bytes, kind: str) -> None:
    found = hearing.audio(data)
    assert found is not None
    assert (found.kind, found.text) == (kind, None)
    assert found.seconds == pytest.approx(1152 / 44_100 if kind == "mp3" else 3, rel=1e-4)


def test_a_streamed_wav_does_not_know_its_length() -> None:
    sound = recorded(2)
    unknown = sound[:40] + b"\xff\xff\xff\xff" + sound[44:]
    assert hearing.audio(unknown) == hearing.audio(sound)


def test_of_a_very_long_mp3_only_the_beginning_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frame = b"\xff\xfb\x90\x00" + bytes(413)
    whole = hearing.audio(frame * 50)
    monkeypatch.setattr(hearing, "_FRAMES_MAX", 7)
    assert hearing.audio(frame * 50) == whole


_SEEDS = [_OPUS, _VORBIS, _M4A + _box(b"moov", _MVHD), _WEBM + b"\x44\x89\x84\0\0\0\0"]


@given(
    st.sampled_from([*_SEEDS, spoken("flac", "a")[:600], spoken("mp3", "a"), spoken("wav", "a")]),
    st.integers(0, 700),
    st.binary(min_size=1, max_size=8),
)
def test_no_bytes_make_it_fail(seed: bytes, at: int, change: bytes) -> None:
    for data in (seed[:at], seed[:at] + change + seed[at + len(change) :], change + seed):
        found = hearing.audio(data)
        assert found is None or 0 < found.seconds <= hearing.SECONDS_MAX


@pytest.mark.skipif(FFMPEG is None, reason="no ffmpeg on this machine")
@pytest.mark.parametrize("name", ["a.mp3", "a.ogg", "a.opus", "a.m4a", "a.webm", "a.flac", "a.mp4"])
def test_the_length_of_what_ffmpeg_writes(tmp_path: Path, name: str) -> None:
    assert FFMPEG is not None
    made = tmp_path / name
    sine = ["-f", "lavfi", "-i", "sine=frequency=300:duration=3"]
    subprocess.run([FFMPEG, "-v", "error", *sine, str(made)], check=True)
    found = hearing.audio(made.read_bytes())
    assert found is not None
    assert found.seconds == pytest.approx(3, abs=0.1)
