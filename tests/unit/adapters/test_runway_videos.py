"""Runway. Exchanges written from runwayml 5.24.0 (video_providers.md sections 1 and 7, [RW])."""

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
    linked,
    order,
    picture,
    route,
    sent,
    survives,
)
from tokenmarket.adapters.protocol import Head, Produced
from tokenmarket.adapters.runway import VIDEO
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
from tokenmarket.core.errors import ApiError, UpstreamError

HERE = route("runway", "gen4.5", sizes=["1280x720", "720x1280"])
TIERED = route("runway", "hailuo3", resolutions=["768p", "2k"], aspect_ratios=["16:9"])


def seen(**task: Any) -> Any:
    return VIDEO.observe(handle(order(seconds=5)), HERE, OK, answer({"id": "up-1"} | task))


def test_the_create() -> None:
    request = order(
        seconds=5,
        width=1280,
        height=720,
        resolution="720p",
        aspect_ratio="16:9",
        given=("size",),
        seed=7,
        audio=False,
        negative_prompt="rain",
        user="someone",
    )
    built = create(VIDEO, request, HERE)
    assert built.path == "/v1/text_to_video"
    assert ("x-runway-version", "2024-11-06") in built.headers
    assert sent(built) == {
        "model": "gen4.5",
        "promptText": "a lake",
        "ratio": "1280:720",
        "duration": 5,
        "seed": 7,
        "audio": False,
        "negativePrompt": "rain",
    }
    assert built.dropped == ("user",)


def test_models_of_tiers_get_a_shape_and_a_resolution() -> None:
    request = order(resolution="768p", aspect_ratio="16:9", width=1366, height=768)
    body = sent(create(VIDEO, request, TIERED))
    assert (body["ratio"], body["resolution"]) == ("16:9", "768p")


def test_files() -> None:
    frames = (picture("first_frame"), linked("last_frame", "b.png"))
    shown = create(VIDEO, order(inputs=frames), HERE)
    assert shown.path == "/v1/image_to_video"
    assert sent(shown)["promptImage"] == [
        {"uri": "data:image/png;base64,UE5H", "position": "first"},
        {"uri": "https://x.example/b.png", "position": "last"},
    ]
    references = (linked("reference_image", "a.png"), linked("reference_audio", "a.mp3"))
    body = sent(create(VIDEO, order(inputs=references), HERE))
    assert body["references"] == [{"uri": "https://x.example/a.png"}]
    assert body["referenceAudio"] == [{"type": "audio", "uri": "https://x.example/a.mp3"}]
    request = order(
        operation="edit", inputs=(linked("video", "a.mp4"),), seconds=5, defaults=("seconds",)
    )
    edit = create(VIDEO, request, HERE)
    assert edit.path == "/v1/video_to_video"
    assert sent(edit) == {
        "model": "gen4.5",
        "promptText": "a lake",
        "videoUri": "https://x.example/a.mp4",
    }


@pytest.mark.parametrize(
    ("changes", "where", "param"),
    [
        ({}, route("runway", "gen4_turbo", text_to_video=False), "image"),
        ({"inputs": (picture("first_frame"), picture("reference_image", "images[1]"))}, HERE, 0),
        ({"inputs": (picture("first_frame"), linked("video", "a.mp4", "video"))}, HERE, "video"),
        ({"inputs": (linked("video", "a.mp4", "video"),), "seconds": 5}, HERE, "seconds"),
        ({"n": 2}, HERE, "n"),
        ({"mode": "pro"}, HERE, "mode"),
    ],
)
def test_what_would_be_another_video_is_refused(
    changes: dict[str, Any], where: Any, param: Any
) -> None:
    with pytest.raises(ApiError) as caught:
        create(VIDEO, order(**changes), where)
    assert (caught.value.code, caught.value.param) == ("REQUEST_002", param or "images[1]")


def test_accepted() -> None:
    assert VIDEO.accepted(order(), HERE, OK, answer({"id": "t"})) == Accepted("t")
    quoted = VIDEO.accepted(
        order(), HERE, OK, answer({"id": "t", "estimatedCost": {"credits": 60}})
    )
    assert quoted == Accepted("t", cost=ProviderCost("60", "credit"))
    assert isinstance(VIDEO.accepted(order(), HERE, OK, b"[]"), Unknown)
    with pytest.raises(UpstreamError):
        VIDEO.accepted(order(), HERE, OK, answer({"error": "no"}))


def test_states() -> None:
    for word in ("PENDING", "THROTTLED"):
        assert seen(status=word) == Running(queued=True, provider_state=word)
    assert seen(status="RUNNING", progress=0.5) == Running(progress=50, provider_state="RUNNING")
    assert seen(status="RUNNING", progress=7) == Running(provider_state="RUNNING")
    assert seen(status="CANCELLED", cost={"credits": 0}) == Ended(
        "cancelled", cost=ProviderCost("0", "credit"), provider_state="CANCELLED"
    )
    assert isinstance(seen(status="PAUSED"), Unknown)
    assert isinstance(seen(status="SUCCEEDED", output=[]), Unknown)


def test_done_with_what_it_cost() -> None:
    found = seen(status="SUCCEEDED", output=["https://x.example/v.mp4"], cost={"credits": 60})
    assert isinstance(found, Succeeded)
    assert found.outputs[0].file == Produced(url="https://x.example/v.mp4")
    assert found.cost == ProviderCost("60", "credit")
    assert found.usage is None


@pytest.mark.parametrize(
    ("code", "ours"),
    [
        ("SAFETY.INPUT.TEXT", "content_policy_violation"),
        ("SAFETY.OUTPUT.VIDEO", "moderated_output"),
        ("INPUT_PREPROCESSING.SAFETY.TEXT", "content_policy_violation"),
        ("INPUT_PREPROCESSING.INTERNAL", "invalid_input_media"),
        ("INTERNAL.BAD_OUTPUT.CODE01", "upstream_error"),
        ("SOMETHING.NEW", "upstream_error"),
        (None, "upstream_error"),
    ],
)
def test_failures_and_what_they_keep(code: str | None, ours: str) -> None:
    found = seen(status="FAILED", failure="no", failureCode=code, cost={"credits": 12})
    assert isinstance(found, Failed)
    assert (found.code, found.provider_code) == (ours, code)
    assert found.cost == ProviderCost("12", "credit")


def test_only_what_waits_is_cancelled() -> None:
    asked = VIDEO.cancel(handle(state="queued"), HERE)
    assert asked is not None
    assert (asked.method, asked.path) == ("DELETE", "/v1/tasks/up-1")
    assert VIDEO.cancel(handle(state="running"), HERE) is None
    assert isinstance(VIDEO.cancelled(handle(), HERE, Head(204, {}), b""), Unknown)


@pytest.mark.parametrize(
    ("status", "words", "kind", "proven"),
    [
        (400, "Invalid ratio", "bad_request", True),
        (400, "You do not have enough credits to run this task.", "no_balance", True),
        (401, "no key", "auth", True),
        (429, "daily limit", "quota_exhausted", True),
        (502, "bad", "upstream_error", False),
        (503, "shed", "overloaded", True),
    ],
)
def test_refusals(status: int, words: str, kind: str, proven: bool) -> None:
    head, body = Head(status, {}), answer({"error": words})
    assert VIDEO.explain(head, body).kind == kind
    assert VIDEO.not_accepted(head, body) is proven


def test_a_task_that_is_not_there() -> None:
    assert isinstance(VIDEO.refused(handle(), HERE, Head(404, {}), b""), Missing)
    assert VIDEO.poll(handle(), HERE).path == "/v1/tasks/up-1"


@given(STATUSES, BODIES)
def test_nothing_makes_it_raise(status: int, body: bytes) -> None:
    survives(VIDEO, HERE, status, body)
