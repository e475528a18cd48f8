"""MiniMax: videos, by two APIs (https://platform.minimax.io/docs; facts as of 2026-11-23).

    v2   POST /v2/video_generation              -> {"task_id"}            MiniMax-H3, -H3-Max
         GET  /v2/query/video_generation/{id}   -> {"task": {"status", "content": {"url"}, "usage"}}
    v1   POST /v1/video_generation              -> {"task_id", "base_resp"}   Hailuo, legacy
         GET  /v1/query/video_generation?task_id=  -> {"status", "file_id", "base_resp"}
         GET  /v1/files/retrieve?file_id=       -> {"file": {"download_url"}}

The model's capability ``api`` ("v1", "v2") chooses; without it, MiniMax-H3… is v2.

What a reader must know:

* v1 answers HTTP 200 to everything: ``base_resp.status_code`` other than 0 is an error. v2 has real
  statuses and the code at the end of its words: "insufficient balance (1008)".
* Addresses of files die soon; asking again gives fresh ones.
* Callbacks need a handshake and are not signed: none is registered.
* No reference of ours is in a task, so a create whose answer was lost cannot be told from others.
* v2 counts the seconds of source videos like those made, and pictures beyond a free few.
"""

from __future__ import annotations

import re
from urllib.parse import quote

import msgspec

from tokenmarket.adapters.kit.openai_errors import explain, inside_200
from tokenmarket.adapters.kit.shape import mapping, text
from tokenmarket.adapters.kit.video_answers import duration_ms, failed, read, whole
from tokenmarket.adapters.kit.video_orders import (
    GET_HEADERS,
    JSON_HEADERS,
    address,
    leftover,
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
from tokenmarket.core.errors import ApiError, FailureKind, UpstreamError
from tokenmarket.core.usage import Usage
from tokenmarket.core.video.request import FRAME_ROLES, REFERENCE_ROLES, ResolvedVideo

CODES: dict[str, FailureKind] = {
    "1000": "upstream_error",
    "1001": "timeout",
    "1002": "rate_limited",
    "1004": "auth",
    "1008": "no_balance",
    "1013": "upstream_error",
    "1024": "upstream_error",
    "1026": "content_policy",
    "1027": "content_policy",
    "1033": "upstream_error",
    "1039": "rate_limited",
    "2013": "bad_request",
    "2049": "auth",
    "2056": "quota_exhausted",
}
_FAILURES: dict[str, FailureCode] = {
    "1001": "upstream_timeout",
    "1002": "upstream_capacity",
    "1008": "insufficient_upstream_balance",
    "1026": "content_policy_violation",
    "1027": "moderated_output",
    "1039": "upstream_capacity",
    "2013": "invalid_input_media",
}
# Inside a 200 to the create these prove nothing: the task may have been taken.
_UNCERTAIN = frozenset({"1000", "1001", "1013", "1024", "1033"})
_IN_WORDS = re.compile(r"\((\d{4})\)\s*$", re.ASCII)

_encode = msgspec.json.Encoder().encode


class MiniMaxVideos(VideoAdapter):
    """Both APIs."""

    def build(
        self,
        request: ResolvedVideo,
        route: Route,
        *,
        task_id: str,
        now_s: int,
        callback_url: str | None,
    ) -> UpstreamRequest:
        body: dict[str, object] = {**request.provider_options, "model": route.upstream_model}
        if request.seconds is not None:
            body["duration"] = request.seconds
        if request.resolution is not None:
            body["resolution"] = request.resolution.upper()
        if request.watermark is not None:
            body["aigc_watermark"] = request.watermark
        taken = {"seconds", "resolution", "size", "watermark"}
        if route.model.capabilities.get("audio") == "always":
            taken.add("audio")
        taken |= _second(request, route, body) if _is_v2(route) else _first(request, body)
        dropped = leftover(request, taken)
        path = "/v2/video_generation" if _is_v2(route) else "/v1/video_generation"
        return UpstreamRequest(path, JSON_HEADERS, _encode(body), dropped=dropped, from_root=True)

    def accepted(
        self, request: ResolvedVideo, route: Route, head: Head, body: bytes
    ) -> Accepted | Unknown:
        answer = read(body)
        code = _base_code(answer)
        if code is not None and code not in ("0", *_UNCERTAIN):
            raise inside_200(answer, CODES)
        upstream_id = _id(answer.get("task_id"))
        if upstream_id is None or code in _UNCERTAIN:
            return Unknown("the create was answered without an id")
        return Accepted(upstream_id)

    def poll(self, handle: Handle, route: Route) -> UpstreamRequest:
        where = quote(handle.upstream_id, safe="")
        if _is_v2(route):
            return _get(f"/v2/query/video_generation/{where}")
        return _get(f"/v1/query/video_generation?task_id={where}")

    def observe(self, handle: Handle, route: Route, head: Head, body: bytes) -> Observation | Fetch:
        answer = read(body)
        if _is_v2(route):
            return _observed_v2(route, mapping(answer.get("task")) or answer)
        return _observed_v1(answer)

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        """The code is in the words; the type beside it is looked up as it."""
        error = mapping(read(body).get("error"))
        found = _IN_WORDS.search((text(error.get("message")) or "")[-20:])
        kind = CODES.get(found[1]) if found else None
        if kind is None:
            return explain(head, body, CODES)
        return explain(head, body, {**CODES, (text(error.get("type")) or "").lower(): kind})

    def cancel(self, handle: Handle, route: Route) -> UpstreamRequest | None:
        if handle.state != "queued" or not _is_v2(route):
            return None
        path = f"/v2/video_generation/{quote(handle.upstream_id, safe='')}"
        return UpstreamRequest(path, GET_HEADERS, b"", method="DELETE", from_root=True)


VIDEO = MiniMaxVideos()


def _is_v2(route: Route) -> bool:
    api = route.model.capabilities.get("api")
    if api in ("v1", "v2"):
        return api == "v2"
    return route.upstream_model.startswith("MiniMax-H3")


def _get(path: str) -> UpstreamRequest:
    return UpstreamRequest(path, GET_HEADERS, b"", method="GET", from_root=True)


# ---------------------------------------------------------------------------------------- request


def _second(request: ResolvedVideo, route: Route, body: dict[str, object]) -> set[str]:
    """v2: content[] with roles. A text is mandatory; a picture decides the shape."""
    if not request.prompt:
        raise ApiError(
            "REQUEST_001",
            "This model needs a prompt with every order.",
            param="prompt",
            reason="missing_prompt",
        )
    references = request.inputs_of(*REFERENCE_ROLES)
    frames = request.inputs_of(*FRAME_ROLES)
    if references and frames:
        refuse(
            references[0].param,
            "This model takes a first and last frame, or references, not both.",
            "conflicting_parameters",
        )
    content: list[dict[str, object]] = [{"type": "text", "text": request.prompt}]
    for item in (*frames, *references):
        kind = item.role.removeprefix("reference_")
        kind = kind if kind in ("video", "audio") else "image"
        content.append(
            {"type": f"{kind}_url", f"{kind}_url": {"url": address(item)}, "role": item.role}
        )
    body["content"] = content
    taken = {*FRAME_ROLES, *REFERENCE_ROLES}
    if frames:
        body["ratio"] = "adaptive"
    elif request.aspect_ratio is not None:
        if request.aspect_ratio == "adaptive" and not references:
            refuse("aspect_ratio", "Without a picture the shape has to be chosen.")
        body["ratio"] = request.aspect_ratio
        taken.add("aspect_ratio")
    if request.prompt_enhance is not None and route.upstream_model.endswith("-Max"):
        mode = "balanced" if request.prompt_enhance else "disabled"
        body["extra"] = {"prompt_expansion_mode": mode}
        taken.add("prompt_enhance")
    return taken


def _first(request: ResolvedVideo, body: dict[str, object]) -> set[str]:
    """v1: flat fields."""
    if request.prompt:
        body["prompt"] = request.prompt
    for role in FRAME_ROLES:
        if (frame := request.input(role)) is not None:
            body[f"{role}_image"] = address(frame)
    if request.prompt_enhance is not None:
        body["prompt_optimizer"] = request.prompt_enhance
    return {*FRAME_ROLES, "prompt_enhance"}


# ----------------------------------------------------------------------------------------- answer


def _id(value: object) -> str | None:
    """Ids are digits, and have been seen as numbers."""
    return str(value) if type(value) is int and value > 0 else text(value)


def _base_code(answer: dict[str, object]) -> str | None:
    code = mapping(answer.get("base_resp")).get("status_code")
    return str(code) if type(code) in (int, str) else None


def _observed_v2(route: Route, task: dict[str, object]) -> Observation:
    state = (text(task.get("status")) or "")[:40]
    if state == "queued":
        return Running(queued=True, provider_state=state)
    if state == "running":
        return Running(provider_state=state)
    if state == "succeeded":
        return _succeeded_v2(route, task, state)
    if state == "failed":
        error = mapping(task.get("error"))
        return failed(
            error.get("message"), provider_code=error.get("code"), codes=_FAILURES, state=state
        )
    if state == "cancelled":
        return Ended("cancelled", provider_state=state)
    if state == "expired":
        return Ended("expired", provider_state=state)
    return Unknown(f"a status that is not in the table: {state!r}", state)


def _succeeded_v2(route: Route, task: dict[str, object], state: str) -> Observation:
    url = text(mapping(task.get("content")).get("url"))
    if url is None:
        return Unknown("a success without a video", state)
    told = mapping(task.get("usage"))
    made_ms = duration_ms(told.get("output_seconds"))
    resolution = (text(task.get("resolution")) or "").lower()[:20]
    usage = None
    if made_ms is not None:
        free = whole(route.model.capabilities.get("free_images")) or 0
        usage = Usage(
            video_ms=made_ms,
            input_video_ms=duration_ms(told.get("input_seconds")) or 0,
            images=max(0, (whole(told.get("input_image_count"), 1000) or 0) - free),
            attributes={"resolution": resolution} if resolution else None,
        )
    facts: dict[str, object] = {"resolution": resolution, "aspect_ratio": text(task.get("ratio"))}
    return Succeeded(
        (Output(Produced(url=url), duration_ms=made_ms or duration_ms(task.get("duration"))),),
        usage=usage,
        facts={name: value for name, value in facts.items() if value},
        provider_state=state,
    )


def _observed_v1(answer: dict[str, object]) -> Observation | Fetch:
    state = (text(answer.get("status")) or "")[:40]
    base = mapping(answer.get("base_resp"))
    if state in ("Preparing", "Queueing"):
        return Running(queued=True, provider_state=state)
    if state == "Processing":
        return Running(provider_state=state)
    if state == "Fail":
        code = base.get("status_code")
        return failed(
            base.get("status_msg"), provider_code=code or None, codes=_FAILURES, state=state
        )
    if state == "Success":
        return _file(answer, state)
    if _base_code(answer) not in (None, "0"):
        error = inside_200(answer, CODES)
        return Missing(error.message) if error.kind == "not_found" else Unknown(error.message)
    return Unknown(f"a status that is not in the table: {state!r}", state)


def _file(answer: dict[str, object], state: str) -> Observation | Fetch:
    """The second hop: a file's number is no address yet."""
    file_id = _id(answer.get("file_id"))
    if file_id is None:
        return Unknown("a success without a video", state)
    width, height = (
        whole(answer.get("video_width"), 20_000),
        whole(answer.get("video_height"), 20_000),
    )

    def found(head: Head, body: bytes) -> Observation:
        url = text(mapping(read(body).get("file")).get("download_url"))
        if head.status >= 300 or url is None:
            return Unknown(f"the address of the file was answered {head.status}", state)
        made = Output(Produced(url=url), width=width, height=height)
        return Succeeded((made,), provider_state=state)

    return Fetch(_get(f"/v1/files/retrieve?file_id={quote(file_id, safe='')}"), found)
