"""Vidu. Exchanges written from platform.vidu.com's documentation as quoted in public clients
(video_providers.md sections 1 and 9, [VU])."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from tests.unit.adapters.videos import (
    BODIES,
    OK,
    STATUSES,
    TASK,
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
from tokenmarket.adapters.protocol import Head
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
from tokenmarket.adapters.vidu import VIDEO
from tokenmarket.core.errors import ApiError, UpstreamError

HERE = route("vidu", "viduq3-pro")
MADE = {
    "id": "c",
    "url": "https://x.example/v.mp4",
    "cover_url": "https://x.example/c.jpg",
    "watermarked_url": "https://x.example/w.mp4",
}


def seen(document: dict[str, Any], **changes: Any) -> Any:
    return VIDEO.observe(handle(order(**changes)), HERE, OK, answer(document))


def test_the_create() -> None:
    request = order(
        seconds=5, resolution="720p", aspect_ratio="16:9", seed=7, audio=False, fps=24, user="u"
    )
    built = create(VIDEO, request, HERE, "https://us.example/n")
    assert built.path == "/text2video"
    assert sent(built) == {
        "model": "viduq3-pro",
        "prompt": "a lake",
        "payload": TASK,
        "duration": 5,
        "resolution": "720p",
        "aspect_ratio": "16:9",
        "seed": 7,
        "audio": False,
        "callback_url": "https://us.example/n",
    }
    assert built.dropped == ("fps", "user")


@pytest.mark.parametrize(
    ("roles", "path"),
    [
        (("first_frame",), "/img2video"),
        (("first_frame", "last_frame"), "/start-end2video"),
        (("reference_image", "reference_image"), "/reference2video"),
    ],
)
def test_the_path_says_how_pictures_are_meant(roles: tuple[str, ...], path: str) -> None:
    built = create(VIDEO, order(inputs=tuple(picture(role) for role in roles)), HERE)
    assert built.path == path
    assert sent(built)["images"] == ["data:image/png;base64,UE5H"] * len(roles)


def test_a_frame_has_its_own_shape() -> None:
    inputs = (picture("first_frame"),)
    asked = create(VIDEO, order(aspect_ratio="1:1", given=("aspect_ratio",), inputs=inputs), HERE)
    assert "aspect_ratio" not in sent(asked)
    assert asked.dropped == ("aspect_ratio",)


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        (
            {"inputs": (picture("first_frame"), picture("reference_image", "images[1]"))},
            "images[1]",
        ),
        ({"inputs": (picture("last_frame", "last_frame"),)}, "last_frame"),
        ({"inputs": (linked("video", "a.mp4", "video"),)}, "video"),
        ({"n": 2}, "n"),
        ({"mode": "pro"}, "mode"),
    ],
)
def test_what_would_be_another_video_is_refused(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        create(VIDEO, order(**changes), HERE)
    assert (caught.value.code, caught.value.param) == ("REQUEST_002", param)


def test_accepted() -> None:
    body = answer({"task_id": "t", "state": "created", "credits": 30})
    assert VIDEO.accepted(order(), HERE, OK, body) == Accepted(
        "t", cost=ProviderCost("30", "credit")
    )
    assert isinstance(VIDEO.accepted(order(), HERE, OK, b"{}"), Unknown)
    with pytest.raises(UpstreamError) as caught:
        VIDEO.accepted(order(), HERE, OK, answer({"err_code": "CreditInsufficient"}))
    assert caught.value.kind == "no_balance"


def test_states() -> None:
    for word in ("created", "queueing"):
        assert seen({"state": word}) == Running(queued=True, provider_state=word)
    assert seen({"state": "processing"}) == Running(provider_state="processing")
    assert isinstance(seen({"state": "scheduling"}), Unknown)
    assert isinstance(seen({"state": "success", "creations": []}), Unknown)


def test_done() -> None:
    found = seen({"state": "success", "credits": 30, "creations": [MADE]})
    assert isinstance(found, Succeeded)
    assert [(item.kind, item.file.url) for item in found.outputs] == [
        ("video", MADE["url"]),
        ("thumbnail", MADE["cover_url"]),
    ]
    assert found.cost == ProviderCost("30", "credit")
    marked = seen({"state": "success", "creations": [MADE]}, watermark=True)
    assert isinstance(marked, Succeeded)
    assert marked.outputs[0].file.url == MADE["watermarked_url"]


@pytest.mark.parametrize(
    ("code", "ours"),
    [
        ("TaskPromptPolicyViolation", "content_policy_violation"),
        ("AuditSubmitIllegal", "content_policy_violation"),
        ("CreationPolicyViolation", "moderated_output"),
        ("ImageDownloadFailure", "invalid_input_media"),
        ("CreditInsufficient", "insufficient_upstream_balance"),
        ("SystemThrottling", "upstream_capacity"),
        ("SomethingNew", "upstream_error"),
    ],
)
def test_failures(code: str, ours: str) -> None:
    found = seen({"state": "failed", "err_code": code})
    assert isinstance(found, Failed)
    assert (found.code, found.provider_code) == (ours, code)


def test_cancelled_by_somebody() -> None:
    found = seen({"state": "failed", "err_code": "UserCancelled"})
    assert found == Ended("cancelled", provider_state="failed")
    assert VIDEO.cancel(handle(), HERE) is None


@pytest.mark.parametrize(
    ("status", "document", "kind"),
    [
        (400, {"code": 400, "reason": "FieldInvalid", "message": "duration"}, "bad_request"),
        (400, {"code": 400, "reason": "AuditSubmitIllegal", "message": ""}, "content_policy"),
        (400, {"code": 400, "reason": "CreditInsufficient", "message": "no"}, "no_balance"),
        (429, {"code": 429, "reason": "QuotaExceeded", "message": "no"}, "rate_limited"),
        (401, {"code": 401, "message": "no"}, "auth"),
    ],
)
def test_refusals(status: int, document: Any, kind: str) -> None:
    assert VIDEO.explain(Head(status, {}), answer(document)).kind == kind


def test_a_task_that_is_not_there() -> None:
    assert VIDEO.poll(handle(), HERE).path == "/tasks/up-1/creations"
    assert isinstance(VIDEO.refused(handle(), HERE, Head(404, {}), b""), Missing)


@given(STATUSES, BODIES)
def test_nothing_makes_it_raise(status: int, body: bytes) -> None:
    survives(VIDEO, HERE, status, body)
