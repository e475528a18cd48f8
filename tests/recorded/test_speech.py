"""Recorded speech through its adapters: what the recording asked is asked again, and its answer
becomes audio with a usage."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.recorded import exchanges
from tests.unit.adapters.voices import decoder, play, route, sent_json
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
