"""The sandbox's own tokenizer: simple, reversible, the same for prompts and answers.

One token is: up to 12 ASCII letters with at most one space before them; up to 3 digits; up to 8
white-space characters; or any other single character (one Chinese character, one emoji code point,
one punctuation mark). English comes out near 5 bytes per token.

Two facts that others rely on: a token covers at least one byte of UTF-8, so a prompt never has
more tokens than bytes; and the pattern never looks beyond its own match, so the first k tokens of
a text, joined, are again exactly k tokens (``max_tokens`` cuts there).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

EXACT_CHARACTERS = 512 * 1024  # of one prompt; 1 MiB takes 35 ms, and everybody else waits

_TOKEN = re.compile(r" ?[A-Za-z]{1,12}|[0-9]{1,3}|\s{1,8}|[^A-Za-z0-9\s]")

# Words of the filler text; each is one token together with the space before it.
_PHRASE = (
    "paper planes carry small notes across the quiet lake while morning light turns every line of "
    "the harbour into silver and a patient clerk counts them one by one"
)
_WORDS = tuple(_PHRASE.split())


def split(text: str) -> list[str]:
    """The tokens of ``text``; joined they are ``text`` again."""
    return _TOKEN.findall(text)


def count(text: str) -> int:
    """How many tokens ``text`` has. Substitution counts in C without a list of all tokens."""
    return _TOKEN.subn("", text)[1]


def count_all(texts: Iterable[str]) -> int:
    """The tokens of all texts of a prompt. After EXACT_CHARACTERS, 1 per 4 further characters of
    each text, rounded up, stands in for counting."""
    total = 0
    left = EXACT_CHARACTERS
    for text in texts:
        total += count(text[:left]) + (max(0, len(text) - left) + 3) // 4
        left = max(0, left - len(text))
    return total


def filler(tokens: int, start: int) -> str:
    """A text of exactly ``tokens`` tokens; ``start`` picks the first word."""
    return " ".join(_WORDS[(start + index) % len(_WORDS)] for index in range(tokens))
