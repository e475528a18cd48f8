"""What an adapter is: five pure functions between our request and a provider's bytes.

OpenAI's wire format is the inner format. An adapter never opens a socket, reads a clock or draws
a random number; ``gateway.py`` sends what ``build`` returns and feeds what comes back.

    build -> (send) -> read            one JSON answer
                    -> decoder         a stream: feed(bytes) -> bytes, any cut gives the same output
                    -> explain         an answer that is not 2xx

Media operations (``MediaAdapter``) may need more than one exchange: ``split`` makes several calls
of one request, ``read`` may answer ``Again`` (poll, fetch the result), and files come back as
``Produced``, which the gateway delivers in the form that the caller asked for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Literal, Protocol, runtime_checkable

import msgspec

from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import ApiError, UpstreamError
from tokenmarket.core.media.transcripts import Transcript
from tokenmarket.core.requests import Request
from tokenmarket.core.text_prices import TextCounts
from tokenmarket.core.uploads import Body
from tokenmarket.core.usage import Usage


class UpstreamRequest(msgspec.Struct, frozen=True):
    """One HTTP request below the provider's base URL.

    ``path`` is appended to the base URL's path ("/chat/completions"), or with ``from_root`` to its
    host alone ("/v2/video_generation" beside a base URL that ends in /v1). ``url`` replaces both:
    an address that the provider gave (a polling URL); the credential goes along only to hosts of
    the same site. ``headers`` excludes host, content-length, authorization (the credential is added
    by ``upstream/credentials.py``). Reuse one tuple per adapter: rendered heads are cached by it.
    ``dropped`` names the caller's parameters that this upstream cannot express.
    """

    path: str
    headers: tuple[tuple[str, str], ...]
    body: Body
    method: str = "POST"
    dropped: tuple[str, ...] = ()
    from_root: bool = False
    url: str | None = None


class Head(msgspec.Struct, frozen=True):
    """Status and headers of an upstream answer; header names are lower case."""

    status: int
    headers: Mapping[str, str]


class Produced(msgspec.Struct, frozen=True):
    """One file that an upstream made: exactly one of ``data``, ``b64`` and ``url`` is set.

    ``url`` is fetched by the gateway (guarded; ``credentialed``: with the provider's key, which
    goes only to the provider's own site). ``content_type`` is what the upstream says, None when it
    says nothing; the bytes are looked at before anybody believes it. ``facts`` are further members
    of the answer's item (``revised_prompt``, ``seed``).
    """

    data: bytes | None = None
    b64: str | None = None
    url: str | None = None
    content_type: str | None = None
    credentialed: bool = False
    facts: dict[str, object] = {}


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
    produced: tuple[Produced, ...] = ()  # images, speech: rendered by the gateway
    transcript: Transcript | None = None  # transcription: rendered in the format asked for
    warnings: tuple[str, ...] = ()

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


class TextAnswer(msgspec.Struct, frozen=True, gc=False):
    """A whole answer that is text only: ``prefix + usage + b"}"`` goes to the caller."""

    prefix: bytes
    finish_reason: str
    counts: TextCounts
    service_tier: str | None


class TextReader(Protocol):
    """Reads what one route answers to plain requests; None: ``Adapter.read`` is to look."""

    def __call__(self, request_id: str, created_s: int, body: bytes, /) -> TextAnswer | None: ...


@runtime_checkable
class ReadsText(Protocol):
    """An adapter whose plain requests may take the lane (``lane.py``)."""

    def text_reader(self, route: Route) -> TextReader | None:
        """None unless messages with nothing but role and text go upstream as they came."""
        ...


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


# ------------------------------------------------------------------------------------------ media


class Again(msgspec.Struct, frozen=True):
    """Not the answer yet: after ``delay_s`` send ``request``; ``read`` takes what comes back.

    ``read`` is a pure function (a bound method or a closure) of the same kind as
    ``MediaAdapter.read``. Answers that are not 2xx go to ``explain``. ``elsewhere``: the request's
    ``url`` is an address in somebody's storage, fetched guarded and without our key.
    """

    request: UpstreamRequest
    read: Callable[[Head, bytes], Reply | Again]
    delay_s: float = 0.0
    elsewhere: bool = False


class SpeechDecoder(Decoder, Protocol):
    """Turns an upstream's answer into raw audio bytes of ``request.audio_format``: ``feed`` and
    ``finish`` return audio, ``tail`` returns nothing.

    ``expected`` is the usage of the whole answer where it is known before the audio has come
    (characters): it makes the cost header, unless it is marked ``estimated`` (then it is only what
    a caller who leaves is charged). ``usage`` stays None until the answer has ended well.
    """

    expected: Usage | None


InputMode = Literal["any", "bytes", "url"]


class MediaAdapter(ABC):
    """Base of the adapters for images, speech, transcription, rerank, moderation and embeddings
    that are not OpenAI's. Implements Adapter; override what the provider needs.

    ``inputs``: how the provider takes the caller's files (``Request.inputs``). "bytes": the gateway
    has fetched every address before ``build``; "url": every upload has been given an address of
    ours; "any": as the caller gave them.
    ``atomic``: one failed part of a split request fails all of it; otherwise what was delivered is
    answered and charged.
    ``wait_s_max``: so long a job may be asked for again.
    """

    inputs: ClassVar[InputMode] = "any"
    atomic: ClassVar[bool] = True
    wait_s_max: ClassVar[float] = 120.0  # images.md section 4

    def input_mode(self, route: Route) -> InputMode:
        """``inputs``, where models of the provider differ."""
        return self.inputs

    @abstractmethod
    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest: ...

    @abstractmethod
    def read(self, request: Request, route: Route, head: Head, body: bytes) -> Reply | Again: ...

    @abstractmethod
    def explain(self, head: Head, body: bytes) -> UpstreamError: ...

    def split(self, request: Request, route: Route) -> tuple[Request, ...]:
        """The requests to send instead of one, where the upstream takes fewer at once: pictures
        (``n``), inputs. They are sent side by side."""
        return (request,)

    def merge(self, request: Request, route: Route, replies: Sequence[Reply]) -> Reply:
        """One answer of all parts, in their order; called when there was more than one."""
        return replies[0]

    def streams(self, request: Request, route: Route) -> bool:
        """Whether ``decoder`` reads the answer as it comes. False: ``read`` takes it whole, and a
        caller who asked for events gets them made of it."""
        return False

    def decoder(self, request: Request, route: Route, head: Head) -> Decoder:
        raise ApiError("REQUEST_001", "This operation cannot be streamed here.", param="stream")

    def speech(self, request: Request, route: Route, head: Head) -> SpeechDecoder:
        """The decoder of speech, whose answers always stream (``streams`` is True for it): also of
        one that is a single JSON document, which it then collects."""
        raise ApiError("REQUEST_001", "This provider does not speak.", param="model")

    def speech_formats(self, route: Route) -> tuple[str, ...]:
        """Audio formats the upstream can make, the one to transcode from first. ``build`` makes
        ``request.audio_format``, which is one of them."""
        return ()
