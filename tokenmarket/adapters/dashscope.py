"""Qwen on DashScope: compatible mode, and two wires of rerank.

https://help.aliyun.com/zh/model-studio; facts as of 2026-11-23. Rerank has a base path of its own
(``compatible-api``, plural ``reranks``); gte-rerank and the picture reranker are on the native API
only. A model's capability ``rerank_api`` ("compatible", "native") says otherwise.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from tokenmarket.adapters.kit.embed import BatchedEmbeddings
from tokenmarket.adapters.kit.openai_chat import OpenAIChat
from tokenmarket.adapters.kit.openai_request import HEADERS
from tokenmarket.adapters.kit.quirks import OPENAI_ONLY, Quirks
from tokenmarket.adapters.kit.rerank import Rerank, RerankQuirks
from tokenmarket.adapters.kit.shape import mapping
from tokenmarket.adapters.protocol import UpstreamRequest
from tokenmarket.core.catalog import Route

_OWN = Quirks(
    drop=OPENAI_ONLY - {"modalities", "audio"},  # Omni models know both
    reasoning="enable_thinking",
    codes={
        "invalidapikey": "auth",
        "arrearage": "no_balance",  # with HTTP 400
        "throttling": "rate_limited",
        "throttling.ratequota": "rate_limited",
        "throttling.allocationquota": "rate_limited",
        "datainspectionfailed": "content_policy",
        "data_inspection_failed": "content_policy",
        "accessdenied": "forbidden",
        "modelnotfound": "not_found",
        "internalerror": "upstream_error",
    },
)

CHAT = OpenAIChat(_OWN)
# text-embedding-v3 and v4 take 10 inputs, older ones 25.
EMBEDDINGS = BatchedEmbeddings(replace(_OWN, path="/embeddings", batch_max=10))


class DashScopeRerank(Rerank):
    """``POST /compatible-api/v1/reranks``, or the native text-rerank."""

    def request(self, route: Route, payload: object, dropped: tuple[str, ...]) -> UpstreamRequest:
        if not _is_native(route):
            return super().request(route, payload, dropped)
        members = mapping(payload)
        parameters = {
            name: value
            for name, value in members.items()
            if name not in ("model", "query", "documents")
        }
        native = {
            "model": members["model"],
            "input": {"query": members["query"], "documents": members["documents"]},
            "parameters": parameters,
        }
        return UpstreamRequest(_NATIVE, HEADERS, _encode(native), dropped=dropped, from_root=True)

    def rows(self, document: object) -> list[object] | None:
        return super().rows(mapping(document).get("output")) or super().rows(document)


def _is_native(route: Route) -> bool:
    said = route.model.capabilities.get("rerank_api")
    if said is not None:
        return said == "native"
    return route.upstream_model.startswith("gte-") or "-vl-" in route.upstream_model


_NATIVE = "/api/v1/services/rerank/text-rerank/text-rerank"
_encode = msgspec.json.Encoder().encode

RERANK = DashScopeRerank(
    RerankQuirks(
        path="/compatible-api/v1/reranks",
        from_root=True,
        returns_documents=True,
        passes=frozenset({"instruct", "instruction"}),
        rename=(("instruction", "instruct"),),
        codes=_OWN.codes,
    )
)
