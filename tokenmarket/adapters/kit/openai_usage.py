"""The ``usage`` objects of OpenAI and its compatible upstreams -> core.usage.Usage.

OpenAI's totals are inclusive: cached, cache-write, audio and image tokens are inside
``prompt_tokens``; reasoning and audio inside ``completion_tokens``. Who differs is either proven by
the numbers (total = prompt + completion + reasoning, or + audio) or named by a quirk
(``reference/providers/token_estimation.md`` section 4).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from tokenmarket.adapters.kit.shape import COUNT_MAX, count, mapping, text
from tokenmarket.core.pricing import PriceSheet
from tokenmarket.core.text_prices import TextCounts
from tokenmarket.core.usage import Usage

_decode = msgspec.json.Decoder(dict[str, object]).decode

_COUNTS = 3  # prompt, completion, total: with no more members than these there are no aliases
# What some vendors bill beside tokens.
_BESIDE = frozenset(
    {
        "num_search_queries",
        "num_sources_used",
        "prompt_audio_seconds",
        "server_tool_use_details",
    }
)

# Where vendors keep the cached part of the prompt, besides prompt_tokens_details.cached_tokens.
_CACHED_ALIASES = (
    "prompt_cache_hit_tokens",  # DeepSeek, SiliconFlow
    "cached_tokens",  # Moonshot, Together
    "num_cached_tokens",  # Mistral
    "cache_read_input_tokens",  # Databricks, Venice
)


# Where anything but 0 needs the general reading; the decoder itself refuses it.
_None = Literal[0]


class _DetailsIn(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    cached_tokens: int = 0
    text_tokens: int = 0
    audio_tokens: _None = 0
    cache_write_tokens: _None = 0
    image_tokens: _None = 0
    video_tokens: _None = 0


class _DetailsOut(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    reasoning_tokens: int = 0
    text_tokens: int = 0
    audio_tokens: _None = 0
    image_tokens: _None = 0
    accepted_prediction_tokens: _None = 0
    rejected_prediction_tokens: _None = 0


class OpenAIUsage(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """OpenAI's own members and the harmless ones of vendors who report as OpenAI does; what does
    not fit is read the slow way."""

    prompt_tokens: int
    total_tokens: int
    completion_tokens: int = 0
    prompt_tokens_details: _DetailsIn | None = None
    completion_tokens_details: _DetailsOut | None = None
    prompt_cache_hit_tokens: int = 0  # DeepSeek: cached_tokens again
    prompt_cache_miss_tokens: int = 0
    queue_time: float = 0  # Groq: seconds
    prompt_time: float = 0
    completion_time: float = 0
    total_time: float = 0
    cost_in_usd_ticks: int = 0  # xAI
    num_sources_used: _None = 0


_decode_openai = msgspec.json.Decoder(OpenAIUsage).decode


def text_counts(found: OpenAIUsage) -> TextCounts | None:
    """The usual report, text only and adding up; None: look closer.

    Only for upstreams whose reasoning tokens are part of ``completion_tokens``.
    """
    prompt, completion = found.prompt_tokens, found.completion_tokens
    ins, outs = found.prompt_tokens_details, found.completion_tokens_details
    cached = (0 if ins is None else ins.cached_tokens) or found.prompt_cache_hit_tokens
    reasoning = 0 if outs is None else outs.reasoning_tokens
    if (
        not 0 < prompt + completion == found.total_tokens < COUNT_MAX
        or not 0 <= cached <= prompt
        or not 0 <= reasoning <= completion
    ):
        return None
    return TextCounts(prompt - cached, cached, completion - reasoning, reasoning)


def text_usage(raw: bytes | msgspec.Raw, service_tier: str | None) -> Usage | None:
    """The same in a fifth of the time of ``parse_usage``; None: look closer."""
    try:
        counts = text_counts(_decode_openai(raw))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if counts is None:
        return None
    attributes = {"service_tier": billed_tier(service_tier)} if service_tier else None
    return Usage(
        counts.input,
        counts.cached,
        0,
        0,
        counts.output,
        counts.reasoning,
        attributes=attributes,
    )


def billed_tier(tier: str) -> str:
    """A vendor's word for the tier as billing keeps it."""
    return tier[:32].lower()


def parse_usage(
    raw: bytes | msgspec.Raw,
    prices: PriceSheet,
    *,
    service_tier: str | None = None,
    reasoning_outside: bool = False,
) -> Usage | None:
    """None when it is not an object or holds no token count at all.

    ``prices`` decides one thing: image tokens are a unit of their own only where the route prices
    them apart; elsewhere they stay what they are to the provider, ordinary tokens.
    """
    plain = None if reasoning_outside else text_usage(raw, service_tier)
    if plain is not None:
        return plain
    try:
        usage = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    prompt, completion = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
    total = count(usage.get("total_tokens"))
    if not (prompt or completion):
        if not total:
            known = usage.keys() & {"prompt_tokens", "completion_tokens", "total_tokens"}
            return Usage() if known else None
        prompt = total  # embeddings of some servers report the total only
    flags: list[str] = []
    details_in, details_out = _details(usage)
    cached, written = _cached(usage, details_in, prompt, flags)
    reasoning, output = _reasoning(
        usage, details_out, prompt, completion, total, reasoning_outside, flags
    )
    audio_in = count(details_in.get("audio_tokens", 0))
    audio_out = count(details_out.get("audio_tokens", 0))
    if total > prompt + output + reasoning:
        if audio_in and total == prompt + output + reasoning + audio_in:
            prompt += audio_in  # Mistral counts audio beside the prompt; the sum proves it
        else:
            flags.append("total_above_parts")  # Gemini's compatible endpoint hides thoughts there
    image_in = count(details_in.get("image_tokens", 0))
    image_out = count(details_out.get("image_tokens", 0))
    if image_in and not prices.has("image_input_token"):
        image_in = 0
    if image_out and not prices.has("image_output_token"):
        image_out = 0
    found = Usage(
        input_tokens=prompt - cached - written - audio_in - image_in,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        output_tokens=output - audio_out - image_out,
        reasoning_tokens=reasoning,
        audio_input_tokens=audio_in,
        audio_output_tokens=audio_out,
        image_input_tokens=image_in,
        image_output_tokens=image_out,
        rejected_prediction_tokens=count(details_out.get("rejected_prediction_tokens", 0)),
        accepted_prediction_tokens=count(details_out.get("accepted_prediction_tokens", 0)),
        attributes=_attributes(usage, service_tier),
        flags=tuple(flags),
    )
    if _BESIDE.isdisjoint(usage):
        return found
    return msgspec.structs.replace(
        found,
        audio_ms=_audio_ms(usage, prices),
        searches=count(usage.get("num_sources_used")) or count(usage.get("num_search_queries")),
        web_searches=count(
            mapping(usage.get("server_tool_use_details")).get("web_search_requests")
        ),
    )


def _details(usage: dict[str, object]) -> tuple[dict[str, object], dict[str, object]]:
    details_in = mapping(usage.get("prompt_tokens_details")) or mapping(
        usage.get("prompt_token_details")  # Mistral's second spelling
    )
    return details_in, mapping(usage.get("completion_tokens_details"))


def _cached(
    usage: dict[str, object], details: dict[str, object], prompt: int, flags: list[str]
) -> tuple[int, int]:
    """(cache read, cache write) tokens, both inside ``prompt``."""
    cached = count(details.get("cached_tokens"))
    if len(usage) > _COUNTS:
        for alias in _CACHED_ALIASES:
            cached = cached or count(usage.get(alias))
    written = (
        count(details.get("cache_write_tokens"))
        or count(details.get("cache_creation_input_tokens"))  # DashScope, explicit caching
        or count(usage.get("cache_creation_input_tokens"))
    )
    if cached > prompt >= 0:
        flags.append("cached_above_input")
        cached = prompt
    if cached >= 0 and written > prompt - cached >= 0:
        flags.append("cache_write_above_input")
        written = prompt - cached
    return cached, written


def _reasoning(
    usage: dict[str, object],
    details: dict[str, object],
    prompt: int,
    completion: int,
    total: int,
    outside: bool,
    flags: list[str],
) -> tuple[int, int]:
    """(reasoning tokens, the other output tokens)."""
    reasoning = count(details.get("reasoning_tokens")) or count(usage.get("reasoning_tokens"))
    if reasoning <= 0:
        return reasoning, completion
    # xAI: completion_tokens leaves reasoning out while total_tokens counts it; the sum proves it.
    if outside or total == prompt + completion + reasoning:
        return reasoning, completion
    if reasoning > completion:
        flags.append("reasoning_above_output")
        reasoning = completion
    return reasoning, completion - reasoning


def _audio_ms(usage: dict[str, object], prices: PriceSheet) -> int:
    """Mistral bills audio in chat by the second."""
    seconds = usage.get("prompt_audio_seconds")
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not seconds > 0:
        return 0
    return int(min(float(seconds), 1e9) * 1000) if prices.has("audio_second") else 0


def _attributes(usage: dict[str, object], service_tier: str | None) -> dict[str, str] | None:
    """The tier that served the request decides the price column, not the tier asked for."""
    tier = service_tier or text(usage.get("service_tier"))
    return {"service_tier": billed_tier(tier)} if tier else None
