"""OpenAI's speech and its dialects. Events are written from ``reference/media/audio.md`` section
1.1; recorded answers are in ``tests/recorded/test_speech.py``."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.adapters import voices
from tests.unit.adapters.voices import cut, decoder, play, route, sent_json
from tokenmarket.core.errors import ApiError, UpstreamError
from tokenmarket.core.usage import Usage

BYTES = route("openai", instructions=False, voices=["alloy", "nova"])
TOKENS = route("openai", "input_token", "audio_output_token", speech_usage="events")
MPEG = {"content-type": "audio/mpeg", "x-request-id": "up-1"}
SSE = {"content-type": "text/event-stream; charset=utf-8"}
DONE = {"type": "speech.audio.done", "usage": {"input_tokens": 4, "output_tokens": 60}}


def delta(audio: bytes) -> dict[str, Any]:
    return {"type": "speech.audio.delta", "audio": base64.b64encode(audio).decode()}


def events(*documents: object) -> bytes:
    return b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in documents)


# ------------------------------------------------------------------------------------- requests


def test_the_format_is_always_named_and_the_gateway_s_own_members_stay_here() -> None:
    path, body, dropped = sent_json(
        BYTES, voice="alloy", speed=1.5, stream_format="sse", provider="far", models=["other"]
    )
    assert path == "/audio/speech"
    assert body == {
        "model": "theirs",
        "input": voices.TEXT,
        "voice": "alloy",
        "speed": 1.5,
        "response_format": "mp3",
    }
    assert not dropped


@pytest.mark.parametrize("stream_format", [None, "audio", "sse"])
def test_a_model_that_counts_tokens_is_always_asked_for_events(stream_format: str | None) -> None:
    _, body, _ = sent_json(TOKENS, stream_format=stream_format, response_format="pcm")
    assert body["stream_format"] == "sse"
    assert body["response_format"] == "pcm"


def test_instructions_go_where_they_are_taken() -> None:
    _, body, dropped = sent_json(TOKENS, instructions="Whisper.", language="en")
    assert body["instructions"] == "Whisper."
    assert dropped == {"language"}
    _, body, dropped = sent_json(BYTES, voice="nova", instructions="Whisper.")
    assert "instructions" not in body
    assert dropped == {"instructions"}


def test_a_voice_of_one_s_own_is_an_object() -> None:
    _, body, _ = sent_json(TOKENS, voice={"id": "voice_12"})
    assert body["voice"] == {"id": "voice_12"}


def test_an_unknown_voice_is_refused_with_the_list() -> None:
    with pytest.raises(ApiError) as caught:
        voices.request(BYTES, voice="mia")
    assert (caught.value.param, caught.value.reason) == ("voice", "unknown_voice")
    assert caught.value.details == {"legal": ["alloy", "nova"]}


def test_groq_speaks_what_the_model_makes() -> None:
    orpheus = route("groq", upstream_formats=["wav"], voices=["troy"])
    _, body, dropped = sent_json(
        orpheus, voice="troy", response_format="mp3", instructions="Whisper.", user="u"
    )
    assert body["response_format"] == "wav"
    assert dropped == {"instructions"}
    assert voices.adapter(orpheus).speech_formats(orpheus) == ("wav",)
    plain = route("groq")
    assert voices.adapter(plain).speech_formats(plain) == ("wav", "flac", "mp3")


def test_openrouter_is_never_left_to_its_own_format() -> None:
    _, body, _ = sent_json(route("openrouter"))
    assert body["response_format"] == "mp3"


@pytest.mark.parametrize("form", ["wav", "mp3", "flac", "pcm"])
def test_the_sandbox_makes_these(form: str) -> None:
    _, body, _ = sent_json(route("sandbox"), response_format=form)
    assert body["response_format"] == form


# -------------------------------------------------------------------------------------- answers


def test_bare_audio_is_billed_by_the_character() -> None:
    found = decoder(BYTES, MPEG, voice="nova", input="Grüße 🙂")
    assert found.expected == Usage(characters=7)
    assert (found.usage, found.upstream_id) == (None, "up-1")
    assert play(found, b"ID3", b"", b"more") == (b"ID3more", Usage(characters=7), None)


def test_events_become_audio_and_tell_tokens() -> None:
    stream = events(delta(b"one"), {"type": "speech.audio.note"}, delta(b"two"), DONE)
    for at in range(len(stream)):
        found = decoder(TOKENS, SSE)
        assert found.expected is None
        audio, usage, kind = play(found, *cut(stream, at))
        assert (audio, kind) == (b"onetwo", None)
        assert usage == Usage(input_tokens=4, audio_output_tokens=60, characters=9)


@pytest.mark.parametrize(
    ("stream", "kind", "delivered"),
    [
        (events(delta(b"one")), "stream_broken", b"one"),
        (events(DONE), "upstream_error", b""),
        (
            events(delta(b"one"), {"error": {"message": "no", "code": "slow_down"}}),
            "overloaded",
            b"one",
        ),
        (events({"type": "error", "error": {"code": "content_filter"}}), "content_policy", b""),
        (events({"type": "speech.audio.delta", "audio": "%%%"}), "upstream_error", b""),
        (events({"type": "speech.audio.delta", "audio": 7}, DONE), "upstream_error", b""),
        (b"data: {\n\n", "upstream_error", b""),
        (b"data: []\n\n", "upstream_error", b""),
        (b"", "stream_broken", b""),
    ],
)
def test_a_broken_stream_of_events_counts_nothing(
    stream: bytes, kind: str, delivered: bytes
) -> None:
    pieces = [event + b"\n\n" for event in stream.split(b"\n\n") if event]
    audio, usage, ended = play(decoder(TOKENS, SSE), *pieces)
    assert (audio, ended) == (delivered, kind)
    assert usage is None or ended is not None


def test_without_a_report_the_tokens_are_unknown() -> None:
    found = decoder(TOKENS, SSE)
    _, usage, kind = play(found, events(delta(b"one"), {"type": "speech.audio.done"}))
    assert (usage, kind) == (None, None)
    bare = decoder(TOKENS, MPEG)  # a server that does not know stream_format
    assert bare.expected is None
    assert play(bare, b"audio") == (b"audio", None, None)


@pytest.mark.parametrize(
    ("headers", "body", "kind"),
    [
        ({"content-type": "application/json"}, b'{"error":{"code":"slow_down"}}', "overloaded"),
        ({"content-type": "application/json"}, b"no json", "upstream_error"),
        ({"content-type": "text/html"}, b"<html>busy</html>", "upstream_error"),
        (MPEG, b"", "upstream_error"),
        ({}, b"", "upstream_error"),
    ],
)
def test_a_document_or_nothing_is_no_audio(headers: dict[str, str], body: bytes, kind: str) -> None:
    assert play(decoder(BYTES, headers, voice="nova"), body) == (b"", None, kind)


def test_speech_is_never_read_whole() -> None:
    made = voices.request(BYTES, voice="nova")
    with pytest.raises(UpstreamError):
        voices.adapter(BYTES).read(made, BYTES, voices.Head(200, {}), b"{}")


@given(st.binary(max_size=200), st.sampled_from([SSE, MPEG, {"content-type": "application/json"}]))
def test_garbage_is_audio_or_an_upstream_error(body: bytes, headers: dict[str, str]) -> None:
    for at in (BYTES, TOKENS):
        play(decoder(at, headers, voice="nova"), body, body)
