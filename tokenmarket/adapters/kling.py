"""Kling (https://kling.ai/document-api; facts as of 2026-11-23): videos, in two dialects.

    new      POST /{text-to-video|image-to-video|omni-video}/{model}   -> data.id
             GET  /tasks?task_ids=  or  ?external_task_ids=            -> data[]
    legacy   POST /v1/videos/{family}  with ``model_name``             -> data.task_id
             GET  /v1/videos/{family}/{task_id or external_task_id}    -> data

The model's capability ``dialect`` ("new", "legacy") chooses; without it, ids of the form kling-v…
and kling-video-… are legacy. Keys: an API key, or ACCESS:SECRET for legacy models
(``upstream/signers.py``).

What a reader must know:

* Our task id is the ``external_task_id``: unique per account and queryable, so that a create whose
  answer was lost can be found, or be proven absent.
* Success is spelled "succeeded" (new) and "succeed" (legacy); times are in milliseconds.
* 429 is used for an empty account (1101, 1102) as well as for haste (1302, 1303).
* Kling knows a tier (720p, 1080p, 4k; legacy: mode std, pro, 4k) and a shape, never pixels.
* Uploaded pictures go as base64 without the ``data:`` prefix; videos only as addresses.
"""

from __future__ import annotations

import re
from typing import ClassVar
from urllib.parse import quote

from tokenmarket.adapters.kit.kling_codes import CODES
from tokenmarket.adapters.kit.kling_orders import (
    is_legacy,
    legacy_order,
    legacy_path,
    new_order,
)
from tokenmarket.adapters.kit.openai_errors import explain, inside_200
from tokenmarket.adapters.kit.shape import mapping, sequence, text
from tokenmarket.adapters.kit.video_answers import (
    billable_ms,
    cost,
    duration_ms,
    failed,
    read,
)
from tokenmarket.adapters.kit.video_orders import GET_HEADERS
from tokenmarket.adapters.protocol import Head, Produced, UpstreamRequest
from tokenmarket.adapters.video_protocol import (
    Absent,
    Accepted,
    FailureCode,
    Fetch,
    Handle,
    Missing,
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

# Failures of tasks come with words only; a code is met in callbacks of old tasks.
_FAILURES: dict[str, FailureCode] = {
    "1101": "insufficient_upstream_balance",
    "1102": "insufficient_upstream_balance",
    "1300": "content_policy_violation",
    "1301": "content_policy_violation",
    "1303": "upstream_capacity",
    "5001": "upstream_capacity",
    "5002": "upstream_timeout",
}
# A refusal with one of these codes inside a 2xx proves nothing: the task may have been taken.
_UNCERTAIN = frozenset({"5000", "5001", "5002"})
_NO_TASK = re.compile(r"task\b.{0,40}not (?:found|exist)", re.IGNORECASE)


class KlingVideos(VideoAdapter):
    """Both dialects. ``Accepted.ref`` has ``path`` for legacy tasks: they are asked for where they
    were made."""

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
        order = legacy_order(request, route) if is_legacy(route) else new_order(request, route)
        return order.request(task_id, callback_url)

    def accepted(
        self, request: ResolvedVideo, route: Route, head: Head, body: bytes
    ) -> Accepted | Unknown:
        answer = read(body)
        code = _code(answer)
        if code is None or code in _UNCERTAIN:
            return Unknown("the create was answered without a verdict")
        if code != "0":
            raise inside_200(answer, CODES)
        return _accepted(request, route, mapping(answer.get("data")))

    def poll(self, handle: Handle, route: Route) -> UpstreamRequest:
        return _ask(handle, route, handle.upstream_id, "task_ids")

    def observe(self, handle: Handle, route: Route, head: Head, body: bytes) -> Observation | Fetch:
        answer = read(body)
        if _code(answer) != "0":
            return _no_verdict(answer)
        for task in _tasks(answer):
            if handle.upstream_id in (text(task.get("id")), text(task.get("task_id"))):
                return _observed(handle.request, route, task)
        return Missing("not in the answer") if isinstance(answer.get("data"), list) else _garbled()

    def refused(self, handle: Handle, route: Route, head: Head, body: bytes) -> Observation | Fetch:
        if _is_missing(read(body)):  # the old dialect says so with HTTP 400
            return Missing("the task is not known there")
        return super().refused(handle, route, head, body)

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return explain(head, body, CODES)

    def reconcile(self, handle: Handle, route: Route) -> UpstreamRequest | None:
        request = handle.request
        if is_legacy(route) and not request.inputs and request.attributes.get("input") != "text":
            return None  # the files are gone, and with them the knowledge where it was made
        return _ask(handle, route, handle.task_id, "external_task_ids")

    def reconciled(
        self, handle: Handle, route: Route, head: Head, body: bytes
    ) -> Accepted | Absent | Unknown:
        answer = read(body)
        if _is_missing(answer):
            return Absent()
        if head.status >= 300 or _code(answer) != "0":
            return Unknown(f"the search was answered {head.status}")
        for task in _tasks(answer):
            told = _reference(task)
            if told == handle.task_id or (told is None and is_legacy(route)):
                found = _accepted(handle.request, route, task)
                if isinstance(found, Accepted):
                    return found
        return Absent() if answer.get("data") == [] else Unknown("an answer about another task")


VIDEO = KlingVideos()


def _ask(handle: Handle, route: Route, id: str, param: str) -> UpstreamRequest:
    where = quote(id, safe="")
    if is_legacy(route):
        path = handle.ref.get("path") or legacy_path(handle.request, route)
        return UpstreamRequest(f"{path}/{where}", GET_HEADERS, b"", method="GET")
    return UpstreamRequest(f"/tasks?{param}={where}", GET_HEADERS, b"", method="GET")


# ----------------------------------------------------------------------------------------- answer


def _code(answer: dict[str, object]) -> str | None:
    code = answer.get("code")
    return str(code) if type(code) in (int, str) else None


def _tasks(answer: dict[str, object]) -> list[dict[str, object]]:
    data = answer.get("data")
    return [mapping(item) for item in sequence(data)] or [mapping(data)]


def _reference(task: dict[str, object]) -> str | None:
    return (
        text(task.get("external_id"))
        or text(task.get("external_task_id"))
        or text(mapping(task.get("task_info")).get("external_task_id"))
    )


def _is_missing(answer: dict[str, object]) -> bool:
    """1203 is "no such resource"; the old dialect says 1201 "Task not found"."""
    code = _code(answer)
    words = text(answer.get("message")) or ""
    return code in ("1201", "1203") and _NO_TASK.search(words[:500]) is not None


def _no_verdict(answer: dict[str, object]) -> Observation:
    if _is_missing(answer):
        return Missing("the task is not known there")
    if _code(answer) is None:
        return _garbled()
    return Unknown(inside_200(answer, CODES).message)


def _garbled() -> Unknown:
    return Unknown("an answer that is not understood")


def _accepted(request: ResolvedVideo, route: Route, task: dict[str, object]) -> Accepted | Unknown:
    upstream_id = text(task.get("id")) or text(task.get("task_id"))
    if not upstream_id:
        return Unknown("the create was answered without an id")
    ref = {"path": legacy_path(request, route)} if is_legacy(route) else {}
    # The create's answer has no files yet: a success in it is read by the next poll.
    state = _state(task)
    observation = _observed(request, route, task) if state == "failed" else None
    return Accepted(
        upstream_id,
        ref,
        observation or Running(queued=state != "processing", provider_state=state),
    )


def _state(task: dict[str, object]) -> str:
    return (text(task.get("status")) or text(task.get("task_status")) or "")[:40]


def _observed(request: ResolvedVideo, route: Route, task: dict[str, object]) -> Observation:
    state = _state(task)
    if state == "submitted":
        return Running(queued=True, provider_state=state)
    if state == "processing":
        return Running(provider_state=state)
    if state in ("succeeded", "succeed"):
        return _succeeded(request, route, task, state)
    if state == "failed":
        return failed(
            task.get("message") or task.get("task_status_msg"),
            provider_code=task.get("code"),
            codes=_FAILURES,
            state=state,
            charged=_cost(task, route),
        )
    return Unknown(f"a status that is not in the table: {state!r}", state)


def _succeeded(
    request: ResolvedVideo, route: Route, task: dict[str, object], state: str
) -> Observation:
    files = [mapping(item) for item in sequence(task.get("outputs"))]
    files = [item for item in files if item.get("type") == "video"]
    files = files or [mapping(i) for i in sequence(mapping(task.get("task_result")).get("videos"))]
    marked = request.watermark is True
    outputs: list[Output] = []
    billed_ms: int | None = 0
    for item in files:
        clean_url, marked_url = text(item.get("url")), text(item.get("watermark_url"))
        url = (marked_url or clean_url) if marked else clean_url
        if url is None:
            continue
        made_ms = duration_ms(item.get("duration"))
        outputs.append(
            Output(
                Produced(url=url, content_type="video/mp4"),
                number=len(outputs),
                duration_ms=made_ms,
            )
        )
        one_ms = billable_ms(made_ms, request.seconds)
        billed_ms = None if one_ms is None or billed_ms is None else billed_ms + one_ms
    if not outputs:
        return Unknown("a success without a video", state)
    return Succeeded(
        tuple(outputs),
        usage=None if billed_ms is None else Usage(video_ms=billed_ms),
        cost=_cost(task, route),
        provider_state=state,
    )


def _cost(task: dict[str, object], route: Route) -> ProviderCost | None:
    """``billing[]`` (new) where it is one line; ``final_unit_deduction`` or
    ``final_balance_deduction`` (legacy), whose currency is that of the account's region."""
    lines = [mapping(item) for item in sequence(task.get("billing"))]
    if len(lines) == 1:
        line = lines[0]
        if line.get("charge_type") == "unit":
            return cost(line.get("amount"), "unit")
        currency = text(line.get("currency"))
        return cost(line.get("amount"), currency) if currency in ("CNY", "USD") else None
    if lines:
        return None
    if (units := cost(task.get("final_unit_deduction"), "unit")) is not None:
        return units
    quota = mapping(task.get("final_balance_deduction")).get("quota")
    return cost(quota, "CNY" if "beijing" in route.provider.base_url else "USD")
