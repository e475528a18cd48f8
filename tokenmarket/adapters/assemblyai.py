"""AssemblyAI: upload the file, order a transcript, ask for it until it is there.

``reference/media/audio.md`` section 3 (official spec of 2026-03-23); facts as of 2026-11-23. The
key goes without a scheme. Times are milliseconds, the length is seconds. ``speech_models`` has no
default there: the route's upstream model is the one.
"""

from __future__ import annotations

import re
from functools import partial

import msgspec

from tokenmarket.adapters.kit.openai_request import HEADERS
from tokenmarket.adapters.kit.shape import mapping, sequence, text
from tokenmarket.adapters.kit.transcribe import (
    Transcription,
    asked_of,
    audio_of,
    billed,
    confidence,
    document_of,
    dropped,
    label,
    milliseconds,
    needs,
    whole_ms,
)
from tokenmarket.adapters.protocol import Again, Head, Reply, UpstreamRequest
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.media.transcripts import Segment, Transcript, Word
from tokenmarket.core.requests import Request

POLL_S = 3.0
_PENDING = frozenset({"queued", "processing"})
_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_BYTES = (("content-type", "application/octet-stream"),)
# Of a job that failed because of the file itself.
_NO_SPEECH = re.compile(
    r"does not appear to contain audio|no spoken audio|duration is too short|unsupported", re.I
)

_encode = msgspec.json.Encoder().encode


class AssemblyTranscription(Transcription):
    """Asynchronous; every step is an exchange of the same attempt."""

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        typed, upload = audio_of(request)
        taken = {"language", "keywords"}
        if typed.languages is not None and len(typed.languages) == 1 and typed.language is None:
            taken.add("languages")
        return UpstreamRequest("/upload", _BYTES, (upload,), dropped=dropped(request, taken))

    def read(self, request: Request, route: Route, head: Head, body: bytes) -> Reply | Again:
        document = document_of(body)
        address = text(document.get("upload_url"))
        if address is None or not address.startswith("https://"):
            raise self.failed(document)
        order = _encode(_order(request, route, address))
        return Again(
            UpstreamRequest("/transcript", HEADERS, order), partial(self._state, request, route)
        )

    def _state(self, request: Request, route: Route, head: Head, body: bytes) -> Reply | Again:
        document = document_of(body)
        status, job = text(document.get("status")), text(document.get("id"))
        if status == "completed":
            return _reply(document, request, route)
        if status == "error":
            message = text(document.get("error")) or "the transcript failed"
            if _NO_SPEECH.search(message[:500]):
                raise UpstreamError("bad_request", message[:300], code="invalid_audio")
            raise self.failed({"error": message})
        if status not in _PENDING or job is None or not _ID.fullmatch(job):
            raise self.failed(document)
        poll = UpstreamRequest(f"/transcript/{job}", (), b"", method="GET")
        return Again(poll, partial(self._state, request, route), POLL_S)


def _order(request: Request, route: Route, address: str) -> dict[str, object]:
    typed = asked_of(request)
    order: dict[str, object] = {
        "audio_url": address,
        "speech_models": [route.upstream_model],
        "punctuate": True,
        "format_text": True,
    }
    languages = typed.languages or ()
    language = typed.language or (languages[0] if len(languages) == 1 else None)
    if language is None:
        order["language_detection"] = True
    else:
        order["language_code"] = language
    if needs(typed) == "speakers":
        order["speaker_labels"] = True
    if typed.keywords:
        order["keyterms_prompt"] = typed.keywords
    return order


def _reply(document: dict[str, object], request: Request, route: Route) -> Reply:
    length_ms = milliseconds(document.get("audio_duration"))
    transcript = Transcript(
        text=(text(document.get("text")) or "").strip(),
        language=text(document.get("language_code")),
        duration_ms=length_ms,
        segments=tuple(_segment(mapping(item)) for item in sequence(document.get("utterances"))),
        words=tuple(_word(mapping(item)) for item in sequence(document.get("words"))),
    )
    return Reply(
        {},
        billed(None, length_ms, request, route.prices),
        upstream_id=text(document.get("id")),
        transcript=transcript,
    )


def _segment(item: dict[str, object]) -> Segment:
    return Segment(
        start_ms=whole_ms(item.get("start")),
        end_ms=whole_ms(item.get("end")),
        text=text(item.get("text")) or "",
        speaker=label(item.get("speaker")),
        confidence=confidence(item.get("confidence")),
    )


def _word(item: dict[str, object]) -> Word:
    return Word(
        text=text(item.get("text")) or "",
        start_ms=whole_ms(item.get("start")),
        end_ms=whole_ms(item.get("end")),
        confidence=confidence(item.get("confidence")),
        speaker=label(item.get("speaker")),
    )


TRANSCRIPTION = AssemblyTranscription()
