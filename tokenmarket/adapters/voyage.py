"""Voyage AI: rerank and embeddings (https://docs.voyageai.com; facts as of 2026-11-23).

Billed by token; the answers say only the total. Keys made in MongoDB Atlas belong to the base URL
``https://ai.mongodb.com/v1``.
"""

from __future__ import annotations

import re

from tokenmarket.adapters.kit.embed import TaskedEmbeddings, Tasks
from tokenmarket.adapters.kit.quirks import Quirks
from tokenmarket.adapters.kit.rerank import Rerank, RerankQuirks
from tokenmarket.adapters.protocol import Head
from tokenmarket.core.errors import UpstreamError

_NO_MODEL = re.compile(r"Model \S{1,100} is not supported")


class VoyageRerank(Rerank):
    """``POST /rerank``."""

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return _explained(super().explain(head, body))


class VoyageEmbeddings(TaskedEmbeddings):
    """``POST /embeddings``."""

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return _explained(super().explain(head, body))


def _explained(error: UpstreamError) -> UpstreamError:
    """``{"detail"}`` with status 400 is all there is, for an unknown model, too."""
    if error.kind == "bad_request" and _NO_MODEL.match(error.message):
        error.kind = "not_found"
    return error


RERANK = VoyageRerank(
    RerankQuirks(top_n_field="top_k", returns_documents=True, truncation_field="truncation")
)
EMBEDDINGS = VoyageEmbeddings(
    Quirks(path="/embeddings", dimensions_field="output_dimension", batch_max=1000),
    Tasks("input_type", (("query", "query"), ("document", "document"))),
    frozenset({"truncation"}),
    ("encoding_format", "base64"),  # "float" is not a word it knows
)
