"""Orders in the words of somebody else's model."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.adapters.videos import linked, order, picture, route
from tokenmarket.adapters.kit.hosted_videos import hosted_order
from tokenmarket.core.errors import ApiError

USUAL = {"seconds": "duration", "aspect_ratio": "aspect_ratio", "first_frame": "image"}


def made(request: Any, **words: Any) -> tuple[str, dict[str, object], tuple[str, ...]]:
    return hosted_order(request, route("fal", "o/m", host=words), "host", USUAL)


def test_the_usual_words() -> None:
    request = order(seconds=5, aspect_ratio="16:9", provider_options={"cfg": 1, "prompt": "no"})
    assert made(request) == (
        "o/m",
        {"cfg": 1, "prompt": "a lake", "duration": 5, "aspect_ratio": "16:9"},
        (),
    )


@pytest.mark.parametrize(("form", "said"), [("text", "5"), ("suffixed", "5s"), ("number", 5)])
def test_forms_of_seconds(form: str, said: object) -> None:
    assert made(order(seconds=5), seconds=form)[1]["duration"] == said


def test_words_values_and_models_of_one_model() -> None:
    words: dict[str, Any] = {
        "fields": {"aspect_ratio": "", "resolution": "mode", "last_frame": "end", "audio": "sound"},
        "values": {"resolution": {"720p": "standard"}, "audio": {"true": "on"}},
        "models": {"first_frame": "o/m/image"},
    }
    frames = (picture("first_frame"), linked("last_frame", "b.png"))
    request = order(resolution="720p", audio=True, inputs=frames, aspect_ratio="16:9")
    model, body, dropped = made(request, **words)
    assert model == "o/m/image"
    assert body == {
        "prompt": "a lake",
        "mode": "standard",
        "sound": "on",
        "image": "data:image/png;base64,UE5H",
        "end": "https://x.example/b.png",
    }
    assert dropped == ()


def test_references_are_a_list() -> None:
    inputs = (linked("reference_image", "a.png"), linked("reference_image", "b.png"))
    body = made(order(inputs=inputs), fields={"reference_image": "images"})[1]
    assert body["images"] == ["https://x.example/a.png", "https://x.example/b.png"]


def test_size_is_another_way_to_say_shape() -> None:
    given = ("size",)
    request = order(width=1280, height=720, resolution="720p", aspect_ratio="16:9", given=given)
    assert made(request)[2] == ()
    assert made(request, fields={"aspect_ratio": ""})[2] == ("size",)
    sized = made(request, fields={"aspect_ratio": "", "size": "size"})
    assert sized[1]["size"] == "1280x720"
    assert sized[2] == ()


def test_a_picture_has_its_own_shape() -> None:
    request = order(
        aspect_ratio="16:9", defaults=("aspect_ratio",), inputs=(picture("first_frame"),)
    )
    assert "aspect_ratio" not in made(request)[1]


@pytest.mark.parametrize(
    ("changes", "fields", "param"),
    [
        ({"audio": True}, {}, "audio"),
        ({"mode": "pro"}, {}, "mode"),
        ({"seconds": 5}, {"seconds": ""}, "seconds"),
        ({"inputs": (linked("last_frame", "a.png", "last_frame"),)}, {}, "last_frame"),
        ({"source_task_id": "video_2"}, {"video": "video_url"}, "video"),
        (
            {"inputs": (picture("first_frame"), picture("reference_image", "images[1]"))},
            {"reference_image": "images"},
            "images[1]",
        ),
    ],
)
def test_what_would_be_another_video_is_refused(
    changes: dict[str, Any], fields: dict[str, str], param: str
) -> None:
    with pytest.raises(ApiError) as caught:
        made(order(**changes), fields=fields)
    assert (caught.value.code, caught.value.param) == ("REQUEST_002", param)


@pytest.mark.parametrize("words", [7, {"fields": 7, "values": [], "models": {"first_frame": 7}}])
def test_a_row_s_mistake_is_no_failure(words: Any) -> None:
    request = order(seconds=5, inputs=(picture("first_frame"),))
    where = route("fal", "o/m", host=words)
    assert hosted_order(request, where, "host", USUAL)[0] == "o/m"
