"""Tokens guessed from text, for what no provider counted: never for a hold, never to fill a gap.

One pass without a vocabulary; ratios measured against o200k are in
``reference/providers/token_estimation.md`` section 2 (ordinary text: 0.8 to 1.4 of the real count).
"""

from __future__ import annotations

import re
from typing import Final

DENSE_MIN: Final = 24
_DIGITS: Final = b"0123456789"
_LETTERS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RUNS: Final = bytes(c if c in _LETTERS + _DIGITS + b"+/=_-" else 32 for c in range(256))

# Thousandths of a token per character. ASCII is counted as bytes, which takes 1 µs per kB.
_ASCII_WEIGHTS: Final = (
    (_LETTERS, 220),
    (_DIGITS, 420),
    (b" ", 40),
    (b"\t\r\n", 300),
    (b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", 620),
)
_ASCII: Final = bytes(range(128))
_OTHER_WEIGHTS: Final = (
    (re.compile(r"[\u1100-\u11ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]+"), 1000),
    (re.compile(r"[\u0080-\u10ff\u1200-\u2e7f\ua000-\uabff\ud7b0-\uf8ff\ufb00-\ufeff]+"), 650),
    (re.compile(r"[\U00010000-\U0010ffff]+"), 2700),
)


def estimate_tokens(text: str) -> int:
    """A middle guess, at least 1 for any text; 0 for none."""
    if not text:
        return 0
    plain = text.encode("ascii", "ignore")
    simple = len(plain) == len(text)
    dense = _dense(plain if simple else text.encode("ascii", "replace"))
    thousandths = len(dense) * 1000 * 2 // 3
    for characters, weight in _ASCII_WEIGHTS:
        thousandths += weight * (_count(plain, characters) - _count(dense, characters))
    if not simple:
        utf8 = text.encode("utf-8", "surrogatepass")
        rest = utf8.translate(None, _ASCII).decode("utf-8", "surrogatepass")
        for pattern, weight in _OTHER_WEIGHTS:
            thousandths += weight * sum(len(run) for run in pattern.findall(rest))
    return max(1, thousandths // 1000)


def _dense(text: bytes) -> bytes:
    """Runs like base64, hex, uuids, 1.5 characters a token: at least 24 with a digit inside."""
    runs = [run for run in text.translate(_RUNS).split() if len(run) >= DENSE_MIN]
    return b"".join([run for run in runs if _count(run, _DIGITS)])


def _count(text: bytes, characters: bytes) -> int:
    return len(text) - len(text.translate(None, characters))
