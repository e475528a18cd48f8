"""Speech of OpenAI and of servers that speak its wire: ``OpenAISpeech(SpeechQuirks(...))``.

``reference/media/audio.md`` section 1.1. Models that count tokens tell them only in the event
stream, so those (capability ``speech_usage = "events"``) are always asked for events and unpacked
here; the others answer bare audio, and characters are what is billed.
"""

from __future__ import annotations

import msgspec

from tokenmarket.adapters.kit.openai_errors import explain, inside_200
from tokenmarket.adapters.kit.openai_request import HEADERS, drop, raw
from tokenmarket.adapters.kit.quirks import GATEWAY_FIELDS
from tokenmarket.adapters.kit.shape import count, mapping, text
from tokenmarket.adapters.kit.speech import RawAudio, audio_bytes, characters_of, formats_of
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

_INSTRUCTIONS = frozenset({"instructions"})

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
        if route.model.capabilities.get("instructions") is False:
            drop(fields, _INSTRUCTIONS, dropped)
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
        if head.headers.get("content-type", "").lower().startswith("text/event-stream"):
            return SpeechEvents(characters, self.quirks.codes)
        expected = None if _counts_tokens(route) else Usage(characters=characters)
        return RawAudio(expected, head, self.quirks.codes)

    def speech_formats(self, route: Route) -> tuple[str, ...]:
        return formats_of(route, self.quirks.formats)

    def read(self, request: Request, route: Route, head: Head, body: bytes) -> Reply | Again:
        raise UpstreamError("upstream_error", "speech is read as it comes")

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return explain(head, body, self.quirks.codes)


def _counts_tokens(route: Route) -> bool:
    return route.model.capabilities.get("speech_usage") == "events"


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
        if not self.delivered_output:
            raise UpstreamError("upstream_error", "the upstream's audio is empty")
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
            audio = audio_bytes(text(event.get("audio")) or text(event.get("delta")))
            self.delivered_output = self.delivered_output or bool(audio)
            return audio
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
