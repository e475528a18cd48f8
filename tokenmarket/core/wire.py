"""The seam between the web and the gateway: one inbound request, one client to answer.

A front (``web/front.py``, ``web/asgi.py``) makes an Inbound and a Client; the rooms see nothing
else of HTTP. ``head`` blocks are ready header lines, each ending in CRLF, so that a front writes
them as they are; every value in them is checked by ``header_value``.
"""

from __future__ import annotations

import re
from typing import Protocol

import msgspec

from tokenmarket.core.errors import ApiError
from tokenmarket.core.uploads import Spool

_UNSAFE = re.compile(r"[^\x21-\x7e]+")
_CHARSET = re.compile(rb'charset\s*=\s*"?([^\s";]*)')
_KEY_IN_QUERY = re.compile(
    rb"(?:^|&)(?:api_?key|key|token|access_token)=|tm_(?:live|test|adm|whk)_", re.I
)


class ClientGone(Exception):
    """The client's connection is closed; nothing more can be delivered."""


class Received(Spool, Protocol):
    """The spool of an upload. The front closes it when its request has ended."""

    def close(self) -> None: ...


class Inbound(msgspec.Struct):
    """One received request. ``headers`` has lower-case names; repeated ones joined by ", ".

    A multipart body is in ``spool``, and ``body`` is empty then (``core/forms.py`` reads it).
    """

    request_id: str
    method: str
    path: str
    query: bytes
    headers: dict[bytes, bytes]
    body: bytes
    address: str
    accepted_us: int  # wall clock
    started_us: int  # monotonic
    spool: Received | None = None


class Client(Protocol):
    """The caller's connection. Exactly one of ``respond`` or ``begin … end`` is called.

    ``write`` says True when the client reads slowly: then ``drained`` is to be awaited before the
    next one. Both raise ClientGone when it left. While
    ``cancellable`` is true, the front cancels the running task when the client leaves.
    """

    @property
    def cancellable(self) -> bool: ...
    @cancellable.setter
    def cancellable(self, value: bool) -> None: ...

    @property
    def gone(self) -> bool: ...
    @property
    def begun(self) -> bool: ...
    def respond(self, status: int, head: bytes, body: bytes) -> None: ...
    def begin(self, status: int, head: bytes, length: int | None = None) -> None:
        """``length``: of the whole body, where it is known; exactly that much is written then."""
        ...

    def write(self, data: bytes) -> bool: ...
    async def drained(self) -> None: ...
    def end(self, data: bytes) -> None: ...


class Passing:
    """A client that passes everything on; the base of those that change one thing on the way."""

    __slots__ = ("_client",)

    def __init__(self, client: Client) -> None:
        self._client = client

    @property
    def cancellable(self) -> bool:
        return self._client.cancellable

    @cancellable.setter
    def cancellable(self, value: bool) -> None:
        self._client.cancellable = value

    @property
    def gone(self) -> bool:
        return self._client.gone

    @property
    def begun(self) -> bool:
        return self._client.begun

    def respond(self, status: int, head: bytes, body: bytes) -> None:
        self._client.respond(status, head, body)

    def begin(self, status: int, head: bytes, length: int | None = None) -> None:
        self._client.begin(status, head, length)

    def write(self, data: bytes) -> bool:
        return self._client.write(data)

    async def drained(self) -> None:
        await self._client.drained()

    def end(self, data: bytes) -> None:
        self._client.end(data)


def header_value(text: str) -> bytes:
    """Printable ASCII only: what is not, CR and LF first of all, becomes one underscore."""
    return _UNSAFE.sub("_", text).encode("ascii")


def bearer_token(inbound: Inbound) -> str:
    """The one API key of a request, from ``Authorization: Bearer`` or ``x-api-key``.

    ApiError(AUTH_001): no key, two different keys, or a key in the URL (it is in logs by now).
    """
    headers = inbound.headers
    if inbound.query and _KEY_IN_QUERY.search(inbound.query):
        raise ApiError(
            "AUTH_001",
            "A key in a URL ends up in logs: send 'Authorization: Bearer …', and replace the key.",
            reason="key_in_url",
        )
    raw = headers.get(b"authorization")
    other = headers.get(b"x-api-key")
    if raw is None:
        if other is None:
            raise ApiError(
                "AUTH_001", "No API key: send 'Authorization: Bearer tm_live_…'.", reason="no_key"
            )
        token = other
    elif raw[:7] in (b"Bearer ", b"bearer "):
        token = raw[7:].strip()
        if other is not None and other != token:
            raise ApiError("AUTH_001", "Two different API keys were sent.", reason="two_keys")
    else:
        raise ApiError(
            "AUTH_001", "Expected 'Authorization: Bearer tm_live_…'.", reason="not_bearer"
        )
    if b"," in token:
        raise ApiError("AUTH_001", "Two API keys were sent.", reason="two_keys")
    return token.decode("latin-1")


def check_content_type(inbound: Inbound) -> None:
    """ApiError(REQUEST_007) unless the body is said to be JSON (or nothing is said)."""
    headers = inbound.headers
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise ApiError("REQUEST_007", "Compressed bodies are not read.", param="Content-Encoding")
    raw = headers.get(b"content-type")
    if raw is None or raw == b"application/json":
        return
    name, _, parameters = raw.lower().partition(b";")
    name = name.strip()
    charset = _CHARSET.search(parameters)
    if charset is not None and charset.group(1) not in (b"utf-8", b"utf8", b"us-ascii"):
        raise ApiError("REQUEST_007", "JSON is read as UTF-8 only.", param="Content-Type")
    if name != b"application/json" and not (
        name.startswith(b"application/") and name.endswith(b"+json")
    ):
        raise ApiError(
            "REQUEST_007",
            "Send JSON with 'Content-Type: application/json'.",
            param="Content-Type",
        )
