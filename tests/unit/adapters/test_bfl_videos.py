"""FLUX 3 video. Exchanges written from vercel/ai of 2026-08 (video_providers.md section 1)."""

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
from tokenmarket.adapters.bfl_videos import VIDEO
from tokenmarket.adapters.protocol import Head, Produced
from tokenmarket.adapters.video_protocol import (
    Accepted,
    Failed,
    Missing,
    ProviderCost,
    Running,
    Succeeded,
    Unknown,
)
from tokenmarket.core.errors import ApiError, UpstreamError
from tokenmarket.core.usage import Usage

HERE = route("bfl", "flux-3-video", "https://api.bfl.example/v1")
ASK = "https://api.eu.bfl.example/v1/get_result?id=up-1"


def seen(**document: Any) -> Any:
    return VIDEO.observe(handle(order(seconds=5)), HERE, OK, answer(document))


def test_the_create() -> None:
    request = order(
        seconds=5, resolution="1080p", aspect_ratio="16:9", audio=True, fps=24, user="someone"
    )
    built = create(VIDEO, request, HERE)
    assert built.path == "/flux-3-video"
    assert sent(built) == {
        "mode": "t2v",
        "prompt": "a lake",
        "duration": 5,
        "resolution": "fhd",
        "aspect_ratio": "16:9",
        "generate_audio": True,
    }
    assert built.dropped == ("fps", "user")


def test_frames_and_a_video_to_go_on_from() -> None:
    frames = (picture("first_frame"), linked("last_frame", "b.png"))
    body = sent(create(VIDEO, order(inputs=frames), HERE))
    assert (body["mode"], body["keyframes"]) == ("i2v", ["UE5H", "https://x.example/b.png"])
    longer = sent(create(VIDEO, order(operation="extend", inputs=(clip("video"),)), HERE))
    assert (longer["mode"], longer["start_video"]) == ("v2v", "TVA0")


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"inputs": (picture("last_frame", "last_frame"),)}, "last_frame"),
        ({"inputs": (picture("first_frame"), clip("video"))}, "image"),
        ({"resolution": "480p"}, "resolution"),
        ({"inputs": (picture("reference_image", "images"),)}, "images"),
        ({"n": 2}, "n"),
    ],
)
def test_what_would_be_another_video_is_refused(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        create(VIDEO, order(**changes), HERE)
    assert (caught.value.code, caught.value.param) == ("REQUEST_002", param)


def test_asked_for_at_the_address_given() -> None:
    body = answer({"id": "up-1", "polling_url": ASK, "cost": 85})
    found = VIDEO.accepted(order(), HERE, OK, body)
    assert found == Accepted("up-1", {"poll": ASK}, cost=ProviderCost("85", "credit"))
    assert VIDEO.poll(handle(ref={"poll": ASK}), HERE).url == ASK
    bare = VIDEO.poll(handle(), HERE)
    assert (bare.url, bare.path) == (None, "/get_result?id=up-1")
    assert isinstance(VIDEO.accepted(order(), HERE, OK, b"{}"), Unknown)
    with pytest.raises(UpstreamError):
        VIDEO.accepted(order(), HERE, OK, answer({"detail": "no"}))


def test_states() -> None:
    assert seen(status="Pending") == Running(provider_state="Pending")
    assert seen(state="Pending") == Running(provider_state="Pending")
    assert isinstance(seen(status="Task not found"), Missing)
    assert isinstance(seen(status="Ready", result={}), Unknown)
    assert isinstance(seen(status="Queued"), Unknown)
    done = seen(status="Ready", result={"sample": "https://x.example/v", "duration": 5.2}, cost=85)
    assert isinstance(done, Succeeded)
    assert done.outputs[0].file == Produced(url="https://x.example/v", content_type="video/mp4")
    assert done.usage == Usage(video_ms=5000)
    assert done.cost == ProviderCost("85", "credit")


@pytest.mark.parametrize(
    ("state", "ours"),
    [
        ("Request Moderated", "content_policy_violation"),
        ("Content Moderated", "moderated_output"),
        ("Error", "upstream_error"),
        ("Failed", "upstream_error"),
    ],
)
def test_failures(state: str, ours: str) -> None:
    for details in ("no", {"message": "no"}):
        found = seen(status=state, details=details)
        assert isinstance(found, Failed)
        assert (found.code, found.message, found.provider_state) == (ours, "no", state)


def test_refusals() -> None:
    assert VIDEO.explain(Head(402, {}), answer({"detail": "no credits"})).kind == "no_balance"
    assert isinstance(VIDEO.refused(handle(), HERE, Head(404, {}), b""), Missing)
    assert VIDEO.cancel(handle(), HERE) is None


@given(STATUSES, BODIES)
def test_nothing_makes_it_raise(status: int, body: bytes) -> None:
    survives(VIDEO, HERE, status, body)
