"""Azure Speech: fast transcription, a form of ``audio`` and ``definition``.

``reference/media/audio.md`` section 3; learn.microsoft.com, "Use the fast transcription API",
version 2024-11-15. The base URL is ``https://{region}.api.cognitive.microsoft.com``. Locales have a
country ("en-US"): a bare language becomes that of its largest locale, one that is unknown is left
to the model, which then finds it out. Swear words are masked unless it is told not to.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from tokenmarket.adapters.kit.multipart import form
from tokenmarket.adapters.kit.shape import mapping, sequence, text
from tokenmarket.adapters.kit.transcribe import (
    Transcription,
    audio_of,
    billed,
    confidence,
    document_of,
    dropped,
    label,
    needs,
    whole_ms,
)
from tokenmarket.adapters.protocol import Head, Reply, UpstreamRequest
from tokenmarket.core.bodies import TranscriptionBody
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import FailureKind
from tokenmarket.core.media.transcripts import Segment, Transcript, Word
from tokenmarket.core.requests import Request

PATH = "/speechtotext/transcriptions:transcribe?api-version=2024-11-15"
SPEAKERS_MAX = 10
LOCALES = {
    "ar": "ar-SA",
    "da": "da-DK",
    "de": "de-DE",
    "en": "en-US",
    "es": "es-ES",
    "fi": "fi-FI",
    "fr": "fr-FR",
    "he": "he-IL",
    "hi": "hi-IN",
    "id": "id-ID",
    "it": "it-IT",
    "ja": "ja-JP",
    "ko": "ko-KR",
    "nl": "nl-NL",
    "pl": "pl-PL",
    "pt": "pt-BR",
    "ru": "ru-RU",
    "sv": "sv-SE",
    "th": "th-TH",
    "tr": "tr-TR",
    "vi": "vi-VN",
    "zh": "zh-CN",
}


class FastTranscription(Transcription):
    """Synchronous; at most two hours and 200 MB."""

    codes: ClassVar[dict[str, FailureKind]] = {
        "401": "auth",
        "unauthorized": "auth",
        "forbidden": "forbidden",
        "quotaexceeded": "quota_exhausted",
        "toomanyrequests": "rate_limited",
        "internalservererror": "upstream_error",
    }

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        typed, upload = audio_of(request)
        definition: dict[str, object] = {"profanityFilterMode": "None"}
        taken: set[str] = set()
        locales = _locales(typed, taken)
        if locales:
            definition["locales"] = locales
        if needs(typed) == "speakers":
            definition["diarization"] = {"enabled": True, "maxSpeakers": SPEAKERS_MAX}
        fields = [("definition", msgspec.json.encode(definition).decode())]
        headers, body = form(request.request_id, fields, [("audio", upload)])
        return UpstreamRequest(PATH, headers, body, dropped=dropped(request, taken), from_root=True)

    def read(self, request: Request, route: Route, head: Head, body: bytes) -> Reply:
        document = document_of(body)
        combined = document.get("combinedPhrases")
        if not isinstance(combined, list):
            raise self.failed(document)
        phrases = [mapping(item) for item in sequence(document.get("phrases"))]
        texts = [text(mapping(item).get("text")) for item in sequence(document["combinedPhrases"])]
        length_ms = whole_ms(document.get("durationMilliseconds"))
        transcript = Transcript(
            text="\n".join(one.strip() for one in texts if one),
            language=_language(phrases),
            duration_ms=length_ms,
            segments=tuple(_segment(item) for item in phrases),
            words=tuple(
                _word(mapping(word), label(item.get("speaker")))
                for item in phrases
                for word in sequence(item.get("words"))
            ),
        )
        usage = billed(None, length_ms, request, route.prices)
        return Reply({}, usage, transcript=transcript)

    def error_of(self, document: dict[str, object]) -> dict[str, object] | None:
        if "innerError" not in document:
            return None
        inner = mapping(document.get("innerError"))
        return {
            "message": inner.get("message") or document.get("message"),
            "code": document.get("code"),
        }


def _locales(typed: TranscriptionBody, taken: set[str]) -> list[str]:
    """Those that Azure knows; the parameter counts as taken only if all of it went."""
    name = "language" if typed.language is not None else "languages"
    asked = [typed.language] if typed.language is not None else typed.languages or []
    found = [one if "-" in one else LOCALES.get(one.lower(), "") for one in asked]
    if all(found):
        taken.add(name)
    return [one for one in found if one]


def _language(phrases: list[dict[str, object]]) -> str | None:
    locale = next((found for item in phrases if (found := text(item.get("locale")))), None)
    return None if locale is None else locale.split("-")[0].lower()


def _segment(item: dict[str, object]) -> Segment:
    start, end = _times(item)
    return Segment(
        start_ms=start,
        end_ms=end,
        text=text(item.get("text")) or "",
        speaker=label(item.get("speaker")),
        confidence=confidence(item.get("confidence")),
    )


def _word(item: dict[str, object], speaker: str | None) -> Word:
    start, end = _times(item)
    return Word(text=text(item.get("text")) or "", start_ms=start, end_ms=end, speaker=speaker)


def _times(item: dict[str, object]) -> tuple[int | None, int | None]:
    start = whole_ms(item.get("offsetMilliseconds"))
    length = whole_ms(item.get("durationMilliseconds"))
    return start, None if start is None or length is None else start + length


TRANSCRIPTION = FastTranscription()
