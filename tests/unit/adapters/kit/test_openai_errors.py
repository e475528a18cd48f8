"""Refusals of upstreams: kind, words, waiting time."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.adapters.made import adapter
from tokenmarket.adapters.kit.openai_errors import clean, inside_200
from tokenmarket.adapters.protocol import Head
from tokenmarket.core.errors import UpstreamError


def explained(
    status: int, body: Any, name: str = "openai", headers: dict[str, str] | None = None
) -> UpstreamError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return adapter(name).explain(Head(status, headers or {}), raw)


def openai_error(message: str, code: str | None = None, kind: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, openai_error("no", "context_length_exceeded"), "context_too_long"),
        (400, openai_error("This model's maximum context length is 8 tokens"), "context_too_long"),
        (400, openai_error("bad", "unsupported_value"), "bad_request"),
        (400, openai_error("Your request was rejected by our safety system"), "content_policy"),
        (401, openai_error("bad key", "invalid_api_key"), "auth"),
        (403, openai_error("no", "unsupported_country_region_territory"), "forbidden"),
        (403, openai_error("Insufficient credits on this account"), "no_balance"),
        (404, openai_error("The model `x` does not exist", "model_not_found"), "not_found"),
        (402, b"", "no_balance"),
        (408, b"", "timeout"),
        (413, b"", "bad_request"),
        (422, {"detail": [{"loc": ["body", "n"], "msg": "too big"}]}, "bad_request"),
        (429, openai_error("slow", "rate_limit_exceeded"), "rate_limited"),
        (429, openai_error("quota", "insufficient_quota", "insufficient_quota"), "quota_exhausted"),
        (429, openai_error("none left", "credit_balance_exhausted"), "no_balance"),
        (429, b"", "rate_limited"),
        (498, b"", "overloaded"),
        (500, openai_error("oops", None, "server_error"), "upstream_error"),
        (502, b"<html><body>Bad gateway</body></html>", "upstream_error"),
        (503, openai_error("slow", "slow_down"), "overloaded"),
        (504, b"", "timeout"),
        (529, b"", "overloaded"),
        (418, b"", "bad_request"),
        (599, b"", "upstream_error"),
        (301, b"", "upstream_error"),
    ],
)
def test_kinds(status: int, body: Any, expected: str) -> None:
    error = explained(status, body)
    assert error.kind == expected
    assert error.status == status
    assert error.message


@pytest.mark.parametrize(
    ("name", "status", "body", "expected"),
    [
        ("zhipu", 400, {"error": {"code": "1113", "message": "余额不足"}}, "no_balance"),
        ("zhipu", 400, {"error": {"code": "1301", "message": "x"}}, "content_policy"),
        ("zhipu", 429, {"error": {"code": "1308", "message": "x"}}, "quota_exhausted"),
        ("dashscope", 400, {"code": "Arrearage", "message": "x"}, "no_balance"),
        ("dashscope", 400, {"code": "DataInspectionFailed", "message": "x"}, "content_policy"),
        ("siliconflow", 400, {"code": 20012, "message": "x", "data": None}, "not_found"),
        ("siliconflow", 401, b'"Invalid token"', "auth"),
        ("moonshot", 429, openai_error("x", None, "engine_overloaded_error"), "overloaded"),
        ("moonshot", 403, openai_error("x", None, "exceeded_current_quota_error"), "no_balance"),
        ("ark", 403, openai_error("x", "AccountOverdueError"), "no_balance"),
        ("newapi", 403, openai_error("x", "insufficient_user_quota"), "no_balance"),
        ("xai", 400, {"code": "x", "error": "Incorrect API key provided."}, "auth"),
        ("mistral", 400, {"object": "error", "message": "x", "code": "1500"}, "not_found"),
        ("openrouter", 402, {"error": {"code": 402, "message": "x"}}, "no_balance"),
        (
            "openrouter",
            403,
            {"error": {"code": 403, "message": "x", "metadata": {"raw": "Content violates us"}}},
            "content_policy",
        ),
        ("groq", 413, openai_error("Request too large", "rate_limit_exceeded"), "rate_limited"),
    ],
)
def test_vendor_codes(name: str, status: int, body: Any, expected: str) -> None:
    assert explained(status, body, name).kind == expected


@pytest.mark.parametrize(
    "message",
    [
        "Invalid value: 'invalid api key'. Supported values are: a",
        "Unknown parameter: 'insufficient balance'",
    ],
)
def test_a_caller_cannot_cool_our_credential_down(message: str) -> None:
    """A 400 quotes what the caller wrote; only the upstream's own first words may blame a key."""
    assert explained(400, openai_error(message)).kind == "bad_request"


@pytest.mark.parametrize(
    ("headers", "message", "expected"),
    [
        ({"retry-after": "7"}, "x", 7.0),
        ({"retry-after": "1.5"}, "x", 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, "x", 0.25),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, "x", None),
        ({"retry-after": "-3"}, "x", None),
        ({"retry-after": "1e9"}, "x", None),
        ({"retry-after": "999999999999"}, "x", 86_400.0),
        ({}, "Rate limit reached. Please try again in 1.2s.", 1.2),
        ({}, "Please try again in 350ms.", 0.35),
        ({}, "Please try again in 2m", 120.0),
        ({}, "x", None),
    ],
)
def test_retry_after(headers: dict[str, str], message: str, expected: float | None) -> None:
    error = explained(429, openai_error(message, "rate_limit_exceeded"), headers=headers)
    assert error.retry_after_s == (pytest.approx(expected) if expected is not None else None)


def test_should_retry_false_means_the_quota_is_gone() -> None:
    headers = {"x-should-retry": "false"}
    assert explained(429, openai_error("x"), headers=headers).kind == "quota_exhausted"


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcdefghijklmnop",
        "gsk_abcdefghijklmnopqrst",
        "xai-abcdefghijklmnopq",
        "org-AbCdEf123456",
        "proj_AbCdEf123456",
        "Bearer abc.def",
        "5bfd0532-8fa8-4e41-8eda-16a9a73a8d6f",
        "not-a-r****key",
        "someone@example.com",
        "0123456789abcdef0123456789abcdef",
    ],
)
def test_secrets_are_removed(secret: str) -> None:
    words = clean(f"Incorrect key {secret} given, in organization x")
    assert secret not in words
    assert "[redacted]" in words
    assert words.startswith("Incorrect key")
    assert "organization x" in words


def test_messages_are_one_short_line() -> None:
    words = clean("a\r\nb\tc\x00d " + "long " * 1000)
    assert words.startswith("a b c d long")
    assert len(words) == 500
    assert words.isprintable()


def test_the_words_behind_a_router_are_not_shown() -> None:
    body = {"error": {"code": 400, "message": "m", "metadata": {"raw": "secret vendor words"}}}
    error = explained(400, body, "openrouter")
    assert error.message == "m"
    assert error.code == "400"


def test_params_and_codes_are_kept() -> None:
    body = {"error": {"message": "m", "type": "t", "param": "messages[0].role", "code": "c"}}
    error = explained(400, body)
    assert (error.param, error.code) == ("messages[0].role", "c")


def test_inside_a_200() -> None:
    error = inside_200({"error": {"message": "busy", "code": 503}}, {})
    assert (error.kind, error.status) == ("overloaded", 503)
    error = inside_200(
        {"base_resp": {"status_code": 1008, "status_msg": "x"}}, {"1008": "no_balance"}
    )
    assert (error.kind, error.code) == ("no_balance", "1008")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "message", "code", "type", "detail", "metadata", "base_resp"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.integers(100, 700), JSON | st.binary(max_size=60))
def test_never_raises(status: int, body: Any) -> None:
    error = explained(status, body)
    assert error.message
    assert len(error.message) <= 500


def test_deep_nesting_is_survived() -> None:
    assert explained(400, b'{"error":' * 100_000).kind == "bad_request"
    assert explained(400, b"[" * 50_000).kind == "bad_request"


@pytest.mark.parametrize(
    "unit", ["a", "model ", "sk-", "*a", "a@", "\u8f93\u5165", "0123456789abcdef"]
)
def test_long_hostile_words(unit: str) -> None:
    """Shapes that make careless patterns quadratic; the test's own timeout is the judge."""
    error = explained(400, openai_error(unit * 20_000))
    assert len(error.message) <= 500
