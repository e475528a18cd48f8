"""Stability AI (https://platform.stability.ai/docs; facts as of 2026-11-23): pictures.

``reference/media/images.md`` section 2. Forms only, also without a file; with ``accept:
application/json`` the picture is base64 in ``image``. ``finish_reason: CONTENT_FILTERED`` comes
with HTTP 200 and a blurred picture, which is not handed out. Ids: core, ultra, sd3.5-… (at the SD3
address). A ratio instead of a size. A picture to start from needs ``strength`` (ultra and SD3).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from tokenmarket.adapters.kit.multipart import form
from tokenmarket.adapters.kit.openai_errors import inside_200
from tokenmarket.adapters.kit.pictures import (
    PictureAdapter,
    Wanted,
    delivered,
    document_of,
    failure,
    listed,
    moderated,
    put,
)
from tokenmarket.adapters.kit.shape import sequence, text
from tokenmarket.adapters.protocol import Head, Produced, Reply, UpstreamRequest
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import ApiError, FailureKind, UpstreamError
from tokenmarket.core.requests import Request

CODES: dict[str, FailureKind] = {
    "unauthorized": "auth",
    "permission_denied": "forbidden",
    "payment_required": "no_balance",
    "content_moderation": "content_policy",
    "rate_limit_exceeded": "rate_limited",
    "internal_error": "upstream_error",
}
RATIOS = ("1:1", "16:9", "21:9", "2:3", "3:2", "4:5", "5:4", "9:16", "9:21")
_FORMATS = ("png", "jpeg", "webp")
_JSON = ("accept", "application/json")

_encode = msgspec.json.Encoder().encode


class StabilityImages(PictureAdapter):
    """Generations, and pictures made after one."""

    codes: ClassVar[Mapping[str, FailureKind]] = CODES

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        wanted = Wanted(request, route)
        model = route.upstream_model
        kind = model if model in ("core", "ultra") else "sd3"
        images = wanted.pictures(0 if kind == "core" else 1)
        fields: dict[str, object] = {"prompt": wanted.prompt}
        if kind == "sd3":
            fields["model"] = model
        put(
            fields,
            negative_prompt=wanted.text("negative_prompt"),
            seed=wanted.number("seed"),
            output_format=wanted.word("output_format", _FORMATS),
        )
        if images:
            fields["strength"] = _strength(wanted)
            if kind == "sd3":
                fields["mode"] = "image-to-image"
        else:
            put(fields, aspect_ratio=wanted.ratio(listed(route, "ratios", RATIOS)))
        headers, body = form(
            request.request_id,
            [(name, str(value)) for name, value in fields.items()],
            [("image", upload) for upload in images],
        )
        path = f"/stable-image/generate/{kind}"
        return UpstreamRequest(path, (*headers, _JSON), body, dropped=wanted.dropped)

    def answer(self, request: Request, route: Route, document: dict[str, object]) -> Reply:
        reason = document.get("finish_reason")
        if reason == "CONTENT_FILTERED":
            raise moderated()
        image = text(document.get("image"))
        if image is None:
            raise inside_200(document, CODES)
        if reason not in ("SUCCESS", None):
            raise failure(f"the picture ended with {str(reason)[:80]}")
        seed = document.get("seed")
        facts: dict[str, object] = {"seed": seed} if type(seed) is int else {}
        return delivered(route, [Produced(b64=image, facts=facts)])

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        """``{"id", "name", "errors": ["…"]}``: the name is the code."""
        try:
            document = document_of(body)
        except UpstreamError:
            return super().explain(head, body)
        errors = [one for item in sequence(document.get("errors")) if (one := text(item))]
        if errors:
            body = _encode({"code": document.get("name"), "message": "; ".join(errors[:5])})
        return super().explain(head, body)


def _strength(wanted: Wanted) -> int | float:
    """How far from the given picture. It has no default there, and none that we could guess."""
    found = wanted.number("strength")
    if found is None or not 0 <= found <= 1:
        raise ApiError(
            "REQUEST_001",
            "This model needs strength with a picture: 0 keeps it, 1 ignores it.",
            param="strength",
            reason="missing_parameter" if found is None else "invalid_parameter",
        )
    return found


IMAGES = StabilityImages()
