"""Wan and others on Alibaba Cloud Model Studio: videos (facts as of 2026-11-23).

    POST /api/v1/services/aigc/video-generation/video-synthesis   X-DashScope-Async: enable
         -> {"output": {"task_id", "task_status": "PENDING"}}
    GET  /api/v1/tasks/{id}          -> {"output": {"task_status", "video_url", …}, "usage"}
    POST /api/v1/tasks/{id}/cancel   only what is PENDING

Two protocols, chosen by the model's capability ``protocol``; without it, ids up to wan2.6 are of
the old one:

    media    input.media [{type, url}], parameters.resolution "720P", ratio        (from wan2.7)
    frames   input.img_url / first_frame_url + last_frame_url / reference_urls,
             parameters.size "1280*720", or resolution where a picture gives the shape

What a reader must know:

* The base URL is that of chat (…/compatible-mode/v1); paths here begin at the host.
* UNKNOWN means that the id is older than a day, or never was: ``Missing``.
* ``usage`` has had four forms; ``duration`` of those with a source video is the sum of both.
* There is no reference of ours in a task and no list that shows what was ordered: a create whose
  answer was lost cannot be found again.
* Keys, tasks and files belong to one region.
"""

from __future__ import annotations

import re
from urllib.parse import quote

import msgspec

from tokenmarket.adapters.kit import dashscope_codes
from tokenmarket.adapters.kit.openai_errors import explain, inside_200
from tokenmarket.adapters.kit.shape import mapping, text
from tokenmarket.adapters.kit.video_answers import (
    billable_ms,
    duration_ms,
    failed,
    read,
    whole,
)
from tokenmarket.adapters.kit.video_orders import (
    GET_HEADERS,
    JSON_HEADERS,
    address,
    leftover,
    only_address,
    refuse,
)
from tokenmarket.adapters.protocol import Head, Produced, UpstreamRequest
from tokenmarket.adapters.video_protocol import (
    Accepted,
    Ended,
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
from tokenmarket.core.uploads import Input
from tokenmarket.core.usage import Usage
from tokenmarket.core.video.request import ResolvedVideo

CODES: dict[str, FailureKind] = {
    **dashscope_codes.CODES,
    "throttling.burstrate": "rate_limited",
    "ipinfringementsuspect": "content_policy",
}
_FAILURES: dict[str, FailureCode] = {
    "datainspectionfailed": "content_policy_violation",
    "ipinfringementsuspect": "content_policy_violation",
    "invalidparameter": "invalid_input_media",
    "invalidparameter.datainspection": "invalid_input_media",  # the file could not be fetched
    "invalidurl": "invalid_input_media",
    "invalidimage": "invalid_input_media",
    "invalidfile": "invalid_input_media",
    "throttling": "upstream_capacity",
    "arrearage": "insufficient_upstream_balance",
    "internalerror": "upstream_error",
    "internalerror.timeout": "upstream_timeout",
}
_QUEUED = frozenset({"PENDING", "SUSPENDED"})

_CREATE = "/api/v1/services/aigc/video-generation/video-synthesis"
_ASYNC = (*JSON_HEADERS, ("x-dashscope-async", "enable"))
_OLD_ID = re.compile(r"wanx|wan2\.[1-6](?!\d)")

_encode = msgspec.json.Encoder().encode


class DashScopeVideos(VideoAdapter):
    """Both protocols of one operation."""

    def build(
        self,
        request: ResolvedVideo,
        route: Route,
        *,
        task_id: str,
        now_s: int,
        callback_url: str | None,
    ) -> UpstreamRequest:
        given: dict[str, object] = {}
        parameters: dict[str, object] = {**request.provider_options}
        if request.prompt:
            given["prompt"] = request.prompt
        for place, name, member in (
            (given, "negative_prompt", "negative_prompt"),
            (parameters, "seconds", "duration"),
            (parameters, "seed", "seed"),
            (parameters, "prompt_enhance", "prompt_extend"),
            (parameters, "watermark", "watermark"),
        ):
            if (value := getattr(request, name)) is not None:
                place[member] = value
        taken = {"negative_prompt", "seconds", "seed", "prompt_enhance", "watermark"}
        taken |= {"size", "resolution", "aspect_ratio"}
        more = _frames if _is_old(route) else _media
        taken |= more(request, route, given, parameters)
        if (sound := request.input("reference_audio")) is not None:
            given["audio_url"] = only_address(sound)
            taken.add("reference_audio")
        body = {"model": route.upstream_model, "input": given, "parameters": parameters}
        dropped = leftover(request, taken)
        return UpstreamRequest(_CREATE, _ASYNC, _encode(body), dropped=dropped, from_root=True)

    def accepted(
        self, request: ResolvedVideo, route: Route, head: Head, body: bytes
    ) -> Accepted | Unknown:
        answer = read(body)
        output = mapping(answer.get("output"))
        upstream_id = text(output.get("task_id"))
        if upstream_id:
            return Accepted(upstream_id, observation=_observed(request, answer))
        if text(answer.get("code")):
            raise inside_200(answer, CODES)
        return Unknown("the create was answered without an id")

    def poll(self, handle: Handle, route: Route) -> UpstreamRequest:
        return UpstreamRequest(_path(handle), GET_HEADERS, b"", method="GET", from_root=True)

    def observe(self, handle: Handle, route: Route, head: Head, body: bytes) -> Observation | Fetch:
        return _observed(handle.request, read(body))

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return explain(head, body, CODES)

    def cancel(self, handle: Handle, route: Route) -> UpstreamRequest | None:
        if handle.state != "queued":
            return None
        path = f"{_path(handle)}/cancel"
        return UpstreamRequest(path, GET_HEADERS, b"", method="POST", from_root=True)


VIDEO = DashScopeVideos()


# ---------------------------------------------------------------------------------------- request


def _is_old(route: Route) -> bool:
    protocol = route.model.capabilities.get("protocol")
    if protocol in ("media", "frames"):
        return protocol == "frames"
    return _OLD_ID.match(route.upstream_model) is not None


def _path(handle: Handle) -> str:
    return f"/api/v1/tasks/{quote(handle.upstream_id, safe='')}"


def _address(item: Input) -> str:
    """Pictures may be inline; the provider fetches videos itself."""
    return address(item) if item.role not in ("video", "reference_video") else only_address(item)


def _media(
    request: ResolvedVideo,
    route: Route,
    given: dict[str, object],
    parameters: dict[str, object],
) -> set[str]:
    roles = ("first_frame", "last_frame", "reference_image", "reference_video", "video")
    media = [{"type": item.role, "url": _address(item)} for item in request.inputs_of(*roles)]
    if media:
        given["media"] = media
    if request.resolution is not None:
        parameters["resolution"] = request.resolution.upper()
    pictured = request.input("first_frame") is not None
    if request.aspect_ratio is not None and not pictured and request.aspect_ratio != "adaptive":
        parameters["ratio"] = request.aspect_ratio
    if request.audio is not None and route.model.capabilities.get("audio") != "always":
        parameters["audio"] = request.audio
    return {*roles, "audio"}


def _frames(
    request: ResolvedVideo,
    route: Route,
    given: dict[str, object],
    parameters: dict[str, object],
) -> set[str]:
    first, last = request.input("first_frame"), request.input("last_frame")
    references = request.inputs_of("reference_image", "reference_video")
    taken: set[str] = set()
    if references:
        if first is not None or last is not None:
            refuse(references[0].param, "Frames or references.", "conflicting_parameters")
        given["reference_urls"] = [_address(item) for item in references]
        taken |= {"reference_image", "reference_video"}
    elif first is not None and last is not None:
        given["first_frame_url"], given["last_frame_url"] = _address(first), _address(last)
        taken |= {"first_frame", "last_frame"}
    elif first is not None:
        given["img_url"] = _address(first)
        taken.add("first_frame")
    if first is None and request.width is not None:
        parameters["size"] = f"{request.width}*{request.height}"
    elif request.resolution is not None:
        parameters["resolution"] = request.resolution.upper()
    if request.audio is not None:
        parameters["audio"] = request.audio
    return taken | {"audio"}


# ----------------------------------------------------------------------------------------- answer


def _observed(request: ResolvedVideo, answer: dict[str, object]) -> Observation:
    output = mapping(answer.get("output"))
    state = (text(output.get("task_status")) or "")[:40]
    if state in _QUEUED:
        return Running(queued=True, provider_state=state)
    if state == "RUNNING":
        return Running(provider_state=state)
    if state == "SUCCEEDED":
        return _succeeded(request, output, mapping(answer.get("usage")), state)
    if state == "FAILED":
        return failed(
            output.get("message"), provider_code=output.get("code"), codes=_FAILURES, state=state
        )
    if state == "CANCELED":
        return Ended("cancelled", provider_state=state)
    if state == "UNKNOWN":
        return Missing("the task is expired there, or never was")
    return Unknown(f"a status that is not in the table: {state!r}", state)


def _succeeded(
    request: ResolvedVideo,
    output: dict[str, object],
    told: dict[str, object],
    state: str,
) -> Observation:
    url = text(output.get("video_url"))
    if url is None:
        return Unknown("a success without a video", state)
    source_ms = duration_ms(told.get("input_video_duration"))
    made_ms = duration_ms(told.get("output_video_duration"))
    if made_ms is None:
        made_ms = duration_ms(told.get("video_duration"))
    if made_ms is None and (both_ms := duration_ms(told.get("duration"))) is not None:
        made_ms = both_ms - (source_ms or 0) if both_ms > (source_ms or 0) else None
    lines = whole(told.get("SR"), 10_000)
    width, height = _size(text(told.get("size")) or text(told.get("video_ratio")))
    billed_ms = billable_ms(made_ms, request.seconds)
    usage = None
    if billed_ms is not None:
        attributes = None if lines is None else {"resolution": f"{lines}p"}
        usage = Usage(video_ms=billed_ms, input_video_ms=source_ms or 0, attributes=attributes)
    facts: dict[str, object] = {}
    if lines is not None:
        facts["resolution"] = f"{lines}p"
    if width is not None:
        facts["size"] = f"{width}x{height}"
    file = Produced(url=url, content_type="video/mp4")
    made = Output(file, duration_ms=made_ms, width=width, height=height)
    return Succeeded((made,), usage=usage, facts=facts, provider_state=state)


def _size(value: str | None) -> tuple[int | None, int | None]:
    found = re.fullmatch(r"(\d{2,5})[*x](\d{2,5})", value or "", re.ASCII)
    return (None, None) if found is None else (int(found[1]), int(found[2]))
