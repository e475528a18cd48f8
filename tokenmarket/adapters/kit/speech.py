"""What all speech adapters share: reading the order, bare audio coming back, errors in own words.

``reference/media/audio.md`` section 2. ``ByteSpeech`` is the base of those whose provider answers
with the audio itself; one that answers with a document derives from MediaAdapter.
"""

from __future__ import annotations

import base64
import binascii
from abc import abstractmethod
from typing import ClassVar

import msgspec

from tokenmarket.adapters.kit.openai_errors import BODY_BYTES_MAX, explain, inside_200
from tokenmarket.adapters.kit.openai_request import HEADERS
from tokenmarket.adapters.kit.quirks import GATEWAY_FIELDS, HONOURED_HERE
from tokenmarket.adapters.protocol import (
    Again,
    Head,
    MediaAdapter,
    Reply,
    SpeechDecoder,
    UpstreamRequest,
)
from tokenmarket.core.bodies import SpeechBody
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import FailureKind, UpstreamError
from tokenmarket.core.media_rules import texts
from tokenmarket.core.requests import Request
from tokenmarket.core.usage import Usage

# Members that every adapter reads, or that the gateway itself acts on.
_READ = frozenset({"model", "input", "voice", "response_format", "stream_format", *GATEWAY_FIELDS})

_decode = msgspec.json.Decoder(dict[str, object]).decode
_encode = msgspec.json.Encoder().encode


# ------------------------------------------------------------------------------------ the order


def spoken(request: Request) -> SpeechBody:
    """The typed body of a speech request."""
    if not isinstance(request.typed, SpeechBody):
        raise TypeError(f"{request.operation} is no speech")
    return request.typed


def characters_of(request: Request) -> int:
    """Unicode code points of the text: what is billed where the upstream does not count."""
    return len(spoken(request).input)


def unread(request: Request, *taken: str) -> list[str]:
    """The caller's members that an adapter which reads only ``taken`` cannot express."""
    return [
        name
        for name, value in request.members.items()
        if name not in _READ
        and name not in HONOURED_HERE
        and name not in taken
        and bytes(value) != b"null"
    ]


def speed_within(
    request: Request, least: float, most: float, dropped: list[str] | None = None
) -> float | None:
    """The speed asked for, brought into what the upstream takes; that it had to be is named in
    ``dropped``. None: the caller left it open."""
    speed = spoken(request).speed
    if speed is None or least <= speed <= most:
        return speed
    if dropped is not None:
        dropped.append("speed")
    return least if speed < least else most


def formats_of(route: Route, made: tuple[str, ...]) -> tuple[str, ...]:
    """What the model's ``upstream_formats`` leave of what the adapter can ask for."""
    said = texts(route.model.capabilities.get("upstream_formats"))
    return tuple(name for name in said if name in made) or made


def request_to(
    path: str,
    members: dict[str, object],
    dropped: list[str],
    *,
    from_root: bool = False,
    headers: tuple[tuple[str, str], ...] = HEADERS,
) -> UpstreamRequest:
    """One JSON order; members that are None are left out."""
    body = _encode({name: value for name, value in members.items() if value is not None})
    return UpstreamRequest(path, headers, body, dropped=tuple(dropped), from_root=from_root)


# ----------------------------------------------------------------------------------- the answer


class ByteSpeech(MediaAdapter):
    """A provider whose answer is the audio."""

    formats: ClassVar[tuple[str, ...]]
    codes: ClassVar[dict[str, FailureKind]] = {}

    @abstractmethod
    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest: ...

    def usage(self, request: Request, route: Route, head: Head) -> Usage:
        """What the answer will have used: known from the order, or from the answer's head."""
        return Usage(characters=characters_of(request))

    def streams(self, request: Request, route: Route) -> bool:
        return True

    def speech(self, request: Request, route: Route, head: Head) -> SpeechDecoder:
        return RawAudio(self.usage(request, route, head), head, self.codes)

    def speech_formats(self, route: Route) -> tuple[str, ...]:
        return formats_of(route, self.formats)

    def read(self, request: Request, route: Route, head: Head, body: bytes) -> Reply | Again:
        raise UpstreamError("upstream_error", "speech is read as it comes")

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return explain(head, body, self.codes)


class RawAudio:
    """Bare audio bytes. A document in their place is an error, whatever its status was."""

    def __init__(self, expected: Usage | None, head: Head, codes: dict[str, FailureKind]) -> None:
        self.expected = expected
        self.usage: Usage | None = None
        self.finish_reason: str | None = None
        self.upstream_id = head.headers.get("x-request-id")
        self.delivered_output = False
        self._codes = codes
        kind = head.headers.get("content-type", "").lower()
        self._document = b"" if "json" in kind or kind.startswith("text/") else None

    def feed(self, data: bytes) -> bytes:
        if self._document is not None:
            self._document += data[: BODY_BYTES_MAX - len(self._document)]
            return b""
        if data:
            self.delivered_output = True
        return data

    def finish(self) -> bytes:
        if self._document is not None:
            raise said_inside(self._document, self._codes)
        if not self.delivered_output:
            raise UpstreamError("upstream_error", "the upstream's audio is empty")
        self.usage = self.expected
        return b""

    def tail(self, usage_json: bytes | None) -> bytes:
        return b""


def said_inside(document: bytes, codes: dict[str, FailureKind]) -> UpstreamError:
    """A document where audio was promised."""
    try:
        return inside_200(_decode(document), codes)
    except (msgspec.DecodeError, RecursionError):
        return UpstreamError("upstream_error", "the answer is no audio")


def members_of(body: bytes) -> dict[str, object]:
    """A JSON answer. UpstreamError when it is none."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, RecursionError):
        raise UpstreamError("upstream_error", "the upstream's answer is no JSON") from None


def audio_bytes(value: str | None) -> bytes:
    """Base64 of an event. UpstreamError when it is none."""
    try:
        return base64.b64decode(value or "", validate=True)
    except (binascii.Error, ValueError):
        raise UpstreamError("upstream_error", "the upstream's audio is malformed") from None


def counted(value: str | None) -> int | None:
    """Characters that a header tells; None when it tells none."""
    if value is None or not value.isascii() or not value.isdigit() or len(value) > 9:
        return None
    return int(value)


def explained(
    head: Head, message: str | None, code: str | None, codes: dict[str, FailureKind]
) -> UpstreamError:
    """A refusal whose words and code stand where only this provider puts them."""
    told = {"error": {"message": message, "code": code}}
    return explain(head, _encode(told), codes)
