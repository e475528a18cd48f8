"""``Idempotency-Key``: the same key with the same body gets the same answer, once paid.

The answer is kept with the settlement (one journal record, one SQL transaction), so a retry after
a crash either finds it or finds that nothing was charged. Only successes are kept: a failed
request costs nothing and may be tried again under its key. Keys belong to an organisation and a
path (``design/api.md`` section 2).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable

from tokenmarket.billing.records import StoredAnswer
from tokenmarket.core.errors import ApiError
from tokenmarket.core.forms import read_form
from tokenmarket.core.uploads import THREAD_BYTES, Spool, Upload
from tokenmarket.core.wire import Client, ClientGone, Inbound, Passing
from tokenmarket.core.wording import say

KEY_CHARS_MAX = 255
ANSWER_BYTES_MAX = 256 * 1024
_HASH_PIECE_BYTES = 1024 * 1024
TOO_LARGE = 0  # stored instead of a status: the answer was larger than what is kept

Slot = tuple[str, str, str]  # organisation, path, key
Lookup = Callable[[str, str, str], Awaitable[StoredAnswer | None]]


class Idempotency:
    """Who runs under which key right now; finished answers come from ``lookup``."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._running: dict[Slot, Claim] = {}

    async def claim(self, org_id: str, inbound: Inbound) -> Claim | None:
        """None without the header. Raises ApiError(IDEMPOTENCY_001) for a key in use or another
        body, REQUEST_001 for a key that is none."""
        raw = inbound.headers.get(b"idempotency-key")
        if raw is None:
            return None
        key = raw.decode("latin-1")
        if not 0 < len(key) <= KEY_CHARS_MAX or not key.isprintable():
            raise ApiError(
                "REQUEST_001",
                say(
                    "An Idempotency-Key has 1 to {key_chars_max} printable characters.",
                    key_chars_max=KEY_CHARS_MAX,
                ),
                param="Idempotency-Key",
            )
        spool = inbound.spool
        if spool is not None and spool.size > THREAD_BYTES:
            fingerprint = await asyncio.to_thread(fingerprint_of, inbound)
        else:
            fingerprint = fingerprint_of(inbound)
        slot = (org_id, inbound.path, key)
        running = self._running.get(slot)
        if running is not None:
            if running.fingerprint != fingerprint:
                raise _other_body()
            raise ApiError(
                "IDEMPOTENCY_001",
                "A request with this Idempotency-Key is still running.",
                reason="still_running",
                retryable=True,
                retry_after_s=1,
            )
        claim = self._running[slot] = Claim(self._running, slot, fingerprint)
        try:
            answer = await self._lookup(*slot)
            if answer is not None:
                if answer.fingerprint != fingerprint:
                    raise _other_body()
                if answer.status == TOO_LARGE:
                    raise ApiError(
                        "IDEMPOTENCY_001",
                        say(
                            "The request of this Idempotency-Key has succeeded; its answer was too "
                            "large to keep (over {answer_bytes_max} bytes).",
                            answer_bytes_max=ANSWER_BYTES_MAX,
                        ),
                        reason="answer_not_kept",
                    )
        except BaseException:
            claim.release()
            raise
        claim.answer = answer
        return claim


def fingerprint_of(inbound: Inbound) -> str:
    """What tells one body from another. Of a form it is that of its fields and files: a client that
    tries again draws another boundary."""
    found = hashlib.blake2b(inbound.body, digest_size=16)
    if inbound.spool is None:
        return found.hexdigest()
    try:
        form = read_form(inbound.headers.get(b"content-type", b""), inbound.spool)
    except ApiError:  # no form: it is about to be refused
        _add_all(found, inbound.spool)
        return found.hexdigest()
    for name, value in form.fields:
        found.update(b"%d:%d:" % (len(name), len(value)) + f"{name}{value}".encode())
    for upload in form.files:
        head = (upload.field, upload.filename, upload.content_type, str(upload.size))
        found.update("\x00".join(head).encode() + b"\x00")
        _add_all(found, upload)
    return found.hexdigest()


def _add_all(found: hashlib.blake2b, source: Spool | Upload) -> None:
    offset = 0
    while piece := source.read_at(offset, _HASH_PIECE_BYTES):
        found.update(piece)
        offset += len(piece)


def _other_body() -> ApiError:
    return ApiError(
        "IDEMPOTENCY_001",
        "This Idempotency-Key was used with another body.",
        reason="other_body",
    )


class Claim:
    """One request's hold on its key. ``answer`` is set if it was answered before."""

    def __init__(self, running: dict[Slot, Claim], slot: Slot, fingerprint: str) -> None:
        self._running = running
        self._slot = slot
        self.key = slot[2]
        self.fingerprint = fingerprint
        self.answer: StoredAnswer | None = None
        self._sent = bytearray()
        self._keep: StoredAnswer | None = None

    def recording(self, client: Client) -> Client:
        """The client, with a memory: the answer is finished even if the caller leaves."""
        return Recorder(client, self._sent)

    def answered(self, status: int, content_type: str, last: bytes) -> None:
        """The answer is complete: what was sent so far and ``last``."""
        body = bytes(self._sent) + last
        if len(body) > ANSWER_BYTES_MAX:
            status, body = TOO_LARGE, b""
        _, endpoint, key = self._slot
        self._keep = StoredAnswer(key, endpoint, self.fingerprint, status, content_type, body)

    def answer_to_keep(self) -> StoredAnswer | None:
        """What the settlement record carries."""
        return self._keep

    def release(self) -> None:
        """The request is over; the key may be claimed again."""
        if self._running.get(self._slot) is self:
            del self._running[self._slot]


class Recorder(Passing):
    """A client whose stream is remembered (bounded) and whose leaving stops nothing."""

    def __init__(self, client: Client, sent: bytearray) -> None:
        super().__init__(client)
        self._sent = sent
        self._cancellable = False

    @property
    def cancellable(self) -> bool:
        return self._cancellable

    @cancellable.setter
    def cancellable(self, value: bool) -> None:
        self._cancellable = value  # the front does not see it

    def write(self, data: bytes) -> bool:
        if len(self._sent) <= ANSWER_BYTES_MAX:
            self._sent += data
        try:
            return super().write(data)
        except ClientGone:
            return False

    async def drained(self) -> None:
        with contextlib.suppress(ClientGone):
            await super().drained()
