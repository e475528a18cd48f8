"""Speech of ElevenLabs: ``POST /text-to-speech/{voice}``, bytes as they are made.

``reference/media/audio.md`` section 2 (PyPI elevenlabs 2.78.0); facts as of 2026-11-23. The voice
is part of the path, the format of the query. The header ``character-cost`` counts credits, of which
a model takes one or half of one for a character: capability ``characters_per_credit``.
"""

from __future__ import annotations

import re
from typing import ClassVar, cast
from urllib.parse import quote

import msgspec

from tokenmarket.adapters.kit.openai_errors import BODY_BYTES_MAX
from tokenmarket.adapters.kit.shape import mapping, text
from tokenmarket.adapters.kit.speech import (
    ByteSpeech,
    characters_of,
    counted,
    explained,
    request_to,
    speed_within,
    spoken,
    unread,
)
from tokenmarket.adapters.protocol import Head, UpstreamRequest
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import FailureKind, UpstreamError
from tokenmarket.core.media.languages import language_code
from tokenmarket.core.media_rules import number
from tokenmarket.core.parse import refuse
from tokenmarket.core.requests import Request
from tokenmarket.core.usage import Usage

_FORMATS = {
    "mp3": "mp3_44100_128",
    "opus": "opus_48000_128",
    "pcm": "pcm_24000",
    "wav": "wav_24000",
}
# Members of their own body that go along as the caller wrote them.
_PASSED = ("voice_settings", "seed", "previous_text", "next_text", "apply_text_normalization")
_VOICE = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_SPEED_LEAST, _SPEED_MOST = 0.7, 1.2

_decode = msgspec.json.Decoder(dict[str, object]).decode


class ElevenLabsSpeech(ByteSpeech):
    formats: ClassVar[tuple[str, ...]] = tuple(_FORMATS)
    codes: ClassVar[dict[str, FailureKind]] = {  # detail.status
        "invalid_api_key": "auth",
        "missing_permissions": "forbidden",
        "quota_exceeded": "no_balance",
        "too_many_concurrent_requests": "rate_limited",
        "system_busy": "overloaded",
        "voice_not_found": "bad_request",
        "detected_unusual_activity": "forbidden",
    }

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        if _VOICE.fullmatch(request.voice) is None:
            refuse(
                "A voice of this model is an id of letters and digits.", "voice", "unknown_voice"
            )
        typed = spoken(request)
        dropped = unread(request, "speed", "language", *_PASSED)
        members: dict[str, object] = {"text": typed.input, "model_id": route.upstream_model}
        for name in _PASSED:
            if name in request.members:
                members[name] = request.members[name]
        speed = speed_within(request, _SPEED_LEAST, _SPEED_MOST, dropped)
        if speed is not None:
            members["voice_settings"] = {**_settings(request), "speed": speed}
        if typed.language:
            members["language_code"] = language_code(typed.language) or typed.language
        # A WAV header tells a length, so that format is not among those of /stream.
        way = "" if request.audio_format == "wav" else "/stream"
        voice = quote(request.voice, safe="")
        path = f"/text-to-speech/{voice}{way}?output_format={_FORMATS[request.audio_format]}"
        return request_to(path, members, dropped)

    def usage(self, request: Request, route: Route, head: Head) -> Usage:
        credits = counted(head.headers.get("character-cost"))
        if credits is None:
            return Usage(characters=characters_of(request))
        per_credit = number(route.model.capabilities.get("characters_per_credit")) or 1
        return Usage(characters=credits * per_credit)

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        try:
            detail = mapping(_decode(body[:BODY_BYTES_MAX]).get("detail"))
        except (msgspec.DecodeError, RecursionError):
            detail = {}
        status, message = text(detail.get("status")), text(detail.get("message"))
        if status is None:
            return super().explain(head, body)
        return explained(head, message, status, self.codes)


def _settings(request: Request) -> dict[str, object]:
    given = request.members.get("voice_settings")
    if given is None:
        return {}
    found: object = msgspec.json.decode(given)
    if found is not None and not isinstance(found, dict):
        refuse("voice_settings is an object.", "voice_settings")
    return mapping(cast("object", found))


SPEECH = ElevenLabsSpeech()
