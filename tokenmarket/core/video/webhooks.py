"""Notices about a finished task, signed as Standard Webhooks; the same for notices to us.

    webhook-id         evt_…, the same at every attempt: receivers tell repeats by it
    webhook-timestamp  unix seconds of the attempt; ± 300 s are tolerated
    webhook-signature  v1,<base64 HMAC-SHA256(secret, id.timestamp.body)>, several with spaces
                       between while one secret replaces another

Checked against openai-python's ``webhooks.unwrap`` (section 2.6 of the contract). A secret is
``whsec_`` and the base64 of 24 to 64 bytes. An empty or short one is refused, never used: an HMAC
under an empty key is something that anybody can make (CVE-2026-41432).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence

import msgspec

from tokenmarket.core.video.states import EVENTS

SECRET_PREFIX = "whsec_"
SECRET_BYTES_MIN, SECRET_BYTES_MAX = 24, 64
SECRET_BYTES_NEW = 32
TOLERANCE_S = 300
BODY_BYTES_MAX = 20_000
SIGNATURES_MAX = 16  # of a header are looked at

# Pauses after the failed attempts; after the last one the notice is given up.
RETRY_AFTER_S = (5, 30, 120, 600, 3_600, 21_600)
RETRY_JITTER_PERCENT = 20

_LONG: tuple[tuple[str, object], ...] = (
    ("prompt", None),
    ("metadata", {}),
    ("warnings", []),
    ("outputs", []),
)
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)  # no dots: they separate what is signed
_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
_encode = msgspec.json.Encoder().encode


class BadSignature(Exception):
    """Why a notice is not to be believed."""


def new_secret(randomness: bytes) -> str:
    """``whsec_…`` of ``SECRET_BYTES_NEW`` random bytes."""
    if not SECRET_BYTES_MIN <= len(randomness) <= SECRET_BYTES_MAX:
        raise ValueError(f"a secret has {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes")
    return SECRET_PREFIX + base64.b64encode(randomness).decode("ascii")


def secret_key(secret: str) -> bytes:
    """The key of ``whsec_…``. Raises ValueError for anything else, short ones included."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or not (
        SECRET_BYTES_MIN <= len(key) <= SECRET_BYTES_MAX
    ):
        raise ValueError(
            f"a signing secret is {SECRET_PREFIX} and the base64 of {SECRET_BYTES_MIN} to "
            f"{SECRET_BYTES_MAX} bytes"
        )
    return key


def signed_headers(
    secrets: Sequence[str], event_id: str, timestamp_s: int, body: bytes
) -> tuple[tuple[str, str], ...]:
    """The headers of one attempt; one signature per secret, the newest first."""
    if not secrets:
        raise ValueError("nothing to sign with")
    if _ID.fullmatch(event_id) is None:
        raise ValueError(f"{event_id[:40]!r} is no id that can be signed")
    signatures = [_signature(secret_key(secret), event_id, timestamp_s, body) for secret in secrets]
    return (
        ("content-type", "application/json"),
        ("user-agent", "TokenMarket-Webhooks"),
        ("webhook-id", event_id),
        ("webhook-timestamp", str(timestamp_s)),
        ("webhook-signature", " ".join(signatures)),
    )


def _signature(key: bytes, event_id: str, timestamp_s: int, body: bytes) -> str:
    signed = b"%b.%d.%b" % (event_id.encode("ascii"), timestamp_s, body)
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode("ascii")


def verify(secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now_s: int) -> str:
    """The id of a notice that was sent to us; BadSignature otherwise.

    ``headers`` have lower-case names. ``body`` is exactly what was received. The time is checked,
    not whether the id was seen before: that is the caller's.
    """
    event_id = headers.get("webhook-id", "")
    stamp = headers.get("webhook-timestamp", "")
    if not secrets:
        raise BadSignature("there is no secret to check with")
    if _ID.fullmatch(event_id) is None or _TIMESTAMP.fullmatch(stamp) is None:
        raise BadSignature("webhook-id or webhook-timestamp is missing or malformed")
    timestamp_s = int(stamp)
    if abs(now_s - timestamp_s) > TOLERANCE_S:
        raise BadSignature("too old, or from the future")
    given = headers.get("webhook-signature", "").split(" ", SIGNATURES_MAX)[:SIGNATURES_MAX]
    right = False
    for secret in secrets:
        expected = _signature(secret_key(secret), event_id, timestamp_s, body).encode("ascii")
        for one in given:
            right |= hmac.compare_digest(expected, one.encode("utf-8", "replace"))
    if not right:
        raise BadSignature("no signature matches")
    return event_id


# --------------------------------------------------------------------------------------- contents


def event_body(event_id: str, state: str, created_s: int, video: Mapping[str, object]) -> bytes:
    """The notice about a task that ended in ``state``. ``video`` is its projection; what makes it
    too long (the prompt, then metadata and warnings) is left out, and named in ``truncated``."""
    shown = dict(video)
    truncated: list[str] = []
    for name, empty in _LONG:
        body = _event(event_id, state, created_s, shown, truncated)
        if len(body) <= BODY_BYTES_MAX:
            return body
        shown[name] = empty
        truncated.append(name)
    return _event(event_id, state, created_s, shown, truncated)


def _event(
    event_id: str, state: str, created_s: int, video: dict[str, object], truncated: list[str]
) -> bytes:
    event: dict[str, object] = {
        "id": event_id,
        "object": "event",
        "type": EVENTS[state],
        "created_at": created_s,
        "data": video,
    }
    if truncated:
        event["truncated"] = truncated
    return _encode(event)


def retry_delay_ms(attempts: int, draw: int, pauses_s: Sequence[int] = RETRY_AFTER_S) -> int | None:
    """The pause after so many failed attempts, None: give up. ``draw`` is any number, for jitter.

    A receiver that answers 410 wants nothing more: do not ask this then.
    """
    if not 1 <= attempts <= len(pauses_s):
        return None
    delay_ms = pauses_s[attempts - 1] * 1000
    return delay_ms + delay_ms * (draw % (RETRY_JITTER_PERCENT + 1)) // 100
