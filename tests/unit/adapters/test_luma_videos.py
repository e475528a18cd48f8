"""Luma. Exchanges written from luma-agents 0.5.0 and lumaai 1.21.0 (video_providers.md sections 1
and 8, [LA], [LU])."""

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
from tokenmarket.adapters.luma import VIDEO
from tokenmarket.adapters.protocol import Head
from tokenmarket.adapters.video_protocol import (
    Accepted,
    Failed,
    Missing,
    Running,
    Succeeded,
    Unknown,
)
from tokenmarket.core.errors import ApiError, UpstreamError

HERE = route("luma", "ray-3.2")
OLD = route("luma", "ray-2", dialect="legacy")
FILE = "https://x.example/v.mp4"


def seen(where: Any = HERE, **document: Any) -> Any:
    return VIDEO.observe(handle(), where, OK, answer({"id": "up-1"} | document))


def test_the_create_for_agents() -> None:
    request = order(
        seconds=5,
        resolution="1080p",
        aspect_ratio="16:9",
        user="someone",
        seed=7,
        provider_options={"loop": True},
        inputs=(picture("first_frame"), linked("last_frame", "b.png")),
    )
    built = create(VIDEO, request, HERE, "https://us.example/n")
    assert built.path == "/generations"
    assert sent(built) == {
        "type": "video",
        "model": "ray-3.2",
        "prompt": "a lake",
        "aspect_ratio": "16:9",
        "user_id": "someone",
        "video": {
            "loop": True,
            "duration": "5s",
            "resolution": "1080p",
            "start_frame": {"data": "UE5H", "media_type": "image/png"},
            "end_frame": {"url": "https://x.example/b.png"},
        },
    }
    assert built.dropped == ("seed",)


def test_an_edit_and_an_extension() -> None:
    edit = sent(create(VIDEO, order(operation="edit", inputs=(linked("video", "a.mov"),)), HERE))
    assert edit["type"] == "video_edit"
    assert edit["source"] == {"url": "https://x.example/a.mov", "media_type": "video/quicktime"}
    sourced = order(operation="edit", source_task_id="video_2", source_upstream_id="g")
    assert sent(create(VIDEO, sourced, HERE))["source"] == {"generation_id": "g"}
    longer = order(operation="extend", source_task_id="video_2", source_upstream_id="g", seconds=5)
    body = sent(create(VIDEO, longer, HERE))
    assert (body["type"], body["video"]) == (
        "video",
        {"duration": "5s", "start_frame": {"generation_id": "g"}},
    )
    old = sent(create(VIDEO, longer, OLD))
    assert old["keyframes"] == {"frame0": {"type": "generation", "id": "g"}}


def test_the_create_of_dream_machine() -> None:
    request = order(
        seconds=9,
        resolution="720p",
        aspect_ratio="16:9",
        defaults=("aspect_ratio",),
        inputs=(linked("first_frame", "a.png"), linked("last_frame", "b.png")),
    )
    built = create(VIDEO, request, OLD, "https://us.example/n")
    assert built.path == "/generations/video"
    assert sent(built) == {
        "model": "ray-2",
        "prompt": "a lake",
        "duration": "9s",
        "resolution": "720p",
        "keyframes": {
            "frame0": {"type": "image", "url": "https://x.example/a.png"},
            "frame1": {"type": "image", "url": "https://x.example/b.png"},
        },
        "callback_url": "https://us.example/n",
    }


@pytest.mark.parametrize(
    ("changes", "where", "param"),
    [
        ({"inputs": (picture("first_frame"),)}, OLD, "image"),
        ({"inputs": (clip("video"),)}, OLD, "video"),
        ({"inputs": (linked("reference_image", "a.png", "images[0]"),)}, HERE, "images[0]"),
        ({"source_task_id": "video_2"}, HERE, "video"),
        ({"audio": True}, HERE, "audio"),
        ({"operation": "edit", "inputs": (clip("video"),), "seconds": 5}, HERE, "seconds"),
        (
            {
                "operation": "extend",
                "source_task_id": "v",
                "source_upstream_id": "g",
                "inputs": (picture("first_frame"),),
            },
            HERE,
            "image",
        ),
    ],
)
def test_what_would_be_another_video_is_refused(
    changes: dict[str, Any], where: Any, param: str
) -> None:
    with pytest.raises(ApiError) as caught:
        create(VIDEO, order(**changes), where)
    assert (caught.value.code, caught.value.param) == ("REQUEST_002", param)


def test_accepted() -> None:
    assert VIDEO.accepted(order(), HERE, OK, answer({"id": "g", "state": "queued"})) == Accepted(
        "g"
    )
    assert isinstance(VIDEO.accepted(order(), HERE, OK, b""), Unknown)
    with pytest.raises(UpstreamError):
        VIDEO.accepted(order(), HERE, OK, answer({"detail": "no"}))


def test_states() -> None:
    assert seen(state="queued") == Running(queued=True, provider_state="queued")
    for word in ("processing", "dreaming"):
        assert seen(state=word) == Running(provider_state=word)
    assert isinstance(seen(state="paused"), Unknown)
    assert isinstance(seen(status="completed"), Unknown)


def test_done_in_both_dialects() -> None:
    new = seen(
        state="completed", output=[{"type": "image", "url": "x"}, {"type": "video", "url": FILE}]
    )
    old = seen(OLD, state="completed", assets={"video": FILE})
    for found in (new, old):
        assert isinstance(found, Succeeded)
        assert [(o.number, o.file.url) for o in found.outputs] == [(0, FILE)]
    assert isinstance(seen(state="completed", output=[], assets=None), Unknown)


@pytest.mark.parametrize(
    ("code", "ours"),
    [
        ("content_moderated", "content_policy_violation"),
        ("budget_exhausted", "insufficient_upstream_balance"),
        ("corrupt_input", "invalid_input_media"),
        ("rate_limited", "upstream_capacity"),
        ("generation_failed", "upstream_error"),
        (None, "upstream_error"),
    ],
)
def test_failures(code: str | None, ours: str) -> None:
    found = seen(state="failed", failure_code=code, failure_reason="no")
    assert isinstance(found, Failed)
    assert found.code == ours


def test_refusals() -> None:
    assert VIDEO.explain(Head(400, {}), answer({"detail": "bad"})).kind == "bad_request"
    code = answer({"error": {"code": "budget_exhausted", "message": "no"}})
    assert VIDEO.explain(Head(400, {}), code).kind == "no_balance"
    assert isinstance(VIDEO.refused(handle(), HERE, Head(404, {}), b""), Missing)
    assert VIDEO.poll(handle(), OLD).path == "/generations/up-1"
    assert VIDEO.cancel(handle(), OLD) is None


@given(STATUSES, BODIES)
def test_nothing_makes_it_raise(status: int, body: bytes) -> None:
    for where in (HERE, OLD):
        survives(VIDEO, where, status, body)
