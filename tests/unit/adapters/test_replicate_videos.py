"""Videos at Replicate. Exchanges written from replicate 1.0.7 (video_providers.md sections 1 and
11, [RP]); recorded ones are in tests/recorded/test_videos.py."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from tests.unit.adapters.videos import (
    BODIES,
    OK,
    STATUSES,
    answer,
    create,
    handle,
    order,
    picture,
    route,
    sent,
    survives,
)
from tokenmarket.adapters.protocol import Head, Produced
from tokenmarket.adapters.replicate_videos import VIDEO
from tokenmarket.adapters.video_protocol import (
    Accepted,
    Ended,
    Failed,
    Running,
    Succeeded,
    Unknown,
)
from tokenmarket.catalog import load_shipped
from tokenmarket.core.catalog_toml import compile
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.video.capabilities import resolve
from tokenmarket.core.video.parse import parse_video

HERE = route("replicate", "kwaivgi/kling-v3-video", "https://api.replicate.example/v1")
VERSION = "ab" * 32
FILE = "https://replicate.delivery.example/out.mp4"


def prediction(**changes: Any) -> dict[str, Any]:
    base = {
        "id": "up-1",
        "status": "succeeded",
        "output": FILE,
        "error": None,
        "metrics": {"predict_time": 66.1},
        "completed_at": "2026-11-23T10:00:00.123Z",
        "data_removed": False,
    }
    return base | changes


def seen(**changes: Any) -> Any:
    return VIDEO.observe(handle(order(seconds=5)), HERE, OK, answer(prediction(**changes)))


def test_the_create_with_the_shipped_words_of_kling() -> None:
    catalog = compile(load_shipped(), 1)
    (where,) = (r for r in catalog.routes["kling-v3"] if r.provider.name == "replicate")
    body = b'{"model":"kling-v3","prompt":"a lake","resolution":"1080p","audio":true}'
    video = resolve(parse_video(body), catalog.models["kling-v3"])
    built = create(VIDEO, video, where, "https://us.example/n")
    assert built.path == "/models/kwaivgi/kling-v3-video/predictions"
    assert sent(built) == {
        "input": {
            "prompt": "a lake",
            "duration": 5,
            "mode": "pro",
            "aspect_ratio": "16:9",
            "generate_audio": True,
        },
        "webhook": "https://us.example/n",
        "webhook_events_filter": ["completed"],
    }
    shown = sent(create(VIDEO, order(inputs=(picture("first_frame"),)), where))
    assert shown["input"]["start_image"] == "data:image/png;base64,UE5H"


@pytest.mark.parametrize("model", [VERSION, f"o/m:{VERSION}"])
def test_a_version_has_another_path(model: str) -> None:
    built = create(VIDEO, order(), route("replicate", model))
    assert built.path == "/predictions"
    assert sent(built) == {"version": VERSION, "input": {"prompt": "a lake"}}


def test_accepted() -> None:
    body = answer(prediction(status="starting", output=None))
    assert VIDEO.accepted(order(), HERE, OK, body) == Accepted(
        "up-1", observation=Running(queued=True, provider_state="starting")
    )
    done = VIDEO.accepted(order(), HERE, OK, answer(prediction()))
    assert done == Accepted("up-1")
    assert isinstance(VIDEO.accepted(order(), HERE, OK, b"{}"), Unknown)
    with pytest.raises(UpstreamError):
        VIDEO.accepted(order(), HERE, OK, answer({"detail": "no"}))


def test_the_path_of_a_poll_and_of_a_cancel() -> None:
    assert VIDEO.poll(handle(), HERE).path == "/predictions/up-1"
    cancel = VIDEO.cancel(handle(), HERE)
    assert cancel is not None
    assert (cancel.method, cancel.path) == ("POST", "/predictions/up-1/cancel")


def test_done() -> None:
    found = seen()
    assert isinstance(found, Succeeded)
    assert found.outputs[0].file == Produced(url=FILE)
    assert found.outputs[0].expires_s == 1_795_431_600
    assert found.usage is None
    several = seen(output=[FILE, "https://x.example/2.mp4"], completed_at="yesterday")
    assert isinstance(several, Succeeded)
    assert [(o.number, o.expires_s) for o in several.outputs] == [(0, None), (1, None)]


def test_a_deleted_video_is_no_success() -> None:
    found = seen(output=None, data_removed=True)
    assert isinstance(found, Failed)
    assert isinstance(seen(output=None), Unknown)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("The input or output was flagged as sensitive. (E005)", "content_policy_violation"),
        ("NSFW content detected", "content_policy_violation"),
        ("Service is temporarily unavailable. (E004)", "upstream_capacity"),
        ("Prediction failed. (E006)", "invalid_input_media"),
        ("CUDA out of memory", "upstream_error"),
        (None, "upstream_error"),
    ],
)
def test_failures(words: str | None, code: str) -> None:
    found = seen(status="failed", output=None, error=words)
    assert isinstance(found, Failed)
    assert found.code == code


def test_other_states() -> None:
    assert seen(status="processing") == Running(provider_state="processing")
    for word in ("canceled", "aborted"):
        ended = Ended("cancelled", provider_state=word)
        assert seen(status=word) == ended
        assert VIDEO.cancelled(handle(), HERE, OK, answer(prediction(status=word))) == ended
    assert isinstance(seen(status="paused"), Unknown)
    assert isinstance(VIDEO.cancelled(handle(), HERE, Head(500, {}), b""), Unknown)


@given(STATUSES, BODIES)
def test_nothing_makes_it_raise(status: int, body: bytes) -> None:
    survives(VIDEO, HERE, status, body)
