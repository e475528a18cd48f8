"""Image requests, routes and pictures for adapter tests: as the gateway hands them over."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from typing import Any

import msgspec

from tokenmarket.adapters.protocol import Head, MediaAdapter, Reply, UpstreamRequest
from tokenmarket.adapters.registry import ADAPTERS
from tokenmarket.core.catalog import Model, Provider, Route
from tokenmarket.core.media_inputs import check_inputs
from tokenmarket.core.media_rules import resolve
from tokenmarket.core.parse_media import Given, parse_given
from tokenmarket.core.pricing import price_row, price_sheet
from tokenmarket.core.requests import Request
from tokenmarket.core.uploads import joined, memory_upload

OK = Head(200, {})


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


# One white pixel, in grey.
PNG = (
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    + _chunk(b"IDAT", zlib.compress(b"\x00\xff"))
    + _chunk(b"IEND", b"")
)
PNG_B64 = base64.b64encode(PNG).decode()
DATA_URL = f"data:image/png;base64,{PNG_B64}"
EDITS = {"edits": True, "masks": True}


def route(adapter: str, /, *units: str, **capabilities: object) -> Route:
    """A route priced in these units (by the picture if none is named)."""
    return Route(
        model=Model("ours", "images", "Ours", "我们", "us", capabilities=capabilities),
        provider=Provider("far", adapter, "https://far.example/v1"),
        upstream_model="theirs",
        prices=price_sheet(price_row(unit, "0.01") for unit in units or ("image",)),
    )


def request(
    at: Route,
    variant: str = "generations",
    *,
    files: tuple[tuple[str, bytes], ...] = (),
    **members: Any,
) -> Request:
    """What a JSON body (with files: a form) becomes. ApiError as the caller would get it."""
    base: dict[str, Any] = {"model": "ours"}
    if variant != "variations":
        base["prompt"] = "a lake"
    uploads = tuple(
        memory_upload(data, field=name, filename=f"{name}.png", content_type="")
        for name, data in files
    )
    body = json.dumps(base | members).encode()
    made = parse_given("images", Given(body, uploads, variant, lax=bool(files)))
    made.request_id = "req_77"
    made.created_s = 1_790_000_000
    made = check_inputs(made)
    resolve(made, at.model)
    return made


def adapter(name: str) -> MediaAdapter:
    found = ADAPTERS[name]["images"]
    assert isinstance(found, MediaAdapter)
    return found


def sent(at: Route, made: Request) -> UpstreamRequest:
    return adapter(at.provider.adapter).build(made, at, now_s=0)


def sent_json(at: Route, variant: str = "generations", **members: Any) -> tuple[str, Any, set[str]]:
    """(path, body, what was dropped)."""
    call = sent(at, request(at, variant, **members))
    assert ("content-type", "application/json") in call.headers
    return call.path, json.loads(joined(call.body)), set(call.dropped)


def read(at: Route, document: object, variant: str = "generations", **members: Any) -> Reply:
    body = document if isinstance(document, bytes) else msgspec.json.encode(document)
    reply = adapter(at.provider.adapter).read(request(at, variant, **members), at, OK, body)
    assert isinstance(reply, Reply)
    return reply
