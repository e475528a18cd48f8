"""Cohere's embed endpoint on top of embeddings: its clients need no change to use our models.

``POST /v2/embed`` and ``/v1/embed`` (``reference/providers/cohere_jina_voyage.md`` section 1.2) are
translated at the door: the rooms see an OpenAI request, and the caller gets Cohere's answer. Texts
only; vectors are floats or base64. Members that are not Cohere's own here go on as they are, to be
passed or named as dropped. Errors carry ``message`` beside our envelope.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tokenmarket.core.errors import rerank_error_members
from tokenmarket.core.parse import check_duplicates, read_body, refuse
from tokenmarket.core.requests import Text
from tokenmarket.core.wire import Client, Inbound, Passing, check_content_type

TEXTS_MAX = 96

Kind = Literal["float", "base64", "int8", "uint8", "binary", "ubinary"]


# Members of Cohere's that have another name or another meaning inside.
_TRANSLATED = frozenset(
    {"texts", "images", "inputs", "embedding_types", "output_dimension", "input", "dimensions"}
)


class EmbedBody(msgspec.Struct, frozen=True):
    """What Cohere's clients send, as far as it is acted on or checked here."""

    model: Text
    texts: Annotated[list[Text], msgspec.Meta(min_length=1, max_length=TEXTS_MAX)] | None = None
    images: msgspec.Raw = msgspec.Raw(b"")
    inputs: msgspec.Raw = msgspec.Raw(b"")
    input_type: str | None = None
    embedding_types: list[Kind] | None = None
    output_dimension: Annotated[int, msgspec.Meta(ge=1, le=2**31)] | None = None
    truncate: str | None = None


class _Vector(msgspec.Struct):
    embedding: msgspec.Raw
    index: int = 0


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    cost: msgspec.Raw = msgspec.Raw(b"null")


class _Answer(msgspec.Struct):
    data: list[_Vector]
    usage: _Usage | None = None


_decode_body = msgspec.json.Decoder(EmbedBody).decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_error = msgspec.json.Decoder(dict[str, dict[str, object]]).decode
_encode = msgspec.json.Encoder().encode


def translated(inbound: Inbound, client: Client) -> tuple[Inbound, Client]:
    """The request as OpenAI's, and a client that answers as Cohere's. Raises ApiError."""
    check_content_type(inbound)
    body = _read(inbound.body)
    kinds = body.embedding_types or ["float"]
    if len(kinds) != 1 or kinds[0] not in ("float", "base64"):
        refuse(
            "One of float and base64; other types are not offered.",
            "embedding_types",
            "unsupported_parameter",
        )
    members = _decode_members(inbound.body)
    check_duplicates(inbound.body, members)
    inner: dict[str, object] = {k: v for k, v in members.items() if k not in _TRANSLATED}
    inner |= {"model": body.model, "input": body.texts, "encoding_format": kinds[0]}
    if body.output_dimension is not None:
        inner["dimensions"] = body.output_dimension
    changed = msgspec.structs.replace(inbound, body=_encode(inner))
    version = "1" if "/v1/embed" in inbound.path else "2"
    by_type = version == "2" or body.embedding_types is not None
    return changed, CohereClient(
        client, inbound.request_id, body, kinds[0], version, by_type=by_type
    )


def refusing(inbound: Inbound, client: Client) -> Client:
    """A client for a request that was not translated: it can only be told an error."""
    nothing = EmbedBody(model="")
    return CohereClient(client, inbound.request_id, nothing, "float", "2", by_type=True)


def _read(data: bytes) -> EmbedBody:
    body = read_body(_decode_body, data)
    others = (bytes(body.images), bytes(body.inputs))
    if body.texts is None or any(other not in (b"", b"null") for other in others):
        refuse("Expected texts; pictures are not embedded here.", "texts")
    return body


class CohereClient(Passing):
    """The caller's connection, with answers in Cohere's words. Embeddings never stream."""

    def __init__(
        self,
        client: Client,
        request_id: str,
        body: EmbedBody,
        kind: str,
        version: str,
        *,
        by_type: bool,
    ) -> None:
        super().__init__(client)
        self._request_id = request_id
        self._body = body
        self._kind = kind
        self._version = version
        self._by_type = by_type

    def respond(self, status: int, head: bytes, body: bytes) -> None:
        """The whole answer, or an error."""
        self._client.respond(status, head, self._answer(body) if status == 200 else _error(body))

    def _answer(self, payload: bytes) -> bytes:
        answer = _decode_answer(payload)
        ordered = sorted(answer.data, key=lambda vector: vector.index)
        vectors = [vector.embedding for vector in ordered]
        tokens = answer.usage.prompt_tokens if answer.usage is not None else None
        document: dict[str, object] = {
            "id": self._request_id,
            "texts": self._body.texts,
            "embeddings": {self._kind: vectors} if self._by_type else vectors,
            "response_type": "embeddings_by_type" if self._by_type else "embeddings_floats",
            "meta": {
                "api_version": {"version": self._version},
                "billed_units": {} if tokens is None else {"input_tokens": tokens},
            },
        }
        if answer.usage is not None:
            document["usage"] = {"prompt_tokens": tokens, "cost": answer.usage.cost}
        return _encode(document)


def _error(payload: bytes) -> bytes:
    return _encode(rerank_error_members(_decode_error(payload)["error"]))
