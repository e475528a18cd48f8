"""Speech of MiniMax: ``POST /t2a_v2``, hexadecimal audio in events or in one document.

``reference/media/audio.md`` section 2; facts as of 2026-11-23. Streams have no wav, so that is
asked for whole. The last event repeats all of the audio unless it is told not to; it is told so,
and a repetition that comes all the same is left out. An error is a ``base_resp`` inside HTTP 200.
MiniMax counts a Chinese character twice, and says how many it counted only at the end.
"""

from __future__ import annotations

from tokenmarket.adapters.kit.openai_errors import explain, inside_200
from tokenmarket.adapters.kit.openai_request import STREAM_HEADERS
from tokenmarket.adapters.kit.shape import count, mapping, text
from tokenmarket.adapters.kit.speech import (
    RawAudio,
    characters_of,
    formats_of,
    members_of,
    request_to,
    speed_within,
    spoken,
    unread,
)
from tokenmarket.adapters.kit.sse import Events
from tokenmarket.adapters.protocol import (
    Head,
    MediaAdapter,
    Produced,
    Reply,
    SpeechDecoder,
    UpstreamRequest,
)
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import FailureKind, UpstreamError
from tokenmarket.core.media.languages import english_name, language_code
from tokenmarket.core.media.speech import FORMATS, PCM_RATE_HZ
from tokenmarket.core.requests import Request
from tokenmarket.core.usage import Usage

CODES: dict[str, FailureKind] = {  # base_resp.status_code
    "1000": "upstream_error",
    "1001": "timeout",
    "1002": "rate_limited",
    "1004": "auth",
    "1008": "no_balance",
    "1013": "upstream_error",
    "1024": "upstream_error",
    "1026": "content_policy",
    "1027": "content_policy",
    "1033": "upstream_error",
    "1039": "rate_limited",
    "1042": "bad_request",  # too many characters that cannot be spoken
    "2013": "bad_request",
    "2049": "auth",
    "2054": "bad_request",  # no such voice
    "2056": "quota_exhausted",
}
# Members of their own body that go along as the caller wrote them.
_PASSED = ("pronunciation_dict", "language_boost", "voice_modify", "timbre_weights")
_RATE_HZ = 32_000
_SPEED_LEAST, _SPEED_MOST = 0.5, 2.0
# Ten thousand characters are ten minutes: the whole of them, repeated as hexadecimal, and more.
_EVENT_BYTES_MAX = 64 * 1024 * 1024


class MiniMaxSpeech(MediaAdapter):
    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        typed = spoken(request)
        dropped = unread(request, "speed", "language", *_PASSED)
        voice: dict[str, object] = {"voice_id": request.voice}
        speed = speed_within(request, _SPEED_LEAST, _SPEED_MOST, dropped)
        if speed is not None:
            voice["speed"] = speed
        form = request.audio_format
        audio: dict[str, object] = {
            "format": form,
            "sample_rate": PCM_RATE_HZ if form == "pcm" else _RATE_HZ,
            "channel": 1,
        }
        if form == "mp3":
            audio["bitrate"] = 128_000
        members: dict[str, object] = {
            "model": route.upstream_model,
            "text": typed.input,
            "stream": form != "wav",
            "output_format": "hex",
            "voice_setting": voice,
            "audio_setting": audio,
        }
        if form != "wav":
            members["stream_options"] = {"exclude_aggregated_audio": True}
        if typed.language and language_code(typed.language):
            members["language_boost"] = english_name(typed.language).capitalize()
        elif typed.language:
            dropped.append("language")
        for name in _PASSED:
            if name in request.members:
                members[name] = request.members[name]
        return request_to("/t2a_v2", members, dropped, headers=STREAM_HEADERS)

    def streams(self, request: Request, route: Route) -> bool:
        return request.audio_format != "wav"

    def speech(self, request: Request, route: Route, head: Head) -> SpeechDecoder:
        characters = characters_of(request)
        if "json" in head.headers.get("content-type", ""):  # a refusal: it has no events
            return RawAudio(None, head, CODES)
        return HexEvents(characters)

    def speech_formats(self, route: Route) -> tuple[str, ...]:
        return formats_of(route, ("mp3", "flac", "wav", "pcm"))

    def read(self, request: Request, route: Route, head: Head, body: bytes) -> Reply:
        document = members_of(body)
        _check(document)
        audio = _audio(document)
        if not audio:
            raise UpstreamError("upstream_error", "the upstream's audio is empty")
        return Reply(
            {},
            _usage(document, characters_of(request)),
            upstream_id=text(document.get("trace_id")),
            produced=(Produced(data=audio, content_type=FORMATS[request.audio_format]),),
        )

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return explain(head, body, CODES)


class HexEvents:
    """Events with hexadecimal pieces; the last one (status 2) has the count of characters."""

    def __init__(self, characters: int) -> None:
        self.expected: Usage | None = Usage(characters=characters, estimated=True)
        self.usage: Usage | None = None
        self.finish_reason: str | None = None
        self.upstream_id: str | None = None
        self.delivered_output = False
        self._characters = characters
        self._events = Events(_EVENT_BYTES_MAX)
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
        document = members_of(data)
        _check(document)
        self.upstream_id = self.upstream_id or text(document.get("trace_id"))
        last = count(mapping(document.get("data")).get("status")) == 2
        if last:
            self._done = True
            self.usage = _usage(document, self._characters)
            if self.delivered_output:
                return b""  # all of it once more
        audio = _audio(document)
        self.delivered_output = self.delivered_output or bool(audio)
        return audio


def _check(document: dict[str, object]) -> None:
    """``base_resp`` tells errors with a number that is not 0."""
    if mapping(document.get("base_resp")).get("status_code") or "error" in document:
        raise inside_200(document, CODES)


def _audio(document: dict[str, object]) -> bytes:
    try:
        return bytes.fromhex(text(mapping(document.get("data")).get("audio")) or "")
    except ValueError:
        raise UpstreamError("upstream_error", "the upstream's audio is malformed") from None


def _usage(document: dict[str, object], characters: int) -> Usage:
    told = mapping(document.get("extra_info")).get("usage_characters")
    if type(told) is int and told > 0:
        return Usage(characters=count(told))
    return Usage(characters=characters, estimated=True)


SPEECH = MiniMaxSpeech()
