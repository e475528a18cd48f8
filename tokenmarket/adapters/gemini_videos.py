"""Gemini's own API: videos by Interactions (Omni), and what is left of Veo (facts of 2026-11-23).

    POST /interactions  {"model", "input", "background": true, "response_format"} -> {"id"}
    GET  /interactions/{id}  -> {"status", "steps" | "output_video", "usage"}
    POST /interactions/{id}/cancel

What a reader must know:

* ``background`` is always true: without it the create renders, and bills, before it answers.
* An id means that it may be billed. Being over the limit is then told by the poll, not the create.
* A refusal is "completed", with words instead of a video.
* Files are addresses below the API's host, which need the key and live for two days; a new one may
  still be in processing for a minute or two after the interaction is completed.
* An id that is not known is HTTP 400 "Invalid interaction name".
* Tokens of the video are priced as output tokens; thoughts and words, cheaper, as reasoning tokens.

Models whose id begins with "veo" are long-running predictions (``kit/google_veo.py``).
"""

from __future__ import annotations

import re
from typing import ClassVar
from urllib.parse import quote

import msgspec

from tokenmarket.adapters.kit import google_errors, google_veo
from tokenmarket.adapters.kit.openai_errors import explain
from tokenmarket.adapters.kit.shape import count, mapping, sequence, text
from tokenmarket.adapters.kit.video_answers import failed, read
from tokenmarket.adapters.kit.video_orders import GET_HEADERS, JSON_HEADERS, leftover
from tokenmarket.adapters.protocol import Head, InputMode, UpstreamRequest
from tokenmarket.adapters.video_protocol import (
    Accepted,
    Ended,
    Failed,
    FailureCode,
    Fetch,
    Handle,
    Missing,
    Observation,
    Output,
    Running,
    Succeeded,
    Unknown,
    VideoAdapter,
)
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import FailureKind, UpstreamError
from tokenmarket.core.usage import Usage
from tokenmarket.core.video.request import ResolvedVideo

# Interactions have codes in words, Google's front has statuses (``kit/google_errors.py``).
CODES: dict[str, FailureKind] = {
    "invalid_request": "bad_request",
    "unauthenticated": "auth",
    "permission_denied": "forbidden",
    "not_found": "not_found",
    "too_many_requests": "rate_limited",
    "resource_exhausted": "rate_limited",
    "safety": "content_policy",
    "prohibited_content": "content_policy",
    "internal": "upstream_error",
    "unavailable": "overloaded",
    "deadline_exceeded": "timeout",
}
_FAILURES: dict[str, FailureCode] = {
    "invalid_request": "invalid_input_media",
    "too_many_requests": "upstream_capacity",
    "resource_exhausted": "upstream_capacity",
    "unavailable": "upstream_capacity",
    "deadline_exceeded": "upstream_timeout",
    "safety": "content_policy_violation",
    "prohibited_content": "content_policy_violation",
    "blocklist": "content_policy_violation",
    "image_safety": "content_policy_violation",
    "budget_exceeded": "insufficient_upstream_balance",
}
_RUNNING = frozenset({"in_progress", "requires_continuation"})
_FAILED = frozenset({"failed", "incomplete", "budget_exceeded", "requires_action"})
_NO_ID = re.compile(r"invalid interaction name", re.IGNORECASE)

_encode = msgspec.json.Encoder().encode


class GeminiVideos(VideoAdapter):
    """Omni and Veo."""

    inputs: ClassVar[InputMode] = "bytes"
    knows_sources: ClassVar[bool] = True

    def build(
        self,
        request: ResolvedVideo,
        route: Route,
        *,
        task_id: str,
        now_s: int,
        callback_url: str | None,
    ) -> UpstreamRequest:
        if _is_veo(route):
            return google_veo.create(request, route)
        return _interaction(request, route)

    def accepted(
        self, request: ResolvedVideo, route: Route, head: Head, body: bytes
    ) -> Accepted | Unknown:
        answer = read(body)
        veo = _is_veo(route)
        upstream_id = google_veo.operation_name(answer) if veo else text(answer.get("id"))
        if upstream_id is None:
            return Unknown("the create was answered without an id")
        return Accepted(upstream_id, observation=Running(queued=answer.get("status") == "queued"))

    def poll(self, handle: Handle, route: Route) -> UpstreamRequest:
        if _is_veo(route):
            path = f"/{quote(handle.upstream_id, safe='/')}"
        else:
            path = _path(handle)
        return UpstreamRequest(path, GET_HEADERS, b"", method="GET")

    def observe(self, handle: Handle, route: Route, head: Head, body: bytes) -> Observation | Fetch:
        answer = read(body)
        return google_veo.observed(answer, route) if _is_veo(route) else _observed(answer, route)

    def refused(self, handle: Handle, route: Route, head: Head, body: bytes) -> Observation | Fetch:
        words = text(google_errors.error_of(body).get("message")) or ""
        if head.status == 400 and _NO_ID.search(words[:500]):
            return Missing("the interaction is not known there")
        return super().refused(handle, route, head, body)

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        error = google_errors.error_of(body)
        if text(error.get("code")) and not text(error.get("status")):
            return explain(head, body, CODES)
        return google_errors.explain(head, body)

    def cancel(self, handle: Handle, route: Route) -> UpstreamRequest | None:
        if _is_veo(route):
            return None
        return UpstreamRequest(f"{_path(handle)}/cancel", JSON_HEADERS, b"{}")

    def cancelled(self, handle: Handle, route: Route, head: Head, body: bytes) -> Observation:
        state = read(body).get("status")
        if head.status < 300 and state == "cancelled":
            return Ended("cancelled", provider_state="cancelled")
        return Unknown(f"the cancel was answered {head.status}")


VIDEO = GeminiVideos()


def _is_veo(route: Route) -> bool:
    return route.upstream_model.startswith("veo-")


def _path(handle: Handle) -> str:
    return f"/interactions/{quote(handle.upstream_id, safe='')}"


# ---------------------------------------------------------------------------------------- request


def _interaction(request: ResolvedVideo, route: Route) -> UpstreamRequest:
    """A file is inline; an edit of what the same account made names the interaction instead."""
    form: dict[str, object] = {**request.provider_options, "type": "video", "delivery": "uri"}
    if request.aspect_ratio is not None:
        form["aspect_ratio"] = request.aspect_ratio
    if request.resolution is not None:
        form["resolution"] = request.resolution
    if request.seconds is not None:
        form["duration"] = f"{request.seconds}s"
    content: list[dict[str, object]] = []
    for item in request.inputs_of("first_frame", "reference_image", "video"):
        file = google_veo.inline(item)
        kind = "video" if item.role == "video" else "image"
        content.append(
            {"type": kind, "data": file["bytesBase64Encoded"], "mime_type": file["mimeType"]}
        )
    if request.prompt:
        content.append({"type": "text", "text": request.prompt})
    body: dict[str, object] = {
        "model": route.upstream_model,
        "input": content,
        "background": True,
        "response_format": form,
        "generation_config": {"video_config": {"task": _task(request)}},
    }
    if request.source_upstream_id is not None:
        body["previous_interaction_id"] = request.source_upstream_id
    taken = {"seconds", "resolution", "size", "aspect_ratio"}
    taken |= {"first_frame", "reference_image", "video"}
    if route.model.capabilities.get("audio") == "always":
        taken.add("audio")
    dropped = leftover(request, taken)
    return UpstreamRequest("/interactions", JSON_HEADERS, _encode(body), dropped=dropped)


def _task(request: ResolvedVideo) -> str:
    if request.operation in ("edit", "remix"):
        return "edit"
    if request.operation == "extend":
        return "extend"
    if request.input("reference_image") is not None:
        return "reference_to_video"
    return "image_to_video" if request.input("first_frame") is not None else "text_to_video"


# ----------------------------------------------------------------------------------------- answer


def _observed(answer: dict[str, object], route: Route) -> Observation:
    state = (text(answer.get("status")) or "")[:40]
    error = mapping(answer.get("error"))
    if state == "queued":
        return Running(queued=True, provider_state=state)
    if state in _RUNNING and not error:
        return Running(provider_state=state)
    if state == "completed":
        return _completed(answer, route, state)
    if state == "cancelled":
        return Ended("cancelled", provider_state=state)
    # Being over the limit has been seen as an error beside whatever status.
    if state in _FAILED or text(error.get("code")) == "too_many_requests":
        word = text(error.get("code")) or text(error.get("status")) or answer.get("finish_reason")
        return failed(
            error.get("message"), provider_code=word or state, codes=_FAILURES, state=state
        )
    return Unknown(f"a status that is not in the table: {state!r}", state)


def _completed(answer: dict[str, object], route: Route, state: str) -> Observation:
    usage, videos = _usage(mapping(answer.get("usage")))
    file = google_veo.produced(mapping(answer.get("output_video")), route)
    words: str | None = None
    for step in reversed(sequence(answer.get("steps"))):
        if file is not None:
            break
        if mapping(step).get("type") != "model_output":
            continue
        for part in sequence(mapping(step).get("content")):
            item = mapping(part)
            if item.get("type") == "video":
                file = file or google_veo.produced(item, route)
            elif item.get("type") == "text":
                words = words or text(item.get("text"))
    if file is not None:
        return Succeeded((Output(file),), usage=usage, provider_state=state)
    if videos > 0:
        return Unknown("a video was billed, and is not where it was looked for", state)
    if words is None:
        return Unknown("a success without a video", state)
    refusal = failed(words, codes={}, state=state)
    return Failed("content_policy_violation", refusal.message, provider_state=state)


def _usage(told: dict[str, object]) -> tuple[Usage | None, int]:
    """(the usage, its video tokens): None where the tokens of the video are not told."""
    videos = texts = 0
    for row in sequence(told.get("output_tokens_by_modality")):
        item = mapping(row)
        kind = (text(item.get("modality")) or "").lower()
        if kind == "video":
            videos += count(item.get("tokens"))
        elif kind == "text":
            texts += count(item.get("tokens"))
    if videos <= 0:
        return None, 0
    usage = Usage(
        input_tokens=max(0, count(told.get("total_input_tokens"))),
        output_tokens=videos,
        reasoning_tokens=max(0, texts + count(told.get("total_thought_tokens"))),
    )
    return usage, videos
