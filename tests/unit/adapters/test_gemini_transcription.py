"""Gemini's transcription: the Interactions API, written from the types of google-genai 3.4.0."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.adapters.sounds import (
    TOKENS,
    WAV,
    adapter,
    read,
    rendered,
    reply,
    route,
    sent,
)
from tokenmarket.adapters.protocol import Head
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.uploads import joined
from tokenmarket.core.usage import Usage

GEMINI = route("gemini", *TOKENS, upstream_model="gemini-3.5-transcribe")
ANSWER: dict[str, Any] = {
    "id": "v1_1",
    "status": "completed",
    "steps": [
        {"type": "thought", "signature": "x"},
        {
            "type": "model_output",
            "content": [
                {
                    "type": "text",
                    "text": "Good day.",
                    "annotations": [
                        {
                            **{"type": "word_info", "text": "Good", "speaker": "spk_1"},
                            **{"start_offset": "0.1s", "end_offset": "0.45s"},
                        },
                        {
                            **{"type": "word_info", "text": "day.", "speaker": "spk_1"},
                            **{"start_offset": "0.5s", "end_offset": "1s"},
                        },
                        {"type": "other"},
                    ],
                }
            ],
        },
    ],
    "usage": {
        "total_input_tokens": 70,
        "input_tokens_by_modality": [
            {"modality": "audio", "tokens": 63},
            {"modality": "text", "tokens": 7},
        ],
        "total_output_tokens": 5,
        "total_thought_tokens": 2,
    },
}


def test_the_request() -> None:
    call = sent(GEMINI, language="de", keywords=["Ada"], prompt="x")
    assert call.path == "/interactions"
    assert ("api-revision", "2026-05-20") in call.headers
    sound = base64.b64encode(WAV).decode()
    assert json.loads(joined(call.body)) == {
        "model": "gemini-3.5-transcribe",
        "input": [{"type": "audio", "data": sound, "mime_type": "audio/wav"}],
        "store": False,
        "generation_config": {
            "transcription_config": {"language_codes": ["de"], "custom_vocabulary": ["Ada"]}
        },
    }
    assert call.dropped == ("prompt",)


@pytest.mark.parametrize("asked", ["srt", "vtt", "verbose_json", "diarized_json"])
def test_times_are_asked_for_where_they_are_needed(asked: str) -> None:
    body = json.loads(joined(sent(GEMINI, response_format=asked).body))
    mode = body["generation_config"]["transcription_config"]["mode"]
    assert mode["timestamp_granularities"] == ["word"]
    assert ("diarization_mode" in mode) == (asked == "diarized_json")
    assert "generation_config" not in json.loads(joined(sent(GEMINI).body))


def test_the_answer() -> None:
    found = reply(GEMINI, ANSWER)
    assert found.usage == Usage(
        input_tokens=7, audio_input_tokens=63, output_tokens=5, reasoning_tokens=2
    )
    assert rendered(found, "srt") == "1\n00:00:00,100 --> 00:00:01,000\nGood day.\n\n"
    assert '"speaker":"A"' in rendered(found, "diarized_json")
    assert reply(GEMINI, ANSWER | {"usage": None}).usage is None


@pytest.mark.parametrize("status", ["incomplete", "failed", "in_progress", "new"])
def test_what_is_not_completed_is_no_transcript(status: str) -> None:
    with pytest.raises(UpstreamError):
        read(GEMINI, ANSWER | {"status": status})


def test_refusals() -> None:
    body = b'{"error":{"code":"invalid_request","message":"No such model."}}'
    assert adapter(GEMINI).explain(Head(400, {}), body).kind == "bad_request"


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["status", "steps", "content", "type", "text", "annotations", "usage", "error"]
            ),
            inner | st.sampled_from(["completed", "text", "word_info", "9s"]),
            max_size=5,
        )
    ),
    max_leaves=15,
)


@given(body=JSON)
def test_garbage_is_an_answer_or_an_upstream_error(body: object) -> None:
    try:
        found = reply(GEMINI, body)
    except UpstreamError:
        return
    rendered(found, "json")
