"""Google's error bodies, after ``reference/providers/gemini.md`` section 4."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tokenmarket.adapters.kit.google_errors import explain
from tokenmarket.adapters.protocol import Head

TYPE = "type.googleapis.com/google.rpc."


def body(status: str, message: str = "m", *details: dict[str, Any]) -> dict[str, Any]:
    return {"error": {"code": 1, "message": message, "status": status, "details": list(details)}}


KEY = {"@type": TYPE + "ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}
RETRY = {"@type": TYPE + "RetryInfo", "retryDelay": "37.5s"}
DAY = {"@type": TYPE + "QuotaFailure", "violations": [{"quotaId": "RequestsPerDayPerModel"}]}


@pytest.mark.parametrize(
    ("http", "document", "kind"),
    [
        (400, body("INVALID_ARGUMENT"), "bad_request"),
        (400, body("INVALID_ARGUMENT", "bad key", KEY), "auth"),
        (400, body("FAILED_PRECONDITION"), "forbidden"),
        (
            400,
            body("INVALID_ARGUMENT", "The input token count (2) exceeds the maximum (1)."),
            "context_too_long",
        ),
        (402, body("RESOURCE_EXHAUSTED"), "no_balance"),
        (401, body("UNAUTHENTICATED"), "auth"),
        (403, body("PERMISSION_DENIED"), "forbidden"),
        (404, body("NOT_FOUND"), "not_found"),
        (429, body("RESOURCE_EXHAUSTED", "m", RETRY), "rate_limited"),
        (429, body("RESOURCE_EXHAUSTED", "m", RETRY, DAY), "quota_exhausted"),
        (499, body("CANCELLED"), "upstream_error"),
        (500, body("INTERNAL"), "upstream_error"),
        (503, body("UNAVAILABLE"), "overloaded"),
        (504, body("DEADLINE_EXCEEDED"), "timeout"),
        (503, [body("UNAVAILABLE")], "overloaded"),
        (500, {"error": {"message": "x"}}, "upstream_error"),
        (429, {}, "rate_limited"),
        (400, {"error": "text"}, "bad_request"),
        (400, {"error": {"message": "API key not valid. Please"}}, "auth"),
    ],
)
def test_kinds(http: int, document: object, kind: str) -> None:
    assert explain(Head(http, {}), json.dumps(document).encode()).kind == kind


def test_the_wait_and_the_code() -> None:
    error = explain(
        Head(429, {}), json.dumps(body("RESOURCE_EXHAUSTED", "slow", RETRY, DAY)).encode()
    )
    assert (error.retry_after_s, error.code, error.status) == (37.5, "RESOURCE_EXHAUSTED", 429)
    error = explain(Head(400, {}), json.dumps(body("INVALID_ARGUMENT", "", KEY)).encode())
    assert (error.code, error.message) == ("API_KEY_INVALID", "INVALID_ARGUMENT")


@pytest.mark.parametrize("raw", [b"", b"<html>", b"[" * 10_000, b"[]", b'{"error":' + b"[" * 9])
def test_garbage(raw: bytes) -> None:
    assert explain(Head(503, {}), raw).kind == "overloaded"
