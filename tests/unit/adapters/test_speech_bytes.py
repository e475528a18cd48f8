"""Providers that answer with the audio itself. Orders, heads and refusals are written from
``reference/media/audio.md`` section 2; recorded ones are in ``tests/recorded/test_speech.py``."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.adapters import voices
from tests.unit.adapters.voices import decoder, play, refusal, route, sent, sent_json
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import ApiError
from tokenmarket.core.uploads import joined
from tokenmarket.core.usage import Usage

ELEVEN = route("elevenlabs")
AURA = route("deepgram", upstream_model="aura-2")
AZURE = route("azure_speech", base_url="https://westeurope.tts.speech.microsoft.com")
HD = route("azure_speech", base_url="https://x.cognitiveservices.azure.com", hd_voices=True)
XAI = route("xai")
EVERY = [ELEVEN, AURA, AZURE, XAI]
AVA, AVA_HD = "en-US-AvaMultilingualNeural", "en-US-Ava:DragonHDLatestNeural"
SSML = "{http://www.w3.org/2001/10/synthesis}"


def voice_of(at: Route) -> str:
    return AVA if at is AZURE else "mia"


# --- ElevenLabs ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "path"),
    [
        ("mp3", "/stream?output_format=mp3_44100_128"),
        ("opus", "/stream?output_format=opus_48000_128"),
        ("pcm", "/stream?output_format=pcm_24000"),
        ("wav", "?output_format=wav_24000"),
        ("flac", "/stream?output_format=mp3_44100_128"),  # transcoded
    ],
)
def test_elevenlabs_has_the_voice_in_the_path(form: str, path: str) -> None:
    got, body, dropped = sent_json(ELEVEN, voice="onwK4e9Z", response_format=form)
    assert got == "/text-to-speech/onwK4e9Z" + path
    assert body == {"text": voices.TEXT, "model_id": "theirs"}
    assert not dropped


def test_elevenlabs_speed_is_one_of_the_voice_settings() -> None:
    settings = {"stability": 0.5, "speed": 0.9}
    _, body, dropped = sent_json(ELEVEN, speed=1.1, voice_settings=settings, language="German")
    assert body["voice_settings"] == {"stability": 0.5, "speed": 1.1}
    assert body["language_code"] == "de"
    assert not dropped
    _, body, dropped = sent_json(ELEVEN, speed=3, instructions="Whisper.", seed=7)
    assert (body["voice_settings"], body["seed"]) == ({"speed": 1.2}, 7)
    assert dropped == {"speed", "instructions"}
    _, body, _ = sent_json(ELEVEN, voice_settings=settings)
    assert body["voice_settings"] == settings
    with pytest.raises(ApiError):
        sent(ELEVEN, speed=1.1, voice_settings=[1])


@pytest.mark.parametrize("voice", ["..", "a/b", "a?b", "ö", "x" * 65])
def test_elevenlabs_takes_no_other_path_as_a_voice(voice: str) -> None:
    for at in (ELEVEN, AURA):
        with pytest.raises(ApiError) as caught:
            sent(at, voice=voice)
        assert (caught.value.param, caught.value.reason) == ("voice", "unknown_voice")


@pytest.mark.parametrize(
    ("header", "per_credit", "characters"),
    [("9", None, 9), ("5", 2, 10), (None, 2, 9), ("", 1, 9), ("-3", 1, 9), ("4.5", 1, 9)],
)
def test_elevenlabs_credits_become_characters(
    header: str | None, per_credit: int | None, characters: int
) -> None:
    at = ELEVEN if per_credit is None else route("elevenlabs", characters_per_credit=per_credit)
    headers = {"content-type": "audio/mpeg"}
    if header is not None:
        headers["character-cost"] = header
    found = decoder(at, headers)
    assert found.expected == Usage(characters=characters)
    assert play(found, b"ID3") == (b"ID3", Usage(characters=characters), None)


@pytest.mark.parametrize(
    ("status", "detail", "kind"),
    [
        (401, {"status": "invalid_api_key", "message": "m"}, "auth"),
        (401, {"status": "quota_exceeded", "message": "m"}, "no_balance"),
        (404, {"status": "voice_not_found", "message": "m"}, "bad_request"),
        (429, {"status": "too_many_concurrent_requests", "message": "m"}, "rate_limited"),
        (429, {"status": "system_busy", "message": "m"}, "overloaded"),
        (422, [{"loc": ["body", "text"], "msg": "m"}], "bad_request"),
        (500, {"status": "never_seen"}, "upstream_error"),
    ],
)
def test_elevenlabs_refuses_in_a_detail(status: int, detail: object, kind: str) -> None:
    error = refusal(ELEVEN, status, {"detail": detail})
    assert (error.kind, error.status) == (kind, status)
    if isinstance(detail, dict):
        assert error.code == detail["status"]


# --- Deepgram ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "query"),
    [
        ("mp3", "encoding=mp3"),
        ("opus", "encoding=opus&container=ogg"),
        ("aac", "encoding=aac"),
        ("flac", "encoding=flac"),
        ("wav", "encoding=linear16&container=wav&sample_rate=24000"),
        ("pcm", "encoding=linear16&container=none&sample_rate=24000"),
    ],
)
def test_deepgram_s_model_is_the_voice(form: str, query: str) -> None:
    for voice in ("zeus-en", "aura-2-zeus-en"):
        path, body, dropped = sent_json(AURA, voice=voice, response_format=form)
        assert path == f"/speak?model=aura-2-zeus-en&{query}"
        assert body == {"text": voices.TEXT}
        assert not dropped


def test_deepgram_s_speed_is_in_the_query() -> None:
    path, _, dropped = sent_json(AURA, speed=1.25, language="en")
    assert path.endswith("&speed=1.25")
    assert dropped == {"language"}
    path, _, dropped = sent_json(AURA, speed=0.3)
    assert path.endswith("&speed=0.7")
    assert dropped == {"speed"}


def test_deepgram_counts_in_the_head() -> None:
    found = decoder(AURA, {"content-type": "audio/mpeg", "dg-char-count": "11"})
    assert found.expected == Usage(characters=11)
    assert decoder(AURA, {"content-type": "audio/mpeg"}).expected == Usage(characters=9)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "INVALID_AUTH", "auth"),
        (402, "ASR_PAYMENT_REQUIRED", "no_balance"),
        (403, "INSUFFICIENT_PERMISSIONS", "forbidden"),
        (429, "TOO_MANY_REQUESTS", "rate_limited"),
        (400, "NEVER_SEEN", "bad_request"),
        (413, None, "bad_request"),
    ],
)
def test_deepgram_refuses_with_err_code(status: int, code: str | None, kind: str) -> None:
    error = refusal(AURA, status, {"err_code": code, "err_msg": "words", "request_id": "r"})
    assert (error.kind, error.code, error.message) == (kind, code, "words")


# --- Azure ---------------------------------------------------------------------------------------


def ssml(at: Route = AZURE, **members: Any) -> tuple[ElementTree.Element, set[str]]:
    made = sent(at, **({"voice": AVA} | members))
    assert made.headers[0] == ("content-type", "application/ssml+xml")
    return ElementTree.fromstring(joined(made.body)), set(made.dropped)


@pytest.mark.parametrize(
    ("form", "theirs"),
    [
        ("mp3", "audio-24khz-48kbitrate-mono-mp3"),
        ("wav", "riff-24khz-16bit-mono-pcm"),
        ("pcm", "raw-24khz-16bit-mono-pcm"),
        ("opus", "ogg-24khz-16bit-mono-opus"),
        ("flac", "audio-24khz-48kbitrate-mono-mp3"),  # transcoded
    ],
)
def test_azure_s_format_is_a_header(form: str, theirs: str) -> None:
    call = sent(AZURE, voice=AVA, response_format=form)
    assert dict(call.headers)["x-microsoft-outputformat"] == theirs
    assert call.headers is sent(AZURE, voice=AVA, response_format=form).headers


@pytest.mark.parametrize(
    ("base_url", "address"),
    [
        ("https://eastus.tts.speech.microsoft.com", None),
        ("https://x.cognitiveservices.azure.com", None),
        ("http://127.0.0.1:9", None),
        (
            "https://eastus.api.cognitive.microsoft.com",
            "https://eastus.tts.speech.microsoft.com/cognitiveservices/v1",
        ),
    ],
)
def test_azure_has_a_host_for_each_service(base_url: str, address: str | None) -> None:
    call = sent(route("azure_speech", base_url=base_url), voice=AVA)
    assert (call.url, call.path, call.from_root) == (address, "/cognitiveservices/v1", True)


def test_azure_s_order_is_a_voice_and_a_rate() -> None:
    speak, dropped = ssml(speed=1.2, instructions="Whisper.")
    assert speak.attrib == {
        "version": "1.0",
        "{http://www.w3.org/XML/1998/namespace}lang": "en-US",
    }
    voice = speak[0]
    assert (voice.tag, voice.attrib) == (SSML + "voice", {"name": AVA})
    assert (voice[0].tag, voice[0].attrib) == (SSML + "prosody", {"rate": "+20%"})
    assert voice[0].text == voices.TEXT
    assert dropped == {"instructions"}
    speak, dropped = ssml(speed=0.25, language="zh-CN")
    assert speak.attrib["{http://www.w3.org/XML/1998/namespace}lang"] == "zh-CN"
    assert (speak[0][0].attrib, dropped) == ({"rate": "-50%"}, {"speed"})
    assert ssml(speed=1)[0][0].text == voices.TEXT


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=80))
def test_azure_speaks_what_was_written_and_never_markup(words: str) -> None:
    if any((c < " " and c not in "\t\n\r") or c in "\ufffe\uffff" for c in words):
        with pytest.raises(ApiError) as caught:
            ssml(input=words)
        assert (caught.value.param, caught.value.reason) == ("input", "bad_character")
        return
    speak, _ = ssml(input=words)
    assert [child.tag for child in speak.iter()] == [SSML + "speak", SSML + "voice"]
    same = words.replace("\r\n", "\n").replace("\r", "\n")  # what every reader of XML makes of it
    assert speak[0].text == same


@pytest.mark.parametrize(
    ("voice", "language", "param"),
    [
        ('x"/><audio src="http://a"/>', None, "voice"),
        ("Ava", None, "voice"),
        (AVA, 'en"><x', "language"),
    ],
)
def test_azure_s_names_are_checked(voice: str, language: str | None, param: str) -> None:
    with pytest.raises(ApiError) as caught:
        ssml(voice=voice, language=language)
    assert caught.value.param == param


def test_azure_s_hd_voices_are_for_models_with_their_price() -> None:
    assert ssml(HD, voice=AVA_HD)[0][0].attrib == {"name": AVA_HD}
    for at, voice in ((AZURE, AVA_HD), (HD, AVA)):
        with pytest.raises(ApiError) as caught:
            ssml(at, voice=voice)
        assert caught.value.reason == "unknown_voice"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "bad_request"),
        (401, "auth"),
        (403, "forbidden"),
        (429, "rate_limited"),
        (502, "upstream_error"),
        (503, "overloaded"),
    ],
)
def test_azure_refuses_with_a_bare_status(status: int, kind: str) -> None:
    assert refusal(AZURE, status, b"").kind == kind


# --- xAI -----------------------------------------------------------------------------------------


def test_xai_names_a_language_and_a_codec() -> None:
    path, body, dropped = sent_json(XAI, voice="eve", response_format="wav", speed=1.2)
    assert path == "/tts"
    assert body == {
        "text": voices.TEXT,
        "voice_id": "eve",
        "language": "auto",
        "output_format": {"codec": "wav", "sample_rate": 24000},
        "speed": 1.2,
    }
    assert not dropped
    _, body, dropped = sent_json(XAI, language="pt-BR", speed=4, instructions="Whisper.")
    assert (body["language"], body["speed"]) == ("pt-BR", 1.5)
    assert dropped == {"speed", "instructions"}


# --- all -----------------------------------------------------------------------------------------


@given(st.binary(max_size=120), st.sampled_from(["audio/mpeg", "application/json", "text/html"]))
def test_garbage_is_audio_or_an_upstream_error(body: bytes, kind: str) -> None:
    for at in EVERY:
        found = decoder(at, {"content-type": kind}, voice=voice_of(at))
        audio, usage, failed = play(found, body, b"")
        assert (failed is None) == (usage is not None)
        assert audio == (body if kind == "audio/mpeg" else b"")
        assert refusal(at, 500, body).kind


@pytest.mark.parametrize("at", EVERY, ids=lambda at: at.provider.adapter)
def test_an_error_inside_200_is_no_audio(at: Route) -> None:
    found = decoder(at, {"content-type": "application/json"}, voice=voice_of(at))
    body = b'{"message":"insufficient balance"}'
    assert play(found, *[body[i : i + 7] for i in range(0, len(body), 7)])[2] == "no_balance"
