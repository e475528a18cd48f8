"""Groups of organisations: a markup on top of every price, and what the group may use.

``for_group`` makes a group's own snapshot out of the one for everybody. Its price sheets are new
versions of their own, so receipts, holds and the proof of the books need to know nothing of groups.
"""

from __future__ import annotations

from collections.abc import MutableMapping

import msgspec

from tokenmarket.core.catalog import Catalog, Model, Route
from tokenmarket.core.money import PRICE_UNITS, decimal_text, div_ceil
from tokenmarket.core.pricing import PriceRow, PriceSheet, price_sheet
from tokenmarket.core.usage import UNITS

BASIS_POINTS = 10_000  # of 100 percent
MARKUP_BP_MIN = -9_999
MARKUP_BP_MAX = 10_000_000

# Sheets that were made before, by (version of the sheet for everybody, markup).
Sheets = MutableMapping[tuple[str, int], PriceSheet]


class Group(msgspec.Struct, frozen=True):
    """``markup_bp`` is in hundredths of a percent, negative for a discount; None = all."""

    id: str
    name: str
    markup_bp: int = 0
    models: frozenset[str] | None = None
    providers: frozenset[str] | None = None


def for_group(catalog: Catalog, group: Group, sheets: Sheets) -> Catalog:
    """What the group sees, at its prices. ``sheets`` is kept between calls: most stay the same."""
    models: dict[str, Model] = {}
    routes: dict[str, tuple[Route, ...]] = {}
    for name, model in catalog.models.items():
        offered = [
            route
            for route in catalog.routes[name]
            if group.providers is None or route.provider.name in group.providers
        ]
        if (group.models is not None and name not in group.models) or (
            group.providers is not None and not offered
        ):
            continue
        models[name] = shown = _without_absent(model, offered)
        routes[name] = tuple(_priced(route, shown, group.markup_bp, sheets) for route in offered)
    aliases = {alias: name for alias, name in catalog.aliases.items() if name in models}
    return Catalog(catalog.version, catalog.providers, models, routes, aliases)


def marked_up(sheet: PriceSheet, markup_bp: int) -> PriceSheet:
    """The sheet with every price raised (or lowered) by the markup, each rounded up once."""
    if markup_bp == 0:
        return sheet
    return price_sheet((_marked_up_row(row, markup_bp) for row in sheet.rows), markup_bp)


def percent_text(markup_bp: int) -> str:
    """1250 -> "12.5": hundredths of a percent as people write them."""
    sign = "-" if markup_bp < 0 else ""
    whole, rest = divmod(abs(markup_bp), 100)
    return f"{sign}{whole}.{rest:02d}".rstrip("0").rstrip(".")


def _without_absent(model: Model, offered: list[Route]) -> Model:
    default = model.default_provider
    if default is None or any(route.provider.name == default for route in offered):
        return model
    return msgspec.structs.replace(model, default_provider=None)


def _priced(route: Route, model: Model, markup_bp: int, sheets: Sheets) -> Route:
    key = (route.prices.version, markup_bp)
    prices = sheets.get(key)
    if prices is None:
        prices = sheets[key] = marked_up(route.prices, markup_bp)
    return msgspec.structs.replace(route, model=model, prices=prices)


def _marked_up_row(row: PriceRow, markup_bp: int) -> PriceRow:
    nano = div_ceil(row.nano_per_million * (BASIS_POINTS + markup_bp), BASIS_POINTS)
    unit = UNITS[row.unit]
    scale = PRICE_UNITS // (unit.per * unit.counts_per_unit)  # as in ``pricing.price_row``
    shown = decimal_text(nano, 9 + len(str(scale)) - 1)
    return msgspec.structs.replace(row, nano_per_million=nano, usd=shown)
