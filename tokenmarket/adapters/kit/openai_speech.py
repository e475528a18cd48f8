"""Speech of OpenAI and of servers that speak its wire: ``OpenAISpeech(SpeechQuirks(...))``.

``reference/media/audio.md`` section 1.1. Models that count tokens tell them only in the event
stream, so those (capability ``speech_usage = "events"``) are always asked for events and unpacked
here; the others answer bare audio, and characters are what is billed.
"""

from __future__ import annotations

import base64
import binascii

import msgspec

from tokenmarket.adapters.kit.openai_errors import explain, inside_200
from tokenmarket.adapters.kit.openai_request import HEADERS, drop, raw
from tokenmarket.adapters.kit.quirks import GATEWAY_FIELDS
from tokenmarket.adapters.kit.shape import count, mapping, text
from tokenmarket.adapters.kit.sse import Events
from tokenmarket.adapters.protocol import (
    Again,
    Head,
    MediaAdapter,
    Reply,
    SpeechDecoder,
    UpstreamRequest,
)
from tokenmarket.core.bodies import SpeechBody
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import FailureKind, UpstreamError
from tokenmarket.core.requests import Request
from tokenmarket.core.usage import Usage

_decode = msgspec.json.Decoder(dict[str, object]).decode
_encode = msgspec.json.Encoder().encode


class SpeechQuirks(msgspec.Struct, frozen=True):
    """One dialect."""

    path: str = "/audio/speech"
    formats: tuple[str, ...] = ("mp3", "opus", "aac", "flac", "wav", "pcm")
    drop: frozenset[str] = frozenset({"language"})
    codes: dict[str, FailureKind] = {}


class OpenAISpeech(MediaAdapter):
    """``POST /audio/speech``."""

    def __init__(self, quirks: SpeechQuirks) -> None:
        self.quirks = quirks

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        fields = request.fields
        dropped: list[str] = []
        for name in (*GATEWAY_FIELDS, "stream_format"):
            fields.pop(name, None)
        drop(fields, self.quirks.drop, dropped)
        fields["model"] = raw(route.upstream_model)
        fields["voice"] = raw(request.voice)
        typed = request.typed
        if isinstance(typed, SpeechBody) and not isinstance(typed.voice, str | None):
            fields["voice"] = raw({"id": request.voice})
        fields["response_format"] = raw(request.audio_format)
        if _counts_tokens(route):
            fields["stream_format"] = raw("sse")
        return UpstreamRequest(self.quirks.path, HEADERS, _encode(fields), dropped=tuple(dropped))

    def streams(self, request: Request, route: Route) -> bool:
        return True

    def speech(self, request: Request, route: Route, head: Head) -> SpeechDecoder:
        characters = characters_of(request)
        if head.headers.get("content-type", "").startswith("text/event-stream"):
            return SpeechEvents(characters, self.quirks.codes)
        return RawAudio(characters, head, self.quirks.codes)

    def speech_formats(self, route: Route) -> tuple[str, ...]:
        return self.quirks.formats

    def read(self, request: Request, route: Route, head: Head, body: bytes) -> Reply | Again:
        raise UpstreamError("upstream_error", "speech is read as it comes")

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return explain(head, body, self.quirks.codes)


def _counts_tokens(route: Route) -> bool:
    return route.model.capabilities.get("speech_usage") == "events"


def characters_of(request: Request) -> int:
    """Unicode code points of the text: what is billed where the upstream does not count."""
    typed = request.typed
    return len(typed.input) if isinstance(typed, SpeechBody) else 0


class RawAudio:
    """Bare audio bytes, billed by the character."""

    def __init__(self, characters: int, head: Head, codes: dict[str, FailureKind]) -> None:
        self.expected: Usage | None = Usage(characters=characters)
        self.usage: Usage | None = None
        self.finish_reason: str | None = None
        self.upstream_id = head.headers.get("x-request-id")
        self.delivered_output = False
        self._codes = codes
        self._json = b"" if "json" in head.headers.get("content-type", "") else None

    def feed(self, data: bytes) -> bytes:
        if self._json is not None:
            self._json += data[:65536]
            return b""
        self.delivered_output = True
        return data

    def finish(self) -> bytes:
        if self._json is not None:
            try:
                raise inside_200(_decode(self._json), self._codes)
            except msgspec.DecodeError:
                raise UpstreamError("upstream_error", "the answer is no audio") from None
        if not self.delivered_output:
            raise UpstreamError("upstream_error", "the upstream's audio is empty")
        self.usage = self.expected
        return b""

    def tail(self, usage_json: bytes | None) -> bytes:
        return b""


class SpeechEvents:
    """``speech.audio.delta`` events, unpacked to audio; the usage comes with the last one."""

    def __init__(self, characters: int, codes: dict[str, FailureKind]) -> None:
        self.expected: Usage | None = None
        self.usage: Usage | None = None
        self.finish_reason: str | None = None
        self.upstream_id: str | None = None
        self.delivered_output = False
        self._characters = characters
        self._codes = codes
        self._events = Events()
        self._done = False

    def feed(self, data: bytes) -> bytes:
        return b"".join([self._take(event) for event in self._events.feed(data)])

    def finish(self) -> bytes:
        rest = b"".join([self._take(event) for event in self._events.close()])
        if not self._done:
            raise UpstreamError("stream_broken", "the speech ended without its last event")
        return rest

    def tail(self, usage_json: bytes | None) -> bytes:
        return b""

    def _take(self, data: bytes) -> bytes:
        if data == b"[DONE]":
            return b""
        try:
            event = _decode(data)
        except msgspec.DecodeError:
            raise UpstreamError("upstream_error", "an event of the stream is no JSON") from None
        kind = event.get("type")
        if kind == "speech.audio.delta":
            self.delivered_output = True
            return audio_bytes(text(event.get("audio")) or text(event.get("delta")))
        if kind == "speech.audio.done":
            self._done = True
            usage = mapping(event.get("usage"))
            if usage:
                self.usage = Usage(
                    input_tokens=count(usage.get("input_tokens")),
                    audio_output_tokens=count(usage.get("output_tokens")),
                    characters=self._characters,
                )
            return b""
        if kind is None or kind == "error" or "error" in event:
            raise inside_200(event, self._codes)
        return b""


def audio_bytes(value: str | None) -> bytes:
    """Base64 of an event. UpstreamError when it is none."""
    try:
        return base64.b64decode(value or "", validate=True)
    except (binascii.Error, ValueError):
        raise UpstreamError("upstream_error", "the upstream's audio is malformed") from None
