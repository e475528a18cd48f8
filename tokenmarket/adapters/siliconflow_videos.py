"""Videos at SiliconFlow (https://docs.siliconflow.cn; facts as of 2026-11-23).

    POST /video/submit   {"model", "prompt", "image_size", "image", …}   -> {"requestId"}
    POST /video/status   {"requestId"}   -> {"status", "reason", "results": {"videos": [{"url"}]}}

Field names: ``video_contract.md`` section 1 ([SF], public clients). The length cannot be asked for.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from tokenmarket.adapters.kit.openai_errors import explain, inside_200
from tokenmarket.adapters.kit.shape import mapping, sequence, text
from tokenmarket.adapters.kit.video_answers import failed, read
from tokenmarket.adapters.kit.video_orders import JSON_HEADERS, address, leftover
from tokenmarket.adapters.protocol import Head, Produced, UpstreamRequest
from tokenmarket.adapters.video_protocol import (
    Accepted,
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

CODES: dict[str, FailureKind] = {"20012": "not_found", "50505": "overloaded"}

_encode = msgspec.json.Encoder().encode


class SiliconFlowVideos(VideoAdapter):
    """Addresses of files live an hour."""

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
        }
        taken = {"seed", "negative_prompt", "size", "first_frame"}
        for name, member in (
            ("size", "image_size"),
            ("seed", "seed"),
            ("negative_prompt", "negative_prompt"),
        ):
            if (value := getattr(request, name)) is not None:
                body[member] = value
        if request.size is not None:
            taken |= {"resolution", "aspect_ratio"}
        if (frame := request.input("first_frame")) is not None:
            body["image"] = address(frame)
        dropped = leftover(request, taken)
        return UpstreamRequest("/video/submit", JSON_HEADERS, _encode(body), dropped=dropped)

    def accepted(
        self, request: ResolvedVideo, route: Route, head: Head, body: bytes
    ) -> Accepted | Unknown:
        answer = read(body)
        upstream_id = text(answer.get("requestId"))
        if upstream_id is not None:
            return Accepted(upstream_id)
        if answer.get("code") or answer.get("message"):
            raise inside_200(answer, CODES)
        return Unknown("the create was answered without an id")

    def poll(self, handle: Handle, route: Route) -> UpstreamRequest:
        body = _encode({"requestId": handle.upstream_id})
        return UpstreamRequest("/video/status", JSON_HEADERS, body)

    def observe(self, handle: Handle, route: Route, head: Head, body: bytes) -> Observation | Fetch:
        return _observed(read(body))

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return explain(head, body, CODES)


VIDEO = SiliconFlowVideos()


def _observed(answer: dict[str, object]) -> Observation:
    state = (text(answer.get("status")) or "")[:40]
    if state == "InQueue":
        return Running(queued=True, provider_state=state)
    if state == "InProgress":
        return Running(provider_state=state)
    if state == "Succeed":
        results = mapping(answer.get("results"))
        urls = [text(mapping(item).get("url")) for item in sequence(results.get("videos"))]
        outputs = tuple(
            Output(Produced(url=url), number=number)
            for number, url in enumerate(url for url in urls if url is not None)
        )
        if not outputs:
            return Unknown("a success without a video", state)
        seed = results.get("seed")
        facts: dict[str, object] = {"seed": seed} if type(seed) is int else {}
        return Succeeded(outputs, facts=facts, provider_state=state)
    if state == "Failed":
        return failed(answer.get("reason"), codes={}, state=state)
    return Unknown(f"a status that is not in the table: {state!r}", state)
