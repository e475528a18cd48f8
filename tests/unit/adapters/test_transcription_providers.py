"""Transcription at providers with a wire of their own.

Exchanges written from reference/media/audio.md section 3, Deepgram's OpenAPI (2026-07-22),
AssemblyAI's (2026-03-23) and Microsoft's "Use the fast transcription API".
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.adapters.sounds import (
    OK,
    WAV,
    adapter,
    form,
    read,
    rendered,
    reply,
    request,
    route,
    sent,
)
from tokenmarket.adapters.protocol import Again, Head, Reply, UpstreamRequest
from tokenmarket.core.errors import ApiError, UpstreamError
from tokenmarket.core.uploads import joined
from tokenmarket.core.usage import Usage

OWN = ("assemblyai", "azure_speech", "deepgram", "elevenlabs")
OTHERS = ("cohere", "mistral", "newapi", "openrouter", "siliconflow", "vllm", "xai")


# --- deepgram -----------------------------------------------------------------------------------

DEEPGRAM = route("deepgram", upstream_model="nova-3", keyterms=True)


def query(call: UpstreamRequest) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(call.path).query)


def deepgram(channels: int = 1, **word: Any) -> dict[str, Any]:
    words = [{"word": "hi", "punctuated_word": "Hi.", "start": 0.16, "end": 0.5} | word]
    return {
        "metadata": {"request_id": "dg-1", "duration": 2.4996, "channels": channels},
        "results": {
            "channels": [
                {
                    "detected_language": "en",
                    "alternatives": [{"transcript": "Hi.", "confidence": 0.9, "words": words}],
                }
            ]
            * channels,
            "utterances": [
                {"start": 0.16, "end": 0.5, "transcript": "Hi.", "confidence": 0.9, "channel": n}
                | {key: value for key, value in word.items() if key == "speaker"}
                for n in range(channels)
            ],
        },
    }


def test_deepgram_gets_the_file_as_the_body() -> None:
    call = sent(DEEPGRAM)
    assert urlsplit(call.path).path == "/listen"
    assert call.headers == (("content-type", "audio/wav"),)
    assert joined(call.body) == WAV
    assert query(call) == [
        ("model", "nova-3"),
        ("smart_format", "true"),
        ("utterances", "true"),
        ("detect_language", "true"),
    ]


def test_deepgram_s_parameters() -> None:
    call = sent(
        DEEPGRAM,
        language="de",
        keywords=["Ada & Co", "Zoë"],
        prompt="x",
        temperature=0.5,
        response_format="diarized_json",
        multichannel="true",
    )
    assert query(call)[3:] == [
        ("language", "de"),
        ("diarize", "true"),
        ("keyterm", "Ada & Co"),
        ("keyterm", "Zoë"),
        ("multichannel", "true"),
    ]
    assert call.dropped == ("prompt", "temperature")
    old = sent(route("deepgram"), keywords=["Ada"])
    assert old.dropped == ("keywords",)


def test_deepgram_s_answer() -> None:
    found = reply(DEEPGRAM, deepgram())
    assert found.upstream_id == "dg-1"
    assert found.usage == Usage(audio_ms=2500)
    assert rendered(found, "srt") == "1\n00:00:00,160 --> 00:00:00,500\nHi.\n\n"
    assert json.loads(rendered(found, "verbose_json"))["language"] == "english"
    words = json.loads(rendered(found, "verbose_json", "word"))["words"]
    assert words == [{"word": "Hi.", "start": 0.16, "end": 0.5}]


def test_deepgram_bills_every_channel() -> None:
    found = reply(DEEPGRAM, deepgram(2, speaker=0), multichannel="true")
    assert found.usage == Usage(audio_ms=5000)
    assert rendered(found, "text") == "Hi.\nHi.\n"
    segments = json.loads(rendered(found, "diarized_json"))["segments"]
    assert [segment["speaker"] for segment in segments] == ["A", "B"]


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "Bad Request", "bad_request"),
        (401, "INVALID_AUTH", "auth"),
        (402, "ASR_PAYMENT_REQUIRED", "no_balance"),
        (403, "INSUFFICIENT_PERMISSIONS", "forbidden"),
        (429, "TOO_MANY_REQUESTS", "rate_limited"),
        (503, "", "overloaded"),
    ],
)
def test_deepgram_s_refusals(status: int, code: str, kind: str) -> None:
    body = msgspec.json.encode({"err_code": code, "err_msg": "No, thanks.", "request_id": "1"})
    error = adapter(DEEPGRAM).explain(Head(status, {}), body)
    assert (error.kind, error.message) == (kind, "No, thanks.")


# --- elevenlabs ---------------------------------------------------------------------------------

SCRIBE = route("elevenlabs", upstream_model="scribe_v2", keyterms=True)


def test_scribe_s_form() -> None:
    call = sent(
        SCRIBE, language="de", temperature=0.5, keywords=["Ada"], response_format="diarized_json"
    )
    assert call.path == "/speech-to-text"
    assert form(call) == [
        ("model_id", "scribe_v2"),
        ("timestamps_granularity", "word"),
        ("tag_audio_events", "false"),
        ("diarize", "true"),
        ("language_code", "de"),
        ("temperature", "0.5"),
        ("keyterms", "Ada"),
        ("file", "audio/wav"),
    ]
    assert call.dropped == ()


def test_scribe_s_spaces_and_noises_are_no_words() -> None:
    found = reply(
        SCRIBE,
        {
            "language_code": "eng",
            "text": "Hi there (laughs)",
            "audio_duration_secs": 2.4,
            "words": [
                {"text": "Hi", "type": "word", "start": 0.1, "end": 0.3, "speaker_id": "speaker_0"},
                {"text": " ", "type": "spacing", "start": 0.3, "end": 0.4},
                {
                    **{"text": "there", "type": "word", "start": 0.4, "end": 0.7},
                    **{"speaker_id": "speaker_1", "logprob": -0.5},
                },
                {"text": "(laughs)", "type": "audio_event", "start": 1, "end": 2},
            ],
        },
    )
    assert found.usage == Usage(audio_ms=2400)
    assert found.transcript is not None
    assert [word.text for word in found.transcript.words] == ["Hi", "there"]
    assert found.transcript.words[1].confidence == pytest.approx(0.6065, abs=1e-4)
    segments = json.loads(rendered(found, "diarized_json"))["segments"]
    assert [segment["speaker"] for segment in segments] == ["A", "B"]
    assert json.loads(rendered(found, "verbose_json"))["language"] == "english"


def test_scribe_s_refusals() -> None:
    body = b'{"detail":{"status":"quota_exceeded","message":"You have 3 credits left."}}'
    error = adapter(SCRIBE).explain(Head(401, {}), body)
    assert (error.kind, error.code) == ("quota_exhausted", "quota_exceeded")
    body = b'{"detail":{"status":"system_busy","message":"Busy."}}'
    assert adapter(SCRIBE).explain(Head(429, {}), body).kind == "overloaded"


# --- assemblyai ---------------------------------------------------------------------------------

ASSEMBLY = route("assemblyai", upstream_model="universal-2")
DONE = {
    "id": "job-1",
    "status": "completed",
    "text": "Hi.",
    "language_code": "en_us",
    "audio_duration": 3,
    "words": [{"text": "Hi.", "start": 160, "end": 500, "confidence": 0.9, "speaker": "B"}],
    "utterances": [{"text": "Hi.", "start": 160, "end": 500, "speaker": "B"}],
}


def test_assemblyai_step_by_step() -> None:
    upload = sent(ASSEMBLY, response_format="diarized_json", keywords=["Ada"], prompt="x")
    assert (upload.path, joined(upload.body), upload.dropped) == ("/upload", WAV, ("prompt",))

    made: dict[str, Any] = {"response_format": "diarized_json", "keywords": ["Ada"]}
    order = read(ASSEMBLY, {"upload_url": "https://cdn.example/1"}, **made)
    assert isinstance(order, Again)
    assert (order.request.path, order.request.method) == ("/transcript", "POST")
    assert json.loads(joined(order.request.body)) == {
        "audio_url": "https://cdn.example/1",
        "speech_models": ["universal-2"],
        "punctuate": True,
        "format_text": True,
        "language_detection": True,
        "speaker_labels": True,
        "keyterms_prompt": ["Ada"],
    }

    step: Reply | Again = order.read(OK, b'{"id":"job-1","status":"queued"}')
    for status in ("processing", "processing"):
        assert isinstance(step, Again)
        assert (step.request.path, step.request.method) == ("/transcript/job-1", "GET")
        assert step.delay_s == 3.0
        step = step.read(OK, msgspec.json.encode({"id": "job-1", "status": status}))
    assert isinstance(step, Again)
    found = step.read(OK, msgspec.json.encode(DONE))
    assert isinstance(found, Reply)
    assert found.usage == Usage(audio_ms=3000)
    segment = json.loads(rendered(found, "diarized_json"))["segments"][0]
    assert (segment["start"], segment["speaker"]) == (0.16, "A")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"status": "error", "error": "File does not appear to contain audio."}, "bad_request"),
        ({"status": "error", "error": "Something broke"}, "upstream_error"),
        ({"status": "error"}, "upstream_error"),
        ({"status": "sleeping", "id": "job-1"}, "upstream_error"),
        ({"status": "queued", "id": "../upload"}, "upstream_error"),
        ({"status": "queued"}, "upstream_error"),
        ({}, "upstream_error"),
    ],
)
def test_assemblyai_fails(answer: dict[str, Any], kind: str) -> None:
    order = read(ASSEMBLY, {"upload_url": "https://cdn.example/1"})
    assert isinstance(order, Again)
    with pytest.raises(UpstreamError) as caught:
        order.read(OK, msgspec.json.encode(answer))
    assert caught.value.kind == kind


# --- azure --------------------------------------------------------------------------------------

AZURE = route("azure_speech")


def azure_definition(**members: Any) -> tuple[Any, tuple[str, ...]]:
    call = sent(AZURE, **members)
    assert call.from_root
    assert call.path == "/speechtotext/transcriptions:transcribe?api-version=2024-11-15"
    assert form(call)[1:] == [("audio", "audio/wav")]
    return json.loads(dict(form(call))["definition"]), call.dropped


def test_azure_s_definition() -> None:
    assert azure_definition() == ({"profanityFilterMode": "None"}, ())
    definition, dropped = azure_definition(language="en", response_format="diarized_json")
    assert definition["locales"] == ["en-US"]
    assert definition["diarization"] == {"enabled": True, "maxSpeakers": 10}
    assert dropped == ()
    assert azure_definition(languages=["de-AT", "fr"])[0]["locales"] == ["de-AT", "fr-FR"]
    definition, dropped = azure_definition(language="tlh", temperature=0.1)
    assert ("locales" in definition, dropped) == (False, ("language", "temperature"))


def test_azure_s_answer() -> None:
    found = reply(
        AZURE,
        {
            "durationMilliseconds": 2440,
            "combinedPhrases": [{"text": "Good day. Hi."}],
            "phrases": [
                {
                    **{"offsetMilliseconds": 100, "durationMilliseconds": 900, "speaker": 2},
                    **{"text": "Good day.", "locale": "en-US", "confidence": 0.9},
                    "words": [
                        {"text": "Good", "offsetMilliseconds": 100, "durationMilliseconds": 300}
                    ],
                },
                {
                    **{"offsetMilliseconds": 1200, "durationMilliseconds": 300, "speaker": 1},
                    "text": "Hi.",
                },
            ],
        },
    )
    assert found.usage == Usage(audio_ms=2440)
    assert "00:00:01.200 --> 00:00:01.500\nHi." in rendered(found, "vtt")
    segments = json.loads(rendered(found, "diarized_json"))["segments"]
    assert [segment["speaker"] for segment in segments] == ["A", "B"]
    words = json.loads(rendered(found, "verbose_json", "word"))["words"]
    assert words == [{"word": "Good", "start": 0.1, "end": 0.4}]


def test_azure_s_refusal() -> None:
    body = (
        b'{"code":"InvalidRequest","message":"No.",'
        b'"innerError":{"code":"InvalidAudio","message":"The audio is broken."}}'
    )
    error = adapter(AZURE).explain(Head(400, {}), body)
    assert (error.kind, error.message) == ("bad_request", "The audio is broken.")


# --- those that almost speak OpenAI's -----------------------------------------------------------


def test_voxtral_is_asked_for_times_and_speakers() -> None:
    at = route("mistral")
    assert form(sent(at, language="fr")) == [
        ("model", "theirs"),
        ("language", "fr"),
        ("file", "audio/wav"),
    ]
    assert ("timestamp_granularities[]", "segment") in form(sent(at, response_format="srt"))
    fields = form(sent(at, response_format="diarized_json"))
    assert {("diarize", "true"), ("timestamp_granularities[]", "segment")} <= set(fields)
    with pytest.raises(ApiError) as refused:
        sent(at, response_format="verbose_json", timestamp_granularities=["word"])
    assert refused.value.param == "timestamp_granularities"


def test_xai_has_a_path_of_its_own() -> None:
    call = sent(route("xai"), response_format="diarized_json", prompt="x")
    assert (call.path, call.dropped) == ("/stt", ("prompt",))
    assert form(call) == [("model", "theirs"), ("diarize", "true"), ("file", "audio/wav")]


@pytest.mark.parametrize("name", ["cohere", "siliconflow"])
def test_text_only(name: str) -> None:
    at = route(name)
    call = sent(at, response_format="text", temperature=0)
    assert call.path == "/audio/transcriptions"
    assert form(call) == [("model", "theirs"), ("file", "audio/wav")]
    assert call.dropped == ("temperature",)
    with pytest.raises(ApiError) as refused:
        sent(at, response_format="srt")
    assert refused.value.reason == "unsupported_response_format"
    assert reply(at, {"text": " Hi."}).usage == Usage(audio_ms=2500)


# --- all of them --------------------------------------------------------------------------------

KEYS = [
    *("text", "words", "results", "channels", "alternatives", "metadata", "duration", "status"),
    *("phrases", "combinedPhrases", "upload_url", "utterances", "start", "type", "error", "usage"),
    *("durationMilliseconds", "offsetMilliseconds", "err_msg", "detail", "speaker", "logprob"),
]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False)
    | st.integers()
    | st.sampled_from(["", "word", "completed", "https://x.example/1"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
    max_leaves=15,
)


@pytest.mark.parametrize("name", [*OWN, *OTHERS])
@given(body=JSON | st.binary(max_size=40))
def test_garbage_is_an_answer_or_an_upstream_error(name: str, body: object) -> None:
    at = route(name)
    try:
        found = read(at, body)
    except UpstreamError:
        return
    if isinstance(found, Again):
        try:
            found.read(OK, body if isinstance(body, bytes) else msgspec.json.encode(body))
        except UpstreamError:
            return
    else:
        rendered(found, "json")


@pytest.mark.parametrize("name", [*OWN, *OTHERS])
@given(body=JSON | st.binary(max_size=40), status=st.integers(300, 599))
def test_every_refusal_is_explained(name: str, body: object, status: int) -> None:
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    error = adapter(route(name)).explain(Head(status, {}), data)
    assert error.message


@pytest.mark.parametrize("name", [*OWN, *OTHERS])
def test_none_of_them_streams(name: str) -> None:
    at = route(name)
    streaming = request(at, stream="true")
    assert not adapter(at).streams(streaming, at)
    call = adapter(at).build(streaming, at, now_s=0)
    assert b'name="stream"' not in joined(call.body)
