"""What an adapter is: five pure functions between our request and a provider's bytes.

OpenAI's wire format is the inner format. An adapter never opens a socket, reads a clock or draws
a random number; ``gateway.py`` sends what ``build`` returns and feeds what comes back.

    build -> (send) -> read            one JSON answer
                    -> decoder         a stream: feed(bytes) -> bytes, any cut gives the same output
                    -> explain         an answer that is not 2xx
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.requests import Request
from tokenmarket.core.usage import Usage


class UpstreamRequest(msgspec.Struct, frozen=True):
    """One HTTP request below the provider's base URL.

    ``path`` is appended to the base URL's path ("/chat/completions"). ``headers`` excludes host,
    content-length, authorization (the credential is added by ``upstream/credentials.py``).
    Reuse one tuple per adapter: rendered heads are cached by it. ``dropped`` names the caller's
    parameters that this upstream cannot express.
    """

    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    method: str = "POST"
    dropped: tuple[str, ...] = ()


class Head(msgspec.Struct, frozen=True):
    """Status and headers of an upstream answer; header names are lower case."""

    status: int
    headers: Mapping[str, str]


class Reply(msgspec.Struct):
    """A whole answer in our format, without ``usage``: members, or ready bytes.

    ``prefix``, where not empty, is the answer's JSON up to the value of its last member, usage:
    ``prefix + usage + b"}"`` is what goes to the caller, and there is nothing to encode. Otherwise
    ``members`` has the top-level fields (values may be ``msgspec.Raw``). ``payload`` does either.
    ``usage`` None means that the upstream reported none: nothing is charged for tokens.
    """

    members: dict[str, object] | None
    usage: Usage | None
    finish_reason: str | None = None
    upstream_id: str | None = None
    prefix: bytes = b""

    @property
    def document(self) -> dict[str, object]:
        """The members, also of an answer that is kept as bytes. The dict is kept: change it."""
        members = self.members
        if members is None:
            members = self.members = _decode_members(self.prefix + b"null}")
            del members["usage"]
        return members

    def payload(self, usage_json: bytes | None) -> bytes:
        """The answer as it goes to the caller; None writes ``"usage":null``."""
        if self.prefix:
            return self.prefix + (b"null}" if usage_json is None else usage_json + b"}")
        usage = msgspec.Raw(b"null" if usage_json is None else usage_json)
        return _encode({**self.document, "usage": usage})


def _decode_members(data: bytes) -> dict[str, object]:
    return {**_decode_raw(data)}


_decode_raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class Decoder(Protocol):
    """Turns upstream stream bytes into our stream bytes.

    ``feed`` returns only whole events (possibly b"") and may raise UpstreamError: an error event
    inside the stream (fields of the provider's error) or garbage. ``finish`` is called at the end
    of the body and raises UpstreamError("stream_broken") if the end marker or a finish reason never
    came; it returns bytes still owed. Neither emits the usage event or ``[DONE]``: ``tail`` does,
    after the charge is known.
    """

    usage: Usage | None
    finish_reason: str | None
    upstream_id: str | None
    delivered_output: bool  # did content (text, reasoning, tool call) reach the caller?

    def feed(self, data: bytes) -> bytes: ...
    def finish(self) -> bytes: ...
    def tail(self, usage_json: bytes | None) -> bytes:
        """The last events: the usage event if ``usage_json`` is given, then ``data: [DONE]``."""
        ...


class Adapter(Protocol):
    """One operation of one provider family. Instances are module constants; the only state is what
    they keep about routes to save time, and can lose at any moment."""

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        """Translate. Raises ApiError(REQUEST_001/002) for what can never work there."""
        ...

    def read(self, request: Request, route: Route, head: Head, body: bytes) -> Reply:
        """A 2xx JSON answer. Raises UpstreamError for errors inside a 200 and for garbage."""
        ...

    def decoder(self, request: Request, route: Route, head: Head) -> Decoder: ...

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        """A non-2xx answer. Never raises: an unreadable body is classified by status."""
        ...
