"""MiniMax: pictures (``POST /image_generation``; facts as of 2026-11-23).

``reference/media/images.md`` section 2. An error comes with HTTP 200 and ``base_resp.status_code``
other than 0. Sizes are sides of 512 to 2048 pixels in steps of 8. Its reference pictures keep a
person's face, which is no edit: not offered. Asked for as base64.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from tokenmarket.adapters.kit.openai_errors import inside_200
from tokenmarket.adapters.kit.openai_request import HEADERS
from tokenmarket.adapters.kit.pictures import PictureAdapter, Wanted, delivered, put
from tokenmarket.adapters.kit.shape import mapping, sequence, text
from tokenmarket.adapters.protocol import Produced, Reply, UpstreamRequest
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import FailureKind
from tokenmarket.core.requests import Request

CODES: dict[str, FailureKind] = {
    "1000": "upstream_error",
    "1001": "timeout",
    "1002": "rate_limited",
    "1004": "auth",
    "1008": "no_balance",
    "1013": "upstream_error",
    "1026": "content_policy",
    "1027": "content_policy",
    "1039": "rate_limited",
    "2013": "bad_request",
    "2049": "auth",
}
RATIOS = ("1:1", "16:9", "4:3", "3:2", "2:3", "3:4", "9:16", "21:9")

_encode = msgspec.json.Encoder().encode


class MiniMaxImages(PictureAdapter):
    """Generations."""

    codes: ClassVar[Mapping[str, FailureKind]] = CODES
    n_per_call: ClassVar[int] = 9

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        wanted = Wanted(request, route)
        wanted.pictures(0)
        body: dict[str, object] = {
            "model": route.upstream_model,
            "prompt": wanted.prompt,
            "n": request.n,
            "response_format": "base64",
        }
        pixels = wanted.pixels(8, 512, 2048)
        if pixels is not None:
            body["width"], body["height"] = pixels
        else:
            put(body, aspect_ratio=wanted.ratio(RATIOS))
        put(
            body,
            seed=wanted.number("seed"),
            prompt_optimizer=wanted.flag("prompt_optimizer"),
            aigc_watermark=wanted.flag("aigc_watermark"),
        )
        return UpstreamRequest("/image_generation", HEADERS, _encode(body), dropped=wanted.dropped)

    def answer(self, request: Request, route: Route, document: dict[str, object]) -> Reply:
        if mapping(document.get("base_resp")).get("status_code") not in (None, 0):
            raise inside_200(document, CODES)
        data = mapping(document.get("data"))
        inline = [found for item in sequence(data.get("image_base64")) if (found := text(item))]
        urls = [found for item in sequence(data.get("image_urls")) if (found := text(item))]
        produced = [Produced(b64=one) for one in inline] or [Produced(url=one) for one in urls]
        if not data:
            raise inside_200(document, CODES)
        return delivered(route, produced, upstream_id=text(document.get("id")))


IMAGES = MiniMaxImages()
