"""The task object against OpenAI's required keys (written down from the specification of
2026-08-21, see ``oracle_videotask_schema.py``) and SDK, and new-api's envelope."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from openai.types.video import Video

from tokenmarket.core.tasks import TERMINAL
from tokenmarket.core.uploads import Input
from tokenmarket.core.usage import Usage
from tokenmarket.core.video.projection import (
    REQUIRED,
    OutputView,
    TaskError,
    VideoView,
    deleted_object,
    list_page,
    poll_headers,
    poll_hint_ms,
    task_object,
    usage_block,
    wrapped,
)
from tokenmarket.core.video.request import ResolvedVideo
from tokenmarket.core.video.states import ALL_STATES, WORDS

VIDEO = ResolvedVideo(
    model="kling-v3",
    prompt="a lake",
    seconds=5,
    width=1280,
    height=720,
    resolution="720p",
    aspect_ratio="16:9",
    metadata={"order": "42"},
)
OUTPUT = OutputView(0, "https://us.example/v", bytes=9, width=1280, height=720, duration=5.04)
NOW = 1_795_400_000


def view(state: str = "running", **changes: Any) -> VideoView:
    base: dict[str, Any] = {
        "id": "video_1",
        "provider": "kling",
        "state": state,
        "video": VIDEO,
        "created_s": NOW,
        "now_s": NOW,
        "held_nano": 420_000_000,
    }
    if state in TERMINAL:
        base |= {"completed_s": NOW + 60, "charged_nano": 0}
    if state == "succeeded":
        base |= {"outputs": (OUTPUT,), "charged_nano": 400_000_000, "basis": "upstream"}
    return VideoView(**(base | changes))


def plain(document: object) -> Any:
    return json.loads(msgspec.json.encode(document))


@pytest.mark.parametrize("state", ALL_STATES)
def test_every_state_is_a_video_of_openai_s(state: str) -> None:
    shown = plain(task_object(view(state)))
    assert set(REQUIRED) <= set(shown)
    assert shown["object"] == "video"
    assert shown["status"] in ("queued", "in_progress", "completed", "failed")
    assert type(shown["progress"]) is int
    assert 0 <= shown["progress"] <= 100
    assert isinstance(shown["seconds"], str)
    assert isinstance(shown["size"], str)
    assert isinstance(shown["created_at"], int)
    assert (shown["error"] is not None) == (shown["status"] == "failed")
    assert shown["error"] is None or {"code", "message"} <= set(shown["error"])
    assert (shown["completed_at"] is not None) == (state in TERMINAL)
    # Strict: the SDK's own model takes every field without converting it.
    assert Video.model_validate(shown, strict=True).status == shown["status"]


def test_the_whole_object_of_a_running_task() -> None:
    shown = plain(task_object(view(progress=50, started_s=NOW + 4)))
    assert shown == {
        "id": "video_1",
        "task_id": "video_1",
        "object": "video",
        "model": "kling-v3",
        "provider": "kling",
        "status": "in_progress",
        "state": "running",
        "progress": 50,
        "created_at": NOW,
        "started_at": NOW + 4,
        "completed_at": None,
        "expires_at": None,
        "prompt": "a lake",
        "seconds": "5",
        "size": "1280x720",
        "resolution": "720p",
        "aspect_ratio": "16:9",
        "fps": None,
        "seed": None,
        "mode": None,
        "audio": False,
        "n": 1,
        "defaults": [],
        "remixed_from_video_id": None,
        "error": None,
        "url": None,
        "format": "mp4",
        "outputs": [],
        "usage": None,
        "billing": {
            "currency": "USD",
            "held": "0.42",
            "charged": None,
            "refunded": None,
            "basis": "estimate",
        },
        "metadata": {"order": "42"},
        "callback_url": None,
        "warnings": [],
        "polling": {"retry_after_ms": 15_000},
    }


def test_a_finished_task() -> None:
    usage = usage_block(Usage(video_ms=5_040, video_tokens=108_900), ("0.7", "CNY"))
    facts = {"seed": 7, "seconds": 5, "resolution": "1080p"}
    shown = plain(task_object(view("succeeded", usage=usage, facts=facts)))
    assert shown["url"] == shown["outputs"][0]["url"] == "https://us.example/v"
    assert set(shown["outputs"][0]) == {
        "index",
        "type",
        "url",
        "content_type",
        "bytes",
        "width",
        "height",
        "duration",
        "fps",
        "has_audio",
        "sha256",
        "thumbnail_url",
        "last_frame_url",
        "upstream_url_expires_at",
    }
    assert (shown["progress"], shown["polling"]) == (100, None)
    assert (shown["seed"], shown["resolution"]) == (7, "1080p")
    assert shown["usage"] == {
        "billed_seconds": 5.04,
        "input_seconds": 0,
        "input_images": 0,
        "completion_tokens": 108_900,
        "total_tokens": 108_900,
        "estimated": False,
        "provider_cost": {"amount": "0.7", "currency": "CNY", "source": "upstream"},
    }
    assert shown["billing"]["charged"] == "0.40"
    assert shown["billing"]["refunded"] == "0.02"
    assert shown["metadata"] == {"order": "42"}


def test_metadata_url_only_for_those_who_want_it() -> None:
    assert task_object(view("succeeded"), compat=True)["metadata"] == {
        "order": "42",
        "url": "https://us.example/v",
    }
    assert task_object(view(), compat=True)["metadata"] == {"order": "42"}
    assert VIDEO.metadata == {"order": "42"}


def test_a_full_bar_is_kept_for_what_can_be_fetched() -> None:
    assert task_object(view(progress=100))["progress"] == 99
    assert task_object(view("finalizing", progress=5))["progress"] == 99
    assert task_object(view(progress=-5))["progress"] == 0


def test_ends_that_openai_has_no_word_for() -> None:
    for state in ("cancelled", "expired"):
        shown = plain(task_object(view(state)))
        assert (shown["status"], shown["error"]["code"]) == ("failed", state)
        assert shown["billing"]["refunded"] == "0.42"
    told = view("cancelled", error=TaskError("upstream_error", "on request"))
    assert plain(task_object(told))["error"] == {
        "code": "cancelled",
        "message": "on request",
        "provider_code": None,
        "retryable": False,
    }


def test_our_balance_at_a_provider_is_nobody_s_business() -> None:
    error = TaskError("insufficient_upstream_balance", "account 7 is empty", "1102", True)
    for shown in (task_object(view("failed", error=error)), wrapped(view("failed", error=error))):
        text = msgspec.json.encode(shown)
        assert b"upstream_error" in text
        for secret in (b"insufficient", b"account 7", b"1102"):
            assert secret not in text


def test_sizes_and_lengths_nobody_knows_are_empty_texts() -> None:
    bare = view(video=ResolvedVideo(model="m", resolution="720p"))
    shown = task_object(bare)
    assert (shown["seconds"], shown["size"]) == ("", "")
    done = task_object(view("succeeded", video=ResolvedVideo(model="m")))
    assert (done["seconds"], done["size"]) == ("5", "1280x720")


@pytest.mark.parametrize("state", ALL_STATES)
def test_new_api_s_envelope(state: str) -> None:
    flat = plain(wrapped(view(state)))
    data = flat["data"]
    assert (flat["code"], flat["message"]) == ("success", "")
    assert flat["id"] == flat["task_id"] == data["task_id"] == "video_1"
    assert data["status"] == WORDS[state].task_dto
    assert plain(wrapped(view(state), simple=True))["data"]["status"] == WORDS[state].simple
    assert data["url"] == data["result_url"] == (flat["url"] or "")
    assert data["progress"] == f"{flat['progress']}%"
    assert (data["fail_reason"] != "") == (flat["status"] == "failed")
    if state in ("cancelled", "expired"):
        assert data["fail_reason"] == state
    assert set(REQUIRED) <= set(flat)


def test_new_api_s_action() -> None:
    assert plain(wrapped(view()))["data"]["action"] == "textGenerate"
    pictured = msgspec.structs.replace(
        VIDEO, inputs=(Input("first_frame", "image", url="https://x.example/a.png"),)
    )
    assert plain(wrapped(view(video=pictured)))["data"]["action"] == "generate"


def test_pages() -> None:
    page = plain(list_page([view(), view(id="video_2")], has_more=True))
    assert (page["object"], page["first_id"], page["last_id"]) == ("list", "video_1", "video_2")
    assert page["has_more"] is True
    assert list_page([], has_more=False) == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }
    assert deleted_object("video_1") == {
        "id": "video_1",
        "object": "video.deleted",
        "deleted": True,
    }


@pytest.mark.parametrize(
    ("expected_s", "age_s", "hint_ms"),
    [
        (4, 0, 3_000),
        (40, 0, 10_000),
        (400, 0, 30_000),
        (40, 8, 3_000),
        (40, 10, 5_000),
        (400, 50, 30_000),
        (400, 90, 10_000),
        (400, 3_600, 5_000),
        (40, -5, 10_000),
    ],
)
def test_hints(expected_s: int, age_s: int, hint_ms: int) -> None:
    shown = view(expected_s=expected_s, now_s=NOW + age_s)
    assert poll_hint_ms(shown) == hint_ms
    assert poll_headers(shown) == (
        b"retry-after: %d\r\nopenai-poll-after-ms: %d\r\n" % (hint_ms // 1000, hint_ms)
    )
    assert poll_headers(view("failed")) == b""
