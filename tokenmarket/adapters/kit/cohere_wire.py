"""Cohere's embed wire, which Bedrock speaks too, and its error statuses.

https://docs.cohere.com/reference/embed; facts as of 2026-11-23. ``input_type`` must be given:
without a word of the caller's it is ``search_document``.
"""

from __future__ import annotations

import re

import msgspec

from tokenmarket.adapters.kit.embed import (
    Fields,
    Tasks,
    check_dimensions,
    embedding_body,
    floats,
    inputs_of,
    take_others,
)
from tokenmarket.adapters.kit.openai_errors import explain
from tokenmarket.adapters.kit.openai_request import finish, raw, unsupported
from tokenmarket.adapters.kit.shape import mapping, sequence
from tokenmarket.adapters.protocol import Head
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.requests import Request

BATCH_MAX = 96

_TASKS = Tasks(
    "input_type",
    (
        ("query", "search_query"),
        ("document", "search_document"),
        ("classification", "classification"),
        ("clustering", "clustering"),
    ),
    default="search_document",
)
_PASSES = frozenset({"max_tokens", "truncate"})
_FLOAT = msgspec.Raw(b'["float"]')
_OF_A_MONTH = re.compile(r"trial key.{0,200}month", re.IGNORECASE | re.DOTALL)


def embed_fields(request: Request, route: Route, dropped: list[str]) -> Fields:
    """The members of an embed request but ``model``."""
    typed = embedding_body(request)
    task = _TASKS.member(request, route, dropped)
    fields: Fields = {
        "texts": raw(inputs_of(typed, route)),
        "input_type": raw(task),
        "embedding_types": _FLOAT,
    }
    if typed.dimensions is not None:
        check_dimensions(typed, route)
        if "-v3" in route.upstream_model:
            unsupported("dimensions", route, f"{route.model.id} has vectors of one length.")
        fields["output_dimension"] = raw(typed.dimensions)
    take_others(request, _PASSES, fields, dropped)
    finish(request, route, dropped)
    return fields


def embed_vectors(document: dict[str, object]) -> list[list[float]] | None:
    """By type in v2, a bare list in v1; a proxy in front of Bedrock answers in OpenAI's shape."""
    vectors = document.get("embeddings")
    by_type = mapping(vectors)
    if by_type:
        vectors = by_type.get("float")
    elif vectors is None:
        rows = sequence(document.get("data"))
        vectors = [mapping(row).get("embedding") for row in rows] or None
    return None if vectors is None else floats(vectors)


def explain_cohere(head: Head, body: bytes) -> UpstreamError:
    """``{"message", "id"}`` with statuses of Cohere's own: 498 is a bad token. A trial key's calls
    of this month can be used up, which waiting a second does not heal."""
    error = explain(head, body, {})
    if head.status == 498:
        error.kind = "auth"
    elif head.status == 429 and _OF_A_MONTH.search(error.message):
        error.kind = "quota_exhausted"
    return error
