"""Size, resolution and shape of a video: three ways to say one thing, brought together.

A size that the caller gave decides; else one of the model's sizes is chosen that has the asked
resolution and shape. All that can be known is filled in, so that an adapter takes what its provider
wants; what contradicts is refused before anything is paid.
"""

from __future__ import annotations

from typing import NoReturn

import msgspec

from tokenmarket.core.errors import ApiError
from tokenmarket.core.media.reader import MediaError
from tokenmarket.core.media.sizes import VIDEO_SEPARATORS, nearest_ratio, parse_size, ratio
from tokenmarket.core.video.abilities import Abilities
from tokenmarket.core.video.request import VideoRequest
from tokenmarket.core.wording import say

# The shorter side of what is sold under a name. Tiers of one provider may differ by a few lines
# (480p is 864x496 at one), so the nearest within 5 % counts.
LINES = {
    "240p": 240,
    "360p": 360,
    "480p": 480,
    "540p": 540,
    "576p": 576,
    "720p": 720,
    "768p": 768,
    "1080p": 1080,
    "1440p": 1440,
    "2k": 1440,
    "2160p": 2160,
    "4k": 2160,
}
SHAPES = ("16:9", "9:16", "1:1", "4:3", "3:4", "21:9", "9:21", "3:2", "2:3", "5:4", "4:5")


class Frame(msgspec.Struct, frozen=True):
    """``chosen`` names what we added: size, resolution, aspect_ratio."""

    width: int | None = None
    height: int | None = None
    resolution: str | None = None
    aspect_ratio: str | None = None
    chosen: tuple[str, ...] = ()


def frame(request: VideoRequest, able: Abilities) -> Frame:
    """ApiError(REQUEST_001): unsupported_size, unsupported_parameter, conflicting_parameters."""
    if request.width is not None and request.height is not None:
        return _of_size(request, able, request.width, request.height)
    resolution = _listed(request.resolution, able.resolutions, "resolution", able)
    shape = request.aspect_ratio
    if able.sizes:
        return _from_list(able, resolution, shape)
    shape = _listed(shape, able.aspect_ratios, "aspect_ratio", able)
    chosen: list[str] = []
    if resolution is None and able.resolutions:
        resolution = able.default_resolution or able.resolutions[0]
        chosen.append("resolution")
    if shape is None and able.aspect_ratios:
        shape = _default_shape(request, able)
        chosen.append("aspect_ratio")
    return Frame(None, None, resolution, shape, tuple(chosen))


def lines_of(resolution: str | None) -> int | None:
    """The shorter side of a resolution's name."""
    return None if resolution is None else LINES.get(resolution)


def _refuse(message: str, param: str, reason: str) -> NoReturn:
    raise ApiError("REQUEST_001", message, param=param, reason=reason)


def _unsupported_size(able: Abilities, what: str) -> NoReturn:
    if able.sizes:
        legal = say("one of {sizes}", sizes=", ".join(able.sizes))
    else:
        shapes = ", ".join(able.aspect_ratios) or say("any shape")
        legal = say(
            "a size of the shapes {shapes} at {qualities}",
            shapes=shapes,
            qualities=", ".join(able.resolutions) or say("any quality"),
        )
    _refuse(
        say("This model does not make {what}; ask for {legal}.", what=what, legal=legal),
        "size",
        "unsupported_size",
    )


def _listed(value: str | None, legal: tuple[str, ...], param: str, able: Abilities) -> str | None:
    if value is None or not able.described or value in legal:
        return value
    if legal:
        _refuse(
            say(
                "This model has no {param} {value}; it has {legal}.",
                param=param,
                value=value,
                legal=", ".join(legal),
            ),
            param,
            "unsupported_parameter",
        )
    if able.sizes:  # said by size here: chosen among those
        return value
    _refuse(
        say("{param} cannot be chosen for this model.", param=param), param, "unsupported_parameter"
    )


def _default_shape(request: VideoRequest, able: Abilities) -> str:
    """A picture decides the shape where the model follows it."""
    pictured = any(item.role == "first_frame" for item in request.inputs)
    if pictured and "adaptive" in able.aspect_ratios:
        return "adaptive"
    return able.default_aspect_ratio or able.aspect_ratios[0]


def _of_size(request: VideoRequest, able: Abilities, width: int, height: int) -> Frame:
    size = f"{width}x{height}"
    if able.described and able.sizes and size not in able.sizes:
        _unsupported_size(able, size)
    if able.described and not (able.sizes or able.resolutions or able.aspect_ratios):
        _refuse("The size cannot be chosen for this model.", "size", "unsupported_parameter")
    # Exactly a name that the model has, or one that everybody knows; "683:384" helps nobody.
    shapes = able.aspect_ratios or SHAPES
    shape = nearest_ratio(width, height, shapes)
    if shape is None and able.aspect_ratios and not able.sizes:
        _unsupported_size(able, size)
    shape = shape or ratio(width, height)
    resolution = _resolution_of(min(width, height), able.resolutions or tuple(LINES))
    if resolution is None and able.resolutions and not able.sizes:
        _unsupported_size(able, size)
    for name, asked, made in (
        ("resolution", request.resolution, resolution),
        ("aspect_ratio", request.aspect_ratio, shape),
    ):
        if asked is not None and asked != made and not _same(name, asked, width, height):
            _refuse(
                say(
                    "size ({size}) and {name} ({asked}) disagree: give one of them.",
                    size=size,
                    name=name,
                    asked=asked,
                ),
                name,
                "conflicting_parameters",
            )
    return Frame(width, height, resolution, shape)


def _same(name: str, asked: str, width: int, height: int) -> bool:
    """Whether another word says the same: 2k and 1440p, 16:9 and 1.78."""
    if name == "resolution":
        lines = LINES.get(asked)
        return lines is not None and _near(lines, min(width, height))
    return nearest_ratio(width, height, (asked,)) is not None


def _near(lines: int, side: int) -> bool:
    return abs(lines - side) * 20 <= lines


def _resolution_of(side: int, legal: tuple[str, ...]) -> str | None:
    """The name in ``legal`` for a shorter side: the nearest within 5 %."""
    best: tuple[int, str] | None = None
    for name in legal:
        lines = LINES.get(name)
        if lines is not None and _near(lines, side):
            off = abs(lines - side)
            if best is None or off < best[0]:
                best = (off, name)
    return None if best is None else best[1]


def _from_list(able: Abilities, resolution: str | None, shape: str | None) -> Frame:
    """One of the model's sizes that has what was asked; the default where nothing was."""
    names = [able.default_size, *able.sizes] if able.default_size else [*able.sizes]
    for name in names:
        try:
            width, height = parse_size(name, VIDEO_SEPARATORS)
        except MediaError:
            continue  # a row's mistake; the others may do
        if resolution is not None and not _same("resolution", resolution, width, height):
            continue
        if shape not in (None, "adaptive") and not _same(
            "aspect_ratio", shape or "", width, height
        ):
            continue
        made = resolution or _resolution_of(min(width, height), able.resolutions or tuple(LINES))
        known = nearest_ratio(width, height, able.aspect_ratios or SHAPES)
        return Frame(width, height, made, known or ratio(width, height), ("size",))
    asked = " at ".join(part for part in (shape, resolution) if part is not None)
    _unsupported_size(able, asked or "a video")
