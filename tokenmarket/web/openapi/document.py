"""The OpenAPI 3.1 documents: of the public API, and of the management API's table of endpoints.

Everything in English; the reference page looks each text up in the visitor's language.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import msgspec

from tokenmarket import __version__
from tokenmarket.core.errors import CODES
from tokenmarket.web.manage.endpoint import ANY, OPERATOR, PREFIX, Endpoint
from tokenmarket.web.openapi.answers import Error
from tokenmarket.web.openapi.operation import Operation, Query
from tokenmarket.web.openapi.operations import OPERATIONS
from tokenmarket.web.openapi.schema import REF, Schema, Schemas
from tokenmarket.web.openapi.texts import describe, raw

# Codes that every authenticated operation can answer, and those of operations that cost money.
EVERYWHERE = ("REQUEST_001", "AUTH_001", "QUOTA_001", "PLATFORM_002")
PAID = (
    "REQUEST_002",
    "REQUEST_006",
    "REQUEST_007",
    "AUTH_002",
    "BILLING_001",
    "BILLING_002",
    "BILLING_003",
    "IDEMPOTENCY_001",
    "MODEL_001",
    "MODEL_002",
    "PROVIDER_001",
    "PROVIDER_002",
    "PROVIDER_TIMEOUT",
    "PLATFORM_001",
)
MANAGED = ("REQUEST_006", "REQUEST_007", "REQUEST_008", "AUTH_002", "IDEMPOTENCY_001")
_STATUS_TEXTS = {
    400: "The request is wrong.",
    401: "The key is missing or not valid.",
    402: "The balance does not suffice.",
    403: "The key may not do this, or a spend cap is reached.",
    404: "It does not exist, or belongs to somebody else.",
    409: "Not in this state, or the idempotency key was used before.",
    410: "It existed and is gone.",
    413: "The body is too large.",
    415: "The body has the wrong type.",
    429: "Too many requests; retry-after says when.",
    500: "Our fault; nothing was charged.",
    502: "The provider failed.",
    503: "Nobody can serve this at the moment.",
    504: "The provider did not finish in time.",
}
HEADERS = {
    "x-request-id": "The id of the request and its receipt.",
    "openai-processing-ms": "How long the answer took.",
    "x-ratelimit-remaining-requests": "Requests left in this minute.",
}
PAID_HEADERS = {
    **HEADERS,
    "x-tokenmarket-cost": "What was charged, in USD; not on streams.",
    "x-tokenmarket-balance": "What is left, in USD.",
    "x-tokenmarket-provider": "Who answered.",
    "x-tokenmarket-attempts": "How many providers were tried.",
    "x-tokenmarket-dropped-params": "Parameters that the provider could not express.",
}
TASK_HEADERS = {
    name: text
    for name, text in PAID_HEADERS.items()
    if name not in ("x-tokenmarket-cost", "x-tokenmarket-balance")
}
IDEMPOTENCY = (
    "Any text of at most 255 characters. The same key with the same body repeats the first answer "
    "for 24 hours."
)
TAGS = {
    "chat": "Chat and completions",
    "embeddings": "Embeddings",
    "rerank": "Rerank",
    "moderation": "Moderation",
    "images": "Images",
    "audio": "Audio",
    "videos": "Videos",
    "models": "Models",
    "account": "Account and receipts",
    "description": "This description as a file",
}
TITLE = "TokenMarket API"
ABOUT = "One API for every model: chat, embeddings, pictures, sound, rerank, moderation and video."
MANAGE_TITLE = "TokenMarket management API"
MANAGE_ABOUT = "Everything that the console does, for programs. Keys begin with tm_adm_."
ID_TEXT = "The id of the object."
MODEL_TEXT = "The id of the model; it may hold a slash."
_PATH_TEXTS = {
    "model": MODEL_TEXT,
    "folder": "Part of the file's name.",
    "name": "Part of the file's name.",
}
LIMIT_TEXT = "How many items, 50 unless given."
CURSOR_TEXT = "The next_cursor of the page before."
_SOUND = ("audio/mpeg", "audio/wav", "audio/flac", "audio/aac", "audio/opus", "audio/pcm")


def public_document() -> Schema:
    """The description of ``/api/v1``."""
    schemas = Schemas(describe, raw)
    paths: Schema = {}
    for row in OPERATIONS:
        for number, path in enumerate((row.path, *row.also)):
            shown = _operation(row, schemas)
            if number:
                shown["operationId"] += f"_{number}"
                shown["x-same-as"] = row.path
            paths.setdefault(path, {})[row.method.lower()] = shown
    document = _document(TITLE, ABOUT, paths, schemas, "tm_live_…")
    document["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
    return document


def manage_document(endpoints: Sequence[Endpoint]) -> Schema:
    """The description of ``/api/manage/v1``."""
    schemas = Schemas(describe, raw)
    paths: Schema = {}
    for row in endpoints:
        shown = _endpoint(row, schemas)
        paths.setdefault(PREFIX + row.path, {})[row.method.lower()] = shown
    document = _document(MANAGE_TITLE, MANAGE_ABOUT, paths, schemas, "tm_adm_…")
    tags = dict.fromkeys(row.tag for row in endpoints)
    document["tags"] = [{"name": tag, "description": tag} for tag in tags]
    return document


def encoded(document: Schema) -> bytes:
    return msgspec.json.encode(document)


def texts(document: object) -> set[str]:
    """Every text of a document that people read, to be looked up in their language."""
    if isinstance(document, list):
        return set[str]().union(*(texts(one) for one in cast("list[object]", document)))
    if not isinstance(document, dict):
        return set()
    found: set[str] = set()
    for name, value in cast("dict[str, object]", document).items():
        if isinstance(value, str):
            if name in ("summary", "description", "title") and value != "OK":
                found.add(value)
        elif name not in ("example", "enum", "x-codes"):
            found |= texts(value)
    return found


def _document(title: str, about: str, paths: Schema, schemas: Schemas, key: str) -> Schema:
    schemas.of(Error)
    components = schemas.components
    components["ErrorObject"]["properties"]["code"]["enum"] = list(CODES)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": __version__, "description": about},
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.items())),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "bearerFormat": key}},
        },
    }


# -------------------------------------------------------------------------------------- public API


def _operation(row: Operation, schemas: Schemas) -> Schema:
    shown: Schema = {"operationId": row.id, "tags": [row.tag], "summary": row.summary}
    if row.description:
        shown["description"] = row.description
    parameters = [_path_parameter(name) for name in _names_in(row.path)]
    parameters += [_query_parameter(query) for query in row.query]
    if row.costs:
        parameters.append(_header_parameter("Idempotency-Key", IDEMPOTENCY))
    if parameters:
        shown["parameters"] = parameters
    if row.body is not None:
        shown["requestBody"] = _request_body(row, schemas)
    codes = (*row.codes, *(() if row.public else EVERYWHERE), *(PAID if row.costs else ()))
    if _names_in(row.path) and not row.public:
        codes = (*codes, "REQUEST_004", *(("MODEL_001",) if row.tag == "models" else ()))
    headers = HEADERS
    if row.costs:  # a task's cost is known at its end, and told in the task
        headers = TASK_HEADERS if row.tag == "videos" else PAID_HEADERS
    shown["responses"] = {"200": _success(row, schemas, headers), **_errors(codes)}
    if row.public:
        shown["security"] = []
    if row.play:
        shown["x-playground"] = row.play
    return shown


def _request_body(row: Operation, schemas: Schemas) -> Schema:
    assert row.body is not None  # noqa: S101 (for the type checker; the caller has looked)
    schema = schemas.of(row.body)
    if row.required:
        schema = {"allOf": [schema, {"required": list(row.required)}]}
    media: Schema = {"schema": schema}
    if row.example is not None:
        media["example"] = row.example
    if row.form == "no":
        return {"required": True, "content": {"application/json": media}}
    files = {name: {"type": "string", "format": "binary"} for name in row.files}
    extra: Schema = {"type": "object", "properties": files}
    if row.files_required:
        extra["required"] = list(row.files[: row.files_required])
    form: Schema = {"schema": {"allOf": [schema, extra]} if files else schema}
    if row.form == "only":
        if row.example is not None:
            form["example"] = row.example
        return {"required": True, "content": {"multipart/form-data": form}}
    return {"required": True, "content": {"application/json": media, "multipart/form-data": form}}


def _success(row: Operation, schemas: Schemas, headers: dict[str, str]) -> Schema:
    content: Schema = {}
    if row.audio:
        content.update({kind: {"schema": {"type": "string"}} for kind in _SOUND})
    if row.binary:
        content[row.binary] = {"schema": {"type": "string"}}
    if row.answer is not None:
        content["application/json"] = {"schema": schemas.of(row.answer)}
    if row.stream is not None:
        content["text/event-stream"] = {"schema": schemas.of(row.stream)}
    return {"description": "OK", "headers": _headers(headers), "content": content}


def _headers(texts: dict[str, str]) -> Schema:
    return {
        name: {"description": text, "schema": {"type": "string"}} for name, text in texts.items()
    }


def _errors(codes: Iterable[str]) -> Schema:
    by_status: dict[int, list[str]] = {}
    for code in dict.fromkeys(codes):
        by_status.setdefault(CODES[code].status, []).append(code)
    return {
        str(status): {
            "description": _STATUS_TEXTS[status],
            "x-codes": found,
            "content": {"application/json": {"schema": {"$ref": f"{REF}Error"}}},
        }
        for status, found in sorted(by_status.items())
    }


def _names_in(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


def _path_parameter(name: str) -> Schema:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": _PATH_TEXTS.get(name, ID_TEXT),
        "schema": {"type": "string"},
    }


def _query_parameter(query: Query) -> Schema:
    schema: Schema = {"type": "string"}
    if query.choices:
        schema = {"type": "string", "enum": list(query.choices)}
    if query.whole is not None:
        schema = {"type": "integer", "minimum": query.whole[0], "maximum": query.whole[1]}
    return {"name": query.name, "in": "query", "description": query.text, "schema": schema}


def _header_parameter(name: str, text: str) -> Schema:
    return {
        "name": name,
        "in": "header",
        "description": text,
        "schema": {"type": "string", "maxLength": 255},
    }


# ---------------------------------------------------------------------------------- management API


def _endpoint(row: Endpoint, schemas: Schemas) -> Schema:
    words = [part.strip("{}").replace("-", "_") for part in row.path.split("/") if part]
    shown: dict[str, Any] = {
        "operationId": "_".join([row.method.lower(), *words]),
        "tags": [row.tag],
        "summary": row.summary,
        "x-permission": row.policy,
    }
    if row.description:
        shown["description"] = row.description
    parameters = [_path_parameter(name) for name in row.parameters]
    parameters += [_query_parameter(Query(name, text)) for name, text in row.query]
    if row.is_list:
        parameters.append(_query_parameter(Query("limit", LIMIT_TEXT, whole=(1, 200))))
        parameters.append(_query_parameter(Query("cursor", CURSOR_TEXT)))
    if row.method != "GET":
        parameters.append(_header_parameter("Idempotency-Key", IDEMPOTENCY))
    if parameters:
        shown["parameters"] = parameters
    if row.body is not None:
        content = {"application/json": {"schema": schemas.of(row.body)}}
        shown["requestBody"] = {"required": True, "content": content}
    codes = [*EVERYWHERE, *MANAGED] if row.method != "GET" else [*EVERYWHERE, "AUTH_002"]
    if row.policy == ANY:
        codes = [code for code in codes if code != "AUTH_002"]
    if row.parameters:
        codes.append("REQUEST_004")
    shown["responses"] = {
        "200": {
            "description": "OK",
            "headers": _headers(HEADERS),
            "content": {row.file: {"schema": {"type": "string"}}}
            if row.file
            else {"application/json": {"schema": schemas.of(row.answer)}},
        },
        **_errors(codes),
    }
    if row.policy == OPERATOR:
        shown["x-operator"] = True
    return shown
