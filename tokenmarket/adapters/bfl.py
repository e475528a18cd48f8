"""Black Forest Labs, FLUX (https://docs.bfl.ai; facts as of 2026-11-23): pictures.

``reference/media/images.md`` section 2. ``POST /{model}`` answers a job and the address to ask for
it, which is used as it is: it is of the region that does the job. A picture that is ready is behind
an address that lives some minutes.

Models whose catalog entry has ``ratios`` take ``aspect_ratio``, the others width and height in
steps of 32. Pictures to edit go as base64 in ``input_image``, ``input_image_2`` to
``input_image_8``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import ClassVar
from urllib.parse import quote

import msgspec

from tokenmarket.adapters.kit.openai_errors import inside_200
from tokenmarket.adapters.kit.openai_request import HEADERS
from tokenmarket.adapters.kit.pictures import (
    PictureAdapter,
    Wanted,
    again,
    base64_of,
    delivered,
    failure,
    listed,
    moderated,
    put,
    unknown_state,
)
from tokenmarket.adapters.kit.shape import mapping, text
from tokenmarket.adapters.protocol import Again, Produced, Reply, UpstreamRequest
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import FailureKind, UpstreamError
from tokenmarket.core.requests import Request

_PICTURES_MAX = 8
_STEP, _LEAST, _MOST = 32, 64, 4096
_FORMATS = ("png", "jpeg", "webp")

_encode = msgspec.json.Encoder().encode


class BflImages(PictureAdapter):
    """Generations and edits, one picture a call."""

    codes: ClassVar[Mapping[str, FailureKind]] = {}

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        wanted = Wanted(request, route)
        body: dict[str, object] = {"prompt": wanted.prompt}
        ratios = listed(route, "ratios", ())
        if ratios:
            put(body, aspect_ratio=wanted.ratio(ratios))
        elif (pixels := wanted.pixels(_STEP, _LEAST, _MOST)) is not None:
            body["width"], body["height"] = pixels
        for index, upload in enumerate(wanted.pictures(_PICTURES_MAX), 1):
            body["input_image" if index == 1 else f"input_image_{index}"] = base64_of(upload)
        put(
            body,
            seed=wanted.number("seed"),
            output_format=wanted.word("output_format", _FORMATS),
            prompt_upsampling=wanted.flag("prompt_upsampling"),
            safety_tolerance=wanted.number("safety_tolerance"),
        )
        wanted.forbid("width", "height")  # some models are billed by the pixel
        path = f"/{quote(route.upstream_model, safe='')}"
        return UpstreamRequest(path, HEADERS, _encode(body), dropped=wanted.dropped)

    def answer(self, request: Request, route: Route, document: dict[str, object]) -> Again:
        url = text(document.get("polling_url"))
        if url is None:
            raise inside_200(document, dict(self.codes))
        return again(partial(_asked, route, url), url=url)


def _asked(route: Route, url: str, document: dict[str, object]) -> Reply | Again:
    state = document.get("status")
    if state == "Pending":
        return again(partial(_asked, route, url), url=url)
    if state == "Ready":
        result = mapping(document.get("result"))
        sample = text(result.get("sample"))
        facts = {"seed": result["seed"]} if isinstance(result.get("seed"), int) else {}
        produced = [Produced(url=sample, facts=facts)] if sample is not None else []
        return delivered(route, produced, upstream_id=text(document.get("id")))
    if state in ("Request Moderated", "Content Moderated"):
        raise moderated(f"the upstream says: {state}")
    if state in ("Error", "Failed"):
        details = mapping(document.get("details"))
        raise failure(details.get("error") or details.get("message") or document.get("error"))
    if state == "Task not found":
        raise UpstreamError("upstream_error", "the upstream lost the job")
    raise unknown_state(state)


IMAGES = BflImages()
