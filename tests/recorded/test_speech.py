"""Recorded speech through its adapters: what the recording asked is asked again, and its answer
becomes audio with a usage."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.recorded import exchanges
from tests.unit.adapters import voices
from tests.unit.adapters.voices import decoder, play, route, sent_json
from tokenmarket.core.media.audio import duration_ms
from tokenmarket.core.media.reader import BytesReader
from tokenmarket.core.media.sniff import sniff
from tokenmarket.core.usage import Usage


def recordings(folder: Path, name: str) -> list[dict[str, Any]]:
    """The exchanges of one file; the test is skipped where it is absent."""
    path = folder / f"{name}.jsonl"
    if not path.is_file():
        pytest.skip(f"no recording {name}")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def audio_of(exchange: dict[str, Any]) -> bytes:
    return base64.b64decode(exchange["response"]["body_b64"])


def cuts(data: bytes) -> list[bytes]:
    return [data[at : at + 4096] for at in range(0, len(data), 4096)]


@pytest.mark.parametrize("provider", ["openai", "openrouter"])
def test_bare_audio(recorded: Path, provider: str) -> None:
    for exchange in recordings(recorded, f"{provider}.speech"):
        theirs = exchange["request"].get("body") or {"input": "Hello.", "voice": "alloy"}
        at = route(provider, upstream_model=theirs.get("model", "tts-1"))
        asked = {"input": theirs["input"], "voice": theirs["voice"]}
        _, body, dropped = sent_json(at, **asked)
        assert body == {"response_format": "mp3", "model": at.upstream_model, **theirs}
        assert not dropped
        found = decoder(at, exchanges.headers(exchange), **asked)
        audio, usage, kind = play(found, *cuts(audio_of(exchange)))
        assert (audio, kind) == (audio_of(exchange), None)
        assert usage == Usage(characters=len(theirs["input"]))
        assert sniff(audio[:4096]) == "audio/mpeg"


def test_deepgram_counts_the_characters(recorded: Path) -> None:
    for exchange in recordings(recorded, "deepgram.speech"):
        at = route("deepgram", upstream_model="aura-2")
        asked = {"input": exchange["request"]["body"]["text"], "voice": "zeus-en"}
        path, body, _ = sent_json(at, response_format="wav", **asked)
        theirs = exchange["request"]["url"].split("?")[1].split("&")
        assert set(theirs) < set(path.split("?")[1].split("&"))  # and the sample rate
        assert body == exchange["request"]["body"]
        found = decoder(at, exchanges.headers(exchange), response_format="wav", **asked)
        audio, usage, kind = play(found, *cuts(audio_of(exchange)))
        assert (audio, kind) == (audio_of(exchange), None)
        assert usage == Usage(characters=24)
        assert sniff(audio[:4096]) == "audio/wav"


def test_elevenlabs(recorded: Path) -> None:
    for exchange in recordings(recorded, "elevenlabs.speech"):
        at = route("elevenlabs")
        path, _, _ = sent_json(at, voice="onwK4e9ZLuTAKqWW03F9")
        assert exchange["request"]["url"].endswith(path.split("/stream?")[0])
        found = decoder(at, exchanges.headers(exchange))
        audio, usage, kind = play(found, *cuts(audio_of(exchange)))
        assert (audio, usage, kind) == (audio_of(exchange), Usage(characters=9), None)
        assert sniff(audio[:4096]) == "audio/mpeg"


def test_xai(recorded: Path) -> None:
    for exchange in recordings(recorded, "xai.speech"):
        at = route("xai")
        theirs = exchange["request"]["body"]
        path, body, _ = sent_json(at, input=theirs["text"], voice="eve")
        assert exchange["request"]["url"].endswith(path)
        assert theirs.items() <= body.items()
        found = decoder(at, exchanges.headers(exchange), input=theirs["text"])
        audio, usage, kind = play(found, *cuts(audio_of(exchange)))
        assert (audio, kind) == (audio_of(exchange), None)
        assert usage == Usage(characters=len(theirs["text"]))


def test_mistral(recorded: Path) -> None:
    for exchange in recordings(recorded, "mistral.speech"):
        theirs = exchange["request"]["body"]
        at = route("mistral", upstream_model=theirs["model"])
        asked = {"input": theirs["input"], "voice": theirs["voice"]}
        path, body, dropped = sent_json(at, **asked)
        assert exchange["request"]["url"].endswith(path)
        assert body == {**theirs, "response_format": "mp3"}
        assert not dropped
        reply = voices.read(at, exchange["response"]["body"], **asked)
        assert reply.usage == Usage(characters=len(theirs["input"]))
        audio = base64.b64decode(reply.produced[0].b64 or "")
        assert sniff(audio[:4096]) == "audio/mpeg"


def test_gemini(recorded: Path) -> None:
    for exchange in recordings(recorded, "gemini.speech"):
        theirs = exchange["request"]["body"]
        at = route("gemini", "input_token", "audio_output_token", upstream_model=theirs["model"])
        asked = {"input": theirs["contents"][0]["parts"][0]["text"], "voice": "Kore"}
        path, body, _ = sent_json(at, **asked)
        assert exchange["request"]["url"].endswith(path)
        assert body == {name: value for name, value in theirs.items() if name != "model"}
        reply = voices.read(at, exchange["response"]["body"], response_format="wav", **asked)
        told = exchange["response"]["body"]["usageMetadata"]
        assert reply.usage == Usage(
            input_tokens=told["promptTokenCount"],
            audio_output_tokens=told["candidatesTokenCount"],
            characters=len(asked["input"]),
        )
        audio = reply.produced[0].data or b""
        length_ms = duration_ms(BytesReader(audio))
        assert length_ms is not None
        # 25 tokens are a second (audio.md section 2)
        assert abs(length_ms - 40 * told["candidatesTokenCount"]) < 1000
