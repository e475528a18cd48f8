"""``POST /rerank``: checks of a decoded body, its texts, and the most it can consume.

Facts: ``reference/providers/cohere_jina_voyage.md`` section 7. What a reader must know:

* ``document_texts`` is what the upstream gets and what is echoed: one plain text per document,
  whatever form the caller gave it in.
* Providers bill by search, by token or by request. A search is one query with up to 100 documents;
  a document that does not fit beside the query in 500 tokens counts once per piece. Bytes bound
  tokens, so the pieces are counted in bytes. A query takes at most 450 of the 500 tokens: how
  Cohere counts beyond is not known, and a hold of thousands of searches would help nobody.
"""

from __future__ import annotations

import json
from typing import NoReturn

import msgspec

from tokenmarket.core.bodies import DOCUMENTS_MAX, RerankBody
from tokenmarket.core.errors import ApiError
from tokenmarket.core.money import div_ceil
from tokenmarket.core.pricing import Bound
from tokenmarket.core.requests import ProviderChoice, Request
from tokenmarket.core.wording import say

DOCUMENTS_PER_SEARCH = 100
TOKENS_PER_PIECE = 500
PIECE_TOKENS_MIN = 50
TOKENS_PER_DOCUMENT_DEFAULT = 4096  # Cohere cuts longer ones off
# A reranker reads the query and a few words of its own around every document.
PAIR_OVERHEAD_TOKENS = 128

_decode_any = msgspec.json.Decoder().decode


def rerank_request(body: bytes, typed: RerankBody, choice: ProviderChoice | None) -> Request:
    """The typed request with its bound. Raises ApiError(REQUEST_001)."""
    _check(typed)
    texts = document_texts(typed)
    return Request(
        operation="rerank",
        model=typed.model,
        body=body,
        typed=typed,
        choice=choice,
        models=tuple(typed.models or ()),
        bound=rerank_bound(typed, texts),
    )


def rerank_bound(typed: RerankBody, texts: list[str]) -> Bound:
    """At most this, by search, by token or by request."""
    query_bytes = len(typed.query.encode()) + len((typed.instruction or "").encode())
    sizes = [len(text.encode()) for text in texts]
    room = max(PIECE_TOKENS_MIN, TOKENS_PER_PIECE - query_bytes)
    cut = typed.max_tokens_per_doc or TOKENS_PER_DOCUMENT_DEFAULT
    pieces = sum(max(1, div_ceil(min(size, cut), room)) for size in sizes)
    tokens = len(sizes) * (query_bytes + PAIR_OVERHEAD_TOKENS) + sum(sizes)
    return Bound(
        any_units=(
            ("search", div_ceil(pieces, DOCUMENTS_PER_SEARCH)),
            ("input_token", tokens),
            ("request", 1),
        )
    )


def top_n(typed: RerankBody) -> int:
    """How many results the caller gets."""
    asked = typed.top_n if typed.top_n is not None else typed.top_k
    return len(typed.documents) if asked is None else min(asked, len(typed.documents))


def wants_spans(typed: RerankBody) -> bool:
    """Whether the caller asked for relevant spans, which only Cohere's rerank v5 finds."""
    spans = typed.relevant_spans
    return spans is not None and _value(spans, "mode") == "enabled"


def document_texts(typed: RerankBody) -> list[str]:
    """One text per document. Raises ApiError(REQUEST_001) for a document without text."""
    fields = typed.rank_fields
    texts: list[str] = []
    for index, document in enumerate(typed.documents):
        if isinstance(document, str):
            texts.append(document)
        elif fields:
            texts.append(_joined(document, fields, index))
        else:
            text = _value(document, "text")
            if not isinstance(text, str):
                _refuse(
                    "A document is a text or an object with text; other members are ranked with "
                    "rank_fields.",
                    f"documents[{index}].text",
                    "document_without_text",
                )
            texts.append(text)
        if not texts[-1]:
            _refuse("An empty document.", f"documents[{index}]", "empty_document")
    return texts


def _check(typed: RerankBody) -> None:
    if not typed.query.strip():
        _refuse("The query is empty.", "query", "empty_query")
    if not typed.documents:
        _refuse("The list of documents is empty.", "documents", "empty_documents")
    if len(typed.documents) > DOCUMENTS_MAX:
        _refuse(
            say(
                "At most {documents_max} documents, these are {documents}.",
                documents_max=DOCUMENTS_MAX,
                documents=len(typed.documents),
            ),
            "documents",
            "too_many_documents",
        )
    if typed.top_n is not None and typed.top_k is not None and typed.top_n != typed.top_k:
        _refuse("top_n and top_k disagree; give one.", "top_k", "conflicting_parameters")
    if typed.relevant_spans is not None:
        _check_spans(typed.relevant_spans)


def _check_spans(spans: dict[str, msgspec.Raw]) -> None:
    mode = _value(spans, "mode")
    if mode not in (None, "enabled", "disabled"):
        _refuse("Expected 'enabled' or 'disabled'.", "relevant_spans.mode", "invalid_value")
    threshold = _value(spans, "threshold")
    if threshold is not None and (
        isinstance(threshold, bool)
        or not isinstance(threshold, int | float)
        or not 0 <= threshold <= 1
    ):
        _refuse("Expected a number from 0 to 1.", "relevant_spans.threshold", "invalid_value")
    most = _value(spans, "max_spans")
    if most is not None and (type(most) is not int or most < 1):
        _refuse("Expected a whole number from 1.", "relevant_spans.max_spans", "invalid_value")


def _joined(document: dict[str, msgspec.Raw], fields: list[str], index: int) -> str:
    """The named members as YAML, as Cohere's clients write it: one per line, text bare where it
    can be, everything else as JSON (which is YAML)."""
    lines: list[str] = []
    for name in fields:
        value = _value(document, name)
        if value is None:
            continue
        lines.append(f"{_scalar(name)}: {_scalar(value)}")
    if not lines:
        _refuse(
            say(
                "None of rank_fields is in this document: {fields}.", fields=", ".join(fields)[:200]
            ),
            f"documents[{index}]",
            "document_without_text",
        )
    return "\n".join(lines)


def _scalar(value: object) -> str:
    """A bare text where YAML reads it back as the same text, else JSON."""
    if isinstance(value, str) and value and _is_bare(value):
        return value
    return json.dumps(value, ensure_ascii=False)


_YAML_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n", "~"})


def _is_bare(text: str) -> bool:
    return (
        text[0].isalpha()
        and text.isprintable()
        and text[-1] not in ": "
        and ": " not in text
        and " #" not in text
        and text.lower() not in _YAML_WORDS
    )


def _value(members: dict[str, msgspec.Raw], name: str) -> object:
    """A member decoded; None when it is not there."""
    raw = members.get(name)
    return None if raw is None else _decode_any(raw)


def _refuse(message: str, param: str, reason: str) -> NoReturn:
    raise ApiError("REQUEST_001", message, param=param, reason=reason)
