"""Luma (https://docs.agents.lumalabs.ai; facts as of 2026-11-23): videos, in two dialects.

    agents   POST /generations         {"type": "video", "model", "prompt", "video": {...}}
    legacy   POST /generations/video   {"model", "prompt", "keyframes", ...}     (Dream Machine)
    both     GET  /generations/{id}    -> {"state", "output": [...] or "assets", "failure_reason"}

The model's capability ``dialect`` ("legacy") chooses. Field names: ``video_providers.md`` sections
1 and 8 ([LA] luma-agents 0.5.0, [LU] lumaai 1.21.0).

What a reader must know:

* Seconds are written "5s". Files are addresses or base64 (agents); addresses only (legacy).
* What an earlier task made is named by its ``generation_id``, for its owner's account only.
* An edit has the length of its source.
* ``output[].url`` lives an hour.
* There is no reference of ours; a DELETE (legacy) removes, so nothing is cancelled.
"""

from __future__ import annotations

import base64
from typing import ClassVar
from urllib.parse import quote

import msgspec

from tokenmarket.adapters.kit.openai_errors import explain, inside_200
from tokenmarket.adapters.kit.shape import mapping, sequence, text
from tokenmarket.adapters.kit.video_answers import failed, read
from tokenmarket.adapters.kit.video_orders import (
    GET_HEADERS,
    JSON_HEADERS,
    leftover,
    only_address,
    refuse,
)
from tokenmarket.adapters.protocol import Head, Produced, UpstreamRequest
from tokenmarket.adapters.video_protocol import (
    Accepted,
    FailureCode,
    Fetch,
    Handle,
    Observation,
    Output,
    Running,
    Succeeded,
    Unknown,
    VideoAdapter,
)
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import FailureKind, UpstreamError
from tokenmarket.core.uploads import Input
from tokenmarket.core.video.request import ResolvedVideo

CODES: dict[str, FailureKind] = {
    "content_moderated": "content_policy",
    "budget_exhausted": "no_balance",
    "rate_limited": "rate_limited",
    "invalid_request": "bad_request",
}
_FAILURES: dict[str, FailureCode] = {
    "content_moderated": "content_policy_violation",
    "generation_failed": "upstream_error",
    "budget_exhausted": "insufficient_upstream_balance",
    "output_not_found": "upstream_error",
    "image_too_large": "invalid_input_media",
    "unsupported_format": "invalid_input_media",
    "corrupt_input": "invalid_input_media",
    "invalid_request": "invalid_input_media",
    "rate_limited": "upstream_capacity",
}
_FRAMES = (("first_frame", "start_frame", "frame0"), ("last_frame", "end_frame", "frame1"))
_CLIP_TYPES = {".mov": "video/quicktime", ".webm": "video/webm"}

_encode = msgspec.json.Encoder().encode


class LumaVideos(VideoAdapter):
    """Both dialects; the base URL is the dialect's."""

    knows_sources: ClassVar[bool] = True
    deadline_s: ClassVar[int] = 3600

    def build(
        self,
        request: ResolvedVideo,
        route: Route,
        *,
        task_id: str,
        now_s: int,
        callback_url: str | None,
    ) -> UpstreamRequest:
        legacy = route.model.capabilities.get("dialect") == "legacy"
        make = _legacy if legacy else _agents
        body, taken = make(request, route)
        if legacy and callback_url is not None:
            body["callback_url"] = callback_url
        dropped = leftover(request, taken)
        path = "/generations/video" if legacy else "/generations"
        return UpstreamRequest(path, JSON_HEADERS, _encode(body), dropped=dropped)

    def accepted(
        self, request: ResolvedVideo, route: Route, head: Head, body: bytes
    ) -> Accepted | Unknown:
        answer = read(body)
        upstream_id = text(answer.get("id"))
        if upstream_id is not None:
            return Accepted(upstream_id)
        if answer.get("error") or answer.get("detail"):
            raise inside_200(answer, CODES)
        return Unknown("the create was answered without an id")

    def poll(self, handle: Handle, route: Route) -> UpstreamRequest:
        path = f"/generations/{quote(handle.upstream_id, safe='')}"
        return UpstreamRequest(path, GET_HEADERS, b"", method="GET")

    def observe(self, handle: Handle, route: Route, head: Head, body: bytes) -> Observation | Fetch:
        return _observed(read(body))

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return explain(head, body, CODES)


VIDEO = LumaVideos()


# ---------------------------------------------------------------------------------------- request


def _media(item: Input, *, clip: bool = False) -> dict[str, object]:
    """A file for the agents: an address, or base64 with its type, which clips need in any case."""
    if item.upload is not None:
        data = base64.b64encode(item.upload.data()).decode("ascii")
        return {"data": data, "media_type": item.upload.content_type}
    url = item.url or ""
    if not clip:
        return {"url": url}
    ending = url.partition("?")[0].lower()
    kinds = (kind for end, kind in _CLIP_TYPES.items() if ending.endswith(end))
    return {"url": url, "media_type": next(kinds, "video/mp4")}


def _shape(request: ResolvedVideo) -> str | None:
    """A picture's own shape is better than our guess."""
    ours = request.input("first_frame") is not None and "aspect_ratio" in request.defaults
    return None if ours else request.aspect_ratio


def _agents(request: ResolvedVideo, route: Route) -> tuple[dict[str, object], set[str]]:
    video: dict[str, object] = {**request.provider_options}
    body: dict[str, object] = {
        "type": "video",
        "model": route.upstream_model,
        "prompt": request.prompt,
        "video": video,
    }
    taken = {"size", "resolution", "user", "first_frame", "last_frame"}
    if request.user is not None:
        body["user_id"] = request.user
    if request.resolution is not None:
        video["resolution"] = request.resolution
    source, earlier = request.input("video"), request.source_upstream_id
    edits = source is not None or (earlier is not None and request.operation == "edit")
    if edits:
        body["type"] = "video_edit"
        body["source"] = {"generation_id": earlier} if source is None else _media(source, clip=True)
    else:
        if (shape := _shape(request)) is not None:
            body["aspect_ratio"] = shape
        if request.seconds is not None:
            video["duration"] = f"{request.seconds}s"
        taken |= {"aspect_ratio", "seconds"}
    if edits or earlier is not None:
        taken.add("video")
    for role, member, _ in _FRAMES:
        if (frame := request.input(role)) is not None:
            if earlier is not None and role == "first_frame":
                refuse(frame.param, "An extension begins where its source ends.")
            video[member] = _media(frame)
    if earlier is not None and not edits:
        video["start_frame"] = {"generation_id": earlier}
    return body, taken


def _legacy(request: ResolvedVideo, route: Route) -> tuple[dict[str, object], set[str]]:
    body: dict[str, object] = {
        **request.provider_options,
        "model": route.upstream_model,
        "prompt": request.prompt,
    }
    if request.seconds is not None:
        body["duration"] = f"{request.seconds}s"
    if request.resolution is not None:
        body["resolution"] = request.resolution
    if (shape := _shape(request)) is not None:
        body["aspect_ratio"] = shape
    keyframes: dict[str, object] = {}
    for role, _, member in _FRAMES:
        if (frame := request.input(role)) is not None:
            keyframes[member] = {"type": "image", "url": only_address(frame)}
    taken = {"seconds", "size", "resolution", "aspect_ratio", "first_frame", "last_frame"}
    if request.source_upstream_id is not None and request.operation == "extend":
        if "frame0" in keyframes:
            refuse("image", "An extension begins where its source ends.")
        keyframes["frame0"] = {"type": "generation", "id": request.source_upstream_id}
        if request.input("video") is None:
            taken.add("video")
    if keyframes:
        body["keyframes"] = keyframes
    return body, taken


# ----------------------------------------------------------------------------------------- answer


def _observed(answer: dict[str, object]) -> Observation:
    state = (text(answer.get("state")) or "")[:40]
    if state == "queued":
        return Running(queued=True, provider_state=state)
    if state in ("processing", "dreaming"):
        return Running(provider_state=state)
    if state == "completed":
        return _completed(answer, state)
    if state == "failed":
        return failed(
            answer.get("failure_reason"),
            provider_code=answer.get("failure_code"),
            codes=_FAILURES,
            state=state,
        )
    return Unknown(f"a status that is not in the table: {state!r}", state)


def _completed(answer: dict[str, object], state: str) -> Observation:
    files = [mapping(item) for item in sequence(answer.get("output"))]
    urls = [text(item.get("url")) for item in files if item.get("type") == "video"]
    urls += [text(mapping(answer.get("assets")).get("video"))]
    outputs = [
        Output(Produced(url=url, content_type="video/mp4"), number=number)
        for number, url in enumerate(url for url in urls if url is not None)
    ]
    if not outputs:
        return Unknown("a success without a video", state)
    return Succeeded(tuple(outputs), provider_state=state)
