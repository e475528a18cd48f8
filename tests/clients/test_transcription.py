"""Transcription and translation with the official OpenAI SDK: what test_media.py leaves out."""

import io
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from openai import APIStatusError, AsyncOpenAI, BadRequestError, OpenAI

from tests.support.server import Server

TEXT = "Hello there world. How are you?"


@pytest.fixture(scope="module")
def server(start: Callable[..., Server]) -> Server:
    return start(TOKENMARKET_MULTIPART_BODY_BYTES_MAX="1048576")


@pytest.fixture(scope="module")
def spoken(server: Server) -> dict[str, bytes]:
    """What the sandbox says, in every format that it can understand again."""
    with OpenAI(base_url=server.base_url, api_key=server.key, max_retries=0) as client:
        return {
            kind: client.audio.speech.create(
                model="sandbox-speech", voice="alloy", input=TEXT, response_format=kind
            ).content
            for kind in ("wav", "mp3", "flac")
        }


@pytest.mark.parametrize("kind", ["wav", "mp3", "flac"])
def test_every_format_under_any_name(
    client: OpenAI, server: Server, spoken: dict[str, bytes], kind: str
) -> None:
    """The name and the content type say nothing: the bytes do."""
    raw = client.audio.transcriptions.with_raw_response.create(
        model="sandbox-transcribe", file=("../../etc/x.ogg", spoken[kind], "image/png")
    )
    assert raw.parse().text == TEXT
    receipt = server.receipt(raw.headers["x-request-id"])
    assert receipt["items"][0]["unit"] == "audio_second"
    assert receipt["amounts"]["charged"] == raw.headers["x-tokenmarket-cost"]


def test_words_and_segments(client: OpenAI, spoken: dict[str, bytes]) -> None:
    answer = client.audio.transcriptions.create(
        model="sandbox-transcribe",
        file=("a.wav", spoken["wav"]),
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert answer.words is not None
    assert answer.segments is not None
    assert [word.word for word in answer.words][:2] == ["Hello", "there"]
    ends = [word.end for word in answer.words]
    assert ends == sorted(ends)
    assert ends[-1] <= answer.duration
    assert {"id", "seek", "tokens", "avg_logprob", "no_speech_prob"} <= set(
        answer.segments[0].model_dump()
    )


def test_a_price_by_the_second(client: OpenAI, server: Server, spoken: dict[str, bytes]) -> None:
    raw = client.audio.transcriptions.with_raw_response.create(
        model="sandbox-transcribe", file=("a.wav", spoken["wav"])
    )
    usage: Any = raw.parse().usage
    assert usage.type == "duration"
    receipt = server.receipt(raw.headers["x-request-id"])
    item = receipt["items"][0]
    assert Decimal(item["amount"]) == Decimal(raw.headers["x-tokenmarket-cost"])
    assert Decimal(item["amount"]) <= int(usage.seconds) * Decimal("0.0001")


async def test_speakers_stream(aclient: AsyncOpenAI, spoken: dict[str, bytes]) -> None:
    stream = await aclient.audio.transcriptions.create(
        model="sandbox-transcribe",
        file=("a.wav", spoken["wav"]),
        response_format="diarized_json",
        stream=True,
        chunking_strategy={"type": "server_vad", "threshold": 0.4},
    )
    events: list[Any] = [event async for event in stream]
    segments = [event for event in events if event.type == "transcript.text.segment"]
    assert {segment.speaker for segment in segments} == {"A"}
    assert events[-1].type == "transcript.text.done"
    assert events[-1].usage is not None


@pytest.mark.parametrize("form", ["json", "text", "srt", "vtt", "verbose_json"])
def test_translations(client: OpenAI, spoken: dict[str, bytes], form: Any) -> None:
    with pytest.warns(DeprecationWarning, match="deprecated"):
        answer: Any = client.audio.translations.create(
            model="sandbox-translate", file=("a.wav", spoken["wav"]), response_format=form
        )
    text = answer if isinstance(answer, str) else answer.text
    assert text.strip()
    if form == "verbose_json":
        assert answer.task == "translate"  # what is more than the SDK's type says is kept
        assert answer.segments[0].text.strip()


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"response_format": "docx"}, "response_format"),
        ({"timestamp_granularities": ["word"]}, "timestamp_granularities"),
        ({"timestamp_granularities": ["page"]}, "timestamp_granularities"),
        ({"temperature": 2.5}, "temperature"),
        ({"known_speaker_names": ["a"] * 5}, "known_speaker_names"),
        ({"model": "sandbox-translate"}, "model"),
        ({"stream": True, "response_format": "srt"}, "response_format"),
    ],
)
def test_a_wrong_parameter_costs_nothing(
    client: OpenAI, server: Server, spoken: dict[str, bytes], wrong: dict[str, Any], param: str
) -> None:
    body = {"model": "sandbox-transcribe", "file": ("a.wav", spoken["wav"]), **wrong}
    with pytest.raises(BadRequestError) as refused:
        client.audio.transcriptions.create(**body)
    assert (refused.value.param or "").startswith(param)
    receipt = server.receipt(refused.value.response.headers["x-request-id"])
    assert Decimal(receipt["amounts"]["charged"]) == 0


# The last two begin as audio does: that there is no sound, the upstream says.
@pytest.mark.parametrize("data", [b"", b"%PDF-1.7 " * 50, b"ID3", b"RIFF\x00\x00\x00\x00WAVE"])
def test_a_file_that_is_empty_or_something_else(
    client: OpenAI, server: Server, data: bytes
) -> None:
    with pytest.raises(BadRequestError) as refused:
        client.audio.transcriptions.create(model="sandbox-transcribe", file=("a.wav", data))
    assert refused.value.param == "file"
    receipt = server.receipt(refused.value.response.headers["x-request-id"])
    assert Decimal(receipt["amounts"]["charged"]) == 0


def test_a_file_that_is_too_large(client: OpenAI, spoken: dict[str, bytes]) -> None:
    with pytest.raises(APIStatusError) as refused:
        client.audio.transcriptions.create(
            model="sandbox-transcribe", file=io.BytesIO(spoken["wav"] + bytes(2_000_000))
        )
    assert refused.value.status_code == 413
    body: Any = refused.value.body
    assert body["code"] == "REQUEST_006"
