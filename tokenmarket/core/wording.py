"""Sentences that know how they were made, so that a reader's language can be chosen at the edge.

A message with parts that vary is written ``say("There is no model {name!r} here.", name=name)``.
It is its English text (a ``str``); beside it stand the template and the values, and ``said_in``
puts the values into the template of another language. A sentence without parts is its own template,
so a plain ``str`` will do. A value that is itself said is translated too.

What a caller wrote and what an upstream answered are values: never looked up, never translated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Literal

Language = Literal["en", "zh"]
Find = Callable[[str], str | None]  # English template -> template of the other language


class Said(str):
    """An English sentence (or a part of one) with its template and values."""

    __slots__ = ("template", "values")
    template: str
    values: dict[str, object]

    def __new__(cls, template: str, values: dict[str, object]) -> Said:
        made = super().__new__(cls, template.format_map(values) if values else template)
        made.template = template
        made.values = values
        return made


def say(template: str, /, **values: object) -> Said:
    """The sentence. Of an exception its text is taken, with template and values if it has them."""
    for name, value in values.items():
        if isinstance(value, Exception):
            values[name] = said_by(value)
    return Said(template, values)


# Words that are values of sentences and have a translation of their own.
WORDS = (
    "audio",
    "concurrency",
    "day",
    "image",
    "key",
    "month",
    "organization",
    "requests per minute",
    "team",
    "tokens per minute",
    "total",
)


def word(text: str) -> Said:
    """A value that is translated too: one of WORDS."""
    return Said(text, {})


def said_by(error: Exception) -> str:
    """The text of an exception: a Said stays one, which ``str(error)`` does not do."""
    first = error.args[0] if len(error.args) == 1 else None
    return first if isinstance(first, Said) else str(error)


def said_in(text: str, find: Find) -> str | None:
    """The sentence in the language of ``find``; None if that does not know it."""
    if not isinstance(text, Said):
        return find(text)
    found = find(text.template)
    if found is None or not text.values:
        return found
    values: dict[str, object] = {}
    for name, value in text.values.items():
        values[name] = (said_in(value, find) or value) if isinstance(value, Said) else value
    return found.format_map(values)


def preferred(accept_language: str) -> Language:
    """The language of ours that an ``Accept-Language`` wants most; English if it names none."""
    best: Language = "en"
    weight = 0.0
    for part in accept_language[:500].split(","):
        tag, _, parameter = part.strip().partition(";")
        language = tag.partition("-")[0].lower()
        try:
            quality = float(parameter.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        if quality > weight and (language == "en" or language == "zh"):
            best, weight = language, quality
    return best


class Recognizer:
    """Finds template and values of sentences that come as plain text: from a library, or from a
    table in which only the text was stored."""

    def __init__(self, templates: Iterable[str]) -> None:
        self._patterns = [(re.compile(_pattern(template)), template) for template in templates]

    def said(self, text: str) -> str:
        """The sentence with its parts known; the text itself if it is none of the templates."""
        for pattern, template in self._patterns:
            found = pattern.fullmatch(text)
            if found is not None:
                return say(template, **found.groupdict())
        return text


def _pattern(template: str) -> str:
    return re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+)", re.escape(template))


# What msgspec says of a value that has another type or form. Its words for types stay as they are.
DECODER_SENTENCES = (
    "Expected `{wanted}`, got `{given}`",
    "Object missing required field `{field}`",
    "Object contains unknown field `{field}`",
    "Invalid enum value {given}",
    "Expected {wanted}",
)
_decoder = Recognizer(DECODER_SENTENCES)


def decoder_said(text: str) -> str:
    """A sentence of msgspec's ValidationError (without its path) with its parts known."""
    return _decoder.said(text)
