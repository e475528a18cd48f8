"""Transcription requests, routes and sound for adapter tests: as the gateway hands them over."""

from __future__ import annotations

import io
import json
import re
import wave
from typing import Any

import msgspec

from tokenmarket.adapters.protocol import Again, Head, MediaAdapter, Reply, UpstreamRequest
from tokenmarket.adapters.registry import ADAPTERS
from tokenmarket.core.catalog import Model, Provider, Route
from tokenmarket.core.media.transcript_formats import render
from tokenmarket.core.media_inputs import check_inputs
from tokenmarket.core.media_rules import resolve
from tokenmarket.core.parse_media import Given, parse_given
from tokenmarket.core.pricing import price_row, price_sheet
from tokenmarket.core.requests import Request
from tokenmarket.core.uploads import joined, memory_upload

OK = Head(200, {"content-type": "application/json"})
TOKENS = ("audio_input_token", "input_token", "output_token")


def wav(length_ms: int = 2500) -> bytes:
    """Silence at 8 kHz, one channel."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16 * length_ms))
    return file.getvalue()


WAV = wav()


def route(adapter: str, /, *units: str, upstream_model: str = "theirs", **caps: object) -> Route:
    """A route priced in these units (by the second if none is named)."""
    return Route(
        model=Model("ours", "transcription", "Ours", "我们", "us", capabilities=caps),
        provider=Provider("far", adapter, "https://far.example/v1"),
        upstream_model=upstream_model,
        prices=price_sheet(price_row(unit, "0.01") for unit in units or ("audio_second",)),
    )


def request(at: Route, variant: str = "transcriptions", **members: Any) -> Request:
    """What a form with a wav of 2.5 s becomes. ApiError as the caller would get it."""
    upload = memory_upload(WAV, field="file", filename="a.mp3", content_type="audio/mpeg")
    operation = variant.removesuffix("s")
    body = json.dumps({"model": "ours", **members}).encode()
    made = parse_given(operation, Given(body, (upload,), variant, lax=True))
    made.request_id = "req_77"
    made.created_s = 1_790_000_000
    made = check_inputs(made)
    resolve(made, at.model)
    return made


def adapter(at: Route, operation: str = "transcription") -> MediaAdapter:
    found = ADAPTERS[at.provider.adapter][operation]
    assert isinstance(found, MediaAdapter)
    return found


def sent(at: Route, variant: str = "transcriptions", **members: Any) -> UpstreamRequest:
    made = request(at, variant, **members)
    return adapter(at, made.operation).build(made, at, now_s=0)


def form(call: UpstreamRequest) -> list[tuple[str, str]]:
    """The text fields of a multipart call, in their order; a file is (name, content type)."""
    header = dict(call.headers)["content-type"]
    boundary = header.removeprefix("multipart/form-data; boundary=").encode()
    fields: list[tuple[str, str]] = []
    for part in joined(call.body).split(b"--" + boundary)[1:-1]:
        head, _, value = part.strip(b"\r\n").partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]*)"', head)
        assert name is not None
        kind = re.search(rb"content-type: (\S+)", head)
        said = value.decode() if kind is None else kind.group(1).decode()
        fields.append((name.group(1).decode(), said))
    return fields


def read(
    at: Route, document: object, variant: str = "transcriptions", **members: Any
) -> Reply | Again:
    body = document if isinstance(document, bytes) else msgspec.json.encode(document)
    made = request(at, variant, **members)
    return adapter(at, made.operation).read(made, at, OK, body)


def reply(at: Route, document: object, variant: str = "transcriptions", **members: Any) -> Reply:
    found = read(at, document, variant, **members)
    assert isinstance(found, Reply)
    return found


def rendered(found: Reply, form: str, *granularities: str) -> str:
    """The answer's transcript in a format."""
    assert found.transcript is not None
    return render(found.transcript, form, granularities=granularities or ("segment",)).decode()
