"""Seedream on Volcengine Ark and BytePlus ModelArk: pictures (facts as of 2026-11-23).

``reference/media/images.md`` section 2. ``POST /images/generations`` is nearly OpenAI's, without
``n``: each picture is a call of its own. A series of pictures (``sequential_image_generation``) is
as long as the model likes and so has no price that could be held: refused. An item of ``data`` may
be an error, with HTTP 200. Billed by the picture, successes only; asked for as base64, because its
addresses live a day.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from tokenmarket.adapters.kit.openai_errors import inside_200
from tokenmarket.adapters.kit.openai_images import produced_of
from tokenmarket.adapters.kit.openai_request import HEADERS
from tokenmarket.adapters.kit.picture_sizes import data_url
from tokenmarket.adapters.kit.pictures import PictureAdapter, Wanted, delivered, failure, put
from tokenmarket.adapters.kit.shape import count, mapping, sequence, text
from tokenmarket.adapters.protocol import Produced, Reply, UpstreamRequest
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import FailureKind, UpstreamError
from tokenmarket.core.requests import Request

CODES: dict[str, FailureKind] = {
    "authenticationerror": "auth",
    "accountoverdueerror": "no_balance",
    "accessdenied": "forbidden",
    "operationdenied": "forbidden",
    "invalidendpointormodel": "not_found",
    "modelnotopen": "not_found",
    "sensitivecontentdetected": "content_policy",
    "inputtextsensitivecontentdetected": "content_policy",
    "inputimagesensitivecontentdetected": "content_policy",
    "outputimagesensitivecontentdetected": "content_policy",
    "inputtextriskdetection": "content_policy",
    "inputimageriskdetection": "content_policy",
    "outputimageriskdetection": "content_policy",
    "ratelimitexceeded": "rate_limited",
    "accountratelimitexceeded": "rate_limited",
    "modelaccountrpmratelimitexceeded": "rate_limited",
    "quotaexceeded": "quota_exhausted",
    "setlimitexceeded": "quota_exhausted",
    "serveroverloaded": "overloaded",
    "internalserviceerror": "upstream_error",
}
_PICTURES_MAX = 14
_FORMATS = ("png", "jpeg")

_encode = msgspec.json.Encoder().encode


class ArkImages(PictureAdapter):
    """Generations, and edits at the same address."""

    codes: ClassVar[Mapping[str, FailureKind]] = CODES

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        wanted = Wanted(request, route)
        if wanted.word("sequential_image_generation", ("disabled",)) is None:
            wanted.forbid("sequential_image_generation", "sequential_image_generation_options")
        images = [data_url(upload) for upload in wanted.pictures(_PICTURES_MAX)]
        body: dict[str, object] = {
            "model": route.upstream_model,
            "prompt": wanted.prompt,
            "response_format": "b64_json",
        }
        put(
            body,
            size=request.size or None,
            image=images[0] if len(images) == 1 else images or None,
            seed=wanted.number("seed"),
            guidance_scale=wanted.number("guidance_scale"),
            watermark=wanted.flag("watermark"),
            output_format=wanted.word("output_format", _FORMATS),
        )
        return UpstreamRequest(
            "/images/generations", HEADERS, _encode(body), dropped=wanted.dropped
        )

    def answer(self, request: Request, route: Route, document: dict[str, object]) -> Reply:
        produced: list[Produced] = []
        refused: list[UpstreamError] = []
        for item in sequence(document.get("data")):
            error = mapping(mapping(item).get("error"))
            made = produced_of(item)
            if error:
                refused.append(failure(error.get("message"), error.get("code"), CODES))
            elif made is not None:
                produced.append(made)
        if not produced and not refused:
            raise inside_200(document, CODES)
        reply = delivered(route, produced, refused=refused)
        if count(document.get("created")) > 0:
            reply.document["created"] = count(document["created"])
        size = text(mapping(sequence(document.get("data"))[0]).get("size"))
        if size is not None and len(produced) == 1:
            reply.document["size"] = size
        return reply


IMAGES = ArkImages()
