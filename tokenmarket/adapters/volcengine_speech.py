"""Speech of Volcengine (Doubao): ``POST /tts/unidirectional``, a line of JSON for each piece.

``reference/media/audio.md`` section 2; facts as of 2026-11-23, from third parties. The base URL is
``https://openspeech.bytedance.com/api/v3``, the key one of the new kind (``X-Api-Key``: keys of the
two kinds mixed give "requested grant not found"). The model is named in a header. Code 0 is a
piece, 20000000 the end, any other an error, whatever the status was.
"""

from __future__ import annotations

from typing import ClassVar

from tokenmarket.adapters.kit.openai_errors import inside_200
from tokenmarket.adapters.kit.openai_request import HEADERS
from tokenmarket.adapters.kit.shape import text
from tokenmarket.adapters.kit.speech import (
    ByteSpeech,
    audio_bytes,
    characters_of,
    members_of,
    request_to,
    speed_within,
    spoken,
    unread,
)
from tokenmarket.adapters.protocol import Head, SpeechDecoder, UpstreamRequest
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import FailureKind, UpstreamError
from tokenmarket.core.media.speech import PCM_RATE_HZ
from tokenmarket.core.requests import Request
from tokenmarket.core.usage import Usage

_FORMATS = {"mp3": "mp3", "opus": "ogg_opus", "pcm": "pcm"}
_SPEED_LEAST, _SPEED_MOST = 0.5, 2.0
_PIECE, _END = 0, 20_000_000
_LINE_BYTES_MAX = 8 * 1024 * 1024


class VolcengineSpeech(ByteSpeech):
    formats: ClassVar[tuple[str, ...]] = tuple(_FORMATS)
    codes: ClassVar[dict[str, FailureKind]] = {}

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        typed = spoken(request)
        dropped = unread(request, "speed")
        audio: dict[str, object] = {
            "format": _FORMATS[request.audio_format],
            "sample_rate": PCM_RATE_HZ,
        }
        speed = speed_within(request, _SPEED_LEAST, _SPEED_MOST, dropped)
        if speed is not None:
            audio["speech_rate"] = round((speed - 1) * 100)
        members: dict[str, object] = {
            "user": {"uid": typed.user or "tokenmarket"},
            "req_params": {"text": typed.input, "speaker": request.voice, "audio_params": audio},
        }
        headers = (
            *HEADERS,
            ("x-api-resource-id", route.upstream_model),
            ("x-api-request-id", request.request_id),
        )
        return request_to("/tts/unidirectional", members, dropped, headers=headers)

    def speech(self, request: Request, route: Route, head: Head) -> SpeechDecoder:
        return Lines(Usage(characters=characters_of(request)), head, self.codes)


class Lines:
    """Pieces of base64, one a line."""

    def __init__(self, expected: Usage, head: Head, codes: dict[str, FailureKind]) -> None:
        self.expected: Usage | None = expected
        self.usage: Usage | None = None
        self.finish_reason: str | None = None
        self.upstream_id = head.headers.get("x-tt-logid")
        self.delivered_output = False
        self._codes = codes
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._done = False

    def feed(self, data: bytes) -> bytes:
        if b"\n" not in data:
            self._hold(data)
            return b""
        *lines, rest = b"".join((*self._held, data)).split(b"\n")
        self._held.clear()
        self._held_bytes = 0
        self._hold(rest)
        return b"".join([self._take(line) for line in lines])

    def finish(self) -> bytes:
        rest = self._take(b"".join(self._held))
        if not self._done:
            raise UpstreamError("stream_broken", "the speech ended without its last line")
        if not self.delivered_output:
            raise UpstreamError("upstream_error", "the upstream's audio is empty")
        self.usage = self.expected
        return rest

    def tail(self, usage_json: bytes | None) -> bytes:
        return b""

    def _hold(self, data: bytes) -> None:
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > _LINE_BYTES_MAX:
            raise UpstreamError("upstream_error", "one line of the answer is too long")

    def _take(self, line: bytes) -> bytes:
        if not line.strip():
            return b""
        piece = members_of(line)
        code = piece.get("code")
        if code == _END and type(code) is int:
            self._done = True
        elif type(code) is not int or code != _PIECE:
            raise inside_200(piece, self._codes)
        audio = audio_bytes(text(piece.get("data")))
        self.delivered_output = self.delivered_output or bool(audio)
        return audio


SPEECH = VolcengineSpeech()
