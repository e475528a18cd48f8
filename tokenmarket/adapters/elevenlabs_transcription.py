"""ElevenLabs Scribe: ``POST /speech-to-text``, a form.

``reference/media/audio.md`` section 3; facts as of 2026-11-23. Words come with the spaces between
them and with sounds ("(laughter)") as items of their own, which are no words. Noises are not asked
for: OpenAI's transcripts have none.
"""

from __future__ import annotations

import math
from typing import ClassVar

from tokenmarket.adapters.kit.multipart import form
from tokenmarket.adapters.kit.shape import mapping, sequence, text
from tokenmarket.adapters.kit.transcribe import (
    Transcription,
    audio_of,
    billed,
    document_of,
    dropped,
    label,
    milliseconds,
    needs,
)
from tokenmarket.adapters.protocol import Head, Reply, UpstreamRequest
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import FailureKind
from tokenmarket.core.media.transcripts import Transcript, Word
from tokenmarket.core.requests import Request


class ScribeTranscription(Transcription):
    """Synchronous."""

    codes: ClassVar[dict[str, FailureKind]] = {
        "invalid_api_key": "auth",
        "missing_permissions": "forbidden",
        "quota_exceeded": "quota_exhausted",
        "too_many_concurrent_requests": "rate_limited",
        "system_busy": "overloaded",
    }

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        typed, upload = audio_of(request)
        fields = [
            ("model_id", route.upstream_model),
            ("timestamps_granularity", "word"),
            ("tag_audio_events", "false"),
            ("diarize", "true" if needs(typed) == "speakers" else "false"),
        ]
        taken = {"language", "temperature"}
        language = typed.language
        if language is None and typed.languages is not None and len(typed.languages) == 1:
            language = typed.languages[0]
            taken.add("languages")
        if language is not None:
            fields.append(("language_code", language))
        if typed.temperature is not None:
            fields.append(("temperature", f"{typed.temperature:g}"))
        if route.model.capabilities.get("keyterms") is True:
            fields += [("keyterms", word) for word in typed.keywords or ()]
            taken.add("keywords")
        headers, body = form(request.request_id, fields, [("file", upload)])
        return UpstreamRequest("/speech-to-text", headers, body, dropped=dropped(request, taken))

    def read(self, request: Request, route: Route, head: Head, body: bytes) -> Reply:
        document = document_of(body)
        if not isinstance(document.get("text"), str):
            raise self.failed(document)
        length_ms = milliseconds(document.get("audio_duration_secs"))
        items = [mapping(item) for item in sequence(document.get("words"))]
        transcript = Transcript(
            text=(text(document.get("text")) or "").strip(),
            language=text(document.get("language_code")),
            duration_ms=length_ms,
            words=tuple(_word(item) for item in items if item.get("type") in ("word", None)),
        )
        return Reply(
            {},
            billed(None, length_ms, request, route.prices),
            upstream_id=text(document.get("transcription_id")),
            transcript=transcript,
        )

    def error_of(self, document: dict[str, object]) -> dict[str, object] | None:
        detail = mapping(document.get("detail"))
        if not detail:
            return None
        code = text(detail.get("status")) or text(detail.get("code"))
        return {"message": detail.get("message"), "code": code}


def _word(item: dict[str, object]) -> Word:
    return Word(
        text=text(item.get("text")) or "",
        start_ms=milliseconds(item.get("start")),
        end_ms=milliseconds(item.get("end")),
        confidence=_probability(item.get("logprob")),
        speaker=label(item.get("speaker_id")),
    )


def _probability(logprob: object) -> float | None:
    if isinstance(logprob, bool) or not isinstance(logprob, int | float) or logprob > 0:
        return None
    return math.exp(logprob)


TRANSCRIPTION = ScribeTranscription()
