"""What new-api servers call their refusals (``wire_facts.md`` section 3.3, 2026-11-23)."""

from tokenmarket.core.errors import FailureKind

CODES: dict[str, FailureKind] = {
    "insufficient_user_quota": "no_balance",  # HTTP 403
    "get_channel_failed": "overloaded",
    "channel:no_available_key": "overloaded",
    "bad_response_status_code": "upstream_error",
    "empty_response": "upstream_error",
    "prompt_blocked": "content_policy",
    "sensitive_words_detected": "content_policy",
}
