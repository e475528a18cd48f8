"""Qwen-ASR, Fun-ASR and Paraformer on DashScope: two ways of transcription.

``reference/media/audio.md`` section 3; docs.qwencloud.com, "Qwen-ASR" and "Fun-ASR"; facts as of
2026-11-23. The base URL is that of chat; paths here begin at the host. Capability ``asr_api``:

    sync   multimodal-generation, audio inside the request: up to 10 MB and 5 minutes, text only
    file   a task (X-DashScope-Async) over an address of the file; the result lies in storage of
           theirs for a day (``transcription_url``), with times in milliseconds. Every channel asked
           for is transcribed and billed apart: as by default there, that is the first

Without it, ids that end in "-filetrans", Paraformer and Fun-ASR (but for its flash models) are of
the second kind.
"""

from __future__ import annotations

import base64
import re
from functools import partial
from typing import ClassVar

import msgspec

from tokenmarket.adapters.kit.dashscope_codes import CODES
from tokenmarket.adapters.kit.openai_request import HEADERS, unsupported
from tokenmarket.adapters.kit.shape import mapping, sequence, text
from tokenmarket.adapters.kit.transcribe import (
    Transcription,
    asked_of,
    audio_of,
    billed,
    document_of,
    dropped,
    label,
    milliseconds,
    needs,
    refuse_format,
    whole_ms,
)
from tokenmarket.adapters.protocol import Again, Head, InputMode, Reply, UpstreamRequest
from tokenmarket.core.bodies import TranscriptionBody
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import FailureKind, UpstreamError
from tokenmarket.core.media.transcripts import Segment, Transcript, Word
from tokenmarket.core.requests import Request
from tokenmarket.core.usage import Usage
from tokenmarket.core.wording import say

POLL_S = 2.0
INLINE_BYTES_MAX = 7_500_000  # 10 MB as base64
_SYNC = "/api/v1/services/aigc/multimodal-generation/generation"
_TASK = "/api/v1/services/audio/asr/transcription"
_ASYNC_HEADERS = (*HEADERS, ("x-dashscope-async", "enable"))
_PENDING = frozenset({"PENDING", "RUNNING"})
_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")

_encode = msgspec.json.Encoder().encode


class DashScopeTranscription(Transcription):
    """Which way is the route's."""

    codes: ClassVar[dict[str, FailureKind]] = CODES

    def input_mode(self, route: Route) -> InputMode:
        return "url" if _by_file(route) else "bytes"

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        if _by_file(route):
            return _task(request, route)
        return _inline(request, route)

    def read(self, request: Request, route: Route, head: Head, body: bytes) -> Reply | Again:
        if _by_file(route):
            return self._state(request, route, head, body)
        document = document_of(body)
        choices = sequence(mapping(document.get("output")).get("choices"))
        message = mapping(mapping(choices[0] if choices else None).get("message"))
        if not message:
            raise self.failed(document)
        parts = [text(mapping(part).get("text")) for part in sequence(message.get("content"))]
        notes = [mapping(item) for item in sequence(message.get("annotations"))]
        transcript = Transcript(
            text="".join(part for part in parts if part).strip(),
            language=next((found for note in notes if (found := text(note.get("language")))), None),
        )
        usage = billed(_seconds(document), None, request, route.prices)
        upstream_id = text(document.get("request_id"))
        return Reply({}, usage, upstream_id=upstream_id, transcript=transcript)

    def _state(self, request: Request, route: Route, head: Head, body: bytes) -> Reply | Again:
        document = document_of(body)
        output = mapping(document.get("output"))
        status, task = text(output.get("task_status")), text(output.get("task_id"))
        if status in _PENDING and task is not None and _ID.fullmatch(task):
            poll = UpstreamRequest(f"/api/v1/tasks/{task}", (), b"", method="GET", from_root=True)
            return Again(poll, partial(self._state, request, route), POLL_S)
        results = sequence(output.get("results"))
        result = mapping(output.get("result")) or mapping(results[0] if results else None)
        address = text(result.get("transcription_url"))
        if status != "SUCCEEDED" or address is None:
            raise self._failure(document, output, result)
        usage = _seconds(document)
        return Again(
            UpstreamRequest("", (), b"", method="GET", url=_https(address)),
            partial(_stored, request, route, usage, task),
            elsewhere=True,
        )

    def _failure(
        self,
        document: dict[str, object],
        output: dict[str, object],
        result: dict[str, object],
    ) -> UpstreamError:
        """Code and message of the file, of the task, or of the whole answer."""
        said = next((one for one in (result, output) if text(one.get("code"))), document)
        if (text(said.get("code")) or "").upper() == "SUCCESS_WITH_NO_VALID_FRAGMENT":
            return UpstreamError("bad_request", "there is no speech in it", code="no_speech")
        return self.failed({"code": said.get("code"), "message": said.get("message")})


def _by_file(route: Route) -> bool:
    said = route.model.capabilities.get("asr_api")
    if said is not None:
        return said == "file"
    name = route.upstream_model
    if name.startswith(("paraformer", "fun-asr")):
        return "flash" not in name
    return name.endswith("-filetrans")


def _language(typed: TranscriptionBody, taken: set[str]) -> str | None:
    if typed.language is not None:
        taken.add("language")
        return typed.language
    if typed.languages is not None and len(typed.languages) == 1:
        taken.add("languages")
        return typed.languages[0]
    return None


def _inline(request: Request, route: Route) -> UpstreamRequest:
    typed, upload = audio_of(request)
    lacking = needs(typed)
    if lacking:
        refuse_format(typed.response_format or "", lacking, ("json", "text"))
    if upload.size > INLINE_BYTES_MAX:
        why = say(
            "{provider_name} takes files of at most {inline_bytes_max} bytes here.",
            provider_name=route.provider.name,
            inline_bytes_max=INLINE_BYTES_MAX,
        )
        unsupported("file", route, why)
    taken: set[str] = set()
    options: dict[str, object] = {}
    language = _language(typed, taken)
    if language is not None:
        options["language"] = language
    messages: list[object] = []
    if typed.prompt:
        taken.add("prompt")
        messages.append({"role": "system", "content": [{"text": typed.prompt}]})
    data = base64.b64encode(upload.data()).decode("ascii")
    audio = f"data:{upload.content_type};base64,{data}"
    messages.append({"role": "user", "content": [{"audio": audio}]})
    body: dict[str, object] = {"model": route.upstream_model, "input": {"messages": messages}}
    if options:
        body["parameters"] = {"asr_options": options}
    return UpstreamRequest(
        _SYNC, HEADERS, _encode(body), dropped=dropped(request, taken), from_root=True
    )


def _task(request: Request, route: Route) -> UpstreamRequest:
    typed = asked_of(request)
    address = request.inputs[0].url if request.inputs else None
    if address is None:
        raise TypeError("the file has no address")
    taken: set[str] = set()
    parameters: dict[str, object] = {"channel_id": [0]}
    qwen = route.upstream_model.startswith("qwen")
    language = _language(typed, taken)
    if language is not None and qwen:
        parameters["language"] = language
    elif language is not None:
        parameters["language_hints"] = [language]
    lacking = needs(typed)
    if lacking == "speakers" and qwen:
        legal = ("json", "text", "srt", "vtt", "verbose_json")
        refuse_format("diarized_json", lacking, legal)
    if lacking == "speakers":
        parameters["diarization_enabled"] = True
    if lacking == "words" and qwen:
        parameters["enable_words"] = True
    where = {"file_url": address} if qwen else {"file_urls": [address]}
    body = {"model": route.upstream_model, "input": where, "parameters": parameters}
    return UpstreamRequest(
        _TASK, _ASYNC_HEADERS, _encode(body), dropped=dropped(request, taken), from_root=True
    )


def _https(address: str) -> str:
    """Their storage names itself with http."""
    return "https://" + address[7:] if address.startswith("http://") else address


def _seconds(document: dict[str, object]) -> Usage | None:
    usage = mapping(document.get("usage"))
    billed_ms = milliseconds(usage.get("seconds", usage.get("duration")))
    return None if billed_ms is None else Usage(audio_ms=billed_ms)


def _stored(
    request: Request,
    route: Route,
    reported: Usage | None,
    task: str | None,
    head: Head,
    body: bytes,
) -> Reply:
    document = document_of(body)
    if not isinstance(document.get("transcripts"), list):
        raise UpstreamError("upstream_error", "the stored result has no transcripts")
    channels = [mapping(item) for item in sequence(document["transcripts"])]
    sentences = [mapping(item) for one in channels for item in sequence(one.get("sentences"))]
    properties = mapping(document.get("properties"))
    length_ms = whole_ms(properties.get("original_duration_in_milliseconds"))
    texts = [text(one.get("text")) for one in channels]
    transcript = Transcript(
        text="\n".join(one.strip() for one in texts if one),
        language=next((found for one in sentences if (found := text(one.get("language")))), None),
        duration_ms=length_ms,
        segments=tuple(_segment(one) for one in sentences),
        words=tuple(
            _word(mapping(item), label(one.get("speaker_id")))
            for one in sentences
            for item in sequence(one.get("words"))
        ),
    )
    usage = billed(reported, length_ms, request, route.prices)
    return Reply({}, usage, upstream_id=task, transcript=transcript)


def _segment(item: dict[str, object]) -> Segment:
    return Segment(
        start_ms=whole_ms(item.get("begin_time")),
        end_ms=whole_ms(item.get("end_time")),
        text=text(item.get("text")) or "",
        speaker=label(item.get("speaker_id")),
    )


def _word(item: dict[str, object], speaker: str | None) -> Word:
    return Word(
        text=(text(item.get("text")) or "") + (text(item.get("punctuation")) or ""),
        start_ms=whole_ms(item.get("begin_time")),
        end_ms=whole_ms(item.get("end_time")),
        speaker=speaker,
    )


TRANSCRIPTION = DashScopeTranscription()
