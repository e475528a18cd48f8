"""Transcription and translation of OpenAI and servers that speak its wire.

``OpenAITranscription(TranscriptionQuirks(...))``; ``reference/media/audio.md`` section 1.2. What a
model can answer is its capability ``upstream_formats`` (whisper-1: all but diarized_json;
gpt-4o-transcribe: json only). Of those the richest that holds what the caller asked for is asked
for, and the gateway renders the caller's format from it, so that length and times can be checked.
Further capabilities: ``parameters`` (the form fields that the model takes; absent: all),
``default_chunking`` (a chunking_strategy to send where the caller gave none), ``stream`` (false:
the model answers whole, and the gateway makes the events).
"""

from __future__ import annotations

import msgspec

from tokenmarket.adapters.kit.media_usage import audio_usage
from tokenmarket.adapters.kit.multipart import form
from tokenmarket.adapters.kit.openai_errors import explain, inside_200
from tokenmarket.adapters.kit.openai_transcript_stream import TranscriptEvents
from tokenmarket.adapters.kit.shape import mapping, sequence, text
from tokenmarket.adapters.kit.transcribe import (
    audio_of,
    billed,
    document_of,
    dropped,
    label,
    milliseconds,
    needs,
    refuse_format,
)
from tokenmarket.adapters.protocol import (
    Decoder,
    Head,
    MediaAdapter,
    Reply,
    UpstreamRequest,
)
from tokenmarket.core.bodies import TranscriptionBody
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import FailureKind, UpstreamError
from tokenmarket.core.media.transcripts import Segment, Transcript, Word
from tokenmarket.core.media_rules import texts
from tokenmarket.core.requests import Request

_ALL_FORMATS = ("json", "text", "srt", "verbose_json", "vtt")  # whisper-1
_LISTS = ("languages", "keywords", "include", "known_speaker_names", "known_speaker_references")
_PARAMETERS = frozenset({"language", "prompt", "temperature", "chunking_strategy", *_LISTS})
# Members that the renderer writes itself, and those that say nothing of the sound.
_OWN = frozenset({"text", "language", "duration", "segments", "words", "usage", "task"}) | {
    *("id", "object", "created", "model", "finish_reason", "x_groq")
}


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
        typed, upload = audio_of(request)
        fields = [
            ("model", route.upstream_model),
            *self.format_fields(typed, route),
        ]
        if self.streams(request, route):
            fields.append(("stream", "true"))
        takes = route.model.capabilities.get("parameters")
        legal = _PARAMETERS if takes is None else frozenset(texts(takes))
        given = _given(typed, route, legal)
        taken = {name for name, _ in given if name in legal and name not in self.quirks.drop}
        for name, other in (("language", "languages"), ("languages", "language")):
            if name in taken and getattr(typed, name) is None:  # it came under the other name
                taken.add(other)
        mark = "[]" if self.quirks.lists else ""
        fields += [
            (name + mark if name in _LISTS else name, value)
            for name, value in given
            if name in taken
        ]
        headers, body = form(request.request_id, fields, [("file", upload)])
        path = self.quirks.path if request.operation == "transcription" else None
        return UpstreamRequest(
            path or self.quirks.translations_path, headers, body, dropped=dropped(request, taken)
        )

    def format_fields(self, typed: TranscriptionBody, route: Route) -> list[tuple[str, str]]:
        """The fields that say what the answer must hold; others override this."""
        fields = [("response_format", upstream_format(typed, route))]
        if typed.response_format == "verbose_json":
            mark = "[]" if self.quirks.lists else ""
            name = "timestamp_granularities" + mark
            fields += [(name, one) for one in typed.timestamp_granularities or ()]
        return fields

    def read(self, request: Request, route: Route, head: Head, body: bytes) -> Reply:
        if "json" not in head.headers.get("content-type", "json"):
            raise UpstreamError("upstream_error", "the upstream's answer is no JSON")
        document = document_of(body)
        if not isinstance(document.get("text"), str):
            raise inside_200(document, self.quirks.codes)
        transcript = transcript_of(document, request)
        reported = audio_usage(document.get("usage"))
        usage = billed(reported, transcript.duration_ms, request, route.prices)
        upstream_id = text(mapping(document.get("x_groq")).get("id")) or text(document.get("id"))
        return Reply({}, usage, upstream_id=upstream_id, transcript=transcript)

    def streams(self, request: Request, route: Route) -> bool:
        streams = route.model.capabilities.get("stream") is not False
        return request.stream and self.quirks.streams and streams

    def decoder(self, request: Request, route: Route, head: Head) -> Decoder:
        return TranscriptEvents(request, route.prices, self.quirks.codes)

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return explain(head, body, self.quirks.codes)


class PlainTranscription(OpenAITranscription):
    """Servers that know no response_format and tell nothing but the text."""

    def format_fields(self, typed: TranscriptionBody, route: Route) -> list[tuple[str, str]]:
        lacking = needs(typed)
        if lacking:
            refuse_format(typed.response_format or "", lacking, ("json", "text"))
        return []


def upstream_format(typed: TranscriptionBody, route: Route) -> str:
    """The format to ask this model for. ApiError(REQUEST_001) when it has none that will do."""
    offered = texts(route.model.capabilities.get("upstream_formats")) or _ALL_FORMATS
    asked = typed.response_format or "json"
    if asked == "diarized_json":
        wanted: tuple[str, ...] = ("diarized_json",)
    elif needs(typed):
        wanted = ("verbose_json",)
    else:
        wanted = ("json", "verbose_json")
    for name in wanted:
        if name in offered:
            return name
    lacking = "speakers" if asked == "diarized_json" else "times"
    more = ("diarized_json",) if "diarized_json" in offered else ()
    refuse_format(asked, lacking, ("json", "text", *more))


def _given(typed: TranscriptionBody, route: Route, legal: frozenset[str]) -> list[tuple[str, str]]:
    """The caller's parameters as form fields, lists repeated. A language goes into the list where
    the model takes only that (gpt-transcribe), and the other way round if it is one."""
    fields: list[tuple[str, str]] = []
    languages, language = typed.languages, typed.language
    if language is not None and "language" not in legal and languages is None:
        languages, language = [language], None
    elif languages is not None and len(languages) == 1 and "languages" not in legal:
        languages, language = None, language or languages[0]
    if language is not None:
        fields.append(("language", language))
    if typed.prompt is not None:
        fields.append(("prompt", typed.prompt))
    if typed.temperature is not None:
        fields.append(("temperature", f"{typed.temperature:g}"))
    fields += [("languages", one) for one in languages or ()]
    for name in _LISTS:
        if name != "languages":
            fields += [(name, one) for one in getattr(typed, name) or ()]
    chunking = bytes(typed.chunking_strategy)
    default = route.model.capabilities.get("default_chunking")
    if chunking.startswith(b'"'):
        fields.append(("chunking_strategy", msgspec.json.decode(chunking, type=str)))
    elif chunking not in (b"", b"null"):
        fields.append(("chunking_strategy", chunking.decode()))
    elif isinstance(default, str):
        fields.append(("chunking_strategy", default))
    return fields


def transcript_of(document: dict[str, object], request: Request) -> Transcript:
    """A json, verbose_json or diarized_json answer."""
    return Transcript(
        text=(text(document.get("text")) or "").strip(),
        language=text(document.get("language")),
        duration_ms=milliseconds(document.get("duration")),
        task="translate" if request.operation == "translation" else "transcribe",
        segments=tuple(_segment(mapping(one)) for one in sequence(document.get("segments"))),
        words=tuple(_word(mapping(one)) for one in sequence(document.get("words"))),
        extra={name: value for name, value in document.items() if name not in _OWN},
    )


def _segment(item: dict[str, object]) -> Segment:
    return Segment(
        text=text(item.get("text")) or "",
        start_ms=milliseconds(item.get("start")),
        end_ms=milliseconds(item.get("end")),
        speaker=label(item.get("speaker")) or label(item.get("speaker_id")),
        extra={
            name: value
            for name, value in item.items()
            if name not in ("text", "start", "end", "speaker", "speaker_id", "type")
        },
    )


def _word(item: dict[str, object]) -> Word:
    return Word(
        text=text(item.get("word")) or text(item.get("text")) or "",
        start_ms=milliseconds(item.get("start")),
        end_ms=milliseconds(item.get("end")),
        speaker=label(item.get("speaker")) or label(item.get("speaker_id")),
    )
