"""Veo on Vertex AI: videos (facts as of 2026-11-23; ``kit/google_veo.py`` has the wire).

The base URL ends in ``/v1/projects/PROJECT/locations/LOCATION/publishers/google``. Operations are
asked for with a POST that names them. Nothing of ours is in an operation, so a create whose answer
was lost cannot be found again; there is no cancel.
"""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import quote

import msgspec

from tokenmarket.adapters.kit import google_errors, google_veo
from tokenmarket.adapters.kit.video_answers import read
from tokenmarket.adapters.kit.video_orders import JSON_HEADERS
from tokenmarket.adapters.protocol import Head, InputMode, UpstreamRequest
from tokenmarket.adapters.video_protocol import (
    Accepted,
    Fetch,
    Handle,
    Observation,
    Running,
    Unknown,
    VideoAdapter,
)
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.video.request import ResolvedVideo

_encode = msgspec.json.Encoder().encode


class VertexVideos(VideoAdapter):
    """``:predictLongRunning`` and ``:fetchPredictOperation``."""

    inputs: ClassVar[InputMode] = "bytes"
    poll_every_s: ClassVar[float] = 10.0

    def build(
        self,
        request: ResolvedVideo,
        route: Route,
        *,
        task_id: str,
        now_s: int,
        callback_url: str | None,
    ) -> UpstreamRequest:
        return google_veo.create(request, route)

    def accepted(
        self, request: ResolvedVideo, route: Route, head: Head, body: bytes
    ) -> Accepted | Unknown:
        name = google_veo.operation_name(read(body))
        if name is None:
            return Unknown("the create was answered without an operation")
        return Accepted(name, observation=Running())

    def poll(self, handle: Handle, route: Route) -> UpstreamRequest:
        path = f"/models/{quote(route.upstream_model, safe='')}:fetchPredictOperation"
        body = _encode({"operationName": handle.upstream_id})
        return UpstreamRequest(path, JSON_HEADERS, body)

    def observe(self, handle: Handle, route: Route, head: Head, body: bytes) -> Observation | Fetch:
        return google_veo.observed(read(body), route)

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return google_errors.explain(head, body)


VIDEO = VertexVideos()
