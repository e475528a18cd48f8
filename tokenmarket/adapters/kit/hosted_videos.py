"""Orders for hosts of other people's models (fal, Replicate): every model has words of its own.

What a model calls things is data, in its catalog row, under the host's name:

    fal = { seconds = "text", fields = { last_frame = "end_image_url" },
            values = { aspect_ratio = { adaptive = "auto" } },
            models = { first_frame = "bytedance/seedance-2.0/image-to-video" } }

``fields``: our name -> the member of the model's input; "" takes away one of the host's usual.
``values``: our value -> theirs, where they differ. ``seconds``: "number", "text" ("5") or
"suffixed" ("5s"). ``models``: which model serves an order with such a file, where it is another.
Our names: seconds, size, resolution, aspect_ratio, mode, audio, fps, seed, negative_prompt,
watermark, prompt_enhance, user, and the roles of files; reference_image is a list of addresses.
"""

from __future__ import annotations

from collections.abc import Mapping

from tokenmarket.adapters.kit.shape import mapping, text
from tokenmarket.adapters.kit.video_orders import address, leftover, only_address, refuse
from tokenmarket.core.catalog import Route
from tokenmarket.core.video.request import FRAME_ROLES, ResolvedVideo

_KNOBS = (
    "seconds",
    "size",
    "resolution",
    "aspect_ratio",
    "mode",
    "audio",
    "fps",
    "seed",
    "negative_prompt",
    "watermark",
    "prompt_enhance",
    "user",
)
_LISTS = ("reference_image", "reference_video", "reference_audio")
_ROLES = (*FRAME_ROLES, *_LISTS, "video")


def hosted_order(
    request: ResolvedVideo, route: Route, host: str, usual: Mapping[str, str]
) -> tuple[str, dict[str, object], tuple[str, ...]]:
    """(the model that serves it, its input, dropped). Raises ApiError(REQUEST_002)."""
    words = mapping(route.model.capabilities.get(host))
    fields = {**usual}
    for name, field in mapping(words.get("fields")).items():
        fields[name] = field if isinstance(field, str) else ""
    made: dict[str, object] = {**request.provider_options, "prompt": request.prompt}
    taken = {name for name, field in fields.items() if field}
    if request.input("video") is None:
        taken.discard("video")  # a task of ours as the source is no file here
    pictured = request.input("first_frame") is not None
    for name in _KNOBS:
        value = getattr(request, name)
        if value is None or name not in taken:
            continue
        if name == "aspect_ratio" and pictured and name in request.defaults:
            continue  # the picture's own shape is better than our guess
        made[fields[name]] = _said(name, value, words)
    for role in _ROLES:
        if role in taken and (files := request.inputs_of(role)):
            urls = [
                address(item) if role in (*FRAME_ROLES, "reference_image") else only_address(item)
                for item in files
            ]
            made[fields[role]] = urls if role in _LISTS else urls[0]
    references = request.inputs_of(*_LISTS)
    if references and request.inputs_of(*FRAME_ROLES):
        refuse(
            references[0].param,
            "This model takes frames, or references, not both.",
            "conflicting_parameters",
        )
    # Size, resolution and shape are three ways to say one thing.
    if taken & {"resolution", "aspect_ratio"}:
        taken.add("size")
    elif "size" in taken and request.size is not None:
        taken |= {"resolution", "aspect_ratio"}
    return _model(request, route, words), made, leftover(request, taken)


def _said(name: str, value: object, words: dict[str, object]) -> object:
    theirs = mapping(mapping(words.get("values")).get(name))
    key = str(value).lower() if isinstance(value, bool) else str(value)
    if key in theirs:
        return theirs[key]
    if name == "seconds":
        form = words.get("seconds")
        return f"{value}s" if form == "suffixed" else str(value) if form == "text" else value
    return value


def _model(request: ResolvedVideo, route: Route, words: dict[str, object]) -> str:
    others = mapping(words.get("models"))
    for role in ("video", *_LISTS, "first_frame"):
        if request.input(role) is not None and (other := text(others.get(role))) is not None:
            return other
    return route.upstream_model
