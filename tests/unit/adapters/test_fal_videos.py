"""Videos at fal. Exchanges written from fal-client 1.0.3 and fal's documentation of its queue and
errors (video_providers.md sections 1 and 11, [FC], [FW])."""

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
    order,
    picture,
    route,
    sent,
    survives,
)
from tokenmarket.adapters.fal_videos import VIDEO
from tokenmarket.adapters.protocol import Head, Produced
from tokenmarket.adapters.video_protocol import (
    Accepted,
    Ended,
    Failed,
    Fetch,
    Missing,
    ProviderCost,
    Running,
    Succeeded,
    Unknown,
)
from tokenmarket.catalog import load_shipped
from tokenmarket.core.catalog_toml import compile
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.usage import Usage
from tokenmarket.core.video.capabilities import resolve
from tokenmarket.core.video.parse import parse_video

HERE = route("fal", "bytedance/seedance-2.0/text-to-video", "https://queue.fal.example")
JOB = "https://queue.fal.example/bytedance/seedance-2.0/requests/up-1"
REF = {
    "app": "bytedance/seedance-2.0",
    "status": f"{JOB}/status",
    "response": JOB,
    "cancel": f"{JOB}/cancel",
}
FILE = "https://v3.fal.example/v.mp4"


def seen(document: Any) -> Any:
    return VIDEO.observe(handle(order(seconds=5), ref=REF), HERE, OK, answer(document))


def result(document: Any, status: int = 200, **headers: str) -> Any:
    found = seen({"status": "COMPLETED"})
    assert isinstance(found, Fetch)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return found.read(Head(status, named), answer(document))


def test_the_create_with_the_shipped_words_of_seedance() -> None:
    catalog = compile(load_shipped(), 1)
    model = catalog.models["seedance-2.0"]
    (where,) = (r for r in catalog.routes["seedance-2.0"] if r.provider.name == "fal")
    video = resolve(parse_video(b'{"model":"seedance-2.0","prompt":"a lake"}'), model)
    built = create(VIDEO, video, where, "https://us.example/n?a=b")
    assert built.path == (
        "/bytedance/seedance-2.0/text-to-video?fal_webhook=https%3A%2F%2Fus.example%2Fn%3Fa%3Db"
    )
    assert sent(built) == {
        "prompt": "a lake",
        "duration": "5",
        "resolution": "720p",
        "aspect_ratio": "16:9",
        "generate_audio": True,
    }
    shown = create(VIDEO, order(inputs=(picture("first_frame"),)), where)
    assert shown.path == "/bytedance/seedance-2.0/image-to-video"
    assert sent(shown)["image_url"] == "data:image/png;base64,UE5H"
    many = create(VIDEO, order(inputs=(picture("reference_image"),)), where)
    assert many.path == "/bytedance/seedance-2.0/reference-to-video"
    assert sent(many)["image_urls"] == ["data:image/png;base64,UE5H"]
    shaped = create(VIDEO, order(aspect_ratio="adaptive"), where)
    assert sent(shaped)["aspect_ratio"] == "auto"


def test_accepted_with_the_addresses_as_given() -> None:
    body = {
        "request_id": "up-1",
        "status_url": REF["status"],
        "response_url": REF["response"],
        "cancel_url": REF["cancel"],
        "queue_position": 0,
    }
    assert VIDEO.accepted(order(), HERE, OK, answer(body)) == Accepted("up-1", REF)
    bare = VIDEO.accepted(order(), HERE, OK, answer({"request_id": "up-1", "status_url": 7}))
    assert bare == Accepted("up-1", {"app": "bytedance/seedance-2.0"})
    assert isinstance(VIDEO.accepted(order(), HERE, OK, b"{}"), Unknown)
    with pytest.raises(UpstreamError):
        VIDEO.accepted(order(), HERE, OK, answer({"detail": "no"}))


def test_where_is_asked() -> None:
    known = VIDEO.poll(handle(ref=REF), HERE)
    assert (known.method, known.url) == ("GET", REF["status"])
    bare = VIDEO.poll(handle(ref={"app": "bytedance/seedance-2.0"}), HERE)
    assert (bare.url, bare.path) == (None, "/bytedance/seedance-2.0/requests/up-1/status")
    cancel = VIDEO.cancel(handle(ref=REF), HERE)
    assert cancel is not None
    assert (cancel.method, cancel.url) == ("PUT", REF["cancel"])
    requested = answer({"status": "CANCELLATION_REQUESTED"})
    assert isinstance(VIDEO.cancelled(handle(), HERE, Head(202, {}), requested), Unknown)


def test_on_the_way() -> None:
    assert seen({"status": "IN_QUEUE", "queue_position": 3}) == Running(
        queued=True, provider_state="IN_QUEUE"
    )
    assert seen({"status": "IN_PROGRESS"}) == Running(provider_state="IN_PROGRESS")
    assert isinstance(seen({"status": "PAUSED"}), Unknown)


def test_completed_is_read_at_the_second_address() -> None:
    found = seen({"status": "COMPLETED", "metrics": {"inference_time": 3.4}})
    assert isinstance(found, Fetch)
    assert (found.request.method, found.request.url) == ("GET", JOB)
    video = {
        "url": FILE,
        "content_type": "video/mp4",
        "width": 1280,
        "height": 720,
        "duration": 5.1,
    }
    done = result({"video": video | {"duration": 5.1}, "seed": 7}, x_fal_billable_units="5")
    assert isinstance(done, Succeeded)
    (output,) = done.outputs
    assert output.file == Produced(url=FILE, content_type="video/mp4")
    assert (output.width, output.height, output.duration_ms) == (1280, 720, 5100)
    assert done.usage == Usage(video_ms=5000)
    assert done.cost == ProviderCost("5", "unit")
    assert done.facts == {"seed": 7}
    listed = result({"videos": [{"url": FILE, "content_type": "application/octet-stream"}]})
    assert isinstance(listed, Succeeded)
    assert listed.outputs[0].file == Produced(url=FILE)
    assert listed.usage is None


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("content_policy_violation", "content_policy_violation"),
        ("request_timeout", "upstream_timeout"),
        ("runner_scheduling_failure", "upstream_capacity"),
        ("image_load_error", "invalid_input_media"),
        ("something_new", "upstream_error"),
        (None, "upstream_error"),
    ],
)
def test_completed_may_be_a_failure(kind: str | None, code: str) -> None:
    found = seen({"status": "COMPLETED", "error": "no", "error_type": kind})
    assert isinstance(found, Failed)
    assert found.code == code


def test_a_cancelled_one() -> None:
    ended = Ended("cancelled", provider_state="COMPLETED")
    assert seen({"status": "COMPLETED", "error": "x", "error_type": "client_cancelled"}) == ended
    assert result({"detail": "x", "error_type": "client_cancelled"}, 499) == ended


def test_a_result_that_is_none() -> None:
    detail = {"loc": ["body", "prompt"], "msg": "refused", "type": "content_policy_violation"}
    refused = result({"detail": [detail]}, 422)
    assert isinstance(refused, Failed)
    assert refused.code == "content_policy_violation"
    wrong = result({"detail": [detail | {"type": "greater_than"}]}, 422)
    assert isinstance(wrong, Failed)
    assert (wrong.code, wrong.retryable) == ("invalid_input_media", False)
    late = result({"detail": "slow"}, 504, x_fal_error_type="request_timeout")
    assert isinstance(late, Failed)
    assert late.code == "upstream_timeout"
    assert isinstance(result({"detail": "Request is still in progress"}, 400), Running)
    assert isinstance(result({}, 404), Missing)
    assert isinstance(result({"detail": "oops"}, 500), Unknown)
    assert isinstance(result({"images": []}), Unknown)


@pytest.mark.parametrize(
    ("status", "document", "kind"),
    [
        (401, {"detail": "Cannot access application"}, "auth"),
        (
            422,
            {"detail": [{"loc": ["body"], "msg": "no", "type": "content_policy_violation"}]},
            "content_policy",
        ),
        (
            422,
            {"detail": [{"loc": ["body"], "msg": "bad", "type": "x"}]},
            "bad_request",
        ),
        (503, {"detail": "none", "error_type": "runner_scheduling_failure"}, "overloaded"),
        (404, {"detail": "Application not found"}, "not_found"),
    ],
)
def test_refusals(status: int, document: Any, kind: str) -> None:
    assert VIDEO.explain(Head(status, {}), answer(document)).kind == kind


@given(STATUSES, BODIES)
def test_nothing_makes_it_raise(status: int, body: bytes) -> None:
    survives(VIDEO, HERE, status, body)
    fetch = seen({"status": "COMPLETED"})
    assert isinstance(fetch, Fetch)
    fetch.read(Head(status, {}), body)
