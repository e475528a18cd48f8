"""Ideogram (https://developer.ideogram.ai; facts as of 2026-11-23): pictures of version 3.

``reference/media/images.md`` section 2. ``POST /v1/ideogram-v3/generate`` as a form, with pictures
``/remix``. Sizes are one of a list of resolutions (a model's ``sizes``), else a ratio: 16x9.
Quality is a speed, and has the price: ``rendering_speed`` itself is refused. A picture that is not
safe has no address (``is_image_safe: false``). Its masks mean the opposite of OpenAI's: refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import quote

from tokenmarket.adapters.kit.multipart import form
from tokenmarket.adapters.kit.openai_errors import inside_200
from tokenmarket.adapters.kit.pictures import (
    PictureAdapter,
    Wanted,
    delivered,
    listed,
    moderated,
    put,
)
from tokenmarket.adapters.kit.shape import mapping, sequence, text
from tokenmarket.adapters.protocol import Produced, Reply, UpstreamRequest
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import FailureKind, UpstreamError
from tokenmarket.core.requests import Request
from tokenmarket.core.wording import say

RATIOS = (
    *("1x1", "1x2", "2x1", "1x3", "3x1", "2x3", "3x2", "3x4", "4x3", "4x5", "5x4"),
    *("9x16", "16x9", "10x16", "16x10"),
)
SPEEDS = {"low": "TURBO", "medium": "DEFAULT", "high": "QUALITY"}
_SWITCH = ("AUTO", "ON", "OFF")
_STYLES = ("AUTO", "GENERAL", "REALISTIC", "DESIGN", "FICTION")
_JSON = ("accept", "application/json")


class IdeogramImages(PictureAdapter):
    """Generations, and remixes of one picture."""

    codes: ClassVar[Mapping[str, FailureKind]] = {}
    n_per_call: ClassVar[int] = 8

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        wanted = Wanted(request, route)
        images = wanted.pictures(1)
        fields: dict[str, object] = {"prompt": wanted.prompt, "num_images": request.n}
        if request.size and request.size in listed(route, "sizes", ()):
            fields["resolution"] = request.size
        else:
            ratios = [one.replace(":", "x") for one in listed(route, "ratios", RATIOS)]
            put(fields, aspect_ratio=wanted.ratio(ratios, "x"))
        quality = wanted.quality()
        if quality and quality not in SPEEDS:
            wanted.refuse(
                "quality", say("quality must be one of: {speeds}.", speeds=", ".join(SPEEDS))
            )
        put(
            fields,
            rendering_speed=SPEEDS.get(quality),
            magic_prompt=wanted.word("magic_prompt", _SWITCH),
            negative_prompt=wanted.text("negative_prompt"),
            seed=wanted.number("seed"),
            style_type=wanted.word("style_type", _STYLES),
        )
        if images:
            put(fields, image_weight=wanted.number("image_weight"))
        wanted.forbid("rendering_speed", "num_images", "resolution")
        headers, body = form(
            request.request_id,
            [(name, str(value)) for name, value in fields.items()],
            [("image", upload) for upload in images],
        )
        path = f"/v1/{quote(route.upstream_model, safe='')}/{'remix' if images else 'generate'}"
        return UpstreamRequest(path, (*headers, _JSON), body, dropped=wanted.dropped)

    def answer(self, request: Request, route: Route, document: dict[str, object]) -> Reply:
        produced: list[Produced] = []
        refused: list[UpstreamError] = []
        items = [mapping(item) for item in sequence(document.get("data"))]
        if not items:
            raise inside_200(document, dict(self.codes))
        for item in items:
            url = text(item.get("url"))
            if item.get("is_image_safe") is False:
                refused.append(moderated())
            elif url is not None:
                produced.append(Produced(url=url, facts=_facts(item)))
        return delivered(route, produced, refused=refused)


def _facts(item: dict[str, object]) -> dict[str, object]:
    revised, size, seed = text(item.get("prompt")), text(item.get("resolution")), item.get("seed")
    whole = seed if type(seed) is int else None
    return put({}, revised_prompt=revised, size=size, seed=whole)


IMAGES = IdeogramImages()
