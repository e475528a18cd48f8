"""What adapters of pictures with words of their own have in common.

Their upstreams are not OpenAI's, so nothing of the caller's body passes by itself: an adapter takes
the members that it can express (``Wanted``), and what nobody took is named in ``dropped``. Unknown
members could make more pictures than were paid for, or switch a callback on.

An answer is the pictures, or a job that is asked about until it is done (``again``). Words of a job
are looked up in exact tables: what is not in the table is an error, never a success.
"""

from __future__ import annotations

import base64
import re
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, TypeVar

import msgspec

from tokenmarket.adapters.kit.media_usage import image_usage
from tokenmarket.adapters.kit.openai_errors import clean, explain
from tokenmarket.adapters.kit.openai_images import VARIATION_PROMPT, by_count, merged, uploads
from tokenmarket.adapters.kit.openai_request import unsupported
from tokenmarket.adapters.kit.picture_sizes import pixels_of, ratio_of
from tokenmarket.adapters.kit.quirks import GATEWAY_FIELDS, HONOURED_HERE
from tokenmarket.adapters.kit.shape import mapping, text
from tokenmarket.adapters.protocol import (
    Again,
    Head,
    InputMode,
    MediaAdapter,
    Produced,
    Reply,
    UpstreamRequest,
)
from tokenmarket.core.bodies import ImageBody
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import ApiError, FailureKind, UpstreamError
from tokenmarket.core.media_rules import number, texts
from tokenmarket.core.requests import Request
from tokenmarket.core.uploads import Upload
from tokenmarket.core.wording import say

GET_HEADERS = (("accept", "application/json"),)
JOB_DELAY_S = 1.0

# Read through the request, or honoured by the gateway itself.
_READ = {
    *("model", "prompt", "n", "size", "image", "images", "mask", "response_format"),
    *("stream", "partial_images"),
    *GATEWAY_FIELDS,
    *HONOURED_HERE,
}
# "auto" in these is what leaving them out is.
_AUTO = {"quality", "background", "moderation", "style", "aspect_ratio", "resolution"}
_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,15})?", re.ASCII)
_FLAGS = {"true": True, "false": False}

# Words of refusals that come without a code.
_MODERATED = re.compile(
    r"nsfw|moderat|sensitive|flagged|content (policy|safety|filter|checker)|risk control"
    r"|safety (policy|system|filter|check)|prohibited|usage guidelines|风控|敏感|违规",
    re.IGNORECASE,
)

_decode = msgspec.json.Decoder(dict[str, object]).decode
_decode_any = msgspec.json.Decoder().decode

Value = TypeVar("Value")


class Wanted:
    """The request as an adapter takes it apart; ``dropped`` is what it left."""

    def __init__(self, request: Request, route: Route) -> None:
        self.request = request
        self.route = route
        self._left = {
            name: value
            for name, value in request.members.items()
            if name not in _READ and not _is_nothing(name, bytes(value))
        }

    @property
    def prompt(self) -> str:
        typed = self.request.typed
        return (typed.prompt if isinstance(typed, ImageBody) else None) or VARIATION_PROMPT

    @property
    def dropped(self) -> tuple[str, ...]:
        return tuple(self._left)

    def quality(self) -> str:
        """What the caller chose or the model's default says; "" where the upstream decides."""
        self._left.pop("quality", None)
        return self.request.quality

    def peek(self, name: str) -> object:
        """A member that is left, without taking it."""
        given = self._left.get(name)
        return None if given is None else _decode_any(given)

    def text(self, name: str) -> str | None:
        return self._take(name, "a text", text)

    def number(self, name: str) -> int | float | None:
        return self._take(name, "a number", _number)

    def flag(self, name: str) -> bool | None:
        return self._take(name, "true or false", _flag)

    def word(self, name: str, legal: Mapping[str, str] | Sequence[str]) -> str | None:
        """A member with a few legal values, in the upstream's words; another one is left, and so
        named in ``dropped``."""
        words = legal if isinstance(legal, Mapping) else {one: one for one in legal}
        given = self._left.get(name)
        if given is None:
            return None
        found = words.get(text(_decode_any(given)) or "")
        if found is not None:
            del self._left[name]
        return found

    def ratio(self, legal: Sequence[str], separator: str = ":") -> str | None:
        """``size`` as a ratio, else the caller's own ``aspect_ratio``. REQUEST_002 for another."""
        found = ratio_of(self.request, self.route, legal)
        if found is None and not self.request.size:
            asked = self.text("aspect_ratio")
            found = None if asked is None else asked.replace(":", separator)
            if found is not None and found not in legal:
                self.refuse(
                    "aspect_ratio",
                    say("aspect_ratio must be one of: {legal}.", legal=", ".join(legal)),
                )
        return found

    def pixels(self, multiple: int, least: int, most: int) -> tuple[int, int] | None:
        """``size`` for an upstream that takes width and height in such steps."""
        if not self.request.size:
            return None
        found = pixels_of(self.request)
        if found is None or any(side % multiple or not least <= side <= most for side in found):
            raise ApiError(
                "REQUEST_002",
                say(
                    "{provider_name} makes sides of {least} to {most} pixels in steps of "
                    "{multiple}, not {size}.",
                    provider_name=self.route.provider.name,
                    least=least,
                    most=most,
                    multiple=multiple,
                    size=self.request.size,
                ),
                param="size",
                reason="unsupported_size",
            )
        return found

    def pictures(self, most: int) -> list[Upload]:
        """The caller's pictures; a mask, or more than ``most`` of them, is refused."""
        if uploads(self.request, "mask"):
            self.refuse("mask")
        found = uploads(self.request, "image")
        if found and not most:
            self.refuse("image")
        if len(found) > most:
            self.refuse(
                "image",
                say(
                    "{provider_name} takes {most} pictures.",
                    provider_name=self.route.provider.name,
                    most=most,
                ),
            )
        return found

    def refuse(self, name: str, why: str = "") -> None:
        unsupported(name, self.route, why)

    def forbid(self, *names: str) -> None:
        """Members that would change the price or the result, and that this adapter never sends."""
        for name in names:
            if name in self._left:
                self.refuse(name)

    def _take(self, name: str, what: str, read: Callable[[object], Value | None]) -> Value | None:
        given = self._left.pop(name, None)
        if given is None:
            return None
        value = read(_decode_any(given))
        if value is None:
            raise ApiError(
                "REQUEST_001",
                say("Expected {what}.", what=what),
                param=name,
                reason="invalid_parameter",
            )
        return value


def _is_nothing(name: str, value: bytes) -> bool:
    return value in (b"", b"null", b'""') or (value == b'"auto"' and name in _AUTO)


def _number(value: object) -> int | float | None:
    """Forms have texts only."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = _decode_any(value) if not value.lstrip("-").startswith("0") else float(value)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _flag(value: object) -> bool | None:
    if isinstance(value, str):
        return _FLAGS.get(value)
    return value if isinstance(value, bool) else None


def put(place: dict[str, object], **members: object) -> dict[str, object]:
    """Those that are there."""
    place.update({name: value for name, value in members.items() if value is not None})
    return place


def base64_of(upload: Upload) -> str:
    """Without a ``data:`` prefix, as some demand."""
    return base64.b64encode(upload.data()).decode("ascii")


def listed(route: Route, key: str, usual: Sequence[str]) -> Sequence[str]:
    """A capability of the model that is a list of texts."""
    return texts(route.model.capabilities.get(key)) or usual


# ----------------------------------------------------------------------------------------- answers


class PictureAdapter(MediaAdapter):
    """``answer`` gets the answer's JSON object."""

    inputs: ClassVar[InputMode] = "bytes"
    atomic: ClassVar[bool] = False
    codes: ClassVar[Mapping[str, FailureKind]] = {}
    n_per_call: ClassVar[int] = 1  # the model's capability of the same name says otherwise

    def split(self, request: Request, route: Route) -> tuple[Request, ...]:
        told = number(route.model.capabilities.get("n_per_call"))
        return by_count(request, max(1, told or self.n_per_call))

    def merge(self, request: Request, route: Route, replies: Sequence[Reply]) -> Reply:
        return merged(replies)

    def read(self, request: Request, route: Route, head: Head, body: bytes) -> Reply | Again:
        return self.answer(request, route, document_of(body))

    @abstractmethod
    def answer(
        self, request: Request, route: Route, document: dict[str, object]
    ) -> Reply | Again: ...

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        error = explain(head, body, _with_details(self.codes, body))
        if error.kind == "bad_request" and _MODERATED.search(error.message):
            error.kind = "content_policy"
        return error


def _with_details(codes: Mapping[str, FailureKind], body: bytes) -> dict[str, FailureKind]:
    """The table, and in it the code of this body if it is one of ours with a detail behind a dot
    ("InputTextSensitiveContentDetected.PolicyViolation")."""
    found = dict(codes)
    try:
        document = document_of(body)
    except UpstreamError:
        return found
    for holder in (mapping(document.get("error")), document):
        code = (text(holder.get("code")) or "").lower()
        known = codes.get(code.partition(".")[0])
        if known is not None:
            found.setdefault(code, known)
    return found


def document_of(body: bytes) -> dict[str, object]:
    try:
        return _decode(body)
    except (msgspec.DecodeError, RecursionError):
        raise UpstreamError("upstream_error", "the upstream's answer is no JSON") from None


def again(
    read: Callable[[dict[str, object]], Reply | Again],
    *,
    path: str = "",
    url: str | None = None,
    from_root: bool = False,
    delay_s: float = JOB_DELAY_S,
) -> Again:
    """Ask for the state of a job: at ``path``, or at the address that the provider gave."""
    call = UpstreamRequest(path, GET_HEADERS, b"", method="GET", url=url, from_root=from_root)
    return Again(call, lambda head, body: read(document_of(body)), delay_s)


def delivered(
    route: Route,
    produced: Sequence[Produced],
    *,
    refused: Sequence[UpstreamError] = (),
    upstream_id: str | None = None,
    usage: object = None,
) -> Reply:
    """The pictures that came, each counted; the first refusal if none did."""
    if not produced:
        none = UpstreamError("upstream_error", "no picture came back", code="no_image_returned")
        raise refused[0] if refused else none
    warnings = tuple(f"one picture failed: {error.message}"[:300] for error in refused)
    return Reply(
        {},
        image_usage(usage, images=len(produced), prices=route.prices),
        upstream_id=upstream_id,
        produced=tuple(produced),
        warnings=warnings,
    )


def failure(
    words: object, code: object = None, codes: Mapping[str, FailureKind] | None = None
) -> UpstreamError:
    """Why a job or a picture failed: by the code (whole, then up to each dot), else the words."""
    message = text(words) or ""
    said = str(code)[:200] if type(code) in (str, int) else ""
    kind: FailureKind | None = None
    step = said.lower()
    while step and kind is None:
        kind = (codes or {}).get(step)
        step = step.rpartition(".")[0]
    if kind is None:
        kind = "content_policy" if _MODERATED.search(message[:4000]) else "upstream_error"
    shown = clean(message) or "the upstream's job failed and gave no reason"
    return UpstreamError(kind, shown, code=clean(said)[:80] or None)


def unknown_state(state: object) -> UpstreamError:
    """A word that is not in the table."""
    shown = clean(str(state))[:40] if isinstance(state, str) else "none"
    return UpstreamError("upstream_error", f"the upstream's job has an unknown state ({shown})")


def moderated(why: str = "the picture was refused by moderation") -> UpstreamError:
    return UpstreamError("content_policy", why)
