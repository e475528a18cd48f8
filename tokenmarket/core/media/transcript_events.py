"""The events of a streamed transcription: ``transcript.text.delta``, ``.segment``, ``.done``.

Shapes: ``reference/media/audio.md`` section 1.2. OpenAI ends the stream with ``data: [DONE]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tokenmarket.core.media.transcript_formats import diarized_segments, seconds
from tokenmarket.core.media.transcripts import Transcript

DONE = b"data: [DONE]\n\n"


def _event(document: dict[str, Any]) -> bytes:
    """JSON has no bare line ends, so one data line is enough."""
    return b"data: " + msgspec.json.encode(document) + b"\n\n"


def delta_event(
    delta: str, *, segment_id: str | None = None, logprobs: list[Any] | None = None
) -> bytes:
    """A piece of text; the pieces in their order are the text of the done event."""
    document: dict[str, Any] = {"type": "transcript.text.delta", "delta": delta}
    if segment_id is not None:
        document["segment_id"] = segment_id
    if logprobs is not None:
        document["logprobs"] = logprobs
    return _event(document)


def segment_event(segment_id: str, start_ms: int, end_ms: int, text: str, speaker: str) -> bytes:
    """A finished segment, in streams of diarized_json; ``speaker`` is A, B, … or a known name."""
    return _event(
        {
            "type": "transcript.text.segment",
            "id": segment_id,
            "start": seconds(start_ms),
            "end": seconds(end_ms),
            "text": text,
            "speaker": speaker,
        }
    )


def done_event(
    text: str, usage: dict[str, Any] | None = None, extra: dict[str, Any] | None = None
) -> bytes:
    """The last event: the whole text, what was used, further members (``logprobs``)."""
    document: dict[str, Any] = {"type": "transcript.text.done", "text": text}
    if usage is not None:
        document["usage"] = usage
    return _event((extra or {}) | document)


def events(
    transcript: Transcript, response_format: str = "json", known_speakers: Sequence[str] = ()
) -> list[bytes]:
    """The stream of a transcript that came whole, from an upstream that cannot stream.

    NotInTranscript as for diarized_json, if that is the format.
    """
    found: list[bytes] = []
    if response_format == "diarized_json":
        found.extend(_event(segment) for segment in diarized_segments(transcript, known_speakers))
    elif transcript.text:
        found.append(delta_event(transcript.text))
    found.append(done_event(transcript.text, transcript.usage, transcript.extra))
    found.append(DONE)
    return found
