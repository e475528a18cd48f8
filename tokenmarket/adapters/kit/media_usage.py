"""Usage of media answers: sums over calls, and OpenAI's objects for images and audio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from tokenmarket.adapters.kit.add_usage import add_usage
from tokenmarket.adapters.kit.shape import count, mapping
from tokenmarket.core.pricing import PriceSheet
from tokenmarket.core.usage import Usage

_TOTALS = {"input_tokens", "output_tokens", "prompt_tokens", "completion_tokens"}


def added(usages: Sequence[Usage | None]) -> Usage | None:
    """The sum; None if any part is unknown, because a part is not the whole."""
    return None if None in usages else add_usage(usages)


def image_usage(value: object, *, images: int, prices: PriceSheet) -> Usage | None:
    """OpenAI's usage of images, also in the words of chat (``prompt_tokens``). The pictures are
    counted in any case, so that a route priced by the picture needs no usage from its upstream;
    None where it is priced by tokens and nothing was reported."""
    usage = mapping(value)
    if not usage.keys() & _TOTALS:
        return Usage(images=images) if prices.has("image") or prices.has("request") else None
    asked = mapping(usage.get("input_tokens_details") or usage.get("prompt_tokens_details"))
    image_in = count(asked.get("image_tokens"))
    cached = count(mapping(asked.get("cached_tokens_details")).get("text_tokens")) or count(
        asked.get("cached_tokens")
    )
    made = mapping(usage.get("output_tokens_details") or usage.get("completion_tokens_details"))
    output = count(usage.get("output_tokens") or usage.get("completion_tokens"))
    reasoning = count(made.get("reasoning_tokens"))
    text_out = count(made.get("text_tokens"))
    if "image_tokens" in made:
        text_out = output - count(made["image_tokens"]) - reasoning
    return Usage(
        input_tokens=count(usage.get("input_tokens") or usage.get("prompt_tokens"))
        - image_in
        - cached,
        cached_input_tokens=cached,
        image_input_tokens=image_in,
        output_tokens=text_out,
        reasoning_tokens=reasoning,
        image_output_tokens=output - text_out - reasoning,
        images=images,
    )


def audio_usage(value: object) -> Usage | None:
    """``{"type": "duration", "seconds"}``, Mistral's ``prompt_audio_seconds``, or token counts with
    ``input_token_details``, also in the words of chat. None where nothing of it is there."""
    usage = mapping(value)
    seconds = usage.get("seconds", usage.get("prompt_audio_seconds"))
    if type(seconds) in (int, float) and 0 <= cast("float", seconds) < 10**9:
        return Usage(audio_ms=int(cast("float", seconds) * 1000))
    if not usage.keys() & _TOTALS:
        return None
    details = mapping(
        usage.get("input_token_details")
        or usage.get("input_tokens_details")
        or usage.get("prompt_tokens_details")
    )
    audio = count(details.get("audio_tokens"))
    return Usage(
        input_tokens=count(usage.get("input_tokens", usage.get("prompt_tokens"))) - audio,
        audio_input_tokens=audio,
        output_tokens=count(usage.get("output_tokens", usage.get("completion_tokens"))),
    )
