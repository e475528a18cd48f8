"""What video adapters have in common about orders: files as addresses or base64, and what is left.

An adapter says which parts of an order it has put into its provider's words; ``leftover`` names the
rest. What would make another video than was asked for (and paid) is refused, the rest is dropped
and told.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import NoReturn

from tokenmarket.core.errors import ApiError
from tokenmarket.core.uploads import Input
from tokenmarket.core.video.request import ResolvedVideo
from tokenmarket.core.wording import say

JSON_HEADERS = (("content-type", "application/json"), ("accept", "application/json"))
GET_HEADERS = (("accept", "application/json"),)

_HINTS = ("fps", "seed", "negative_prompt", "camera", "prompt_enhance", "watermark", "user")
_SHAPE = ("size", "resolution", "aspect_ratio")
_INPUTS = (
    "first_frame",
    "last_frame",
    "reference_image",
    "reference_video",
    "reference_audio",
    "video",
)


def address(item: Input) -> str:
    """The address the caller gave, or the upload as a data URL."""
    if item.upload is None:
        return item.url or ""
    return f"data:{item.upload.content_type};base64,{_base64(item)}"


def bare_address(item: Input) -> str:
    """The address the caller gave, or the upload in base64 without any prefix."""
    return (item.url or "") if item.upload is None else _base64(item)


def only_address(item: Input) -> str:
    """An address, for providers that fetch such a file themselves. Refuses uploads."""
    if item.upload is None:
        return item.url or ""
    raise ApiError(
        "REQUEST_002",
        "This provider fetches such a file itself: give its https address instead of the bytes.",
        param=item.param,
        reason="unsupported_parameter",
    )


def _base64(item: Input) -> str:
    return "" if item.upload is None else base64.b64encode(item.upload.data()).decode("ascii")


def refuse(param: str, message: str, reason: str = "unsupported_parameter") -> NoReturn:
    """The order cannot be expressed at this provider, and leaving the part out would be wrong."""
    raise ApiError("REQUEST_002", message, param=param, reason=reason)


def leftover(request: ResolvedVideo, taken: Iterable[str]) -> tuple[str, ...]:
    """Names of what is asked for and not ``taken``, for ``UpstreamRequest.dropped``.

    Names are those of the order's fields, ``size``, ``n`` and the roles of inputs. Defaults of ours
    are nothing that was asked for. Raises ApiError(REQUEST_002) for what changes price or result.
    """
    known = frozenset(taken)
    for role in _INPUTS:
        item = request.input(role)
        if item is not None and role not in known:
            refuse(item.param, say("A {role} cannot be given at this provider.", role=role))
    if request.source_task_id is not None and "video" not in known:
        refuse("video", "Videos cannot be edited or extended at this provider.")
    if request.n > 1 and "n" not in known:
        refuse("n", "This provider makes one video per order.")
    dropped: list[str] = []
    for name in ("seconds", "mode", "audio"):
        if name in known or getattr(request, name) is None or name in request.defaults:
            continue
        if name == "audio" and request.audio is False:
            dropped.append(name)
        else:
            refuse(name, say("{name} cannot be chosen at this provider.", name=name))
    for name in (*_HINTS, *_SHAPE):
        if name in known or name in request.defaults or getattr(request, name) is None:
            continue
        # A size says the others too: only what the caller wrote is missed.
        if name not in _SHAPE or name in request.given:
            dropped.append(name)
    return tuple(dropped)
