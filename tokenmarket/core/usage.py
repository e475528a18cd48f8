"""What a request consumed, as disjoint counts: every unit is billed once.

Providers report inclusive and exclusive totals (``reference/providers/token_estimation.md``
section 4); adapters normalise them into this one shape, ``sanitize`` repairs what cannot be, and
``usage_json`` writes it back in OpenAI's inclusive form for the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

import msgspec

from tokenmarket.core.money import usd_bytes

# Catalog unit -> (Usage field, what one priced unit is worth in Usage counts, parent unit).
# usd of a token/character unit is per 1,000,000; of the others per one. Seconds are counted in ms.


class Unit(msgspec.Struct, frozen=True):
    """One billable unit of the catalog (``design/catalog.md``)."""

    field: str
    per: int  # the price in usd is per this many catalog units
    counts_per_unit: int = 1  # Usage counts per catalog unit (1000 ms per second)
    parent: str | None = None  # price row used when this unit has none


UNITS: dict[str, Unit] = {
    "input_token": Unit("input_tokens", 1_000_000),
    "cached_input_token": Unit("cached_input_tokens", 1_000_000, parent="input_token"),
    "cache_write_token": Unit("cache_write_tokens", 1_000_000, parent="input_token"),
    "cache_write_long_token": Unit(
        "cache_write_long_tokens", 1_000_000, parent="cache_write_token"
    ),
    "output_token": Unit("output_tokens", 1_000_000),
    "reasoning_token": Unit("reasoning_tokens", 1_000_000, parent="output_token"),
    "audio_input_token": Unit("audio_input_tokens", 1_000_000),
    "audio_output_token": Unit("audio_output_tokens", 1_000_000),
    "image_input_token": Unit("image_input_tokens", 1_000_000),
    "image_output_token": Unit("image_output_tokens", 1_000_000),
    "video_token": Unit("video_tokens", 1_000_000),
    "character": Unit("characters", 1_000_000),
    "request": Unit("requests", 1),
    "image": Unit("images", 1),
    "audio_second": Unit("audio_ms", 1, 1000),
    "video_second": Unit("video_ms", 1, 1000),
    "input_video_second": Unit("input_video_ms", 1, 1000),
    "search": Unit("searches", 1),
    "web_search": Unit("web_searches", 1),
    "tool_call": Unit("tool_calls", 1),
}


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Disjoint counts. ``input_tokens`` excludes cached, cache-write, audio and image tokens;
    ``output_tokens`` excludes reasoning, audio and image tokens.

    ``attributes`` are price attributes only the answer knows (``service_tier``).
    ``estimated`` marks local counts; ``flags`` name what was repaired (``cached_above_input``).
    """

    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_long_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    image_input_tokens: int = 0
    image_output_tokens: int = 0
    video_tokens: int = 0
    characters: int = 0
    requests: int = 0
    images: int = 0
    audio_ms: int = 0
    video_ms: int = 0
    input_video_ms: int = 0
    searches: int = 0
    web_searches: int = 0
    tool_calls: int = 0
    rejected_prediction_tokens: int = 0  # information; already inside output_tokens
    accepted_prediction_tokens: int = 0  # information; already inside output_tokens
    estimated: bool = False
    attributes: dict[str, str] | None = None
    flags: tuple[str, ...] = ()

    @property
    def prompt_tokens(self) -> int:
        """OpenAI's inclusive input total."""
        return (
            self.input_tokens
            + self.cached_input_tokens
            + self.cache_write_tokens
            + self.cache_write_long_tokens
            + self.audio_input_tokens
            + self.image_input_tokens
            + self.video_tokens
        )

    @property
    def completion_tokens(self) -> int:
        """OpenAI's inclusive output total."""
        return (
            self.output_tokens
            + self.reasoning_tokens
            + self.audio_output_tokens
            + self.image_output_tokens
        )


class Bound(msgspec.Struct, frozen=True):
    """The most a request can consume: proven, not estimated.

    ``units`` bounds what is not plain input/output tokens, by catalog unit (Usage counts).
    ``any_units`` are alternatives, for operations that providers bill by different units: each
    counts where the route's price sheet has it, and one of them must be there.
    ``audio``/``image`` say that input or output tokens may be of the dearer kind;
    ``long_cache_writes`` that the caller may have asked for long-lived cache entries.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    audio_input: bool = False
    audio_output: bool = False
    image_input: bool = False
    long_cache_writes: bool = True
    units: tuple[tuple[str, int], ...] = ()
    any_units: tuple[tuple[str, int], ...] = ()


class Item(msgspec.Struct, frozen=True, array_like=True):
    """One line of a charge; amounts of all items add up to the charge exactly.

    ``unexpected`` marks a unit that no price row covers: it was priced at the dearest row of its
    side (see ``core/pricing.py``), and somebody should add the row.
    """

    unit: str
    quantity: int  # Usage counts (ms for seconds)
    usd: str
    per: int
    amount_nano: int
    unexpected: bool = False


# ------------------------------------------------------------------------------------- guards

INPUT_FIELDS = (
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "cache_write_long_tokens",
    "audio_input_tokens",
    "image_input_tokens",
    "video_tokens",
)
OUTPUT_FIELDS = ("output_tokens", "reasoning_tokens", "audio_output_tokens", "image_output_tokens")
_INFORMATION = ("rejected_prediction_tokens", "accepted_prediction_tokens")
_OTHER_FIELDS = tuple(
    unit.field for unit in UNITS.values() if unit.field not in INPUT_FIELDS + OUTPUT_FIELDS
)
_ALL_FIELDS = INPUT_FIELDS + OUTPUT_FIELDS + _OTHER_FIELDS + _INFORMATION
_counts = attrgetter(*_ALL_FIELDS)
_IN = len(INPUT_FIELDS)
_OUT = _IN + len(OUTPUT_FIELDS)

# Where neither the context window nor a bound is known: no model reads or writes this much.
TOKENS_ABSURD = 100_000_000
# Where no bound is given: more than a year of seconds, or a thousand million searches, is a lie.
COUNT_ABSURD = 100_000_000_000


def sanitize(usage: Usage, bound: Bound, context_tokens: int) -> Usage:
    """An upstream's numbers, made safe to bill; every repair is named in ``flags``.

    * A negative part of a side is an inclusive total that was subtracted too far (cached above
      input, reasoning above output): the side keeps its sum, no part goes below zero.
    * A side above what can exist (the context window, or the proven bound where that is larger:
      a batch of embeddings is) is capped. ``context_tokens`` 0 = unknown: then media, whose bounds
      are worst cases of everything that they count, are capped a tenth above those.
    * A bounded unit more than a tenth above its bound (seconds asked for) is capped there.
    * Above the bound but possible is only flagged: the wallet takes no more than the hold.

    The usual case returns the same object after one look (about 0.6 us).
    """
    counts: tuple[int, ...] = _counts(usage)
    if (
        min(counts) >= 0
        and sum(counts[:_IN]) <= bound.input_tokens
        and sum(counts[_IN:_OUT]) <= bound.output_tokens
        and not any(counts[_OUT:-2])
    ):
        return usage
    return _repair(usage, bound, context_tokens, dict(zip(_ALL_FIELDS, counts, strict=True)))


def _repair(usage: Usage, bound: Bound, context_tokens: int, parts: dict[str, int]) -> Usage:
    flags: list[str] = []
    units = bound.units + bound.any_units
    for side, fields, limit in (
        ("input", INPUT_FIELDS, bound.input_tokens),
        ("output", OUTPUT_FIELDS, bound.output_tokens),
    ):
        # Units may be bounded apart from the plain tokens of their side.
        limit += sum(count for unit, count in units if UNITS[unit].field in fields)
        _no_negative(parts, fields, side, flags)
        total = sum(parts[name] for name in fields)
        unknown = limit * 11 // 10 if bound.any_units else TOKENS_ABSURD
        possible = max(context_tokens or unknown, limit)
        if total > possible:
            _take(parts, fields, total - possible)
            flags.append(f"{side}_above_context")
        elif total > limit:
            flags.append(f"{side}_above_bound")
    bounded = {UNITS[unit].field: count for unit, count in units}
    for name in _OTHER_FIELDS + _INFORMATION:
        if parts[name] < 0:
            parts[name] = 0
            flags.append(f"negative_{name}")
        ceiling = bounded[name] * 11 // 10 if name in bounded else COUNT_ABSURD
        if parts[name] > ceiling:
            parts[name] = ceiling
            flags.append(f"{name}_above_bound")
    if not flags:
        return usage
    known = [flag for flag in usage.flags if flag not in flags]
    return msgspec.structs.replace(usage, flags=(*known, *flags), **parts)


def _no_negative(
    parts: dict[str, int], fields: tuple[str, ...], side: str, flags: list[str]
) -> None:
    """Take every negative part out of the other parts of its side, largest first."""
    owed = 0
    for name in fields:
        if parts[name] < 0:
            owed -= parts[name]
            parts[name] = 0
    if owed:
        by_size = sorted(fields, key=lambda name: -parts[name])
        rest = _take(parts, tuple(by_size), owed)
        flags.append(f"negative_{side}_tokens" if rest else f"{side}_parts_above_total")


def _take(parts: dict[str, int], fields: tuple[str, ...], tokens: int) -> int:
    """Lower the fields, in order, by ``tokens`` in all; returns what could not be taken."""
    for name in fields:
        taken = min(parts[name], tokens)
        parts[name] -= taken
        tokens -= taken
    return tokens


# ------------------------------------------------------------------- the caller's usage object

COST_GROUPS = (
    "input",
    "output",
    "cached",
    "cache_write",
    "reasoning",
    "audio",
    "image",
    "video",
    "search",
    "request",
)
# Every unit is in one group, so the groups add up to the total.
_GROUP = {
    "input_token": "input",
    "cached_input_token": "cached",
    "cache_write_token": "cache_write",
    "cache_write_long_token": "cache_write",
    "output_token": "output",
    "reasoning_token": "reasoning",
    "audio_input_token": "audio",
    "audio_output_token": "audio",
    "audio_second": "audio",
    "character": "audio",
    "image_input_token": "image",
    "image_output_token": "image",
    "image": "image",
    "video_token": "video",
    "video_second": "video",
    "input_video_second": "video",
    "search": "search",
    "web_search": "search",
    "request": "request",
    "tool_call": "request",
}
_GROUP_INDEX = {unit: COST_GROUPS.index(_GROUP[unit]) for unit in UNITS}

_USAGE_JSON = (
    b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,'
    b'"prompt_tokens_details":{"cached_tokens":%d,"cache_write_tokens":%d,"audio_tokens":%d,'
    b'"image_tokens":%d,"video_tokens":%d},'
    b'"completion_tokens_details":{"reasoning_tokens":%d,"audio_tokens":%d,"image_tokens":%d,'
    b'"accepted_prediction_tokens":%d,"rejected_prediction_tokens":%d},'
    b'"cost":%b,"cost_details":{'
    + b",".join(b'"%b":"%%b"' % group.encode() for group in COST_GROUPS)
    + b',"total":"%b"},"is_byok":false}'
)


def usage_json(usage: Usage, items: Sequence[Item], charge_nano: int) -> bytes:
    """The ``usage`` object of an answer (``design/api.md`` section 4), encoded.

    ``items`` are the lines of ``pricing.items`` for the same usage; ``charge_nano`` is what was
    captured. It differs from the sum of the items where the wallet could not take everything.
    """
    text, cached = usage.input_tokens, usage.cached_input_tokens
    answer, reasoning = usage.output_tokens, usage.reasoning_tokens
    if not any(_beside_text(usage)):
        costs = _NO_TEXT_COSTS.copy()
        for item in items:
            costs[item.unit] = usd_bytes(item.amount_nano)
        if len(costs) == _TEXT_UNITS:
            total = usd_bytes(charge_nano)
            return TEXT_USAGE_JSON % (
                text + cached,
                answer + reasoning,
                text + cached + answer + reasoning,
                cached,
                reasoning,
                total,
                costs["input_token"],
                costs["output_token"],
                costs["cached_input_token"],
                costs["reasoning_token"],
                total,
            )
    return _any_usage_json(usage, items, charge_nano)


def _any_usage_json(usage: Usage, items: Sequence[Item], charge_nano: int) -> bytes:
    costs: list[bytes] = _NO_COSTS.copy()
    amounts: dict[int, int] = {}
    for item in items:
        group = _GROUP_INDEX[item.unit]
        if group in amounts:
            amounts[group] += item.amount_nano
        else:
            amounts[group] = item.amount_nano
    for group, nano in amounts.items():
        costs[group] = usd_bytes(nano)
    (
        plain,
        cached,
        write,
        write_long,
        audio_in,
        image_in,
        video,
        text,
        reasoning,
        audio_out,
        image_out,
        rejected,
        accepted,
    ) = _token_counts(usage)
    write += write_long
    prompt = plain + cached + write + audio_in + image_in + video
    completion = text + reasoning + audio_out + image_out
    cost = usd_bytes(charge_nano)
    return _USAGE_JSON % (
        prompt,
        completion,
        prompt + completion,
        cached,
        write,
        audio_in,
        image_in,
        video,
        reasoning,
        audio_out,
        image_out,
        accepted,
        rejected,
        cost,
        *costs,
        cost,
    )


def openai_usage(usage: Usage, items: Sequence[Item], charge_nano: int) -> dict[str, object]:
    """``usage_json`` as a dict, for places that are not on the request path (receipts)."""
    return _decode_usage(usage_json(usage, items, charge_nano))


_NO_TEXT_COSTS: dict[str, bytes] = dict.fromkeys(
    ("input_token", "output_token", "cached_input_token", "reasoning_token"), b"0.00"
)
_TEXT_UNITS = len(_NO_TEXT_COSTS)
_UNIT_OF = {unit.field: name for name, unit in UNITS.items()}
# Counts that plain text does not have: with all of them zero, the shorter form below says it all.
_beside_text = attrgetter(
    *(
        name
        for name in (*INPUT_FIELDS, *OUTPUT_FIELDS, *_INFORMATION)
        if _UNIT_OF.get(name) not in _NO_TEXT_COSTS
    )
)


def _text_usage_json() -> bytes:
    """``_USAGE_JSON`` with everything filled in that text does not have."""
    counts = (910_001, 910_002, 910_003, 910_004, 0, 0, 0, 0, 910_005, 0, 0, 0, 0)
    costs = (b"%b", b"%b", b"%b", b"%b", b"0.00", b"%b")
    form = _USAGE_JSON % (*counts, *costs, *(b"0.00" for _ in COST_GROUPS[5:]), b"%b")
    for mark in (910_001, 910_002, 910_003, 910_004, 910_005):
        form = form.replace(b"%d" % mark, b"%d")
    return form


TEXT_USAGE_JSON = _text_usage_json()
_NO_COSTS = [b"0.00"] * len(COST_GROUPS)
_token_counts = attrgetter(*INPUT_FIELDS, *OUTPUT_FIELDS, *_INFORMATION)
_decode_usage = msgspec.json.Decoder(dict[str, object]).decode
