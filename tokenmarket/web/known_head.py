"""A request head that has been read before: the same bytes need no second reading.

A kept-alive client sends the same head again and again; only its Content-Length changes. llhttp
gives the same bytes the same meaning every time, so a request whose head was accepted before, byte
for byte but for the digits of its length, and that arrives whole in one read, is taken without the
parser. Everything else (another head, a body in pieces, two requests in one read) goes the general
way. ``docs/decisions/0008-one-pass-for-plain-requests.md``.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from weakref import WeakValueDictionary

BODY_BYTES_MAX = 128 * 1024  # a larger body comes in several reads anyway
_DIGITS_MAX = 9
_LENGTH = b"\r\ncontent-length:"
_END = b"\r\n\r\n"


class KnownHead:
    """An accepted head of a POST with a length. Shared by all connections that send it."""

    __slots__ = ("__weakref__", "_digits", "_end", "_start", "headers", "notes", "path", "query")

    def __init__(
        self,
        start: bytes,
        digits: bytes,
        end: bytes,
        path: str,
        query: bytes,
        headers: dict[bytes, bytes],
    ) -> None:
        self._start = start  # up to the digits of the length
        self._digits = digits
        self._end = end  # from behind them to the empty line
        self.path = path
        self.query = query
        self.headers = headers
        self.notes: object = None  # whoever serves such requests keeps here what it worked out

    def body_of(self, data: bytes) -> bytes | None:
        """The body if ``data`` is exactly this head and its body, else None."""
        start = self._start
        if not data.startswith(start):
            return None
        at = len(start)
        stop = data.find(b"\r", at, at + _DIGITS_MAX + 1)
        digits = data[at:stop]
        if stop < 0 or not digits.isdigit() or not data.startswith(self._end, stop):
            return None
        body = data[stop + len(self._end) :]
        return body if len(body) == int(digits) else None

    def headers_for(self, body: bytes) -> dict[bytes, bytes]:
        """The headers of a request with this body."""
        length = b"%d" % len(body)
        if length == self._digits:
            return self.headers
        return {**self.headers, b"content-length": length}


Heads = MutableMapping[bytes, KnownHead]


def no_heads() -> Heads:
    """An empty table: a head is forgotten with the last connection that sends it."""
    return WeakValueDictionary()


def learn(
    data: bytes, path: str, query: bytes, headers: dict[bytes, bytes], body: bytes, known: Heads
) -> KnownHead | None:
    """The head of a whole request that was just accepted from ``data`` alone; None: not one that
    can be recognised."""
    digits = headers.get(b"content-length")
    if (
        digits is None
        or digits != b"%d" % len(body)
        or len(body) > BODY_BYTES_MAX
        or b"transfer-encoding" in headers
        or b"expect" in headers
    ):
        return None
    head = data[: len(data) - len(body)]
    if not head.endswith(_END) or head.find(_END) != len(head) - len(_END):
        return None
    lower = head.lower()
    at = lower.find(_LENGTH) + len(_LENGTH)
    while head[at : at + 1] == b" ":
        at += 1
    stop = at + len(digits)
    if head[at:stop] != digits or head[stop : stop + 1] != b"\r":
        return None
    key = head[:at] + head[stop:]  # without the digits
    found = known.get(key)
    if found is None:
        found = known[key] = KnownHead(head[:at], digits, head[stop:], path, query, headers)
    return found
