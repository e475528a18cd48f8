"""The API reference: both OpenAPI documents as pages of our own, in two languages.

The management API has two pages, what organizations and what operators do: as one it would weigh
more than a page may.

Everything is made from the documents, so a path that is not described cannot be shown and one that
is cannot be left out. Schemas are flattened into rows; ``depth`` is how far a row is indented.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, cast

import msgspec
from markupsafe import Markup
from starlette.responses import Response

from tokenmarket.accounts.members import Membership
from tokenmarket.web.manage.endpoint import OPERATOR
from tokenmarket.web.manage.table import ENDPOINTS
from tokenmarket.web.openapi import document
from tokenmarket.web.openapi.samples import LANGUAGES, samples
from tokenmarket.web.openapi.schema import REF, Schema
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import PUBLIC
from tokenmarket.web.site.visit import Visit

DEPTH_MAX = 3
VALUES_MAX = 12  # so many values of an enum are listed
PLAYGROUND = "/-playground-"  # stands for the reader's own in what is kept
_CODE = re.compile(r"`([^`]+)`")
_drawn_before: dict[tuple[str, str, str, str, bool], str] = {}  # two dozen at the most


class Row(msgspec.Struct, frozen=True):
    """One field or parameter. ``text`` is still English; ``kind`` and ``more`` are code."""

    name: str
    kind: str
    text: str = ""
    required: bool = False
    more: str = ""  # limits, values, default
    depth: int = 0


class Failure(msgspec.Struct, frozen=True):
    """A status that may be answered, and the codes that have it."""

    status: str
    text: str
    codes: tuple[str, ...]


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """One operation, ready to be drawn. ``play`` is the part of the playground that does it."""

    id: str
    method: str
    path: str
    also: tuple[str, ...]
    summary: str
    description: str
    permission: str
    parameters: tuple[Row, ...]
    body: tuple[Row, ...]
    body_as: str  # the id of an operation above with the same body, which is not shown again
    form_files: tuple[str, ...]
    answers: tuple[tuple[str, tuple[Row, ...]], ...]  # media type, fields
    headers: tuple[Row, ...]
    failures: tuple[Failure, ...]
    example: dict[str, Any] | None
    form: bool
    play: str


class Group(msgspec.Struct, frozen=True):
    """The operations of one tag."""

    id: str
    title: str
    operations: tuple[Shown, ...]


class Reader:
    """Turns one document into groups."""

    def __init__(self, described: Schema) -> None:
        self._paths: dict[str, Schema] = described["paths"]
        self._schemas: dict[str, Schema] = described["components"]["schemas"]
        self._tags: list[Schema] = described["tags"]
        self._bodies: dict[str, str] = {}  # body -> the first operation that takes it
        self._headers: set[tuple[str, ...]] = set()

    def groups(self) -> tuple[Group, ...]:
        also: dict[tuple[str, str], list[str]] = {}
        found: dict[str, list[Shown]] = {}
        for path, methods in self._paths.items():
            for method, operation in methods.items():
                if "x-same-as" in operation:
                    also.setdefault((method, operation["x-same-as"]), []).append(path)
        for path, methods in self._paths.items():
            for method, operation in methods.items():
                if "x-same-as" not in operation:
                    others = tuple(also.get((method, path), ()))
                    shown = self._shown(path, method, operation, others)
                    found.setdefault(operation["tags"][0], []).append(shown)
        return tuple(
            Group(_slug(tag["name"]), tag["description"], tuple(found[tag["name"]]))
            for tag in self._tags
        )

    def _shown(self, path: str, method: str, operation: Schema, also: tuple[str, ...]) -> Shown:
        content: dict[str, Schema] = operation.get("requestBody", {}).get("content", {})
        form = "application/json" not in content and bool(content)
        media: Schema = next(iter(content.values()), Schema())
        right = operation["responses"]["200"]
        schema: Schema = media.get("schema", {})
        name = _parts_of(schema)[0].get("$ref", "")
        first = self._bodies.setdefault(name, operation["operationId"]) if name else ""
        again = first if first != operation["operationId"] else ""
        headers = tuple(right.get("headers", {}))
        known = headers in self._headers
        self._headers.add(headers)
        return Shown(
            id=operation["operationId"],
            method=method.upper(),
            path=path,
            also=also,
            summary=operation["summary"],
            description=operation.get("description", ""),
            permission=operation.get("x-permission", ""),
            parameters=tuple(self._parameter(one) for one in operation.get("parameters", ())),
            body=() if again else tuple(self._rows(schema)),
            body_as=again,
            form_files=_files(content),
            answers=tuple(
                (kind, tuple(self._rows(one["schema"]))) for kind, one in right["content"].items()
            ),
            headers=()
            if known
            else tuple(
                Row(name, "string", one["description"])
                for name, one in right.get("headers", {}).items()
            ),
            failures=tuple(
                Failure(status, one["description"], tuple(one["x-codes"]))
                for status, one in operation["responses"].items()
                if status != "200"
            ),
            example=media.get("example"),
            form=form,
            play=operation.get("x-playground", ""),
        )

    def _parameter(self, one: Schema) -> Row:
        schema = one["schema"]
        return Row(
            one["name"],
            self._kind(schema),
            one["description"],
            bool(one.get("required")),
            " · ".join([one["in"], *_limits(schema)]),
        )

    # --- schemas --------------------------------------------------------------------------------

    def _resolved(self, schema: Schema) -> Schema:
        ref = schema.get("$ref")
        return schema if ref is None else self._schemas[ref.removeprefix(REF)]

    def _rows(self, schema: Schema, depth: int = 0, seen: tuple[str, ...] = ()) -> list[Row]:
        """The fields of an object, of each item of a list, or of what an option refers to."""
        required: set[str] = set()
        rows: list[Row] = []
        for part in _parts_of(schema):
            name = part.get("$ref", "")
            if name and name in seen:
                continue
            whole = self._resolved(part)
            required.update(whole.get("required", ()))
            for field, inner in whole.get("properties", {}).items():
                rows += self._field(field, inner, depth, (*seen, name) if name else seen)
        for row in rows:
            if row.depth == depth and row.name in required:
                rows[rows.index(row)] = msgspec.structs.replace(row, required=True)
        return rows

    def _field(self, name: str, schema: Schema, depth: int, seen: tuple[str, ...]) -> list[Row]:
        row = Row(
            name,
            self._kind(schema),
            schema.get("description", ""),
            more=" · ".join(_limits(schema)),
            depth=depth,
        )
        inner: list[Row] = []
        if depth + 1 < DEPTH_MAX:
            for part in _inside(schema):
                inner += self._rows(part, depth + 1, seen)
        return [row, *inner]

    def _kind(self, schema: Schema) -> str:
        if "$ref" in schema:
            return "object"
        if "anyOf" in schema:
            return " | ".join(dict.fromkeys(self._kind(one) for one in schema["anyOf"]))
        if "enum" in schema:
            return " | ".join(str(value) for value in schema["enum"][:VALUES_MAX])
        kind = schema.get("type", "any")
        if isinstance(kind, list):
            return " | ".join(cast("list[str]", kind))
        if kind == "array":
            return f"array of {self._kind(schema.get('items', {}))}"
        return str(kind)


def _parts_of(schema: Schema) -> list[Schema]:
    return cast("list[Schema]", schema["allOf"]) if "allOf" in schema else [schema]


def _inside(schema: Schema) -> list[Schema]:
    """What has fields of its own inside a field."""
    if "anyOf" in schema:
        return [part for one in cast("list[Schema]", schema["anyOf"]) for part in _inside(one)]
    if schema.get("type") == "array":
        return _inside(schema.get("items", {}))
    return [schema] if "$ref" in schema or "properties" in schema else []


def _limits(schema: Schema) -> list[str]:
    """Bounds and default, as code."""
    shown: list[str] = []
    for name, sign in (("minimum", "≥"), ("maximum", "≤")):
        if name in schema:
            shown.append(f"{sign} {schema[name]}")
    least, most = schema.get("minLength"), schema.get("maxLength")
    if most is not None:
        shown.append(f"length {least or 0}–{most}")
    least, most = schema.get("minItems"), schema.get("maxItems")
    if most is not None:
        shown.append(f"length {least or 0}–{most}")
    default = schema.get("default")
    if default is not None and default != "":
        shown.append(f"= {str(default).lower() if isinstance(default, bool) else default}")
    return shown


def _files(content: dict[str, Schema]) -> tuple[str, ...]:
    schema = content.get("multipart/form-data", {}).get("schema", {})
    parts = _parts_of(schema)
    return tuple(parts[-1].get("properties", ())) if len(parts) > 1 else ()


def _slug(text: str) -> str:
    return text.lower().replace(" ", "-")


@cache
def _groups(api: str) -> tuple[Group, ...]:
    """``api``: reference, management or operator, as the page is called."""
    if api == "reference":
        return Reader(document.public_document()).groups()
    rows = [row for row in ENDPOINTS if (row.policy == OPERATOR) == (api == "operator")]
    return Reader(document.manage_document(rows)).groups()


async def reference(visit: Visit) -> Response:
    """The public API."""
    return await _drawn(visit, "reference", "TOKENMARKET_API_KEY")


async def management(visit: Visit) -> Response:
    """The management API, for organizations."""
    return await _drawn(visit, "management", "TOKENMARKET_MANAGEMENT_KEY")


async def operator(visit: Visit) -> Response:
    """The management API, for operators."""
    return await _drawn(visit, "operator", "TOKENMARKET_MANAGEMENT_KEY")


async def _drawn(visit: Visit, api: str, key: str) -> Response:
    member_of: list[Membership] = visit.frame["memberships"]
    operations = await _operations(visit, api, key, signed_in=bool(member_of))
    if member_of:
        operations = operations.replace(PLAYGROUND, f"/console/{member_of[0].org_id}/playground")
    return await visit.render(
        "docs/reference.html",
        groups=_groups(api),
        api=api,
        base_url=visit.parts.base_url(),
        operations=Markup(operations),  # noqa: S704 (drawn by our own template, which escapes)
    )


async def _operations(visit: Visit, api: str, key: str, *, signed_in: bool) -> str:
    """The long part of the page: a thousand rows, the same for everybody who reads the language
    and has chosen the same language of code."""
    base_url = visit.parts.base_url()
    code_language = visit.request.cookies.get("tm_code", "curl")
    if code_language not in LANGUAGES:
        code_language = LANGUAGES[0]
    kept = (visit.lang, api, base_url, code_language, signed_in)
    if kept not in _drawn_before:

        def code(shown: Shown) -> list[tuple[str, str, None]]:
            made = samples(
                base_url, shown.method, shown.path, example=shown.example, form=shown.form, key=key
            )
            return [(name, text, None) for name, text in made]

        context = {
            "groups": _groups(api),
            "code": code,
            "inline": _inline,
            "play": PLAYGROUND,
            "signed_in": signed_in,
        }
        text = await visit.site.drawing.draw(visit, "docs/operations.html", context)
        _drawn_before[kept] = text
    return _drawn_before[kept]


def _inline(text: str) -> list[tuple[str, bool]]:
    """Pieces of a text, and whether each was written between backticks."""
    return [(piece, bool(number % 2)) for number, piece in enumerate(_CODE.split(text)) if piece]


PAGES = [
    Page("/{lang}/docs/api/reference", reference, PUBLIC),
    Page("/{lang}/docs/api/management", management, PUBLIC),
    Page("/{lang}/docs/api/operator", operator, PUBLIC),
]
