"""Transcription and translation of OpenAI and servers that speak its wire.

``OpenAITranscription(TranscriptionQuirks(...))``; ``reference/media/audio.md`` section 1.2. What a
model can answer is its capability ``upstream_formats`` (whisper-1: all but diarized_json;
gpt-4o-transcribe: json only). Of those the richest that holds what the caller asked for is asked
for, and the gateway renders the caller's format from it, so that length and times can be checked.
"""

from __future__ import annotations

from typing import cast

import msgspec

from tokenmarket.adapters.kit.media_usage import audio_usage
from tokenmarket.adapters.kit.multipart import form
from tokenmarket.adapters.kit.openai_errors import explain, inside_200
from tokenmarket.adapters.kit.openai_transcript_stream import TranscriptEvents
from tokenmarket.adapters.kit.shape import mapping, sequence, text
from tokenmarket.adapters.protocol import (
    Decoder,
    Head,
    MediaAdapter,
    Reply,
    UpstreamRequest,
)
from tokenmarket.core.bodies import TranscriptionBody
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import ApiError, FailureKind, UpstreamError
from tokenmarket.core.media.transcripts import Segment, Transcript, Word
from tokenmarket.core.requests import Request
from tokenmarket.core.usage import Usage

_decode = msgspec.json.Decoder(dict[str, object]).decode
_ALL_FORMATS = ("json", "text", "srt", "verbose_json", "vtt")  # whisper-1
_TIMED = frozenset({"srt", "vtt", "verbose_json"})
# Members of verbose_json that the renderer writes itself.
_OWN = frozenset({"text", "language", "duration", "segments", "words", "usage", "task"})


class TranscriptionQuirks(msgspec.Struct, frozen=True):
    """One dialect. Sets name form fields."""

    path: str = "/audio/transcriptions"
    translations_path: str = "/audio/translations"
    streams: bool = False
    lists: bool = True  # repeated ``name[]``; False: ``name`` repeated
    drop: frozenset[str] = frozenset()  # removed, and named in ``dropped``
    codes: dict[str, FailureKind] = {}


class OpenAITranscription(MediaAdapter):
    """Both operations; the file goes out as it lies in its spool."""

    inputs = "bytes"

    def __init__(self, quirks: TranscriptionQuirks) -> None:
        self.quirks = quirks

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        typed = request.typed
        upload = request.inputs[0].upload if request.inputs else None
        if not isinstance(typed, TranscriptionBody) or upload is None:
            raise TypeError(f"a transcription adapter was given {request.operation}")
        dropped: list[str] = []
        fields = [
            ("model", route.upstream_model),
            ("response_format", upstream_format(typed, route)),
        ]
        if request.stream and self.quirks.streams:
            fields.append(("stream", "true"))
        for name, value in self._given(typed):
            if name.removesuffix("[]") in self.quirks.drop:
                if name not in dropped:
                    dropped.append(name.removesuffix("[]"))
            else:
                fields.append((name, value))
        headers, body = form(request.request_id, fields, [("file", upload)])
        path = self.quirks.path if request.operation == "transcription" else None
        return UpstreamRequest(
            path or self.quirks.translations_path, headers, body, dropped=tuple(dropped)
        )

    def _given(self, typed: TranscriptionBody) -> list[tuple[str, str]]:
        """The caller's parameters as form fields."""
        fields: list[tuple[str, str]] = []
        for name in ("language", "prompt"):
            value = getattr(typed, name)
            if value is not None:
                fields.append((name, value))
        if typed.temperature is not None:
            fields.append(("temperature", f"{typed.temperature:g}"))
        mark = "[]" if self.quirks.lists else ""
        for name in (
            "languages",
            "keywords",
            "timestamp_granularities",
            "include",
            "known_speaker_names",
            "known_speaker_references",
        ):
            fields += [(name + mark, item) for item in getattr(typed, name) or ()]
        chunking = bytes(typed.chunking_strategy)
        if chunking.startswith(b'"'):
            fields.append(("chunking_strategy", msgspec.json.decode(chunking, type=str)))
        elif chunking not in (b"", b"null"):
            fields.append(("chunking_strategy", chunking.decode()))
        return fields

    def read(self, request: Request, route: Route, head: Head, body: bytes) -> Reply:
        if "json" not in head.headers.get("content-type", "json"):
            raise UpstreamError("upstream_error", "the upstream's answer is no JSON")
        try:
            document = _decode(body)
        except msgspec.DecodeError:
            raise UpstreamError("upstream_error", "the upstream's answer is no JSON") from None
        if not isinstance(document.get("text"), str):
            raise inside_200(document, self.quirks.codes)
        transcript = transcript_of(document, request)
        usage = audio_usage(document.get("usage"))
        if usage is None:
            usage = measured_usage(request, transcript)
        return Reply({}, usage, upstream_id=text(document.get("id")), transcript=transcript)

    def streams(self, request: Request, route: Route) -> bool:
        return request.stream and self.quirks.streams

    def decoder(self, request: Request, route: Route, head: Head) -> Decoder:
        return TranscriptEvents(request, self.quirks.codes)

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return explain(head, body, self.quirks.codes)


def upstream_format(typed: TranscriptionBody, route: Route) -> str:
    """The format to ask this model for. ApiError(REQUEST_001) when it has none that will do."""
    offered = tuple(
        str(name)
        for name in cast(
            "list[object]", route.model.capabilities.get("upstream_formats") or list(_ALL_FORMATS)
        )
    )
    asked = typed.response_format or "json"
    if asked == "diarized_json":
        wanted: tuple[str, ...] = ("diarized_json",)
    elif asked in _TIMED:
        wanted = ("verbose_json",)
    else:
        wanted = ("json", "verbose_json")
    for name in wanted:
        if name in offered:
            return name
    lacking = "speakers" if asked == "diarized_json" else "times"
    legal = ["json", "text", *(("diarized_json",) if "diarized_json" in offered else ())]
    raise ApiError(
        "REQUEST_001",
        f"This model tells no {lacking}, so {asked} cannot be made; "
        f"use one of: {', '.join(legal)}.",
        param="response_format",
        reason="unsupported_response_format",
        details={"legal": legal},
    )


def measured_usage(request: Request, transcript: Transcript) -> Usage | None:
    """Where the upstream counted nothing: the length it says, else the one we measured."""
    length_ms = transcript.duration_ms
    if length_ms is None:
        length_ms = request.audio_ms
    return None if length_ms is None else Usage(audio_ms=length_ms)


def transcript_of(document: dict[str, object], request: Request) -> Transcript:
    """A json, verbose_json or diarized_json answer."""
    return Transcript(
        text=text(document.get("text")) or "",
        language=text(document.get("language")),
        duration_ms=milliseconds(document.get("duration")),
        task="translate" if request.operation == "translation" else "transcribe",
        segments=tuple(_segment(mapping(one)) for one in sequence(document.get("segments"))),
        words=tuple(_word(mapping(one)) for one in sequence(document.get("words"))),
        extra={name: value for name, value in document.items() if name not in _OWN},
    )


def milliseconds(seconds: object) -> int | None:
    """Seconds as a number, within a year; None for anything else."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    return round(seconds * 1000) if 0 <= seconds < 31_536_000 else None


def _segment(item: dict[str, object]) -> Segment:
    return Segment(
        text=text(item.get("text")) or "",
        start_ms=milliseconds(item.get("start")),
        end_ms=milliseconds(item.get("end")),
        speaker=text(item.get("speaker")),
        extra={
            name: value
            for name, value in item.items()
            if name not in ("text", "start", "end", "speaker", "type")
        },
    )


def _word(item: dict[str, object]) -> Word:
    return Word(
        text=text(item.get("word")) or text(item.get("text")) or "",
        start_ms=milliseconds(item.get("start")),
        end_ms=milliseconds(item.get("end")),
    )
