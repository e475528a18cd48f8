"""Rerank: a real, if old-fashioned, ranking (BM25) of documents by the words of the query.

Words are compared without case; Chinese, Japanese and Korean text counts by pairs of characters.
A score is the share of what a document full of the query's words would reach: 0 to 1. The answer
has the members of Cohere's, Jina's and OpenAI-like rerank answers.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from typing import Annotated

import msgspec

from tokenmarket.sandbox import tokens
from tokenmarket.sandbox.behaviour import Script, behaviour, early, shape
from tokenmarket.sandbox.bodies import Metadata, Refused, Text
from tokenmarket.sandbox.calls import Call
from tokenmarket.sandbox.forms import read_body

DOCUMENTS_MAX = 1000
CHARACTERS_MAX = 512 * 1024  # one request must not stop the others for long
UNIT_DOCUMENTS = 100  # of one search unit
UNIT_TOKENS = 500  # a longer document counts as several

_UNSPACED = "぀-ヿ㐀-䶿一-鿿가-힯"
_WORDS = re.compile(rf"([{_UNSPACED}]+)|([^\W_{_UNSPACED}]+)")
_K1 = 1.2
_B = 0.75


class RerankBody(msgspec.Struct, frozen=True):
    """``POST /rerank``; ``top_k`` is Voyage's name of ``top_n``."""

    model: Text
    query: Text
    documents: Annotated[
        list[str | dict[str, object]], msgspec.Meta(min_length=1, max_length=DOCUMENTS_MAX)
    ]
    top_n: Annotated[int, msgspec.Meta(ge=1)] | None = None
    top_k: Annotated[int, msgspec.Meta(ge=1)] | None = None
    return_documents: bool | None = None
    rank_fields: list[str] | None = None
    max_tokens_per_doc: Annotated[int, msgspec.Meta(ge=1)] | None = None
    metadata: Metadata | None = None


def words(text: str) -> list[str]:
    """What is compared: words in lower case, pairs of characters of scripts without spaces."""
    found: list[str] = []
    for run, word in _WORDS.findall(text.lower()):
        if word:
            found.append(word)
        else:
            found.extend([run[at : at + 2] for at in range(len(run) - 1)] or [run])
    return found


def scores(query: str, documents: list[str]) -> list[float]:
    """One score per document, 0 (no word of the query) to 1, six decimals."""
    wanted = set(words(query))
    counts = [Counter(words(document)) for document in documents]
    lengths = [sum(count.values()) for count in counts]
    mean = sum(lengths) / len(lengths) or 1.0
    weights: dict[str, float] = {}
    for word in sorted(wanted):  # a set has no order, and sums of floats depend on theirs
        having = sum(1 for count in counts if word in count)
        weights[word] = math.log(1 + (len(documents) - having + 0.5) / (having + 0.5))
    highest = sum(weights.values()) * (_K1 + 1) or 1.0
    found: list[float] = []
    for count, length in zip(counts, lengths, strict=True):
        damping = _K1 * (1 - _B + _B * length / mean)
        reached = sum(
            weight * count[word] * (_K1 + 1) / (count[word] + damping)
            for word, weight in weights.items()
            if word in count
        )
        found.append(round(reached / highest, 6))
    return found


def rerank(call: Call) -> Script:
    """``POST /rerank``. Raises Refused."""
    body, _ = read_body(call, RerankBody)
    asked = behaviour(body.model, "rerank", call.asked, body.metadata)
    failed = early(asked)
    if failed is not None:
        return failed
    texts = [_text(document, body.rank_fields) for document in body.documents]
    if sum(map(len, texts)) + len(body.query) > CHARACTERS_MAX:
        raise Refused(f"More than {CHARACTERS_MAX} characters in all.", param="documents")
    if body.max_tokens_per_doc is not None:
        kept = body.max_tokens_per_doc
        texts = ["".join(tokens.split(text)[:kept]) for text in texts]
    ranked = sorted(enumerate(scores(body.query, texts)), key=lambda row: (-row[1], row[0]))
    results: list[dict[str, object]] = []
    for index, score in ranked[: body.top_n or body.top_k or len(ranked)]:
        result: dict[str, object] = {"index": index, "relevance_score": score}
        if body.return_documents:
            result["document"] = {"text": texts[index]}
        results.append(result)
    document: dict[str, object] = {
        "id": "rerank-sandbox" + hashlib.blake2b(call.body, digest_size=12).hexdigest(),
        "object": "list",
        "model": body.model,
        "results": results,
    }
    if asked.usage is None:
        document.update(_usage(body.query, texts))
    elif asked.usage:
        document["usage"] = msgspec.Raw(asked.usage)
    return shape(asked, [msgspec.json.encode(document)], stream=False)


def _text(document: str | dict[str, object], fields: list[str] | None) -> str:
    """A document that is an object: its ``text``, or the named (or all) fields, one a line."""
    if isinstance(document, str):
        return document
    text = document.get("text")
    if fields is None and isinstance(text, str):
        return text
    names = document if fields is None else fields
    return "\n".join(f"{name}: {document[name]}" for name in names if name in document)


def _usage(query: str, texts: list[str]) -> dict[str, object]:
    asked = tokens.count(query)
    sizes = [tokens.count(text) for text in texts]
    room = max(1, UNIT_TOKENS - asked)
    chunks = sum(max(1, -(-size // room)) for size in sizes)
    units = -(-chunks // UNIT_DOCUMENTS)
    total = asked * len(texts) + sum(sizes)
    return {
        "meta": {
            "api_version": {"version": "2"},
            "billed_units": {"search_units": units},
            "tokens": {"input_tokens": total, "output_tokens": 0},
        },
        "usage": {"prompt_tokens": total, "total_tokens": total},
    }
