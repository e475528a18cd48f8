"""Moderations in OpenAI's shape: ``POST /moderations``.

Results are checked, not trusted: one per input, ``flagged`` and categories as booleans, scores as
numbers. A provider with categories of its own names those that OpenAI has too in ``categories``;
the others keep their names. No category or score is made up.
"""

from __future__ import annotations

import math

import msgspec

from tokenmarket.adapters.kit.openai_errors import explain, inside_200
from tokenmarket.adapters.kit.openai_request import HEADERS, finish, unsupported
from tokenmarket.adapters.kit.openai_usage import parse_usage
from tokenmarket.adapters.kit.quirks import GATEWAY_FIELDS, HONOURED_HERE
from tokenmarket.adapters.kit.shape import mapping, sequence, text
from tokenmarket.adapters.protocol import Head, MediaAdapter, Reply, UpstreamRequest
from tokenmarket.core.bodies import ModerationBody
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import FailureKind, UpstreamError
from tokenmarket.core.parse_moderation import text_inputs
from tokenmarket.core.requests import Request
from tokenmarket.core.usage import Usage

ID_CHARS_MAX = 200

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_BESIDE = frozenset({"model", "input", *GATEWAY_FIELDS, *HONOURED_HERE})


class ModerationQuirks(msgspec.Struct, frozen=True):
    """How one provider differs from OpenAI."""

    path: str = "/moderations"
    parts: bool = True  # takes text and image_url parts; False: texts only
    passes: frozenset[str] = frozenset()  # further members of the caller's that it takes
    categories: tuple[tuple[str, str], ...] = ()  # its names of OpenAI's categories
    codes: dict[str, FailureKind] = {}


class Moderation(MediaAdapter):
    """``POST /moderations`` of one provider."""

    def __init__(self, quirks: ModerationQuirks) -> None:
        self.quirks = quirks

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        quirks = self.quirks
        asked = _body_of(request)
        members: dict[str, object] = {"model": route.upstream_model}
        if quirks.parts:
            members["input"] = request.members["input"]
        else:
            texts = text_inputs(asked)
            if texts is None:
                unsupported("input", route, f"{route.provider.name} moderates text only.")
            members["input"] = texts
        dropped: list[str] = []
        for name, value in request.members.items():
            if name in quirks.passes:
                members[name] = value
            elif name not in _BESIDE and bytes(value) != b"null":
                dropped.append(name)
        finish(request, route, dropped)
        return UpstreamRequest(quirks.path, HEADERS, _encode(members), dropped=tuple(dropped))

    def read(self, request: Request, route: Route, head: Head, body: bytes) -> Reply:
        try:
            document = mapping(_decode(body))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise _garbage("is no JSON") from None
        results = document.get("results")
        if not isinstance(results, list):
            if document.keys() & {"error", "message", "detail", "code"}:
                raise inside_200(document, self.quirks.codes)
            raise _garbage("has no results")
        asked = _body_of(request)
        texts = text_inputs(asked)
        rows = sequence(document["results"])
        if len(rows) != (1 if texts is None else len(texts)):
            raise _garbage("has not one result per input")
        members: dict[str, object] = {
            "id": "modr-" + request.request_id.removeprefix("req_"),
            "model": route.model.id,
            "results": [self._result(mapping(row)) for row in rows],
        }
        upstream_id = (text(document.get("id")) or "")[:ID_CHARS_MAX] or None
        return Reply(members, _usage(document, route), None, upstream_id)

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return explain(head, body, self.quirks.codes)

    def _result(self, row: dict[str, object]) -> dict[str, object]:
        names = dict(self.quirks.categories)
        categories: dict[str, bool] = {}
        for name, hit in mapping(row.get("categories")).items():
            if hit is None:  # OpenAI's older models know no illicit categories
                continue
            if not isinstance(hit, bool):
                raise _garbage("has a category that is neither true nor false")
            ours = names.get(name, name)
            categories[ours] = categories.get(ours, False) or hit
        if not categories:
            raise _garbage("has no categories")
        scores: dict[str, float] = {}
        for name, score in mapping(row.get("category_scores")).items():
            if score is None:
                continue
            if isinstance(score, bool) or not isinstance(score, int | float):
                raise _garbage("has a score that is no number")
            if not math.isfinite(score):
                raise _garbage("has a score that is no number")
            ours = names.get(name, name)
            scores[ours] = max(scores.get(ours, score), score)
        flagged = row.get("flagged")
        result: dict[str, object] = {
            "flagged": flagged if isinstance(flagged, bool) else any(categories.values()),
            "categories": categories,
            "category_scores": scores,
        }
        kinds = _input_types(row.get("category_applied_input_types"))
        if kinds is not None:
            result["category_applied_input_types"] = kinds
        elif not self.quirks.parts:
            result["category_applied_input_types"] = {name: ["text"] for name in categories}
        return result


def _input_types(value: object) -> dict[str, list[str]] | None:
    """Which kinds of input each category was looked for in; None: the provider does not say."""
    return {
        name: [kind for kind in sequence(kinds) if isinstance(kind, str)]
        for name, kinds in mapping(value).items()
    } or None


def _body_of(request: Request) -> ModerationBody:
    if not isinstance(request.typed, ModerationBody):
        raise TypeError(f"a moderation adapter was given {request.operation}")
    return request.typed


def _usage(document: dict[str, object], route: Route) -> Usage:
    """One request, and the tokens where the provider counts them."""
    fields = mapping(document.get("usage"))
    if fields:
        # Mistral's total also counts what it reads around the input; it bills the prompt.
        counts = {name: fields[name] for name in ("prompt_tokens",) if name in fields}
        found = parse_usage(_encode(counts or fields), route.prices)
        if found is not None:
            return msgspec.structs.replace(found, requests=1, output_tokens=0, reasoning_tokens=0)
    return Usage(requests=1)


def _garbage(what: str) -> UpstreamError:
    return UpstreamError("upstream_error", f"the upstream's answer {what}", status=200)
