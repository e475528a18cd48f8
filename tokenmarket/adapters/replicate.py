"""Replicate (https://replicate.com/docs; facts as of 2026-11-23): pictures.

``reference/media/images.md`` section 2, ``video_providers.md`` section 11. ``POST
/models/{owner}/{name}/predictions``, or ``/predictions`` for an id with a version
("owner/name:version"). ``Prefer: wait`` answers with the outcome if it takes less than a minute;
an answer that is still "processing", also one with output, is asked about at ``urls.get``. Members
of ``input`` differ by model and unknown ones are refused there, so that the model's entry says:

    ratios       aspect_ratio; without it width and height
    n_per_call   above 1: num_outputs
    image_field  where a picture goes ("image", "input_image"); "image_input" takes a list
    inputs       further members the model takes, of: seed, negative_prompt, guidance_scale,
                 output_format

Files live an hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import ClassVar
from urllib.parse import quote

import msgspec

from tokenmarket.adapters.kit.openai_errors import inside_200
from tokenmarket.adapters.kit.openai_request import HEADERS
from tokenmarket.adapters.kit.picture_sizes import data_url
from tokenmarket.adapters.kit.pictures import (
    PictureAdapter,
    Wanted,
    again,
    delivered,
    failure,
    listed,
    put,
    unknown_state,
)
from tokenmarket.adapters.kit.shape import mapping, sequence, text
from tokenmarket.adapters.protocol import Again, Produced, Reply, UpstreamRequest
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import FailureKind, UpstreamError
from tokenmarket.core.media_rules import number
from tokenmarket.core.requests import Request

_HEADERS = (*HEADERS, ("prefer", "wait"))
_WAITING = frozenset({"starting", "processing"})
_FORMATS = {"png": "png", "jpeg": "jpg", "webp": "webp"}
_STEP, _LEAST, _MOST = 8, 64, 4096
_LISTS = frozenset({"image_input", "input_images"})
_PICTURES_MAX = 14

_encode = msgspec.json.Encoder().encode


class ReplicateImages(PictureAdapter):
    """Generations and edits."""

    codes: ClassVar[Mapping[str, FailureKind]] = {}

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        wanted = Wanted(request, route)
        given: dict[str, object] = {"prompt": wanted.prompt}
        if (number(route.model.capabilities.get("n_per_call")) or 1) > 1:
            given["num_outputs"] = request.n
        ratios = listed(route, "ratios", ())
        if ratios:
            put(given, aspect_ratio=wanted.ratio(ratios))
        elif (pixels := wanted.pixels(_STEP, _LEAST, _MOST)) is not None:
            given["width"], given["height"] = pixels
        _put_pictures(wanted, given)
        takes = listed(route, "inputs", ("seed",))
        for name in ("seed", "guidance_scale"):
            if name in takes:
                put(given, **{name: wanted.number(name)})
        if "negative_prompt" in takes:
            put(given, negative_prompt=wanted.text("negative_prompt"))
        if "output_format" in takes:
            put(given, output_format=wanted.word("output_format", _FORMATS))
        body: dict[str, object] = {"input": given}
        name, _, version = route.upstream_model.partition(":")
        path = f"/models/{quote(name, safe='/')}/predictions"
        if version:
            path, body["version"] = "/predictions", version
        return UpstreamRequest(path, _HEADERS, _encode(body), dropped=wanted.dropped)

    def answer(self, request: Request, route: Route, document: dict[str, object]) -> Reply | Again:
        return _asked(route, document)


def _put_pictures(wanted: Wanted, given: dict[str, object]) -> None:
    field = text(wanted.route.model.capabilities.get("image_field")) or "image"
    uploads = wanted.pictures(_PICTURES_MAX if field in _LISTS else 1)
    images = [data_url(upload) for upload in uploads]
    if images:
        given[field] = images if field in _LISTS else images[0]


def _asked(route: Route, document: dict[str, object]) -> Reply | Again:
    state = text(document.get("status"))
    if state in _WAITING:
        url = text(mapping(document.get("urls")).get("get"))
        if url is None:
            raise UpstreamError("upstream_error", "the upstream's job has no address")
        return again(partial(_asked, route), url=url)
    if state == "succeeded":
        output = document.get("output")
        found = sequence(output) or [output]
        urls = [url for item in found if (url := text(item))]
        upstream_id = text(document.get("id"))
        return delivered(route, [_produced(url) for url in urls], upstream_id=upstream_id)
    if state in ("failed", "canceled", "aborted"):
        raise failure(document.get("error") or f"the job was {state}")
    if state is None:
        raise inside_200(document, {})
    raise unknown_state(state)


def _produced(url: str) -> Produced:
    if url.startswith("data:"):
        return Produced(b64=url.partition(",")[2])
    return Produced(url=url)


IMAGES = ReplicateImages()
