"""Kling: pictures, in the dialect with ``model_name`` (facts as of 2026-11-23).

``reference/media/images.md`` section 2, ``video_providers.md`` section 2 for codes and states:

    POST /v1/images/generations        -> data.task_id
    GET  /v1/images/generations/{id}   -> data.task_result.images[{index, url}]

A ratio and a tier (1k, 2k, 4k) instead of pixels. A picture to start from goes as base64 without a
``data:`` prefix, and then there is no negative prompt. A call of n pictures takes n slots of the
account. The paths of the newer dialect are not documented where we could read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import ClassVar
from urllib.parse import quote

import msgspec

from tokenmarket.adapters.kit.kling_codes import CODES
from tokenmarket.adapters.kit.openai_errors import inside_200
from tokenmarket.adapters.kit.openai_request import HEADERS
from tokenmarket.adapters.kit.picture_sizes import tier_of
from tokenmarket.adapters.kit.pictures import (
    PictureAdapter,
    Wanted,
    again,
    base64_of,
    delivered,
    failure,
    listed,
    put,
    unknown_state,
)
from tokenmarket.adapters.kit.shape import mapping, sequence, text
from tokenmarket.adapters.protocol import Again, Produced, Reply, UpstreamRequest
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import FailureKind
from tokenmarket.core.requests import Request

RATIOS = ("1:1", "16:9", "4:3", "3:2", "2:3", "3:4", "9:16", "21:9")
_PATH = "/v1/images/generations"
_WAITING = frozenset({"submitted", "processing"})

_encode = msgspec.json.Encoder().encode


class KlingImages(PictureAdapter):
    """Generations, and pictures made after one."""

    codes: ClassVar[Mapping[str, FailureKind]] = CODES
    n_per_call: ClassVar[int] = 9

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        wanted = Wanted(request, route)
        images = wanted.pictures(1)
        tiers = listed(route, "tiers", ())
        tier = tier_of(request, route, tiers or ("1K",))
        body: dict[str, object] = {
            "model_name": route.upstream_model,
            "prompt": wanted.prompt,
            "n": request.n,
        }
        put(
            body,
            aspect_ratio=wanted.ratio(listed(route, "ratios", RATIOS)),
            resolution=tier.lower() if tier is not None and tiers else None,
        )
        if images:
            put(
                body,
                image=base64_of(images[0]),
                image_reference=wanted.word("image_reference", ("subject", "face")),
                image_fidelity=wanted.number("image_fidelity"),
                human_fidelity=wanted.number("human_fidelity"),
            )
        else:
            put(body, negative_prompt=wanted.text("negative_prompt"))
        wanted.forbid("resolution")  # it has a price: only the size chooses it
        return UpstreamRequest(_PATH, HEADERS, _encode(body), dropped=wanted.dropped)

    def answer(self, request: Request, route: Route, document: dict[str, object]) -> Reply | Again:
        _check(document)
        task_id = text(mapping(document.get("data")).get("task_id"))
        if task_id is None:
            raise inside_200(document, CODES)
        return _asked(route, f"{_PATH}/{quote(task_id, safe='')}", document)


def _check(document: dict[str, object]) -> None:
    if document.get("code") not in (0, "0"):
        raise inside_200(document, CODES)


def _asked(route: Route, path: str, document: dict[str, object]) -> Reply | Again:
    _check(document)
    task = mapping(document.get("data"))
    state = text(task.get("task_status"))
    if state in _WAITING:
        return again(partial(_asked, route, path), path=path)
    if state == "succeed":
        images = [
            mapping(item) for item in sequence(mapping(task.get("task_result")).get("images"))
        ]
        urls = [url for image in images if (url := text(image.get("url")))]
        return delivered(route, [Produced(url=url) for url in urls])
    if state == "failed":
        raise failure(task.get("task_status_msg"), task.get("code"), CODES)
    raise unknown_state(state)


IMAGES = KlingImages()
