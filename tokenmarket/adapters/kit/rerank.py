"""Rerank: what a provider is sent, and the one answer that every client can read.

Contract: ``reference/providers/cohere_jina_voyage.md`` section 7. The answer has the members of
Cohere's, Jina's and LiteLLM's rerank answers at once. Documents are never bought back from the
provider: what is echoed is what we hold. A provider is one ``RerankQuirks``; who speaks another
wire altogether overrides ``payload`` and ``rows``.
"""

from __future__ import annotations

import math
from typing import cast

import msgspec

from tokenmarket.adapters.kit.openai_errors import explain, inside_200
from tokenmarket.adapters.kit.openai_request import HEADERS, finish, unsupported
from tokenmarket.adapters.kit.quirks import GATEWAY_FIELDS, HONOURED_HERE
from tokenmarket.adapters.kit.shape import COUNT_MAX, count, mapping, sequence, text
from tokenmarket.adapters.protocol import Head, MediaAdapter, Reply, UpstreamRequest
from tokenmarket.core.bodies import RerankBody
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import ApiError, FailureKind, UpstreamError
from tokenmarket.core.estimate import estimate_tokens
from tokenmarket.core.parse_rerank import (
    DOCUMENTS_PER_SEARCH,
    PIECE_TOKENS_MIN,
    TOKENS_PER_DOCUMENT_DEFAULT,
    TOKENS_PER_PIECE,
    document_texts,
    top_n,
    wants_spans,
)
from tokenmarket.core.requests import Request
from tokenmarket.core.usage import Usage
from tokenmarket.core.wording import say

ID_CHARS_MAX = 200
SPANS_MAX = 1000
SCORE_MAX = 1e300

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode

# What is acted on here, whatever the provider knows.
_HANDLED = frozenset(
    {
        "model",
        "query",
        "documents",
        "top_n",
        "top_k",
        "return_documents",
        "rank_fields",
        "relevant_spans",
        "priority",  # our place in the provider's queue is not the caller's to choose
        *GATEWAY_FIELDS,
        *HONOURED_HERE,
    }
)


class RerankQuirks(msgspec.Struct, frozen=True):
    """How one provider differs from Cohere's v2."""

    path: str = "/rerank"
    from_root: bool = False
    top_n_field: str | None = "top_n"  # None: it ranks everything, we cut
    documents_field: str = "documents"
    returns_documents: bool = False  # knows return_documents: it is told not to
    passes: frozenset[str] = frozenset()  # further members of the caller's that it takes as given
    rename: tuple[tuple[str, str], ...] = ()  # of those
    truncation_field: str | None = None
    score_field: str = "relevance_score"
    raw_scores: bool = False  # logits; also a model's capability ``raw_scores``
    reports_usage: bool = True  # False: its answers never say what was used
    codes: dict[str, FailureKind] = {}


class Rerank(MediaAdapter):
    """``POST /rerank`` of one provider."""

    def __init__(self, quirks: RerankQuirks) -> None:
        self.quirks = quirks

    # --- request ----------------------------------------------------------------------------------

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        body = body_of(request)
        texts = document_texts(body)
        _check_documents(len(texts), route)
        spans = wants_spans(body)
        if spans and not self.finds_spans(route):
            unsupported(
                "relevant_spans",
                route,
                f"{route.provider.name} finds relevant spans with Cohere's rerank-v5 models only.",
            )
        dropped: list[str] = []
        further = self._further(request, body, dropped)
        finish(request, route, dropped)
        if spans:
            further["relevant_spans"] = body.relevant_spans
        return self.request(route, self.payload(route, body, texts, further), tuple(dropped))

    def request(self, route: Route, payload: object, dropped: tuple[str, ...]) -> UpstreamRequest:
        quirks = self.quirks
        return UpstreamRequest(
            quirks.path, HEADERS, _encode(payload), dropped=dropped, from_root=quirks.from_root
        )

    def payload(
        self, route: Route, body: RerankBody, texts: list[str], further: dict[str, object]
    ) -> dict[str, object]:
        """The body to send. ``further`` are members beside query, documents and their number."""
        quirks = self.quirks
        members: dict[str, object] = {
            "model": route.upstream_model,
            "query": body.query,
            quirks.documents_field: texts,
        }
        if quirks.top_n_field is not None and top_n(body) < len(texts):
            members[quirks.top_n_field] = top_n(body)
        if quirks.returns_documents:
            members["return_documents"] = False
        return members | further

    def finds_spans(self, route: Route) -> bool:
        """Only Cohere does."""
        return False

    def _further(self, request: Request, body: RerankBody, dropped: list[str]) -> dict[str, object]:
        """The caller's other members in the provider's words; what has none is dropped."""
        quirks = self.quirks
        names = dict(quirks.rename)
        further: dict[str, object] = {}
        cuts = {"truncation", "truncate"} if quirks.truncation_field is not None else set[str]()
        for name, value in request.members.items():
            if bytes(value) == b"null":
                continue
            if name in quirks.passes:
                further[names.get(name, name)] = value
            elif name not in _HANDLED and name not in cuts:
                dropped.append(name)
        if quirks.truncation_field is not None:
            cut = _truncation(body)
            if cut is not None:
                further[quirks.truncation_field] = cut
            elif bytes(body.truncate) not in (b"", b"null"):
                dropped.append("truncate")
        return further

    # --- answer -----------------------------------------------------------------------------------

    def read(self, request: Request, route: Route, head: Head, body: bytes) -> Reply:
        asked = body_of(request)
        try:
            document = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise UpstreamError(
                "upstream_error", "the upstream's answer is no JSON", status=head.status
            ) from None
        rows = self.rows(document)
        if rows is None:
            fields = mapping(document)
            if fields.keys() & {"error", "message", "detail", "code"}:
                raise inside_200(document, self.quirks.codes)
            raise UpstreamError(
                "upstream_error", "the upstream's answer has no results", status=head.status
            )
        raw = self.quirks.raw_scores or route.model.capabilities.get("raw_scores") is True
        texts = document_texts(asked)
        ranking = _ranking(rows, self.quirks.score_field, len(texts), raw=raw)
        usage, billed = self.usage(asked, texts, document)
        members = _answer(request, route, ranking[: top_n(asked)], texts, billed)
        upstream_id = text(mapping(document).get("id")) or text(mapping(document).get("request_id"))
        return Reply(members, usage, None, (upstream_id or "")[:ID_CHARS_MAX] or None)

    def rows(self, document: object) -> list[object] | None:
        """The list of results; Voyage and Fireworks call it ``data``."""
        fields = mapping(document)
        for name in ("results", "data"):
            if isinstance(fields.get(name), list):
                return sequence(fields[name])
        return None

    def usage(
        self, asked: RerankBody, texts: list[str], document: object
    ) -> tuple[Usage, dict[str, int]]:
        """(what is billed, the provider's own counts for ``meta.billed_units``)."""
        if not self.quirks.reports_usage:
            return counted_here(asked, texts)
        return _reported(mapping(document))

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return explain(head, body, self.quirks.codes)


def body_of(request: Request) -> RerankBody:
    """The typed body of a rerank request."""
    if not isinstance(request.typed, RerankBody):
        raise TypeError(f"a rerank adapter was given {request.operation}")
    return request.typed


def _check_documents(documents: int, route: Route) -> None:
    most = route.model.capabilities.get("documents_max")
    if type(most) is int and documents > most:
        raise ApiError(
            "REQUEST_001",
            say(
                "{model_id} takes at most {most} documents, these are {documents}.",
                model_id=route.model.id,
                most=most,
                documents=documents,
            ),
            param="documents",
            reason="too_many_documents",
        )


def _truncation(body: RerankBody) -> bool | None:
    """Cohere's, Jina's and Voyage's words for: cut what is too long; None: not said."""
    if body.truncation is not None:
        return body.truncation
    words = {b"true": True, b"false": False, b'"NONE"': False, b'"END"': True, b'"START"': True}
    return words.get(bytes(body.truncate))


# ------------------------------------------------------------------------------------------ answer


def _ranking(
    rows: list[object], score_field: str, documents: int, *, raw: bool
) -> list[tuple[int, float, list[object]]]:
    """(index, score, spans), best first. Raises UpstreamError for what cannot be a ranking."""
    found: list[tuple[int, float, list[object]]] = []
    seen: set[int] = set()
    for row in rows:
        fields = mapping(row)
        index, score = fields.get("index"), fields.get(score_field)
        if type(index) is not int or not 0 <= index < documents or index in seen:
            raise UpstreamError("upstream_error", "the upstream ranked a document we did not send")
        # not (… <= …): true of NaN, too
        if type(score) not in (int, float) or not abs(cast("float", score)) <= SCORE_MAX:
            raise UpstreamError("upstream_error", "the upstream gave a score that is no number")
        seen.add(index)
        found.append((index, float(cast("float", score)), _spans(fields.get("relevant_spans"))))
    if not found:
        raise UpstreamError("upstream_error", "the upstream ranked nothing")
    found.sort(key=lambda one: (-one[1], one[0]))
    if raw:
        return [(index, _sigmoid(score), spans) for index, score, spans in found]
    return found


def _sigmoid(logit: float) -> float:
    if logit >= 0:
        return 1 / (1 + math.exp(-min(logit, 700.0)))
    grown = math.exp(max(logit, -700.0))
    return grown / (1 + grown)


def _spans(value: object) -> list[object]:
    spans: list[object] = []
    for item in sequence(value)[:SPANS_MAX]:
        span = mapping(item)
        start, end, score = span.get("start"), span.get("end"), span.get("score")
        if type(start) is int and type(end) is int and 0 <= start <= end <= COUNT_MAX:
            known = type(score) in (int, float)
            spans.append({"start": start, "end": end, **({"score": score} if known else {})})
    return spans


def _answer(
    request: Request,
    route: Route,
    ranking: list[tuple[int, float, list[object]]],
    texts: list[str],
    billed: dict[str, int],
) -> dict[str, object]:
    results: list[dict[str, object]] = []
    echo = body_of(request).return_documents
    for index, score, spans in ranking:
        result: dict[str, object] = {"index": index, "relevance_score": score}
        if echo:
            result["document"] = {"text": texts[index]}
        if spans:
            result["relevant_spans"] = spans
        results.append(result)
    meta: dict[str, object] = {"api_version": {"version": "2"}, "billed_units": billed}
    if "total_tokens" in billed:
        meta["tokens"] = {"input_tokens": billed["total_tokens"], "output_tokens": 0}
    return {
        "id": "rerank-" + request.request_id.removeprefix("req_"),
        "object": "list",
        "model": route.model.id,
        "results": results,
        "meta": meta,
    }


# ------------------------------------------------------------------------------------------- usage


def _reported(document: dict[str, object]) -> tuple[Usage, dict[str, int]]:
    """Searches and tokens wherever a provider says them: Cohere in ``meta.billed_units``, most
    others in ``usage``, SiliconFlow also in ``tokens``. What the route has no price for is not
    charged, so both may be there."""
    meta, usage = mapping(document.get("meta")), mapping(document.get("usage"))
    billed = mapping(meta.get("billed_units"))
    searches = _units(billed.get("search_units")) or _units(usage.get("search_units"))
    tokens = (
        _units(billed.get("input_tokens"))
        or _units(usage.get("prompt_tokens"))
        or _units(usage.get("total_tokens"))
        or _units(billed.get("total_tokens"))
        or _units(mapping(document.get("tokens")).get("input_tokens"))
        or _units(mapping(meta.get("tokens")).get("input_tokens"))
    )
    flags = () if searches or tokens else ("usage_missing",)
    return _counts(searches, tokens, estimated=False, flags=flags)


def counted_here(asked: RerankBody, texts: list[str]) -> tuple[Usage, dict[str, int]]:
    """For providers whose answers never say: their documented formula on estimated tokens."""
    query = estimate_tokens(asked.query)
    sizes = [estimate_tokens(document) for document in texts]
    room = max(PIECE_TOKENS_MIN, TOKENS_PER_PIECE - query)
    cut = asked.max_tokens_per_doc or TOKENS_PER_DOCUMENT_DEFAULT
    pieces = sum(max(1, -(-min(size, cut) // room)) for size in sizes)
    tokens = query * len(sizes) + sum(sizes)
    return _counts(-(-pieces // DOCUMENTS_PER_SEARCH), tokens, estimated=True)


def _counts(
    searches: int, tokens: int, *, estimated: bool, flags: tuple[str, ...] = ()
) -> tuple[Usage, dict[str, int]]:
    shown: dict[str, int] = {}
    if searches:
        shown["search_units"] = searches
    if tokens:
        shown["total_tokens"] = tokens
    usage = Usage(
        input_tokens=tokens, searches=searches, requests=1, estimated=estimated, flags=flags
    )
    return usage, shown


def _units(value: object) -> int:
    """A count; Cohere writes floats, and a part of a unit is a unit."""
    if isinstance(value, float) and math.isfinite(value):
        return max(0, min(COUNT_MAX, math.ceil(value)))
    return max(0, count(value))
