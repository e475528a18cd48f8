"""What the journal says: one small struct per kind of record, msgpack arrays on disk.

H opens a request, P says how far it is, S or V or R ends it; C carries what is still open into the
next segment, so that a reader can begin at any segment. Fields are only ever added at the end: new
code must read the journal of the process it replaces.
"""

from __future__ import annotations

import msgspec

NO_LEGS: tuple[tuple[str, int, int], ...] = ()


class StoredAnswer(msgspec.Struct, array_like=True, frozen=True):
    """What an idempotent retry gets back. ``body`` is at most 256 kB."""

    key: str
    endpoint: str
    fingerprint: str
    status: int
    content_type: str
    body: bytes


class UsageEvent(msgspec.Struct, array_like=True):
    """One finished request, whatever became of it. Times in unix µs, money in nano-USD.

    ``status``: succeeded | failed | cancelled | rejected. ``units_json``: core.usage.Usage as JSON,
    with the request's price attributes in ``attributes``, so that the charge can be computed again.
    ``receipt``: the JSON that GET /requests/{id} answers.
    """

    request_id: str
    org_id: str
    key_id: str
    accepted_us: int
    finished_us: int
    operation: str
    model: str
    provider: str
    status: str
    error_code: str = ""
    charge_nano: int = 0
    uncollected_nano: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    units_json: str = ""
    price_version: str = ""
    receipt: bytes = b"{}"
    answer: StoredAnswer | None = None


class H(msgspec.Struct, array_like=True, tag=1):
    """Held. ``legs``: (account, lease number, amount); ``windows``: (spend window, lease number);
    every window is held at the full amount."""

    request_id: str
    org_id: str
    key_id: str
    model: str
    provider: str
    price_version: str
    amount_nano: int
    legs: tuple[tuple[str, int, int], ...]
    windows: tuple[tuple[str, int], ...]
    held_us: int


class P(msgspec.Struct, array_like=True, tag=2):
    """Delivered so far: what a worker's death would charge."""

    request_id: str
    charge_nano: int
    note: bytes


class S(msgspec.Struct, array_like=True, tag=3):
    """Settled with a charge: the legs sum to ``event.charge_nano``."""

    request_id: str
    legs: tuple[tuple[str, int, int], ...]
    windows: tuple[tuple[str, int], ...]
    event: UsageEvent


class V(msgspec.Struct, array_like=True, tag=4):
    """Ended with nothing due."""

    request_id: str
    event: UsageEvent


class R(msgspec.Struct, array_like=True, tag=5):
    """Refused before a hold: a receipt, no money."""

    request_id: str
    event: UsageEvent


class C(msgspec.Struct, array_like=True, tag=6):
    """First record of every later segment: what is open, and the sums over all earlier ones."""

    request_id: str  # empty: keeps the shape of every record alike
    open_holds: tuple[H, ...]
    progress: tuple[P, ...]
    settled: int
    settled_nano: int


Record = H | P | S | V | R | C
End = S | V | R

encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)


def decode(payload: bytes) -> Record:
    """Raises msgspec.MsgspecError for what no version ever wrote."""
    return _decoder.decode(payload)
