"""The catalog of a running gateway: immutable snapshots, swapped whole.

The effective catalog is the shipped files (``data/catalog/*.toml``) with the operator's rows on
top. A request takes ``source.current`` once and keeps it. ``GET /models`` is encoded once per
snapshot and set of providers with credentials, not per request.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from importlib import resources

import msgspec

from tokenmarket.core.catalog import Catalog, Model, Provider, Route
from tokenmarket.core.catalog_groups import Group, for_group
from tokenmarket.core.catalog_rows import CatalogDocument, Fault, merge
from tokenmarket.core.catalog_toml import check, compile, parse
from tokenmarket.core.pricing import PriceSheet
from tokenmarket.core.usage import UNITS

# OpenAI's model object wants a creation time and the catalog has none: the date of this list.
CREATED_S = 1_795_392_000  # 2026-11-23

_NEAR_NAMES_MAX = 3
_NEAR_LENGTH_MAX = 64  # the caller's text: what is compared stays small


def load_shipped() -> CatalogDocument:
    """The files of the package, parsed. Raises CatalogError; a test proves that it does not."""
    folder = resources.files("tokenmarket").joinpath("data", "catalog")
    files = sorted(
        (entry for entry in folder.iterdir() if entry.name.endswith(".toml")),
        key=lambda entry: entry.name,
    )
    return merge(parse(entry.read_text("utf-8"), entry.name) for entry in files)


class CatalogView:
    """One snapshot and the questions callers ask of it: everybody's, or one group's.

    ``credentialed`` names the providers that have a credential.
    """

    def __init__(self, catalog: Catalog, credentialed: frozenset[str]) -> None:
        self.credentialed = credentialed
        self.show(catalog)

    def show(self, catalog: Catalog) -> None:
        """Swaps the snapshot."""
        self.current = catalog
        self._found_grams: dict[str, frozenset[str]] | None = None
        self._encoded: dict[str, bytes] | None = None

    def set_credentialed(self, providers: frozenset[str]) -> None:
        """Takes the names of all providers that have a credential now."""
        if providers != self.credentialed:
            self.credentialed = providers
            self._encoded = None

    def find_model(self, name: str) -> Model | None:
        """By id or alias; None if there is none or it is switched off."""
        catalog = self.current
        model = catalog.models.get(name) or catalog.models.get(catalog.aliases.get(name, ""))
        return model if model is not None and model.enabled else None

    def near_names(self, name: str) -> list[str]:
        """Up to three names that look like this one, nearest first. About 50 us."""
        wanted = _trigrams(name[:_NEAR_LENGTH_MAX])
        scored = [
            (len(wanted & grams) / len(wanted | grams), known)
            for known, grams in self._grams().items()
        ]
        near = sorted((-score, known) for score, known in scored if score >= 0.25)
        return [known for _, known in near[:_NEAR_NAMES_MAX]]

    def unavailable_reason(self, model: Model) -> str | None:
        """Why no route of the model can be used, with what to do; None if one can."""
        return _unavailable(self.current.routes.get(model.id, ()), self.credentialed)

    def openai_models(self, allowed: Collection[str] | None = None) -> bytes:
        """The body of ``GET /models``; ``allowed``: the model ids of the key (None = all)."""
        items = self._items()
        chosen = [item for name, item in items.items() if allowed is None or name in allowed]
        return b'{"object":"list","data":[' + b",".join(chosen) + b"]}"

    def openai_model(self, model: Model) -> bytes:
        """One item of the list. ``model`` is from ``find_model`` (a KeyError is a bug)."""
        return self._items()[model.id]

    def pricing(self, route: Route) -> list[dict[str, object]]:
        """The route's price rows with markup applied, as shown to callers."""
        return pricing(route)

    def _grams(self) -> dict[str, frozenset[str]]:
        if self._found_grams is None:
            models = self.current.models
            names = dict(self.current.aliases) | {name: name for name in models}
            self._found_grams = {
                name: _trigrams(name) for name, to in names.items() if models[to].enabled
            }
        return self._found_grams

    def _items(self) -> dict[str, bytes]:
        """Model id to encoded item, sorted; encoded once per snapshot and credential state."""
        if self._encoded is None:
            encode = msgspec.json.Encoder().encode
            catalog = self.current
            self._encoded = {
                model.id: encode(_item(model, catalog.routes[model.id], self.credentialed))
                for model in sorted(catalog.models.values(), key=lambda model: model.id)
                if model.enabled
            }
        return self._encoded


class CatalogSource(CatalogView):
    """Holds the current snapshots; itself the view of everybody who is in no group.

    ``replace`` swaps them all; nothing here waits or locks. ``faults`` names rows of the last
    document that point nowhere and were left out.
    """

    def __init__(
        self,
        shipped: CatalogDocument,
        overlay: CatalogDocument | None = None,
        *,
        credentialed: frozenset[str] = frozenset(),
    ) -> None:
        self.shipped = shipped
        self._version = 0
        self._views: dict[str, CatalogView] = {}
        self._sheets: dict[tuple[str, int], PriceSheet] = {}
        self.credentialed = credentialed
        self.replace(overlay or CatalogDocument())

    def replace(self, overlay: CatalogDocument, groups: Collection[Group] = ()) -> None:
        """Takes the operator's rows (all of them) and groups, and swaps the snapshots."""
        self._version += 1
        self.document = merge([self.shipped, overlay])
        self.faults: tuple[Fault, ...] = check(self.document)
        self.show(compile(self.document, self._version, strict=False))
        sheets: dict[tuple[str, int], PriceSheet] = {}
        for group in groups:
            self._keep_sheets(group, sheets)
        self._sheets = sheets
        self._views = {
            group.id: CatalogView(for_group(self.current, group, sheets), self.credentialed)
            for group in groups
        }

    def for_group(self, group_id: str | None) -> CatalogView:
        """What members of the group see. A group that is not known here yet (it was made within
        the last second) sees what everybody sees."""
        if group_id is None:
            return self
        return self._views.get(group_id, self)

    def sheets(self) -> dict[str, PriceSheet]:
        """Every price sheet that a request may be charged by now, by version."""
        views = (self, *self._views.values())
        return {
            route.prices.version: route.prices
            for view in views
            for routes in view.current.routes.values()
            for route in routes
        }

    def set_credentialed(self, providers: frozenset[str]) -> None:
        super().set_credentialed(providers)
        for view in self._views.values():
            view.set_credentialed(providers)

    def _keep_sheets(self, group: Group, sheets: dict[tuple[str, int], PriceSheet]) -> None:
        """Those made for the snapshot before that are still the same."""
        for routes in self.current.routes.values():
            for route in routes:
                key = (route.prices.version, group.markup_bp)
                found = self._sheets.get(key)
                if found is not None:
                    sheets[key] = found


def needs_credential(provider: Provider) -> bool:
    """Whether calls to the provider carry a key that somebody must set."""
    return not provider.keyless


def usable(route: Route, credentialed: frozenset[str]) -> bool:
    """Whether the route is switched on, priced, and its provider can be called."""
    provider = route.provider
    return (
        route.enabled
        and provider.enabled
        and route.unpriced is None
        and (not needs_credential(provider) or provider.name in credentialed)
    )


def _unavailable(routes: Iterable[Route], credentialed: frozenset[str]) -> str | None:
    variables: list[str] = []
    unpriced: str | None = None
    for route in routes:
        if usable(route, credentialed):
            return None
        if not route.enabled or not route.provider.enabled:
            continue
        if route.unpriced is not None:
            unpriced = (
                f"no price for {route.unpriced} at {route.provider.name}:"
                f' add a row {{ unit = "{route.unpriced}", usd = "…" }}'
            )
        else:
            variables.append(f"{route.provider.api_key_env} (provider {route.provider.name})")
    if variables:
        return "no credentials: set " + " or ".join(variables)
    return unpriced or "no route is enabled"


def _item(
    model: Model, routes: tuple[Route, ...], credentialed: frozenset[str]
) -> Mapping[str, object]:
    """One item of the list: OpenAI's keys, then ours (``design/api.md`` section 8)."""
    offered = [route for route in routes if route.enabled and route.provider.enabled]
    default = model.default_provider or (offered[0].provider.name if offered else None)
    reason = _unavailable(routes, credentialed)
    item: dict[str, object] = {
        "id": model.id,
        "object": "model",
        "created": CREATED_S,
        "owned_by": model.vendor or "unknown",
        "operation": model.operation,
        "name": {"en": model.name_en, "zh": model.name_zh},
        "vendor": model.vendor,
        "context_tokens": model.context_tokens or None,
        "max_output_tokens": model.max_output_tokens or None,
        "default_provider": default,
        "providers": [route.provider.name for route in offered],
        "pricing": [line for route in offered for line in pricing(route)],
        "capabilities": model.capabilities,
        "aliases": list(model.aliases),
        "available": reason is None,
    }
    if reason is not None:
        item["reason"] = reason
    if model.deprecated_at is not None:
        item["deprecated_at"] = model.deprecated_at
    return item


def pricing(route: Route) -> list[dict[str, object]]:
    lines: list[dict[str, object]] = []
    for row in route.prices.rows:
        when: dict[str, object] = dict(row.when)
        if row.context_above:
            when["context_above"] = row.context_above
        lines.append(
            {
                "provider": route.provider.name,
                "unit": row.unit,
                "usd": row.usd,
                "per": UNITS[row.unit].per,
                "when": when,
            }
        )
    return lines


def _trigrams(name: str) -> frozenset[str]:
    text = f"  {name.lower()} "
    return frozenset(text[at : at + 3] for at in range(len(text) - 2))
