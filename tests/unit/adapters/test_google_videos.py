"""Gemini's Interactions, and Veo's operations at Vertex and at Gemini. Exchanges written from
google-genai 3.4.0 (video_providers.md section 6, [GG], [GI]) and, for what only live calls show
(refusals in words, limits told by the poll, unknown ids), from public clients of 2026-09 and
2026-10 (stored texts 58078608142, 70254958001). Recorded ones: tests/recorded/test_videos.py."""

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
from tokenmarket.adapters import gemini_videos, vertex_videos
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
from tokenmarket.catalog import load_shipped
from tokenmarket.core.catalog_toml import compile
from tokenmarket.core.errors import ApiError
from tokenmarket.core.pricing import ceiling, charge
from tokenmarket.core.usage import Usage
from tokenmarket.core.video.capabilities import resolve
from tokenmarket.core.video.request import VideoRequest

GEMINI, VERTEX = gemini_videos.VIDEO, vertex_videos.VIDEO
BASE = "https://generativelanguage.googleapis.com/v1beta"
OMNI = route("gemini", "gemini-omni-1.1-flash", BASE, audio="always")
VEO = route("gemini", "veo-3.1-lite-generate-preview", BASE)
PUBLISHER = (
    "https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/l/publishers/google"
)
LITE = route("vertex", "veo-3.1-lite-generate-001", PUBLISHER)
NAME = "projects/p/locations/l/publishers/google/models/m/operations/0a1b"
FILE = f"{BASE}/files/abc:download?alt=media"


# ------------------------------------------------------------------------------------------- omni


def test_an_interaction_is_always_in_the_background() -> None:
    request = order(
        seconds=5,
        resolution="720p",
        aspect_ratio="9:16",
        audio=True,
        provider_options={"delivery": "inline"},
    )
    built = create(GEMINI, request, OMNI)
    assert built.path == "/interactions"
    assert sent(built) == {
        "model": "gemini-omni-1.1-flash",
        "input": [{"type": "text", "text": "a lake"}],
        "background": True,
        "response_format": {
            "type": "video",
            "delivery": "uri",
            "aspect_ratio": "9:16",
            "resolution": "720p",
            "duration": "5s",
        },
        "generation_config": {"video_config": {"task": "text_to_video"}},
    }
    assert built.dropped == ()


@pytest.mark.parametrize(
    ("changes", "task"),
    [
        ({"inputs": (picture("first_frame"),)}, "image_to_video"),
        ({"inputs": (picture("reference_image"),)}, "reference_to_video"),
        ({"inputs": (clip("video"),), "operation": "edit"}, "edit"),
        ({"inputs": (clip("video"),), "operation": "extend"}, "extend"),
    ],
)
def test_files_are_inline_and_the_task_is_said(changes: dict[str, Any], task: str) -> None:
    body = sent(create(GEMINI, order(**changes), OMNI))
    assert body["generation_config"] == {"video_config": {"task": task}}
    kind, data = ("video", "TVA0") if "video" in changes["inputs"][0].role else ("image", "UE5H")
    assert (body["input"][0]["type"], body["input"][0]["data"]) == (kind, data)
    assert body["input"][1] == {"type": "text", "text": "a lake"}


def test_an_edit_of_our_own_names_the_interaction() -> None:
    request = order(operation="edit", source_task_id="video_0", source_upstream_id="v1_abc")
    assert sent(create(GEMINI, request, OMNI))["previous_interaction_id"] == "v1_abc"


def test_what_would_be_another_video_is_refused() -> None:
    for changes in ({"inputs": (picture("last_frame"),)}, {"n": 2}, {"mode": "pro"}):
        with pytest.raises(ApiError):
            create(GEMINI, order(**changes), OMNI)
    assert create(GEMINI, order(seed=7, negative_prompt="rain"), OMNI).dropped == (
        "seed",
        "negative_prompt",
    )


def omni(**changes: Any) -> object:
    base: dict[str, Any] = {
        "id": "up-1",
        "object": "interaction",
        "status": "completed",
        "steps": [
            {"type": "thought", "signature": "x"},
            {
                "type": "model_output",
                "content": [{"type": "video", "uri": FILE, "mime_type": "video/mp4"}],
            },
        ],
        "usage": {
            "total_input_tokens": 30,
            "total_thought_tokens": 40,
            "total_output_tokens": 28_970,
            "output_tokens_by_modality": [
                {"modality": "video", "tokens": 28_960},
                {"modality": "text", "tokens": 10},
            ],
        },
    }
    return GEMINI.observe(handle(), OMNI, OK, answer(base | changes))


def test_a_success() -> None:
    found = omni()
    assert isinstance(found, Succeeded)
    file = found.outputs[0].file
    assert (file.url, file.content_type, file.credentialed) == (FILE, "video/mp4", True)
    assert found.usage == Usage(input_tokens=30, output_tokens=28_960, reasoning_tokens=50)
    assert isinstance(omni(usage=None), Succeeded)
    named = omni(steps=[], output_video={"data": "AAAA", "mime_type": "video/mp4"})
    assert isinstance(named, Succeeded)
    assert named.outputs[0].file.b64 == "AAAA"


def test_the_key_goes_to_the_api_s_own_host_only() -> None:
    for url in (
        "https://storage.googleapis.com/x/y.mp4",
        "https://evil.example/v1beta/f",
        "http://[",
    ):
        found = omni(output_video={"uri": url})
        assert isinstance(found, Succeeded)
        assert found.outputs[0].file.credentialed is False


def test_a_refusal_is_completed_with_words() -> None:
    words = [{"type": "model_output", "content": [{"type": "text", "text": "I cannot do that."}]}]
    found = omni(steps=words, usage={"total_output_tokens": 12})
    assert isinstance(found, Failed)
    assert (found.code, found.message) == ("content_policy_violation", "I cannot do that.")
    assert isinstance(omni(steps=words), Unknown)  # its tokens say that a video was made
    assert isinstance(omni(steps=[], usage=None), Unknown)


def test_other_states_of_an_interaction() -> None:
    assert omni(status="queued") == Running(queued=True, provider_state="queued")
    assert omni(status="in_progress") == Running(provider_state="in_progress")
    assert isinstance(omni(status="requires_continuation"), Running)
    assert omni(status="cancelled") == Ended("cancelled", provider_state="cancelled")
    assert isinstance(omni(status="paused"), Unknown)
    for state in ("failed", "incomplete", "requires_action", "budget_exceeded"):
        assert isinstance(omni(status=state), Failed)


def test_being_over_the_limit_is_told_by_the_poll() -> None:
    error = {"code": "too_many_requests", "message": "Please retry in 23.397s"}
    for state in ("failed", "in_progress"):
        found = omni(status=state, error=error)
        assert isinstance(found, Failed)
        assert (found.code, found.retryable) == ("upstream_capacity", True)


def test_an_id_that_is_not_known_is_a_bad_request() -> None:
    lost = answer({"error": {"code": "invalid_request", "message": "Invalid interaction name"}})
    assert isinstance(GEMINI.refused(handle(), OMNI, Head(400, {}), lost), Missing)
    other = answer({"error": {"code": 400, "message": "x", "status": "INVALID_ARGUMENT"}})
    assert isinstance(GEMINI.refused(handle(), OMNI, Head(400, {}), other), Unknown)
    assert isinstance(GEMINI.refused(handle(), OMNI, Head(404, {}), b""), Missing)


def test_refusals_of_both_fronts() -> None:
    def kind(status: int, error: dict[str, Any], *, listed: bool = False) -> str:
        body = {"error": error}
        return GEMINI.explain(Head(status, {}), answer([body] if listed else body)).kind

    assert kind(400, {"code": "invalid_request", "message": "no"}) == "bad_request"
    assert kind(429, {"code": "too_many_requests", "message": "no"}) == "rate_limited"
    bad_key = {
        "code": 400,
        "message": "API key not valid",
        "status": "INVALID_ARGUMENT",
        "details": [{"reason": "API_KEY_INVALID"}],
    }
    assert kind(400, bad_key, listed=True) == "auth"
    gone = {"code": 404, "message": "no longer available", "status": "NOT_FOUND"}
    assert kind(404, gone) == "not_found"


def test_an_interaction_can_be_cancelled() -> None:
    request = GEMINI.cancel(handle(state="running"), OMNI)
    assert request is not None
    assert (request.method, request.path) == ("POST", "/interactions/up-1/cancel")
    gone = answer({"id": "up-1", "status": "cancelled"})
    assert isinstance(GEMINI.cancelled(handle(), OMNI, OK, gone), Ended)
    for head, body in ((OK, b"{}"), (Head(409, {}), gone)):
        assert isinstance(GEMINI.cancelled(handle(), OMNI, head, body), Unknown)
    assert GEMINI.cancel(handle(), VEO) is None


def test_the_shipped_price_holds_more_than_a_video_costs() -> None:
    catalog = compile(load_shipped(), 1)
    (where,) = catalog.routes["gemini-omni-1.1-flash"]
    video = resolve(VideoRequest("gemini-omni-1.1-flash", prompt="a lake"), where.model)
    held = ceiling(where.prices, video.bound, video.attributes)
    found = omni()
    assert isinstance(found, Succeeded)
    assert found.usage is not None
    cost = charge(where.prices, found.usage, video.attributes)
    assert cost == 30 * 1500 + 28_960 * 17_500 + 50 * 9000
    assert cost < held < 2 * cost


# -------------------------------------------------------------------------------------------- veo


def test_a_prediction() -> None:
    request = order(
        seconds=8,
        resolution="720p",
        aspect_ratio="16:9",
        seed=7,
        negative_prompt="rain",
        audio=True,
        inputs=(picture("first_frame"), picture("last_frame")),
    )
    for adapter, where in ((VERTEX, LITE), (GEMINI, VEO)):
        built = create(adapter, request, where)
        assert built.path == f"/models/{where.upstream_model}:predictLongRunning"
        assert sent(built) == {
            "instances": [
                {
                    "prompt": "a lake",
                    "image": {"bytesBase64Encoded": "UE5H", "mimeType": "image/png"},
                    "lastFrame": {"bytesBase64Encoded": "UE5H", "mimeType": "image/png"},
                }
            ],
            "parameters": {
                "sampleCount": 1,
                "aspectRatio": "16:9",
                "resolution": "720p",
                "durationSeconds": 8,
                "seed": 7,
                "negativePrompt": "rain",
                "generateAudio": True,
            },
        }
    references = sent(create(VERTEX, order(inputs=(picture("reference_image"),)), LITE))
    assert references["instances"][0]["referenceImages"] == [
        {
            "image": {"bytesBase64Encoded": "UE5H", "mimeType": "image/png"},
            "referenceType": "asset",
        }
    ]
    with pytest.raises(ApiError):
        create(VERTEX, order(inputs=(linked("reference_video", "a.mp4"),)), LITE)


def test_operations_are_asked_for_by_name() -> None:
    assert VERTEX.accepted(order(), LITE, OK, answer({"name": NAME})) == Accepted(
        NAME, observation=Running()
    )
    asked = VERTEX.poll(handle(upstream_id=NAME), LITE)
    assert (asked.method, asked.path) == (
        "POST",
        "/models/veo-3.1-lite-generate-001:fetchPredictOperation",
    )
    assert sent(asked) == {"operationName": NAME}
    for name in ("../../x", "a/../b", "/a/b", "a//b", "a?b/c", "", None, 7, "models"):
        for adapter, where in ((VERTEX, LITE), (GEMINI, VEO)):
            assert isinstance(adapter.accepted(order(), where, OK, answer({"name": name})), Unknown)


def operation(**changes: Any) -> object:
    return VERTEX.observe(
        handle(upstream_id=NAME), LITE, OK, answer({"name": NAME, "done": True} | changes)
    )


def test_a_finished_prediction() -> None:
    inline = operation(
        response={"videos": [{"bytesBase64Encoded": "AAAA", "mimeType": "video/mp4"}]}
    )
    assert isinstance(inline, Succeeded)
    assert (inline.outputs[0].file.b64, inline.usage) == ("AAAA", None)
    stored = operation(response={"videos": [{"gcsUri": "gs://bucket/a b.mp4"}]})
    assert isinstance(stored, Succeeded)
    file = stored.outputs[0].file
    assert (file.url, file.credentialed) == (
        "https://storage.googleapis.com/bucket/a%20b.mp4",
        True,
    )


def test_done_without_files_is_moderated_not_made() -> None:
    found = operation(
        response={"raiMediaFilteredCount": 1, "raiMediaFilteredReasons": ["It showed a person."]}
    )
    assert isinstance(found, Failed)
    assert (found.code, found.message) == ("moderated_output", "It showed a person.")
    nested = operation(response={"generateVideoResponse": {"raiMediaFilteredCount": 1}})
    assert isinstance(nested, Failed)
    assert isinstance(operation(response={}), Unknown)
    partly = operation(
        response={"videos": [{"bytesBase64Encoded": "AAAA"}], "raiMediaFilteredCount": 1}
    )
    assert isinstance(partly, Succeeded)
    assert partly.warnings == ("some_outputs_moderated",)


@pytest.mark.parametrize(
    ("code", "words", "ours"),
    [
        (3, "The image could not be read", "invalid_input_media"),
        (3, "The prompt violates our usage guidelines", "content_policy_violation"),
        (8, "Quota exceeded", "upstream_capacity"),
        (13, "Internal error", "upstream_error"),
        (14, "Unavailable", "upstream_capacity"),
        (99, "", "upstream_error"),
    ],
)
def test_failed_operations(code: int, words: str, ours: str) -> None:
    found = operation(error={"code": code, "message": words})
    assert isinstance(found, Failed)
    assert (found.code, found.provider_code) == (ours, str(code))


def test_unfinished_operations() -> None:
    assert operation(done=False) == Running(provider_state="running")
    assert operation(done=None) == Running(provider_state="running")
    assert isinstance(operation(done="yes"), Unknown)
    assert isinstance(operation(name=None), Unknown)


@given(STATUSES, BODIES)
def test_nothing_makes_it_raise(status: int, body: bytes) -> None:
    survives(GEMINI, OMNI, status, body)
    survives(GEMINI, VEO, status, body)
    survives(VERTEX, LITE, status, body)
