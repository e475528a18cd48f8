"""Orders, routes and answers for the tests of video adapters."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from tokenmarket.adapters.protocol import Head, UpstreamRequest
from tokenmarket.adapters.video_protocol import (
    Absent,
    Accepted,
    Ended,
    Failed,
    Fetch,
    Handle,
    Missing,
    Running,
    Succeeded,
    Unknown,
    VideoAdapter,
)
from tokenmarket.core.catalog import Model, Provider, Route
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.pricing import price_row, price_sheet
from tokenmarket.core.uploads import Input, joined, memory_upload
from tokenmarket.core.video.request import ResolvedVideo

OK = Head(200, {})
TASK = "video_01JTESTTASK"
NOW_S = 1_795_400_000


def order(**changes: Any) -> ResolvedVideo:
    base: dict[str, Any] = {"model": "ours", "prompt": "a lake", "attributes": {"input": "text"}}
    return ResolvedVideo(**(base | changes))


def picture(role: str, param: str = "image") -> Input:
    upload = memory_upload(b"PNG", field=param, filename="a.png", content_type="image/png")
    return Input(role, param, upload=upload)


def clip(role: str, param: str = "video") -> Input:
    upload = memory_upload(b"MP4", field=param, filename="a.mp4", content_type="video/mp4")
    return Input(role, param, upload=upload)


def linked(role: str, name: str, param: str = "image") -> Input:
    return Input(role, param, url=f"https://x.example/{name}")


def route(
    adapter: str, upstream_model: str, base_url: str = "https://far.example", **capabilities: Any
) -> Route:
    return Route(
        model=Model("ours", "video", "Ours", "我们", "us", capabilities=capabilities),
        provider=Provider("far", adapter, base_url),
        upstream_model=upstream_model,
        prices=price_sheet([price_row("video_second", "0.01")]),
    )


def handle(request: ResolvedVideo | None = None, **changes: Any) -> Handle:
    base: dict[str, Any] = {
        "task_id": TASK,
        "request": request or order(),
        "submitted_s": NOW_S,
        "upstream_id": "up-1",
    }
    return Handle(**(base | changes))


def create(
    adapter: VideoAdapter, request: ResolvedVideo, where: Route, callback_url: str | None = None
) -> UpstreamRequest:
    built = adapter.build(request, where, task_id=TASK, now_s=NOW_S, callback_url=callback_url)
    assert isinstance(built, UpstreamRequest)
    assert built.method == "POST"
    return built


def sent(request: UpstreamRequest) -> Any:
    return json.loads(joined(request.body))


def answer(document: Any) -> bytes:
    return json.dumps(document).encode()


# JSON that has the words of real answers in wrong places, and anything else.
_WORDS = st.sampled_from(
    (
        *("id", "task_id", "status", "task_status", "data", "code", "message", "error", "output"),
        *("outputs", "videos", "url", "video_url", "content", "usage", "task", "done", "response"),
        *("name", "duration", "billing", "items", "task_result", "type", "video", "succeeded"),
        *("succeed", "failed", "SUCCEEDED", "FAILED", "completed", "Success", "Fail", "UNKNOWN"),
        *("base_resp", "status_code", "file_id", "file", "download_url", "generatedSamples"),
        *("up-1", TASK, "steps", "output_video", "mime_type", "uri", "cancelled", "expired"),
    )
)
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | _WORDS | st.text(max_size=8)
_JSON = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=5),
    max_leaves=25,
)
BODIES = st.binary(max_size=40) | _JSON.map(lambda value: json.dumps(value).encode())
STATUSES = st.sampled_from((200, 201, 202, 400, 401, 404, 429, 500, 503))


def survives(adapter: VideoAdapter, where: Route, status: int, body: bytes) -> None:
    """Whatever comes back is an answer of the protocol, or (on the create) UpstreamError."""
    head, asked = Head(status, {}), handle()
    assert isinstance(adapter.explain(head, body), UpstreamError)
    if status < 300:
        try:
            found = adapter.accepted(asked.request, where, head, body)
        except UpstreamError:
            found = None
        assert found is None or isinstance(found, Accepted | Unknown)
        seen = adapter.observe(asked, where, head, body)
    else:
        seen = adapter.refused(asked, where, head, body)
    kinds = Running | Succeeded | Failed | Ended | Missing | Unknown
    assert isinstance(seen, kinds | Fetch)
    if isinstance(seen, Fetch):
        assert isinstance(seen.read(head, body), kinds | Fetch)
    if isinstance(seen, Succeeded):
        assert seen.outputs
    assert isinstance(adapter.cancelled(asked, where, head, body), kinds)
    assert isinstance(adapter.reconciled(asked, where, head, body), Accepted | Absent | Unknown)
