"""Kling's error codes, for its videos and its pictures (the official table, as of 2026-11-23)."""

from __future__ import annotations

from tokenmarket.core.errors import FailureKind

CODES: dict[str, FailureKind] = {
    "1000": "auth",
    "1001": "auth",
    "1002": "auth",
    "1003": "auth",
    "1004": "auth",
    "1100": "no_balance",
    "1101": "no_balance",
    "1102": "no_balance",
    "1103": "forbidden",
    "1200": "bad_request",
    "1201": "bad_request",
    "1202": "upstream_error",  # we called it wrongly
    "1203": "not_found",
    "1300": "content_policy",
    "1301": "content_policy",
    "1302": "rate_limited",
    "1303": "rate_limited",
    "1304": "forbidden",  # our address is not on the account's list
    "5000": "upstream_error",
    "5001": "overloaded",
    "5002": "timeout",
}
