"""The most a video can consume, and what a finished one did, in the units a price may have.

Providers bill a video by the second, by video tokens, by output tokens, or by the piece; source and
reference videos by their own second, input pictures by the piece (section 3 of the contract). The
bound has all of them as alternatives; those count that the route's price sheet has.

Tokens of Seedance: (input s + output s) · width · height · fps / 1024, and one frame more than the
seconds have: 5 s of 720p at 24 fps are 121 frames and 108,900 tokens (``video_providers.md`` 4).
"""

from __future__ import annotations

import msgspec

from tokenmarket.core.money import div_ceil
from tokenmarket.core.pricing import PriceSheet
from tokenmarket.core.usage import UNITS, Bound, Usage
from tokenmarket.core.video.abilities import Abilities, abilities
from tokenmarket.core.video.frame import lines_of
from tokenmarket.core.video.request import FRAME_ROLES, ResolvedVideo

FPS_UNKNOWN_MAX = 30
FPS_USUAL = 24
_LINES_UNKNOWN = 1080


def video_bound(video: ResolvedVideo, able: Abilities) -> Bound:
    """Worst case of one order. Video models read their prompts for nothing, but for those that
    bill tokens: a byte is at most one token."""
    seconds = video.n * (video.seconds or able.seconds_max or able.output_seconds_max)
    input_seconds = able.input_seconds_max if _reads_video(video) else 0
    units = [
        ("video_second", seconds * 1000),
        ("video_token", _tokens_max(video, seconds + input_seconds)),
        ("request", video.n),
    ]
    if able.output_tokens_per_second:
        units.append(("output_token", seconds * able.output_tokens_per_second))
        units.append(("input_token", len(video.prompt.encode()) + 1000))
    if input_seconds:
        units.append(("input_video_second", input_seconds * 1000))
    if (images := _billed_images(video, able)) > 0:
        units.append(("image", images))
    return Bound(any_units=tuple(units))


def settled_usage(
    video: ResolvedVideo,
    capabilities: dict[str, object],
    prices: PriceSheet,
    *,
    reported: Usage | None,
    delivered_ms: int | None,
    input_ms: int | None = None,
    count: int = 1,
) -> Usage:
    """What a succeeded task is charged for: only units that the sheet prices.

    ``reported`` by the upstream comes first, unit by unit. What it does not say is taken from what
    was delivered: ``delivered_ms`` measured in the files together (None: the seconds asked for),
    ``count`` files; ``input_ms`` likewise of source and reference videos (None: the bound).
    """
    able = abilities(capabilities)
    bounds = dict(video_bound(video, able).any_units)
    made_ms = delivered_ms
    if made_ms is None:
        made_ms = count * 1000 * (video.seconds or 0) or bounds["video_second"]
    own = {
        "video_second": made_ms,
        "video_token": _video_tokens(
            video, made_ms + (input_ms or 0), video.fps or FPS_USUAL, count
        ),
        "output_token": div_ceil(made_ms * able.output_tokens_per_second, 1000),
        "request": count,
        "input_video_second": bounds.get("input_video_second", 0) if input_ms is None else input_ms,
        "image": max(0, _billed_images(video, able)),
    }
    if not _reads_video(video):
        own["input_video_second"] = 0
    counts: dict[str, int] = {}
    estimated = False
    for unit, row in UNITS.items():
        if not prices.has(unit):
            continue
        told: int = 0 if reported is None else getattr(reported, row.field)
        if told:
            counts[row.field] = told
        elif own.get(unit, 0):
            counts[row.field] = own[unit]
            estimated = estimated or unit in ("video_token", "output_token")
    said = Usage(estimated=estimated, attributes=None if reported is None else reported.attributes)
    return msgspec.structs.replace(said, **counts)


def _reads_video(video: ResolvedVideo) -> bool:
    return video.source_task_id is not None or any(
        item.role in ("video", "reference_video") for item in video.inputs
    )


def _billed_images(video: ResolvedVideo, able: Abilities) -> int:
    roles = (*FRAME_ROLES, "reference_image")
    return sum(item.role in roles for item in video.inputs) - able.free_images


def _tokens_max(video: ResolvedVideo, seconds: int) -> int:
    """With 5 % for shapes that have a few pixels more."""
    fps = video.fps or FPS_UNKNOWN_MAX
    return div_ceil(_video_tokens(video, seconds * 1000, fps, video.n) * 105, 100)


def _video_tokens(video: ResolvedVideo, ms: int, fps: int, count: int) -> int:
    if video.width is not None and video.height is not None:
        pixels = video.width * video.height
    else:
        lines = lines_of(video.resolution) or _LINES_UNKNOWN
        pixels = lines * div_ceil(lines * 16, 9)
    return div_ceil((div_ceil(ms * fps, 1000) + count) * pixels, 1024)
