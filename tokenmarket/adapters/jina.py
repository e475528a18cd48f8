"""Jina AI: rerank and embeddings (https://jina.ai; facts as of 2026-11-23). Billed by token.

The listwise reranker (v3) scores documents against each other: a request is never split.
"""

from tokenmarket.adapters.kit.embed import TaskedEmbeddings, Tasks
from tokenmarket.adapters.kit.quirks import Quirks
from tokenmarket.adapters.kit.rerank import Rerank, RerankQuirks

RERANK = Rerank(RerankQuirks(returns_documents=True))
EMBEDDINGS = TaskedEmbeddings(
    Quirks(path="/embeddings"),
    Tasks(
        "task",
        (
            ("query", "retrieval.query"),
            ("document", "retrieval.passage"),
            ("classification", "classification"),
            ("clustering", "separation"),
            ("similarity", "text-matching"),
        ),
    ),
    frozenset({"late_chunking", "normalized", "truncate"}),
    ("embedding_type", "base64"),
)
