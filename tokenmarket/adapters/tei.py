"""Hugging Face text-embeddings-inference, a server of one's own (its openapi.json, July 2026).

The base URL ends in ``/v1``, where embeddings have OpenAI's shape; rerank is beside it and answers
with a bare list. It never says what a rerank used: that is counted here.
"""

from __future__ import annotations

from tokenmarket.adapters.kit.embed import BatchedEmbeddings
from tokenmarket.adapters.kit.quirks import Quirks
from tokenmarket.adapters.kit.rerank import Rerank, RerankQuirks
from tokenmarket.adapters.kit.shape import sequence
from tokenmarket.core.bodies import RerankBody
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import FailureKind

BATCH_MAX = 32  # --max-client-batch-size; above it: 413

_CODES: dict[str, FailureKind] = {  # error_type
    "unhealthy": "overloaded",
    "overloaded": "overloaded",
    "backend": "upstream_error",
    "validation": "bad_request",
    "tokenizer": "bad_request",
    "empty": "bad_request",
}


class TeiRerank(Rerank):
    """``POST /rerank``."""

    def payload(
        self, route: Route, body: RerankBody, texts: list[str], further: dict[str, object]
    ) -> dict[str, object]:
        members = super().payload(route, body, texts, further)
        del members["model"]  # a server has one
        return members

    def rows(self, document: object) -> list[object] | None:
        return sequence(document) or super().rows(document)


RERANK = TeiRerank(
    RerankQuirks(
        from_root=True,
        documents_field="texts",
        top_n_field=None,
        passes=frozenset({"truncation_direction"}),
        truncation_field="truncate",
        score_field="score",
        reports_usage=False,
        codes=_CODES,
    )
)
EMBEDDINGS = BatchedEmbeddings(
    Quirks(path="/embeddings", base64=False, batch_max=BATCH_MAX, codes=_CODES)
)
