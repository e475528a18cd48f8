"""Cohere's v2 API: rerank and embeddings (https://docs.cohere.com; facts as of 2026-11-23).

Searches are billed up to rerank v4, tokens from v5 on: the route's price rows decide. The base URL
is ``https://api.cohere.com/v2``.
"""

from __future__ import annotations

import msgspec

from tokenmarket.adapters.kit.cohere_wire import (
    BATCH_MAX,
    embed_fields,
    embed_vectors,
    explain_cohere,
)
from tokenmarket.adapters.kit.embed import OwnEmbeddings
from tokenmarket.adapters.kit.openai_request import HEADERS, raw
from tokenmarket.adapters.kit.openai_transcription import (
    PlainTranscription,
    TranscriptionQuirks,
)
from tokenmarket.adapters.kit.rerank import Rerank, RerankQuirks
from tokenmarket.adapters.kit.shape import count, mapping
from tokenmarket.adapters.protocol import Head, UpstreamRequest
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.requests import Request
from tokenmarket.core.usage import Usage

_encode = msgspec.json.Encoder().encode


class CohereRerank(Rerank):
    """``POST /v2/rerank``."""

    def finds_spans(self, route: Route) -> bool:
        return route.upstream_model.startswith("rerank-v5")

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return explain_cohere(head, body)


class CohereEmbeddings(OwnEmbeddings):
    """``POST /v2/embed``."""

    def batch_max(self, route: Route) -> int:
        return BATCH_MAX

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        dropped: list[str] = []
        fields = embed_fields(request, route, dropped)
        fields["model"] = raw(route.upstream_model)
        return UpstreamRequest("/embed", HEADERS, _encode(fields), dropped=tuple(dropped))

    def vectors(self, document: dict[str, object]) -> list[list[float]] | None:
        return embed_vectors(document)

    def usage(self, head: Head, document: dict[str, object], inputs: list[str]) -> Usage | None:
        billed = mapping(mapping(document.get("meta")).get("billed_units"))
        tokens = count(billed.get("input_tokens")) + count(billed.get("image_tokens"))
        return Usage(input_tokens=tokens, requests=1) if billed else None

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return explain_cohere(head, body)


class CohereTranscription(PlainTranscription):
    """Text, and no usage: the measured length is billed."""

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return explain_cohere(head, body)


RERANK = CohereRerank(RerankQuirks(passes=frozenset({"max_tokens_per_doc"})))
EMBEDDINGS = CohereEmbeddings()

# ``POST /v2/audio/transcriptions`` (recorded 2026-08-13): model, language and file.
TRANSCRIPTION = CohereTranscription(
    TranscriptionQuirks(
        drop=frozenset({"languages", "keywords", "prompt", "temperature", "include"})
        | {"chunking_strategy", "known_speaker_names", "known_speaker_references"}
    )
)
