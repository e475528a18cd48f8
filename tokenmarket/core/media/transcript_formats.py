"""A transcript in the six formats of ``/audio/transcriptions``, made by us.

Shapes: ``reference/media/audio.md`` sections 1.2 and 3. SRT has no specification: blocks of number,
times, text, an empty line. WebVTT: https://www.w3.org/TR/webvtt1/.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from tokenmarket.core.media.languages import english_name
from tokenmarket.core.media.transcripts import (
    NotInTranscript,
    Segment,
    Transcript,
    Word,
    mean_confidence,
    segments_of,
    speaker_names,
    timed,
)

_JSON = "application/json"
_TEXT = "text/plain; charset=utf-8"
CONTENT_TYPES: dict[str, str] = {
    "json": _JSON,
    "text": _TEXT,
    "srt": _TEXT,
    "verbose_json": _JSON,
    "vtt": _TEXT,
    "diarized_json": _JSON,
}
DEFAULT_FORMAT = "json"

_LINE_ENDS = re.compile("\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f]")
_ARROW = re.compile("(?<!-)-{2,}>")  # from its first dash only, or a long row takes quadratic time


def render(
    transcript: Transcript,
    response_format: str,
    *,
    granularities: Sequence[str] = ("segment",),
    known_speakers: Sequence[str] = (),
) -> bytes:
    """The body in one of ``CONTENT_TYPES``. ``granularities`` concern verbose_json only.

    NotInTranscript: srt and vtt without times, diarized_json without times or speakers.
    """
    if response_format == "text":
        return _encode(transcript.text + "\n")
    if response_format == "srt":
        return _encode(_srt(transcript))
    if response_format == "vtt":
        return _encode(_vtt(transcript))
    if response_format == "verbose_json":
        document = _verbose(transcript, granularities)
    elif response_format == "diarized_json":
        document = _diarized(transcript, known_speakers)
    elif response_format == "json":
        document: dict[str, Any] = {"text": transcript.text}
    else:
        raise ValueError(f"a transcript has no format {response_format!r}")
    if transcript.usage is not None:
        document["usage"] = transcript.usage
    return msgspec.json.encode(
        document | {name: value for name, value in transcript.extra.items() if name not in document}
    )


def missing(
    transcript: Transcript, response_format: str, granularities: Sequence[str] = ("segment",)
) -> str | None:
    """What the caller asked for and this transcript lacks: "timestamps", "speakers", "words".

    For verbose_json these are empty lists (``render`` does not raise); whoever sends it can say so.
    """
    if response_format in ("srt", "vtt", "diarized_json"):
        try:
            render(transcript, response_format)
        except NotInTranscript as error:
            return error.what
    if response_format == "verbose_json" and transcript.text.strip():
        if "segment" in granularities and not _timed_segments(transcript):
            return "timestamps"
        if "word" in granularities and not _timed_words(transcript):
            return "words"
    return None


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "replace")  # a lone surrogate of the upstream's becomes "?"


def seconds(milliseconds: int) -> float:
    """Times in JSON."""
    return milliseconds / 1000


# ------------------------------------------------------------------------------------- subtitles


def _cues(transcript: Transcript) -> list[tuple[int, int, str]]:
    """Start, end and text of what is shown, in the order of time; each at least 1 ms long."""
    cues: list[tuple[int, int, str]] = []
    for segment in segments_of(transcript):
        text = _cue_text(segment.text)
        if not text:
            continue
        if segment.start_ms is None or segment.end_ms is None:
            raise NotInTranscript("timestamps")
        start = max(segment.start_ms, 0)
        cues.append((start, max(segment.end_ms, start + 1), text))
    if not cues and transcript.text.strip():
        raise NotInTranscript("timestamps")
    return sorted(cues, key=lambda cue: cue[0])


def _cue_text(text: str) -> str:
    """Lines without an empty one, which would end the cue, and without control characters."""
    lines = (_CONTROLS.sub("", line).strip() for line in _LINE_ENDS.split(text))
    return "\n".join(line for line in lines if line)


def _clock(milliseconds: int, point: str) -> str:
    whole, thousandths = divmod(milliseconds, 1000)
    minutes, second = divmod(whole, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02d}:{minute:02d}:{second:02d}{point}{thousandths:03d}"


def _srt(transcript: Transcript) -> str:
    """Nothing can be escaped in SRT: an arrow in the text is shortened so that it is none."""
    return "".join(
        f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{_ARROW.sub('->', text)}\n\n"
        for number, (start, end, text) in enumerate(_cues(transcript), 1)
    )


def _vtt(transcript: Transcript) -> str:
    """Ampersand and angle brackets are escaped: no tags, and no arrow, can come from the text."""
    cues = "".join(
        f"{_clock(start, '.')} --> {_clock(end, '.')}\n{_escaped(text)}\n\n"
        for start, end, text in _cues(transcript)
    )
    return "WEBVTT\n\n" + cues


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


# ------------------------------------------------------------------------------------------ JSON


def _verbose(transcript: Transcript, granularities: Sequence[str]) -> dict[str, Any]:
    """Every key that strict clients want. ``duration`` and ``language`` are null if unknown."""
    document: dict[str, Any] = {
        "task": transcript.task,
        "language": None if transcript.language is None else english_name(transcript.language),
        "duration": None if transcript.duration_ms is None else seconds(transcript.duration_ms),
        "text": transcript.text,
    }
    if "segment" in granularities or "word" not in granularities:
        document["segments"] = _verbose_segments(transcript)
    if "word" in granularities:
        document["words"] = [
            {"word": word.text.strip(), "start": seconds(start), "end": seconds(max(start, end))}
            for word, start, end in _timed_words(transcript)
        ]
    return document


def _timed_words(transcript: Transcript) -> list[tuple[Word, int, int]]:
    return [
        (word, word.start_ms, word.end_ms)
        for word in transcript.words
        if word.start_ms is not None and word.end_ms is not None
    ]


def _timed_segments(transcript: Transcript) -> tuple[Segment, ...]:
    """All or none: a list with holes would look whole."""
    segments = segments_of(transcript)
    return segments if all(timed(segment) for segment in segments) else ()


def _verbose_segments(transcript: Transcript) -> list[dict[str, Any]]:
    words = sorted(_timed_words(transcript), key=lambda found: found[1])
    next_word = 0
    found: list[dict[str, Any]] = []
    for number, segment in enumerate(_timed_segments(transcript)):
        start, end = segment.start_ms or 0, segment.end_ms or 0
        inside: list[Word] = []
        while next_word < len(words) and words[next_word][1] < end:
            inside.append(words[next_word][0])
            next_word += 1
        whisper: dict[str, Any] = {
            "seek": 0,
            "tokens": [],
            "temperature": 0.0,
            "avg_logprob": _log_probability(segment, inside),
            "compression_ratio": 1.0,
            "no_speech_prob": 0.0,
        }
        own = {name: segment.extra[name] for name in whisper if name in segment.extra}
        times = {"id": number, "start": seconds(start), "end": seconds(max(start, end))}
        found.append(times | {"text": segment.text} | whisper | own)
    return found


def _log_probability(segment: Segment, words: Sequence[Word]) -> float:
    """Mean of the logarithms of confidence; 0 where nothing is known of it (audio.md section 3)."""
    confidence = segment.confidence
    if confidence is None or not 0 < confidence <= 1:
        confidence = mean_confidence(words)
    return 0.0 if confidence is None else math.log(confidence)


def diarized_segments(
    transcript: Transcript, known_speakers: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """The segments of diarized_json, which are also the ``transcript.text.segment`` events.

    NotInTranscript: there is text, but no speaker or no time is known.
    """
    segments = segments_of(transcript, by_speaker=True)
    if not segments and transcript.text.strip():
        raise NotInTranscript("timestamps")
    if segments and not any(segment.speaker for segment in segments):
        raise NotInTranscript("speakers")
    names = speaker_names([segment.speaker or None for segment in segments], known_speakers)
    found: list[dict[str, Any]] = []
    for number, segment in enumerate(segments):
        if segment.start_ms is None or segment.end_ms is None:
            raise NotInTranscript("timestamps")
        found.append(
            {
                "type": "transcript.text.segment",
                "id": f"seg_{number}",
                "start": seconds(segment.start_ms),
                "end": seconds(max(segment.start_ms, segment.end_ms)),
                "text": segment.text,
                "speaker": names[segment.speaker or None],
            }
        )
    return found


def _diarized(transcript: Transcript, known_speakers: Sequence[str]) -> dict[str, Any]:
    return {
        "task": transcript.task,
        "duration": None if transcript.duration_ms is None else seconds(transcript.duration_ms),
        "text": transcript.text,
        "segments": diarized_segments(transcript, known_speakers),
    }
