"""Tokens guessed from text, for what no provider counted: never for a hold, never to fill a gap.

One pass without a vocabulary; ratios measured against o200k are in
``reference/providers/token_estimation.md`` section 2 (ordinary text: 0.8 to 1.4 of the real count).
"""

from __future__ import annotations

import re

# Runs like base64, hex, uuids: at least 24 of these with a digit inside, 1.5 characters a token.
_DENSE = re.compile(r"(?=[A-Za-z+/=_-]*\d)[A-Za-z0-9+/=_-]{24,}")
_LETTERS = re.compile(r"[A-Za-z]+")
_DIGITS = re.compile(r"[0-9]+")
_SPACES = re.compile(r" +")
_BREAKS = re.compile(r"[\t\r\n]+")
_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]+")
_CJK = re.compile(r"[\u1100-\u11ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]+")
_ASTRAL = re.compile(r"[\U00010000-\U0010ffff]+")
_OTHER = re.compile(r"[\u0080-\u10ff\u1200-\u2e7f\ua000-\uabff\ud7b0-\uf8ff\ufb00-\ufeff]+")

# Thousandths of a token per character.
_WEIGHTS = (
    (_LETTERS, 220),
    (_DIGITS, 420),
    (_SPACES, 40),
    (_BREAKS, 300),
    (_PUNCTUATION, 620),
    (_CJK, 1000),
    (_OTHER, 650),
    (_ASTRAL, 2700),
)


def estimate_tokens(text: str) -> int:
    """A middle guess, at least 1 for any text; 0 for none."""
    if not text:
        return 0
    dense = sum(len(run) for run in _DENSE.findall(text))
    thousandths = dense * 1000 * 2 // 3
    if dense:
        text = _DENSE.sub("", text)
    for pattern, weight in _WEIGHTS:
        thousandths += weight * sum(len(run) for run in pattern.findall(text))
    return max(1, thousandths // 1000)
