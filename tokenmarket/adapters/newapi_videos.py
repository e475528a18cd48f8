"""Videos at new-api servers, in both of its shapes (facts as of 2026-11-23).

    generations   POST /video/generations        -> {"task_id", "status"} or OpenAI's object
                  GET  /video/generations/{id}   -> {"code": "success", "data": {...}}, or flat
    openai        POST /videos, GET /videos/{id} -> OpenAI's object with ``metadata.url``

The model's capability ``newapi_shape`` ("openai") chooses; the order's body is the same for both.
Sources: ``wire_facts.md`` section 3.3 and ``video_contract.md`` section 1 (new-api's documentation
and its code of 2026, which disagree: every form met is read).

What a reader must know:

* The server hands ``metadata`` to the vendor as members of the vendor's own body, so what has no
  field of its own (the shape, a last frame, a negative prompt) goes there. For Kling that body is
  known exactly: without ``aspect_ratio`` in it, an unknown ``size`` would become a square.
* ``duration`` is read by most vendors' code there, ``seconds`` by the others: both are sent.
* A task's ``id`` is a row number in one of the forms; ``task_id`` is the one to ask with.
* Three vocabularies of states, one table. Old servers put the address of the file into
  ``fail_reason``.
* An address of the file may point to where the server believes itself to be (localhost): the file
  is then asked for below our base URL, with the key.
* There is no reference of ours, no list and no cancel.
"""

from __future__ import annotations

import re
from typing import ClassVar
from urllib.parse import quote, urlsplit

import msgspec

from tokenmarket.adapters.kit.kling_orders import legacy_order
from tokenmarket.adapters.kit.newapi_codes import CODES
from tokenmarket.adapters.kit.openai_errors import explain, inside_200
from tokenmarket.adapters.kit.shape import mapping, sequence, text
from tokenmarket.adapters.kit.video_answers import (
    billable_ms,
    duration_ms,
    failed,
    percent,
    read,
    whole,
)
from tokenmarket.adapters.kit.video_orders import (
    GET_HEADERS,
    JSON_HEADERS,
    address,
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
from tokenmarket.core.video.frame import lines_of
from tokenmarket.core.video.request import ResolvedVideo

_QUEUED, _RUNNING, _SUCCEEDED, _FAILED = "queued", "running", "succeeded", "failed"
_STATES: dict[str, str] = {
    # tasks as the server keeps them
    "NOT_START": _QUEUED,
    "SUBMITTED": _QUEUED,
    "QUEUED": _QUEUED,
    "IN_PROGRESS": _RUNNING,
    "SUCCESS": _SUCCEEDED,
    "FAILURE": _FAILED,
    # its documentation, old and new, and OpenAI's
    "pending": _QUEUED,
    "queued": _QUEUED,
    "processing": _RUNNING,
    "in_progress": _RUNNING,
    "succeeded": _SUCCEEDED,
    "completed": _SUCCEEDED,
    "failed": _FAILED,
}
_FAILURES: dict[str, FailureCode] = {
    "prompt_blocked": "content_policy_violation",
    "sensitive_words_detected": "content_policy_violation",
    "content_policy_violation": "content_policy_violation",
    "insufficient_user_quota": "insufficient_upstream_balance",
    "pre_consume_token_quota_failed": "insufficient_upstream_balance",
    "get_channel_failed": "upstream_capacity",
    "channel:no_available_key": "upstream_capacity",
    "rate_limit_exceeded": "upstream_capacity",
}
_NO_TASK = frozenset({"task_not_exist", "task_not_found"})
_DATA_URL = re.compile(r"data:([\w.+-]{1,40}/[\w.+-]{1,60});base64,")
# Members of Kling's body that have a field of their own here.
_OWN_FIELDS = ("model_name", "prompt", "image", "mode", "duration")

_encode = msgspec.json.Encoder().encode


class NewApiVideos(VideoAdapter):
    """Whatever vendor is behind: what the model can do is its catalog row's to say."""

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
        kling = route.upstream_model.lower().startswith("kling")
        metadata, own, dropped = _kling(request, route) if kling else _vendor(request)
        body: dict[str, object] = {"model": route.upstream_model, "prompt": request.prompt, **own}
        if request.seconds is not None:
            body["duration"] = request.seconds
            body["seconds"] = str(request.seconds)
        if (size := _size(request)) is not None:
            body["size"] = f"{size[0]}x{size[1]}"
            body["width"], body["height"] = size
        if metadata:
            body["metadata"] = metadata
        return UpstreamRequest(_create_path(route), JSON_HEADERS, _encode(body), dropped=dropped)

    def accepted(
        self, request: ResolvedVideo, route: Route, head: Head, body: bytes
    ) -> Accepted | Unknown:
        answer = read(body)
        upstream_id = _id(answer)
        if upstream_id is not None:
            # A success in it is read by the next poll; a failure is known at once.
            task = _task(answer)
            observation = _observed(Handle("", request, 0, upstream_id), route, task)
            final = isinstance(observation, Succeeded | Unknown)
            return Accepted(upstream_id, observation=Running(queued=True) if final else observation)
        if mapping(answer.get("error")) or _code(answer) is not None:
            raise inside_200(answer, CODES)
        return Unknown("the create was answered without an id")

    def poll(self, handle: Handle, route: Route) -> UpstreamRequest:
        path = f"{_create_path(route)}/{quote(handle.upstream_id, safe='')}"
        return UpstreamRequest(path, GET_HEADERS, b"", method="GET")

    def observe(self, handle: Handle, route: Route, head: Head, body: bytes) -> Observation | Fetch:
        answer = read(body)
        if _code(answer) in _NO_TASK:
            return Missing("the task is not known there")
        if _code(answer) is not None:
            return Unknown(inside_200(answer, CODES).message)
        return _observed(handle, route, _task(answer))

    def refused(self, handle: Handle, route: Route, head: Head, body: bytes) -> Observation | Fetch:
        """An unknown task is a 400 with a code of its own."""
        if _code(read(body)) in _NO_TASK:
            return Missing("the task is not known there")
        return super().refused(handle, route, head, body)

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return explain(head, body, CODES)


VIDEO = NewApiVideos()


# ---------------------------------------------------------------------------------------- request


def _create_path(route: Route) -> str:
    openai = route.model.capabilities.get("newapi_shape") == "openai"
    return "/videos" if openai else "/video/generations"


def _kling(
    request: ResolvedVideo, route: Route
) -> tuple[dict[str, object], dict[str, object], tuple[str, ...]]:
    """(metadata, own fields, dropped) of Kling: the members of its older dialect."""
    order = legacy_order(request, route)
    if not order.path.endswith(("/text2video", "/image2video")):
        refuse("model", "This server makes Kling videos of a prompt and of frames only.")
    own: dict[str, object] = {"mode": order.body["mode"]} if "mode" in order.body else {}
    if (frame := request.input("first_frame")) is not None:
        own["image"] = bare_address(frame)
    metadata = {name: value for name, value in order.body.items() if name not in _OWN_FIELDS}
    return metadata, own, order.dropped


def _vendor(
    request: ResolvedVideo,
) -> tuple[dict[str, object], dict[str, object], tuple[str, ...]]:
    """(metadata, own fields, dropped) of any other vendor: what new-api's documentation names."""
    own: dict[str, object] = {
        name: value
        for name in ("mode", "fps", "seed", "user")
        if (value := getattr(request, name)) is not None
    }
    metadata: dict[str, object] = {
        **request.provider_options,
        **{
            name: value
            for name in ("negative_prompt", "resolution", "aspect_ratio")
            if (value := getattr(request, name)) is not None
        },
    }
    if (frame := request.input("first_frame")) is not None:
        own["image"] = address(frame)
    if (last := request.input("last_frame")) is not None:
        metadata["image_tail"] = address(last)
    taken = {"seconds", "size", "first_frame", "last_frame", "mode", "fps", "seed", "user"}
    taken |= {"negative_prompt", "resolution", "aspect_ratio"}
    return metadata, own, leftover(request, taken)


def _size(request: ResolvedVideo) -> tuple[int, int] | None:
    """The pixels asked for, or those of the resolution and shape asked for."""
    if request.width is not None and request.height is not None:
        return request.width, request.height
    short = lines_of(request.resolution)
    shape = re.fullmatch(r"(\d{1,2}):(\d{1,2})", request.aspect_ratio or "", re.ASCII)
    if short is None or shape is None or request.input("first_frame") is not None:
        return None
    wide, high = int(shape[1]), int(shape[2])
    if not wide or not high:
        return None
    long = short * max(wide, high) // min(wide, high) // 2 * 2
    return (long, short) if wide >= high else (short, long)


# ----------------------------------------------------------------------------------------- answer


def _code(answer: dict[str, object]) -> str | None:
    """The code of a refusal; None for an answer without one."""
    code = text(answer.get("code"))
    return None if code is None or code.lower() in ("success", "0", "200") else code


def _task(answer: dict[str, object]) -> dict[str, object]:
    """The task, with or without its wrapper."""
    return mapping(answer.get("data")) if "status" not in answer else answer


def _id(answer: dict[str, object]) -> str | None:
    data = answer.get("data")
    for place in (answer, mapping(data)):
        for name in ("task_id", "id"):
            if (found := text(place.get(name))) is not None:
                return found
    return text(data) if _code(answer) is None else None


def _observed(handle: Handle, route: Route, task: dict[str, object]) -> Observation:
    word = (text(task.get("status")) or "")[:40]
    state = _STATES.get(word)
    if state == _QUEUED:
        return Running(queued=True, provider_state=word)
    if state == _RUNNING:
        return Running(progress=_progress(task.get("progress")), provider_state=word)
    if state == _SUCCEEDED:
        return _succeeded(handle, route, task, word)
    if state == _FAILED:
        error = mapping(task.get("error"))
        return failed(
            error.get("message") or task.get("fail_reason"),
            provider_code=error.get("code"),
            codes=_FAILURES,
            state=word,
        )
    return Unknown(f"a status that is not in the table: {word!r}", word)


def _progress(value: object) -> int | None:
    if isinstance(value, str) and re.fullmatch(r"\d{1,3}%", value, re.ASCII):
        value = int(value[:-1])
    return percent(value)


def _succeeded(handle: Handle, route: Route, task: dict[str, object], word: str) -> Succeeded:
    metadata, vendor = mapping(task.get("metadata")), mapping(task.get("data"))
    made_ms = duration_ms(metadata.get("duration"))
    made_ms = made_ms or duration_ms(task.get("seconds")) or _kling_ms(vendor)
    width, height = whole(metadata.get("width"), 10**5), whole(metadata.get("height"), 10**5)
    fps = whole(metadata.get("fps"), 1000)
    output = Output(
        _file(handle, route, task, metadata),
        width=width,
        height=height,
        duration_ms=made_ms,
        fps=fps,
    )
    billed_ms = billable_ms(made_ms, handle.request.seconds)
    tokens = _tokens(task) or _tokens(vendor)
    usage = None
    if billed_ms is not None or tokens is not None:
        usage = Usage(video_ms=billed_ms or 0, video_tokens=tokens or 0)
    seed = metadata.get("seed")
    facts: dict[str, object] = {"seed": seed if type(seed) is int else None, "fps": fps}
    return Succeeded(
        (output,),
        usage=usage,
        facts={name: value for name, value in facts.items() if value is not None},
        provider_state=word,
    )


def _kling_ms(vendor: dict[str, object]) -> int | None:
    """The vendor's own answer, where it is Kling's."""
    videos = sequence(mapping(mapping(vendor.get("data")).get("task_result")).get("videos"))
    return duration_ms(mapping(videos[0]).get("duration")) if videos else None


def _tokens(task: dict[str, object]) -> int | None:
    """Seedance's, whose object or the server's own has them."""
    return whole(mapping(task.get("usage")).get("completion_tokens"), 10**12)


def _file(
    handle: Handle, route: Route, task: dict[str, object], metadata: dict[str, object]
) -> Produced:
    base = route.provider.base_url.rstrip("/")
    own = f"{base}/videos/{quote(handle.upstream_id, safe='')}/content"
    url = _address(task.get("result_url"), task.get("url"), metadata.get("url"))
    url = url or _address(task.get("fail_reason"))
    if url is None or url.endswith(f"/v1/videos/{handle.upstream_id}/content"):
        return Produced(url=own, credentialed=True, content_type="video/mp4")
    if (inline := _DATA_URL.match(url)) is not None:
        return Produced(b64=url[inline.end() :], content_type=inline[1])
    return Produced(url=url, credentialed=_host(url) == _host(base))


def _address(*values: object) -> str | None:
    for value in values:
        found = text(value)
        if found is not None and (
            found.startswith(("https://", "http://")) or _DATA_URL.match(found)
        ):
            return found
    return None


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).netloc.lower() or None
    except ValueError:
        return None
