"""Google Gemini: embeddings (https://ai.google.dev/api; facts as of 2026-11-23).

The base URL is ``https://generativelanguage.googleapis.com/v1beta``. Models before
gemini-embedding-2 report no usage: their tokens are estimated here and marked so. Shortened vectors
of gemini-embedding-001 come without unit length.
"""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from tokenmarket.adapters.kit.embed import (
    OwnEmbeddings,
    Tasks,
    check_dimensions,
    embedding_body,
    floats,
    inputs_of,
    take_others,
)
from tokenmarket.adapters.kit.google_errors import explain
from tokenmarket.adapters.kit.openai_request import HEADERS, finish
from tokenmarket.adapters.kit.shape import count, mapping, sequence
from tokenmarket.adapters.kit.vectors import normalised
from tokenmarket.adapters.protocol import Head, UpstreamRequest
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.estimate import estimate_tokens
from tokenmarket.core.requests import EmbeddingBody, Request
from tokenmarket.core.usage import Usage

_TASKS = Tasks(
    "taskType",
    (
        ("query", "RETRIEVAL_QUERY"),
        ("document", "RETRIEVAL_DOCUMENT"),
        ("classification", "CLASSIFICATION"),
        ("clustering", "CLUSTERING"),
        ("similarity", "SEMANTIC_SIMILARITY"),
        ("question_answering", "QUESTION_ANSWERING"),
        ("fact_verification", "FACT_VERIFICATION"),
        ("code_query", "CODE_RETRIEVAL_QUERY"),
    ),
)
_encode = msgspec.json.Encoder().encode


class GeminiEmbeddings(OwnEmbeddings):
    """``POST /models/{model}:batchEmbedContents``."""

    def batch_max(self, route: Route) -> int:
        return 100

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        typed = embedding_body(request)
        dropped: list[str] = []
        check_dimensions(typed, route)
        same: dict[str, object] = {"model": f"models/{route.upstream_model}"}
        task = _TASKS.member(request, route, dropped)
        if task is not None:
            same["taskType"] = task
        if typed.dimensions is not None:
            same["outputDimensionality"] = typed.dimensions
        take_others(request, frozenset(), {}, dropped)
        finish(request, route, dropped)
        rows = [
            {**same, "content": {"parts": [{"text": text}]}} for text in inputs_of(typed, route)
        ]
        path = f"/models/{quote(route.upstream_model, safe='')}:batchEmbedContents"
        return UpstreamRequest(path, HEADERS, _encode({"requests": rows}), dropped=tuple(dropped))

    def vectors(self, document: dict[str, object]) -> list[list[float]] | None:
        rows = document.get("embeddings")
        if not isinstance(rows, list):
            return None
        return floats([mapping(row).get("values") for row in sequence(document["embeddings"])])

    def finished(
        self, typed: EmbeddingBody, route: Route, vectors: list[list[float]]
    ) -> list[list[float]]:
        vectors = super().finished(typed, route, vectors)
        return vectors if typed.dimensions is None else [normalised(one) for one in vectors]

    def usage(self, head: Head, document: dict[str, object], inputs: list[str]) -> Usage | None:
        reported = mapping(document.get("usageMetadata"))
        if reported:
            return Usage(input_tokens=count(reported.get("promptTokenCount")), requests=1)
        tokens = sum(map(estimate_tokens, inputs))
        return Usage(input_tokens=tokens, requests=1, estimated=True)

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return explain(head, body)


EMBEDDINGS = GeminiEmbeddings()
