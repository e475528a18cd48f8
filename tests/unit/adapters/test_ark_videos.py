"""Seedance on Ark. Exchanges written from byteplus-python-sdk-v2 3.0.63 and the provider audit of
2026-08-11 (video_providers.md section 4, [BP], [AU]). No recordings exist."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from tests.unit.adapters.videos import (
    BODIES,
    NOW_S,
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
from tokenmarket.adapters.ark_videos import VIDEO
from tokenmarket.adapters.protocol import Head, UpstreamRequest
from tokenmarket.adapters.video_protocol import (
    Accepted,
    Ended,
    Failed,
    Missing,
    Running,
    Succeeded,
    Unknown,
)
from tokenmarket.core.errors import ApiError, UpstreamError
from tokenmarket.core.usage import Usage
from tokenmarket.core.video.request import Camera

HERE = route("ark", "doubao-seedance-2-0-260128", "https://ark.example/api/v3")
TASKS = "/contents/generations/tasks"


def task(**changes: Any) -> dict[str, Any]:
    base = {
        "id": "up-1",
        "model": "doubao-seedance-2-0-260128",
        "status": "succeeded",
        "error": None,
        "content": {"video_url": "https://cdn.example/v.mp4"},
        "usage": {"completion_tokens": 108900, "total_tokens": 108900},
        "seed": 42,
        "duration": 5,
        "ratio": "16:9",
        "resolution": "720p",
        "framespersecond": 24,
        "service_tier": "default",
        "created_at": NOW_S,
        "updated_at": NOW_S + 90,
    }
    return base | changes


def seen(**changes: Any) -> object:
    return VIDEO.observe(handle(), HERE, OK, answer(task(**changes)))


def test_the_create() -> None:
    request = order(
        seconds=5,
        resolution="720p",
        aspect_ratio="16:9",
        audio=False,
        watermark=False,
        seed=7,
        camera=Camera(fixed=True),
        user="someone",
        provider_options={"priority": 1, "duration": 60, "model": "dear"},
    )
    built = create(VIDEO, request, HERE, "https://us.example/notice")
    assert built.path == TASKS
    assert sent(built) == {
        "model": "doubao-seedance-2-0-260128",
        "content": [{"type": "text", "text": "a lake"}],
        "resolution": "720p",
        "ratio": "16:9",
        "duration": 5,
        "generate_audio": False,
        "watermark": False,
        "safety_identifier": "someone",
        "seed": 7,
        "camera_fixed": True,
        "callback_url": "https://us.example/notice",
        "execution_expires_after": 7200,
        "priority": 1,
    }
    assert built.dropped == ()


def test_files_have_their_role() -> None:
    frames = (picture("first_frame"), linked("last_frame", "b.png", "last_frame"))
    assert sent(create(VIDEO, order(inputs=frames), HERE))["content"][1:] == [
        {
            "type": "image_url",
            "image_url": {"url": "data:image/png;base64,UE5H"},
            "role": "first_frame",
        },
        {
            "type": "image_url",
            "image_url": {"url": "https://x.example/b.png"},
            "role": "last_frame",
        },
    ]
    references = (
        linked("reference_image", "a.png"),
        linked("reference_video", "a.mp4"),
        linked("reference_audio", "a.mp3"),
    )
    content = sent(create(VIDEO, order(prompt="", inputs=references), HERE))["content"]
    assert [(item["type"], item["role"]) for item in content] == [
        ("image_url", "reference_image"),
        ("video_url", "reference_video"),
        ("audio_url", "reference_audio"),
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"inputs": (picture("first_frame"), picture("reference_image"))},
        {"inputs": (clip("reference_video"),)},
        {"inputs": (linked("video", "a.mp4"),)},
        {"n": 2},
        {"mode": "pro"},
    ],
)
def test_what_would_be_another_video_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as caught:
        create(VIDEO, order(**changes), HERE)
    assert caught.value.code == "REQUEST_002"


def test_hints_are_named() -> None:
    request = order(negative_prompt="rain", camera=Camera(type="pan"), prompt_enhance=True)
    built = create(VIDEO, request, HERE)
    assert built.dropped == ("negative_prompt", "camera", "prompt_enhance")
    assert "camera_fixed" not in sent(built)


def test_we_give_up_together() -> None:
    for deadline_s, expires_s in ((600, 3600), (10_000, 10_000), (900_000, 259_200)):
        where = route("ark", "m", deadline_s=deadline_s)
        assert sent(create(VIDEO, order(), where))["execution_expires_after"] == expires_s


def test_accepted() -> None:
    assert VIDEO.accepted(order(), HERE, OK, answer({"id": "cgt-1"})) == Accepted("cgt-1")
    assert isinstance(VIDEO.accepted(order(), HERE, OK, b"{}"), Unknown)
    with pytest.raises(UpstreamError):
        VIDEO.accepted(order(), HERE, OK, answer({"error": {"code": "ModelNotOpen"}}))


def test_a_success_reports_its_tokens_and_what_was_made() -> None:
    files = {"video_url": "https://c.example/v", "last_frame_url": "https://c.example/l"}
    found = seen(content=files)
    assert isinstance(found, Succeeded)
    assert [(item.kind, item.file.url) for item in found.outputs] == [
        ("video", "https://c.example/v"),
        ("last_frame", "https://c.example/l"),
    ]
    assert (found.outputs[0].duration_ms, found.outputs[0].fps) == (5000, 24)
    assert found.usage == Usage(video_tokens=108900, attributes={"resolution": "720p"})
    assert found.facts == {
        "resolution": "720p",
        "aspect_ratio": "16:9",
        "seed": 42,
        "fps": 24,
        "seconds": 5,
    }


def test_tokens_are_never_made_up() -> None:
    for usage in (None, {}, {"completion_tokens": "many"}, {"completion_tokens": -3}):
        found = seen(usage=usage)
        assert isinstance(found, Succeeded)
        assert found.usage is None


@pytest.mark.parametrize(
    ("code", "ours"),
    [
        ("OutputVideoSensitiveContentDetected.PolicyViolation", "moderated_output"),
        ("InputImageSensitiveContentDetected.PrivacyInformation", "content_policy_violation"),
        ("InputTextSensitiveContentDetected", "content_policy_violation"),
        ("InvalidParameter.ImageURL", "invalid_input_media"),
        ("AccountOverdueError", "insufficient_upstream_balance"),
        ("ServerOverloaded", "upstream_capacity"),
        ("SomethingNew", "upstream_error"),
    ],
)
def test_failures(code: str, ours: str) -> None:
    found = seen(status="failed", content=None, error={"code": code, "message": "no"})
    assert isinstance(found, Failed)
    assert (found.code, found.provider_code) == (ours, code)


def test_other_states() -> None:
    assert seen(status="queued") == Running(queued=True, provider_state="queued")
    assert seen(status="running") == Running(provider_state="running")
    assert seen(status="cancelled") == Ended("cancelled", provider_state="cancelled")
    assert seen(status="expired") == Ended("expired", provider_state="expired")
    assert isinstance(seen(status="paused"), Unknown)
    assert isinstance(seen(content={}), Unknown)
    assert isinstance(VIDEO.refused(handle(), HERE, Head(404, {}), b""), Missing)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "AuthenticationError", "auth"),
        (403, "AccountOverdueError", "no_balance"),
        (400, "InputTextSensitiveContentDetected.PolicyViolation", "content_policy"),
        (404, "InvalidEndpointOrModel.NotFound", "not_found"),
        (429, "RateLimitExceeded.EndpointRPMExceeded", "rate_limited"),
        (429, "SetLimitExceeded", "quota_exhausted"),
        (500, "InternalServiceError", "upstream_error"),
    ],
)
def test_refusals(status: int, code: str, kind: str) -> None:
    body = answer({"error": {"code": code, "message": "no", "param": "", "type": "x"}})
    assert VIDEO.explain(Head(status, {}), body).kind == kind


def test_only_what_is_queued_is_deleted_and_that_proves_nothing() -> None:
    request = VIDEO.cancel(handle(state="queued"), HERE)
    assert request is not None
    assert (request.method, request.path) == ("DELETE", f"{TASKS}/up-1")
    for state in ("running", "submit_unknown", "canceling"):
        assert VIDEO.cancel(handle(state=state), HERE) is None
    assert isinstance(VIDEO.cancelled(handle(), HERE, OK, b"{}"), Unknown)


def test_a_lost_create_is_found_by_the_seed_made_of_our_id() -> None:
    lost = handle(upstream_id="")
    seed = sent(create(VIDEO, order(), HERE))["seed"]
    assert 0 <= seed < 2**31
    other = VIDEO.build(order(), HERE, task_id="video_2", now_s=NOW_S, callback_url=None)
    assert isinstance(other, UpstreamRequest)
    assert sent(other)["seed"] != seed
    request = VIDEO.reconcile(lost, HERE)
    assert request is not None
    assert request.path == (
        f"{TASKS}?page_num=1&page_size=100&filter.model=doubao-seedance-2-0-260128"
    )
    ours = task(id="up-9", seed=seed, status="running")
    page = answer({"items": [task(), ours], "total": 2})
    assert VIDEO.reconciled(lost, HERE, OK, page) == Accepted(
        "up-9", observation=Running(provider_state="running")
    )
    too_old = answer({"items": [ours | {"created_at": NOW_S - 3600}], "total": 1})
    for body in (answer({"items": [task()], "total": 1}), answer({"items": []}), too_old, b""):
        assert isinstance(VIDEO.reconciled(lost, HERE, OK, body), Unknown), body


def test_the_caller_s_own_seed_says_nothing() -> None:
    assert VIDEO.reconcile(handle(order(seed=7), upstream_id=""), HERE) is None
    assert VIDEO.reconcile(handle(upstream_id=""), route("ark", "m", seed=False)) is None
    assert "seed" not in sent(create(VIDEO, order(), route("ark", "m", seed=False)))


@given(STATUSES, BODIES)
def test_nothing_makes_it_raise(status: int, body: bytes) -> None:
    survives(VIDEO, HERE, status, body)
