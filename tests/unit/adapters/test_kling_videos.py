"""Kling. Exchanges written from the official pages of text-to-video 2.6, omni 3.0 and callbacks as
mirrored in 2026 (video_providers.md section 2, [KD], [KC], [KE]); the old dialect's "Task not
found" with HTTP 400 from a probe of 2026-07-30 (stored text 60248904312). No recordings exist."""

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
from tokenmarket.adapters.kling import VIDEO
from tokenmarket.adapters.protocol import Head, UpstreamRequest
from tokenmarket.adapters.video_protocol import (
    Absent,
    Accepted,
    Failed,
    Missing,
    ProviderCost,
    Running,
    Succeeded,
    Unknown,
)
from tokenmarket.catalog import load_shipped
from tokenmarket.core.catalog_toml import compile
from tokenmarket.core.errors import ApiError, UpstreamError
from tokenmarket.core.pricing import ceiling
from tokenmarket.core.usage import Usage
from tokenmarket.core.video.capabilities import resolve
from tokenmarket.core.video.request import VideoRequest

NEW = route("kling", "kling-2.6")
OMNI = route("kling", "kling-3.0-omni")
OLD = route("kling", "kling-v1-6")
OLD_OMNI = route("kling", "kling-video-o1")
URL = "https://cdn.example/v.mp4"


# ---------------------------------------------------------------------------------------- create


def test_the_new_dialect_has_the_version_in_the_path() -> None:
    request = order(seconds=10, resolution="1080p", aspect_ratio="9:16", audio=True, watermark=True)
    built = create(VIDEO, request, NEW, "https://us.example/notice")
    assert built.path == "/text-to-video/kling-2.6"
    assert sent(built) == {
        "prompt": "a lake",
        "settings": {
            "audio": "native",
            "resolution": "1080p",
            "aspect_ratio": "9:16",
            "duration": 10,
        },
        "options": {
            "callback_url": "https://us.example/notice",
            "external_task_id": TASK,
            "watermark_info": {"enabled": True},
        },
    }
    assert built.dropped == ()


def test_the_old_dialect_has_the_model_in_the_body_and_the_duration_as_text() -> None:
    request = order(
        seconds=5,
        mode="pro",
        aspect_ratio="16:9",
        negative_prompt="rain",
        provider_options={"cfg_scale": 0.5, "model_name": "kling-v9", "duration": "60"},
    )
    built = create(VIDEO, request, OLD)
    assert built.path == "/v1/videos/text2video"
    assert sent(built) == {
        "model_name": "kling-v1-6",
        "prompt": "a lake",
        "negative_prompt": "rain",
        "mode": "pro",
        "duration": "5",
        "aspect_ratio": "16:9",
        "cfg_scale": 0.5,
        "external_task_id": TASK,
    }


def test_pictures_go_without_a_prefix_and_decide_the_shape() -> None:
    frames = (picture("first_frame"), linked("last_frame", "b.png", "last_frame"))
    request = order(inputs=frames, aspect_ratio="16:9", given=("aspect_ratio",))
    new = create(VIDEO, request, NEW)
    assert new.path == "/image-to-video/kling-2.6"
    assert sent(new)["contents"] == [
        {"type": "prompt", "text": "a lake"},
        {"type": "first_frame", "url": "UE5H"},
        {"type": "last_frame", "url": "https://x.example/b.png"},
    ]
    assert "aspect_ratio" not in sent(new)["settings"]
    old = create(VIDEO, request, OLD)
    assert old.path == "/v1/videos/image2video"
    assert (sent(old)["image"], sent(old)["image_tail"]) == ("UE5H", "https://x.example/b.png")
    assert new.dropped == old.dropped == ("aspect_ratio",)


def test_references_and_sources() -> None:
    two = (picture("reference_image", "images[0]"), linked("reference_image", "b.png", "images[1]"))
    assert [
        item["id"] for item in sent(create(VIDEO, order(inputs=two), OMNI))["contents"][1:]
    ] == [
        "image_1",
        "image_2",
    ]
    many = create(VIDEO, order(inputs=two), OLD)
    assert many.path == "/v1/videos/multi-image2video"
    assert sent(many)["image_list"] == [{"image": "UE5H"}, {"image": "https://x.example/b.png"}]
    source = order(inputs=(linked("video", "a.mp4", "video"),))
    edit = create(VIDEO, source, OMNI)
    assert edit.path == "/omni-video/kling-3.0-omni"
    assert sent(edit)["contents"][1] == {
        "type": "base_video",
        "url": "https://x.example/a.mp4",
        "id": "video_1",
    }
    assert sent(edit)["settings"]["multi_shot"] is False
    old = create(VIDEO, source, OLD_OMNI)
    assert old.path == "/v1/videos/omni-video"
    assert sent(old)["video_list"] == [
        {"video_url": "https://x.example/a.mp4", "refer_type": "base"}
    ]


@pytest.mark.parametrize(
    ("changes", "where", "param"),
    [
        ({"inputs": (picture("reference_image", "images[0]"),)}, NEW, "images[0]"),
        ({"inputs": (clip("video"),)}, OMNI, "video"),
        ({"inputs": (linked("video", "a.mp4", "video"),)}, OLD, "video"),
        ({"inputs": (linked("last_frame", "a.png", "last_frame"),)}, NEW, "last_frame"),
        ({"n": 2}, NEW, "n"),
        ({"mode": "turbo"}, OLD, "mode"),
        ({"mode": "std", "resolution": "1080p"}, OLD, "mode"),
        ({"resolution": "480p"}, NEW, "resolution"),
        ({"source_task_id": "video_2"}, NEW, "video"),
    ],
)
def test_what_would_be_another_video_is_refused(
    changes: dict[str, Any], where: Any, param: str
) -> None:
    with pytest.raises(ApiError) as caught:
        create(VIDEO, order(**changes), where)
    assert (caught.value.code, caught.value.param) == ("REQUEST_002", param)


def test_hints_it_has_no_word_for_are_named() -> None:
    assert create(VIDEO, order(seed=7, negative_prompt="rain", fps=24), NEW).dropped == (
        "fps",
        "seed",
        "negative_prompt",
    )


def test_the_tier_that_the_caller_wrote_counts_before_a_default() -> None:
    by_size = order(mode="std", resolution="1080p", defaults=("mode",))
    assert sent(create(VIDEO, by_size, OLD))["mode"] == "pro"
    by_mode = order(mode="pro", resolution="720p", defaults=("resolution",))
    assert sent(create(VIDEO, by_mode, OLD))["mode"] == "pro"
    assert sent(create(VIDEO, by_mode, NEW))["settings"]["resolution"] == "1080p"


def test_the_capability_chooses_the_dialect() -> None:
    forced = route("kling", "kling-v3", dialect="new")
    assert create(VIDEO, order(), forced).path == "/text-to-video/kling-v3"
    turbo = route("kling", "kling-3.0-turbo", audio="always")
    assert "audio" not in sent(create(VIDEO, order(audio=True), turbo))["settings"]


def test_the_shipped_prices_are_those_of_what_is_sent() -> None:
    """1280x720 is std and 1920x1080 is pro, whichever way it was said."""
    catalog = compile(load_shipped(), 1)
    model = catalog.models["kling-v1"]
    (where,) = [item for item in catalog.routes["kling-v1"] if item.provider.name == "kling"]
    cases: tuple[tuple[dict[str, Any], str, int], ...] = (
        ({"width": 1280, "height": 720}, "std", 140_000_000),
        ({"width": 1920, "height": 1080}, "pro", 490_000_000),
        ({"mode": "pro"}, "pro", 490_000_000),
        ({}, "std", 140_000_000),
    )
    for asked, mode, usd_nano in cases:
        video = resolve(VideoRequest("kling-v1", prompt="a lake", seconds=5, **asked), model)
        assert ceiling(where.prices, video.bound, video.attributes) == usd_nano, asked
        assert sent(create(VIDEO, video, where))["mode"] == mode, asked


# ---------------------------------------------------------------------------------------- answers


def new_task(**changes: Any) -> dict[str, Any]:
    base = {
        "id": "up-1",
        "status": "succeeded",
        "message": "",
        "create_time": 1781080778802,
        "update_time": 1781080794151,
        "external_id": TASK,
        "outputs": [
            {"type": "image", "url": "https://cdn.example/i.png"},
            {"type": "video", "id": "v", "url": URL, "watermark_url": "w", "duration": "5.041"},
        ],
        "billing": [
            {"charge_type": "cash", "amount": "0.7", "currency": "USD", "list_price": "0.7"}
        ],
    }
    return base | changes


def old_task(**changes: Any) -> dict[str, Any]:
    base = {
        "task_id": "up-1",
        "task_status": "succeed",
        "task_status_msg": "",
        "created_at": 1722769557708,
        "task_info": {"external_task_id": TASK},
        "task_result": {"videos": [{"id": "v", "url": URL, "duration": "5"}]},
        "final_unit_deduction": "1.0",
    }
    return base | changes


def wrapped(data: Any, code: int = 0, message: str = "") -> bytes:
    return answer({"code": code, "message": message, "request_id": "r", "data": data})


def test_a_create_is_accepted_in_both_dialects() -> None:
    body = wrapped({"id": "up-1", "status": "submitted", "create_time": 1781080778802})
    assert VIDEO.accepted(order(), NEW, OK, body) == Accepted(
        "up-1", observation=Running(queued=True, provider_state="submitted")
    )
    body = wrapped({"task_id": "up-1", "task_status": "processing"})
    frames = order(inputs=(picture("first_frame"),))
    assert VIDEO.accepted(frames, OLD, OK, body) == Accepted(
        "up-1",
        {"path": "/v1/videos/image2video"},
        observation=Running(provider_state="processing"),
    )


def test_a_create_without_a_verdict_is_perhaps_accepted() -> None:
    for body in (b"", b"{}", wrapped({}), wrapped(None), wrapped({}, 5000, "internal")):
        assert isinstance(VIDEO.accepted(order(), NEW, OK, body), Unknown), body
    with pytest.raises(UpstreamError) as caught:
        VIDEO.accepted(order(), NEW, OK, wrapped(None, 1301, "risk"))
    assert caught.value.kind == "content_policy"


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, 1004, "auth"),
        (429, 1100, "no_balance"),
        (429, 1101, "no_balance"),
        (429, 1102, "no_balance"),
        (403, 1103, "forbidden"),
        (400, 1201, "bad_request"),
        (404, 1203, "not_found"),
        (400, 1301, "content_policy"),
        (429, 1302, "rate_limited"),
        (429, 1303, "rate_limited"),
        (429, 1304, "forbidden"),
        (500, 5000, "upstream_error"),
        (503, 5001, "overloaded"),
        (504, 5002, "timeout"),
        (418, 9999, "bad_request"),
    ],
)
def test_the_error_table(status: int, code: int, kind: str) -> None:
    error = VIDEO.explain(Head(status, {}), wrapped(None, code, "no"))
    assert (error.kind, error.code) == (kind, str(code))
    assert VIDEO.not_accepted(Head(status, {}), b"") is (status < 500)


def test_a_success_of_the_new_dialect() -> None:
    seen = VIDEO.observe(handle(order(seconds=5)), NEW, OK, wrapped([new_task()]))
    assert isinstance(seen, Succeeded)
    (made,) = seen.outputs
    assert (made.file.url, made.duration_ms) == (URL, 5041)
    assert seen.usage == Usage(video_ms=5000)  # five seconds are billed, not the frame more
    assert seen.cost == ProviderCost("0.7", "USD")


def test_a_success_of_the_old_dialect() -> None:
    seen = VIDEO.observe(handle(order(seconds=5)), OLD, OK, wrapped(old_task()))
    assert isinstance(seen, Succeeded)
    assert seen.outputs[0].file.url == URL
    assert seen.usage == Usage(video_ms=5000)
    assert seen.cost == ProviderCost("1.0", "unit")


@pytest.mark.parametrize(
    ("changes", "where", "cost"),
    [
        ({"billing": [{"charge_type": "unit", "amount": "3"}]}, NEW, ProviderCost("3", "unit")),
        ({"billing": []}, NEW, None),
        ({"billing": [{"charge_type": "cash", "amount": "x", "currency": "USD"}]}, NEW, None),
        ({"billing": [{"charge_type": "cash", "amount": "1", "currency": "EUR"}]}, NEW, None),
        (
            {"billing": [], "final_balance_deduction": {"quota": "0.14", "list_price": "0.2"}},
            route("kling", "kling-2.6", "https://api-beijing.klingai.com"),
            ProviderCost("0.14", "CNY"),
        ),
    ],
)
def test_what_it_cost_there(changes: Any, where: Any, cost: ProviderCost | None) -> None:
    seen = VIDEO.observe(handle(), where, OK, wrapped([new_task(**changes)]))
    assert isinstance(seen, Succeeded)
    assert seen.cost == cost


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("Failure to pass the risk control system", "content_policy_violation"),
        ("NSFW content detected", "content_policy_violation"),
        ("Server is busy", "upstream_error"),
        ("", "upstream_error"),
    ],
)
def test_failures_have_words_only(message: str, code: str) -> None:
    body = wrapped([new_task(status="failed", message=message, outputs=[], billing=[])])
    seen = VIDEO.observe(handle(), NEW, OK, body)
    assert isinstance(seen, Failed)
    assert seen.code == code
    body = wrapped(old_task(task_status="failed", task_status_msg=message, task_result={}))
    seen = VIDEO.observe(handle(), OLD, OK, body)
    assert isinstance(seen, Failed)
    assert seen.code == code


def test_other_states() -> None:
    def see(**changes: Any) -> object:
        return VIDEO.observe(handle(), NEW, OK, wrapped([new_task(**changes)]))

    assert see(status="submitted") == Running(queued=True, provider_state="submitted")
    assert see(status="processing") == Running(provider_state="processing")
    assert isinstance(see(status="paused"), Unknown)
    assert isinstance(see(outputs=[]), Unknown)  # a success without a file
    assert isinstance(see(id="another"), Missing)


def test_a_task_that_is_not_known_there() -> None:
    assert isinstance(VIDEO.observe(handle(), NEW, OK, wrapped([])), Missing)
    lost = wrapped(None, 1201, "Task not found")
    assert isinstance(VIDEO.refused(handle(), OLD, Head(400, {}), lost), Missing)
    other = wrapped(None, 1201, "Invalid parameter")
    assert isinstance(VIDEO.refused(handle(), OLD, Head(400, {}), other), Unknown)
    assert isinstance(VIDEO.refused(handle(), OLD, Head(503, {}), b""), Unknown)


# ----------------------------------------------------------------------------- finding it again


def path(request: UpstreamRequest | None) -> str:
    assert request is not None
    assert request.method == "GET"
    return request.path


def test_tasks_are_asked_for_where_they_were_made() -> None:
    assert path(VIDEO.poll(handle(), NEW)) == "/tasks?task_ids=up-1"
    kept = handle(ref={"path": "/v1/videos/image2video"})
    assert path(VIDEO.poll(kept, OLD)) == "/v1/videos/image2video/up-1"
    assert path(VIDEO.poll(handle(upstream_id="a/b&c"), NEW)) == "/tasks?task_ids=a%2Fb%26c"


def test_a_lost_create_is_found_by_our_id() -> None:
    lost = handle(upstream_id="")
    assert path(VIDEO.reconcile(lost, NEW)) == f"/tasks?external_task_ids={TASK}"
    assert path(VIDEO.reconcile(lost, OLD)) == f"/v1/videos/text2video/{TASK}"
    found = VIDEO.reconciled(lost, NEW, OK, wrapped([new_task(status="processing")]))
    assert found == Accepted("up-1", observation=Running(provider_state="processing"))
    assert isinstance(VIDEO.reconciled(lost, OLD, OK, wrapped(old_task())), Accepted)


def test_only_proof_makes_it_absent() -> None:
    lost = handle(upstream_id="")
    assert VIDEO.reconciled(lost, NEW, OK, wrapped([])) == Absent()
    gone = wrapped(None, 1201, "Task not found")
    assert VIDEO.reconciled(lost, OLD, Head(400, {}), gone) == Absent()
    for head, body in (
        (OK, b""),
        (OK, wrapped(None)),
        (OK, wrapped([new_task(external_id="another")])),
        (OK, wrapped([], 1302, "too fast")),
        (Head(500, {}), b""),
        (Head(400, {}), wrapped(None, 1201, "Invalid parameter")),
    ):
        assert isinstance(VIDEO.reconciled(lost, NEW, head, body), Unknown), body


def test_where_the_files_are_gone_nobody_knows_where_it_was_made() -> None:
    lost = handle(order(attributes={"input": "image"}), upstream_id="")
    assert VIDEO.reconcile(lost, OLD) is None
    assert path(VIDEO.reconcile(lost, NEW)) == f"/tasks?external_task_ids={TASK}"


@given(STATUSES, BODIES)
def test_nothing_makes_it_raise(status: int, body: bytes) -> None:
    survives(VIDEO, NEW, status, body)
    survives(VIDEO, OLD, status, body)
