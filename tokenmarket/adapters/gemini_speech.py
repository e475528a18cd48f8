"""Speech of Gemini: ``:generateContent`` with AUDIO as its modality, raw samples in the answer.

``reference/media/audio.md`` section 2 and a recorded exchange; facts as of 2026-11-23. The answer
is a document with base64 of ``audio/L16;rate=24000`` (little endian, whatever the name promises): a
WAV header goes before it, other formats are transcoded. How to speak is said before the text.
"""

from __future__ import annotations

from urllib.parse import quote

from tokenmarket.adapters.kit.google_errors import described, explain
from tokenmarket.adapters.kit.shape import count, mapping, sequence, text
from tokenmarket.adapters.kit.speech import (
    audio_bytes,
    characters_of,
    formats_of,
    members_of,
    request_to,
    spoken,
    unread,
)
from tokenmarket.adapters.protocol import Head, MediaAdapter, Produced, Reply, UpstreamRequest
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.media.speech import FORMATS, PCM_RATE_HZ, l16_rate_hz, wav_header
from tokenmarket.core.pricing import PriceSheet
from tokenmarket.core.requests import Request
from tokenmarket.core.usage import Usage

# finishReason and blockReason that mean a refusal of the text; any other is a failure.
_REFUSALS = frozenset(
    {"SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "RECITATION", "BLOCK_REASON_UNSPECIFIED"}
)


class GeminiSpeech(MediaAdapter):
    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        typed = spoken(request)
        dropped = unread(request, "instructions", "language")
        words = typed.input
        if typed.instructions:
            words = f"{typed.instructions.rstrip().rstrip(':')}:\n{words}"
        voice: dict[str, object] = {
            "voiceConfig": {"prebuiltVoiceConfig": {"voiceName": request.voice}}
        }
        if typed.language:
            voice["languageCode"] = typed.language
        path = f"/models/{quote(route.upstream_model, safe='')}:generateContent"
        members: dict[str, object] = {
            "contents": [{"role": "user", "parts": [{"text": words}]}],
            "generationConfig": {"responseModalities": ["AUDIO"], "speechConfig": voice},
        }
        return request_to(path, members, dropped)

    def speech_formats(self, route: Route) -> tuple[str, ...]:
        return formats_of(route, ("wav", "pcm"))

    def read(self, request: Request, route: Route, head: Head, body: bytes) -> Reply:
        document = members_of(body)
        error = mapping(document.get("error"))
        if error:
            raise described(error, None)
        candidate = mapping(next(iter(sequence(document.get("candidates"))), None))
        pcm, rate_hz = _samples(candidate)
        if not pcm:
            raise _silent(document, candidate)
        if request.audio_format == "pcm":
            if rate_hz != PCM_RATE_HZ:
                raise UpstreamError("upstream_error", f"samples of {rate_hz} Hz are no pcm")
            audio = pcm
        else:
            audio = wav_header(len(pcm), rate_hz) + pcm
        return Reply(
            {},
            _usage(document.get("usageMetadata"), route.prices, characters_of(request)),
            upstream_id=text(document.get("responseId")),
            produced=(Produced(data=audio, content_type=FORMATS[request.audio_format]),),
        )

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return explain(head, body)


def _samples(candidate: dict[str, object]) -> tuple[bytes, int]:
    """All samples of the answer, and how many are a second."""
    pieces: list[bytes] = []
    rate_hz: int | None = None
    for item in sequence(mapping(candidate.get("content")).get("parts")):
        inline = mapping(mapping(item).get("inlineData"))
        data = text(inline.get("data"))
        if data is None:
            continue
        rate = l16_rate_hz(text(inline.get("mimeType")) or "")
        if rate is None or rate_hz not in (None, rate):
            raise UpstreamError("upstream_error", "the upstream's audio has an unknown form")
        rate_hz = rate
        pieces.append(audio_bytes(data))
    return b"".join(pieces), rate_hz or PCM_RATE_HZ


def _silent(document: dict[str, object], candidate: dict[str, object]) -> UpstreamError:
    """Why there is no audio."""
    blocked = text(mapping(document.get("promptFeedback")).get("blockReason"))
    ended = text(candidate.get("finishReason"))
    reason = (blocked or ended or "no candidate")[:80]
    if blocked is not None or ended in _REFUSALS:
        return UpstreamError("content_policy", f"the text was refused ({reason})", code=reason)
    return UpstreamError(
        "upstream_error", f"no audio came back ({reason})", code="no_audio_returned"
    )


def _usage(value: object, prices: PriceSheet, characters: int) -> Usage | None:
    """``usageMetadata`` in disjoint units; None where tokens are the unit and nobody told them."""
    usage = mapping(value)
    if "promptTokenCount" not in usage:
        return Usage(characters=characters) if prices.has("character") else None
    made = count(usage.get("candidatesTokenCount"))
    audio = made
    details = [mapping(item) for item in sequence(usage.get("candidatesTokensDetails"))]
    if details:
        audio = sum(
            count(item.get("tokenCount")) for item in details if item.get("modality") == "AUDIO"
        )
    return Usage(
        input_tokens=count(usage.get("promptTokenCount")),
        output_tokens=made - audio,
        reasoning_tokens=count(usage.get("thoughtsTokenCount")),
        audio_output_tokens=audio,
        characters=characters,
    )


SPEECH = GeminiSpeech()
