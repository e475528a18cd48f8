"""The tokenizer: reversible, bounded by bytes, stable under cutting."""

import re

from hypothesis import given
from hypothesis import strategies as st

from tokenmarket.sandbox import tokens


@given(st.text())
def test_tokens_joined_are_the_text_and_never_more_than_its_bytes(text: str) -> None:
    pieces = tokens.split(text)
    assert "".join(pieces) == text
    assert tokens.count(text) == len(pieces) <= len(text.encode())
    assert all(pieces)


@given(st.text(), st.integers(0, 50))
def test_a_cut_at_a_token_keeps_the_tokens(text: str, kept: int) -> None:
    pieces = tokens.split(text)
    assert tokens.split("".join(pieces[:kept])) == pieces[:kept]


def test_what_one_token_is() -> None:
    assert tokens.split("Hello world, 12345 你好!") == [
        "Hello",
        " world",
        ",",
        " ",
        "123",
        "45",
        " ",
        "你",
        "好",
        "!",
    ]


@given(st.integers(0, 300), st.integers(0, 10**9))
def test_filler_has_exactly_the_asked_tokens(wanted: int, start: int) -> None:
    assert tokens.count(tokens.filler(wanted, start)) == wanted


def test_long_prompts_are_counted_by_length_after_the_exact_part() -> None:
    exact = "a," * (tokens.EXACT_CHARACTERS // 2)
    assert tokens.count_all((exact,)) == tokens.EXACT_CHARACTERS
    assert tokens.count_all((exact + "a,a,a,a,a",)) == tokens.EXACT_CHARACTERS + 3
    assert tokens.count_all((exact, "a,a,a")) == tokens.EXACT_CHARACTERS + 2


@given(st.lists(st.text(max_size=20)))
def test_short_prompts_are_counted_exactly(texts: list[str]) -> None:
    assert tokens.count_all(texts) == sum(len(tokens.split(text)) for text in texts)


def test_english_is_near_five_bytes_per_token() -> None:
    text = "Everything that decides is a pure function; everything that touches the world is thin."
    assert 4 < len(text) / tokens.count(text) < 6
    assert re.fullmatch(r"\S+(?: \S+)*", tokens.filler(40, 3))
