"""The search over the documentation: both languages, marks, and whatever people type."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmarket.store.text_index import MARK, UNMARK, Entry, TextIndex, joined, split, terms

INDEX = TextIndex(
    [
        Entry("en", "billing", "hold", "Billing", "Hold", "The worst case is held before sending."),
        Entry("en", "retries", "", "Safe retries", "", "Send an Idempotency-Key and retry."),
        Entry("en", "errors", "auth_001", "Errors", "AUTH_001", "The key is missing. A hold too."),
        Entry("zh", "billing", "hold", "计费与回执", "预扣", "请求发出之前，按最坏情况预扣。"),
        Entry("zh", "retries", "", "安全重试", "", "带上 Idempotency-Key，重试不收费。"),
    ]
)


def paths(lang: str, text: str) -> list[str]:
    return [hit.path for hit in INDEX.search(lang, text)]


def test_english_finds_other_forms_and_beginnings_of_words() -> None:
    assert paths("en", "retry") == ["retries"]
    assert paths("en", "idempot") == ["retries"]
    assert paths("en", "worst cases") == ["billing"]


def test_a_hit_in_a_heading_comes_first() -> None:
    assert paths("en", "hold") == ["billing", "errors"]


@pytest.mark.parametrize(
    ("text", "path"),
    [("计费", "billing"), ("预扣", "billing"), ("最坏情况", "billing"), ("重试", "retries")],
)
def test_chinese_finds_words_of_any_length(text: str, path: str) -> None:
    assert paths("zh", text)[0] == path


def test_chinese_is_a_phrase() -> None:
    assert paths("zh", "扣预") == []


def test_a_code_with_an_underscore_is_found() -> None:
    assert INDEX.search("en", "AUTH_001")[0].anchor == "auth_001"


def test_languages_are_apart() -> None:
    assert paths("en", "预扣") == []
    assert paths("zh", "worst") == []


def test_words_that_nowhere_stand_together_are_found_apart() -> None:
    assert set(paths("en", "missing idempotency")) == {"errors", "retries"}


def test_what_was_found_is_marked() -> None:
    snippet = INDEX.search("zh", "预扣")[0].snippet
    assert snippet == f"请求发出之前，按最坏情况{MARK}预扣{UNMARK}。"


@pytest.mark.parametrize(
    "text",
    [
        '"',
        "'",
        ") OR (",
        "NEAR(a b)",
        "title:",
        "*",
        "^x",
        "a AND",
        "-",
        "{}",
        '""""',
        "。，",
        "\0",
    ],
)
def test_the_query_language_cannot_be_reached(text: str) -> None:
    INDEX.search("en", text)
    INDEX.search("zh", text)


@given(st.text(max_size=300))
def test_anything_may_be_typed(text: str) -> None:
    INDEX.search("en", text)
    INDEX.search("zh", text)


@given(st.text(alphabet="abc 。计费预扣Token"))
def test_splitting_is_undone(text: str) -> None:
    assert joined(split(text)) == text


def test_a_query_is_bounded() -> None:
    assert len(terms("word " * 1000)) == 12
