"""xAI Grok Imagine: videos (https://docs.x.ai; facts as of 2026-11-23).

    POST /videos/generations | /videos/edits | /videos/extensions   -> {"request_id"}
    GET  /videos/{request_id}   -> HTTP 202 {"status": "pending"} … 200 {"status": "done", "video"}

Field names: ``video_providers.md`` sections 1 and 10 ([XA] xai-sdk 1.21.0, [VA]) and recordings.

What a reader must know:

* ``done`` with ``respect_moderation`` false is a withheld video, for which we are charged.
* ``usage.cost_in_usd_ticks``: ten thousand million ticks are a dollar.
* Left out, length and resolution are xAI's own defaults and billed: the catalog names ours.
* An edit keeps the length and shape of its source; an extension its shape.
* There is no reference of ours, no list and no cancel.
"""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar
from urllib.parse import quote

import msgspec

from tokenmarket.adapters.kit.openai_errors import explain, inside_200
from tokenmarket.adapters.kit.shape import mapping, text
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
    leftover,
    only_address,
    refuse,
)
from tokenmarket.adapters.protocol import Head, Produced, UpstreamRequest
from tokenmarket.adapters.video_protocol import (
    Accepted,
    Ended,
    Failed,
    FailureCode,
    Fetch,
    Handle,
    Observation,
    Output,
    ProviderCost,
    Running,
    Succeeded,
    Unknown,
    VideoAdapter,
)
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.usage import Usage
from tokenmarket.core.video.request import ResolvedVideo

# The error object of a failed video: codes are not published, so its words decide.
_FAILURES: dict[str, FailureCode] = {
    "content_policy_violation": "content_policy_violation",
    "invalid_argument": "invalid_input_media",
    "resource_exhausted": "upstream_capacity",
    "unavailable": "upstream_capacity",
    "deadline_exceeded": "upstream_timeout",
    "internal": "upstream_error",
}
_TICKS_DIGITS = 10
_TICKS_MAX = 10**16

_encode = msgspec.json.Encoder().encode


class XaiVideos(VideoAdapter):
    """Which of its knobs a model has (1080p, a last frame, sound) is its catalog row's to say."""

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
        body: dict[str, object] = {
            **request.provider_options,
            "model": route.upstream_model,
            "prompt": request.prompt,
        }
        source = request.input("video")
        taken = _asked(request, body, source is not None)
        taken |= _pictures(request, body)
        if source is not None:
            body["video"] = {"url": only_address(source)}
            taken.add("video")
        family = "generations"
        if source is not None:
            family = "extensions" if request.operation == "extend" else "edits"
        dropped = leftover(request, taken)
        return UpstreamRequest(f"/videos/{family}", JSON_HEADERS, _encode(body), dropped=dropped)

    def accepted(
        self, request: ResolvedVideo, route: Route, head: Head, body: bytes
    ) -> Accepted | Unknown:
        answer = read(body)
        upstream_id = text(answer.get("request_id"))
        if upstream_id is not None:
            return Accepted(upstream_id)
        if answer.get("error"):
            raise inside_200(answer, {})
        return Unknown("the create was answered without an id")

    def poll(self, handle: Handle, route: Route) -> UpstreamRequest:
        path = f"/videos/{quote(handle.upstream_id, safe='')}"
        return UpstreamRequest(path, GET_HEADERS, b"", method="GET")

    def observe(self, handle: Handle, route: Route, head: Head, body: bytes) -> Observation | Fetch:
        return _observed(handle.request, read(body))

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return explain(head, body, {})


VIDEO = XaiVideos()


# ---------------------------------------------------------------------------------------- request


def _asked(request: ResolvedVideo, body: dict[str, object], sourced: bool) -> set[str]:
    """Names of what has been put into the body."""
    names = [("audio", "generate_audio"), ("user", "user")]
    if not sourced or request.operation == "extend":
        names.append(("seconds", "duration"))
    if not sourced:
        names += [("aspect_ratio", "aspect_ratio"), ("resolution", "resolution")]
    pictured = request.input("first_frame") is not None
    for name, member in names:
        value = getattr(request, name)
        if name == "aspect_ratio" and pictured and name in request.defaults:
            continue  # the picture's own shape is better than our guess
        if value is not None:
            body[member] = value
    return {name for name, _ in names} | (set[str]() if sourced else {"size"})


def _pictures(request: ResolvedVideo, body: dict[str, object]) -> set[str]:
    """A first frame (and a last one), or reference pictures: not both."""
    references = request.inputs_of("reference_image")
    first, last = request.input("first_frame"), request.input("last_frame")
    if references and (first is not None or last is not None):
        refuse(
            references[0].param,
            "This model takes frames, or reference images, not both.",
            "conflicting_parameters",
        )
    if first is not None:
        body["image"] = {"url": address(first)}
    if last is not None:
        body["last_frame"] = {"url": address(last)}
    if references:
        body["reference_images"] = [{"url": address(item)} for item in references]
    return {"first_frame", "last_frame", "reference_image"}


# ----------------------------------------------------------------------------------------- answer


def _observed(request: ResolvedVideo, answer: dict[str, object]) -> Observation:
    state = (text(answer.get("status")) or "")[:40]
    if state == "pending":
        return Running(progress=percent(answer.get("progress")), provider_state=state)
    if state == "done":
        return _done(request, answer, state)
    if state == "expired":
        return Ended("expired", cost=_cost(answer), provider_state=state)
    if state == "failed":
        error = mapping(answer.get("error"))
        return failed(
            error.get("message"),
            provider_code=error.get("code"),
            codes=_FAILURES,
            state=state,
            charged=_cost(answer),
        )
    return Unknown(f"a status that is not in the table: {state!r}", state)


def _done(request: ResolvedVideo, answer: dict[str, object], state: str) -> Observation:
    video = mapping(answer.get("video"))
    cost = _cost(answer)
    if video.get("respect_moderation") is False:
        return Failed(
            "moderated_output",
            "The video was withheld by the provider's moderation.",
            cost=cost,
            provider_state=state,
        )
    url = text(video.get("url"))
    if url is None:
        return Unknown("a success without a video", state)
    made_ms = duration_ms(video.get("duration"))
    billed_ms = billable_ms(made_ms, request.seconds)
    return Succeeded(
        (Output(Produced(url=url, content_type="video/mp4"), duration_ms=made_ms),),
        usage=None if billed_ms is None else Usage(video_ms=billed_ms),
        cost=cost,
        provider_state=state,
    )


def _cost(answer: dict[str, object]) -> ProviderCost | None:
    ticks = whole(mapping(answer.get("usage")).get("cost_in_usd_ticks"), _TICKS_MAX)
    if ticks is None:
        return None
    return ProviderCost(f"{Decimal(ticks).scaleb(-_TICKS_DIGITS).normalize():f}", "USD")
