"""What the marketplace shows of the catalog: prices in words of people, filters, samples of code.

Pure: the catalog's snapshot and what was measured come in, values for templates go out. Prices are
those a caller pays (markup applied). What is converted for display is marked as such; what was not
measured is None and shows as "no data yet".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal

import msgspec

from tokenmarket.catalog import usable
from tokenmarket.core.catalog import OPERATIONS, Catalog, Model, Route
from tokenmarket.core.pricing import PriceRow
from tokenmarket.core.usage import UNITS

# Of a model's many rows these say most, by operation.
_LEADING = {
    "chat": ("input_token", "output_token"),
    "completions": ("input_token", "output_token"),
    "embeddings": ("input_token",),
    "images": ("image", "image_output_token", "output_token"),
    "speech": ("character", "audio_output_token", "audio_second"),
    "transcription": ("audio_second", "audio_input_token"),
    "translation": ("audio_second", "audio_input_token"),
    "rerank": ("search", "input_token"),
    "video": ("video_second", "video_token", "request"),
    "moderation": ("request", "input_token"),
}
SORTS = ("name", "price", "context")


class Price(msgspec.Struct, frozen=True):
    """One price line: what, how much, per how many, and when it applies."""

    unit: str
    usd: str
    per: int
    when: tuple[tuple[str, str], ...] = ()
    context_above: int = 0


class Offer(msgspec.Struct, frozen=True):
    """A model in the list. ``prices`` are the leading ones of its cheapest usable route."""

    id: str
    name: str
    vendor: str
    operation: str
    context_tokens: int
    prices: tuple[Price, ...]
    providers: tuple[str, ...]
    available: bool
    deprecated_at: str | None
    features: tuple[str, ...]


class Choice(msgspec.Struct, frozen=True):
    """The filters of the list, from the query; what is not known is not a filter."""

    q: str = ""
    operation: str = ""
    vendor: str = ""
    provider: str = ""
    available: bool = False
    sort: str = "name"


def choice(query: Mapping[str, str], catalog: Catalog) -> Choice:
    """The filters that a query names; unknown values are ignored."""
    vendors = {model.vendor for model in catalog.models.values()}
    operation, vendor = query.get("operation", ""), query.get("vendor", "")
    provider, sort = query.get("provider", ""), query.get("sort", "name")
    return Choice(
        q=query.get("q", "").strip()[:100],
        operation=operation if operation in OPERATIONS else "",
        vendor=vendor if vendor in vendors else "",
        provider=provider if provider in catalog.providers else "",
        available=query.get("available") == "1",
        sort=sort if sort in SORTS else "name",
    )


def offers(
    catalog: Catalog, credentialed: frozenset[str], wanted: Choice, lang: str
) -> list[Offer]:
    """The models that match, in order."""
    found = [
        _offer(model, catalog.routes.get(model.id, ()), credentialed, lang)
        for model in catalog.models.values()
        if model.enabled
    ]
    words = wanted.q.lower().split()
    chosen = [
        offer
        for offer in found
        if (not wanted.operation or offer.operation == wanted.operation)
        and (not wanted.vendor or offer.vendor == wanted.vendor)
        and (not wanted.provider or wanted.provider in offer.providers)
        and (offer.available or not wanted.available)
        and _matches(catalog.models[offer.id], words)
    ]
    return sorted(chosen, key=lambda offer: _rank(offer, wanted.sort))


def price_lines(route: Route) -> list[Price]:
    """All price rows of a route, plain ones first."""
    rows = sorted(
        route.prices.rows,
        key=lambda row: (list(UNITS).index(row.unit), row.context_above, row.when),
    )
    return [_price(row) for row in rows]


def features(model: Model) -> tuple[str, ...]:
    """The capabilities that are simply there or not."""
    return tuple(sorted(name for name, value in model.capabilities.items() if value is True))


def facets(catalog: Catalog) -> tuple[list[str], list[str], list[str]]:
    """(operations, vendors, providers) that enabled models have."""
    models = [model for model in catalog.models.values() if model.enabled]
    providers = {
        route.provider.name
        for model in models
        for route in catalog.routes.get(model.id, ())
        if route.enabled and route.provider.enabled
    }
    here = {model.operation for model in models}
    return (
        [operation for operation in OPERATIONS if operation in here],
        sorted({model.vendor for model in models if model.vendor}),
        sorted(providers),
    )


def _offer(
    model: Model, routes: Collection[Route], credentialed: frozenset[str], lang: str
) -> Offer:
    offered = [route for route in routes if route.enabled and route.provider.enabled]
    ready = [route for route in offered if usable(route, credentialed)]
    cheapest = min(ready or offered, key=_cost, default=None)
    return Offer(
        id=model.id,
        name=model.name_zh if lang == "zh" else model.name_en,
        vendor=model.vendor,
        operation=model.operation,
        context_tokens=model.context_tokens,
        prices=() if cheapest is None else _leading(model, cheapest),
        providers=tuple(route.provider.name for route in offered),
        available=bool(ready),
        deprecated_at=model.deprecated_at,
        features=features(model),
    )


def _leading(model: Model, route: Route) -> tuple[Price, ...]:
    rows = route.prices.rows
    found: list[Price] = []
    for unit in _LEADING[model.operation]:
        of_unit = [row for row in rows if row.unit == unit]
        if of_unit:
            found.append(_price(min(of_unit, key=lambda row: (row.rank, row.nano_per_million))))
    if not found:
        found = [_price(row) for row in rows[:1]]
    return tuple(found[:2])


def _price(row: PriceRow) -> Price:
    return Price(row.unit, row.usd, UNITS[row.unit].per, row.when, row.context_above)


def _cost(route: Route) -> int:
    """For comparing the routes of one model: the sum of its plain rows."""
    return sum(row.nano_per_million for row in route.prices.rows if not row.when)


def _matches(model: Model, words: Collection[str]) -> bool:
    text = " ".join((model.id, model.name_en, model.name_zh, model.vendor, *model.aliases)).lower()
    return all(word in text for word in words)


def _rank(offer: Offer, sort: str) -> tuple[object, ...]:
    if sort == "price":
        missing = not offer.prices
        usd = Decimal(0) if missing else Decimal(offer.prices[0].usd) / offer.prices[0].per
        return (not offer.available, missing, usd, offer.name.lower(), offer.id)
    if sort == "context":
        return (not offer.available, -offer.context_tokens, offer.name.lower(), offer.id)
    return (not offer.available, offer.name.lower(), offer.id)
