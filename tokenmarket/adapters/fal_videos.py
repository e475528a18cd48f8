"""fal (https://docs.fal.ai; facts as of 2026-11-23): videos by its queue.

    POST /{model}       -> {"request_id", "status_url", "response_url", "cancel_url"}
    GET  status_url     -> {"status": "IN_QUEUE | IN_PROGRESS | COMPLETED", "error", "error_type"}
    GET  response_url   -> the model's own answer, with the status of the run
    PUT  cancel_url     -> 202 {"status": "CANCELLATION_REQUESTED"}

Sources: ``video_providers.md`` sections 1 and 11 ([FC] fal-client 1.0.3, [FW]), recordings of
models' answers, fal's table of error types.

What a reader must know:

* Every model has an input of its own: ``kit/hosted_videos.py`` and the catalog row's key ``fal``.
* COMPLETED may be a failure: with ``error``, or behind the second address, where the run's own
  status is answered: 422 with ``{"detail": [{"loc", "msg", "type"}]}``.
* The addresses are used as they are given: they have the app's name, not the model's path.
* A cancel is a wish; what became of it is seen by the next poll.
* The key goes as ``authorization: Key …``.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar
from urllib.parse import quote

import msgspec

from tokenmarket.adapters.kit.hosted_videos import hosted_order
from tokenmarket.adapters.kit.openai_errors import explain, inside_200
from tokenmarket.adapters.kit.shape import mapping, sequence, text
from tokenmarket.adapters.kit.video_answers import (
    billable_ms,
    cost,
    duration_ms,
    failed,
    read,
    whole,
)
from tokenmarket.adapters.kit.video_orders import GET_HEADERS, JSON_HEADERS
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
from tokenmarket.core.usage import Usage
from tokenmarket.core.video.request import ResolvedVideo

CODES: dict[str, FailureKind] = {
    "content_policy_violation": "content_policy",
    "auth_error": "auth",
    "bad_request": "bad_request",
    "not_found": "not_found",
    "internal_error": "upstream_error",
    "request_timeout": "timeout",
    "startup_timeout": "timeout",
    "runner_scheduling_failure": "overloaded",
}
_FAILURES: dict[str, FailureCode] = {
    "content_policy_violation": "content_policy_violation",
    "no_media_generated": "moderated_output",
    "request_timeout": "upstream_timeout",
    "startup_timeout": "upstream_timeout",
    "generation_timeout": "upstream_timeout",
    "runner_scheduling_failure": "upstream_capacity",
    "runner_connection_timeout": "upstream_capacity",
    "runner_disconnected": "upstream_error",
    "runner_connection_refused": "upstream_error",
    "runner_connection_error": "upstream_error",
    "runner_incomplete_response": "upstream_error",
    "runner_server_error": "upstream_error",
    "internal_error": "upstream_error",
    "internal_server_error": "upstream_error",
    "downstream_service_error": "upstream_error",
    "downstream_service_unavailable": "upstream_capacity",
    "image_load_error": "invalid_input_media",
    "image_too_small": "invalid_input_media",
    "image_too_large": "invalid_input_media",
    "file_download_error": "invalid_input_media",
    "file_too_large": "invalid_input_media",
    "face_detection_error": "invalid_input_media",
    "unsupported_image_format": "invalid_input_media",
    "unsupported_video_format": "invalid_input_media",
    "unsupported_audio_format": "invalid_input_media",
    "video_duration_too_long": "invalid_input_media",
    "video_duration_too_short": "invalid_input_media",
    "audio_duration_too_long": "invalid_input_media",
    "audio_duration_too_short": "invalid_input_media",
}
_CANCELLED = frozenset({"client_cancelled"})
_STILL_RUNNING = "request is still in progress"
# What most models call things.
_USUAL = {
    "seconds": "duration",
    "resolution": "resolution",
    "aspect_ratio": "aspect_ratio",
    "audio": "generate_audio",
    "seed": "seed",
    "negative_prompt": "negative_prompt",
    "first_frame": "image_url",
}
_NAMESPACES = frozenset({"workflows", "comfy"})
_PLACES = (("status", "status_url"), ("response", "response_url"), ("cancel", "cancel_url"))

_encode = msgspec.json.Encoder().encode


class FalVideos(VideoAdapter):
    """``Accepted.ref``: the addresses ``status``, ``response`` and ``cancel``."""

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
        model, body, dropped = hosted_order(request, route, "fal", _USUAL)
        path = "/" + quote(model.strip("/"), safe="/")
        if callback_url is not None:
            path += f"?fal_webhook={quote(callback_url, safe='')}"
        return UpstreamRequest(path, JSON_HEADERS, _encode(body), dropped=dropped)

    def accepted(
        self, request: ResolvedVideo, route: Route, head: Head, body: bytes
    ) -> Accepted | Unknown:
        answer = read(body)
        upstream_id = text(answer.get("request_id"))
        if upstream_id is None:
            if answer.get("detail") or answer.get("error"):
                raise inside_200(answer, CODES)
            return Unknown("the create was answered without an id")
        model = hosted_order(request, route, "fal", _USUAL)[0]
        ref = {"app": _app(model)}
        for name, field in _PLACES:
            url = text(answer.get(field))
            if url is not None and url.startswith(("https://", "http://")):
                ref[name] = url
        return Accepted(upstream_id, ref)

    def poll(self, handle: Handle, route: Route) -> UpstreamRequest:
        return _ask(handle, route, "status")

    def observe(self, handle: Handle, route: Route, head: Head, body: bytes) -> Observation | Fetch:
        answer = read(body)
        state = (text(answer.get("status")) or "")[:40]
        if state == "IN_QUEUE":
            return Running(queued=True, provider_state=state)
        if state == "IN_PROGRESS":
            return Running(provider_state=state)
        if state != "COMPLETED":
            return Unknown(f"a status that is not in the table: {state!r}", state)
        if answer.get("error") or answer.get("error_type"):
            return _failed(answer.get("error"), answer.get("error_type"))
        return Fetch(_ask(handle, route, "response"), partial(_result, handle))

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        answer = read(body)
        kind = _detail(answer)[1]
        if kind is not None and kind in CODES:
            answer = {**answer, "code": kind}
            body = _encode(answer)
        return explain(head, body, CODES)

    def cancel(self, handle: Handle, route: Route) -> UpstreamRequest | None:
        asked = _ask(handle, route, "cancel")
        return msgspec.structs.replace(asked, method="PUT")


VIDEO = FalVideos()


def _app(model: str) -> str:
    """Owner and name of the app that a model's path belongs to."""
    parts = model.strip("/").split("/")
    return "/".join(parts[: 3 if parts[0] in _NAMESPACES else 2])


def _ask(handle: Handle, route: Route, what: str) -> UpstreamRequest:
    url = handle.ref.get(what)
    app = handle.ref.get("app") or _app(route.upstream_model)
    path = f"/{quote(app, safe='/')}/requests/{quote(handle.upstream_id, safe='')}"
    if what != "response":
        path += f"/{what}"
    return UpstreamRequest(path, GET_HEADERS, b"", method="GET", url=url)


# ----------------------------------------------------------------------------------------- answer


def _failed(words: object, kind: object) -> Observation:
    if kind in _CANCELLED:
        return Ended("cancelled", provider_state="COMPLETED")
    return failed(words, provider_code=kind, codes=_FAILURES, state="COMPLETED")


def _detail(answer: dict[str, object]) -> tuple[object, str | None]:
    """(words, type) of an error: flat, or the first of a list."""
    detail = answer.get("detail")
    items = sequence(detail)
    if items:
        first = mapping(items[0])
        return first.get("msg"), text(first.get("type"))
    return detail, text(answer.get("error_type"))


def _result(handle: Handle, head: Head, body: bytes) -> Observation | Fetch:
    """The second address: the model's answer, or why there is none."""
    answer = read(body)
    if head.status < 300:
        return _succeeded(handle, head, answer)
    words, kind = _detail(answer)
    kind = kind or text(head.headers.get("x-fal-error-type"))
    if isinstance(words, str) and words.lower().startswith(_STILL_RUNNING):
        return Running(provider_state="COMPLETED")
    if head.status == 404:
        return Missing("the result is not known there")
    if head.status == 422:
        return failed(
            words,
            provider_code=kind,
            codes=_FAILURES,
            state="COMPLETED",
            usual="invalid_input_media",
        )
    if kind is not None and (kind in _FAILURES or kind in _CANCELLED):
        return _failed(words, kind)
    return Unknown(f"the result was answered {head.status}", "COMPLETED")


def _succeeded(handle: Handle, head: Head, answer: dict[str, object]) -> Observation:
    video = mapping(answer.get("video")) or mapping(
        next(iter(sequence(answer.get("videos"))), None)
    )
    url = text(video.get("url"))
    if url is None:
        return Unknown("a success without a video", "COMPLETED")
    made_ms = duration_ms(video.get("duration"))
    fps = whole(video.get("fps"), 1000)
    output = Output(
        Produced(url=url, content_type=_video_type(video.get("content_type"))),
        width=whole(video.get("width"), 10**5),
        height=whole(video.get("height"), 10**5),
        duration_ms=made_ms,
        fps=fps,
    )
    billed_ms = billable_ms(made_ms, handle.request.seconds)
    seed = answer.get("seed")
    return Succeeded(
        (output,),
        usage=None if billed_ms is None else Usage(video_ms=billed_ms),
        cost=cost(head.headers.get("x-fal-billable-units"), "unit"),
        facts={"seed": seed} if type(seed) is int else {},
        provider_state="COMPLETED",
    )


def _video_type(value: object) -> str | None:
    """Not "application/octet-stream", which is often said and says nothing."""
    found = text(value)
    return found if found is not None and found.startswith("video/") else None
