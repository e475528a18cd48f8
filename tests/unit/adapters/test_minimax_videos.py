"""MiniMax. Exchanges written from its own OpenAPI pages of 2026 (video_providers.md section 3,
[MD], [ML]) and, for v1, from section 1 there. No recordings exist."""

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
from tokenmarket.adapters.minimax_videos import VIDEO
from tokenmarket.adapters.protocol import Head
from tokenmarket.adapters.video_protocol import (
    Accepted,
    Ended,
    Failed,
    Fetch,
    Running,
    Succeeded,
    Unknown,
)
from tokenmarket.core.errors import ApiError, UpstreamError
from tokenmarket.core.usage import Usage

BASE = "https://minimax.example/v1"
H3 = route("minimax", "MiniMax-H3", BASE, free_images=5)
MAX = route("minimax", "MiniMax-H3-Max", BASE)
OLD = route("minimax", "MiniMax-Hailuo-2.3", BASE)


def test_v2_has_content_with_roles() -> None:
    request = order(seconds=5, resolution="2k", aspect_ratio="16:9", watermark=False)
    built = create(VIDEO, request, H3, "https://us.example/notice")
    assert (built.path, built.from_root) == ("/v2/video_generation", True)
    assert sent(built) == {
        "model": "MiniMax-H3",
        "content": [{"type": "text", "text": "a lake"}],
        "resolution": "2K",
        "duration": 5,
        "ratio": "16:9",
        "aigc_watermark": False,
    }
    assert built.dropped == ()
    framed = order(inputs=(picture("first_frame"), linked("last_frame", "b.png")))
    body = sent(create(VIDEO, framed, H3))
    assert body["ratio"] == "adaptive"
    assert body["content"][1:] == [
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
    references = (linked("reference_video", "a.mp4"), linked("reference_audio", "a.mp3"))
    body = sent(create(VIDEO, order(inputs=references, aspect_ratio="adaptive"), H3))
    assert [(item["type"], item.get("role")) for item in body["content"]] == [
        ("text", None),
        ("video_url", "reference_video"),
        ("audio_url", "reference_audio"),
    ]


def test_v1_is_flat() -> None:
    request = order(
        seconds=6, resolution="768p", prompt_enhance=False, inputs=(picture("first_frame"),)
    )
    built = create(VIDEO, request, OLD)
    assert (built.path, built.from_root) == ("/v1/video_generation", True)
    assert sent(built) == {
        "model": "MiniMax-Hailuo-2.3",
        "prompt": "a lake",
        "first_frame_image": "data:image/png;base64,UE5H",
        "duration": 6,
        "resolution": "768P",
        "prompt_optimizer": False,
    }


def test_only_max_expands_prompts_by_choice() -> None:
    request = order(prompt_enhance=False, seed=7)
    assert sent(create(VIDEO, request, MAX))["extra"] == {"prompt_expansion_mode": "disabled"}
    assert create(VIDEO, request, H3).dropped == ("seed", "prompt_enhance")


def test_models_that_always_have_sound_have_no_switch() -> None:
    where = route("minimax", "MiniMax-H3", BASE, audio="always")
    built = create(VIDEO, order(audio=True), where)
    assert built.dropped == ()
    assert "audio" not in sent(built)


def test_the_capability_chooses_the_api() -> None:
    where = route("minimax", "whatever", api="v2")
    assert create(VIDEO, order(), where).path == "/v2/video_generation"


@pytest.mark.parametrize(
    ("changes", "where", "param"),
    [
        ({"prompt": "", "inputs": (picture("first_frame"),)}, H3, "prompt"),
        ({"inputs": (picture("first_frame"), picture("reference_image", "images"))}, H3, "images"),
        ({"aspect_ratio": "adaptive"}, H3, "aspect_ratio"),
        ({"inputs": (picture("reference_image", "images"),)}, OLD, "images"),
        ({"inputs": (linked("video", "a.mp4", "video"),)}, H3, "video"),
        ({"audio": True}, OLD, "audio"),
    ],
)
def test_what_would_be_another_video_is_refused(
    changes: dict[str, Any], where: Any, param: str
) -> None:
    with pytest.raises(ApiError) as caught:
        create(VIDEO, order(**changes), where)
    assert caught.value.param == param


def test_accepted() -> None:
    assert VIDEO.accepted(order(), H3, OK, answer({"task_id": "424"})) == Accepted("424")
    good = {"task_id": 424, "base_resp": {"status_code": 0, "status_msg": "success"}}
    assert VIDEO.accepted(order(), OLD, OK, answer(good)) == Accepted("424")
    for document in ({}, {"task_id": ""}, {"base_resp": {"status_code": 1000}}):
        assert isinstance(VIDEO.accepted(order(), OLD, OK, answer(document)), Unknown)


@pytest.mark.parametrize(
    ("code", "kind"), [(1002, "rate_limited"), (1004, "auth"), (1008, "no_balance")]
)
def test_v1_errors_come_with_http_200(code: int, kind: str) -> None:
    body = answer({"task_id": "", "base_resp": {"status_code": code, "status_msg": "no"}})
    with pytest.raises(UpstreamError) as caught:
        VIDEO.accepted(order(), OLD, OK, body)
    assert (caught.value.kind, caught.value.code) == (kind, str(code))


@pytest.mark.parametrize(
    ("status", "type", "words", "kind"),
    [
        (401, "authorized_error", "login fail: carry the key (1004)", "auth"),
        (402, "insufficient_balance_error", "insufficient balance (1008)", "no_balance"),
        (422, "unprocessable_entity_error", "sensitive content (1026)", "content_policy"),
        (429, "rate_limit_error", "rate limit, please retry later (1002)", "rate_limited"),
        (400, "bad_request_error", "invalid params, content (2013)", "bad_request"),
        (500, "server_error", "internal error (1000)", "upstream_error"),
        (529, "overloaded_error", "busy", "overloaded"),
    ],
)
def test_v2_errors_have_their_code_in_the_words(
    status: int, type: str, words: str, kind: str
) -> None:
    body = answer({"type": "error", "error": {"type": type, "message": words}, "request_id": "r"})
    assert VIDEO.explain(Head(status, {}), body).kind == kind


def v2(**changes: Any) -> object:
    base: dict[str, Any] = {
        "id": "up-1",
        "model": "MiniMax-H3",
        "status": "succeeded",
        "created_at": 1785225940,
        "content": {"url": "https://cdn.example/v.mp4"},
        "resolution": "2K",
        "duration": 5,
        "usage": {
            "total_seconds": 8,
            "input_seconds": 3,
            "output_seconds": 5,
            "input_image_count": 7,
        },
        "ratio": "adaptive",
        "task_type": "generation",
    }
    return VIDEO.observe(handle(), H3, OK, answer({"task": base | changes}))


def test_a_success_of_v2() -> None:
    found = v2()
    assert isinstance(found, Succeeded)
    assert (found.outputs[0].file.url, found.outputs[0].duration_ms) == (
        "https://cdn.example/v.mp4",
        5000,
    )
    assert found.usage == Usage(
        video_ms=5000, input_video_ms=3000, images=2, attributes={"resolution": "2k"}
    )
    assert found.facts == {"resolution": "2k", "aspect_ratio": "adaptive"}


def test_other_states_of_v2() -> None:
    assert v2(status="queued") == Running(queued=True, provider_state="queued")
    assert v2(status="running") == Running(provider_state="running")
    assert v2(status="cancelled") == Ended("cancelled", provider_state="cancelled")
    assert v2(status="expired") == Ended("expired", provider_state="expired")
    assert isinstance(v2(status="paused"), Unknown)
    assert isinstance(v2(content={}), Unknown)
    found = v2(status="failed", error={"code": "1026", "message": "sensitive content"})
    assert isinstance(found, Failed)
    assert (found.code, found.provider_code) == ("content_policy_violation", "1026")
    found = v2(usage={})
    assert isinstance(found, Succeeded)
    assert found.usage is None


def v1(**document: Any) -> object:
    base = {"task_id": "up-1", "base_resp": {"status_code": 0, "status_msg": "success"}}
    return VIDEO.observe(handle(), OLD, OK, answer(base | document))


def test_v1_needs_a_second_hop() -> None:
    hop = v1(status="Success", file_id="205", video_width=1366, video_height=768)
    assert isinstance(hop, Fetch)
    assert (hop.request.path, hop.request.from_root) == ("/v1/files/retrieve?file_id=205", True)
    body = answer({"file": {"file_id": 205, "download_url": "https://cdn.example/v.mp4"}})
    found = hop.read(OK, body)
    assert isinstance(found, Succeeded)
    made = found.outputs[0]
    assert (made.file.url, made.width, made.height) == ("https://cdn.example/v.mp4", 1366, 768)
    assert found.usage is None
    for head, refused in ((OK, b"{}"), (Head(500, {}), body)):
        assert isinstance(hop.read(head, refused), Unknown)


def test_other_states_of_v1() -> None:
    for state in ("Preparing", "Queueing"):
        assert v1(status=state) == Running(queued=True, provider_state=state)
    assert v1(status="Processing") == Running(provider_state="Processing")
    failed = v1(status="Fail", base_resp={"status_code": 1027, "status_msg": "sensitive"})
    assert isinstance(failed, Failed)
    assert failed.code == "moderated_output"
    assert isinstance(v1(status="Success"), Unknown)
    assert isinstance(v1(status="Fertig"), Unknown)
    assert isinstance(v1(base_resp={"status_code": 1004, "status_msg": "login fail"}), Unknown)


def test_where_it_is_asked_and_what_can_be_taken_back() -> None:
    assert VIDEO.poll(handle(), H3).path == "/v2/query/video_generation/up-1"
    assert VIDEO.poll(handle(), OLD).path == "/v1/query/video_generation?task_id=up-1"
    cancel = VIDEO.cancel(handle(state="queued"), H3)
    assert cancel is not None
    assert (cancel.method, cancel.path) == ("DELETE", "/v2/video_generation/up-1")
    assert VIDEO.cancel(handle(state="running"), H3) is None
    assert VIDEO.cancel(handle(state="queued"), OLD) is None
    assert VIDEO.reconcile(handle(upstream_id=""), H3) is None


@given(STATUSES, BODIES)
def test_nothing_makes_it_raise(status: int, body: bytes) -> None:
    survives(VIDEO, H3, status, body)
    survives(VIDEO, OLD, status, body)
