"""Cohere's embed endpoint on top of embeddings: its clients need no change to use our models.

``POST /v2/embed`` and ``/v1/embed`` (``reference/providers/cohere_jina_voyage.md`` section 1.2) are
translated at the door: the rooms see an OpenAI request, and the caller gets Cohere's answer. Texts
only; vectors are floats or base64. Errors carry ``message`` beside our envelope.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tokenmarket.core.errors import rerank_error_members
from tokenmarket.core.parse import read_body, refuse
from tokenmarket.core.requests import Text
from tokenmarket.core.wire import Client, Inbound, check_content_type

TEXTS_MAX = 96

Kind = Literal["float", "base64", "int8", "uint8", "binary", "ubinary"]


class EmbedBody(msgspec.Struct, frozen=True):
    """What Cohere's clients send. ``input_type`` and ``truncate`` go on as they are."""

    model: Text
    texts: Annotated[list[Text], msgspec.Meta(min_length=1, max_length=TEXTS_MAX)] | None = None
    images: msgspec.Raw = msgspec.Raw(b"")
    inputs: msgspec.Raw = msgspec.Raw(b"")
    input_type: str | None = None
    embedding_types: list[Kind] | None = None
    output_dimension: int | None = None
    truncate: str | None = None
    provider: msgspec.Raw = msgspec.Raw(b"")


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
    inner: dict[str, object] = {
        "model": body.model,
        "input": body.texts,
        "encoding_format": kinds[0],
    }
    for name, value in (
        ("input_type", body.input_type),
        ("dimensions", body.output_dimension),
        ("truncate", body.truncate),
    ):
        if value is not None:
            inner[name] = value
    if bytes(body.provider):
        inner["provider"] = body.provider
    changed = msgspec.structs.replace(inbound, body=_encode(inner))
    version = "1" if "/v1/embed" in inbound.path else "2"
    by_type = version == "2" or body.embedding_types is not None
    return changed, CohereClient(
        client, inbound.request_id, body, kinds[0], version, by_type=by_type
    )


def _read(data: bytes) -> EmbedBody:
    body = read_body(_decode_body, data)
    if body.texts is None or bytes(body.images) or bytes(body.inputs):
        refuse("Expected texts; pictures are not embedded here.", "texts")
    return body


class CohereClient:
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
        self._client = client
        self._request_id = request_id
        self._body = body
        self._kind = kind
        self._version = version
        self._by_type = by_type

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
        """The whole answer, or an error."""
        self._client.respond(status, head, self._answer(body) if status == 200 else _error(body))

    def begin(self, status: int, head: bytes, length: int | None = None) -> None:
        self._client.begin(status, head, length)

    def write(self, data: bytes) -> bool:
        return self._client.write(data)

    async def drained(self) -> None:
        await self._client.drained()

    def end(self, data: bytes) -> None:
        self._client.end(data)

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
