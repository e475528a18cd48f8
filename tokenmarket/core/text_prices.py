"""Prices of plain text as four integers: what ``pricing`` says, for requests that are only text.

``text_prices`` makes them once per price sheet; ``bill`` then gives the charge, the receipt's lines
and the caller's usage object of one answer as ready JSON, byte for byte what ``pricing.bill`` and
``usage.usage_json`` give for the same counts (tests hold both together).
"""

from __future__ import annotations

import msgspec

from tokenmarket.core.money import PRICE_UNITS, usd_bytes
from tokenmarket.core.pricing import PriceSheet
from tokenmarket.core.usage import TEXT_USAGE_JSON, UNITS, Bound, Usage

_encode = msgspec.json.Encoder().encode
_UNITS = ("input_token", "cached_input_token", "output_token", "reasoning_token")
_FREE = b"0.00"


class TextCounts(msgspec.Struct, frozen=True, gc=False):
    """Disjoint token counts, as in ``Usage``."""

    input: int
    cached: int
    output: int
    reasoning: int


class TextBill(msgspec.Struct, frozen=True, gc=False):
    """``items`` and ``usage`` are JSON: the receipt's lines, and the caller's usage object.
    ``charge_usd`` is the charge as people read it."""

    prompt_tokens: int
    completion_tokens: int
    charge_nano: int
    charge_usd: bytes
    items: bytes
    usage: bytes


class TextPrices:
    """One plain sheet. ``worst_*`` are what a hold reckons with (nano-USD per 10**6)."""

    __slots__ = (
        "_cached",
        "_input",
        "_lines",
        "_output",
        "_reasoning",
        "worst_input",
        "worst_output",
        "worst_request",
    )

    def __init__(self, prices: tuple[int, int, int, int], usd: tuple[str, str, str, str]) -> None:
        self._input, self._cached, self._output, self._reasoning = prices
        # Each line but for its quantity and amount.
        self._lines = tuple(
            b"[%b,%%d,%b,%d,%%d,false]"
            % (_encode(unit), _encode(text).replace(b"%", b"%%"), UNITS[unit].per)
            for unit, text in zip(_UNITS, usd, strict=True)
        )
        self.worst_input = self.worst_output = self.worst_request = 0

    def ceiling(self, input_tokens: int, output_tokens: int) -> int:
        """As ``pricing.ceiling`` for a bound of plain text, both above zero."""
        total = (
            self.worst_request + input_tokens * self.worst_input + output_tokens * self.worst_output
        )
        return -(-total // PRICE_UNITS)

    def bill(self, counts: TextCounts) -> TextBill:
        """The charge is cumulative rounding's: the lines add up to it exactly."""
        plain, cached = counts.input, counts.cached
        answer, reasoning = counts.output, counts.reasoning
        lines: list[bytes] = []
        shapes = self._lines
        total = before = 0
        plain_usd = cached_usd = answer_usd = reasoning_usd = _FREE
        if plain:
            total = plain * self._input
            before = -(-total // PRICE_UNITS)
            lines.append(shapes[0] % (plain, before))
            plain_usd = usd_bytes(before)
        if cached:
            total += cached * self._cached
            after = -(-total // PRICE_UNITS)
            lines.append(shapes[1] % (cached, after - before))
            cached_usd = usd_bytes(after - before)
            before = after
        if answer:
            total += answer * self._output
            after = -(-total // PRICE_UNITS)
            lines.append(shapes[2] % (answer, after - before))
            answer_usd = usd_bytes(after - before)
            before = after
        if reasoning:
            total += reasoning * self._reasoning
            after = -(-total // PRICE_UNITS)
            lines.append(shapes[3] % (reasoning, after - before))
            reasoning_usd = usd_bytes(after - before)
            before = after
        prompt, completion = plain + cached, answer + reasoning
        all_usd = usd_bytes(before)
        usage = TEXT_USAGE_JSON % (
            prompt,
            completion,
            prompt + completion,
            cached,
            reasoning,
            all_usd,
            plain_usd,
            answer_usd,
            cached_usd,
            reasoning_usd,
            all_usd,
        )
        return TextBill(prompt, completion, before, all_usd, b"[%b]" % b",".join(lines), usage)


def text_prices(sheet: PriceSheet) -> TextPrices | None:
    """The sheet's prices of text; None where something else than the counts decides them."""
    if not sheet.plain or sheet.long_cache:
        return None
    resolved = sheet.resolve(Usage(), {})
    if resolved.request is not None:
        return None
    found = {unit: (price, usd) for unit, price, usd, _, odd in resolved.lines if not odd}
    if not found.keys() >= set(_UNITS):
        return None
    lines = [found[unit] for unit in _UNITS]
    made = TextPrices(
        (lines[0][0], lines[1][0], lines[2][0], lines[3][0]),
        (lines[0][1], lines[1][1], lines[2][1], lines[3][1]),
    )
    worst = sheet.worst(Bound(1, 1, long_cache_writes=False), {})
    if worst.missing_input or worst.missing_output:
        return None
    made.worst_input, made.worst_output = worst.input, worst.output
    made.worst_request = worst.request
    return made


def usage_facts(counts: TextCounts, tier: str | None) -> bytes:
    """The ``Usage`` of these counts as the journal and receipts keep it (JSON, zeros left out)."""
    members: list[bytes] = []
    if counts.input:
        members.append(b'"input_tokens":%d' % counts.input)
    if counts.cached:
        members.append(b'"cached_input_tokens":%d' % counts.cached)
    if counts.output:
        members.append(b'"output_tokens":%d' % counts.output)
    if counts.reasoning:
        members.append(b'"reasoning_tokens":%d' % counts.reasoning)
    if tier is not None:
        members.append(b'"attributes":{"service_tier":%b}' % _encode(tier))
    return b"{%b}" % b",".join(members)
