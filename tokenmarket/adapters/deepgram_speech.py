"""Speech of Deepgram (Aura): ``POST /speak``, everything but the text in the query.

``reference/media/audio.md`` section 2 (deepgram-api-specs, 2026-07-22) and a recorded exchange;
facts as of 2026-11-23. The model is the voice: ``aura-2`` of our catalog and the voice
``thalia-en`` are their model ``aura-2-thalia-en``. The answer's head counts the characters.
"""

from __future__ import annotations

import re
from typing import ClassVar
from urllib.parse import quote

import msgspec

from tokenmarket.adapters.kit.openai_errors import BODY_BYTES_MAX
from tokenmarket.adapters.kit.shape import text
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
from tokenmarket.core.parse import refuse
from tokenmarket.core.requests import Request
from tokenmarket.core.usage import Usage

_FORMATS = {
    "mp3": "encoding=mp3",
    "opus": "encoding=opus&container=ogg",
    "aac": "encoding=aac",
    "flac": "encoding=flac",
    "wav": "encoding=linear16&container=wav&sample_rate=24000",
    "pcm": "encoding=linear16&container=none&sample_rate=24000",
}
_VOICE = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_SPEED_LEAST, _SPEED_MOST = 0.7, 1.5

_decode = msgspec.json.Decoder(dict[str, object]).decode


class DeepgramSpeech(ByteSpeech):
    formats: ClassVar[tuple[str, ...]] = tuple(_FORMATS)
    codes: ClassVar[dict[str, FailureKind]] = {  # err_code
        "invalid_auth": "auth",
        "insufficient_permissions": "forbidden",
        "project_not_found": "forbidden",
        "asr_payment_required": "no_balance",
        "payment_required": "no_balance",
        "too_many_requests": "rate_limited",
    }

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        voice = request.voice
        if _VOICE.fullmatch(voice) is None:
            refuse("A voice of this model is a name like thalia-en.", "voice", "unknown_voice")
        dropped = unread(request, "speed")
        family = f"{route.upstream_model}-"
        model = voice if voice.startswith(family) else family + voice
        path = f"/speak?model={quote(model, safe='')}&{_FORMATS[request.audio_format]}"
        speed = speed_within(request, _SPEED_LEAST, _SPEED_MOST, dropped)
        if speed is not None:
            path += f"&speed={speed:g}"
        return request_to(path, {"text": spoken(request).input}, dropped)

    def usage(self, request: Request, route: Route, head: Head) -> Usage:
        characters = counted(head.headers.get("dg-char-count"))
        return Usage(characters=characters_of(request) if characters is None else characters)

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        try:
            members = _decode(body[:BODY_BYTES_MAX])
        except (msgspec.DecodeError, RecursionError):
            return super().explain(head, body)
        code, message = text(members.get("err_code")), text(members.get("err_msg"))
        if code is None and message is None:
            return super().explain(head, body)
        return explained(head, message, code, self.codes)


SPEECH = DeepgramSpeech()
