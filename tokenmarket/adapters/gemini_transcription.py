"""Gemini's transcription models: the Interactions API, ``POST /interactions``, with inline audio.

Types of google-genai 3.4.0 (TranscriptionConfig, VerbatimTranscriptionMode, WordInfo), revision
2026-05-20; answers as in the recordings of Interactions; facts as of 2026-11-23. Words with times
and speakers are annotations of the text, and come only if asked for. Nothing is to be kept there
(``store``).
"""

from __future__ import annotations

import base64
import re

import msgspec

from tokenmarket.adapters.kit.google_errors import described, explain
from tokenmarket.adapters.kit.openai_errors import inside_200
from tokenmarket.adapters.kit.openai_request import HEADERS, unsupported
from tokenmarket.adapters.kit.shape import count, mapping, sequence, text
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
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.media.transcripts import Transcript, Word
from tokenmarket.core.requests import Request
from tokenmarket.core.usage import Usage

INLINE_BYTES_MAX = 15_000_000  # 20 MB as base64
_HEADERS = (*HEADERS, ("api-revision", "2026-05-20"))
_OFFSET = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s", re.ASCII)

_encode = msgspec.json.Encoder().encode


class GeminiTranscription(Transcription):
    """Synchronous."""

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        typed, upload = audio_of(request)
        if upload.size > INLINE_BYTES_MAX:
            why = f"{route.provider.name} takes files of at most {INLINE_BYTES_MAX} bytes here."
            unsupported("file", route, why)
        taken = {"language", "languages", "keywords"}
        config: dict[str, object] = {}
        languages = [typed.language] if typed.language is not None else typed.languages
        if typed.language is not None and typed.languages is not None:
            taken.discard("languages")
        if languages:
            config["language_codes"] = languages
        if typed.keywords:
            config["custom_vocabulary"] = typed.keywords
        lacking = needs(typed)
        if lacking:
            mode: dict[str, object] = {"type": "verbatim", "timestamp_granularities": ["word"]}
            if lacking == "speakers":
                mode["diarization_mode"] = "speaker"
            config["mode"] = mode
        data = base64.b64encode(upload.data()).decode("ascii")
        body: dict[str, object] = {
            "model": route.upstream_model,
            "input": [{"type": "audio", "data": data, "mime_type": upload.content_type}],
            "store": False,
        }
        if config:
            body["generation_config"] = {"transcription_config": config}
        return UpstreamRequest(
            "/interactions", _HEADERS, _encode(body), dropped=dropped(request, taken)
        )

    def read(self, request: Request, route: Route, head: Head, body: bytes) -> Reply:
        document = document_of(body)
        error = mapping(document.get("error"))
        if error:
            raise described(error, None)
        status = document.get("status")
        if status != "completed":
            if isinstance(status, str):
                raise UpstreamError("upstream_error", f"the transcript ended {status[:40]!r}")
            raise inside_200(document, {})
        parts = [
            part
            for step in sequence(document.get("steps"))
            for part in map(mapping, sequence(mapping(step).get("content")))
            if part.get("type") == "text"
        ]
        transcript = Transcript(
            text=" ".join(found.strip() for part in parts if (found := text(part.get("text")))),
            words=tuple(
                _word(note)
                for part in parts
                for note in map(mapping, sequence(part.get("annotations")))
                if note.get("type") == "word_info"
            ),
        )
        usage = billed(_usage(document.get("usage")), None, request, route.prices)
        upstream_id = text(document.get("id"))
        return Reply({}, usage, upstream_id=upstream_id, transcript=transcript)

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return explain(head, body)


def _word(note: dict[str, object]) -> Word:
    return Word(
        text=text(note.get("text")) or "",
        start_ms=_offset_ms(note.get("start_offset")),
        end_ms=_offset_ms(note.get("end_offset")),
        speaker=label(note.get("speaker")),
    )


def _offset_ms(value: object) -> int | None:
    """Google's duration: "1.25s"."""
    found = _OFFSET.fullmatch(value) if isinstance(value, str) else None
    return None if found is None else milliseconds(float(found.group(1)))


def _usage(value: object) -> Usage | None:
    usage = mapping(value)
    if "total_input_tokens" not in usage:
        return None
    audio = sum(
        count(mapping(item).get("tokens"))
        for item in sequence(usage.get("input_tokens_by_modality"))
        if mapping(item).get("modality") == "audio"
    )
    return Usage(
        input_tokens=count(usage.get("total_input_tokens")) - audio,
        audio_input_tokens=audio,
        output_tokens=count(usage.get("total_output_tokens")),
        reasoning_tokens=count(usage.get("total_thought_tokens")),
    )


TRANSCRIPTION = GeminiTranscription()
