"""Recraft (https://www.recraft.ai/docs; facts as of 2026-11-23): pictures.

``reference/media/images.md`` section 2. ``POST /images/generations`` is nearly OpenAI's. Vector
pictures cost more than those of pixels, and a style chooses them: such styles, and those by id, are
refused. With pictures it is ``/images/imageToImage``, a form that needs ``strength``: not offered.
Asked for as base64.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from tokenmarket.adapters.kit.openai_errors import inside_200
from tokenmarket.adapters.kit.openai_images import produced_of
from tokenmarket.adapters.kit.openai_request import HEADERS
from tokenmarket.adapters.kit.pictures import PictureAdapter, Wanted, delivered, put
from tokenmarket.adapters.kit.shape import count, sequence
from tokenmarket.adapters.protocol import Reply, UpstreamRequest
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import FailureKind
from tokenmarket.core.requests import Request

_FORMATS = ("png", "webp")
_OPENAI_STYLES = ("vivid", "natural")

_encode = msgspec.json.Encoder().encode


class RecraftImages(PictureAdapter):
    """Generations."""

    codes: ClassVar[Mapping[str, FailureKind]] = {}
    n_per_call: ClassVar[int] = 6

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        wanted = Wanted(request, route)
        wanted.pictures(0)
        wanted.forbid("style_id", "controls")
        body: dict[str, object] = {
            "model": route.upstream_model,
            "prompt": wanted.prompt,
            "n": request.n,
            "response_format": "b64_json",
        }
        put(
            body,
            size=request.size or None,
            style=_style(wanted),
            substyle=wanted.text("substyle"),
            negative_prompt=wanted.text("negative_prompt"),
            random_seed=wanted.number("seed"),
            image_format=wanted.word("output_format", _FORMATS),
        )
        return UpstreamRequest(
            "/images/generations", HEADERS, _encode(body), dropped=wanted.dropped
        )

    def answer(self, request: Request, route: Route, document: dict[str, object]) -> Reply:
        items = sequence(document.get("data"))
        if not items:
            raise inside_200(document, dict(self.codes))
        reply = delivered(route, [made for item in items if (made := produced_of(item))])
        if count(document.get("created")) > 0:
            reply.document["created"] = count(document["created"])
        return reply


def _style(wanted: Wanted) -> str | None:
    if wanted.peek("style") in _OPENAI_STYLES:
        return None  # OpenAI's words: left, and so named in ``dropped``
    style = wanted.text("style")
    if style is not None and "vector" in style:
        wanted.refuse("style", "Vector styles are not offered: they have another price.")
    return style


IMAGES = RecraftImages()
