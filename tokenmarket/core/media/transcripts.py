"""A transcript as every adapter hands it over, and segments made of words.

Times are milliseconds from the beginning of the sound, None where the upstream told none: they are
never invented. ``transcript_formats.py`` renders the six formats, ``transcript_events.py`` the
stream.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from tokenmarket.core.wording import say

PAUSE_MS = 800
SEGMENT_MS_MAX = 15_000

_SENTENCE_ENDS = (".", "?", "!", "…", "。", "？", "！", "؟", "।")
_CLOSING = "\"'”’»)]）」』"
_ALIGN_CHARACTERS = 200  # how far ahead in the text the next word may stand


class Word(msgspec.Struct, frozen=True):
    """One word; ``confidence`` between 0 and 1, ``speaker`` the upstream's own label."""

    text: str
    start_ms: int | None
    end_ms: int | None
    confidence: float | None = None
    speaker: str | None = None


class Segment(msgspec.Struct, frozen=True):
    """A stretch of speech. ``extra``: Whisper's numbers (``tokens``, ``seek`` …) from upstream."""

    start_ms: int | None
    end_ms: int | None
    text: str
    speaker: str | None = None
    confidence: float | None = None
    extra: dict[str, Any] = {}


class Transcript(msgspec.Struct, frozen=True):
    """``language`` is a code or a name, as the upstream has it. ``usage`` is the finished member of
    the answer (``{"type": "duration", "seconds": 6}``); ``extra`` are further ones for the JSON
    forms (``logprobs``, ``languages``), which never replace ours."""

    text: str
    language: str | None = None
    duration_ms: int | None = None
    task: Literal["transcribe", "translate"] = "transcribe"
    segments: tuple[Segment, ...] = ()
    words: tuple[Word, ...] = ()
    usage: dict[str, Any] | None = None
    extra: dict[str, Any] = {}


class NotInTranscript(ValueError):
    """The format asked for needs what the upstream did not tell; the caller answers 400.

    ``what``: "timestamps", "speakers" or "words".
    """

    def __init__(self, what: Literal["timestamps", "speakers", "words"]) -> None:
        super().__init__(say("The provider sent no {what} for this recording.", what=what))
        self.what = what


def timed(one: Segment | Word) -> bool:
    """Whether both ends are known."""
    return one.start_ms is not None and one.end_ms is not None


def segments_of(transcript: Transcript, *, by_speaker: bool = False) -> tuple[Segment, ...]:
    """The upstream's segments; those made of its words where it sent only words.

    Also made of words where the words can do what is asked and the segments cannot: tell times, or
    (``by_speaker``) who speaks. Empty when neither is there.
    """
    given = tuple(segment for segment in transcript.segments if segment.text.strip())
    words = transcript.words
    if not words or not all(timed(word) for word in words):
        return given
    if given and all(timed(segment) for segment in given):
        mute = not any(segment.speaker for segment in given)
        if not (by_speaker and mute and any(word.speaker for word in words)):
            return given
    return segments_of_words(words, transcript.text)


def segments_of_words(words: Sequence[Word], text: str = "") -> tuple[Segment, ...]:
    """Words with times, cut at a change of speaker, a pause, the end of a sentence, or length.

    Where all words are found in ``text`` in their order, the segments are pieces of it, with its
    spaces and punctuation; else words are joined by spaces (not between CJK characters).
    """
    words = [word for word in words if word.text.strip()]
    groups: list[list[int]] = []
    for number, word in enumerate(words):
        if not groups or _begins_segment(words[groups[-1][0]], words[number - 1], word):
            groups.append([])
        groups[-1].append(number)
    places = _places(words, text)
    found: list[Segment] = []
    for group in groups:
        first, last = words[group[0]], words[group[-1]]
        if places is None:
            content = joined([words[number].text for number in group])
        else:
            begin = places[group[0]] if group[0] else 0
            end = places[group[-1] + 1] if group[-1] + 1 < len(words) else len(text)
            content = text[begin:end]
        found.append(
            Segment(
                first.start_ms,
                last.end_ms,
                content.strip(),
                first.speaker,
                mean_confidence([words[number] for number in group]),
            )
        )
    return tuple(found)


def _begins_segment(first: Word, before: Word, word: Word) -> bool:
    """Whether ``word`` opens a new segment after one that runs from ``first`` to ``before``."""
    if word.speaker != before.speaker:
        return True
    if before.text.rstrip().rstrip(_CLOSING).endswith(_SENTENCE_ENDS):
        return True
    begin, end, start = first.start_ms or 0, before.end_ms or 0, word.start_ms or 0
    return start - end >= PAUSE_MS or (word.end_ms or 0) - begin > SEGMENT_MS_MAX


def _places(words: Sequence[Word], text: str) -> list[int] | None:
    """Where each word stands in the text; None as soon as one is not found near the one before."""
    places: list[int] = []
    at = 0
    for word in words:
        plain = word.text.strip()
        found = text.find(plain, at, at + _ALIGN_CHARACTERS + len(plain))
        if found < 0:
            return None
        places.append(found)
        at = found + len(plain)
    return places


def joined(texts: Sequence[str]) -> str:
    """Words as a line: with the spaces they bring (Whisper's " word"), else with one between."""
    if any(text[:1].isspace() for text in texts[1:]):
        return "".join(texts).strip()
    line = ""
    for text in texts:
        if line and not (_is_cjk(line[-1]) or _is_cjk(text[:1])):
            line += " "
        line += text
    return line


def _is_cjk(character: str) -> bool:
    """Written without spaces: kana, Han, and their punctuation (Hangul has spaces)."""
    return "\u3000" <= character <= "\u9fff" or "\uff00" <= character <= "\uffef"


def mean_confidence(words: Sequence[Word]) -> float | None:
    """The geometric mean of the confidences that are numbers in (0, 1]; None if none is.

    Its logarithm is the mean of their logarithms, which is Whisper's ``avg_logprob``.
    """
    logs = [
        math.log(word.confidence)
        for word in words
        if word.confidence is not None and 0 < word.confidence <= 1
    ]
    return math.exp(sum(logs) / len(logs)) if logs else None


def speaker_names(
    labels: Sequence[str | None], known_speakers: Sequence[str] = ()
) -> dict[str | None, str]:
    """Upstream labels in order of first appearance -> A, B, … Z, AA …; known names stay.

    A segment whose speaker the upstream does not know is "unknown" when it knows that of others.
    """
    names: dict[str | None, str] = {None: "unknown"}
    taken = set(known_speakers)
    number = 0
    for label in labels:
        if label in names:
            continue
        if label in taken:
            names[label] = str(label)
            continue
        name = _letters(number)
        while name in taken:
            number += 1
            name = _letters(number)
        names[label] = name
        number += 1
    return names


def _letters(number: int) -> str:
    """0 -> A, 25 -> Z, 26 -> AA."""
    name = ""
    number += 1
    while number:
        number, letter = divmod(number - 1, 26)
        name = chr(ord("A") + letter) + name
    return name
