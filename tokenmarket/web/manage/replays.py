"""``Idempotency-Key`` on the management API: what a request did is done once, its answer repeated.

The key is noted before the handler runs and the answer kept (sealed: it may hold a new secret) when
it has. A request that was refused changed nothing and frees its key. One that ended with its
process leaves the note without an answer: then nobody knows, and we say so instead of trying again.
"""

from __future__ import annotations

import hashlib

from tokenmarket.core.errors import ApiError
from tokenmarket.core.wire import Inbound
from tokenmarket.core.wording import say
from tokenmarket.store import manage_keys
from tokenmarket.store.database import Database

KEPT_US = 24 * 3_600 * 1_000_000
RUNNING_US = 60 * 1_000_000  # so long a request without an answer may still be running
KEY_CHARS_MAX = 255


def key_of(inbound: Inbound) -> str:
    """The idempotency key, or an empty text. Raises ApiError."""
    text = inbound.headers.get(b"idempotency-key", b"").decode("latin-1").strip()
    if len(text) > KEY_CHARS_MAX or not text.isprintable():
        raise ApiError(
            "REQUEST_001",
            say(
                "An idempotency key is one line of at most {key_chars_max} characters.",
                key_chars_max=KEY_CHARS_MAX,
            ),
            param="Idempotency-Key",
        )
    return text


class Replay:
    """One request with an idempotency key: ``begin``, then ``keep`` or ``forget``."""

    def __init__(self, database: Database, kek: bytes, key_id: str, inbound: Inbound) -> None:
        self._database = database
        self._kek = kek
        self._key_id = key_id
        self._key = key_of(inbound)
        told = b"%b\n%b\n%b" % (inbound.method.encode(), inbound.path.encode(), inbound.body)
        self._fingerprint = hashlib.sha256(told).hexdigest()

    async def begin(self, now_us: int) -> bytes | None:
        """The answer to repeat, or None for the first. Raises ApiError(IDEMPOTENCY_001)."""
        async with self._database.begin() as conn:
            await manage_keys.forget_before(conn, now_us - KEPT_US)
            kept = await manage_keys.claim(
                conn, self._kek, self._key_id, self._key, self._fingerprint, now_us
            )
        if kept is None:
            return None
        if kept.fingerprint != self._fingerprint:
            raise ApiError(
                "IDEMPOTENCY_001",
                "This idempotency key came with another request before.",
                reason="idempotency_key_reused",
            )
        if kept.body is None and now_us - kept.created_us < RUNNING_US:
            raise ApiError(
                "IDEMPOTENCY_001",
                "The first request with this key is still running.",
                reason="still_running",
                retryable=True,
                retry_after_s=1.0,
            )
        if kept.body is None:
            raise ApiError(
                "IDEMPOTENCY_001",
                "The first request with this key ended without an answer: look whether it was "
                "done, then use another key.",
                reason="outcome_unknown",
            )
        return kept.body

    async def keep(self, body: bytes) -> None:
        async with self._database.begin() as conn:
            await manage_keys.keep(conn, self._kek, self._key_id, self._key, body)

    async def forget(self) -> None:
        async with self._database.begin() as conn:
            await manage_keys.forget(conn, self._key_id, self._key)
