"""Tokens guessed from text: the same figures for the same text, in linear time."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmarket.core.estimate import estimate_tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        (" ", 1),
        ("a" * 100, 22),
        ("1" * 20, 8),
        ("hello, world. " * 10, 35),
        ("\n" * 10, 3),
        ("中文字符测试", 6),
        ("Grüße" * 20, 39),
        ("🎈" * 10, 27),
        ("deadbeef" * 8 + "0", 43),  # dense: a digit in a long run
        ("deadbeef" * 8, 14),  # none
        ("\ud800" * 3, 1),  # half a character, as JSON may hold
        ("ab1" * 8 + "é" + "ab1" * 8, 32),
        ("ab1" * 4 + "é" + "ab1" * 4, 7),  # two short runs are no long one
    ],
)
def test_figures(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens


# What is counted, written down with expressions only (the module counts bytes).
DENSE = re.compile(r"[A-Za-z0-9+/=_-]{24,}")
WEIGHTS = {
    r"[A-Za-z]": 220,
    r"[0-9]": 420,
    r" ": 40,
    r"[\t\r\n]": 300,
    r"[!-/:-@\[-`{-~]": 620,
    r"[\u1100-\u11ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]": 1000,
    r"[\u0080-\u10ff\u1200-\u2e7f\ua000-\uabff\ud7b0-\uf8ff\ufb00-\ufeff]": 650,
    r"[\U00010000-\U0010ffff]": 2700,
}


@given(st.text() | st.text(alphabet="abcXYZ019_-+/= \n.é中🎈", max_size=200))
def test_every_character_has_its_weight(text: str) -> None:
    dense = sum(len(run) for run in DENSE.findall(text) if re.search("[0-9]", run))
    rest = DENSE.sub(lambda run: "" if re.search("[0-9]", run[0]) else run[0], text)
    thousandths = dense * 2000 // 3
    thousandths += sum(weight * len(re.findall(kind, rest)) for kind, weight in WEIGHTS.items())
    assert estimate_tokens(text) == (max(1, thousandths // 1000) if text else 0)


@pytest.mark.parametrize("text", ["a", "a-", "a1", "=", " ", "中", "a中", "9"])
def test_a_hostile_text_takes_no_longer(text: str) -> None:
    """4 MB: where each character looked at all that follow, this would take days."""
    assert estimate_tokens(text * (4_000_000 // len(text))) > 0
