"""OpenAI's Videos wire (2025-10 … 2026-09): the shape that outlived its service, and the reference
for the other video adapters.

    POST /videos {"model","prompt","seconds":"5","size":"1280x720","input_reference":{"image_url"}}
    GET  /videos/{id} -> {"id","status":"queued|in_progress|completed|failed","progress","error",…}
    GET  /videos/{id}/content -> the bytes, with the key

Field names: ``reference/media/video_contract.md`` section 1, from openai-python 3.54.0 and OpenAI's
specification of 2026-08-21. What servers of this shape understand beyond it is data: ``extras``.
"""

from __future__ import annotations

import base64
from urllib.parse import quote

import msgspec

from tokenmarket.adapters.kit.openai_errors import clean, explain
from tokenmarket.adapters.kit.shape import mapping, sequence, text
from tokenmarket.adapters.protocol import Head, Produced, UpstreamRequest
from tokenmarket.adapters.video_protocol import (
    Absent,
    Accepted,
    Ended,
    Failed,
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
from tokenmarket.core.errors import ApiError, UpstreamError
from tokenmarket.core.uploads import Input
from tokenmarket.core.usage import Usage
from tokenmarket.core.video.request import REFERENCE_ROLES, ResolvedVideo
from tokenmarket.core.wording import say

_HEADERS = (("content-type", "application/json"), ("accept", "application/json"))
_GET = (("accept", "application/json"),)
SECONDS_MAX = 86_400
REFERENCE = "client_reference"  # the member of ``metadata`` that has our task's id

_FAILURES: dict[str, FailureCode] = {
    "content_policy_violation": "content_policy_violation",
    "moderation_blocked": "content_policy_violation",
    "moderated_output": "moderated_output",
    "invalid_input_media": "invalid_input_media",
    "invalid_image": "invalid_input_media",
    "rate_limit_exceeded": "upstream_capacity",
    "server_is_overloaded": "upstream_capacity",
    "upstream_timeout": "upstream_timeout",
    "insufficient_quota": "insufficient_upstream_balance",
    "billing_hard_limit_reached": "insufficient_upstream_balance",
}
_RETRYABLE = frozenset({"upstream_capacity", "upstream_error", "upstream_timeout"})

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class OpenAIVideos(VideoAdapter):
    """``extras``: fields of the order that this server takes under our own names.
    ``references``: whether it takes ``metadata`` and lists it, so that a task can be found again.
    ``cancels``: whether it has ``POST /videos/{id}/cancel``."""

    def __init__(
        self,
        *,
        extras: frozenset[str] = frozenset(),
        references: bool = False,
        cancels: bool = False,
    ) -> None:
        self._extras = extras
        self._references = references
        self._cancels = cancels

    # --- create ---------------------------------------------------------------------------------

    def build(
        self,
        request: ResolvedVideo,
        route: Route,
        *,
        task_id: str,
        now_s: int,
        callback_url: str | None,
    ) -> UpstreamRequest:
        # Options first: none of them can replace what was checked and priced.
        members: dict[str, object] = {
            **request.provider_options,
            "model": route.upstream_model,
            "prompt": request.prompt,
        }
        if request.seconds is not None:
            members["seconds"] = str(request.seconds)  # a string, by the specification
        if request.size is not None:
            members["size"] = request.size
        if (frame := request.input("first_frame")) is not None:
            members["input_reference"] = {"image_url": _address(frame)}
        asked = _beyond_openai(request)
        _refuse_what_matters(asked, self._extras)
        members.update({name: asked[name] for name in asked if name in self._extras})
        if self._references:
            members["metadata"] = {REFERENCE: task_id}
        dropped = tuple(name for name in asked if name not in self._extras)
        return UpstreamRequest("/videos", _HEADERS, _encode(members), dropped=dropped)

    def accepted(
        self, request: ResolvedVideo, route: Route, head: Head, body: bytes
    ) -> Accepted | Unknown:
        answer = _read(body)
        upstream_id = text(answer.get("id"))
        if not upstream_id:
            return Unknown("the create was answered without an id")
        handle = Handle("", request, 0, upstream_id)
        return Accepted(upstream_id, observation=_observe(handle, route, answer))

    # --- after it -------------------------------------------------------------------------------

    def poll(self, handle: Handle, route: Route) -> UpstreamRequest:
        return UpstreamRequest(_path(handle), _GET, b"", method="GET")

    def observe(self, handle: Handle, route: Route, head: Head, body: bytes) -> Observation | Fetch:
        return _observe(handle, route, _read(body))

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return explain(head, body, {})

    def cancel(self, handle: Handle, route: Route) -> UpstreamRequest | None:
        if not self._cancels:
            return None
        return UpstreamRequest(_path(handle) + "/cancel", _GET, b"", method="POST")

    def cancelled(self, handle: Handle, route: Route, head: Head, body: bytes) -> Observation:
        if head.status >= 300:
            return Unknown(self.explain(head, body).message)
        return _observe(handle, route, _read(body))

    def reconcile(self, handle: Handle, route: Route) -> UpstreamRequest | None:
        if not self._references:
            return None
        return UpstreamRequest("/videos?limit=100&order=desc", _GET, b"", method="GET")

    def reconciled(
        self, handle: Handle, route: Route, head: Head, body: bytes
    ) -> Accepted | Absent | Unknown:
        page = _read(body)
        if head.status >= 300 or "data" not in page:
            return Unknown(f"the list was answered {head.status}")
        for item in sequence(page["data"]):
            found = mapping(item)
            upstream_id = text(found.get("id"))
            if upstream_id and mapping(found.get("metadata")).get(REFERENCE) == handle.task_id:
                known = msgspec.structs.replace(handle, upstream_id=upstream_id)
                return Accepted(upstream_id, observation=_observe(known, route, found))
        if page.get("has_more") is False and isinstance(page["data"], list):
            return Absent()
        return Unknown("not among the newest tasks")


# ---------------------------------------------------------------------------------------- request


def _address(frame: Input) -> str:
    if frame.upload is None:
        return frame.url or ""
    data = base64.b64encode(frame.upload.data()).decode("ascii")
    return f"data:{frame.upload.content_type};base64,{data}"


def _beyond_openai(request: ResolvedVideo) -> dict[str, object]:
    """What is set and has no place in OpenAI's own fields, as JSON under our names."""
    asked: dict[str, object] = {}
    for name in (
        "resolution",
        "aspect_ratio",
        "fps",
        "seed",
        "negative_prompt",
        "mode",
        "camera",
        "audio",
        "prompt_enhance",
        "watermark",
        "user",
    ):
        value = getattr(request, name)
        if value is not None:
            asked[name] = value
    if request.size is not None:  # says both, and more exactly
        asked.pop("resolution", None)
        asked.pop("aspect_ratio", None)
    if request.n > 1:
        asked["n"] = request.n
    if (last := request.input("last_frame")) is not None:
        asked["last_frame"] = _address(last)
    references = [
        {"type": f"{kind}_url", f"{kind}_url": {"url": _address(item)}}
        for item in request.inputs_of(*REFERENCE_ROLES)
        for kind in (item.role.removeprefix("reference_"),)
    ]
    if references:
        asked["input_references"] = references
    if (source := request.input("video")) is not None:
        asked["video"] = _address(source)
    return asked


def _refuse_what_matters(asked: dict[str, object], extras: frozenset[str]) -> None:
    """Dropping a hint is told; dropping one of these would make (and bill) another video."""
    for name in ("audio", "n", "last_frame", "input_references", "video"):
        if name in asked and name not in extras and asked[name] is not False:
            raise ApiError(
                "REQUEST_002",
                say("{name} cannot be asked for at this provider.", name=name),
                param=name,
                reason="unsupported_parameter",
            )


# ----------------------------------------------------------------------------------------- answer


def _path(handle: Handle) -> str:
    return f"/videos/{quote(handle.upstream_id, safe='')}"


def _read(body: bytes) -> dict[str, object]:
    try:
        return mapping(_decode(body))
    except (msgspec.DecodeError, RecursionError):
        return {}


def _observe(handle: Handle, route: Route, answer: dict[str, object]) -> Observation:
    state = text(answer.get("status")) or ""
    if state == "queued":
        return Running(queued=True, provider_state=state)
    if state == "in_progress":
        return Running(progress=_progress(answer.get("progress")), provider_state=state)
    if state == "completed":
        return _succeeded(handle, route, answer)
    if state == "failed":
        return _failed(answer)
    return Unknown(f"a status that is not in the table: {state[:40]!r}", state[:40])


def _succeeded(handle: Handle, route: Route, answer: dict[str, object]) -> Succeeded:
    where = route.provider.base_url.rstrip("/") + _path(handle) + "/content"
    seconds = _seconds(answer.get("seconds"))
    facts = {name: answer[name] for name in ("seed", "size") if answer.get(name) is not None}
    if seconds is not None:
        facts["seconds"] = seconds
    return Succeeded(
        (
            Output(
                Produced(url=where, credentialed=True, content_type="video/mp4"),
                duration_ms=None if seconds is None else seconds * 1000,
                expires_s=_unix_s(answer.get("expires_at")),
            ),
        ),
        usage=None if seconds is None else Usage(video_ms=seconds * 1000),
        facts=facts,
        provider_state="completed",
    )


def _failed(answer: dict[str, object]) -> Failed | Ended:
    error = mapping(answer.get("error"))
    provider_code = text(error.get("code")) or ""
    if provider_code == "cancelled":
        return Ended("cancelled", provider_state="failed")
    if provider_code == "expired":
        return Ended("expired", provider_state="failed")
    code = _FAILURES.get(provider_code, "upstream_error")
    message = clean(text(error.get("message")) or "The provider gave no reason.")
    return Failed(
        code,
        message,
        provider_code=provider_code[:80] or None,
        retryable=code in _RETRYABLE,
        provider_state="failed",
    )


def _progress(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        return None
    return int(value)


def _seconds(value: object) -> int | None:
    """A string by the specification; numbers are met too."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 6:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= SECONDS_MAX:
        return None
    return value


def _unix_s(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 10**11:
        return None
    return value
