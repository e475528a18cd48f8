"""Videos at new-api servers. Exchanges written from new-api's documentation and code of 2026
(wire_facts.md section 3.3, video_contract.md section 1: [NA-DOC], [NA-RI], [NA-KL], [NA-RT])."""

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
from tokenmarket.adapters.newapi_videos import VIDEO
from tokenmarket.adapters.protocol import Head, Produced
from tokenmarket.adapters.video_protocol import (
    Accepted,
    Failed,
    Missing,
    Running,
    Succeeded,
    Unknown,
)
from tokenmarket.catalog import load_shipped
from tokenmarket.core.catalog_toml import compile
from tokenmarket.core.errors import ApiError, UpstreamError
from tokenmarket.core.pricing import charge
from tokenmarket.core.usage import Usage
from tokenmarket.core.video.capabilities import resolve
from tokenmarket.core.video.parse import parse_video

BASE = "https://far.example/v1"
KLING = route("newapi", "kling-v1", BASE)
OTHER = route("newapi", "wan2.5-t2v", BASE)
OPENAI = route("newapi", "wan2.5-t2v", BASE, newapi_shape="openai")
FILE = "https://cdn.example/v.mp4"


def wrapped(**changes: Any) -> dict[str, Any]:
    """TaskDto, as ``GET /v1/video/generations/{id}`` gives it."""
    task = {
        "id": 17,
        "task_id": "up-1",
        "platform": "50",
        "action": "textGenerate",
        "status": "SUCCESS",
        "progress": "100%",
        "fail_reason": "",
        "result_url": FILE,
        "data": {
            "code": 0,
            "data": {"task_result": {"videos": [{"id": "k", "url": FILE, "duration": "5.1"}]}},
        },
    }
    return {"code": "success", "message": "", "data": task | changes}


def seen(document: Any, where: Any = KLING, **changes: Any) -> Any:
    return VIDEO.observe(handle(order(seconds=5, **changes)), where, OK, answer(document))


def test_the_example_of_the_original_documentation() -> None:
    """original_docs.md: size and prompt only. What we added is said to the server, and priced."""
    body = (
        b'{"model":"kling-v1","provider":"dataeyes",'
        b'"prompt":"A paper plane flying over a lake at sunrise","size":"1280x720"}'
    )
    catalog = compile(load_shipped(), 1)
    video = resolve(parse_video(body, generations=True), catalog.models["kling-v1"])
    assert video.choice is not None
    assert video.choice.only == ("dataeyes",)
    (where,) = (r for r in catalog.routes["kling-v1"] if r.provider.name == "dataeyes")
    built = create(VIDEO, video, where)
    assert built.path == "/video/generations"
    assert sent(built) == {
        "model": "kling-v1",
        "prompt": "A paper plane flying over a lake at sunrise",
        "mode": "std",
        "duration": 5,
        "seconds": "5",
        "size": "1280x720",
        "width": 1280,
        "height": 720,
        "metadata": {"aspect_ratio": "16:9"},
    }
    assert built.dropped == ()
    assert {"seconds", "mode"} <= set(video.defaults)
    assert charge(where.prices, Usage(video_ms=5000), video.attributes) == 700_000_000


def test_kling_gets_the_members_of_its_own_body() -> None:
    inputs = (picture("first_frame"), linked("last_frame", "b.png", "last_frame"))
    request = order(
        seconds=10,
        mode="pro",
        negative_prompt="rain",
        watermark=False,
        inputs=inputs,
        provider_options={"cfg_scale": 0.7},
    )
    assert sent(create(VIDEO, request, KLING)) == {
        "model": "kling-v1",
        "prompt": "a lake",
        "image": "UE5H",
        "mode": "pro",
        "duration": 10,
        "seconds": "10",
        "metadata": {
            "cfg_scale": 0.7,
            "negative_prompt": "rain",
            "watermark_info": {"enabled": False},
            "image_tail": "https://x.example/b.png",
        },
    }


def test_another_vendor_gets_what_is_documented() -> None:
    request = order(
        seconds=5,
        resolution="720p",
        aspect_ratio="9:16",
        seed=7,
        fps=24,
        negative_prompt="rain",
        user="someone",
        prompt_enhance=True,
        provider_options={"style": "cinema"},
    )
    built = create(VIDEO, request, OTHER)
    assert sent(built) == {
        "model": "wan2.5-t2v",
        "prompt": "a lake",
        "seed": 7,
        "fps": 24,
        "user": "someone",
        "duration": 5,
        "seconds": "5",
        "size": "720x1280",
        "width": 720,
        "height": 1280,
        "metadata": {
            "style": "cinema",
            "negative_prompt": "rain",
            "resolution": "720p",
            "aspect_ratio": "9:16",
        },
    }
    assert built.dropped == ("prompt_enhance",)
    frames = (picture("first_frame"), linked("last_frame", "b.png", "last_frame"))
    body = sent(create(VIDEO, order(inputs=frames), OTHER))
    assert body["image"] == "data:image/png;base64,UE5H"
    assert body["metadata"] == {"image_tail": "https://x.example/b.png"}


@pytest.mark.parametrize(
    ("changes", "where", "param"),
    [
        ({"audio": True}, OTHER, "audio"),
        ({"n": 2}, OTHER, "n"),
        ({"inputs": (linked("reference_image", "a.png", "images[0]"),)}, OTHER, "images[0]"),
        ({"inputs": (linked("reference_image", "a.png", "images[0]"),)}, KLING, "model"),
        ({"mode": "std", "resolution": "1080p"}, KLING, "mode"),
        ({"source_task_id": "video_2"}, KLING, "video"),
    ],
)
def test_what_would_be_another_video_is_refused(
    changes: dict[str, Any], where: Any, param: str
) -> None:
    with pytest.raises(ApiError) as caught:
        create(VIDEO, order(**changes), where)
    assert (caught.value.code, caught.value.param) == ("REQUEST_002", param)


def test_the_two_shapes_have_their_own_paths() -> None:
    assert VIDEO.poll(handle(), KLING).path == "/video/generations/up-1"
    assert create(VIDEO, order(), OPENAI).path == "/videos"
    assert VIDEO.poll(handle(upstream_id="a/b"), OPENAI).path == "/videos/a%2Fb"


@pytest.mark.parametrize(
    ("document", "queued"),
    [
        ({"task_id": "task_1", "status": "queued"}, True),
        ({"id": "task_1", "object": "video", "task_id": "task_1", "status": "processing"}, False),
        ({"id": "task_1", "object": "video", "status": "in_progress", "progress": 0}, False),
        ({"id": 12, "task_id": "task_1", "status": ""}, True),
        ({"code": "success", "message": "", "data": "task_1"}, True),
        ({"code": "success", "data": {"task_id": "task_1", "status": "SUBMITTED"}}, True),
    ],
)
def test_accepted_in_every_form(document: Any, queued: bool) -> None:
    found = VIDEO.accepted(order(), KLING, OK, answer(document))
    assert isinstance(found, Accepted)
    assert found.upstream_id == "task_1"
    assert isinstance(found.observation, Running)
    assert found.observation.queued is queued


def test_a_refusal_inside_a_success_and_an_answer_without_an_id() -> None:
    body = answer({"code": "insufficient_user_quota", "message": "no", "data": None})
    with pytest.raises(UpstreamError) as caught:
        VIDEO.accepted(order(), KLING, OK, body)
    assert caught.value.kind == "no_balance"
    for body in (b"", b"[]", b'{"status":"queued"}', b'{"code":"success","data":null}'):
        assert isinstance(VIDEO.accepted(order(), KLING, OK, body), Unknown)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (wrapped(status="NOT_START"), Running(queued=True, provider_state="NOT_START")),
        (wrapped(status="SUBMITTED"), Running(queued=True, provider_state="SUBMITTED")),
        (wrapped(status="QUEUED"), Running(queued=True, provider_state="QUEUED")),
        (
            wrapped(status="IN_PROGRESS", progress="50%"),
            Running(progress=50, provider_state="IN_PROGRESS"),
        ),
        (
            {"code": "success", "data": {"status": "processing", "url": ""}},
            Running(provider_state="processing"),
        ),
        (
            {"task_id": "up-1", "status": "in_progress"},
            Running(provider_state="in_progress"),
        ),
    ],
)
def test_on_the_way(document: Any, expected: Running) -> None:
    assert seen(document) == expected


def test_the_wrapped_task_done() -> None:
    found = seen(wrapped())
    assert isinstance(found, Succeeded)
    assert found.outputs[0].file == Produced(url=FILE)
    assert found.outputs[0].duration_ms == 5100
    assert found.usage == Usage(video_ms=5000)


def test_the_simple_forms_done() -> None:
    flat = {
        "task_id": "up-1",
        "status": "succeeded",
        "url": FILE,
        "format": "mp4",
        "metadata": {"duration": 5, "fps": 24, "width": 1280, "height": 720, "seed": 7},
        "error": None,
    }
    for document in (flat, {"code": "success", "data": flat}):
        found = seen(document)
        assert isinstance(found, Succeeded)
        (output,) = found.outputs
        assert (output.file.url, output.width, output.height, output.fps) == (FILE, 1280, 720, 24)
        assert found.usage == Usage(video_ms=5000)
        assert found.facts == {"seed": 7, "fps": 24}


def test_openai_s_shape_done() -> None:
    document = {
        "id": "up-1",
        "object": "video",
        "status": "completed",
        "progress": 100,
        "created_at": 1755237000123,
        "seconds": "5",
        "metadata": {"url": FILE},
        "usage": {"completion_tokens": 108900},
    }
    found = seen(document, OPENAI)
    assert isinstance(found, Succeeded)
    assert found.outputs[0].file.url == FILE
    assert found.usage == Usage(video_ms=5000, video_tokens=108900)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"result_url": None, "fail_reason": FILE}, Produced(url=FILE)),
        (
            {"result_url": "http://localhost:3000/v1/videos/up-1/content"},
            Produced(
                url=f"{BASE}/videos/up-1/content", credentialed=True, content_type="video/mp4"
            ),
        ),
        (
            {"result_url": ""},
            Produced(
                url=f"{BASE}/videos/up-1/content", credentialed=True, content_type="video/mp4"
            ),
        ),
        (
            {"result_url": "https://far.example/files/v.mp4"},
            Produced(url="https://far.example/files/v.mp4", credentialed=True),
        ),
        (
            {"result_url": "data:video/mp4;base64,AAAA"},
            Produced(b64="AAAA", content_type="video/mp4"),
        ),
    ],
)
def test_where_the_file_is(changes: dict[str, Any], expected: Produced) -> None:
    found = seen(wrapped(**changes))
    assert isinstance(found, Succeeded)
    assert found.outputs[0].file == expected


def test_a_success_that_says_no_length_is_measured_by_us() -> None:
    found = seen(wrapped(data=None))
    assert isinstance(found, Succeeded)
    assert found.usage is None


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (wrapped(status="FAILURE", fail_reason="risk control"), "content_policy_violation"),
        (wrapped(status="FAILURE", fail_reason="boom"), "upstream_error"),
        (
            {"status": "failed", "error": {"code": "prompt_blocked", "message": "no"}},
            "content_policy_violation",
        ),
        (
            {"status": "failed", "error": {"code": 1303, "message": "busy"}},
            "upstream_error",
        ),
    ],
)
def test_failures(document: Any, code: str) -> None:
    found = seen(document)
    assert isinstance(found, Failed)
    assert found.code == code


def test_what_says_nothing_keeps_the_task() -> None:
    for document in (wrapped(status="UNKNOWN"), {"status": "unknown"}, {"code": "success"}, {}):
        assert isinstance(seen(document), Unknown)
    assert isinstance(seen({"code": "get_task_failed", "message": "db"}), Unknown)


def test_a_task_that_is_not_there() -> None:
    body = answer({"code": "task_not_exist", "message": "task_not_exist", "data": None})
    assert isinstance(VIDEO.refused(handle(), KLING, Head(400, {}), body), Missing)
    assert isinstance(VIDEO.observe(handle(), KLING, OK, body), Missing)
    assert isinstance(VIDEO.refused(handle(), KLING, Head(404, {}), b""), Missing)
    assert isinstance(VIDEO.refused(handle(), KLING, Head(500, {}), body[:0]), Unknown)


@pytest.mark.parametrize(
    ("status", "document", "kind"),
    [
        (403, {"error": {"code": "insufficient_user_quota", "message": "no"}}, "no_balance"),
        (403, {"code": "pre_consume_token_quota_failed", "message": "no"}, "no_balance"),
        (400, {"code": "sensitive_words_detected", "message": "no"}, "content_policy"),
        (503, {"error": {"code": "model_not_found", "message": "no channel"}}, "not_found"),
        (500, {"code": "get_channel_failed", "message": "no"}, "overloaded"),
        (400, {"code": "fail_to_fetch_task", "message": "bad"}, "bad_request"),
    ],
)
def test_refusals(status: int, document: Any, kind: str) -> None:
    assert VIDEO.explain(Head(status, {}), answer(document)).kind == kind


def test_nothing_can_be_cancelled_or_looked_for() -> None:
    assert VIDEO.cancel(handle(), KLING) is None
    assert VIDEO.reconcile(handle(upstream_id=""), KLING) is None


@given(STATUSES, BODIES)
def test_nothing_makes_it_raise(status: int, body: bytes) -> None:
    for where in (KLING, OPENAI):
        survives(VIDEO, where, status, body)
