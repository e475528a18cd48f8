"""Sizes and pictures in the words of providers that take a ratio, a tier and data URLs.

``request.size`` is legal for the model already (``core/media_rules.py``); what a provider of it
cannot express is REQUEST_002, so that another route may do it.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import NoReturn

from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import ApiError
from tokenmarket.core.media.reader import MediaError
from tokenmarket.core.media.sizes import nearest_ratio, parse_size
from tokenmarket.core.requests import Request
from tokenmarket.core.uploads import Upload
from tokenmarket.core.wording import say

SMALL = 512  # the tier "512": up to this many pixels a side


def ratio_of(request: Request, route: Route, legal: Sequence[str]) -> str | None:
    """The ratio that the size stands for; None where the size was left open or is only a tier."""
    pixels = pixels_of(request)
    if pixels is None:
        return None
    found = nearest_ratio(*pixels, legal)
    if found is None:
        _unsupported(request, route, legal)
    return found


def tier_of(request: Request, route: Route, legal: Sequence[str]) -> str | None:
    """The resolution that the size needs ("1K"); None where it was left open."""
    tier = request.attributes.get("resolution")
    if not request.size or tier is None:
        return None
    pixels = pixels_of(request)
    if pixels is not None and max(pixels) <= SMALL and str(SMALL) in legal:
        return str(SMALL)
    if tier not in legal:
        _unsupported(request, route, legal)
    return tier


def data_url(upload: Upload) -> str:
    """A picture inside JSON. Its type is what its bytes say (``core/media_inputs.py``)."""
    return f"data:{upload.content_type};base64,{base64.b64encode(upload.data()).decode('ascii')}"


def pixels_of(request: Request) -> tuple[int, int] | None:
    """The size; None where it was left open or is only a tier."""
    if not request.size:
        return None
    try:
        return parse_size(request.size)
    except MediaError:
        return None


def _unsupported(request: Request, route: Route, legal: Sequence[str]) -> NoReturn:
    raise ApiError(
        "REQUEST_002",
        say(
            "{provider_name} makes no {size}; it has: {legal}.",
            provider_name=route.provider.name,
            size=request.size,
            legal=", ".join(legal),
        ),
        param="size",
        reason="unsupported_size",
        details={"legal": list(legal)},
    )
