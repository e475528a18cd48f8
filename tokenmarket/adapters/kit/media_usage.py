"""Usage of media answers: sums over calls, and OpenAI's objects for images and audio."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tokenmarket.adapters.kit.shape import count, mapping
from tokenmarket.core.usage import Usage


def added(usages: Sequence[Usage | None]) -> Usage | None:
    """The sum; None if any part is unknown, because a part is not the whole."""
    total: dict[str, int] = {}
    for usage in usages:
        if usage is None:
            return None
        for name, value in msgspec.structs.asdict(usage).items():
            if type(value) is int:
                total[name] = total.get(name, 0) + value
    last = usages[-1]
    attributes = last.attributes if last is not None else None
    return msgspec.structs.replace(Usage(attributes=attributes), **total)


def image_usage(value: object, *, images: int) -> Usage:
    """OpenAI's usage of images; the pictures themselves are counted in any case, so that a route
    priced by the picture needs no usage from its upstream."""
    usage = mapping(value)
    details = mapping(usage.get("input_tokens_details"))
    image_in = count(details.get("image_tokens"))
    cached = count(mapping(details.get("cached_tokens_details")).get("text_tokens")) or count(
        details.get("cached_tokens")
    )
    out = mapping(usage.get("output_tokens_details"))
    output = count(usage.get("output_tokens"))
    text_out = count(out.get("text_tokens"))
    return Usage(
        input_tokens=count(usage.get("input_tokens")) - image_in - cached,
        cached_input_tokens=cached,
        image_input_tokens=image_in,
        output_tokens=text_out,
        image_output_tokens=output - text_out,
        images=images,
    )


def audio_usage(value: object) -> Usage | None:
    """``{"type": "duration", "seconds"}`` or token counts with ``input_token_details``."""
    usage = mapping(value)
    seconds = usage.get("seconds")
    if isinstance(seconds, int | float) and 0 <= seconds < 10**9:
        return Usage(audio_ms=int(seconds * 1000))
    if not usage:
        return None
    details = mapping(usage.get("input_token_details") or usage.get("input_tokens_details"))
    audio = count(details.get("audio_tokens"))
    return Usage(
        input_tokens=count(usage.get("input_tokens")) - audio,
        audio_input_tokens=audio,
        output_tokens=count(usage.get("output_tokens")),
    )
