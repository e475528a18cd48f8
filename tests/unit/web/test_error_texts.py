"""Errors in the caller's language: what is translated, and what never is."""

from __future__ import annotations

import json

import pytest

from tests.support.error_texts import spoken
from tokenmarket.core.errors import CODES, SUMMARIES, ApiError
from tokenmarket.core.parse import parse
from tokenmarket.core.wording import WORDS, Said, preferred, said_by, said_in, say, word
from tokenmarket.replies import ErrorBodies
from tokenmarket.web.error_texts import chinese

BODIES = ErrorBodies("https://gateway.example", chinese)


def told(error: ApiError) -> str:
    return str(json.loads(BODIES.body(error, "req_1", "zh"))["error"]["message"])


def test_every_message_is_known_where_it_is_raised() -> None:
    assert [where for text, where in spoken() if text is None] == []
    assert set(SUMMARIES) == set(CODES)


def test_values_are_put_into_the_other_language_and_never_looked_up() -> None:
    hint = say(" Did you mean {near}?", near="kimi-k2")
    name = "{hint} 'Missing.' {0}"
    error = ApiError(
        "MODEL_001", say("There is no model {name!r} here.{hint}", name=name, hint=hint)
    )
    assert error.message == f"There is no model {name!r} here. Did you mean kimi-k2?"
    assert told(error) == f"这里没有模型 {name!r}。您是否想用 kimi-k2？"
    upstream = ApiError(
        "PROVIDER_001",
        say("{provider_name} failed: {message}", provider_name="x", message="Missing."),
    )
    assert told(upstream) == "x 出错：Missing."


@pytest.mark.parametrize(
    ("body", "english", "expected"),
    [
        (
            b'{"model": 1}',
            "Expected `str`, got `int`.",
            "应为 `str`，收到 `int`。",
        ),
        (
            b'{"model": "m"}',
            "Object missing required field `messages`.",
            "缺少必需的字段 `messages`。",
        ),
        (b"{", "The body is not valid JSON: Input data was truncated", None),
        (b'{"model": "m", "messages": []}', "Expected `array` of length >= 1.", None),
    ],
)
def test_what_the_decoder_says(body: bytes, english: str, expected: str | None) -> None:
    with pytest.raises(ApiError) as caught:
        parse("chat", body)
    assert caught.value.message == english
    chinese_text = told(caught.value)
    assert chinese_text == expected if expected else chinese_text.startswith(("应为 ", "正文不是"))


def test_words_of_ours_inside_a_sentence_are_translated_too() -> None:
    limit = say(
        "The limit of {value} {limit} for this {owner} is reached.",
        value=60,
        limit=word("requests per minute"),
        owner=word("key"),
    )
    assert limit == "The limit of 60 requests per minute for this key is reached."
    assert told(ApiError("QUOTA_001", limit)) == "此密钥的上限（60 次调用/分钟）已达到。"
    for text in WORDS:
        assert chinese(text), text


def test_a_message_that_nobody_translated_follows_a_summary() -> None:
    assert told(ApiError("REQUEST_001", "Stripe: odd.")) == "请求无效。 Stripe: odd."


def test_english_is_what_it_was() -> None:
    plain = ApiError("REQUEST_001", "At most 3 inputs.")
    made = ApiError("REQUEST_001", say("At most {items_max} inputs.", items_max=3))
    assert BODIES.body(plain, "req_1") == BODIES.body(made, "req_1")
    assert type(made.message) is str
    assert b"/en/docs/errors#request_001" in BODIES.body(made, "req_1")
    assert b"/zh/docs/errors#request_001" in BODIES.body(made, "req_1", "zh")


def test_an_exception_keeps_how_it_was_said() -> None:
    inner = ValueError(say("a URL has at most {chars_max} characters", chars_max=9))
    outer = say("The callback cannot be used: {error}.", error=inner)
    assert outer == "The callback cannot be used: a URL has at most 9 characters."
    assert said_in(outer, chinese) == "回调地址无法使用：URL 最多 9 个字符。"
    assert isinstance(said_by(inner), Said)
    assert said_by(ValueError("x", 1)) == "('x', 1)"


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("fr, en;q=0.5, zh;q=0.7", "zh"),
        ("zh;q=0.2, en-GB;q=0.3", "en"),
        ("zh;q=x, *", "en"),
        ("zh;q=0", "en"),
        ("\x00;;;,=" * 400, "en"),
    ],
)
def test_the_language_that_is_wanted_most(accepted: str, language: str) -> None:
    assert preferred(accepted) == language
