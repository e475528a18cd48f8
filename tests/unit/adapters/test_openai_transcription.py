"""Transcription on OpenAI's wire: audio.md sections 1.2 and 1.3."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.adapters.sounds import (
    OK,
    TOKENS,
    adapter,
    form,
    read,
    rendered,
    reply,
    request,
    route,
    sent,
)
from tokenmarket.adapters.protocol import Reply
from tokenmarket.core.errors import ApiError, UpstreamError
from tokenmarket.core.usage import Usage

WHISPER = route(
    "openai",
    stream=False,
    translations=True,
    upstream_formats=["json", "text", "srt", "verbose_json", "vtt"],
    parameters=["language", "prompt", "temperature"],
)
GPT = route("openai", *TOKENS, upstream_formats=["json"])
DIARIZE = route(
    "openai", *TOKENS, upstream_formats=["json", "text", "diarized_json"], default_chunking="auto"
)
LIST = route("openai", parameters=["languages", "keywords"])
VERBOSE = {
    "task": "transcribe",
    "language": "english",
    "duration": 2.45,
    "text": "Hello there.",
    "segments": [{"id": 0, "start": 0.0, "end": 2.4, "text": " Hello there.", "seek": 3}],
    "usage": {"type": "duration", "seconds": 3},
}


def test_the_file_goes_along_as_what_it_is() -> None:
    call = sent(WHISPER, language="en", temperature="0.25", prompt="names")
    assert call.path == "/audio/transcriptions"
    assert form(call) == [
        ("model", "theirs"),
        ("response_format", "json"),
        ("language", "en"),
        ("prompt", "names"),
        ("temperature", "0.25"),
        ("file", "audio/wav"),
    ]
    assert call.dropped == ()


def test_translations_have_their_own_path() -> None:
    call = sent(WHISPER, "translations", response_format="srt")
    assert call.path == "/audio/translations"
    assert ("response_format", "verbose_json") in form(call)


@pytest.mark.parametrize(
    ("at", "asked", "upstream"),
    [
        (WHISPER, "json", "json"),
        (WHISPER, "text", "json"),
        (WHISPER, "srt", "verbose_json"),
        (WHISPER, "vtt", "verbose_json"),
        (WHISPER, "verbose_json", "verbose_json"),
        (GPT, "json", "json"),
        (GPT, "text", "json"),
        (DIARIZE, "diarized_json", "diarized_json"),
        (route("groq"), "srt", "verbose_json"),
        (route("sandbox"), "vtt", "verbose_json"),
    ],
)
def test_the_upstream_is_asked_for_what_the_format_needs(
    at: Any, asked: str, upstream: str
) -> None:
    assert ("response_format", upstream) in form(sent(at, response_format=asked))


@pytest.mark.parametrize("asked", ["srt", "vtt", "verbose_json", "diarized_json"])
def test_a_format_that_cannot_be_made_is_refused_before_it_costs(asked: str) -> None:
    with pytest.raises(ApiError) as refused:
        sent(GPT, response_format=asked)
    assert refused.value.param == "response_format"
    assert refused.value.details == {"legal": ["json", "text"]}


def test_a_chunking_strategy_is_added_where_the_model_needs_one() -> None:
    assert ("chunking_strategy", "auto") in form(sent(DIARIZE))
    own = sent(DIARIZE, chunking_strategy={"type": "server_vad", "threshold": 0.4})
    assert ("chunking_strategy", '{"type": "server_vad", "threshold": 0.4}') in form(own)
    assert "chunking_strategy" not in dict(form(sent(GPT)))


def test_what_the_model_does_not_take_is_named() -> None:
    call = sent(
        WHISPER, include=["logprobs"], keywords=["Ada"], known_speaker_names=["x"], diarize="true"
    )
    assert set(call.dropped) == {"include", "keywords", "known_speaker_names", "diarize"}
    assert not {name for name, _ in form(call)} & {"include[]", "keywords[]", "diarize"}


def test_a_language_goes_where_the_model_takes_it() -> None:
    call = sent(LIST, language="de")
    assert (("languages[]", "de") in form(call), call.dropped) == (True, ())
    call = sent(WHISPER, languages=["de"])
    assert (("language", "de") in form(call), call.dropped) == (True, ())
    call = sent(WHISPER, languages=["de", "en"])
    assert ("language" in dict(form(call)), call.dropped) == (False, ("languages",))


def test_lists_are_repeated() -> None:
    fields = form(sent(route("openai"), include=["logprobs"], keywords=["a", "b"]))
    assert [value for name, value in fields if name == "keywords[]"] == ["a", "b"]
    words = sent(
        WHISPER, response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    fields = form(words)
    assert [value for name, value in fields if name == "timestamp_granularities[]"] == [
        "word",
        "segment",
    ]


def test_a_stream_is_asked_for_only_where_there_is_one() -> None:
    streaming = request(GPT, stream="true")
    assert adapter(GPT).streams(streaming, GPT)
    assert ("stream", "true") in form(sent(GPT, stream="true"))
    for at in (WHISPER, route("groq")):
        assert not adapter(at).streams(request(at, stream="true"), at)
        assert "stream" not in dict(form(sent(at, stream="true")))


def test_seconds_are_the_upstream_s() -> None:
    assert reply(WHISPER, VERBOSE).usage == Usage(audio_ms=3000)
    assert reply(WHISPER, {"text": "x", "duration": 2.45}).usage == Usage(audio_ms=2450)
    assert reply(WHISPER, {"text": "x"}).usage == Usage(audio_ms=2500)  # as we measured


def test_tokens_are_billed_only_where_they_are_the_unit() -> None:
    usage = {
        "type": "tokens",
        "input_tokens": 24,
        "input_token_details": {"text_tokens": 4, "audio_tokens": 20},
        "output_tokens": 7,
    }
    answer = {"text": "x", "usage": usage}
    assert reply(GPT, answer).usage == Usage(input_tokens=4, audio_input_tokens=20, output_tokens=7)
    assert reply(WHISPER, answer).usage == Usage(audio_ms=2500)
    assert reply(GPT, {"text": "x"}).usage is None  # unknown is not zero, nor estimated
    assert reply(GPT, {"text": "x", "usage": {"type": "duration", "seconds": 3}}).usage is None


def test_every_format_of_one_answer() -> None:
    found = reply(WHISPER, VERBOSE, response_format="verbose_json")
    assert "00:00:00,000 --> 00:00:02,400\nHello there." in rendered(found, "srt")
    assert rendered(found, "text") == "Hello there.\n"
    assert '"seek":3' in rendered(found, "verbose_json")


def test_members_of_the_answer() -> None:
    """What is of the sound goes on, the upstream's own names do not."""
    found = reply(
        route("groq"),
        {"text": "x", "logprobs": [{"token": "x"}], "model": "m", "x_groq": {"id": "req_1"}},
    )
    assert rendered(found, "json") == '{"text":"x","logprobs":[{"token":"x"}]}'
    assert found.upstream_id == "req_1"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"error": {"message": "bad key", "code": "invalid_api_key"}}, "auth"),
        ({"text": 3}, "upstream_error"),
        ([], "upstream_error"),
        (b"hello", "upstream_error"),
    ],
)
def test_a_200_that_is_none(body: object, kind: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        read(WHISPER, body)
    assert caught.value.kind == kind


def stream(at: Any, *events: bytes, cut: int = 7) -> tuple[bytes, Usage | None]:
    decoder = adapter(at).decoder(request(at, stream="true"), at, OK)
    data = b"".join(b"data: " + event + b"\r\n\r\n" for event in events)
    out = b"".join(decoder.feed(data[i : i + cut]) for i in range(0, len(data), cut))
    out += decoder.finish()
    return out + decoder.tail(b'{"type":"duration","seconds":3,"cost":0.1}'), decoder.usage


def test_a_stream_ends_with_our_usage() -> None:
    out, usage = stream(
        route("openai"),
        b'{"type":"transcript.text.delta","delta":"Hi"}',
        b'{"type":"transcript.text.done","text":"Hi","usage":{"type":"tokens","input_tokens":9}}',
        b"[DONE]",
    )
    events = out.decode().split("\n\n")
    assert events[0] == 'data: {"type":"transcript.text.delta","delta":"Hi"}'
    assert '"cost":0.1' in events[1]
    assert events[2:] == ["data: [DONE]", ""]
    assert usage == Usage(audio_ms=2500)


def test_a_stream_without_its_end_is_broken() -> None:
    with pytest.raises(UpstreamError) as caught:
        stream(GPT, b'{"type":"transcript.text.delta","delta":"Hi"}')
    assert caught.value.kind == "stream_broken"


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["text", "segments", "words", "usage", "seconds", "start", "duration"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON | st.binary(max_size=40))
def test_garbage_is_an_answer_or_an_upstream_error(body: object) -> None:
    try:
        found = read(WHISPER, body)
    except UpstreamError:
        return
    assert isinstance(found, Reply)
    rendered(found, "json")
