"""Runway (https://docs.dev.runwayml.com; facts as of 2026-11-23): videos.

    POST   /v1/text_to_video | /v1/image_to_video | /v1/video_to_video   -> {"id"}
    GET    /v1/tasks/{id}   -> {"status", "progress", "output": [...], "cost": {"credits"}, ...}
    DELETE /v1/tasks/{id}   cancels what waits or runs, deletes what is over

Field names: ``video_providers.md`` sections 1 and 7 ([RW] runwayml 5.24.0).

What a reader must know:

* Every request says its version: ``x-runway-version``.
* ``ratio`` is a pair of pixels with a colon for models with ``sizes``, a shape for the others,
  which have a ``resolution``. Models without ``text_to_video`` need a picture.
* Too many at once are accepted and wait as THROTTLED; a 429 is the day's or the month's end.
* What runs is not refunded when it is cancelled, and a DELETE destroys the record of what has just
  finished: only what waits is cancelled. What it cost is seen by the next poll.
* Addresses of files live a day or two; asking again gives fresh ones.
* There is no reference of ours, no list and no notice.
"""

from __future__ import annotations

import re
from typing import ClassVar
from urllib.parse import quote

import msgspec

from tokenmarket.adapters.kit.openai_errors import explain, inside_200
from tokenmarket.adapters.kit.shape import mapping, sequence, text
from tokenmarket.adapters.kit.video_answers import cost, failed, percent, read
from tokenmarket.adapters.kit.video_orders import address, leftover, refuse
from tokenmarket.adapters.protocol import Head, Produced, UpstreamRequest
from tokenmarket.adapters.video_protocol import (
    Accepted,
    Ended,
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
from tokenmarket.core.uploads import Input
from tokenmarket.core.video.request import FRAME_ROLES, REFERENCE_ROLES, ResolvedVideo

_VERSION = ("x-runway-version", "2024-11-06")
_GET = (("accept", "application/json"), _VERSION)
_POST = (("content-type", "application/json"), *_GET)
# Families: a code is looked up whole, then up to each dot.
_FAILURES: dict[str, FailureCode] = {
    "safety": "content_policy_violation",
    "safety.input": "content_policy_violation",
    "safety.output": "moderated_output",
    "input_preprocessing": "invalid_input_media",
    "input_preprocessing.safety": "content_policy_violation",
    "internal.bad_output": "upstream_error",
    "internal": "upstream_error",
}
# A 400 like any other, but for its words.
_NO_CREDITS = re.compile(r"not have enough credits", re.IGNORECASE)

_encode = msgspec.json.Encoder().encode


class RunwayVideos(VideoAdapter):
    """Asked no more often than every five seconds, as Runway wishes."""

    poll_every_s: ClassVar[float] = 6.0
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
        body: dict[str, object] = {**request.provider_options, "model": route.upstream_model}
        if request.prompt:
            body["promptText"] = request.prompt
        family, taken = _files(request, route, body)
        taken |= _knobs(request, route, body, sourced=family == "video_to_video")
        dropped = leftover(request, taken)
        return UpstreamRequest(f"/v1/{family}", _POST, _encode(body), dropped=dropped)

    def accepted(
        self, request: ResolvedVideo, route: Route, head: Head, body: bytes
    ) -> Accepted | Unknown:
        answer = read(body)
        upstream_id = text(answer.get("id"))
        if upstream_id is not None:
            return Accepted(upstream_id, cost=_credits(answer.get("estimatedCost")))
        if answer.get("error"):
            raise inside_200(answer, {})
        return Unknown("the create was answered without an id")

    def poll(self, handle: Handle, route: Route) -> UpstreamRequest:
        return UpstreamRequest(_path(handle), _GET, b"", method="GET")

    def observe(self, handle: Handle, route: Route, head: Head, body: bytes) -> Observation | Fetch:
        return _observed(read(body))

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        error = explain(head, body, {})
        kind = error.kind
        if head.status == 429:
            kind = "quota_exhausted"
        elif head.status == 400 and _NO_CREDITS.search(error.message):
            kind = "no_balance"
        return UpstreamError(
            kind,
            error.message,
            status=error.status,
            code=error.code,
            param=error.param,
            retry_after_s=error.retry_after_s,
        )

    def not_accepted(self, head: Head, body: bytes) -> bool:
        """503 is how load is shed."""
        return head.status < 500 or head.status == 503

    def cancel(self, handle: Handle, route: Route) -> UpstreamRequest | None:
        if handle.state != "queued":
            return None
        return UpstreamRequest(_path(handle), _GET, b"", method="DELETE")


VIDEO = RunwayVideos()


def _path(handle: Handle) -> str:
    return f"/v1/tasks/{quote(handle.upstream_id, safe='')}"


# ---------------------------------------------------------------------------------------- request


def _files(request: ResolvedVideo, route: Route, body: dict[str, object]) -> tuple[str, set[str]]:
    """(the path's family, names of what has been put into the body)."""
    frames = request.inputs_of(*FRAME_ROLES)
    references = request.inputs_of(*REFERENCE_ROLES)
    source = request.input("video")
    if frames and (references or source is not None):
        refuse(
            (references or request.inputs_of("video"))[0].param,
            "Frames, or references and a source video: not both.",
            "conflicting_parameters",
        )
    for role, member in (
        ("reference_image", "references"),
        ("reference_video", "referenceVideos"),
        ("reference_audio", "referenceAudio"),
    ):
        if items := request.inputs_of(role):
            body[member] = [_reference(item) for item in items]
    if source is not None:
        body["videoUri"] = address(source)
        return "video_to_video", {"video", *REFERENCE_ROLES}
    if frames:
        body["promptImage"] = [
            {"uri": address(item), "position": item.role.removesuffix("_frame")} for item in frames
        ]
        return "image_to_video", {*FRAME_ROLES}
    if route.model.capabilities.get("text_to_video") is False:
        refuse("image", "This model needs a picture to begin with.")
    return "text_to_video", {*REFERENCE_ROLES}


def _reference(item: Input) -> dict[str, object]:
    kind = item.role.removeprefix("reference_")
    named: dict[str, object] = {} if kind == "image" else {"type": kind}
    return named | {"uri": address(item)}


def _knobs(
    request: ResolvedVideo, route: Route, body: dict[str, object], *, sourced: bool
) -> set[str]:
    taken = {"seed", "negative_prompt", "audio"}
    for name, member in (
        ("seed", "seed"),
        ("negative_prompt", "negativePrompt"),
        ("audio", "audio"),
    ):
        if (value := getattr(request, name)) is not None:
            body[member] = value
    if sourced:  # it has the length and the shape of its source
        return taken
    if request.seconds is not None:
        body["duration"] = request.seconds
    if request.size is not None and not route.model.capabilities.get("resolutions"):
        body["ratio"] = f"{request.width}:{request.height}"
    else:
        pictured = request.input("first_frame") is not None
        ours = pictured and "aspect_ratio" in request.defaults
        if request.aspect_ratio is not None and not ours:
            body["ratio"] = request.aspect_ratio
        if request.resolution is not None:
            body["resolution"] = request.resolution
    return taken | {"seconds", "size", "resolution", "aspect_ratio"}


# ----------------------------------------------------------------------------------------- answer


def _observed(task: dict[str, object]) -> Observation:
    state = (text(task.get("status")) or "")[:40]
    charged = _credits(task.get("cost"))
    if state in ("PENDING", "THROTTLED"):
        return Running(queued=True, provider_state=state)
    if state == "RUNNING":
        return Running(progress=_progress(task.get("progress")), provider_state=state)
    if state == "SUCCEEDED":
        urls = [url for item in sequence(task.get("output")) if (url := text(item)) is not None]
        if not urls:
            return Unknown("a success without a video", state)
        outputs = tuple(Output(Produced(url=url), number=n) for n, url in enumerate(urls))
        return Succeeded(outputs, cost=charged, provider_state=state)
    if state == "FAILED":
        return failed(
            task.get("failure"),
            provider_code=task.get("failureCode"),
            codes=_FAILURES,
            state=state,
            charged=charged,
        )
    if state == "CANCELLED":
        return Ended("cancelled", cost=charged, provider_state=state)
    return Unknown(f"a status that is not in the table: {state!r}", state)


def _progress(value: object) -> int | None:
    """0 to 1 there."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        return None
    return percent(value * 100)


def _credits(value: object) -> ProviderCost | None:
    return cost(mapping(value).get("credits"), "credit")
