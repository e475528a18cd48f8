"""Deepgram: transcription of recorded audio, ``POST /listen`` with the file as the body.

``reference/media/audio.md`` section 3; https://developers.deepgram.com/reference/speech-to-text-api;
facts as of 2026-11-23. All parameters are in the query. ``multichannel`` (not OpenAI's) transcribes
every channel apart, and each is billed. Capabilities: ``keyterms`` (takes ``keywords``),
``detect_language`` (false: the model knows one language only).
"""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import urlencode

from tokenmarket.adapters.kit.shape import mapping, sequence, text
from tokenmarket.adapters.kit.transcribe import (
    Transcription,
    audio_of,
    billed,
    confidence,
    document_of,
    dropped,
    label,
    milliseconds,
    needs,
)
from tokenmarket.adapters.protocol import Head, Reply, UpstreamRequest
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import FailureKind
from tokenmarket.core.media.transcripts import Segment, Transcript, Word
from tokenmarket.core.requests import Request

Channel = dict[str, object]


class DeepgramTranscription(Transcription):
    """Synchronous; there is no streaming of recorded audio."""

    codes: ClassVar[dict[str, FailureKind]] = {
        "invalid_auth": "auth",
        "insufficient_permissions": "forbidden",
        "asr_payment_required": "no_balance",
        "too_many_requests": "rate_limited",
    }

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        typed, upload = audio_of(request)
        query = [
            ("model", route.upstream_model),
            ("smart_format", "true"),  # punctuation, numerals
            ("utterances", "true"),
        ]
        taken = {"language", "multichannel"}
        language = typed.language
        if language is None and typed.languages is not None and len(typed.languages) == 1:
            language = typed.languages[0]
            taken.add("languages")
        if language is not None:
            query.append(("language", language))
        elif route.model.capabilities.get("detect_language") is not False:
            query.append(("detect_language", "true"))
        if needs(typed) == "speakers":
            query.append(("diarize", "true"))
        if route.model.capabilities.get("keyterms") is True:
            query += [("keyterm", word) for word in typed.keywords or ()]
            taken.add("keywords")
        if bytes(request.members.get("multichannel", b"")) in (b"true", b'"true"'):
            query.append(("multichannel", "true"))
        headers = (("content-type", upload.content_type or "application/octet-stream"),)
        return UpstreamRequest(
            f"/listen?{urlencode(query)}", headers, (upload,), dropped=dropped(request, taken)
        )

    def read(self, request: Request, route: Route, head: Head, body: bytes) -> Reply:
        document = document_of(body)
        results = mapping(document.get("results"))
        channels = [mapping(item) for item in sequence(results.get("channels"))]
        if not channels:
            raise self.failed(document)
        facts = mapping(document.get("metadata"))
        length_ms = milliseconds(facts.get("duration"))
        billed_ms = None if length_ms is None else length_ms * len(channels)
        transcript = _transcript(channels, sequence(results.get("utterances")), length_ms)
        usage = billed(None, billed_ms, request, route.prices)
        upstream_id = text(facts.get("request_id"))
        return Reply({}, usage, upstream_id=upstream_id, transcript=transcript)

    def error_of(self, document: dict[str, object]) -> dict[str, object] | None:
        if "err_msg" not in document and "err_code" not in document:
            return None
        return {"message": document.get("err_msg"), "code": document.get("err_code")}


def _transcript(
    channels: list[Channel], utterances: list[object], length_ms: int | None
) -> Transcript:
    apart = len(channels) > 1
    best = [
        mapping(next(iter(sequence(channel.get("alternatives"))), None)) for channel in channels
    ]
    words = [
        _word(mapping(item), number if apart else None)
        for number, alternative in enumerate(best)
        for item in sequence(alternative.get("words"))
    ]
    texts = [(text(alternative.get("transcript")) or "").strip() for alternative in best]
    return Transcript(
        text="\n".join(one for one in texts if one),
        language=text(channels[0].get("detected_language")),
        duration_ms=length_ms,
        segments=tuple(_segment(mapping(item), apart) for item in utterances),
        words=tuple(sorted(words, key=lambda word: word.start_ms or 0) if apart else words),
    )


def _word(item: dict[str, object], channel: int | None) -> Word:
    return Word(
        text=text(item.get("punctuated_word")) or text(item.get("word")) or "",
        start_ms=milliseconds(item.get("start")),
        end_ms=milliseconds(item.get("end")),
        confidence=confidence(item.get("confidence")),
        speaker=_speaker(item, channel),
    )


def _segment(item: dict[str, object], apart: bool) -> Segment:
    channel = item.get("channel") if apart else None
    return Segment(
        start_ms=milliseconds(item.get("start")),
        end_ms=milliseconds(item.get("end")),
        text=text(item.get("transcript")) or "",
        speaker=_speaker(item, channel if isinstance(channel, int) else None),
        confidence=confidence(item.get("confidence")),
    )


def _speaker(item: dict[str, object], channel: int | None) -> str | None:
    """Speakers are counted in every channel anew."""
    name = label(item.get("speaker"))
    if channel is None:
        return name
    return f"channel_{channel}" if name is None else f"channel_{channel}_{name}"


TRANSCRIPTION = DeepgramTranscription()
