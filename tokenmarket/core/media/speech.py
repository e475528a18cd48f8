"""What ``/audio/speech`` sends: formats, WAV headers, and the two SSE events.

PCM here is what OpenAI sends under that name: 24 kHz, 16 bit, little endian, mono, no header.
"""

from __future__ import annotations

import base64
import struct

import msgspec

from tokenmarket.core.media.reader import MediaError

FORMATS: dict[str, str] = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
DEFAULT_FORMAT = "mp3"
OPENAI_VOICES = (
    *("alloy", "ash", "ballad", "coral", "echo", "fable", "onyx"),
    *("nova", "sage", "shimmer", "verse", "marin", "cedar"),
)
PCM_RATE_HZ = 24_000
UNKNOWN_BYTES = 0xFFFF_FFFF
WAV_HEADER_BYTES = 44
WAV_HEADER_BYTES_MAX = 64 * 1024

_SAMPLE_BYTES = 2
_WRITTEN_BY_STREAMERS = (0, 0x7FFF_0000, 0x7FFF_FFFF, UNKNOWN_BYTES)


def characters(text: str) -> int:
    """What is billed where the upstream does not count: Unicode code points."""
    return len(text)


def wav_header(data_bytes: int | None, rate_hz: int = PCM_RATE_HZ, channels: int = 1) -> bytes:
    """The 44 bytes before 16-bit PCM. ``data_bytes`` None: a stream whose length is not known."""
    known = UNKNOWN_BYTES if data_bytes is None else data_bytes
    frame_bytes = channels * _SAMPLE_BYTES
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", min(known + 36, UNKNOWN_BYTES), b"WAVE", b"fmt ", 16),
        *(1, channels, rate_hz, rate_hz * frame_bytes, frame_bytes, 8 * _SAMPLE_BYTES),
        *(b"data", min(known, UNKNOWN_BYTES)),
    )


def l16_rate_hz(content_type: str) -> int | None:
    """("audio/L16;codec=pcm;rate=24000") -> 24000; None unless it is L16 or PCM with a rate."""
    kind, *parameters = (part.strip().lower() for part in content_type.split(";"))
    if kind not in ("audio/l16", "audio/pcm"):
        return None
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "rate" and value.isascii() and value.isdigit() and len(value) <= 6:
            return int(value) or None
    return None


class WavStripper:
    """Takes the header off a WAV stream; any cut of the bytes gives the same PCM.

    Bytes that do not begin with RIFF are PCM already and pass as they are. After the header
    ``rate_hz``, ``channels`` and ``bits`` say what the PCM is (None: there was no header). What
    follows the samples (a LIST chunk) is dropped when the header says how many there are.
    MediaError: the header is malformed, endless, or compressed audio.
    """

    def __init__(self) -> None:
        self.rate_hz: int | None = None
        self.channels: int | None = None
        self.bits: int | None = None
        self._held: bytes | None = b""  # None once the samples have begun
        self._left: int | None = None  # samples' bytes to come; None: up to the end

    def feed(self, data: bytes) -> bytes:
        """The samples among these bytes, maybe none yet."""
        if self._held is not None:
            self._held += data
            start = self._header_end(self._held)
            if start is None:
                return b""
            data, self._held = self._held[start:], None
        if self._left is None:
            return data
        data = data[: self._left]
        self._left -= len(data)
        return data

    def finish(self) -> bytes:
        """At the end of the stream: what was held back. MediaError inside a header."""
        held, self._held = self._held or b"", None
        if held.startswith(b"RIFF"):
            raise MediaError("audio/wav: the stream ends inside the header")
        return held

    def _header_end(self, data: bytes) -> int | None:
        if not data.startswith(b"RIFF"):
            return None if b"RIFF".startswith(data) else 0
        if len(data) < 12:
            return None
        if data[8:12] != b"WAVE":
            raise MediaError("audio/wav: RIFF without WAVE")
        at = 12
        while at + 8 <= len(data):
            kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
            if kind == b"data":
                if self.rate_hz is None:
                    raise MediaError("audio/wav: samples before their format")
                self._left = None if length in _WRITTEN_BY_STREAMERS else length
                return at + 8
            if kind == b"fmt ":
                if at + 24 > len(data):
                    break
                self._format(data[at + 8 : at + 24], length)
            at += 8 + length + (length & 1)
        if max(at, len(data)) > WAV_HEADER_BYTES_MAX:
            raise MediaError("audio/wav: no samples within the first 64 KiB")
        return None

    def _format(self, fields: bytes, length: int) -> None:
        tag, self.channels, self.rate_hz, _, _, self.bits = struct.unpack("<HHIIHH", fields)
        if tag not in (1, 0xFFFE) or length < 16:
            raise MediaError("audio/wav: the samples are not PCM")


class _Delta(msgspec.Struct, frozen=True):
    audio: str
    type: str = "speech.audio.delta"


class _Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    input_tokens: int
    output_tokens: int
    total_tokens: int
    characters: int | None = None


class _Done(msgspec.Struct, frozen=True):
    usage: _Usage
    type: str = "speech.audio.done"


def _event(event: msgspec.Struct) -> bytes:
    return b"data: " + msgspec.json.encode(event) + b"\n\n"


def delta_event(audio: bytes) -> bytes:
    """One ``speech.audio.delta``: each is base64 of its own."""
    return _event(_Delta(base64.b64encode(audio).decode("ascii")))


def done_event(
    *, input_tokens: int = 0, output_tokens: int = 0, characters: int | None = None
) -> bytes:
    """The last event. Its type demands three integers, so an upstream that counts no tokens gives
    zeros; ``characters`` is our extension (audio.md section 2, rule 4)."""
    total = input_tokens + output_tokens
    return _event(_Done(_Usage(input_tokens, output_tokens, total, characters)))
