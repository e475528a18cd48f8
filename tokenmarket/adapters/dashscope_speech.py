"""Speech of DashScope: two native APIs, both answering with an address.

``reference/media/audio.md`` section 2 (PyPI dashscope 2.0.2); facts as of 2026-11-23. Qwen-TTS is
asked as a multimodal generation and makes wav alone; CosyVoice and Qwen-Audio-TTS have the
SpeechSynthesizer with formats, a speed and an instruction. A model's capability ``speech_api``
("generation", "synthesizer") says otherwise. The address is plain http on a store that has https.
"""

from __future__ import annotations

from tokenmarket.adapters.kit import dashscope_codes
from tokenmarket.adapters.kit.openai_errors import explain, inside_200
from tokenmarket.adapters.kit.shape import count, mapping, text
from tokenmarket.adapters.kit.speech import (
    characters_of,
    formats_of,
    members_of,
    request_to,
    speed_within,
    spoken,
    unread,
)
from tokenmarket.adapters.protocol import Head, MediaAdapter, Produced, Reply, UpstreamRequest
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import FailureKind, UpstreamError
from tokenmarket.core.media.languages import english_name, language_code
from tokenmarket.core.media.speech import FORMATS, PCM_RATE_HZ
from tokenmarket.core.pricing import PriceSheet
from tokenmarket.core.requests import Request
from tokenmarket.core.usage import Usage

CODES: dict[str, FailureKind] = {
    **dashscope_codes.CODES,
    "throttling.burstrate": "rate_limited",
    "data_inspection_failed": "content_policy",
    "invalidparameter": "bad_request",
}
_GENERATION = "/api/v1/services/aigc/multimodal-generation/generation"
_SYNTHESIZER = "/api/v1/services/audio/tts/SpeechSynthesizer"
_SPEED_LEAST, _SPEED_MOST = 0.5, 2.0
# Of the synthesizer's input, as the caller wrote them.
_PASSED = ("volume", "pitch")


class DashScopeSpeech(MediaAdapter):
    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        typed = spoken(request)
        given: dict[str, object] = {"text": typed.input, "voice": request.voice}
        if _has_synthesizer(route):
            path = _SYNTHESIZER
            dropped = unread(request, "speed", "instructions", *_PASSED)
            given["format"] = request.audio_format
            given["sample_rate"] = PCM_RATE_HZ
            speed = speed_within(request, _SPEED_LEAST, _SPEED_MOST, dropped)
            if speed is not None:
                given["rate"] = speed
            if typed.instructions:
                given["instruction"] = typed.instructions
            for name in _PASSED:
                if name in request.members:
                    given[name] = request.members[name]
        else:
            path = _GENERATION
            dropped = unread(request, "language")
            if typed.language and language_code(typed.language):
                given["language_type"] = english_name(typed.language).capitalize()
            elif typed.language:
                dropped.append("language")
        members: dict[str, object] = {"model": route.upstream_model, "input": given}
        return request_to(path, members, dropped, from_root=True)

    def speech_formats(self, route: Route) -> tuple[str, ...]:
        made = ("mp3", "wav", "opus", "pcm") if _has_synthesizer(route) else ("wav",)
        return formats_of(route, made)

    def read(self, request: Request, route: Route, head: Head, body: bytes) -> Reply:
        document = members_of(body)
        audio = mapping(mapping(document.get("output")).get("audio"))
        url, data = text(audio.get("url")), text(audio.get("data"))
        kind = FORMATS[request.audio_format]
        if url is not None:
            secure = "https://" + url[7:] if url[:7].lower() == "http://" else url
            produced = Produced(url=secure, content_type=kind)
        elif data is not None:
            produced = Produced(b64=data, content_type=kind)
        elif document.get("code"):
            raise inside_200(document, CODES)
        else:
            raise UpstreamError("upstream_error", "the upstream's answer has no audio")
        return Reply(
            {},
            _usage(document.get("usage"), route.prices, characters_of(request)),
            upstream_id=text(document.get("request_id")),
            produced=(produced,),
        )

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return explain(head, body, CODES)


def _has_synthesizer(route: Route) -> bool:
    said = route.model.capabilities.get("speech_api")
    if said is not None:
        return said == "synthesizer"
    return route.upstream_model.startswith(("cosyvoice", "qwen-audio"))


def _usage(value: object, prices: PriceSheet, characters: int) -> Usage | None:
    """Characters as they count them (a Chinese one twice), or tokens, by what the price is for."""
    usage = mapping(value)
    if prices.has("character"):
        told = count(usage.get("characters"))
        return Usage(characters=told if told > 0 else characters)
    if "input_tokens" not in usage and "output_tokens" not in usage:
        return None
    return Usage(
        input_tokens=count(usage.get("input_tokens")),
        audio_output_tokens=count(usage.get("output_tokens")),
        characters=characters,
    )


SPEECH = DashScopeSpeech()
