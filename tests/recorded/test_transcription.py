"""Recorded transcriptions through their adapters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.recorded import exchanges
from tests.unit.adapters.sounds import TOKENS, adapter, rendered, request, route
from tokenmarket.adapters.protocol import Head, Reply
from tokenmarket.core.catalog import Route
from tokenmarket.core.usage import Usage

Exchange = dict[str, Any]


def recordings(folder: Path, name: str) -> list[Exchange]:
    """The exchanges of one file; the test is skipped where it is absent."""
    path = folder / f"{name}.jsonl"
    if not path.is_file():
        pytest.skip(f"no recording {name}")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def head(exchange: Exchange) -> Head:
    return Head(200, exchanges.headers(exchange))


def read(at: Route, exchange: Exchange, variant: str = "transcriptions") -> Reply:
    made = request(at, variant)
    found = adapter(at, made.operation).read(
        made, at, head(exchange), exchanges.body_bytes(exchange)
    )
    assert isinstance(found, Reply)
    return found


def theirs(exchange: Exchange) -> dict[str, Any]:
    """The body they sent, decoded."""
    document: dict[str, Any] = json.loads(exchanges.body_bytes(exchange))
    return document


@pytest.mark.parametrize("unit", ["audio_second", "tokens"])
def test_openai(recorded: Path, unit: str) -> None:
    at = route("openai", *(TOKENS if unit == "tokens" else ()))
    found = recordings(recorded, "openai.transcription")
    assert len(found) >= 4
    for exchange in found:
        document = theirs(exchange)
        reply = read(at, exchange)
        assert rendered(reply, "text") == document["text"] + "\n"
        if "segments" in document:
            assert "00:00:00.000 --> 00:00:0" in rendered(reply, "vtt")
            assert reply.transcript is not None
            assert reply.transcript.duration_ms == round(document["duration"] * 1000)
        reported = document["usage"]
        if unit == "tokens" and reported["type"] == "tokens":
            assert reply.usage == Usage(
                audio_input_tokens=reported["input_token_details"]["audio_tokens"],
                output_tokens=reported["output_tokens"],
            )
        elif unit == "audio_second" and reported["type"] == "duration":
            assert reply.usage == Usage(audio_ms=1000 * reported["seconds"])
        elif unit == "audio_second":
            assert reply.usage is not None
            assert reply.usage.audio_ms


def test_openai_s_speakers(recorded: Path) -> None:
    at = route("openai", *TOKENS)
    for exchange in recordings(recorded, "openai.transcription"):
        if "speaker" in str(theirs(exchange)):
            assert '"speaker":"A"' in rendered(read(at, exchange), "diarized_json")
            return
    pytest.fail("no recording with speakers")


def test_openai_translates(recorded: Path) -> None:
    at = route("openai", translations=True)
    for exchange in recordings(recorded, "openai.translation"):
        reply = read(at, exchange, "translations")
        assert rendered(reply, "text") == "Guten Tag!\n"
        assert reply.usage == Usage(audio_ms=2500)


@pytest.mark.parametrize("cut", [1, 64, 100_000])
def test_openai_streams(recorded: Path, cut: int) -> None:
    at = route("openai", *TOKENS)
    for exchange in recordings(recorded, "openai.transcription_stream"):
        decoder = adapter(at).decoder(request(at, stream="true"), at, head(exchange))
        data = exchanges.body_bytes(exchange)
        out = b"".join(decoder.feed(data[i : i + cut]) for i in range(0, len(data), cut))
        out += decoder.finish() + decoder.tail(b"{}")
        events = out.decode().split("\n\n")
        assert json.loads(events[0].removeprefix("data: "))["speaker"] == "A"
        assert json.loads(events[-3].removeprefix("data: "))["usage"] == {}
        assert events[-2:] == ["data: [DONE]", ""]
        assert decoder.usage == Usage(audio_input_tokens=37, output_tokens=145)
