"""Qwen-Image and Wan on DashScope: pictures (facts as of 2026-11-23).

``reference/media/images.md`` section 2. Two protocols beside the compatible mode, both below
``/api/v1``; a model's capability ``protocol`` ("messages", "synthesis") says which, without it the
older ids (wanx, Wan up to 2.5, flux, stable-diffusion) are "synthesis":

    messages    POST .../multimodal-generation/generation    answers the pictures
    synthesis   POST .../text2image/image-synthesis          a task, read at /tasks/{id}

Sizes are written with an asterisk. Older models make one picture a call: ``n_per_call`` says more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import ClassVar
from urllib.parse import quote

import msgspec

from tokenmarket.adapters.kit import dashscope_codes
from tokenmarket.adapters.kit.openai_errors import inside_200
from tokenmarket.adapters.kit.openai_request import HEADERS
from tokenmarket.adapters.kit.picture_sizes import data_url
from tokenmarket.adapters.kit.pictures import (
    PictureAdapter,
    Wanted,
    again,
    delivered,
    failure,
    put,
    unknown_state,
)
from tokenmarket.adapters.kit.shape import mapping, sequence, text
from tokenmarket.adapters.protocol import Again, Produced, Reply, UpstreamRequest
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import FailureKind, UpstreamError
from tokenmarket.core.requests import Request

CODES: dict[str, FailureKind] = {
    **dashscope_codes.CODES,
    "throttling.burstrate": "rate_limited",
    "ipinfringementsuspect": "content_policy",
    "invalidparameter": "bad_request",
}
_MESSAGES = "/api/v1/services/aigc/multimodal-generation/generation"
_SYNTHESIS = "/api/v1/services/aigc/text2image/image-synthesis"
_ASYNC = (*HEADERS, ("x-dashscope-async", "enable"))
_OLD_ID = re.compile(r"wanx|wan2\.[1-5](?!\d)|flux-|stable-diffusion")
_WAITING = frozenset({"PENDING", "SUSPENDED", "RUNNING"})
_PICTURES_MAX = 3

_encode = msgspec.json.Encoder().encode


class DashScopeImages(PictureAdapter):
    """Both protocols of one operation."""

    codes: ClassVar[Mapping[str, FailureKind]] = CODES

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        wanted = Wanted(request, route)
        parameters: dict[str, object] = {"n": request.n}
        put(
            parameters,
            size=request.size.replace("x", "*") or None,
            prompt_extend=wanted.flag("prompt_extend"),
            watermark=wanted.flag("watermark"),
            seed=wanted.number("seed"),
        )
        negative_prompt = wanted.text("negative_prompt")
        if _is_old(route):
            wanted.pictures(0)
            given = put({"prompt": wanted.prompt}, negative_prompt=negative_prompt)
            path, headers = _SYNTHESIS, _ASYNC
        else:
            put(parameters, negative_prompt=negative_prompt)
            content: list[object] = [
                {"image": data_url(upload)} for upload in wanted.pictures(_PICTURES_MAX)
            ]
            content.append({"text": wanted.prompt})
            given = {"messages": [{"role": "user", "content": content}]}
            path, headers = _MESSAGES, HEADERS
        body = {"model": route.upstream_model, "input": given, "parameters": parameters}
        return UpstreamRequest(path, headers, _encode(body), dropped=wanted.dropped, from_root=True)

    def answer(self, request: Request, route: Route, document: dict[str, object]) -> Reply | Again:
        output = mapping(document.get("output"))
        task_id = text(output.get("task_id"))
        if task_id is not None:
            path = f"/api/v1/tasks/{quote(task_id, safe='')}"
            ask = partial(_asked, route, path)
            state = text(output.get("task_status"))
            return again(ask, path=path, from_root=True) if state in _WAITING else ask(document)
        produced = _of_choices(output)
        if not produced:
            raise inside_200(document, CODES)
        return delivered(route, produced)


def _is_old(route: Route) -> bool:
    protocol = route.model.capabilities.get("protocol")
    if protocol in ("messages", "synthesis"):
        return protocol == "synthesis"
    return _OLD_ID.match(route.upstream_model) is not None


def _asked(route: Route, path: str, document: dict[str, object]) -> Reply | Again:
    output = mapping(document.get("output"))
    state = text(output.get("task_status"))
    if state in _WAITING:
        return again(partial(_asked, route, path), path=path, from_root=True)
    if state == "SUCCEEDED":
        produced, refused = _of_results(output)
        return delivered(route, produced or _of_choices(output), refused=refused)
    if state in ("FAILED", "CANCELED"):
        raise failure(output.get("message"), output.get("code"), CODES)
    if state == "UNKNOWN":
        raise UpstreamError("upstream_error", "the upstream lost the job")
    if state is None:
        raise inside_200(document, CODES)
    raise unknown_state(state)


def _of_choices(output: dict[str, object]) -> list[Produced]:
    found: list[Produced] = []
    for choice in sequence(output.get("choices")):
        message = mapping(mapping(choice).get("message"))
        for part in sequence(message.get("content")):
            url = text(mapping(part).get("image"))
            if url is not None:
                found.append(Produced(url=_secure(url)))
    return found


def _secure(url: str) -> str:
    """Some answers name their storage with http; it has https too, under the same signature."""
    return "https" + url[4:] if url.startswith("http://") else url


def _of_results(output: dict[str, object]) -> tuple[list[Produced], list[UpstreamError]]:
    """A task may have made some of its pictures only."""
    found: list[Produced] = []
    refused: list[UpstreamError] = []
    for item in sequence(output.get("results")):
        fields = mapping(item)
        url = text(fields.get("url"))
        if url is not None:
            revised = text(fields.get("actual_prompt"))
            facts: dict[str, object] = {"revised_prompt": revised} if revised else {}
            found.append(Produced(url=_secure(url), facts=facts))
        else:
            refused.append(failure(fields.get("message"), fields.get("code"), CODES))
    return found, refused


IMAGES = DashScopeImages()
