"""Black Forest Labs, FLUX 3 (https://docs.bfl.ai; facts as of 2026-11-23): videos.

    POST /{model}      {"mode": "t2v", "prompt", …}   -> {"id", "polling_url", "cost"}
    GET  polling_url   -> {"status", "result": {"sample", "duration", …}, "details", "cost"}

Field names: ``video_providers.md`` section 1 ([VA] vercel/ai of 2026-08).

What a reader must know:

* The polling address is used as it is: it is of the region that does the job.
* Files are addresses or bare base64. Frames are ``keyframes``, in their order; a source video is
  continued, and cannot be had together with frames.
* Resolutions are called hd (720p) and fhd (1080p).
* "Task not found" is a status of a 200 as well as an HTTP 404.
* The key goes as ``x-key``. Addresses of files live some minutes.
"""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import quote

import msgspec

from tokenmarket.adapters.kit.openai_errors import explain, inside_200
from tokenmarket.adapters.kit.shape import mapping, text
from tokenmarket.adapters.kit.video_answers import billable_ms, cost, duration_ms, failed, read
from tokenmarket.adapters.kit.video_orders import (
    GET_HEADERS,
    JSON_HEADERS,
    bare_address,
    leftover,
    refuse,
)
from tokenmarket.adapters.protocol import Head, Produced, UpstreamRequest
from tokenmarket.adapters.video_protocol import (
    Accepted,
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
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.usage import Usage
from tokenmarket.core.video.request import FRAME_ROLES, ResolvedVideo

_FAILURES: dict[str, FailureCode] = {
    "Request Moderated": "content_policy_violation",
    "Content Moderated": "moderated_output",
    "Error": "upstream_error",
    "Failed": "upstream_error",
}
_TIERS = {"720p": "hd", "1080p": "fhd"}

_encode = msgspec.json.Encoder().encode


class BflVideos(VideoAdapter):
    """``Accepted.ref``: ``poll``, the address to ask at."""

    deadline_s: ClassVar[int] = 1800

    def build(
        self,
        request: ResolvedVideo,
        route: Route,
        *,
        task_id: str,
        now_s: int,
        callback_url: str | None,
    ) -> UpstreamRequest:
        body: dict[str, object] = {**request.provider_options, "prompt": request.prompt}
        body["mode"], files = _files(request, body)
        if request.seconds is not None:
            body["duration"] = request.seconds
        if request.audio is not None:
            body["generate_audio"] = request.audio
        ours = "first_frame" in files and "aspect_ratio" in request.defaults
        if request.aspect_ratio is not None and not ours:
            shape = request.aspect_ratio
            body["aspect_ratio"] = "auto" if shape == "adaptive" else shape
        if request.resolution is not None:
            if (tier := _TIERS.get(request.resolution)) is None:
                refuse("resolution", "FLUX makes 720p and 1080p.", "unsupported_size")
            body["resolution"] = tier
        taken = {"seconds", "audio", "size", "resolution", "aspect_ratio", *files}
        dropped = leftover(request, taken)
        path = f"/{quote(route.upstream_model, safe='')}"
        return UpstreamRequest(path, JSON_HEADERS, _encode(body), dropped=dropped)

    def accepted(
        self, request: ResolvedVideo, route: Route, head: Head, body: bytes
    ) -> Accepted | Unknown:
        answer = read(body)
        upstream_id = text(answer.get("id"))
        if upstream_id is not None:
            url = text(answer.get("polling_url"))
            known = url is not None and url.startswith(("https://", "http://"))
            ref = {"poll": url} if url is not None and known else {}
            return Accepted(upstream_id, ref, cost=cost(answer.get("cost"), "credit"))
        if answer.get("detail") or answer.get("error"):
            raise inside_200(answer, {})
        return Unknown("the create was answered without an id")

    def poll(self, handle: Handle, route: Route) -> UpstreamRequest:
        path = f"/get_result?id={quote(handle.upstream_id, safe='')}"
        url = handle.ref.get("poll")
        return UpstreamRequest(path, GET_HEADERS, b"", method="GET", url=url)

    def observe(self, handle: Handle, route: Route, head: Head, body: bytes) -> Observation | Fetch:
        return _observed(handle.request, read(body))

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return explain(head, body, {})


VIDEO = BflVideos()


def _files(request: ResolvedVideo, body: dict[str, object]) -> tuple[str, set[str]]:
    """(mode, names of the files that were put into the body)."""
    source, frames = request.input("video"), request.inputs_of(*FRAME_ROLES)
    if source is not None:
        if frames:
            refuse(frames[0].param, "Frames or a source video.", "conflicting_parameters")
        body["start_video"] = bare_address(source)
        return "v2v", {"video"}
    if not frames:
        return "t2v", set()
    first, last = request.input("first_frame"), request.input("last_frame")
    if first is None:
        refuse(frames[0].param, "A last frame needs a first one.", "conflicting_parameters")
    body["keyframes"] = [bare_address(item) for item in (first, last) if item is not None]
    return "i2v", {*FRAME_ROLES}


def _observed(request: ResolvedVideo, answer: dict[str, object]) -> Observation:
    state = (text(answer.get("status")) or text(answer.get("state")) or "")[:40]
    charged = cost(answer.get("cost"), "credit")
    if state == "Pending":
        return Running(provider_state=state)
    if state == "Task not found":
        return Missing("the task is not known there")
    if state in _FAILURES:
        details = answer.get("details")
        return failed(
            text(details) or text(mapping(details).get("message")),
            codes={},
            state=state,
            usual=_FAILURES[state],
            charged=charged,
        )
    if state != "Ready":
        return Unknown(f"a status that is not in the table: {state!r}", state)
    result = mapping(answer.get("result"))
    url = text(result.get("sample"))
    if url is None:
        return Unknown("a success without a video", state)
    made_ms = duration_ms(result.get("duration"))
    billed_ms = billable_ms(made_ms, request.seconds)
    return Succeeded(
        (Output(Produced(url=url, content_type="video/mp4"), duration_ms=made_ms),),
        usage=None if billed_ms is None else Usage(video_ms=billed_ms),
        cost=charged,
        provider_state=state,
    )
