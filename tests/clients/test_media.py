"""Images, speech, transcription, translation and moderations with the official OpenAI SDK."""

import base64
import io
import wave
from decimal import Decimal
from typing import Any, Literal

import pytest
from openai import AsyncOpenAI, BadRequestError, OpenAI

from tests.support.server import Server

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def spoken(server: Server) -> bytes:
    """A wav of the sandbox that says its text in a comment, so that it can be understood."""
    with OpenAI(base_url=server.base_url, api_key=server.key, max_retries=0) as client:
        return client.audio.speech.create(
            model="sandbox-speech", voice="alloy", input="Hello there world", response_format="wav"
        ).content


@pytest.fixture
def audio(spoken: bytes) -> io.BytesIO:
    file = io.BytesIO(spoken)
    file.name = "hello.wav"
    return file


# --- images -------------------------------------------------------------------------------------


def test_a_picture(client: OpenAI, server: Server) -> None:
    raw = client.images.with_raw_response.generate(
        model="sandbox-image", prompt="A cat", size="256x256"
    )
    answer = raw.parse()
    assert answer.data is not None
    picture = base64.b64decode(answer.data[0].b64_json or "")
    assert picture.startswith(PNG)
    assert int.from_bytes(picture[16:20]) == int.from_bytes(picture[20:24]) == 256
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    receipt = server.receipt(raw.headers["x-request-id"])
    assert receipt["operation"] == "images"
    assert receipt["amounts"]["charged"] == raw.headers["x-tokenmarket-cost"]
    assert Decimal(raw.headers["x-tokenmarket-cost"]) > 0
    assert sum(Decimal(item["amount"]) for item in receipt["items"]) == Decimal(
        receipt["amounts"]["charged"]
    )


def test_several_pictures_cost_as_many_times_as_much(client: OpenAI) -> None:
    one = client.images.with_raw_response.generate(
        model="sandbox-image", prompt="A cat", size="256x256"
    )
    three = client.images.with_raw_response.generate(
        model="sandbox-image", prompt="A cat", size="256x256", n=3
    )
    assert len(three.parse().data or []) == 3
    cost = Decimal(one.headers["x-tokenmarket-cost"])
    assert Decimal(three.headers["x-tokenmarket-cost"]) == 3 * cost


def test_an_edit_and_a_variation(client: OpenAI) -> None:
    made = client.images.generate(model="sandbox-image", prompt="A cat", size="256x256")
    picture = base64.b64decode((made.data or [])[0].b64_json or "")
    edited = client.images.edit(
        model="sandbox-image", prompt="in blue", image=[("a.png", picture), ("b.png", picture)]
    )
    assert (edited.data or [])[0].b64_json
    with pytest.warns(DeprecationWarning, match="deprecated"):
        varied = client.images.create_variation(model="sandbox-image", image=("a.png", picture))
    assert (varied.data or [])[0].b64_json


async def test_partial_pictures_stream(aclient: AsyncOpenAI) -> None:
    stream = await aclient.images.generate(
        model="sandbox-image", prompt="A cat", size="256x256", stream=True, partial_images=2
    )
    events: list[Any] = [event async for event in stream]
    assert [event.type for event in events] == [
        "image_generation.partial_image",
        "image_generation.partial_image",
        "image_generation.completed",
    ]
    assert events[-1].usage.total_tokens > 0
    assert events[-1].usage.cost > 0


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"n": 0}, "n"),
        ({"n": 11}, "n"),
        ({"size": "1x"}, "size"),
        ({"size": "100000x100000"}, "size"),
        ({"prompt": ""}, "prompt"),
        ({"response_format": "gif"}, "response_format"),
        ({"output_format": "webp"}, "output_format"),
    ],
)
def test_a_wrong_picture_costs_nothing(
    client: OpenAI, server: Server, wrong: dict[str, Any], param: str
) -> None:
    body: dict[str, Any] = {"model": "sandbox-image", "prompt": "A cat", **wrong}
    with pytest.raises(BadRequestError) as refused:
        client.images.generate(**body)
    assert refused.value.param == param
    receipt = server.receipt(refused.value.response.headers["x-request-id"])
    assert Decimal(receipt["amounts"]["charged"]) == 0


@pytest.mark.parametrize("data", [b"no picture at all", PNG, b"<svg xmlns='x'/>"])
def test_what_is_no_picture_is_refused(client: OpenAI, data: bytes) -> None:
    with pytest.raises(BadRequestError) as refused:
        client.images.edit(model="sandbox-image", prompt="blue", image=("../../a.png", data))
    assert refused.value.param == "image"


# --- speech -------------------------------------------------------------------------------------


def test_speech_is_real_audio_and_says_its_cost_at_once(client: OpenAI, server: Server) -> None:
    text = "Hello there world"
    answer = client.audio.speech.create(
        model="sandbox-speech", voice="alloy", input=text, response_format="wav"
    )
    with wave.open(io.BytesIO(answer.content)) as sound:
        assert sound.getframerate() == 24_000
    headers = answer.response.headers
    assert headers["content-type"] == "audio/wav"
    receipt = server.receipt(headers["x-request-id"])
    assert receipt["operation"] == "speech"
    assert receipt["amounts"]["charged"] == headers["x-tokenmarket-cost"]
    assert receipt["items"][0]["unit"] == "character"
    assert receipt["items"][0]["quantity"] == str(len(text))


def test_speech_as_events(client: OpenAI) -> None:
    answer = client.audio.speech.with_raw_response.create(
        model="sandbox-speech",
        voice="nova",
        input="Hi",
        response_format="pcm",
        stream_format="sse",
    )
    lines = answer.content.decode().split("\n\n")
    assert '"speech.audio.delta"' in lines[0]
    assert '"speech.audio.done"' in lines[-2]
    assert '"characters":2' in lines[-2]


def test_an_unknown_voice_gets_the_list(client: OpenAI) -> None:
    with pytest.raises(BadRequestError) as refused:
        client.audio.speech.create(model="sandbox-speech", voice="nobody", input="Hi")
    assert refused.value.param == "voice"
    assert "alloy" in refused.value.message


# --- transcription and translation --------------------------------------------------------------


Format = Literal["json", "text", "srt", "vtt", "verbose_json", "diarized_json"]


@pytest.mark.parametrize("form", ["json", "text", "srt", "vtt", "verbose_json", "diarized_json"])
def test_a_transcript_in_every_format(client: OpenAI, audio: io.BytesIO, form: Format) -> None:
    answer: Any = client.audio.transcriptions.create(
        model="sandbox-transcribe", file=audio, response_format=form
    )
    text = answer if isinstance(answer, str) else answer.text
    assert "Hello there world" in text
    if form == "srt":
        assert "00:00:00,000 --> " in text
    if form == "vtt":
        assert text.startswith("WEBVTT")
    if form == "verbose_json":
        assert answer.segments[0].start == 0
        assert answer.duration > 0
    if form == "diarized_json":
        assert answer.segments[0].speaker == "A"


def test_a_transcript_streams(client: OpenAI, audio: io.BytesIO) -> None:
    events = list(
        client.audio.transcriptions.create(model="sandbox-transcribe", file=audio, stream=True)
    )
    assert events[-1].type == "transcript.text.done"
    pieces = [event.delta for event in events if event.type == "transcript.text.delta"]
    assert "".join(pieces) == events[-1].text == "Hello there world"


def test_a_translation(client: OpenAI, server: Server, audio: io.BytesIO) -> None:
    with pytest.warns(DeprecationWarning, match="deprecated"):
        raw = client.audio.translations.with_raw_response.create(
            model="sandbox-translate", file=audio
        )
    assert raw.parse().text
    receipt = server.receipt(raw.headers["x-request-id"])
    assert receipt["operation"] == "translation"
    assert receipt["items"][0]["unit"] == "audio_second"


@pytest.mark.parametrize("data", [b"", b"nonsense" * 100, PNG + b"\x00" * 100])
def test_what_is_no_audio_is_refused(client: OpenAI, server: Server, data: bytes) -> None:
    with pytest.raises(BadRequestError) as refused:
        client.audio.transcriptions.create(model="sandbox-transcribe", file=("a.wav", data))
    assert refused.value.param == "file"
    receipt = server.receipt(refused.value.response.headers["x-request-id"])
    assert Decimal(receipt["amounts"]["charged"]) == 0


# --- moderations --------------------------------------------------------------------------------


def test_moderations(client: OpenAI) -> None:
    answer = client.moderations.create(
        model="sandbox-moderation", input=["I will kill you", "A nice day"]
    )
    assert [result.flagged for result in answer.results] == [True, False]
    assert answer.results[0].categories.violence
