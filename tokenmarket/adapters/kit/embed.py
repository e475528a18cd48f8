"""Embeddings of providers that take few inputs at once, or that speak a wire of their own.

Contract: ``reference/providers/cohere_jina_voyage.md`` section 8: OpenAI's shape in and out, inputs
split into the provider's batches, order kept, usage added up, all or nothing. ``input_type`` (or
``task``) is our word for what a text is for, or the provider's own.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import msgspec

from tokenmarket.adapters.kit.add_usage import add_usage
from tokenmarket.adapters.kit.openai_embeddings import OpenAIEmbeddings, vector_in_form
from tokenmarket.adapters.kit.openai_errors import explain
from tokenmarket.adapters.kit.openai_request import HEADERS, drop, finish, raw, unsupported
from tokenmarket.adapters.kit.quirks import GATEWAY_FIELDS, HONOURED_HERE, Quirks
from tokenmarket.adapters.kit.shape import count, mapping, sequence
from tokenmarket.adapters.kit.vectors import is_matryoshka, shortened
from tokenmarket.adapters.protocol import Head, MediaAdapter, Reply, UpstreamRequest
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import ApiError, FailureKind, UpstreamError
from tokenmarket.core.requests import EmbeddingBody, Request
from tokenmarket.core.usage import Usage
from tokenmarket.core.wording import say

Fields = dict[str, msgspec.Raw]

_decode_rows = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode
_decode_any = msgspec.json.Decoder().decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_vectors = msgspec.json.Decoder(list[list[float]]).decode
_encode = msgspec.json.Encoder().encode

# What our words for input_type are called; the keys are all the words there are.
OUR_TASKS = ("query", "document", "classification", "clustering", "similarity")
TASK_FIELDS = ("input_type", "task")


class BatchedEmbeddings(OpenAIEmbeddings, MediaAdapter):
    """OpenAI's wire, ``quirks.batch_max`` inputs at a time."""

    def split(self, request: Request, route: Route) -> tuple[Request, ...]:
        return in_batches(request, self.quirks.batch_max)

    def merge(self, request: Request, route: Route, replies: Sequence[Reply]) -> Reply:
        return merged(request, route, replies)


class Tasks(msgspec.Struct, frozen=True):
    """How a provider names what a text is for."""

    field: str = "input_type"
    words: tuple[tuple[str, str], ...] = ()  # ours -> its
    default: str | None = None  # sent when the caller says nothing

    def member(self, request: Request, route: Route, dropped: list[str]) -> str | None:
        """The provider's word. One that it lacks is dropped; an unknown one is refused."""
        for name in TASK_FIELDS:
            value = request.members.get(name)
            if value is None or bytes(value) == b"null":
                continue
            try:
                word = _decode_text(value)
            except msgspec.DecodeError:
                word = ""
            known = dict(self.words)
            if word in known:
                return known[word]
            if word in known.values():
                return word
            if word not in OUR_TASKS:
                legal = sorted({*OUR_TASKS, *known.values()})
                raise ApiError(
                    "REQUEST_001",
                    say("Expected one of {legal}.", legal=", ".join(legal)),
                    param=name,
                    reason="invalid_value",
                )
            dropped.append(name)
            break
        return self.default


class TaskedEmbeddings(BatchedEmbeddings):
    """OpenAI's answer, but members of its own in the request: Jina, Voyage."""

    def __init__(
        self, quirks: Quirks, tasks: Tasks, passes: frozenset[str], base64_words: tuple[str, str]
    ) -> None:
        """``base64_words``: (member, value) that asks for packed vectors; "" = cannot."""
        super().__init__(quirks)
        self._tasks = tasks
        self._passes = passes
        self._base64_words = base64_words

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        typed = embedding_body(request)
        fields: Fields = {"model": raw(route.upstream_model), "input": raw(inputs_of(typed, route))}
        dropped: list[str] = []
        task = self._tasks.member(request, route, dropped)
        if task is not None:
            fields[self._tasks.field] = raw(task)
        if typed.dimensions is not None:
            check_dimensions(typed, route)
            if self.quirks.dimensions_field is None:
                unsupported("dimensions", route)
            fields[self.quirks.dimensions_field] = raw(typed.dimensions)
        member, word = self._base64_words
        if word and typed.encoding_format == "base64":
            fields[member] = raw(word)
        take_others(request, self._passes, fields, dropped)
        finish(request, route, dropped)
        return UpstreamRequest(self.quirks.path, HEADERS, _encode(fields), dropped=tuple(dropped))


class OwnEmbeddings(MediaAdapter):
    """A wire of the provider's own: subclasses write ``build`` and ``vectors``."""

    codes: ClassVar[dict[str, FailureKind]] = {}

    def batch_max(self, route: Route) -> int:
        return 96

    def split(self, request: Request, route: Route) -> tuple[Request, ...]:
        return in_batches(request, self.batch_max(route))

    def merge(self, request: Request, route: Route, replies: Sequence[Reply]) -> Reply:
        return merged(request, route, replies)

    def read(self, request: Request, route: Route, head: Head, body: bytes) -> Reply:
        typed = embedding_body(request)
        inputs = inputs_of(typed, route)
        try:
            document = _decode_any(body)
            vectors = self.vectors(mapping(document))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError):
            raise UpstreamError(
                "upstream_error", "the upstream's vectors are malformed", status=head.status
            ) from None
        if vectors is None or len(vectors) != len(inputs):
            raise UpstreamError(
                "upstream_error", "the upstream's answer has not one vector per input"
            )
        size = len(vectors[0])
        if not size or any(len(vector) != size for vector in vectors):
            raise UpstreamError("upstream_error", "the upstream's vectors differ in length")
        vectors = self.finished(typed, route, vectors)
        as_base64 = typed.encoding_format == "base64"
        members: dict[str, object] = {
            "object": "list",
            "data": [
                {
                    "object": "embedding",
                    "index": index,
                    "embedding": vector_in_form(vector, as_base64=as_base64),
                }
                for index, vector in enumerate(vectors)
            ],
            "model": route.model.id,
        }
        upstream_id = mapping(document).get("id")
        usage = self.usage(head, mapping(document), inputs)
        return Reply(
            members, usage, None, upstream_id[:200] if isinstance(upstream_id, str) else None
        )

    @abstractmethod
    def vectors(self, document: dict[str, object]) -> list[list[float]] | None:
        """The vectors in the order of the inputs; ``floats`` checks them."""

    def finished(
        self, typed: EmbeddingBody, route: Route, vectors: list[list[float]]
    ) -> list[list[float]]:
        """What is done to the vectors before the caller gets them: shortened where the provider
        cannot and the model's vectors may be."""
        if typed.dimensions is None or len(vectors[0]) == typed.dimensions:
            return vectors
        if not is_matryoshka(route):
            raise UpstreamError("upstream_error", "the upstream's vectors have another length")
        return [shortened(vector, typed.dimensions) for vector in vectors]

    @abstractmethod
    def usage(self, head: Head, document: dict[str, object], inputs: list[str]) -> Usage | None: ...

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return explain(head, body, self.codes)


_HANDLED = frozenset(
    {"model", "input", "dimensions", "encoding_format", *TASK_FIELDS}
    | {*GATEWAY_FIELDS, *HONOURED_HERE}
)


def embedding_body(request: Request) -> EmbeddingBody:
    """The typed body of an embeddings request."""
    if not isinstance(request.typed, EmbeddingBody):
        raise TypeError(f"an embeddings adapter was given {request.operation}")
    return request.typed


def inputs_of(typed: EmbeddingBody, route: Route) -> list[str]:
    """The inputs as texts. Token ids mean nothing to these providers: REQUEST_002."""
    if isinstance(typed.input, str):
        return [typed.input]
    texts = [item for item in typed.input if isinstance(item, str)]
    if len(texts) != len(typed.input):
        unsupported("input", route, f"{route.provider.name} takes text, not token ids.")
    return texts


def take_others(
    request: Request, passes: frozenset[str], fields: Fields, dropped: list[str]
) -> None:
    """The caller's further members that the provider knows; the rest is named."""
    for name, value in request.members.items():
        if name in _HANDLED or bytes(value) == b"null":
            continue
        if name in passes:
            fields.setdefault(name, value)
        else:
            drop({name: value}, frozenset({name}), dropped)


def check_dimensions(typed: EmbeddingBody, route: Route) -> None:
    """Refuse a length that the model is known not to have, and say which it has."""
    known = route.model.capabilities.get("dimensions")
    sizes = [size for size in sequence(known) if type(size) is int]
    if typed.dimensions is not None and sizes and typed.dimensions not in sizes:
        unsupported(
            "dimensions",
            route,
            f"{route.model.id} has vectors of {', '.join(map(str, sizes))} numbers.",
        )


def in_batches(request: Request, batch_max: int) -> tuple[Request, ...]:
    """Requests of at most ``batch_max`` texts each, in order; 0 = no limit."""
    typed = embedding_body(request)
    given = typed.input
    if not batch_max or isinstance(given, str) or len(given) <= batch_max:
        return (request,)
    if not isinstance(given[0], str):
        return (request,)  # token ids: ``build`` refuses them
    members = request.members
    parts: list[Request] = []
    for begin in range(0, len(given), batch_max):
        chunk = given[begin : begin + batch_max]
        parts.append(
            msgspec.structs.replace(
                request,
                body=_encode({**members, "input": chunk}),
                typed=msgspec.structs.replace(typed, input=chunk),
                _fields=None,
            )
        )
    return tuple(parts)


def merged(request: Request, route: Route, replies: Sequence[Reply]) -> Reply:
    """One answer: vectors numbered through, usage added up."""
    inputs = embedding_body(request).input
    data: list[dict[str, object]] = []
    for reply in replies:
        rows = reply.document.get("data")
        try:
            decoded = _decode_rows(rows if isinstance(rows, msgspec.Raw) else _encode(rows))
            decoded.sort(key=lambda row: count(_decode_any(row["index"])))
        except (msgspec.DecodeError, KeyError):
            raise UpstreamError("upstream_error", "the upstream's vectors are malformed") from None
        for row in decoded:
            data.append({**row, "index": len(data)})
    if len(data) != len(inputs):
        raise UpstreamError("upstream_error", "the upstream's answer has not one vector per input")
    members: dict[str, object] = {"object": "list", "data": data, "model": route.model.id}
    return Reply(
        members,
        add_usage(reply.usage for reply in replies),
        None,
        next((reply.upstream_id for reply in replies if reply.upstream_id), None),
    )


def floats(value: object) -> list[list[float]]:
    """A list of vectors. Raises DecodeError for anything else."""
    return _decode_vectors(_encode(value))
