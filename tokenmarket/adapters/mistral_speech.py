"""Speech of Mistral (Voxtral TTS): OpenAI's path, base64 in a document.

A recorded exchange of 2026-08-19; facts as of 2026-11-23. Unknown members are refused there. Their
pcm is not OpenAI's (another kind of sample), so it is made of wav here.
"""

from __future__ import annotations

from tokenmarket.adapters.kit.openai_errors import explain, inside_200
from tokenmarket.adapters.kit.shape import text
from tokenmarket.adapters.kit.speech import (
    characters_of,
    formats_of,
    members_of,
    request_to,
    spoken,
    unread,
)
from tokenmarket.adapters.protocol import Head, MediaAdapter, Produced, Reply, UpstreamRequest
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import FailureKind, UpstreamError
from tokenmarket.core.media.speech import FORMATS
from tokenmarket.core.requests import Request
from tokenmarket.core.usage import Usage

CODES: dict[str, FailureKind] = {"1500": "not_found"}  # "Invalid model"


class MistralSpeech(MediaAdapter):
    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        members: dict[str, object] = {
            "model": route.upstream_model,
            "input": spoken(request).input,
            "voice": request.voice,
            "response_format": request.audio_format,
        }
        return request_to("/audio/speech", members, unread(request))

    def speech_formats(self, route: Route) -> tuple[str, ...]:
        return formats_of(route, ("wav", "mp3", "flac", "opus"))

    def read(self, request: Request, route: Route, head: Head, body: bytes) -> Reply:
        document = members_of(body)
        data = text(document.get("audio_data"))
        if data is None:
            raise inside_200(document, CODES)
        return Reply(
            {},
            Usage(characters=characters_of(request)),
            upstream_id=head.headers.get("mistral-correlation-id"),
            produced=(Produced(b64=data, content_type=FORMATS[request.audio_format]),),
        )

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return explain(head, body, CODES)


SPEECH = MistralSpeech()
