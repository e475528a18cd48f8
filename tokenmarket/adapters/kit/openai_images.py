"""Images of OpenAI and of servers that speak its wire: ``OpenAIImages(ImageQuirks(...))``.

https://platform.openai.com/docs/api-reference/images, ``reference/media/images.md`` section 1. GPT
image models always answer base64 and refuse ``response_format``; the gateway honours it itself, so
it is never sent unless an upstream would otherwise answer addresses that we had to fetch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from tokenmarket.adapters.kit.media_usage import added, image_usage
from tokenmarket.adapters.kit.multipart import form
from tokenmarket.adapters.kit.openai_errors import explain, inside_200
from tokenmarket.adapters.kit.openai_image_stream import ImageEvents
from tokenmarket.adapters.kit.openai_request import HEADERS, drop, raw
from tokenmarket.adapters.kit.quirks import GATEWAY_FIELDS
from tokenmarket.adapters.kit.shape import count, mapping, sequence, text
from tokenmarket.adapters.protocol import (
    Decoder,
    Head,
    InputMode,
    MediaAdapter,
    Produced,
    Reply,
    UpstreamRequest,
)
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import FailureKind, UpstreamError
from tokenmarket.core.requests import Request
from tokenmarket.core.uploads import Upload

Fields = dict[str, msgspec.Raw]

# Emulated variations are edits with these words (OpenAI closed /images/variations).
VARIATION_PROMPT = "Make a variation of this picture: same subject and style, another composition."
# Read by the gateway or written anew below; ``response_format`` it honours itself.
_RESOLVED = ("image", "images", "mask", "response_format", "size", "quality", "n")
_ITEM_FACTS = ("revised_prompt", "seed", "size")
_CONTENT_TYPES = ("mime_type", "media_type", "content_type")
_ANSWER_FACTS = ("background", "output_format", "quality", "size")

_decode = msgspec.json.Decoder(dict[str, object]).decode
encode = msgspec.json.Encoder().encode


class ImageQuirks(msgspec.Struct, frozen=True):
    """One dialect. Sets name members of the request body."""

    path: str = "/images/generations"
    edits_path: str = "/images/edits"  # whatever takes pictures goes there
    response_format: bool = False  # ask for base64 by name
    streams: bool = False
    n_per_call: int = 10
    size_field: str = "size"
    quality_field: str | None = "quality"  # None: not sent, and named in ``dropped``
    drop: frozenset[str] = frozenset()  # removed, and named in ``dropped``
    by_capability: frozenset[str] = frozenset()  # dropped unless the model's capability says true
    rename: tuple[tuple[str, str], ...] = ()
    codes: dict[str, FailureKind] = {}


class OpenAIImages(MediaAdapter):
    """Generations, edits and emulated variations."""

    inputs: ClassVar[InputMode] = "bytes"
    atomic: ClassVar[bool] = False

    def __init__(self, quirks: ImageQuirks) -> None:
        self.quirks = quirks

    def split(self, request: Request, route: Route) -> tuple[Request, ...]:
        return by_count(request, self.quirks.n_per_call)

    def merge(self, request: Request, route: Route, replies: Sequence[Reply]) -> Reply:
        return merged(replies)

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        dropped: list[str] = []
        fields = self.fields(request, route, dropped)
        if request.inputs:
            return self.edit(request, route, fields, dropped)
        return UpstreamRequest(self.quirks.path, HEADERS, encode(fields), dropped=tuple(dropped))

    def edit(
        self, request: Request, route: Route, fields: Fields, dropped: list[str]
    ) -> UpstreamRequest:
        """The request that takes pictures along; OpenAI's is a form, others override this."""
        images, masks = uploads(request, "image"), uploads(request, "mask")
        name = "image[]" if len(images) > 1 else "image"
        files = [(name, upload) for upload in images] + [("mask", upload) for upload in masks]
        texts = [(key, _form_text(value)) for key, value in fields.items()]
        headers, body = form(request.request_id, texts, files)
        return UpstreamRequest(self.quirks.edits_path, headers, body, dropped=tuple(dropped))

    def fields(self, request: Request, route: Route, dropped: list[str]) -> Fields:
        """The members of the request body, without the pictures."""
        quirks = self.quirks
        fields = request.fields
        for name in (*GATEWAY_FIELDS, *_RESOLVED):
            fields.pop(name, None)
        capabilities = route.model.capabilities
        lacking = {name for name in quirks.by_capability if capabilities.get(name) is not True}
        drop(fields, quirks.drop | lacking, dropped)
        for old, new in quirks.rename:
            if old in fields:
                fields[new] = fields.pop(old)
        fields["model"] = raw(route.upstream_model)
        if request.variant == "variations":
            fields["prompt"] = raw(VARIATION_PROMPT)
        if request.n > 1:
            fields["n"] = raw(request.n)
        if request.size:
            self.put_size(request, route, fields, dropped)
        if request.quality and quirks.quality_field:
            fields[quirks.quality_field] = raw(request.quality)
        elif request.quality and "quality" in request.members:
            dropped.append("quality")
        if quirks.response_format:
            fields["response_format"] = raw("b64_json")
        if not (request.stream and quirks.streams):
            fields.pop("stream", None)
            fields.pop("partial_images", None)  # made of the whole answer (images.md section 1.4)
        return fields

    def put_size(self, request: Request, route: Route, fields: Fields, dropped: list[str]) -> None:
        """``request.size`` in the provider's words; ApiError(REQUEST_002) if it has none."""
        fields[self.quirks.size_field] = raw(request.size)

    def read(self, request: Request, route: Route, head: Head, body: bytes) -> Reply:
        try:
            document = _decode(body)
        except msgspec.DecodeError:
            raise UpstreamError("upstream_error", "the upstream's answer is no JSON") from None
        produced = [one for item in self.items(document) if (one := produced_of(item))]
        if not produced:
            raise self.nothing(document)
        members: dict[str, object] = {
            name: document[name] for name in _ANSWER_FACTS if text(document.get(name))
        }
        if count(document.get("created")):
            members["created"] = count(document["created"])
        usage = image_usage(document.get("usage"), images=len(produced), prices=route.prices)
        return Reply(members, usage, upstream_id=text(document.get("id")), produced=tuple(produced))

    def items(self, document: dict[str, object]) -> list[object]:
        """The items of an answer, one a picture."""
        return sequence(document.get("data"))

    def nothing(self, document: dict[str, object]) -> UpstreamError:
        """Why an answer has no picture."""
        return inside_200(document, self.quirks.codes)

    def streams(self, request: Request, route: Route) -> bool:
        return request.stream and self.quirks.streams

    def decoder(self, request: Request, route: Route, head: Head) -> Decoder:
        return ImageEvents(self.quirks.codes, route.prices)

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return explain(head, body, self.quirks.codes)


def by_count(request: Request, n_per_call: int) -> tuple[Request, ...]:
    """One request for every call that the upstream needs for ``n`` pictures."""
    calls: list[Request] = []
    left = request.n
    while left > 0:
        n = min(left, n_per_call)
        calls.append(msgspec.structs.replace(request, n=n))
        left -= n
    return tuple(calls)


def merged(replies: Sequence[Reply]) -> Reply:
    """The pictures of several calls in one answer, their usage added up."""
    first = replies[0]
    return msgspec.structs.replace(
        first,
        produced=tuple(item for reply in replies for item in reply.produced),
        usage=added([reply.usage for reply in replies]),
        warnings=tuple(warning for reply in replies for warning in reply.warnings),
    )


def uploads(request: Request, role: str) -> list[Upload]:
    """The caller's files of one role; their bytes are here (``inputs`` is "bytes")."""
    found = [item.upload for item in request.inputs if item.role == role]
    return [upload for upload in found if upload is not None]


def produced_of(item: object) -> Produced | None:
    """One item of ``data``; None where it has neither bytes nor an address."""
    fields = mapping(item)
    b64, url = text(fields.get("b64_json")), text(fields.get("url"))
    if b64 is None and url is not None and url.startswith("data:"):
        b64, url = url, None
    facts = {name: fields[name] for name in _ITEM_FACTS if fields.get(name) is not None}
    said = next((kind for name in _CONTENT_TYPES if (kind := text(fields.get(name)))), None)
    if b64 is not None:
        if b64.startswith("data:"):
            b64 = b64.partition(",")[2]
        return Produced(b64=b64, content_type=said, facts=facts)
    if url is None:
        return None
    return Produced(url=url, content_type=said, facts=facts)


def _form_text(value: msgspec.Raw) -> str:
    """A JSON member as the text of a form field."""
    decoded = msgspec.json.decode(value)
    return decoded if isinstance(decoded, str) else bytes(value).decode()
