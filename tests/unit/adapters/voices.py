"""Speech requests, routes and answers for adapter tests: as the gateway hands them over."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from tokenmarket.adapters.protocol import (
    Head,
    MediaAdapter,
    Reply,
    SpeechDecoder,
    UpstreamRequest,
)
from tokenmarket.adapters.registry import ADAPTERS
from tokenmarket.core.bodies import SpeechBody
from tokenmarket.core.catalog import Model, Provider, Route
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.media_rules import resolve
from tokenmarket.core.parse_media import Given, parse_given
from tokenmarket.core.pricing import price_row, price_sheet
from tokenmarket.core.requests import Request
from tokenmarket.core.uploads import joined
from tokenmarket.core.usage import Usage

TEXT = "Good day."


def route(
    adapter: str,
    /,
    *units: str,
    upstream_model: str = "theirs",
    base_url: str = "https://far.example/v1",
    **capabilities: object,
) -> Route:
    """A route priced in these units (by the character if none is named)."""
    return Route(
        model=Model("ours", "speech", "Ours", "我们", "us", capabilities=capabilities),
        provider=Provider("far", adapter, base_url),
        upstream_model=upstream_model,
        prices=price_sheet(price_row(unit, "0.01") for unit in units or ("character",)),
    )


def adapter(at: Route) -> MediaAdapter:
    found = ADAPTERS[at.provider.adapter]["speech"]
    assert isinstance(found, MediaAdapter)
    return found


def request(at: Route, **members: Any) -> Request:
    """What a JSON body becomes; the format is one that the adapter makes."""
    base: dict[str, Any] = {"model": "ours", "input": TEXT, "voice": "mia"}
    body = {name: value for name, value in (base | members).items() if value is not ...}
    made = parse_given("speech", Given(json.dumps(body).encode()))
    made.request_id = "req_77"
    made.created_s = 1_790_000_000
    resolve(made, at.model)
    assert isinstance(made.typed, SpeechBody)
    asked = made.typed.response_format or "mp3"
    formats = adapter(at).speech_formats(at)
    made.audio_format = asked if asked in formats else formats[0]
    return made


def sent(at: Route, **members: Any) -> UpstreamRequest:
    return adapter(at).build(request(at, **members), at, now_s=0)


def sent_json(at: Route, **members: Any) -> tuple[str, Any, set[str]]:
    """(path, body, what was dropped)."""
    call = sent(at, **members)
    assert ("content-type", "application/json") in call.headers
    return call.path, json.loads(joined(call.body)), set(call.dropped)


def decoder(at: Route, headers: dict[str, str], **members: Any) -> SpeechDecoder:
    made = request(at, **members)
    assert adapter(at).streams(made, at)
    return adapter(at).speech(made, at, Head(200, headers))


def play(found: SpeechDecoder, *pieces: bytes) -> tuple[bytes, Usage | None, str | None]:
    """(audio, usage, kind of the error that ended it)."""
    audio, kind = b"", None
    try:
        for piece in pieces:
            audio += found.feed(piece)
        audio += found.finish()
    except UpstreamError as error:
        kind = error.kind
    assert found.tail(b"{}") == b""
    return audio, found.usage, kind


def cut(data: bytes, at: int) -> tuple[bytes, bytes]:
    return data[:at], data[at:]


def read(at: Route, document: object, **members: Any) -> Reply:
    """An answer that is a document."""
    body = document if isinstance(document, bytes) else msgspec.json.encode(document)
    made = request(at, **members)
    assert not adapter(at).streams(made, at)
    reply = adapter(at).read(made, at, Head(200, {"content-type": "application/json"}), body)
    assert isinstance(reply, Reply)
    return reply


def refusal(at: Route, status: int, body: object, **headers: str) -> UpstreamError:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return adapter(at).explain(Head(status, headers), data)
