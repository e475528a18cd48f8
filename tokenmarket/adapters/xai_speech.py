"""Speech of xAI: ``POST /tts``, bytes back; there is one model, which is not named.

A recorded exchange of 2026-08-10 and https://docs.x.ai/developers/model-capabilities/audio; facts
as of 2026-11-23. A language must be named, ``auto`` is one.
"""

from __future__ import annotations

from typing import ClassVar

from tokenmarket.adapters.kit.speech import (
    ByteSpeech,
    request_to,
    speed_within,
    spoken,
    unread,
)
from tokenmarket.adapters.protocol import UpstreamRequest
from tokenmarket.core.catalog import Route
from tokenmarket.core.media.speech import PCM_RATE_HZ
from tokenmarket.core.requests import Request

_SPEED_LEAST, _SPEED_MOST = 0.7, 1.5


class XaiSpeech(ByteSpeech):
    formats: ClassVar[tuple[str, ...]] = ("mp3", "wav", "pcm")

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        typed = spoken(request)
        dropped = unread(request, "speed", "language")
        members: dict[str, object] = {
            "text": typed.input,
            "voice_id": request.voice,
            "language": typed.language or "auto",
            "output_format": {"codec": request.audio_format, "sample_rate": PCM_RATE_HZ},
            "speed": speed_within(request, _SPEED_LEAST, _SPEED_MOST, dropped),
        }
        return request_to("/tts", members, dropped)


SPEECH = XaiSpeech()
