"""Prices and charges in integers: one division and one rounding (up) per request.

A PriceSheet is one immutable version of a route's price rows, markup already applied. It is pinned
in the hold, so a price change never touches a running request. ``charge`` prices what was used,
``ceiling`` proves what a request can cost at most (``design/billing.md`` sections 1 and 4.1).

What a reader must know:

* The most specific matching row of a unit wins; without one the unit's parent is asked.
* A token unit that still has no price (audio tokens of a route that lists none) is priced at the
  dearest row of its side, input or output, and its Item is marked ``unexpected``: never free.
  Other units without a row have no price anybody agreed to: they cost nothing and are named by
  ``unpriced_units``. Both are refused at admission where they can be foreseen.
* A ``request`` row is due once per charge, whether or not the adapter counted the request.
* ``service_tier`` is what the answer says, not what was asked for: a caller who names no tier (or
  "auto", or an alias) can get any, one who names a tier gets that or the plain price.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from itertools import compress
from operator import attrgetter, mul

import msgspec

from tokenmarket.core.money import PRICE_UNITS, decimal_text, div_ceil, nano_from_usd
from tokenmarket.core.usage import INPUT_FIELDS, OUTPUT_FIELDS, UNITS, Bound, Item, Usage

__all__ = [
    "Bound",
    "Item",
    "PriceRow",
    "PriceSheet",
    "Unpriced",
    "ceiling",
    "charge",
    "items",
    "price_row",
    "price_sheet",
    "unpriced_units",
]

_Key = tuple[tuple[str, str], ...]

_NO_ATTRIBUTES: dict[str, str] = {}
_NO_KEY: _Key = ()

INPUT_SIDE = tuple(name for name, unit in UNITS.items() if unit.field in INPUT_FIELDS)
OUTPUT_SIDE = tuple(name for name, unit in UNITS.items() if unit.field in OUTPUT_FIELDS)
# Units an input (or output) token may turn out to be; a bound is priced at the dearest of them.
INPUT_UNITS = ("input_token", "cached_input_token", "cache_write_token", "cache_write_long_token")
OUTPUT_UNITS = ("output_token", "reasoning_token")
_SIDE = {name: side for side in (INPUT_SIDE, OUTPUT_SIDE) for name in side}

# Tiers a caller may name that an answer never does: "auto" is any, OpenAI's "fast" is "priority".
_OPEN_TIERS = ("auto", "fast")

MARKUP_PERCENT_MAX = 1_000_000
_PERCENT = 100 * 10**9  # a percentage as text is read with 9 decimals, like an amount


class Unpriced(Exception):
    """No row covers a unit that the request can produce; ``unit`` names the row to add."""

    def __init__(self, unit: str) -> None:
        super().__init__(f"no price row for the unit {unit!r}")
        self.unit = unit


class PriceRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """``nano_per_million`` is nano-USD per 10**6 Usage counts (tokens, ms, images …).

    ``when`` must all match the request's attributes; ``context_above`` prices the whole request
    by this row when its total input tokens exceed it. ``usd`` is the same price as the exact
    decimal string people read (per ``UNITS[unit].per`` units).
    """

    unit: str
    nano_per_million: int
    usd: str
    when: tuple[tuple[str, str], ...] = ()
    context_above: int = 0

    @property
    def rank(self) -> tuple[int, int]:
        """The most specific matching row of a unit wins."""
        return (len(self.when) + (1 if self.context_above else 0), self.context_above)


def price_row(
    unit: str,
    usd: str,
    when: Iterable[tuple[str, str]] = (),
    context_above: int = 0,
    markup_percent: str = "0",
) -> PriceRow:
    """A row from its decimal strings: ceil(price * (100 + markup) / 100), exact before rounding.

    ValueError says what is wrong: not a decimal, negative, a unit that does not exist.
    """
    if unit not in UNITS:
        raise ValueError(f"{unit[:64]!r} is not a unit")
    list_price = nano_from_usd(usd)
    if list_price < 0:
        raise ValueError(f"{usd!r} is negative")
    markup = nano_from_usd(markup_percent)
    if not -_PERCENT < markup <= MARKUP_PERCENT_MAX * 10**9:
        raise ValueError(f"{markup_percent!r} is not a markup above -100 and up to 1000000 percent")
    # usd is per `per` units, and a unit is `counts_per_unit` Usage counts; both divide 10**6.
    counts_per_price = UNITS[unit].per * UNITS[unit].counts_per_unit
    scale = PRICE_UNITS // counts_per_price
    nano = div_ceil(list_price * scale * (_PERCENT + markup), _PERCENT)
    places = 9 + len(str(scale)) - 1  # scale is a power of ten
    shown = decimal_text(nano, places)
    return PriceRow(unit, nano, shown, tuple(sorted(when)), context_above)


class _Resolved(msgspec.Struct, frozen=True):
    """The rows that apply to a request, one per unit, and a getter for the counts they price.

    ``lines`` are (unit, price, usd, per, unexpected): what ``items`` needs, ready to zip.
    """

    prices: tuple[int, ...]
    counts: attrgetter[tuple[int, ...]]
    lines: tuple[tuple[str, int, str, int, bool], ...]
    request: PriceRow | None


class _Worst(msgspec.Struct, frozen=True):
    """The dearest price a token of a side may turn out to have, and which row is missing."""

    input: int
    output: int
    request: int
    missing_input: str
    missing_output: str


class PriceSheet(msgspec.Struct, frozen=True, eq=False):
    """One version of a route's prices. ``version`` is a content hash, stable across restarts.

    Sheets are equal when their versions are. Build one with ``price_sheet``.
    """

    version: str
    rows: tuple[PriceRow, ...]
    plain: bool = True  # no row has a condition; set from the rows, as is all below
    long_cache: bool = False  # long-lived cache entries have a price of their own
    covers_input: bool = False  # plain input tokens have a row that matches every request
    covers_output: bool = False
    markup_bp: int = 0  # of a group: what of the prices it is, in hundredths of a percent
    _base: _Resolved | None = None  # what a plain sheet resolves to
    _values: dict[str, frozenset[str]] = {}  # attribute -> values that some row asks for
    _tiers: tuple[int, ...] = ()  # context_above thresholds, largest first
    _cache: dict[tuple[int, _Key], _Resolved] = {}
    _worst_cache: dict[tuple[int, _Key, bool, bool, bool, bool], _Worst] = {}

    def __post_init__(self) -> None:
        conditions = [condition for row in self.rows for condition in row.when]
        values = {
            key: frozenset(value for other, value in conditions if other == key)
            for key, _ in conditions
        }
        tiers = sorted({row.context_above for row in self.rows} - {0}, reverse=True)
        force = msgspec.structs.force_setattr
        force(self, "_values", values)
        force(self, "_tiers", tuple(tiers))
        force(self, "plain", not values and not tiers)
        long_cache = any(row.unit == "cache_write_long_token" for row in self.rows)
        force(self, "long_cache", long_cache)
        force(self, "covers_input", self.covers("input_token"))
        force(self, "covers_output", self.covers("output_token"))
        force(self, "_base", self._resolve(_NO_ATTRIBUTES, 0) if self.plain else None)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PriceSheet) and other.version == self.version

    def __hash__(self) -> int:
        return hash(self.version)

    def has(self, unit: str) -> bool:
        """Whether the unit, or the parent it falls back to, has any row."""
        units = _family(unit)
        return any(row.unit in units for row in self.rows)

    def covers(self, unit: str) -> bool:
        """Whether the unit, or its parent, has a row that matches every request."""
        units = _family(unit)
        return any(row.unit in units and not row.rank[0] for row in self.rows)

    def resolve(self, usage: Usage, attributes: Mapping[str, str]) -> _Resolved:
        """The one row per unit that applies to this usage."""
        if self._base is not None:
            return self._base
        if usage.attributes:
            attributes = {**attributes, **usage.attributes}
        prompt_tokens = usage.prompt_tokens
        tier = next((above for above in self._tiers if prompt_tokens > above), 0)
        # Only values that a row asks for make a difference, so the cache cannot be flooded.
        key = tuple(
            (name, attributes[name])
            for name, values in self._values.items()
            if attributes.get(name) in values
        )
        found = self._cache.get((tier, key))
        if found is None:
            found = self._cache[tier, key] = self._resolve(dict(key), tier)
        return found

    def _resolve(self, attributes: Mapping[str, str], tier: int) -> _Resolved:
        best: dict[str, PriceRow] = {}
        for row in self.rows:
            if row.context_above > tier:
                continue
            if any(attributes.get(key) != value for key, value in row.when):
                continue
            if row.unit not in best or row.rank > best[row.unit].rank:
                best[row.unit] = row
        lines: list[tuple[str, int, str, int, bool]] = []
        for unit in UNITS:
            source: str | None = unit
            while source is not None and source not in best:
                source = UNITS[source].parent
            row = best[source] if source is not None else None
            unexpected = row is None
            if row is None and unit in _SIDE:
                side = [best[name] for name in _SIDE[unit] if name in best]
                row = max(side, key=lambda row: row.nano_per_million, default=None)
            if row is not None and unit != "request":
                lines.append((unit, row.nano_per_million, row.usd, UNITS[unit].per, unexpected))
        # attrgetter of fewer than two names returns no tuple; a count without a line is not priced.
        fields = [UNITS[line[0]].field for line in lines] + ["requests", "requests"]
        return _Resolved(
            tuple(line[1] for line in lines),
            attrgetter(*fields[: max(2, len(lines))]),
            tuple(lines),
            best.get("request"),
        )

    def dearest(self, unit: str, attributes: Mapping[str, str], context_tokens: int) -> int | None:
        """The highest price (nano-USD per 10**6 counts) a unit may have, None without a row.

        Rows on attributes that are not known count too.
        """
        prices: list[int] = []
        for name in _family(unit):
            rows = [row for row in self.rows if row.unit == name]
            prices += [
                row.nano_per_million
                for row in rows
                if row.context_above <= context_tokens and _possible(row, attributes)
            ]
            if any(not row.rank[0] for row in rows):
                break  # this row matches always, the parent is never asked
        return max(prices, default=None)

    def worst(self, bound: Bound, attributes: Mapping[str, str]) -> _Worst:
        """The dearest prices a request inside the bound can meet."""
        tier, key = 0, _NO_KEY
        if not self.plain:
            tokens = _prompt_max(bound)
            tier = next((above for above in self._tiers if tokens > above), 0)
            # "" stands for a value that no row asks for: it rules all rows on this attribute out.
            key = tuple(
                (name, attributes[name] if attributes[name] in values else "")
                for name, values in self._values.items()
                if name in attributes
                and not (name == "service_tier" and attributes[name] in _OPEN_TIERS)
            )
        kinds = (
            tier,
            key,
            bound.audio_input,
            bound.audio_output,
            bound.image_input,
            bound.long_cache_writes,
        )
        found = self._worst_cache.get(kinds)
        if found is None:
            found = self._worst_cache[kinds] = _find_worst(self, bound, dict(key), tier)
        return found


def _family(unit: str) -> tuple[str, ...]:
    """The unit, then what it falls back to."""
    names = [unit]
    while (parent := UNITS[names[-1]].parent) is not None:
        names.append(parent)
    return tuple(names)


def price_sheet(rows: Iterable[PriceRow], markup_bp: int = 0) -> PriceSheet:
    """A sheet of the rows, in a fixed order, with the hash of its content as version. The markup of
    a group is in the rows already and no part of the version; receipts tell it."""
    ordered = tuple(sorted(rows, key=lambda row: (row.unit, row.when, row.context_above)))
    content = msgspec.json.encode(ordered)
    version = hashlib.sha256(content).hexdigest()[:16]
    return PriceSheet(version, ordered, markup_bp=markup_bp)


def charge(sheet: PriceSheet, usage: Usage, attributes: Mapping[str, str] = _NO_ATTRIBUTES) -> int:
    """What the usage costs, in nano-USD, rounded up once. Usage must be sanitized (no negatives).

    A plain sheet costs about 0.9 us.
    """
    resolved = sheet.resolve(usage, attributes)
    total = sum(map(mul, resolved.counts(usage), resolved.prices))
    if resolved.request is not None:
        total += max(1, usage.requests) * resolved.request.nano_per_million
    return -(-total // PRICE_UNITS)


def items(
    sheet: PriceSheet, usage: Usage, attributes: Mapping[str, str] = _NO_ATTRIBUTES
) -> list[Item]:
    """The lines of the charge; their amounts add up to it exactly."""
    return bill(sheet, usage, attributes)[1]


def bill(
    sheet: PriceSheet, usage: Usage, attributes: Mapping[str, str] = _NO_ATTRIBUTES
) -> tuple[int, list[Item]]:
    """The charge and its lines in one go. Cumulative rounding: the amounts add up exactly."""
    resolved = sheet.resolve(usage, attributes)
    lines: list[Item] = []
    total = before = 0
    counts = resolved.counts(usage)
    # Not strict: a getter has two names at least, see _resolve.
    for line, quantity in compress(zip(resolved.lines, counts, strict=False), counts):
        unit, price, usd, per, unexpected = line
        total += quantity * price
        after = -(-total // PRICE_UNITS)
        lines.append(Item(unit, quantity, usd, per, after - before, unexpected))
        before = after
    if resolved.request is not None:
        row, quantity = resolved.request, max(1, usage.requests)
        total += quantity * row.nano_per_million
        after = -(-total // PRICE_UNITS)
        lines.append(Item("request", quantity, row.usd, 1, after - before))
        before = after
    return before, lines


def unpriced_units(
    sheet: PriceSheet, usage: Usage, attributes: Mapping[str, str] = _NO_ATTRIBUTES
) -> tuple[str, ...]:
    """Units in the usage that the charge could not price at all: the house pays, raise an alarm."""
    priced = {line[0] for line in sheet.resolve(usage, attributes).lines}
    return tuple(
        name
        for name, unit in UNITS.items()
        if name not in priced and name != "request" and getattr(usage, unit.field)
    )


# ------------------------------------------------------------------------------ what it can cost


def ceiling(sheet: PriceSheet, bound: Bound, attributes: Mapping[str, str] = _NO_ATTRIBUTES) -> int:
    """The most a request inside ``bound`` can cost, in nano-USD. Raises Unpriced.

    ``attributes`` are those of the request as it is sent upstream. Every row that they do not rule
    out counts, so no answer inside the bound costs more, whatever tier or context it ends in.
    """
    worst = sheet.worst(bound, attributes)
    total = worst.request
    if bound.input_tokens:
        if worst.missing_input:
            raise Unpriced(worst.missing_input)
        total += bound.input_tokens * worst.input
    if bound.output_tokens:
        if worst.missing_output:
            raise Unpriced(worst.missing_output)
        total += bound.output_tokens * worst.output
    if attributes.get("service_tier") in _OPEN_TIERS:
        attributes = {key: value for key, value in attributes.items() if key != "service_tier"}
    for unit, counts in bound.units:
        price = sheet.dearest(unit, attributes, _prompt_max(bound))
        if price is None:
            raise Unpriced(unit)
        total += price * (max(0, counts - 1) if unit == "request" else counts)
    if bound.any_units:
        total += _alternatives(sheet, bound, attributes, worst)
    return div_ceil(total, PRICE_UNITS)


def _alternatives(
    sheet: PriceSheet, bound: Bound, attributes: Mapping[str, str], worst: _Worst
) -> int:
    """What those of ``bound.any_units`` cost that the sheet has; one of them must be there.

    Tokens are priced as ``charge`` does it: without a row of their own that always matches, maybe
    at the dearest of their side. A unit whose rows this request's attributes rule out is unpriced.
    """
    total, known, tokens = 0, False, _prompt_max(bound)
    for unit, counts in bound.any_units:
        has = sheet.has(unit)
        names = [unit]
        if unit in _SIDE and not sheet.covers(unit):
            names += _SIDE[unit]
        prices = [sheet.dearest(name, attributes, tokens) for name in names]
        price = max((price for price in prices if price is not None), default=None)
        if price is None:
            if has:
                raise Unpriced(unit)
            continue
        known = known or has
        if unit == "input_token":
            price = max(price, worst.input)
        elif unit == "output_token":
            price = max(price, worst.output)
        total += price * (max(0, counts - 1) if unit == "request" else counts)
    if not known:
        raise Unpriced(bound.any_units[0][0])
    return total


def _prompt_max(bound: Bound) -> int:
    if not bound.units and not bound.any_units:
        return bound.input_tokens
    units = bound.units + bound.any_units
    return bound.input_tokens + sum(counts for unit, counts in units if unit in INPUT_SIDE)


def _find_worst(
    sheet: PriceSheet, bound: Bound, attributes: Mapping[str, str], tier: int
) -> _Worst:
    def of(units: Iterable[str]) -> list[int]:
        prices = [sheet.dearest(unit, attributes, tier) for unit in units]
        return [price for price in prices if price is not None]

    def of_kind(unit: str) -> list[int]:
        """As ``charge`` does it: without a row that always matches, maybe the side's dearest."""
        return of([unit] if sheet.covers(unit) else [unit, *_SIDE[unit]])

    reads = of(INPUT_UNITS if bound.long_cache_writes else INPUT_UNITS[:-1])
    writes = of(OUTPUT_UNITS)
    must_read, must_write = ["input_token"], ["output_token"]
    if bound.image_input:
        reads += of_kind("image_input_token")
    if bound.audio_input:
        must_read.append("audio_input_token")
        reads += of_kind("audio_input_token")
    if bound.audio_output:
        must_write.append("audio_output_token")
        writes += of_kind("audio_output_token")
    return _Worst(
        max(reads, default=0),
        max(writes, default=0),
        max(of(["request"]), default=0),
        next((unit for unit in must_read if not of([unit])), ""),
        next((unit for unit in must_write if not of([unit])), ""),
    )


def _possible(row: PriceRow, attributes: Mapping[str, str]) -> bool:
    return all(attributes.get(key, value) == value for key, value in row.when)
