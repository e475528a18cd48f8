"""Embeddings of every OpenAI-compatible upstream: ``OpenAIEmbeddings(Quirks(...))``.

The official Python SDK asks for base64 (little-endian float32) whenever its user did not choose;
an upstream without it is asked for floats and the vectors are packed here, and the other way round.
Vectors that already have the form asked for pass as the bytes they came in.
"""

from __future__ import annotations

import array
import base64
import binascii

import msgspec

from tokenmarket.adapters.kit.embeddings_plain import read_vectors, vectors_usage
from tokenmarket.adapters.kit.openai_answer import VENDOR_FIELDS, document_of, string
from tokenmarket.adapters.kit.openai_errors import explain, inside_200
from tokenmarket.adapters.kit.openai_request import HEADERS, drop, finish, raw, unsupported
from tokenmarket.adapters.kit.quirks import GATEWAY_FIELDS, Quirks
from tokenmarket.adapters.kit.shape import sequence
from tokenmarket.adapters.kit.vectors import is_matryoshka, shortened
from tokenmarket.adapters.protocol import Decoder, Head, Reply, UpstreamRequest
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import ApiError, UpstreamError
from tokenmarket.core.requests import EmbeddingBody, Request
from tokenmarket.core.wording import say

Fields = dict[str, msgspec.Raw]

_LOOK_BYTES = 512  # the form of the first vector is the form of all; searching 20 KB takes longer
_BIG_ENDIAN = array.array("H", b"\x01\x00")[0] != 1


class _Item(msgspec.Struct):
    embedding: str | list[float]
    index: int | None = None


_decode_items = msgspec.json.Decoder(list[_Item]).decode
_decode_any = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class OpenAIEmbeddings:
    """``POST /embeddings``."""

    def __init__(self, quirks: Quirks) -> None:
        self.quirks = quirks

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        typed = request.typed
        if not isinstance(typed, EmbeddingBody):
            raise TypeError(f"an embeddings adapter was given {request.operation}")
        quirks = self.quirks
        fields = request.fields
        dropped: list[str] = []
        for name in GATEWAY_FIELDS:
            fields.pop(name, None)
        fields["model"] = raw(route.upstream_model)
        if not quirks.token_inputs and _is_tokens(typed.input):
            raise ApiError(
                "REQUEST_002",
                say(
                    "{provider_name} takes text, not token ids.", provider_name=route.provider.name
                ),
                param="input",
                reason="unsupported_parameter",
            )
        drop(fields, quirks.drop, dropped)
        short = typed.dimensions is not None and quirks.dimensions_field is None
        if quirks.dimensions_field is not None:
            if "dimensions" in fields:
                fields[quirks.dimensions_field] = fields.pop("dimensions")
        elif short:
            self._check_short(typed, route)
            del fields["dimensions"]
        if not quirks.encoding_format:
            fields.pop("encoding_format", None)
        elif typed.encoding_format == "base64" and (short or not quirks.base64):
            fields["encoding_format"] = raw("float")
        finish(request, route, dropped)
        return UpstreamRequest(quirks.path, HEADERS, _encode(fields), dropped=tuple(dropped))

    def read(self, request: Request, route: Route, head: Head, body: bytes) -> Reply:
        typed = request.typed
        as_base64 = isinstance(typed, EmbeddingBody) and typed.encoding_format == "base64"
        if (
            self.quirks.dimensions_field is None
            and isinstance(typed, EmbeddingBody)
            and typed.dimensions is not None
        ):
            return self.read_any(
                route, head, body, as_base64=as_base64, dimensions=typed.dimensions
            )
        reply = read_vectors(route, body, as_base64=as_base64)
        if reply is not None:
            return reply
        return self.read_any(route, head, body, as_base64=as_base64)

    def _check_short(self, typed: EmbeddingBody, route: Route) -> None:
        """Whether vectors may be cut to the length asked for here, after the provider made them."""
        if not is_matryoshka(route):
            unsupported(
                "dimensions",
                route,
                f"{route.provider.name} makes vectors of one length for {route.model.id}, and they "
                "cannot be shortened: leave dimensions out.",
            )
        most = route.model.capabilities.get("dimensions_max")
        if type(most) is int and typed.dimensions is not None and typed.dimensions > most:
            unsupported("dimensions", route, f"{route.model.id} has at most {most} dimensions.")

    def read_any(
        self,
        route: Route,
        head: Head,
        body: bytes,
        *,
        as_base64: bool,
        dimensions: int | None = None,
    ) -> Reply:
        """Answers of any shape, and those whose vectors must change their form or length."""
        fields = document_of(body, self.quirks)
        vectors = fields.get("data")
        if vectors is None or not bytes(vectors).startswith(b"["):
            if fields.keys() & {"message", "detail", "code"}:
                raise inside_200(_decode_any(body), self.quirks.codes)
            raise UpstreamError(
                "upstream_error", "the upstream's answer has no vectors", status=head.status
            )
        document: dict[str, object] = {
            "object": "list",
            "data": _in_form(vectors, as_base64=as_base64, dimensions=dimensions),
            "model": route.model.id,
        }
        for name, value in fields.items():
            if name not in document and name not in ("usage", "id") and name not in VENDOR_FIELDS:
                document[name] = value
        usage = fields.get("usage")
        parsed = vectors_usage(usage, route.prices) if usage is not None else None
        return Reply(document, parsed, None, string(fields.get("id")))

    def decoder(self, request: Request, route: Route, head: Head) -> Decoder:
        raise ApiError("REQUEST_001", "Embeddings cannot be streamed.", param="stream")

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return explain(head, body, self.quirks.codes)


def _is_tokens(value: object) -> bool:
    items = sequence(value)
    return bool(items) and not isinstance(items[0], str)


def _in_form(vectors: msgspec.Raw, *, as_base64: bool, dimensions: int | None) -> object:
    """The ``data`` member with every vector as asked for; the same bytes where it already is."""
    data = bytes(vectors)[:_LOOK_BYTES]
    lists, strings = b'"embedding":[' in data, b'"embedding":"' in data
    if dimensions is None and lists != strings and strings == as_base64:
        return vectors
    try:
        items = _decode_items(vectors)
        return [
            {
                "object": "embedding",
                "index": position if item.index is None else item.index,
                "embedding": _as_asked(item.embedding, as_base64, dimensions),
            }
            for position, item in enumerate(items)
        ]
    except (msgspec.DecodeError, binascii.Error, ValueError, OverflowError, RecursionError):
        raise UpstreamError(
            "upstream_error", "the upstream's vectors are malformed", status=200
        ) from None


def _as_asked(
    vector: str | list[float], as_base64: bool, dimensions: int | None
) -> str | list[float]:
    if dimensions is not None:
        numbers = vector_in_form(vector, as_base64=False)
        if isinstance(numbers, str) or len(numbers) < dimensions:
            raise ValueError(dimensions)
        vector = shortened(numbers, dimensions)
    return vector_in_form(vector, as_base64=as_base64)


def vector_in_form(vector: str | list[float], *, as_base64: bool) -> str | list[float]:
    """A vector as numbers, or packed as OpenAI packs it: base64 of little-endian float32."""
    if isinstance(vector, str) == as_base64:
        return vector
    if isinstance(vector, list):
        packed = array.array("f", vector)
        if _BIG_ENDIAN:
            packed.byteswap()
        return base64.b64encode(packed.tobytes()).decode("ascii")
    unpacked = array.array("f")
    unpacked.frombytes(base64.b64decode(vector, validate=True))
    if _BIG_ENDIAN:
        unpacked.byteswap()
    return unpacked.tolist()
