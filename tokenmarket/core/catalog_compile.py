"""From a whole document to the snapshot that requests use: references checked, prices compiled."""

from __future__ import annotations

from collections.abc import Iterable

from tokenmarket.core.catalog import Catalog, Model, Provider, Route
from tokenmarket.core.catalog_rows import (
    CatalogDocument,
    CatalogError,
    Fault,
    PriceEntry,
    RouteRow,
)
from tokenmarket.core.catalog_tables import near, printable
from tokenmarket.core.pricing import PriceSheet, price_row, price_sheet

# Every answer of the operation produces all of these: each needs a row without conditions.
_ALWAYS = {
    "chat": ("input_token", "output_token"),
    "completions": ("input_token", "output_token"),
    "embeddings": ("input_token",),
}
# What other operations are billed by differs by provider: one of these, with any conditions; a
# request whose conditions no row matches is refused on its own.
_ONE_OF = {
    "images": ("image", "image_output_token", "request"),
    "speech": ("character", "audio_second", "audio_output_token", "request"),
    "transcription": ("audio_second", "audio_input_token", "input_token", "request"),
    "translation": ("audio_second", "audio_input_token", "input_token", "request"),
    "rerank": ("search", "input_token", "request"),
    "video": ("video_second", "video_token", "output_token", "request"),
    "moderation": ("input_token", "request"),
}
# A capability that lets a caller ask for a further unit.
_BY_CAPABILITY = {"audio_input": "audio_input_token", "audio_output": "audio_output_token"}


def check(document: CatalogDocument) -> tuple[Fault, ...]:
    """What is wrong between rows of a merged document; empty if nothing is."""
    providers = {row.provider.name for row in document.providers}
    models = {row.model.id for row in document.models}
    routes = {(row.model, row.provider) for row in document.routes}
    faults: list[Fault] = []
    for route in document.routes:
        file, line, key = route.place.file, route.place.line, f"route {route.model}"
        if route.model not in models:
            hint = near(route.model, models) if models else "no model is defined"
            faults.append(
                Fault(file, line, f"{key}: model", f"there is no model {route.model!r}; {hint}")
            )
        if route.provider not in providers:
            hint = near(route.provider, providers) if providers else "no provider is defined"
            text = f"there is no provider {route.provider!r}; {hint}"
            faults.append(Fault(file, line, f"{key}: provider", text))
    owners: dict[str, str] = {}
    for row in document.models:
        model, place = row.model, row.place
        key = f"model {model.id}"
        default = model.default_provider
        if default is not None and (model.id, default) not in routes:
            text = f"there is no route for this model at {default!r}"
            faults.append(Fault(place.file, place.line, f"{key}: default_provider", text))
        for alias in model.aliases:
            owner = alias if alias in models else owners.setdefault(alias, model.id)
            if owner != model.id:
                text = f"{printable(alias)!r} already names the model {owner!r}"
                faults.append(Fault(place.file, place.line, f"{key}: aliases", text))
    return tuple(sorted(faults))


def compile(document: CatalogDocument, version: int, *, strict: bool = True) -> Catalog:
    """The snapshot. Raises CatalogError if ``check`` finds anything.

    Not strict: rows that point nowhere are left out instead, for a server that must start although
    a model of its stored rows is no longer shipped.
    """
    faults = check(document) if strict else ()
    if faults:
        raise CatalogError(faults)
    providers = {row.provider.name: row.provider for row in document.providers}
    models = {row.model.id: row.model for row in document.models}
    aliases: dict[str, str] = {}
    for model in models.values():
        for alias in model.aliases:
            if alias not in models:
                aliases.setdefault(alias, model.id)
    routes: dict[str, list[Route]] = {name: [] for name in models}
    for row in document.routes:
        if row.model in models and row.provider in providers:
            routes[row.model].append(_route(row, models[row.model], providers[row.provider]))
    ordered = {
        name: tuple(sorted(found, key=lambda route: (route.priority, route.provider.name)))
        for name, found in routes.items()
    }
    return Catalog(version, providers, models, ordered, aliases)


def _route(row: RouteRow, model: Model, provider: Provider) -> Route:
    prices = sheet_of(row.price, row.markup_percent)
    return Route(
        model=model,
        provider=provider,
        upstream_model=row.upstream_model,
        prices=prices,
        priority=row.priority,
        weight=row.weight,
        markup_percent=row.markup_percent,
        costs=sheet_of(row.cost) if row.cost else None,
        enabled=row.enabled,
        unpriced=unpriced_unit(model, prices),
    )


def sheet_of(entries: Iterable[PriceEntry], markup_percent: str = "0") -> PriceSheet:
    """The price rows as written, with markup, as one version. Raises ValueError."""
    return price_sheet(
        price_row(entry.unit, entry.usd, entry.when, entry.context_above, markup_percent)
        for entry in entries
    )


def unpriced_unit(model: Model, prices: PriceSheet) -> str | None:
    """The first unit that an answer of the model can produce and no row covers."""
    required = [
        *_ALWAYS.get(model.operation, ()),
        *(unit for name, unit in _BY_CAPABILITY.items() if model.capabilities.get(name) is True),
    ]
    for unit in required:
        if not prices.covers(unit):
            return unit
    one_of = _ONE_OF.get(model.operation, ())
    if one_of and not any(prices.has(unit) for unit in one_of):
        return one_of[0]
    return None
