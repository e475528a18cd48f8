"""Vidu (https://platform.vidu.com/docs; facts as of 2026-11-23): videos.

    POST /text2video | /img2video | /start-end2video | /reference2video   -> {"task_id", "credits"}
    GET  /tasks/{id}/creations   -> {"state", "err_code", "credits", "creations": [{"url", …}]}

Field names: ``video_providers.md`` sections 1 and 9 ([VU]); error codes from Vidu's table.

What a reader must know:

* The path says how pictures are meant: none, the first, first and last, references.
* ``payload`` comes back as it was given, but nothing can be searched by it.
* A cancel exists at platform.vidu.cn; its rules are not confirmed, so nothing is cancelled.
* The key goes as ``authorization: Token …``.
"""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import quote

import msgspec

from tokenmarket.adapters.kit.openai_errors import explain, inside_200
from tokenmarket.adapters.kit.shape import mapping, sequence, text
from tokenmarket.adapters.kit.video_answers import cost, failed, read
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
    Observation,
    Output,
    Running,
    Succeeded,
    Unknown,
    VideoAdapter,
)
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import FailureKind, UpstreamError
from tokenmarket.core.video.request import ResolvedVideo

CODES: dict[str, FailureKind] = {
    "unauthorized": "auth",
    "forbidden": "forbidden",
    "creditinsufficient": "no_balance",
    "auditsubmitillegal": "content_policy",
    "taskpromptpolicyviolation": "content_policy",
    "modelunavailable": "not_found",
    "tasknotfound": "not_found",
    "notfound": "not_found",
    "quotaexceeded": "rate_limited",  # too many at once
    "toomanyrequests": "rate_limited",
    "systemthrottling": "overloaded",
    "internalservicefailure": "upstream_error",
}
_FAILURES: dict[str, FailureCode] = {
    "auditsubmitillegal": "content_policy_violation",
    "taskpromptpolicyviolation": "content_policy_violation",
    "creationpolicyviolation": "moderated_output",
    "creditinsufficient": "insufficient_upstream_balance",
    "imagedownloadfailure": "invalid_input_media",
    "imageformatinvalid": "invalid_input_media",
    "imagecheckbodyjointsfailed": "invalid_input_media",
    "imagecheckfacefailed": "invalid_input_media",
    "imageobjectsundetected": "invalid_input_media",
    "pagesizeoutofrange": "invalid_input_media",
    "fieldinvalid": "invalid_input_media",
    "modelunavailable": "upstream_capacity",
    "quotaexceeded": "upstream_capacity",
    "toomanyrequests": "upstream_capacity",
    "systemthrottling": "upstream_capacity",
    "internalservicefailure": "upstream_error",
}
_CANCELLED = frozenset({"usercancelled", "canceled"})
_KNOBS = (
    ("seconds", "duration"),
    ("resolution", "resolution"),
    ("aspect_ratio", "aspect_ratio"),
    ("seed", "seed"),
    ("audio", "audio"),
    ("watermark", "watermark"),
)

_encode = msgspec.json.Encoder().encode


class ViduVideos(VideoAdapter):
    """The base URL ends in /ent/v2."""

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
        body: dict[str, object] = {
            **request.provider_options,
            "model": route.upstream_model,
            "prompt": request.prompt,
            "payload": task_id,
        }
        family, images, taken = _pictures(request)
        if images:
            body["images"] = images
        # With a frame, its shape counts; a shape that the caller wrote is named as dropped.
        framed = family in ("img2video", "start-end2video")
        for name, member in _KNOBS:
            if framed and name == "aspect_ratio":
                continue
            taken.add(name)
            if (value := getattr(request, name)) is not None:
                body[member] = value
        if callback_url is not None:
            body["callback_url"] = callback_url
        dropped = leftover(request, taken | {"size"})
        return UpstreamRequest(f"/{family}", JSON_HEADERS, _encode(body), dropped=dropped)

    def accepted(
        self, request: ResolvedVideo, route: Route, head: Head, body: bytes
    ) -> Accepted | Unknown:
        answer = read(body)
        upstream_id = text(answer.get("task_id"))
        if upstream_id is not None:
            return Accepted(upstream_id, cost=cost(answer.get("credits"), "credit"))
        if _reason(answer):
            raise inside_200(_flat(answer), CODES)
        return Unknown("the create was answered without an id")

    def poll(self, handle: Handle, route: Route) -> UpstreamRequest:
        path = f"/tasks/{quote(handle.upstream_id, safe='')}/creations"
        return UpstreamRequest(path, GET_HEADERS, b"", method="GET")

    def observe(self, handle: Handle, route: Route, head: Head, body: bytes) -> Observation | Fetch:
        return _observed(handle.request, read(body))

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        answer = read(body)
        return explain(head, _encode(_flat(answer)) if _reason(answer) else body, CODES)


VIDEO = ViduVideos()


# ---------------------------------------------------------------------------------------- request


def _pictures(request: ResolvedVideo) -> tuple[str, list[str], set[str]]:
    """(path, pictures, names of what they are)."""
    first, last = request.input("first_frame"), request.input("last_frame")
    references = request.inputs_of("reference_image")
    if references:
        if first is not None or last is not None:
            refuse(
                references[0].param,
                "This model takes frames, or reference images, not both.",
                "conflicting_parameters",
            )
        return "reference2video", [address(item) for item in references], {"reference_image"}
    if last is not None:
        if first is None:
            refuse(last.param, "A last frame needs a first one.", "conflicting_parameters")
        return "start-end2video", [address(first), address(last)], {"first_frame", "last_frame"}
    if first is not None:
        return "img2video", [address(first)], {"first_frame"}
    return "text2video", [], set()


# ----------------------------------------------------------------------------------------- answer


def _reason(answer: dict[str, object]) -> str | None:
    """Vidu's own code of a refusal."""
    return text(answer.get("reason")) or text(answer.get("err_code"))


def _flat(answer: dict[str, object]) -> dict[str, object]:
    """{"code", "reason", "message"}, of which the reason is the code that the table has."""
    reason = _reason(answer)
    return {"code": reason, "message": text(answer.get("message")) or reason}


def _observed(request: ResolvedVideo, answer: dict[str, object]) -> Observation:
    state = (text(answer.get("state")) or "")[:40]
    if state in ("created", "queueing"):
        return Running(queued=True, provider_state=state)
    if state == "processing":
        return Running(provider_state=state)
    charged = cost(answer.get("credits"), "credit")
    if state == "success":
        return _succeeded(request, answer, state)
    if state == "failed":
        code = text(answer.get("err_code")) or ""
        if code.lower() in _CANCELLED:
            return Ended("cancelled", cost=charged, provider_state=state)
        return failed(
            text(answer.get("err_msg")) or code,
            provider_code=code,
            codes=_FAILURES,
            state=state,
        )
    return Unknown(f"a status that is not in the table: {state!r}", state)


def _succeeded(request: ResolvedVideo, answer: dict[str, object], state: str) -> Observation:
    outputs: list[Output] = []
    for number, item in enumerate(sequence(answer.get("creations"))):
        made = mapping(item)
        marked = text(made.get("watermarked_url")) if request.watermark is True else None
        url = marked or text(made.get("url"))
        if url is None:
            continue
        outputs.append(Output(Produced(url=url), number=number))
        if (cover := text(made.get("cover_url"))) is not None:
            outputs.append(Output(Produced(url=cover), kind="thumbnail", number=number))
    if not outputs:
        return Unknown("a success without a video", state)
    return Succeeded(
        tuple(outputs), cost=cost(answer.get("credits"), "credit"), provider_state=state
    )
