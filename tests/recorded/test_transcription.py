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


def one(folder: Path, name: str, adapter_name: str) -> list[tuple[dict[str, Any], Reply]]:
    """(their document, our reply) of every exchange of a file."""
    at = route(adapter_name)
    return [(theirs(exchange), read(at, exchange)) for exchange in recordings(folder, name)]


def test_deepgram(recorded: Path) -> None:
    found = one(recorded, "deepgram.transcription", "deepgram")
    assert len(found) >= 2
    for document, reply in found:
        best = document["results"]["channels"][0]["alternatives"][0]
        assert rendered(reply, "text") == best["transcript"] + "\n"
        assert reply.usage == Usage(audio_ms=round(document["metadata"]["duration"] * 1000))
        assert reply.upstream_id == document["metadata"]["request_id"]
        words = json.loads(rendered(reply, "verbose_json", "word"))["words"]
        assert len(words) == len(best["words"])
        assert len(rendered(reply, "srt").split("\n\n")) > 1
        if "speaker" in best["words"][0]:
            assert '"speaker":"A"' in rendered(reply, "diarized_json")


def test_elevenlabs(recorded: Path) -> None:
    for document, reply in one(recorded, "elevenlabs.transcription", "elevenlabs"):
        assert rendered(reply, "text") == document["text"] + "\n"
        assert reply.transcript is not None
        assert not any(word.text.isspace() for word in reply.transcript.words)
        assert "00:00:00,199 --> 00:00:02,479\nHello from the" in rendered(reply, "srt")
        assert reply.usage == Usage(audio_ms=2500)  # they told no length


def test_mistral(recorded: Path) -> None:
    found = one(recorded, "mistral.transcription", "mistral")
    assert len(found) >= 2
    for document, reply in found:
        assert rendered(reply, "text") == document["text"] + "\n"
        assert reply.usage == Usage(audio_ms=1000 * document["usage"]["prompt_audio_seconds"])
        if document["segments"]:
            assert '"speaker":"A"' in rendered(reply, "diarized_json")


def test_xai(recorded: Path) -> None:
    for document, reply in one(recorded, "xai.transcription", "xai"):
        assert rendered(reply, "text") == document["text"] + "\n"
        assert reply.usage == Usage(audio_ms=round(document["duration"] * 1000))
        assert '"speaker":"A"' in rendered(reply, "diarized_json")
        assert "00:00:00.121 --> 00:00:03.539" in rendered(reply, "vtt")


@pytest.mark.parametrize("name", ["cohere", "openrouter", "venice"])
def test_text_alone(recorded: Path, name: str) -> None:
    adapter_name = "vllm" if name == "venice" else name
    for document, reply in one(recorded, f"{name}.transcription", adapter_name):
        assert rendered(reply, "text") == document["text"].strip() + "\n"
        assert reply.usage is not None
        assert reply.usage.audio_ms


def test_openrouter_counts_tokens(recorded: Path) -> None:
    at = route("openrouter", *TOKENS)
    for exchange in recordings(recorded, "openrouter.transcription"):
        assert read(at, exchange).usage == Usage(input_tokens=37, output_tokens=12)


def test_gemini_s_interactions(recorded: Path) -> None:
    """None of them is a transcription: what is read is the shape of text and usage."""
    at = route("gemini", *TOKENS)
    read_some = 0
    for exchange in recordings(recorded, "gemini.interactions"):
        document = theirs(exchange)
        if document.get("status") != "completed":
            continue
        reply = read(at, exchange)
        assert reply.usage is not None
        assert reply.usage.prompt_tokens == document["usage"]["total_input_tokens"]
        assert rendered(reply, "text").strip()
        read_some += 1
    assert read_some >= 3
