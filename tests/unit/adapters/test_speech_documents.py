"""Providers that answer with documents, events or lines that hold the audio. Written from
``reference/media/audio.md`` section 2; recorded ones are in ``tests/recorded/test_speech.py``."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.adapters import voices
from tests.unit.adapters.voices import cut, decoder, play, read, refusal, route, sent, sent_json
from tokenmarket.adapters.protocol import Head, Reply
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.media.speech import wav_header
from tokenmarket.core.usage import Usage

MINIMAX = route("minimax")
QWEN = route("dashscope", upstream_model="qwen3-tts-flash")
COSY = route("dashscope", upstream_model="cosyvoice-v3-flash")
QWEN_TOKENS = route(
    "dashscope", "input_token", "audio_output_token", upstream_model="qwen-audio-3.1-tts-flash"
)
GEMINI = route("gemini", "input_token", "audio_output_token", upstream_model="gemini-tts")
VOLC = route("volcengine", upstream_model="seed-tts-2.0")
MISTRAL = route("mistral")
READERS = [QWEN, COSY, QWEN_TOKENS, GEMINI, MISTRAL]
SSE = {"content-type": "text/event-stream"}
JSON = {"content-type": "application/json"}


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def failing(at: Route, document: object, **members: Any) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        read(at, document, **members)
    return caught.value


# --- MiniMax -------------------------------------------------------------------------------------


def piece(audio: bytes, status: int = 1, **more: Any) -> dict[str, Any]:
    data = {"audio": audio.hex(), "status": status}
    return {"data": data, "trace_id": "t-1", "base_resp": {"status_code": 0}, **more}


def events(*documents: object) -> bytes:
    return b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in documents)


LAST = {"extra_info": {"usage_characters": 26, "audio_length": 900}}


def test_minimax_is_asked_for_a_stream_without_the_repetition() -> None:
    path, body, dropped = sent_json(MINIMAX, speed=1.5, language="fr")
    assert path == "/t2a_v2"
    assert body == {
        "model": "theirs",
        "text": voices.TEXT,
        "stream": True,
        "stream_options": {"exclude_aggregated_audio": True},
        "output_format": "hex",
        "language_boost": "French",
        "voice_setting": {"voice_id": "mia", "speed": 1.5},
        "audio_setting": {
            "format": "mp3",
            "sample_rate": 32000,
            "bitrate": 128000,
            "channel": 1,
        },
    }
    assert not dropped
    _, body, dropped = sent_json(
        MINIMAX, response_format="pcm", speed=0.25, instructions="x", language="klingon"
    )
    assert body["audio_setting"] == {"format": "pcm", "sample_rate": 24000, "channel": 1}
    assert dropped == {"speed", "instructions", "language"}


def test_minimax_streams_no_wav() -> None:
    _, body, _ = sent_json(MINIMAX, response_format="wav")
    assert body["stream"] is False
    assert "stream_options" not in body
    reply = read(MINIMAX, piece(b"RIFF", 2, **LAST), response_format="wav")
    assert reply.produced[0].data == b"RIFF"
    assert reply.usage == Usage(characters=26)
    for document in (piece(b"", 2), {}, {"data": {"audio": "zz"}}, {"data": {"audio": 7}}):
        assert failing(MINIMAX, document, response_format="wav").kind == "upstream_error"


@pytest.mark.parametrize("repeated", [b"onetwo", b""])
def test_minimax_s_last_event_doubles_nothing(repeated: bytes) -> None:
    stream = events(piece(b"one"), piece(b"two"), piece(repeated, 2, **LAST))
    for at in range(0, len(stream), 3):
        found = decoder(MINIMAX, SSE)
        assert found.expected == Usage(characters=9, estimated=True)
        assert play(found, *cut(stream, at)) == (b"onetwo", Usage(characters=26), None)
        assert found.upstream_id == "t-1"


def test_minimax_s_only_event_is_the_audio() -> None:
    found = decoder(MINIMAX, SSE)
    assert play(found, events(piece(b"all", 2))) == (
        b"all",
        Usage(characters=9, estimated=True),
        None,
    )


@pytest.mark.parametrize(
    ("stream", "kind"),
    [
        (events(piece(b"one")), "stream_broken"),
        (b"", "stream_broken"),
        (events(piece(b"", 2)), "upstream_error"),
        (events({"data": {"audio": "0g", "status": 1}}), "upstream_error"),
        (b"data: nothing\n\n", "upstream_error"),
        *(
            (
                events({"base_resp": {"status_code": code, "status_msg": "words"}}),
                kind,
            )
            for code, kind in (
                (1002, "rate_limited"),
                (1004, "auth"),
                (1008, "no_balance"),
                (1026, "content_policy"),
                (2013, "bad_request"),
                (9999, "upstream_error"),
            )
        ),
    ],
)
def test_minimax_s_failures_inside_200(stream: bytes, kind: str) -> None:
    assert play(decoder(MINIMAX, SSE), stream)[2] == kind
    document = b'{"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}'
    assert play(decoder(MINIMAX, JSON), document) == (b"", None, "no_balance")
    assert refusal(MINIMAX, 200, document).kind == "no_balance"


# --- DashScope -----------------------------------------------------------------------------------


def answer(audio: object, **usage: Any) -> dict[str, Any]:
    return {"request_id": "r-1", "output": {"audio": audio}, "usage": usage}


def test_qwen_tts_is_a_multimodal_generation() -> None:
    call = sent(QWEN, voice="Cherry")
    assert call.from_root
    path, body, dropped = sent_json(QWEN, voice="Cherry", language="zh-CN", speed=2)
    assert path == "/api/v1/services/aigc/multimodal-generation/generation"
    assert body == {
        "model": "qwen3-tts-flash",
        "input": {"text": voices.TEXT, "voice": "Cherry", "language_type": "Chinese"},
    }
    assert dropped == {"speed"}
    assert voices.adapter(QWEN).speech_formats(QWEN) == ("wav",)


def test_cosyvoice_has_a_synthesizer() -> None:
    path, body, dropped = sent_json(
        COSY, voice="long", response_format="opus", speed=3, instructions="Whisper.", volume=40
    )
    assert path == "/api/v1/services/audio/tts/SpeechSynthesizer"
    assert body["input"] == {
        "text": voices.TEXT,
        "voice": "long",
        "format": "opus",
        "sample_rate": 24000,
        "rate": 2.0,
        "instruction": "Whisper.",
        "volume": 40,
    }
    assert dropped == {"speed"}
    said = route("dashscope", upstream_model="other", speech_api="synthesizer")
    assert sent_json(said)[0] == path


def test_dashscope_s_address_is_fetched_over_https() -> None:
    reply = read(QWEN, answer({"url": "http://oss.example/a.wav?x=1"}, characters=18))
    assert reply.produced[0].url == "https://oss.example/a.wav?x=1"
    assert not reply.produced[0].credentialed
    assert (reply.usage, reply.upstream_id) == (Usage(characters=18), "r-1")
    reply = read(COSY, answer({"data": b64(b"ID3")}))
    assert reply.produced[0].b64 == b64(b"ID3")
    assert reply.usage == Usage(characters=9)


def test_dashscope_s_tokens_where_they_are_the_unit() -> None:
    address = {"url": "https://oss.example/a.mp3"}
    reply = read(QWEN_TOKENS, answer(address, input_tokens=12, output_tokens=90))
    assert reply.usage == Usage(input_tokens=12, audio_output_tokens=90, characters=9)
    assert read(QWEN_TOKENS, answer(address)).usage is None


def test_dashscope_s_refusals() -> None:
    inside = failing(QWEN, {"code": "DataInspectionFailed", "message": "m"})
    assert inside.kind == "content_policy"
    assert failing(QWEN, answer({})).kind == "upstream_error"
    assert refusal(QWEN, 400, {"code": "Arrearage", "message": "m"}).kind == "no_balance"
    assert refusal(QWEN, 429, {"code": "Throttling.RateQuota"}).kind == "rate_limited"


# --- Gemini --------------------------------------------------------------------------------------


def told(*parts: object, finish: str = "STOP", **more: Any) -> dict[str, Any]:
    candidate = {"content": {"parts": list(parts)}, "finishReason": finish}
    return {"candidates": [candidate], "responseId": "g-1", **more}


def samples(data: bytes, rate: int = 24000) -> dict[str, Any]:
    kind = f"audio/L16;codec=pcm;rate={rate}"
    return {"inlineData": {"mimeType": kind, "data": b64(data)}}


METADATA = {
    "promptTokenCount": 11,
    "candidatesTokenCount": 111,
    "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 111}],
}


def test_gemini_is_told_how_before_what() -> None:
    path, body, dropped = sent_json(
        GEMINI, voice="Kore", instructions="Say cheerfully: ", language="en-US", speed=2
    )
    assert path == "/models/gemini-tts:generateContent"
    assert body["contents"] == [
        {"role": "user", "parts": [{"text": f"Say cheerfully:\n{voices.TEXT}"}]}
    ]
    assert body["generationConfig"] == {
        "responseModalities": ["AUDIO"],
        "speechConfig": {
            "voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}},
            "languageCode": "en-US",
        },
    }
    assert dropped == {"speed"}
    _, body, _ = sent_json(GEMINI)
    assert body["contents"][0]["parts"] == [{"text": voices.TEXT}]


def test_gemini_s_samples_get_a_header() -> None:
    document = told(samples(b"ab"), {"text": "aside"}, samples(b"cd"), usageMetadata=METADATA)
    reply = read(GEMINI, document, response_format="wav")
    assert reply.produced[0].data == wav_header(4) + b"abcd"
    assert reply.usage == Usage(input_tokens=11, audio_output_tokens=111, characters=9)
    assert read(GEMINI, document, response_format="pcm").produced[0].data == b"abcd"
    slow = read(GEMINI, told(samples(b"ab", 16000)), response_format="wav")
    assert slow.produced[0].data == wav_header(2, 16000) + b"ab"
    assert slow.usage is None  # tokens are the unit, and nobody told them
    by_character = route("gemini")
    assert read(by_character, told(samples(b"ab"))).usage == Usage(characters=9)


@pytest.mark.parametrize(
    ("document", "form", "kind"),
    [
        (told(finish="SAFETY"), "wav", "content_policy"),
        (told(finish="PROHIBITED_CONTENT"), "wav", "content_policy"),
        ({"promptFeedback": {"blockReason": "OTHER"}}, "wav", "content_policy"),
        (told(finish="OTHER"), "wav", "upstream_error"),
        ({}, "wav", "upstream_error"),
        (told(samples(b"ab", 16000)), "pcm", "upstream_error"),
        (told(samples(b"ab"), samples(b"cd", 8000)), "wav", "upstream_error"),
        (told({"inlineData": {"mimeType": "image/png", "data": "aa=="}}), "wav", "upstream_error"),
        ({"error": {"status": "RESOURCE_EXHAUSTED", "message": "m"}}, "wav", "rate_limited"),
    ],
)
def test_gemini_without_audio(document: object, form: str, kind: str) -> None:
    assert failing(GEMINI, document, response_format=form).kind == kind


# --- Volcengine ----------------------------------------------------------------------------------


def lines(*documents: object) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in documents)


END = {"code": 20000000, "message": "ok", "data": None}


def test_volcengine_names_the_model_in_a_header() -> None:
    call = sent(VOLC, voice="zh_female", response_format="opus", speed=1.5, user="u-1")
    headers = dict(call.headers)
    assert headers["x-api-resource-id"] == "seed-tts-2.0"
    assert headers["x-api-request-id"] == "req_77"
    assert call.path == "/tts/unidirectional"
    _, body, dropped = sent_json(
        VOLC, voice="zh_female", response_format="opus", speed=1.5, instructions="x"
    )
    assert body == {
        "user": {"uid": "tokenmarket"},
        "req_params": {
            "text": voices.TEXT,
            "speaker": "zh_female",
            "audio_params": {"format": "ogg_opus", "sample_rate": 24000, "speech_rate": 50},
        },
    }
    assert dropped == {"instructions"}
    _, body, dropped = sent_json(VOLC, speed=4)
    assert body["req_params"]["audio_params"]["speech_rate"] == 100
    assert dropped == {"speed"}


def test_volcengine_s_lines_in_any_cut() -> None:
    stream = lines({"code": 0, "data": b64(b"one")}, {"code": 0}, {"code": 0, "data": b64(b"two")})
    stream += b"\n" + lines(END)[:-1]
    for at in range(len(stream)):
        found = decoder(VOLC, {"content-type": "application/json", "x-tt-logid": "l-1"})
        assert found.expected == Usage(characters=9)
        assert play(found, *cut(stream, at)) == (b"onetwo", Usage(characters=9), None)
        assert found.upstream_id == "l-1"


@pytest.mark.parametrize(
    ("stream", "kind"),
    [
        (lines({"code": 0, "data": b64(b"one")}), "stream_broken"),
        (b"", "stream_broken"),
        (lines(END), "upstream_error"),
        (lines({"code": 45000000, "message": "speaker permission denied"}), "upstream_error"),
        (lines({"code": "0", "data": b64(b"one")}, END), "upstream_error"),
        (lines({"code": False, "data": b64(b"one")}, END), "upstream_error"),
        (lines({"data": b64(b"one")}, END), "upstream_error"),
        (b"no json\n", "upstream_error"),
        (b"x" * (9 * 1024 * 1024), "upstream_error"),
    ],
)
def test_volcengine_s_failures(stream: bytes, kind: str) -> None:
    _, usage, failed = play(decoder(VOLC, JSON), stream)
    assert (usage, failed) == (None, kind)


# --- Mistral -------------------------------------------------------------------------------------


def test_mistral_gets_no_member_it_would_refuse() -> None:
    path, body, dropped = sent_json(
        MISTRAL, response_format="opus", speed=2, instructions="x", user="u", language="en"
    )
    assert path == "/audio/speech"
    assert body == {
        "model": "theirs",
        "input": voices.TEXT,
        "voice": "mia",
        "response_format": "opus",
    }
    assert dropped == {"speed", "instructions", "language"}
    assert sent_json(MISTRAL, response_format="pcm")[1]["response_format"] == "wav"


def test_mistral_s_audio_is_base64() -> None:
    reply = read(MISTRAL, {"audio_data": b64(b"ID3")})
    assert (reply.produced[0].b64, reply.usage) == (b64(b"ID3"), Usage(characters=9))
    assert failing(MISTRAL, {}).kind == "upstream_error"
    assert refusal(MISTRAL, 400, {"code": 1500, "message": "Invalid model"}).kind == "not_found"


# --- all -----------------------------------------------------------------------------------------

NAMES = [
    *("data", "audio", "status", "output", "url", "usage", "code", "candidates", "content"),
    *("parts", "inlineData", "mimeType", "usageMetadata", "audio_data", "base_resp"),
]
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
documents = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(NAMES),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(documents)
def test_strange_documents_are_an_answer_or_an_upstream_error(document: object) -> None:
    body = json.dumps(document).encode()
    for at in READERS:
        made = voices.request(at)
        try:
            reply = voices.adapter(at).read(made, at, Head(200, JSON), body)
        except UpstreamError:
            continue
        assert isinstance(reply, Reply)
        assert len(reply.produced) == 1
    play(decoder(MINIMAX, SSE), b"data: " + body + b"\n\n")
    play(decoder(VOLC, JSON), body + b"\n")


@given(st.binary(max_size=150))
def test_garbage_is_an_upstream_error(body: bytes) -> None:
    for at in READERS:
        with pytest.raises(UpstreamError):
            read(at, body)
        assert refusal(at, 500, body).kind
    for at, headers in ((MINIMAX, SSE), (MINIMAX, JSON), (VOLC, JSON)):
        assert play(decoder(at, headers), body, body)[2] is not None
