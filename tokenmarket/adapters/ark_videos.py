"""Seedance on Volcengine Ark and BytePlus ModelArk: videos (facts as of 2026-11-23).

    POST   /contents/generations/tasks        {"model", "content": [...], ...} -> {"id"}
    GET    /contents/generations/tasks/{id}   -> {"status", "content": {"video_url"}, "usage", ...}
    GET    /contents/generations/tasks?...    the records of seven days
    DELETE /contents/generations/tasks/{id}   cancels what is queued, deletes what is over

What a reader must know:

* There is no reference of ours in a task. The seed is one: where the caller gives none, it is made
  from our task's id (as random as any), and the list of tasks shows it again. With the caller's own
  seed a lost create cannot be told from another order, so nothing is concluded.
* A DELETE destroys the record of a task that finished a moment before. It is asked for only while
  the task was just seen queued, and its answer proves nothing: the next poll decides.
* ``execution_expires_after`` is our deadline: what we no longer wait for shall not be rendered.
* Billed by tokens, successes only.
"""

from __future__ import annotations

import hashlib
from typing import ClassVar
from urllib.parse import quote, urlencode

import msgspec

from tokenmarket.adapters.kit.openai_errors import explain, inside_200
from tokenmarket.adapters.kit.shape import mapping, sequence, text
from tokenmarket.adapters.kit.video_answers import duration_ms, failed, read, unix_s, whole
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
    Absent,
    Accepted,
    Ended,
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
from tokenmarket.core.usage import Usage
from tokenmarket.core.video.request import FRAME_ROLES, REFERENCE_ROLES, ResolvedVideo

# Codes have a detail after a dot (".PrivacyInformation"); tables are looked up without it too.
CODES: dict[str, FailureKind] = {
    "authenticationerror": "auth",
    "accountoverdueerror": "no_balance",
    "accessdenied": "forbidden",
    "operationdenied": "forbidden",
    "invalidendpointormodel.notfound": "not_found",
    "modelnotopen": "not_found",
    "sensitivecontentdetected": "content_policy",
    "inputtextsensitivecontentdetected": "content_policy",
    "inputimagesensitivecontentdetected": "content_policy",
    "inputvideosensitivecontentdetected": "content_policy",
    "inputaudiosensitivecontentdetected": "content_policy",
    "inputtextriskdetection": "content_policy",
    "inputimageriskdetection": "content_policy",
    "ratelimitexceeded": "rate_limited",
    "accountratelimitexceeded": "rate_limited",
    "modelaccountrpmratelimitexceeded": "rate_limited",
    "requestbursttoofast": "rate_limited",
    "quotaexceeded": "quota_exhausted",
    "setlimitexceeded": "quota_exhausted",
    "serveroverloaded": "overloaded",
    "internalserviceerror": "upstream_error",
}
_FAILURES: dict[str, FailureCode] = {
    "sensitivecontentdetected": "content_policy_violation",
    "inputtextsensitivecontentdetected": "content_policy_violation",
    "inputimagesensitivecontentdetected": "content_policy_violation",
    "inputvideosensitivecontentdetected": "content_policy_violation",
    "inputaudiosensitivecontentdetected": "content_policy_violation",
    "inputtextriskdetection": "content_policy_violation",
    "inputimageriskdetection": "content_policy_violation",
    "outputimagesensitivecontentdetected": "moderated_output",
    "outputvideosensitivecontentdetected": "moderated_output",
    "outputaudiosensitivecontentdetected": "moderated_output",
    "outputvideoriskdetection": "moderated_output",
    "invalidparameter": "invalid_input_media",
    "invalidimageurl": "invalid_input_media",
    "accountoverdueerror": "insufficient_upstream_balance",
    "quotaexceeded": "upstream_capacity",
    "serveroverloaded": "upstream_capacity",
    "internalserviceerror": "upstream_error",
}

_PATH = "/contents/generations/tasks"
_SEEDS = 2**31 - 1
# Ark takes an hour to three days.
_EXPIRES_MIN_S, _EXPIRES_MAX_S = 3600, 259_200
_LISTED = 100
_CLOCKS_DIFFER_S = 60

_encode = msgspec.json.Encoder().encode


class ArkVideos(VideoAdapter):
    """Ids of models are doubao-seedance-… at Volcengine, dreamina-seedance-… at BytePlus."""

    deadline_s: ClassVar[int] = 7200

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
            "content": _content(request),
            "execution_expires_after": self._expires_s(route),
        }
        taken = {"audio", "seconds", "resolution", "aspect_ratio", "size", "watermark", "user"}
        for name, member in (
            ("resolution", "resolution"),
            ("aspect_ratio", "ratio"),
            ("seconds", "duration"),
            ("audio", "generate_audio"),
            ("watermark", "watermark"),
            ("user", "safety_identifier"),
        ):
            if (value := getattr(request, name)) is not None:
                body[member] = value
        if route.model.capabilities.get("seed") is not False:
            body["seed"] = _own_seed(task_id) if request.seed is None else request.seed
            taken.add("seed")
        camera = request.camera
        if camera is not None and camera.type is None and not camera.config:
            body["camera_fixed"] = camera.fixed is True
            taken.add("camera")
        if callback_url is not None:
            body["callback_url"] = callback_url
        dropped = leftover(request, taken | {*FRAME_ROLES, *REFERENCE_ROLES})
        return UpstreamRequest(_PATH, JSON_HEADERS, _encode(body), dropped=dropped)

    def accepted(
        self, request: ResolvedVideo, route: Route, head: Head, body: bytes
    ) -> Accepted | Unknown:
        answer = read(body)
        upstream_id = text(answer.get("id"))
        if upstream_id:
            return Accepted(upstream_id)
        if text(mapping(answer.get("error")).get("code")):
            raise inside_200(answer, CODES)
        return Unknown("the create was answered without an id")

    def poll(self, handle: Handle, route: Route) -> UpstreamRequest:
        return UpstreamRequest(_path(handle), GET_HEADERS, b"", method="GET")

    def observe(self, handle: Handle, route: Route, head: Head, body: bytes) -> Observation | Fetch:
        return _observed(read(body))

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return explain(head, body, _with_details(read(body)))

    def cancel(self, handle: Handle, route: Route) -> UpstreamRequest | None:
        if handle.state != "queued":
            return None
        return UpstreamRequest(_path(handle), GET_HEADERS, b"", method="DELETE")

    # --- a create that was never answered -----------------------------------------------------

    def reconcile(self, handle: Handle, route: Route) -> UpstreamRequest | None:
        if handle.request.seed is not None or route.model.capabilities.get("seed") is False:
            return None
        query = urlencode(
            {"page_num": 1, "page_size": _LISTED, "filter.model": route.upstream_model}
        )
        return UpstreamRequest(f"{_PATH}?{query}", GET_HEADERS, b"", method="GET")

    def reconciled(
        self, handle: Handle, route: Route, head: Head, body: bytes
    ) -> Accepted | Absent | Unknown:
        if head.status >= 300:
            return Unknown(f"the list was answered {head.status}")
        seed = _own_seed(handle.task_id)
        for item in sequence(read(body).get("items")):
            task = mapping(item)
            made_s = unix_s(task.get("created_at"))
            in_time = made_s is not None and made_s >= handle.submitted_s - _CLOCKS_DIFFER_S
            upstream_id = text(task.get("id"))
            if upstream_id and in_time and task.get("seed") == seed:
                return Accepted(upstream_id, observation=_observed(task))
        # Not every state of a task need show its seed: this proves nothing.
        return Unknown("not among the newest tasks")

    def _expires_s(self, route: Route) -> int:
        own = whole(route.model.capabilities.get("deadline_s")) or self.deadline_s
        return min(max(own, _EXPIRES_MIN_S), _EXPIRES_MAX_S)


VIDEO = ArkVideos()


# ---------------------------------------------------------------------------------------- request


def _content(request: ResolvedVideo) -> list[dict[str, object]]:
    """First and last frame, or references: never both."""
    content: list[dict[str, object]] = []
    if request.prompt:
        content.append({"type": "text", "text": request.prompt})
    references = request.inputs_of(*REFERENCE_ROLES)
    if references and request.inputs_of(*FRAME_ROLES):
        refuse(
            references[0].param,
            "This model takes a first and last frame, or references, not both.",
            "conflicting_parameters",
        )
    for item in request.inputs_of(*FRAME_ROLES, *REFERENCE_ROLES):
        kind = item.role.removeprefix("reference_")
        kind = kind if kind in ("video", "audio") else "image"
        url = only_address(item) if kind == "video" else address(item)
        content.append({"type": f"{kind}_url", f"{kind}_url": {"url": url}, "role": item.role})
    return content


def _own_seed(task_id: str) -> int:
    return int.from_bytes(hashlib.sha256(task_id.encode()).digest()[:8]) % _SEEDS


def _path(handle: Handle) -> str:
    return f"{_PATH}/{quote(handle.upstream_id, safe='')}"


# ----------------------------------------------------------------------------------------- answer


def _with_details(answer: dict[str, object]) -> dict[str, FailureKind]:
    """The table, and this answer's own code where only its part before a dot is in the table."""
    code = (text(mapping(answer.get("error")).get("code")) or "").lower()
    kind = CODES.get(code) or CODES.get(code.partition(".")[0])
    return CODES if kind is None else {**CODES, code: kind}


def _observed(task: dict[str, object]) -> Observation:
    state = (text(task.get("status")) or "")[:40]
    if state == "queued":
        return Running(queued=True, provider_state=state)
    if state == "running":
        return Running(provider_state=state)
    if state == "succeeded":
        return _succeeded(task, state)
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


def _succeeded(task: dict[str, object], state: str) -> Observation:
    content = mapping(task.get("content"))
    url = text(content.get("video_url"))
    if url is None:
        return Unknown("a success without a video", state)
    made_ms = duration_ms(task.get("duration"))
    fps = whole(task.get("framespersecond"), 1000)
    outputs = [Output(Produced(url=url), duration_ms=made_ms, fps=fps)]
    if last := text(content.get("last_frame_url")):
        outputs.append(Output(Produced(url=last), kind="last_frame"))
    tokens = whole(mapping(task.get("usage")).get("completion_tokens"), 10**12)
    resolution = text(task.get("resolution"))
    usage = None
    if tokens is not None:
        attributes = {"resolution": resolution[:20]} if resolution else None
        usage = Usage(video_tokens=tokens, attributes=attributes)
    facts: dict[str, object] = {"resolution": resolution, "aspect_ratio": text(task.get("ratio"))}
    facts |= {"seed": task.get("seed") if type(task.get("seed")) is int else None, "fps": fps}
    facts["seconds"] = whole(task.get("duration"), 86_400)
    return Succeeded(
        tuple(outputs),
        usage=usage,
        facts={name: value for name, value in facts.items() if value is not None},
        provider_state=state,
    )
