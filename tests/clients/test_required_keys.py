"""Answers have every key that OpenAI's public schemas require (openai-openapi, read 2026-08-21).

The schemas are not downloaded: what they require is written down here.
"""

import json
from typing import Any

import pytest
from openai import OpenAI

from tests.support.server import Server

USAGE = {"input_tokens", "output_tokens", "total_tokens"}
IMAGES_USAGE = {*USAGE, "input_tokens_details"}
PICTURE_EVENT = {"type", "b64_json", "created_at", "size", "quality", "background", "output_format"}
SEGMENT = {
    *("id", "seek", "start", "end", "text", "tokens", "temperature"),
    *("avg_logprob", "compression_ratio", "no_speech_prob"),
}
CATEGORIES = {
    *("hate", "hate/threatening", "harassment", "harassment/threatening"),
    *("illicit", "illicit/violent", "self-harm", "self-harm/intent", "self-harm/instructions"),
    *("sexual", "sexual/minors", "violence", "violence/graphic"),
}


def has(document: Any, keys: set[str]) -> None:
    assert isinstance(document, dict)
    assert keys <= document.keys(), keys - document.keys()


def events(data: bytes) -> list[dict[str, Any]]:
    lines = [line[6:] for line in data.decode().split("\n") if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def spoken(server: Server) -> bytes:
    with OpenAI(base_url=server.base_url, api_key=server.key, max_retries=0) as client:
        return client.audio.speech.create(
            model="sandbox-speech", voice="alloy", input="Hello there", response_format="wav"
        ).content


def test_images(client: OpenAI) -> None:
    raw = client.images.with_raw_response.generate(
        model="sandbox-image", prompt="A cat", size="256x256"
    )
    document = json.loads(raw.content)
    has(document, {"created", "data", "usage"})
    has(document["usage"], IMAGES_USAGE)
    has(document["usage"]["input_tokens_details"], {"text_tokens", "image_tokens"})


def test_picture_events(client: OpenAI) -> None:
    raw = client.images.with_raw_response.generate(
        model="sandbox-image", prompt="A cat", size="256x256", stream=True, partial_images=1
    )
    partial, completed = events(raw.http_response.read())
    has(partial, {*PICTURE_EVENT, "partial_image_index"})
    has(completed, {*PICTURE_EVENT, "usage"})
    has(completed["usage"], IMAGES_USAGE)


def test_speech_events(client: OpenAI) -> None:
    raw = client.audio.speech.with_raw_response.create(
        model="sandbox-speech", voice="alloy", input="Hi", stream_format="sse"
    )
    *deltas, done = events(raw.content)
    has(deltas[0], {"type", "audio"})
    has(done, {"type", "usage"})
    has(done["usage"], USAGE)
    assert all(isinstance(done["usage"][name], int) for name in USAGE)


@pytest.mark.parametrize(
    ("form", "keys"),
    [
        ("json", {"text", "usage"}),
        ("verbose_json", {"language", "duration", "text", "segments"}),
        ("diarized_json", {"task", "duration", "text", "segments"}),
    ],
)
def test_transcripts(client: OpenAI, spoken: bytes, form: Any, keys: set[str]) -> None:
    raw = client.audio.transcriptions.with_raw_response.create(
        model="sandbox-transcribe", file=("a.wav", spoken), response_format=form
    )
    document = json.loads(raw.content)
    has(document, keys)
    if form == "verbose_json":
        has(document["segments"][0], SEGMENT)
    if form == "diarized_json":
        has(document["segments"][0], {"type", "id", "start", "end", "text", "speaker"})


def test_transcript_events(client: OpenAI, spoken: bytes) -> None:
    raw = client.audio.transcriptions.with_raw_response.create(
        model="sandbox-transcribe", file=("a.wav", spoken), stream=True
    )
    *deltas, done = events(raw.http_response.read())
    has(deltas[0], {"type", "delta"})
    has(done, {"type", "text", "usage"})


def test_moderations(client: OpenAI) -> None:
    raw = client.moderations.with_raw_response.create(model="sandbox-moderation", input="Hello")
    document = json.loads(raw.content)
    has(document, {"id", "model", "results"})
    result = document["results"][0]
    has(result, {"flagged", "categories", "category_scores", "category_applied_input_types"})
    for name in ("categories", "category_scores", "category_applied_input_types"):
        has(result[name], CATEGORIES)
