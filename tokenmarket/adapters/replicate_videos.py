"""Replicate (https://replicate.com/docs/reference/http; facts as of 2026-11-23): videos.

    POST /models/{owner}/{name}/predictions   {"input"}              official models
    POST /predictions                         {"version", "input"}   everything else
    GET  /predictions/{id}                    -> {"status", "output", "error", "metrics", "urls"}
    POST /predictions/{id}/cancel

Sources: ``video_providers.md`` sections 1 and 11 ([RP] replicate 1.0.7) and recordings.

What a reader must know:

* ``upstream_model`` is ``owner/name``, or ``owner/name:version``, or a version alone.
* Every model has an input of its own: ``kit/hosted_videos.py`` and the catalog row's key
  ``replicate``.
* Output is an address or a list of them, deleted an hour after the end (``data_removed``).
* There is no field for a reference of ours.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import ClassVar
from urllib.parse import quote

import msgspec

from tokenmarket.adapters.kit.hosted_videos import hosted_order
from tokenmarket.adapters.kit.openai_errors import explain, inside_200
from tokenmarket.adapters.kit.shape import sequence, text
from tokenmarket.adapters.kit.video_answers import failed, read
from tokenmarket.adapters.kit.video_orders import GET_HEADERS, JSON_HEADERS
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
    Running,
    Succeeded,
    Unknown,
    VideoAdapter,
)
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.video.request import ResolvedVideo

# Codes that end the words of an error: "… flagged as sensitive. (E005)".
_FAILURES: dict[str, FailureCode] = {
    "e003": "upstream_capacity",
    "e004": "upstream_capacity",
    "e005": "content_policy_violation",
    "e006": "invalid_input_media",
}
_CODE = re.compile(r"\((E\d{3,4})\)")
_VERSION = re.compile(r"(?:.*:)?([0-9a-f]{64})")
_OUTPUT_LIVES_S = 3600
# What most models call things; a last frame and sound have as many names as there are models.
_USUAL = {
    "seconds": "duration",
    "resolution": "resolution",
    "aspect_ratio": "aspect_ratio",
    "seed": "seed",
    "negative_prompt": "negative_prompt",
    "first_frame": "image",
}

_encode = msgspec.json.Encoder().encode


class ReplicateVideos(VideoAdapter):
    """Cold models take minutes to start: the deadline is long."""

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
        model, made, dropped = hosted_order(request, route, "replicate", _USUAL)
        body: dict[str, object] = {"input": made}
        path = f"/models/{quote(model.strip('/'), safe='/')}/predictions"
        if (version := _VERSION.fullmatch(model)) is not None:
            body["version"] = version[1]
            path = "/predictions"
        if callback_url is not None:
            body["webhook"] = callback_url
            body["webhook_events_filter"] = ["completed"]
        return UpstreamRequest(path, JSON_HEADERS, _encode(body), dropped=dropped)

    def accepted(
        self, request: ResolvedVideo, route: Route, head: Head, body: bytes
    ) -> Accepted | Unknown:
        answer = read(body)
        upstream_id = text(answer.get("id"))
        if upstream_id is None:
            if answer.get("detail") or answer.get("error"):
                raise inside_200(answer, {})
            return Unknown("the create was answered without an id")
        seen = _observed(answer)
        # What is done already is read by the next poll, with its files.
        if isinstance(seen, Running | Failed | Ended):
            return Accepted(upstream_id, observation=seen)
        return Accepted(upstream_id)

    def poll(self, handle: Handle, route: Route) -> UpstreamRequest:
        return UpstreamRequest(_path(handle), GET_HEADERS, b"", method="GET")

    def observe(self, handle: Handle, route: Route, head: Head, body: bytes) -> Observation | Fetch:
        return _observed(read(body))

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return explain(head, body, {})

    def cancel(self, handle: Handle, route: Route) -> UpstreamRequest | None:
        return UpstreamRequest(f"{_path(handle)}/cancel", GET_HEADERS, b"", method="POST")

    def cancelled(self, handle: Handle, route: Route, head: Head, body: bytes) -> Observation:
        if head.status >= 300:
            return Unknown(self.explain(head, body).message)
        return _observed(read(body))


VIDEO = ReplicateVideos()


def _path(handle: Handle) -> str:
    return f"/predictions/{quote(handle.upstream_id, safe='')}"


# ----------------------------------------------------------------------------------------- answer


def _observed(answer: dict[str, object]) -> Observation:
    state = (text(answer.get("status")) or "")[:40]
    if state == "starting":
        return Running(queued=True, provider_state=state)
    if state == "processing":
        return Running(provider_state=state)
    if state == "succeeded":
        return _succeeded(answer, state)
    if state == "failed":
        words = text(answer.get("error")) or ""
        code = _CODE.search(words[:4000])
        return failed(words, provider_code=code[1] if code else None, codes=_FAILURES, state=state)
    if state in ("canceled", "aborted"):
        return Ended("cancelled", provider_state=state)
    return Unknown(f"a status that is not in the table: {state!r}", state)


def _succeeded(answer: dict[str, object], state: str) -> Observation:
    output = answer.get("output")
    urls = [
        url
        for url in (text(item) for item in (sequence(output) or [output]))
        if url is not None and url.startswith(("https://", "http://"))
    ]
    if not urls:
        if answer.get("data_removed") is True:
            return Failed(
                "upstream_error", "The provider has deleted the video.", provider_state=state
            )
        return Unknown("a success without a video", state)
    expires_s = _expires_s(answer.get("completed_at"))
    outputs = tuple(
        Output(Produced(url=url), number=number, expires_s=expires_s)
        for number, url in enumerate(urls)
    )
    return Succeeded(outputs, provider_state=state)


def _expires_s(completed: object) -> int | None:
    found = text(completed)
    if found is None:
        return None
    try:
        moment = datetime.fromisoformat(found[:40])
        return int(moment.timestamp()) + _OUTPUT_LIVES_S if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
