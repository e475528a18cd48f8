"""Events of pictures whose upstream does not stream, and usage objects of media."""

from __future__ import annotations

import base64
import json

from tokenmarket.core.bodies import ImageBody
from tokenmarket.core.media_answers import (
    Picture,
    image_events,
    images_members,
    media_usage_json,
    speech_done_event,
)
from tokenmarket.core.requests import Request
from tokenmarket.core.usage import Usage

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\x00" * 60).decode()
JPEG = base64.b64encode(b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + b"\x00" * 60).decode()


def request(variant: str = "generations", **resolved: str) -> Request:
    made = Request("images", "m", b"{}", ImageBody("m", "a cat"), variant=variant, created_s=7)
    for name, value in resolved.items():
        setattr(made, name, value)
    return made


def events(data: bytes) -> list[dict[str, object]]:
    return [json.loads(block.split("data: ")[1]) for block in data.decode().split("\n\n")[:-1]]


def test_one_completed_event_a_picture_and_usage_on_the_last() -> None:
    pictures = [Picture(b64_json=PNG), Picture(b64_json=JPEG, facts={"revised_prompt": "cat"})]
    members = images_members(request(size="512x512"), {}, pictures)
    first, last = events(image_events(request(), members, pictures, b'{"total_tokens":3}'))
    assert first["type"] == last["type"] == "image_generation.completed"
    assert (first["output_format"], last["output_format"]) == ("png", "jpeg")
    assert (first["size"], first["quality"], first["background"]) == ("512x512", "auto", "auto")
    assert "usage" not in first
    assert last["usage"] == {"total_tokens": 3}
    assert last["revised_prompt"] == "cat"


def test_edits_have_their_own_event() -> None:
    pictures = [Picture(b64_json=PNG)]
    (event,) = events(image_events(request("edits"), {}, pictures, None))
    assert event["type"] == "image_edit.completed"
    assert event["usage"] is None


def test_usage_of_a_transcription_is_seconds_or_tokens() -> None:
    seconds = json.loads(media_usage_json("transcription", Usage(audio_ms=1_001), [], 5))
    assert (seconds["type"], seconds["seconds"], seconds["cost"]) == ("duration", 2, 5e-9)
    tokens = json.loads(
        media_usage_json(
            "transcription", Usage(input_tokens=1, audio_input_tokens=9, output_tokens=4), [], 0
        )
    )
    assert tokens["type"] == "tokens"
    assert tokens["input_tokens"] == 10
    assert tokens["input_token_details"] == {"text_tokens": 1, "audio_tokens": 9}
    assert tokens["total_tokens"] == 14


def test_the_last_event_of_speech_has_three_integers_even_without_usage() -> None:
    (event,) = events(speech_done_event(None))
    assert event["usage"] == {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
