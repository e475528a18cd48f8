"""fal (https://docs.fal.ai; facts as of 2026-11-23): pictures.

``reference/media/images.md`` section 2, ``video_providers.md`` section 11. The provider's base URL
is https://queue.fal.run (a job, asked about at the addresses that it gives) or https://fal.run (the
answer at once); the model's id is the path. COMPLETED may carry an error. What the safety checker
found (``has_nsfw_concepts``) comes as a black picture, which is not handed out.

A model with ``ratios`` takes ``aspect_ratio`` (and ``resolution``, if it has ``tiers``), another
one ``image_size``. Pictures go in the field that the capability ``image_field`` names ("image_url",
"image_urls", which is the usual one), to the model that ``edit_model`` names, if it does.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import ClassVar
from urllib.parse import quote

import msgspec

from tokenmarket.adapters.kit.openai_errors import inside_200
from tokenmarket.adapters.kit.openai_request import HEADERS
from tokenmarket.adapters.kit.picture_sizes import data_url, tier_of
from tokenmarket.adapters.kit.pictures import (
    PictureAdapter,
    Wanted,
    again,
    delivered,
    failure,
    listed,
    moderated,
    put,
    unknown_state,
)
from tokenmarket.adapters.kit.shape import mapping, sequence, text
from tokenmarket.adapters.protocol import Again, Produced, Reply, UpstreamRequest
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import FailureKind, UpstreamError
from tokenmarket.core.requests import Request

_PICTURES_MAX = 14
_STEP, _LEAST, _MOST = 8, 64, 14_142
_FORMATS = ("png", "jpeg", "webp")
_WAITING = frozenset({"IN_QUEUE", "IN_PROGRESS"})
_TIERS = {"512": "0.5K"}

_encode = msgspec.json.Encoder().encode


class FalImages(PictureAdapter):
    """Generations and edits."""

    codes: ClassVar[Mapping[str, FailureKind]] = {"content_policy_violation": "content_policy"}

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        wanted = Wanted(request, route)
        capabilities = route.model.capabilities
        body: dict[str, object] = {"prompt": wanted.prompt, "num_images": request.n}
        _put_size(wanted, body)
        images = [data_url(upload) for upload in wanted.pictures(_PICTURES_MAX)]
        if images:
            field = text(capabilities.get("image_field")) or "image_urls"
            if field != "image_urls" and len(images) > 1:
                wanted.refuse("image", "This model takes one picture.")
            body[field] = images if field == "image_urls" else images[0]
        put(
            body,
            seed=wanted.number("seed"),
            output_format=wanted.word("output_format", _FORMATS),
            negative_prompt=wanted.text("negative_prompt"),
            guidance_scale=wanted.number("guidance_scale"),
        )
        wanted.forbid("num_images", "image_size", "resolution")
        edit_model = text(capabilities.get("edit_model")) if images else None
        path = f"/{quote(edit_model or route.upstream_model, safe='/')}"
        return UpstreamRequest(path, HEADERS, _encode(body), dropped=wanted.dropped)

    def answer(self, request: Request, route: Route, document: dict[str, object]) -> Reply | Again:
        status_url = text(document.get("status_url"))
        response_url = text(document.get("response_url"))
        if status_url is None or response_url is None:
            return _finished(route, document)
        return again(partial(_asked, route, status_url, response_url), url=status_url)


def _put_size(wanted: Wanted, body: dict[str, object]) -> None:
    request, route = wanted.request, wanted.route
    ratios, tiers = listed(route, "ratios", ()), listed(route, "tiers", ())
    if not ratios:
        pixels = wanted.pixels(_STEP, _LEAST, _MOST)
        if pixels is not None:
            body["image_size"] = {"width": pixels[0], "height": pixels[1]}
        return
    put(body, aspect_ratio=wanted.ratio(ratios))
    tier = tier_of(request, route, tiers or ("1K",))
    if tier is not None and tiers:
        body["resolution"] = _TIERS.get(tier, tier)


def _asked(
    route: Route, status_url: str, response_url: str, document: dict[str, object]
) -> Reply | Again:
    state = text(document.get("status"))
    if state in _WAITING:
        return again(partial(_asked, route, status_url, response_url), url=status_url)
    if state != "COMPLETED":
        raise unknown_state(state)
    if document.get("error"):
        raise failure(document.get("error"), document.get("error_type"), FalImages.codes)
    return again(partial(_finished, route), url=response_url, delay_s=0.0)


def _finished(route: Route, document: dict[str, object]) -> Reply:
    found = sequence(document.get("images")) or [document.get("image")]
    items = [mapping(item) for item in found]
    unsafe = sequence(document.get("has_nsfw_concepts"))
    produced: list[Produced] = []
    refused: list[UpstreamError] = []
    for index, item in enumerate(items):
        url = text(item.get("url"))
        if index < len(unsafe) and unsafe[index] is True:
            refused.append(moderated())
        elif url is not None and url.startswith("data:"):
            produced.append(Produced(b64=url.partition(",")[2]))
        elif url is not None:
            produced.append(Produced(url=url, content_type=text(item.get("content_type"))))
    if not produced and not refused:
        raise inside_200(document, dict(FalImages.codes))
    seed = document.get("seed")
    if type(seed) is int and len(produced) == 1:
        produced = [msgspec.structs.replace(produced[0], facts={"seed": seed})]
    return delivered(route, produced, refused=refused)


IMAGES = FalImages()
