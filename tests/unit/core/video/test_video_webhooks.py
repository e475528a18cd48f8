"""Standard Webhooks: our signatures against openai-python's verifier, and the published vector."""

from __future__ import annotations

import base64
import json
import time

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmarket.core.tasks import TERMINAL
from tokenmarket.core.video.webhooks import (
    BODY_BYTES_MAX,
    RETRY_AFTER_S,
    BadSignature,
    event_body,
    new_secret,
    retry_delay_ms,
    secret_key,
    signed_headers,
    verify,
)

SECRET = new_secret(bytes(range(32)))
OLDER = new_secret(bytes(range(1, 33)))
NOW = 1_795_400_000
BODY = b'{"id":"evt_1","object":"event","type":"video.completed","created_at":1,"data":{"id":"v"}}'


def headers(*secrets: str, event_id: str = "evt_1", at_s: int = NOW) -> dict[str, str]:
    return dict(signed_headers(secrets or (SECRET,), event_id, at_s, BODY))


def test_the_vector_of_the_specification() -> None:
    # The example that the Standard Webhooks libraries of every language test themselves with.
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    signed = dict(signed_headers([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body))
    assert signed["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert verify([secret], signed, body, 1614265330) == "msg_p5jXN8AQM9LWM0D4loKWxJek"


def test_openai_s_sdk_believes_us_and_nobody_else() -> None:
    client = openai.OpenAI(api_key="k", webhook_secret=SECRET)
    now_s = int(time.time())
    during_rotation = headers(SECRET, OLDER, at_s=now_s)
    event = client.webhooks.unwrap(BODY, during_rotation)
    assert event.type == "video.completed"
    swapped = headers(OLDER, SECRET, at_s=now_s)
    assert client.webhooks.unwrap(BODY, swapped).id == "evt_1"
    for body, given_headers in (
        (BODY + b" ", during_rotation),
        (BODY, headers(OLDER, at_s=now_s)),
        (BODY, headers(at_s=now_s - 301)),
        (BODY, during_rotation | {"webhook-id": "evt_2"}),
    ):
        with pytest.raises(openai.InvalidWebhookSignatureError):
            client.webhooks.unwrap(body, given_headers)


def test_what_is_believed() -> None:
    assert verify([SECRET], headers(), BODY, NOW + 300) == "evt_1"
    assert verify([OLDER, SECRET], headers(), BODY, NOW - 300) == "evt_1"
    noisy = headers() | {"webhook-signature": "v1a,x v1,é " + headers()["webhook-signature"]}
    assert verify([SECRET], noisy, BODY, NOW) == "evt_1"


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": ""},
        {"webhook-id": "evt.1"},
        {"webhook-id": "evt_2"},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": str(NOW + 1)},
        {"webhook-timestamp": str(NOW - 301)},
        {"webhook-timestamp": "1" * 40},
        {"webhook-timestamp": "-1"},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": " ".join(["v1,AAAA"] * 10_000)},
    ],
    ids=str,
)
def test_what_is_not_believed(change: dict[str, str]) -> None:
    with pytest.raises(BadSignature):
        verify([SECRET], headers() | change, BODY, NOW)


def test_without_a_secret_nothing_is_believed_or_signed() -> None:
    with pytest.raises(BadSignature):
        verify([], headers(), BODY, NOW)
    with pytest.raises(ValueError, match="nothing to sign with"):
        signed_headers([], "evt_1", NOW, BODY)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec_!!!!",
        base64.b64encode(bytes(32)).decode(),
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        "whsec_é",
    ],
)
def test_secrets_that_are_none(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        secret_key(secret)
    with pytest.raises(ValueError, match="whsec_"):
        verify([secret], headers(), BODY, NOW)


@given(st.binary(min_size=24, max_size=64), st.binary(max_size=300), st.integers(0, 10**11))
def test_what_is_signed_is_believed(key: bytes, body: bytes, now_s: int) -> None:
    secret = new_secret(key)
    assert secret_key(secret) == key
    signed = dict(signed_headers([secret], "evt_1", now_s, body))
    assert verify([secret], signed, body, now_s) == "evt_1"
    with pytest.raises(BadSignature):
        verify([secret], signed, body + b"x", now_s)


def test_ids_have_no_dots() -> None:
    with pytest.raises(ValueError, match="no id"):
        headers(event_id="evt.1")
    with pytest.raises(ValueError, match="bytes"):
        new_secret(b"short")


def test_events() -> None:
    types = {
        state: json.loads(event_body("evt_1", state, NOW, {"id": "v"}))["type"]
        for state in TERMINAL
    }
    assert types == {
        "succeeded": "video.completed",
        "failed": "video.failed",
        "expired": "video.failed",
        "rejected": "video.failed",
        "cancelled": "video.cancelled",
    }


def test_a_notice_is_never_too_long() -> None:
    video = {"id": "v", "prompt": "x" * 32_000, "metadata": {"a": "y" * 8_000}, "warnings": []}
    body = event_body("evt_1", "succeeded", NOW, video)
    event = json.loads(body)
    assert len(body) <= BODY_BYTES_MAX
    assert event["truncated"] == ["prompt"]
    assert event["data"]["metadata"] == {"a": "y" * 8_000}
    assert "truncated" not in json.loads(event_body("evt_1", "failed", NOW, {"id": "v"}))


def test_retries_with_jitter_that_end() -> None:
    assert [retry_delay_ms(n, 0) for n in range(1, 7)] == [1000 * s for s in RETRY_AFTER_S]
    assert retry_delay_ms(0, 0) is None
    assert retry_delay_ms(7, 0) is None
    assert {retry_delay_ms(1, draw) for draw in range(100)} == set(range(5_000, 6_001, 50))
