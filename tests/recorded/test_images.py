"""Recorded answers of image endpoints through their adapters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.recorded import exchanges
from tests.unit.adapters import pictures
from tests.unit.adapters.pictures import route
from tokenmarket.adapters.kit import google_errors
from tokenmarket.adapters.protocol import Head, Reply
from tokenmarket.catalog import load_shipped
from tokenmarket.core.catalog_toml import compile
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.pricing import charge
from tokenmarket.core.usage import Usage


def recordings(folder: Path, name: str) -> list[dict[str, Any]]:
    """The exchanges of one file; the test is skipped where it is absent."""
    path = folder / f"{name}.jsonl"
    if not path.is_file():
        pytest.skip(f"no recording {name}")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read(adapter: str, exchange: dict[str, Any], *units: str) -> Reply:
    at = route(adapter, *units)
    reply = pictures.adapter(adapter).read(
        pictures.request(at), at, Head(200, exchanges.headers(exchange)), body_of(exchange)
    )
    assert isinstance(reply, Reply)
    return reply


def body_of(exchange: dict[str, Any]) -> bytes:
    return exchanges.body_bytes(exchange)


@pytest.mark.parametrize(("name", "least"), [("openai.images", 5), ("openai.images_edit", 2)])
def test_openai(recorded: Path, name: str, least: int) -> None:
    found = recordings(recorded, name)
    assert len(found) >= least
    for exchange in found:
        theirs = exchange["response"]["body"]
        reply = read("openai", exchange)
        assert len(reply.produced) == len(theirs["data"])
        for made, item in zip(reply.produced, theirs["data"], strict=True):
            assert (made.b64, made.url) == (item.get("b64_json"), item.get("url"))
            assert made.facts.get("revised_prompt") == item.get("revised_prompt")
        assert reply.members == {"created": theirs["created"]}
        assert reply.usage == Usage(images=len(reply.produced))  # none of these reported tokens
        assert read("openai", exchange, "image_output_token").usage is None


def test_openai_s_refusals_of_images(recorded: Path) -> None:
    refusals = [
        exchange
        for exchange in recordings(recorded, "openai.error")
        if exchange["api"] == "openai.images"
    ]
    assert len(refusals) >= 3
    for exchange in refusals:
        head = Head(exchange["response"]["status"], exchanges.headers(exchange))
        error = pictures.adapter("openai").explain(head, body_of(exchange))
        assert error.kind == "bad_request"
        assert error.code == exchange["response"]["body"]["error"]["code"]
        assert error.param == exchange["response"]["body"]["error"]["param"]


def test_gemini_with_words_only(recorded: Path) -> None:
    for exchange in recordings(recorded, "gemini.images"):
        with pytest.raises(UpstreamError) as caught:
            read("gemini", exchange, "image_output_token")
        assert caught.value.kind == "upstream_error"
        assert caught.value.code == "no_image_returned"


@pytest.mark.parametrize("name", ["gemini.error", "vertex.error"])
def test_google_s_refusals(recorded: Path, name: str) -> None:
    kinds = {400: {"bad_request", "auth"}, 401: {"auth"}, 403: {"forbidden"}, 404: {"not_found"}}
    seen: set[str] = set()
    for exchange in recordings(recorded, name):
        status = exchange["response"]["status"]
        error = google_errors.explain(Head(status, exchanges.headers(exchange)), body_of(exchange))
        assert error.kind in kinds.get(status, {"rate_limited", "quota_exhausted"}), exchange["id"]
        assert len(error.message) > 8
        if "API key not valid" in str(exchange["response"]["body"]):
            assert error.kind == "auth"
        seen.add(error.kind)
    assert {"bad_request", "auth", "forbidden", "not_found"} <= seen


@pytest.mark.parametrize("name", ["xai.images", "xai.images_edit"])
def test_xai(recorded: Path, name: str) -> None:
    for exchange in recordings(recorded, name):
        (item,) = exchange["response"]["body"]["data"]
        reply = read("xai", exchange)
        (made,) = reply.produced
        assert (made.url, made.content_type) == (item["url"], item["mime_type"])
        assert reply.usage == Usage(images=1)
        assert read("xai", exchange, "image_output_token").usage is None


def test_xai_s_edit_is_written_as_recorded(recorded: Path) -> None:
    (exchange,) = recordings(recorded, "xai.images_edit")
    theirs = exchange["request"]["body"]
    at = route("xai", edits=True)
    references = [{"image_url": item["url"]} for item in theirs["images"]]
    path, body, _ = pictures.sent_json(at, "edits", images=references, prompt=theirs["prompt"])
    assert exchange["request"]["url"].endswith(path)
    assert body["images"] == theirs["images"]


def test_openrouter(recorded: Path) -> None:
    (exchange,) = recordings(recorded, "openrouter.images")
    theirs = exchange["response"]["body"]
    reply = read("openrouter", exchange, "input_token", "image_output_token")
    (made,) = reply.produced
    assert (made.b64, made.content_type) == (theirs["data"][0]["b64_json"], "image/jpeg")
    assert reply.usage == Usage(input_tokens=1125, image_output_tokens=1120, images=1)
    (at,) = [
        one
        for one in compile(load_shipped(), 1).routes["gemini-3.1-flash-lite-image"]
        if one.provider.name == "openrouter"
    ]
    assert charge(at.prices, reply.usage) == round(theirs["usage"]["cost"] * 10**9)
    request = exchange["request"]["body"]
    references = [{"image_url": item["image_url"]["url"]} for item in request["input_references"]]
    path, body, _ = pictures.sent_json(
        route("openrouter", edits=True), "edits", images=references, prompt=request["prompt"]
    )
    assert exchange["request"]["url"].endswith("/api/v1" + path)
    assert body["input_references"] == request["input_references"]
