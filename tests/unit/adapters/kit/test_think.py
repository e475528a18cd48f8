"""``<think>`` tags, cut anywhere."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmarket.adapters.kit.think import ThinkSplitter, split


def in_pieces(content: str, cuts: list[int]) -> tuple[str, str]:
    splitter = ThinkSplitter()
    bounds = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    reasoning, rest = "", ""
    for begin, end in pairwise(bounds):
        more = splitter.feed(content[begin:end])
        reasoning, rest = reasoning + more[0], rest + more[1]
    more = splitter.flush()
    return reasoning + more[0], rest + more[1]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("<think>a</think>b", ("a", "b")),
        ("\n<think>a</think>\n\nb", ("a", "b")),
        ("<think>a", ("a", "")),
        ("<think>a</thi", ("a</thi", "")),
        ("b", ("", "b")),
        (" b", ("", " b")),
        ("<thin", ("", "<thin")),
        ("<thinking>b", ("", "<thinking>b")),
        ("b<think>c</think>", ("", "b<think>c</think>")),
        ("<think></think>", ("", "")),
        ("<think>a<b</think>c</think>", ("a<b", "c</think>")),
        ("", ("", "")),
    ],
)
def test_split(content: str, expected: tuple[str, str]) -> None:
    assert split(content) == expected
    assert in_pieces(content, list(range(len(content)))) == expected


@given(
    st.lists(st.sampled_from(["<think>", "</think>", "<", "/", "think", ">", "a", "\n", " "])),
    st.lists(st.integers(0, 40), max_size=6),
)
def test_any_cut_gives_the_same(parts: list[str], cuts: list[int]) -> None:
    content = "".join(parts)
    assert in_pieces(content, cuts) == split(content)
