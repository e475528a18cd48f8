"""Grok Imagine videos. Exchanges written from xai-sdk 1.21.0 and vercel/ai@ed857f5
(video_providers.md sections 1 and 10); a recorded one is in tests/recorded/test_videos.py."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from tests.unit.adapters.videos import (
    BODIES,
    OK,
    STATUSES,
    answer,
    clip,
    create,
    handle,
    linked,
    order,
    picture,
    route,
    sent,
    survives,
)
from tokenmarket.adapters.protocol import Head, Produced
from tokenmarket.adapters.video_protocol import (
    Accepted,
    Ended,
    Failed,
    Missing,
    ProviderCost,
    Running,
    Succeeded,
    Unknown,
)
from tokenmarket.adapters.xai_videos import VIDEO
from tokenmarket.core.errors import ApiError, UpstreamError
from tokenmarket.core.usage import Usage

HERE = route("xai", "grok-imagine-video-1.5", "https://api.x.example/v1")
PENDING = Head(202, {})
FILE = "https://vidgen.example/v.mp4"


def seen(document: Any, head: Head = OK, **changes: Any) -> Any:
    return VIDEO.observe(handle(order(seconds=8, **changes)), HERE, head, answer(document))


def done(**video: Any) -> dict[str, Any]:
    return {
        "status": "done",
        "video": {"url": FILE, "duration": 8, "respect_moderation": True} | video,
        "model": "grok-imagine-video-1.5",
        "usage": {"cost_in_usd_ticks": 11_200_000_000},
        "progress": 100,
    }


def test_the_create() -> None:
    request = order(
        seconds=8,
        resolution="720p",
        aspect_ratio="16:9",
        width=1280,
        height=720,
        given=("size",),
        audio=False,
        user="someone",
        seed=7,
        inputs=(picture("first_frame"),),
    )
    built = create(VIDEO, request, HERE)
    assert built.path == "/videos/generations"
    assert sent(built) == {
        "model": "grok-imagine-video-1.5",
        "prompt": "a lake",
        "duration": 8,
        "resolution": "720p",
        "aspect_ratio": "16:9",
        "generate_audio": False,
        "user": "someone",
        "image": {"url": "data:image/png;base64,UE5H"},
    }
    assert built.dropped == ("seed",)


def test_references_and_a_last_frame() -> None:
    inputs = (linked("reference_image", "a.png"), linked("reference_image", "b.png"))
    assert sent(create(VIDEO, order(inputs=inputs), HERE))["reference_images"] == [
        {"url": "https://x.example/a.png"},
        {"url": "https://x.example/b.png"},
    ]
    frames = (linked("first_frame", "a.png"), linked("last_frame", "b.png"))
    body = sent(create(VIDEO, order(inputs=frames), HERE))
    assert body["last_frame"] == {"url": "https://x.example/b.png"}


def test_a_picture_has_its_own_shape_unless_the_caller_wrote_one() -> None:
    request = order(aspect_ratio="16:9", inputs=(picture("first_frame"),))
    assert sent(create(VIDEO, request, HERE))["aspect_ratio"] == "16:9"
    ours = order(aspect_ratio="16:9", inputs=request.inputs, defaults=("aspect_ratio",))
    assert "aspect_ratio" not in sent(create(VIDEO, ours, HERE))


def test_an_edit_has_the_length_of_its_source() -> None:
    inputs = (linked("video", "a.mp4", "video"),)
    defaults = ("seconds", "resolution", "aspect_ratio")
    request = order(
        operation="edit",
        inputs=inputs,
        seconds=8,
        resolution="480p",
        aspect_ratio="16:9",
        defaults=defaults,
    )
    built = create(VIDEO, request, HERE)
    assert built.path == "/videos/edits"
    assert sent(built) == {
        "model": "grok-imagine-video-1.5",
        "prompt": "a lake",
        "video": {"url": "https://x.example/a.mp4"},
    }
    longer = create(VIDEO, order(operation="extend", inputs=inputs, seconds=6), HERE)
    assert longer.path == "/videos/extensions"
    assert sent(longer)["duration"] == 6


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        (
            {"inputs": (picture("first_frame"), picture("reference_image", "images[1]"))},
            "images[1]",
        ),
        ({"inputs": (clip("video"),), "operation": "edit"}, "video"),
        (
            {"inputs": (linked("video", "a.mp4", "video"),), "operation": "edit", "seconds": 5},
            "seconds",
        ),
        ({"inputs": (linked("reference_audio", "a.mp3", "audio_url"),)}, "audio_url"),
        ({"n": 2}, "n"),
        ({"mode": "pro"}, "mode"),
    ],
)
def test_what_would_be_another_video_is_refused(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        create(VIDEO, order(**changes), HERE)
    assert (caught.value.code, caught.value.param) == ("REQUEST_002", param)


def test_accepted() -> None:
    assert VIDEO.accepted(order(), HERE, OK, answer({"request_id": "r"})) == Accepted("r")
    assert isinstance(VIDEO.accepted(order(), HERE, OK, b"{}"), Unknown)
    with pytest.raises(UpstreamError):
        VIDEO.accepted(order(), HERE, OK, answer({"code": "x", "error": "no"}))


def test_pending_is_an_http_202() -> None:
    assert seen({"status": "pending", "progress": 18}, PENDING) == Running(
        progress=18, provider_state="pending"
    )


def test_done() -> None:
    found = seen(done())
    assert isinstance(found, Succeeded)
    assert found.outputs[0].file == Produced(url=FILE, content_type="video/mp4")
    assert found.usage == Usage(video_ms=8000)
    assert found.cost == ProviderCost("1.12", "USD")


def test_a_withheld_video_costs_us_and_is_no_success() -> None:
    found = seen(done(respect_moderation=False))
    assert isinstance(found, Failed)
    assert found.code == "moderated_output"
    assert found.cost == ProviderCost("1.12", "USD")
    assert not found.retryable


def test_other_ends() -> None:
    assert seen({"status": "expired"}) == Ended("expired", provider_state="expired")
    found = seen({"status": "failed", "error": {"code": "internal", "message": "boom"}})
    assert isinstance(found, Failed)
    assert (found.code, found.retryable) == ("upstream_error", True)
    found = seen({"status": "failed", "error": {"code": "?", "message": "moderation refused it"}})
    assert isinstance(found, Failed)
    assert found.code == "content_policy_violation"
    for document in ({"status": "ready"}, {"status": "done", "video": {}}, {}):
        assert isinstance(seen(document), Unknown)


@pytest.mark.parametrize("ticks", [None, "many", -1, 0, 1.5, True, 10**20])
def test_a_cost_that_cannot_be_believed(ticks: Any) -> None:
    found = seen(done() | {"usage": {"cost_in_usd_ticks": ticks}})
    assert isinstance(found, Succeeded)
    assert found.cost is None


def test_refusals() -> None:
    body = answer({"code": "Client specified an invalid argument", "error": "1080p is not there"})
    assert VIDEO.explain(Head(400, {}), body).kind == "bad_request"
    assert isinstance(VIDEO.refused(handle(), HERE, Head(404, {}), b""), Missing)
    assert VIDEO.cancel(handle(), HERE) is None
    assert VIDEO.reconcile(handle(upstream_id=""), HERE) is None


@given(STATUSES, BODIES)
def test_nothing_makes_it_raise(status: int, body: bytes) -> None:
    survives(VIDEO, HERE, status, body)
