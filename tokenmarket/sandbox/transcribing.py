"""Transcriptions and translations: what the sandbox spoke itself, it understands; the rest it
makes up, from the content of the file and as long as the file plays.

Times of words and segments share out the real duration by the length of the text.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable

import msgspec

from tokenmarket.sandbox import hearing, tokens, wire
from tokenmarket.sandbox.behaviour import JSON, Script, behaviour, early, shape
from tokenmarket.sandbox.bodies import Metadata, Refused, Text
from tokenmarket.sandbox.calls import Call
from tokenmarket.sandbox.forms import read_body

SECONDS_MIN = 0.1
FORMATS = ("json", "text", "srt", "vtt", "verbose_json", "diarized_json")
STREAMED = ("json", "text", "diarized_json")

_WORDS_PER_SECOND = 2.3
_WORDS_MAX = 8_192
_SEGMENT_WORDS = 8
_UNIT = re.compile(r"[぀-ヿ㐀-䶿一-鿿가-힯]{1,2}|[^\s぀-ヿ㐀-䶿一-鿿가-힯]+")
_LANGUAGES = {
    "en": "english",
    "zh": "chinese",
    "ja": "japanese",
    "ko": "korean",
    "fr": "french",
    "de": "german",
    "es": "spanish",
}


class TranscriptionBody(msgspec.Struct, frozen=True):
    """``POST /audio/transcriptions`` and ``/audio/translations``, beside the file."""

    model: Text
    language: str | None = None
    prompt: str | None = None
    response_format: str | None = None
    temperature: float | None = None
    timestamp_granularities: list[str] | None = None
    include: list[str] | None = None
    stream: bool | None = None
    known_speaker_names: list[str] | None = None
    metadata: Metadata | None = None


class Piece(msgspec.Struct, frozen=True):
    """A word or a segment."""

    start_s: float
    end_s: float
    text: str


class Transcript(msgspec.Struct, frozen=True):
    task: str
    language: str
    seconds: float
    text: str
    words: list[Piece]
    segments: list[Piece]
    speakers: tuple[str, ...]
    usage: bytes


def transcriptions(call: Call) -> Script:
    """``POST /audio/transcriptions``. Raises Refused."""
    return _answer(call, "transcription")


def translations(call: Call) -> Script:
    """``POST /audio/translations``: English, and never a stream. Raises Refused."""
    return _answer(call, "translation")


def _answer(call: Call, operation: str) -> Script:
    body, files = read_body(call, TranscriptionBody)
    asked = behaviour(body.model, operation, call.asked, body.metadata)
    failed = early(asked)
    if failed is not None:
        return failed
    form = body.response_format or "json"
    if form not in FORMATS:
        message = f"'response_format' must be one of: {', '.join(FORMATS)}."
        raise Refused(message, param="response_format", code="invalid_value")
    sound = [file.data for file in files if file.field == "file"]
    if len(sound) != 1:
        raise Refused("Exactly one file is needed.", param="file")
    made = _transcript(sound[0], body, operation)
    if asked.usage is not None:
        made = msgspec.structs.replace(made, usage=asked.usage)
    if body.stream and operation == "transcription":
        if form not in STREAMED:
            message = f"A stream has one of the formats: {', '.join(STREAMED)}."
            raise Refused(message, param="response_format", code="invalid_value")
        return shape(asked, _events(made, form), stream=True)
    if form in _PLAIN:
        kind = "text/plain; charset=utf-8"
        return shape(asked, [_PLAIN[form](made).encode()], stream=False, content_type=kind)
    document = _document(made, form, body)
    return shape(asked, [msgspec.json.encode(document)], stream=False, content_type=JSON)


def _transcript(sound: bytes, body: TranscriptionBody, operation: str) -> Transcript:
    heard = hearing.audio(sound)
    if heard is None:
        message = "The file is no audio that can be read: wav, flac, mp3, ogg, m4a, mp4 or webm."
        raise Refused(message, param="file", code="invalid_file_format")
    if heard.seconds < SECONDS_MIN:
        message = f"The audio is too short: {SECONDS_MIN} seconds is the least."
        raise Refused(message, param="file", code="audio_too_short")
    text = heard.text or ""
    if not text.strip() or (operation == "translation" and not text.isascii()):
        count = min(_WORDS_MAX, max(1, round(heard.seconds * _WORDS_PER_SECOND)))
        text = tokens.filler(count, hashlib.blake2b(sound, digest_size=4).digest()[0])
        text = text[0].upper() + text[1:] + "."
    words = list(_UNIT.finditer(text))
    times = [round(heard.seconds * at / len(text), 3) for at in range(len(text) + 1)]
    groups = [words[at : at + _SEGMENT_WORDS] for at in range(0, len(words), _SEGMENT_WORDS)]
    chinese = text[:1] and not text.isascii() and not text[0].isascii()
    language = (body.language or "").lower() or ("zh" if chinese else "en")
    if operation == "translation":
        language = "en"
    return Transcript(
        "translate" if operation == "translation" else "transcribe",
        _LANGUAGES.get(language, language),
        round(heard.seconds, 3),
        text,
        [Piece(times[word.start()], times[word.end()], word.group()) for word in words],
        [
            Piece(
                times[group[0].start()],
                times[group[-1].end()],
                text[group[0].start() : group[-1].end()],
            )
            for group in groups
        ],
        tuple(body.known_speaker_names or ("A", "B")),
        msgspec.json.encode({"type": "duration", "seconds": math.ceil(heard.seconds)}),
    )


def _document(made: Transcript, form: str, body: TranscriptionBody) -> dict[str, object]:
    document: dict[str, object] = {"text": made.text}
    if form == "verbose_json":
        wanted = body.timestamp_granularities or ["segment"]
        document["task"] = made.task
        document["language"] = made.language
        document["duration"] = made.seconds
        if "segment" in wanted:
            document["segments"] = [
                _verbose(index, piece) for index, piece in enumerate(made.segments)
            ]
        if "word" in wanted:
            document["words"] = [
                {"word": piece.text, "start": piece.start_s, "end": piece.end_s}
                for piece in made.words
            ]
    elif form == "diarized_json":
        document["task"] = made.task
        document["duration"] = made.seconds
        document["segments"] = [
            _spoken(made, index, piece) for index, piece in enumerate(made.segments)
        ]
    elif "logprobs" in (body.include or []):
        rows = [wire.logprob(piece, 0) for piece in tokens.split(made.text)]
        document["logprobs"] = [
            {name: row[name] for name in ("token", "logprob", "bytes")} for row in rows
        ]
    if made.usage:
        document["usage"] = msgspec.Raw(made.usage)
    return document


def _verbose(index: int, piece: Piece) -> dict[str, object]:
    return {
        "id": index,
        "seek": 0,
        "start": piece.start_s,
        "end": piece.end_s,
        "text": piece.text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": 0.0,
        "compression_ratio": 1.0,
        "no_speech_prob": 0.0,
    }


def _spoken(made: Transcript, index: int, piece: Piece) -> dict[str, object]:
    return {
        "type": "transcript.text.segment",
        "id": f"seg_{index}",
        "start": piece.start_s,
        "end": piece.end_s,
        "text": piece.text,
        "speaker": made.speakers[index % len(made.speakers)],
    }


def _events(made: Transcript, form: str) -> list[bytes]:
    events: list[dict[str, object]] = []
    position = 0
    for index, segment in enumerate(made.segments):
        end = made.text.index(segment.text, position) + len(segment.text)
        for piece in tokens.split(made.text[position:end]):
            events.append({"type": "transcript.text.delta", "delta": piece})
        if form == "diarized_json":
            events.append(_spoken(made, index, segment))
        position = end
    if position < len(made.text):
        events.append({"type": "transcript.text.delta", "delta": made.text[position:]})
    done: dict[str, object] = {"type": "transcript.text.done", "text": made.text}
    if made.usage:
        done["usage"] = msgspec.Raw(made.usage)
    return [b"data: %b\n\n" % msgspec.json.encode(event) for event in [*events, done]]


def _clock(seconds: float, comma: str) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{comma}{ms % 1000:03}"


def _text(made: Transcript) -> str:
    return made.text + "\n"


def _srt(made: Transcript) -> str:
    return "".join(
        f"{number}\n{_clock(piece.start_s, ',')} --> {_clock(piece.end_s, ',')}\n{piece.text}\n\n"
        for number, piece in enumerate(made.segments, 1)
    )


def _vtt(made: Transcript) -> str:
    return "WEBVTT\n\n" + "".join(
        f"{_clock(piece.start_s, '.')} --> {_clock(piece.end_s, '.')}\n{piece.text}\n\n"
        for piece in made.segments
    )


_PLAIN: dict[str, Callable[[Transcript], str]] = {"text": _text, "srt": _srt, "vtt": _vtt}
