"""Speech: text in, sound out, in chunks as from a model that is still speaking.

What comes out are tones in the rhythm of the text (``voices``), as mp3 (the default, like
OpenAI's), wav, flac or pcm. The files carry the text along, so that ``transcribing`` can give it
back.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Annotated

import msgspec

from tokenmarket.sandbox import soundfiles, tokens, voices
from tokenmarket.sandbox.behaviour import EVENTS, Script, behaviour, early, shape
from tokenmarket.sandbox.bodies import Metadata, Refused, Text
from tokenmarket.sandbox.calls import Call
from tokenmarket.sandbox.forms import read_body

TEXT_MAX = 4096
CONTENT_TYPES = {
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "pcm": "audio/pcm",
}
_CHUNK_BYTES = 8 * 1024
_TOKENS_PER_SECOND = 20

_Instructions = Annotated[str, msgspec.Meta(max_length=TEXT_MAX)]


class CustomVoice(msgspec.Struct, frozen=True):
    id: str


class SpeechBody(msgspec.Struct, frozen=True):
    """``POST /audio/speech``."""

    model: Text
    input: Annotated[str, msgspec.Meta(min_length=1, max_length=TEXT_MAX)]
    voice: str | CustomVoice
    instructions: _Instructions | None = None
    response_format: str | None = None
    speed: Annotated[float, msgspec.Meta(ge=0.25, le=4)] | None = None
    stream_format: str | None = None
    metadata: Metadata | None = None


def speech(call: Call) -> Script:
    """``POST /audio/speech``. Raises Refused."""
    body, _ = read_body(call, SpeechBody)
    asked = behaviour(body.model, "speech", call.asked, body.metadata)
    failed = early(asked)
    if failed is not None:
        return failed
    voice = body.voice if isinstance(body.voice, str) else body.voice.id
    _legal("voice", voice, voices.PITCH_HZ)
    form = body.response_format or "mp3"
    _legal("response_format", form, CONTENT_TYPES)
    _legal("stream_format", body.stream_format or "audio", ("audio", "sse"))
    spoken = voices.speech(body.input, voice, body.speed or 1.0)
    chunks = _chunks(_parts(body.input, spoken, form))
    if body.stream_format != "sse":
        return shape(asked, chunks, stream=True, content_type=CONTENT_TYPES[form])
    usage = _usage(body, spoken) if asked.usage is None else asked.usage
    return shape(asked, _events(chunks, usage), stream=True, content_type=EVENTS)


def _legal(name: str, value: str, values: Iterable[str]) -> None:
    if value not in values:
        message = f"'{name}' must be one of: {', '.join(values)}."
        raise Refused(message, param=name, code="invalid_value")


def _parts(text: str, spoken: voices.Speech, form: str) -> list[bytes]:
    """The file: head, then what belongs to each character or frame."""
    if form == "mp3":
        return [soundfiles.id3_head(text), *voices.mp3_frames(spoken)]
    blocks = [voices.samples(tone, spoken.tone_samples) for tone in spoken.tones]
    if form == "flac":
        frames = soundfiles.FlacFrames(spoken.tone_samples)
        head = soundfiles.flac_head(text, blocks, spoken.tone_samples)
        return [head, *map(frames.frame, blocks)]
    head = soundfiles.wav_head(text, 2 * spoken.total_samples) if form == "wav" else b""
    return [head, *blocks]


def _chunks(parts: list[bytes]) -> list[bytes]:
    """Several parts each, none empty."""
    found: list[bytes] = []
    gathered: list[bytes] = []
    size = 0
    for part in parts:
        gathered.append(part)
        size += len(part)
        if size >= _CHUNK_BYTES:
            found.append(b"".join(gathered))
            gathered, size = [], 0
    return [*found, b"".join(gathered)] if size else found


def _usage(body: SpeechBody, spoken: voices.Speech) -> bytes:
    read = tokens.count_all((body.input, body.instructions or ""))
    made = max(1, spoken.total_samples * _TOKENS_PER_SECOND // voices.RATE)
    usage = {"input_tokens": read, "output_tokens": made, "total_tokens": read + made}
    return msgspec.json.encode(usage)


def _events(chunks: list[bytes], usage: bytes) -> list[bytes]:
    events = [
        b'data: {"type":"speech.audio.delta","audio":"%b"}\n\n' % base64.b64encode(chunk)
        for chunk in chunks
    ]
    reported = b',"usage":' + usage if usage else b""
    return [*events, b'data: {"type":"speech.audio.done"%b}\n\n' % reported]
