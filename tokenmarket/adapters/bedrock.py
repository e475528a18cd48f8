"""AWS Bedrock: embeddings and rerank through InvokeModel, with an API key as Bearer token.

https://docs.aws.amazon.com/bedrock; facts as of 2026-11-23. The base URL is
``https://bedrock-runtime.REGION.amazonaws.com``. Bodies are the model vendors' own: Amazon Titan
and Nova take one text a call, Cohere 96. Tokens are in a header, a rerank's searches nowhere.
"""

from __future__ import annotations

from urllib.parse import quote, urlsplit

import msgspec

from tokenmarket.adapters.kit.cohere_wire import BATCH_MAX, embed_fields, embed_vectors
from tokenmarket.adapters.kit.embed import (
    Fields,
    OwnEmbeddings,
    Tasks,
    check_dimensions,
    embedding_body,
    floats,
    inputs_of,
    take_others,
)
from tokenmarket.adapters.kit.openai_errors import explain
from tokenmarket.adapters.kit.openai_request import HEADERS, finish, raw, unsupported
from tokenmarket.adapters.kit.rerank import Rerank, RerankQuirks
from tokenmarket.adapters.kit.shape import count, mapping, sequence
from tokenmarket.adapters.protocol import Head, UpstreamRequest
from tokenmarket.core.bodies import RerankBody
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import FailureKind, UpstreamError
from tokenmarket.core.requests import Request
from tokenmarket.core.usage import Usage

TOKENS_HEADER = "x-amzn-bedrock-input-token-count"

_CODES: dict[str, FailureKind] = {
    "throttlingexception": "rate_limited",
    "servicequotaexceededexception": "quota_exhausted",
    "accessdeniedexception": "forbidden",
    "unrecognizedclientexception": "auth",
    "resourcenotfoundexception": "not_found",
    "modelnotreadyexception": "overloaded",
    "serviceunavailableexception": "overloaded",
    "modeltimeoutexception": "timeout",
}
_NOVA_TASKS = Tasks(
    "embeddingPurpose",
    (
        ("query", "GENERIC_RETRIEVAL"),
        ("document", "GENERIC_INDEX"),
        ("classification", "CLASSIFICATION"),
        ("clustering", "CLUSTERING"),
    ),
    default="GENERIC_INDEX",
)
_NO_TASKS = Tasks()

_encode = msgspec.json.Encoder().encode


def _path(route: Route) -> str:
    """A model id may hold ``:`` and, as an ARN, ``/``: all of it is one encoded segment."""
    return f"/model/{quote(route.upstream_model, safe='')}/invoke"


class BedrockEmbeddings(OwnEmbeddings):
    """Amazon Titan, Amazon Nova and Cohere models, known by their ids."""

    def batch_max(self, route: Route) -> int:
        return BATCH_MAX if "cohere." in route.upstream_model else 1

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        dropped: list[str] = []
        if "cohere." in route.upstream_model:
            fields: dict[str, object] = {**embed_fields(request, route, dropped)}
        elif ".nova-" in route.upstream_model:
            fields = _nova(request, route, dropped)
        else:
            fields = _titan(request, route, dropped)
        return UpstreamRequest(_path(route), HEADERS, _encode(fields), dropped=tuple(dropped))

    def vectors(self, document: dict[str, object]) -> list[list[float]] | None:
        if "embedding" in document:  # Titan
            return floats([document["embedding"]])
        rows = sequence(document.get("embeddings"))
        if rows and "embedding" in mapping(rows[0]):  # Nova
            return floats([mapping(row).get("embedding") for row in rows])
        return embed_vectors(document)

    def usage(self, head: Head, document: dict[str, object], inputs: list[str]) -> Usage | None:
        header = head.headers.get(TOKENS_HEADER, "")
        tokens = int(header) if header.isdecimal() and len(header) < 12 else 0
        tokens = tokens or count(document.get("inputTextTokenCount"))
        return Usage(input_tokens=tokens, requests=1) if tokens else None

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return _explained(head, body)


def _titan(request: Request, route: Route, dropped: list[str]) -> dict[str, object]:
    typed = embedding_body(request)
    (text,) = inputs_of(typed, route)
    fields: Fields = {"inputText": raw(text)}
    _NO_TASKS.member(request, route, dropped)
    if typed.dimensions is not None:
        check_dimensions(typed, route)
        if "embed-text-v2" not in route.upstream_model:
            unsupported("dimensions", route, f"{route.model.id} has vectors of one length.")
        fields["dimensions"] = raw(typed.dimensions)
    take_others(request, frozenset({"normalize"}), fields, dropped)
    finish(request, route, dropped)
    return {**fields}


def _nova(request: Request, route: Route, dropped: list[str]) -> dict[str, object]:
    typed = embedding_body(request)
    (text,) = inputs_of(typed, route)
    check_dimensions(typed, route)
    params: dict[str, object] = {
        "embeddingPurpose": _NOVA_TASKS.member(request, route, dropped),
        "text": {"value": text, "truncationMode": "NONE"},
    }
    if typed.dimensions is not None:
        params["embeddingDimension"] = typed.dimensions
    take_others(request, frozenset(), {}, dropped)
    finish(request, route, dropped)
    return {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": params}


class BedrockRerank(Rerank):
    """Cohere's models through InvokeModel, Amazon's through the agent runtime's Rerank."""

    def request(self, route: Route, payload: object, dropped: tuple[str, ...]) -> UpstreamRequest:
        if "cohere." in route.upstream_model:
            return UpstreamRequest(_path(route), HEADERS, _encode(payload), dropped=dropped)
        base = route.provider.base_url.rstrip("/")
        url = base.replace("//bedrock-runtime", "//bedrock-agent-runtime", 1) + "/rerank"
        return UpstreamRequest("", HEADERS, _encode(payload), dropped=dropped, url=url)

    def payload(
        self, route: Route, body: RerankBody, texts: list[str], further: dict[str, object]
    ) -> dict[str, object]:
        members = super().payload(route, body, texts, further)
        if "cohere." in route.upstream_model:
            del members["model"]
            return members | {"api_version": 2}
        configuration: dict[str, object] = {
            "modelConfiguration": {"modelArn": _arn(route)},
            "numberOfResults": members.get("top_n", len(texts)),
        }
        return {
            "queries": [{"type": "TEXT", "textQuery": {"text": body.query}}],
            "sources": [_source(text) for text in texts],
            "rerankingConfiguration": {
                "type": "BEDROCK_RERANKING_MODEL",
                "bedrockRerankingConfiguration": configuration,
            },
        }

    def rows(self, document: object) -> list[object] | None:
        rows = super().rows(document)
        if rows is None:
            return None
        named: list[object] = []
        for row in rows:
            fields = mapping(row)
            if "relevanceScore" in fields:
                fields = {**fields, "relevance_score": fields["relevanceScore"]}
            named.append(fields)
        return named

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return _explained(head, body)


def _explained(head: Head, body: bytes) -> UpstreamError:
    """The kind of error is in a header, with a URL behind it: ``ThrottlingException:http…``."""
    error = explain(head, body, _CODES)
    name = head.headers.get("x-amzn-errortype", "").partition(":")[0][:80]
    kind = _CODES.get(name.lower())
    if kind is not None:
        error.kind = kind
    error.code = error.code or name or None
    return error


def _source(text: str) -> dict[str, object]:
    document = {"type": "TEXT", "textDocument": {"text": text}}
    return {"type": "INLINE", "inlineDocumentSource": document}


def _arn(route: Route) -> str:
    if route.upstream_model.startswith("arn:"):
        return route.upstream_model
    host = urlsplit(route.provider.base_url).hostname or ""
    region = host.partition(".")[2].partition(".")[0]
    return f"arn:aws:bedrock:{region}::foundation-model/{route.upstream_model}"


EMBEDDINGS = BedrockEmbeddings()
RERANK = BedrockRerank(RerankQuirks(reports_usage=False))
