"""What a route's price consists of, and how one set of terms differs from another. Pure.

``differences`` is what an operator looks at before a price goes out: row by row the old and the
new price, and what is left of it above the cost.
"""

from __future__ import annotations

import msgspec

from tokenmarket.core.catalog_compile import sheet_of
from tokenmarket.core.catalog_rows import PriceEntry, RouteRow
from tokenmarket.core.pricing import PriceRow, PriceSheet, charge
from tokenmarket.core.usage import UNITS, Usage

_Key = tuple[str, tuple[tuple[str, str], ...], int]


class PriceTerms(msgspec.Struct, frozen=True, omit_defaults=True):
    """Price rows as written (before markup), what we pay ourselves, and the markup."""

    price: tuple[PriceEntry, ...] = ()
    cost: tuple[PriceEntry, ...] = ()
    markup_percent: str = "0"

    def sheet(self) -> PriceSheet:
        """What callers pay, as one version."""
        return sheet_of(self.price, self.markup_percent)


class RowDifference(msgspec.Struct, frozen=True):
    """One price row: decimal strings in USD per ``per`` units; None = there is no such row.

    ``change_bp`` is new against old, ``margin_bp`` what is left of the new price above the cost, in
    hundredths of a percent, rounded down; None where it cannot be said.
    """

    unit: str
    per: int
    when: tuple[tuple[str, str], ...]
    context_above: int
    before_usd: str | None
    after_usd: str | None
    cost_usd: str | None
    change_bp: int | None
    margin_bp: int | None


class Example(msgspec.Struct, frozen=True):
    """The same use at the old and at the new price, in nano-USD; ``cost_nano`` None: not known."""

    usage: Usage
    before_nano: int
    after_nano: int
    cost_nano: int | None


def terms_of(row: RouteRow) -> PriceTerms:
    return PriceTerms(row.price, row.cost, row.markup_percent)


def with_terms(row: RouteRow, terms: PriceTerms) -> RouteRow:
    """The route with another price; everything else about it stays."""
    return msgspec.structs.replace(
        row, price=terms.price, cost=terms.cost, markup_percent=terms.markup_percent
    )


def differences(before: PriceTerms, after: PriceTerms) -> list[RowDifference]:
    """All rows of both, in a fixed order."""
    old, new = _by_key(before.sheet()), _by_key(after.sheet())
    costs = _by_key(sheet_of(after.cost)) if after.cost else {}
    found: list[RowDifference] = []
    for key in sorted(old.keys() | new.keys()):
        unit, when, above = key
        was, now, cost = old.get(key), new.get(key), costs.get(key) or costs.get((unit, (), 0))
        found.append(
            RowDifference(
                unit,
                UNITS[unit].per,
                when,
                above,
                None if was is None else was.usd,
                None if now is None else now.usd,
                None if cost is None else cost.usd,
                _share_bp(was, now),
                None if now is None or cost is None else margin_bp(now, cost),
            )
        )
    return found


def margin_bp(price: PriceRow, cost: PriceRow) -> int | None:
    """(price - cost) / price in hundredths of a percent; None for a price of nothing."""
    if price.nano_per_million == 0:
        return None
    left = price.nano_per_million - cost.nano_per_million
    return left * 10_000 // price.nano_per_million


def example(before: PriceTerms, after: PriceTerms) -> Example:
    """One request of a common size, priced both ways. Only rows without conditions can apply."""
    usage = Usage(
        input_tokens=2_000,
        cached_input_tokens=6_000,
        output_tokens=1_000,
        images=1,
        audio_ms=60_000,
        characters=1_000,
        video_ms=5_000,
        searches=1,
    )
    relevant = _relevant(usage, after.sheet())
    costs = sheet_of(after.cost)
    known = all(costs.covers(row.unit) for row in after.sheet().rows)
    return Example(
        relevant,
        charge(before.sheet(), relevant),
        charge(after.sheet(), relevant),
        charge(costs, relevant) if known else None,
    )


def _relevant(usage: Usage, sheet: PriceSheet) -> Usage:
    """Only what the sheet has a row for: an image model is not used for tokens."""
    kept: dict[str, int] = {}
    for name, unit in UNITS.items():
        count = getattr(usage, unit.field, 0) if name != "request" else 0
        if count and sheet.covers(name):
            kept[unit.field] = count
    return msgspec.convert(kept, Usage)


def _share_bp(was: PriceRow | None, now: PriceRow | None) -> int | None:
    if was is None or now is None or was.nano_per_million == 0:
        return None
    return (now.nano_per_million - was.nano_per_million) * 10_000 // was.nano_per_million


def _by_key(sheet: PriceSheet) -> dict[_Key, PriceRow]:
    return {(row.unit, row.when, row.context_above): row for row in sheet.rows}
