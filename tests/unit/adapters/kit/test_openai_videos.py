"""OpenAI's Videos wire. Exchanges are written from ``video_contract.md`` section 1 (OpenAI's
specification of 2026-08-21) and section 2.5; there are no recordings of this service."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmarket.adapters import sandbox
from tokenmarket.adapters.kit.openai_videos import OpenAIVideos
from tokenmarket.adapters.protocol import Head
from tokenmarket.adapters.registry import VIDEO, find_video
from tokenmarket.adapters.video_protocol import (
    Absent,
    Accepted,
    Before,
    Ended,
    Failed,
    Handle,
    Missing,
    Running,
    Succeeded,
    Unknown,
)
from tokenmarket.core.catalog import Model, Provider, Route
from tokenmarket.core.errors import ApiError
from tokenmarket.core.pricing import price_row, price_sheet
from tokenmarket.core.uploads import Input, memory_upload
from tokenmarket.core.usage import Usage
from tokenmarket.core.video.request import ResolvedVideo

OK = Head(200, {})
ROUTE = Route(
    model=Model("ours", "video", "Ours", "我们", "us"),
    provider=Provider("far", "sandbox", "https://far.example/v1"),
    upstream_model="theirs",
    prices=price_sheet([price_row("video_second", "0.01")]),
)
ORDER = ResolvedVideo(model="ours", prompt="a lake", seconds=5, width=1280, height=720)
HANDLE = Handle("video_1", ORDER, 1_795_400_000, "up/1")
PLAIN = OpenAIVideos()
VIDEO_OBJECT: dict[str, Any] = {
    "id": "up/1",
    "object": "video",
    "model": "theirs",
    "status": "in_progress",
    "progress": 40,
    "created_at": 1_795_400_000,
    "completed_at": None,
    "expires_at": None,
    "seconds": "5",
    "size": "1280x720",
    "error": None,
}


def built(adapter: OpenAIVideos, order: ResolvedVideo) -> tuple[dict[str, Any], tuple[str, ...]]:
    request = adapter.build(order, ROUTE, task_id="video_1", now_s=1, callback_url=None)
    assert not isinstance(request, Before)
    assert (request.method, request.path) == ("POST", "/videos")
    assert isinstance(request.body, bytes)
    return json.loads(request.body), request.dropped


def observed(**members: Any) -> object:
    return PLAIN.observe(HANDLE, ROUTE, OK, json.dumps(VIDEO_OBJECT | members).encode())


def order(**changes: Any) -> ResolvedVideo:
    base: dict[str, Any] = {"model": "ours", "prompt": "a lake"}
    return ResolvedVideo(**(base | changes))


def test_the_create_has_openai_s_fields_with_seconds_as_text() -> None:
    body, dropped = built(PLAIN, ORDER)
    assert body == {"model": "theirs", "prompt": "a lake", "seconds": "5", "size": "1280x720"}
    assert dropped == ()


def test_nothing_that_was_not_resolved_is_sent() -> None:
    assert built(PLAIN, order())[0] == {"model": "theirs", "prompt": "a lake"}


def test_the_first_frame_goes_as_an_address_or_inline() -> None:
    by_url = order(inputs=(Input("first_frame", "image", url="https://x.example/a.png"),))
    assert built(PLAIN, by_url)[0]["input_reference"] == {"image_url": "https://x.example/a.png"}
    upload = memory_upload(b"PNG", field="image", filename="a.png", content_type="image/png")
    inline = order(inputs=(Input("first_frame", "image", upload=upload),))
    assert built(PLAIN, inline)[0]["input_reference"] == {"image_url": "data:image/png;base64,UE5H"}


def test_hints_without_a_place_are_named_as_dropped() -> None:
    body, dropped = built(PLAIN, order(seed=7, negative_prompt="rain", audio=False))
    assert "seed" not in body
    assert dropped == ("seed", "negative_prompt", "audio")


@pytest.mark.parametrize(
    "changes",
    [
        {"audio": True},
        {"n": 2},
        {"inputs": (Input("last_frame", "last_frame", url="https://x.example/a.png"),)},
        {"inputs": (Input("reference_image", "images[0]", url="https://x.example/a.png"),)},
        {"inputs": (Input("video", "video", url="https://x.example/a.mp4"),)},
    ],
)
def test_what_changes_the_result_is_refused_not_dropped(changes: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as caught:
        built(PLAIN, order(**changes))
    assert (caught.value.code, caught.value.reason) == ("REQUEST_002", "unsupported_parameter")


def test_the_sandbox_takes_all_of_it_and_can_find_it_again() -> None:
    full = order(
        audio=True,
        seed=7,
        resolution="720p",
        inputs=(
            Input("reference_image", "images[0]", url="https://x.example/a.png"),
            Input("last_frame", "last_frame", url="https://x.example/b.png"),
        ),
    )
    body, dropped = built(sandbox.VIDEO, full)
    assert dropped == ()
    assert body["audio"] is True
    assert body["last_frame"] == "https://x.example/b.png"
    assert body["input_references"] == [
        {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}
    ]
    assert body["metadata"] == {"client_reference": "video_1"}


def test_options_replace_nothing_that_was_checked() -> None:
    body, _ = built(PLAIN, order(seconds=5, provider_options={"seconds": "60", "cfg_scale": 0.5}))
    assert (body["seconds"], body["cfg_scale"]) == ("5", 0.5)


def test_an_answer_to_the_create_without_an_id_is_perhaps_accepted() -> None:
    for body in (b"", b"{}", b"[]", b'{"id": 7}', b'{"id": ""}', b"<html>"):
        assert isinstance(PLAIN.accepted(ORDER, ROUTE, OK, body), Unknown), body
    answer = json.dumps(VIDEO_OBJECT | {"status": "queued"}).encode()
    assert PLAIN.accepted(ORDER, ROUTE, OK, answer) == Accepted(
        "up/1", observation=Running(queued=True, provider_state="queued")
    )


def test_polling_quotes_the_id() -> None:
    asked = PLAIN.poll(HANDLE, ROUTE)
    assert (asked.method, asked.path, asked.body) == ("GET", "/videos/up%2F1", b"")


def test_states_by_an_exact_table() -> None:
    assert observed(status="queued") == Running(queued=True, provider_state="queued")
    assert observed() == Running(progress=40, provider_state="in_progress")
    for unknown in ("processing", "Completed", "success", "", None, 5, ["completed"]):
        assert isinstance(observed(status=unknown), Unknown), unknown


def test_a_success_names_its_file_and_what_was_made() -> None:
    done = observed(status="completed", seconds="4", expires_at=1_795_500_000)
    assert isinstance(done, Succeeded)
    (output,) = done.outputs
    assert output.file.url == "https://far.example/v1/videos/up%2F1/content"
    assert output.file.credentialed
    assert (output.duration_ms, output.expires_s) == (4000, 1_795_500_000)
    assert done.usage == Usage(video_ms=4000)


def test_seconds_nobody_can_believe_are_not_billed() -> None:
    for seconds in (None, "", "0", "-4", "1e9", 10**9, True, 4.5, "٤"):
        done = observed(status="completed", seconds=seconds)
        assert isinstance(done, Succeeded)
        assert done.usage is None, seconds


def test_failures() -> None:
    refused = observed(status="failed", error={"code": "moderation_blocked", "message": "not this"})
    assert refused == Failed(
        "content_policy_violation", "not this", "moderation_blocked", False, None, "failed"
    )
    strange = observed(status="failed", error="boom")
    assert isinstance(strange, Failed)
    assert (strange.code, strange.retryable) == ("upstream_error", True)
    assert observed(status="failed", error={"code": "cancelled"}) == Ended(
        "cancelled", provider_state="failed"
    )
    assert observed(status="failed", error={"code": "expired"}) == Ended(
        "expired", provider_state="failed"
    )


def test_a_poll_that_fails_is_no_failed_task() -> None:
    assert isinstance(PLAIN.refused(HANDLE, ROUTE, Head(404, {}), b""), Missing)
    for status in (400, 401, 402, 403, 408, 409, 429, 500, 502, 503, 504):
        assert isinstance(PLAIN.refused(HANDLE, ROUTE, Head(status, {}), b"{}"), Unknown), status
    slow = PLAIN.refused(HANDLE, ROUTE, Head(429, {"retry-after": "12"}), b"{}")
    assert isinstance(slow, Unknown)
    assert slow.poll_after_s == 12


def test_only_a_refusal_proves_that_nothing_began() -> None:
    assert PLAIN.not_accepted(Head(400, {}), b"")
    assert PLAIN.not_accepted(Head(429, {}), b"")
    assert not PLAIN.not_accepted(Head(500, {}), b"")
    assert not PLAIN.not_accepted(Head(504, {}), b"")


def test_cancel_where_there_is_one() -> None:
    assert PLAIN.cancel(HANDLE, ROUTE) is None
    asked = sandbox.VIDEO.cancel(HANDLE, ROUTE)
    assert asked is not None
    assert (asked.method, asked.path) == ("POST", "/videos/up%2F1/cancel")
    ended = json.dumps(VIDEO_OBJECT | {"status": "failed", "error": {"code": "cancelled"}})
    assert sandbox.VIDEO.cancelled(HANDLE, ROUTE, OK, ended.encode()) == Ended(
        "cancelled", provider_state="failed"
    )
    assert isinstance(sandbox.VIDEO.cancelled(HANDLE, ROUTE, Head(409, {}), b""), Unknown)


def test_a_create_that_was_not_answered_is_found_by_our_id_or_proven_absent() -> None:
    assert PLAIN.reconcile(HANDLE, ROUTE) is None
    adapter, lost = sandbox.VIDEO, Handle("video_1", ORDER, 1_795_400_000)
    assert adapter.reconcile(lost, ROUTE) is not None
    other = VIDEO_OBJECT | {"id": "up2", "metadata": {"client_reference": "video_2"}}
    mine = VIDEO_OBJECT | {"metadata": {"client_reference": "video_1"}}

    def read(page: object, status: int = 200) -> object:
        return adapter.reconciled(lost, ROUTE, Head(status, {}), json.dumps(page).encode())

    assert read({"data": [other, mine], "has_more": True}) == Accepted(
        "up/1", observation=Running(progress=40, provider_state="in_progress")
    )
    assert read({"data": [other], "has_more": False}) == Absent()
    assert isinstance(read({"data": [other], "has_more": True}), Unknown)
    assert isinstance(read({"data": []}), Unknown)
    assert isinstance(read({"error": {}}, 500), Unknown)
    assert isinstance(read({"data": [], "has_more": False}, 500), Unknown)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(list(VIDEO_OBJECT)), inner),
        max_leaves=8,
    )
)
def test_no_answer_breaks_it(document: object) -> None:
    body = json.dumps(document).encode()
    assert PLAIN.observe(HANDLE, ROUTE, OK, body) is not None
    assert PLAIN.accepted(ORDER, ROUTE, OK, body) is not None
    assert PLAIN.refused(HANDLE, ROUTE, Head(500, {}), body) is not None
    assert sandbox.VIDEO.reconciled(HANDLE, ROUTE, OK, body) is not None


def test_the_registry_finds_it() -> None:
    assert find_video("sandbox") is VIDEO["sandbox"]
    assert find_video("nobody") is None
