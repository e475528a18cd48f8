"""Wan on DashScope. Exchanges written from dashscope 2.0.2 and the provider audit
(video_providers.md section 5, [DS], [AU], [VA]); recorded: tests/recorded/test_videos.py."""

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
from tokenmarket.adapters.dashscope_videos import VIDEO
from tokenmarket.adapters.protocol import Head
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

BASE = "https://dashscope.example/compatible-mode/v1"
NEW = route("dashscope", "wan2.7-t2v", BASE)
OLD = route("dashscope", "wan2.6-i2v", BASE)


def test_the_media_protocol() -> None:
    request = order(
        seconds=5,
        resolution="720p",
        aspect_ratio="9:16",
        negative_prompt="rain",
        seed=1,
        prompt_enhance=False,
        watermark=False,
        provider_options={"shot_type": "multi", "duration": 15},
    )
    built = create(VIDEO, request, NEW)
    assert built.path == "/api/v1/services/aigc/video-generation/video-synthesis"
    assert built.from_root  # the base URL is that of chat
    assert ("x-dashscope-async", "enable") in built.headers
    assert sent(built) == {
        "model": "wan2.7-t2v",
        "input": {"prompt": "a lake", "negative_prompt": "rain"},
        "parameters": {
            "resolution": "720P",
            "ratio": "9:16",
            "duration": 5,
            "seed": 1,
            "prompt_extend": False,
            "watermark": False,
            "shot_type": "multi",
        },
    }
    assert built.dropped == ()


def test_media_have_types() -> None:
    inputs = (picture("first_frame"), linked("last_frame", "b.png"))
    body = sent(create(VIDEO, order(inputs=inputs, aspect_ratio="16:9"), NEW))
    assert body["input"]["media"] == [
        {"type": "first_frame", "url": "data:image/png;base64,UE5H"},
        {"type": "last_frame", "url": "https://x.example/b.png"},
    ]
    assert "ratio" not in body["parameters"]
    inputs = (linked("video", "a.mp4"), linked("reference_image", "b.png"))
    media = sent(create(VIDEO, order(inputs=inputs), NEW))["input"]["media"]
    assert [item["type"] for item in media] == ["video", "reference_image"]
    sound = (linked("reference_audio", "a.mp3"),)
    assert sent(create(VIDEO, order(inputs=sound), NEW))["input"]["audio_url"].endswith("a.mp3")


def test_the_frames_protocol() -> None:
    plain = order(width=1280, height=720, resolution="720p", seconds=5, audio=True)
    assert sent(create(VIDEO, plain, OLD))["parameters"] == {
        "size": "1280*720",
        "duration": 5,
        "audio": True,
    }
    first = sent(create(VIDEO, order(inputs=(picture("first_frame"),), resolution="720p"), OLD))
    assert first["input"]["img_url"] == "data:image/png;base64,UE5H"
    assert first["parameters"] == {"resolution": "720P"}
    both = order(inputs=(linked("first_frame", "a.png"), linked("last_frame", "b.png")))
    assert sent(create(VIDEO, both, OLD))["input"] == {
        "prompt": "a lake",
        "first_frame_url": "https://x.example/a.png",
        "last_frame_url": "https://x.example/b.png",
    }
    many = order(inputs=(linked("reference_video", "a.mp4"), linked("reference_video", "b.mp4")))
    assert sent(create(VIDEO, many, OLD))["input"]["reference_urls"] == [
        "https://x.example/a.mp4",
        "https://x.example/b.mp4",
    ]


@pytest.mark.parametrize(
    ("model", "media"),
    [
        ("wanx2.1-t2v-turbo", False),
        ("wan2.2-i2v-plus", False),
        ("wan2.6-i2v", False),
        ("wan2.7-t2v", True),
        ("wan2.10-t2v", True),
        ("wan3.0-video", True),
        ("happyhorse-1.1", True),
    ],
)
def test_ids_tell_the_protocol_unless_the_capability_does(model: str, media: bool) -> None:
    request = order(inputs=(linked("first_frame", "a.png"),))
    where = route("dashscope", model)
    assert ("media" in sent(create(VIDEO, request, where))["input"]) is media
    where = route("dashscope", model, protocol="frames" if media else "media")
    assert ("media" in sent(create(VIDEO, request, where))["input"]) is not media


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"inputs": (clip("video"),)}, NEW),
        ({"inputs": (clip("reference_audio"),)}, NEW),
        ({"inputs": (linked("video", "a.mp4"),)}, OLD),
        ({"inputs": (picture("first_frame"), picture("reference_image"))}, OLD),
        ({"inputs": (picture("last_frame"),)}, OLD),
        ({"n": 2}, NEW),
        ({"mode": "pro"}, NEW),
    ],
)
def test_what_would_be_another_video_is_refused(changes: dict[str, Any], where: Any) -> None:
    with pytest.raises(ApiError) as caught:
        create(VIDEO, order(**changes), where)
    assert caught.value.code == "REQUEST_002"


def polled(usage: Any = None, **output: Any) -> object:
    base = {"task_id": "up-1", "task_status": "SUCCEEDED", "video_url": "https://c.example/v"}
    body = answer({"request_id": "r", "output": base | output, "usage": usage})
    return VIDEO.observe(handle(order(seconds=5)), NEW, OK, body)


def test_accepted() -> None:
    body = answer({"request_id": "r", "output": {"task_id": "up-1", "task_status": "PENDING"}})
    assert VIDEO.accepted(order(), NEW, OK, body) == Accepted(
        "up-1", observation=Running(queued=True, provider_state="PENDING")
    )
    assert isinstance(VIDEO.accepted(order(), NEW, OK, b"{}"), Unknown)
    with pytest.raises(UpstreamError) as caught:
        VIDEO.accepted(order(), NEW, OK, answer({"code": "Arrearage", "message": "no"}))
    assert caught.value.kind == "no_balance"


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            {"duration": 5, "output_video_duration": 5, "SR": 720, "size": "1280*720"},
            Usage(video_ms=5000, attributes={"resolution": "720p"}),
        ),
        (
            {
                "duration": 9.5,
                "input_video_duration": 4.5,
                "output_video_duration": 5,
                "SR": "1080",
            },
            Usage(video_ms=5000, input_video_ms=4500, attributes={"resolution": "1080p"}),
        ),
        ({"duration": 9, "input_video_duration": 4}, Usage(video_ms=5000, input_video_ms=4000)),
        ({"video_duration": 5, "video_ratio": "1280*720", "video_count": 1}, Usage(video_ms=5000)),
        ({"duration": 5.04}, Usage(video_ms=5000)),
        ({"duration": "long"}, None),
        (None, None),
    ],
)
def test_the_usage_in_its_forms(usage: Any, expected: Usage | None) -> None:
    found = polled(usage)
    assert isinstance(found, Succeeded)
    assert found.usage == expected


@pytest.mark.parametrize(
    ("code", "ours"),
    [
        ("DataInspectionFailed", "content_policy_violation"),
        ("IPInfringementSuspect", "content_policy_violation"),
        ("InvalidParameter", "invalid_input_media"),
        ("Throttling.AllocationQuota", "upstream_capacity"),
        ("InternalError.Timeout", "upstream_timeout"),
        ("InternalError.Algo", "upstream_error"),
        ("", "upstream_error"),
    ],
)
def test_failures(code: str, ours: str) -> None:
    found = polled(task_status="FAILED", code=code, message="no")
    assert isinstance(found, Failed)
    assert found.code == ours


def test_other_states() -> None:
    assert polled(task_status="PENDING") == Running(queued=True, provider_state="PENDING")
    assert polled(task_status="SUSPENDED") == Running(queued=True, provider_state="SUSPENDED")
    assert polled(task_status="RUNNING") == Running(provider_state="RUNNING")
    assert polled(task_status="CANCELED") == Ended("cancelled", provider_state="CANCELED")
    assert isinstance(polled(task_status="UNKNOWN"), Missing)
    assert isinstance(polled(task_status="succeeded"), Unknown)
    assert isinstance(polled(video_url=None), Unknown)


def test_only_what_waits_is_cancelled_and_nothing_is_searched() -> None:
    request = VIDEO.cancel(handle(state="queued"), NEW)
    assert request is not None
    assert (request.method, request.path) == ("POST", "/api/v1/tasks/up-1/cancel")
    assert request.from_root
    assert VIDEO.cancel(handle(state="running"), NEW) is None
    assert VIDEO.reconcile(handle(upstream_id=""), NEW) is None


def test_refusals() -> None:
    def kind(status: int, code: str) -> str:
        return VIDEO.explain(Head(status, {}), answer({"code": code, "message": "no"})).kind

    assert kind(400, "Arrearage") == "no_balance"
    assert kind(400, "DataInspectionFailed") == "content_policy"
    assert kind(401, "InvalidApiKey") == "auth"
    assert kind(429, "Throttling.RateQuota") == "rate_limited"
    assert kind(400, "InvalidParameter") == "bad_request"


@given(STATUSES, BODIES)
def test_nothing_makes_it_raise(status: int, body: bytes) -> None:
    survives(VIDEO, NEW, status, body)
