"""Rows of the catalog as written: what TOML files and the console say, before prices are compiled.

A document may be partial (a route for a model of another document). ``merge`` puts documents on
top of each other, ``core/catalog_compile.py`` checks the whole and makes the snapshot.
Rows are plain Structs, so the store may keep them as JSON.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tokenmarket.core.catalog import Model, Provider


class Place(msgspec.Struct, frozen=True):
    """Where a row was written. Line 0 = nowhere a person can look (the console, the database)."""

    file: str = ""
    line: int = 0


class Fault(msgspec.Struct, frozen=True, order=True):
    """One thing that is wrong: where, which key (``route[3].price[1].usd``), what to do."""

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.key}: {self.message}"


class CatalogError(Exception):
    """A document that cannot be applied; all faults that were found, in the order of the file."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(faults))
        super().__init__("\n".join(map(str, self.faults)))


class PriceEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A price row as written: ``usd`` is the decimal string before markup."""

    unit: str
    usd: str
    when: tuple[tuple[str, str], ...] = ()
    context_above: int = 0

    @property
    def keys(self) -> int:
        """How many conditions: the row with more wins."""
        return len(self.when) + (1 if self.context_above else 0)


class ProviderRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """``api_keys`` are secrets from the file: stored encrypted, never exported, never shown."""

    provider: Provider
    api_keys: tuple[str, ...] = ()
    place: Place = Place()

    def __repr__(self) -> str:
        return f"ProviderRow({self.provider.name!r}, {len(self.api_keys)} api_keys, {self.place})"


class ModelRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """``Model`` with its place."""

    model: Model
    place: Place = Place()


class RouteRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """A route as written; ``model`` and ``provider`` are names."""

    model: str
    provider: str
    upstream_model: str
    price: tuple[PriceEntry, ...] = ()
    cost: tuple[PriceEntry, ...] = ()
    priority: int = 0
    weight: int = 1
    markup_percent: str = "0"
    enabled: bool = True
    place: Place = Place()


class CatalogDocument(msgspec.Struct, frozen=True):
    """Rows of one or of several merged files."""

    providers: tuple[ProviderRow, ...] = ()
    models: tuple[ModelRow, ...] = ()
    routes: tuple[RouteRow, ...] = ()


def merge(documents: Iterable[CatalogDocument]) -> CatalogDocument:
    """Later rows replace earlier ones whole: by provider name, model id, (model, provider).

    A model id or alias of a later document also takes the name away from an earlier alias.
    """
    providers: dict[str, ProviderRow] = {}
    models: dict[str, ModelRow] = {}
    routes: dict[tuple[str, str], RouteRow] = {}
    for document in documents:
        claimed = {row.model.id for row in document.models}
        claimed.update(alias for row in document.models for alias in row.model.aliases)
        for name, row in models.items():
            if not claimed.isdisjoint(row.model.aliases):
                kept = tuple(alias for alias in row.model.aliases if alias not in claimed)
                model = msgspec.structs.replace(row.model, aliases=kept)
                models[name] = msgspec.structs.replace(row, model=model)
        providers.update((row.provider.name, row) for row in document.providers)
        models.update((row.model.id, row) for row in document.models)
        routes.update(((row.model, row.provider), row) for row in document.routes)
    return CatalogDocument(
        tuple(providers.values()), tuple(models.values()), tuple(routes.values())
    )


def without_places(document: CatalogDocument) -> CatalogDocument:
    """The same rows, comparable: a place is not content."""
    replace = msgspec.structs.replace
    return CatalogDocument(
        tuple(replace(row, place=Place()) for row in document.providers),
        tuple(replace(row, place=Place()) for row in document.models),
        tuple(replace(row, place=Place()) for row in document.routes),
    )
