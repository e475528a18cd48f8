"""Providers, models and routes as the operator changes them: rows over the shipped catalog.

Every row passes through the same checks as a catalog file (``core/catalog_toml.py``), so the pages,
the management API and ``tokenmarket catalog apply`` cannot disagree on what is right.
"""

from __future__ import annotations

import msgspec

from tokenmarket.accounts.admin import NotThere, Refused
from tokenmarket.core.catalog import Model
from tokenmarket.core.catalog_rows import (
    CatalogDocument,
    CatalogError,
    ModelRow,
    RouteRow,
    merge,
)
from tokenmarket.core.catalog_toml import dump, parse
from tokenmarket.core.texts import N_
from tokenmarket.store import accounts as rows
from tokenmarket.store import catalog_rows
from tokenmarket.store.catalog_rows import Applied, Kind
from tokenmarket.store.database import Connection

_NO_KEYS = b""  # rows without API keys need no key to seal them with


class InvalidRow(Refused):
    """A row that the catalog's rules refuse; ``problems`` are (key, message) of each mistake."""

    def __init__(self, error: CatalogError) -> None:
        self.problems = tuple((fault.key, fault.message) for fault in error.faults)
        super().__init__("; ".join(f"{key}: {message}" for key, message in self.problems))


class ModelWishes(msgspec.Struct, frozen=True):
    """What the operator changes about a model; the rest stays as shipped."""

    name_en: str
    name_zh: str
    policy: str = "default"
    default_provider: str | None = None
    deprecated_at: str | None = None
    enabled: bool = True


class RouteWishes(msgspec.Struct, frozen=True):
    """What the operator changes about a route; its price is ``backoffice/prices.py``'s."""

    upstream_model: str
    priority: int = 0
    weight: int = 1
    enabled: bool = True


async def in_force(conn: Connection, shipped: CatalogDocument) -> CatalogDocument:
    """The shipped rows with the operator's on top."""
    return merge([shipped, await catalog_rows.overlay(conn)])


async def own_rows(conn: Connection) -> set[tuple[str, ...]]:
    """Which rows are the operator's: ("provider", name), ("model", id), ("route", model, name)."""
    document = await catalog_rows.overlay(conn)
    return {
        *(("provider", row.provider.name) for row in document.providers),
        *(("model", row.model.id) for row in document.models),
        *(("route", row.model, row.provider) for row in document.routes),
    }


async def change_model(
    conn: Connection,
    shipped: CatalogDocument,
    model_id: str,
    wishes: ModelWishes,
    *,
    now_us: int,
    actor: str,
) -> Applied:
    """Raises NotThere, InvalidRow."""
    before = find_model(await in_force(conn, shipped), model_id)
    after = msgspec.structs.replace(before, **msgspec.structs.asdict(wishes))
    document = checked(CatalogDocument(models=(ModelRow(after),)))
    applied = await apply(conn, shipped, document, now_us)
    if applied.anything:
        detail = changed_fields(before, after)
        await rows.append_audit(conn, now_us, actor, "model.change", model_id, detail)
    return applied


async def change_route(
    conn: Connection,
    shipped: CatalogDocument,
    key: tuple[str, str],
    wishes: RouteWishes,
    *,
    now_us: int,
    actor: str,
) -> Applied:
    """``key`` is (model, provider). Raises NotThere, InvalidRow."""
    before = find_route(await in_force(conn, shipped), key)
    after = msgspec.structs.replace(before, **msgspec.structs.asdict(wishes))
    document = checked(CatalogDocument(routes=(after,)))
    applied = await apply(conn, shipped, document, now_us)
    if applied.anything:
        detail = changed_fields(before, after)
        await rows.append_audit(conn, now_us, actor, "route.change", " at ".join(key), detail)
    return applied


async def add_route(
    conn: Connection, shipped: CatalogDocument, row: RouteRow, *, now_us: int, actor: str
) -> Applied:
    """A model at one more provider. Raises InvalidRow, or Refused if it is there already."""
    document = await in_force(conn, shipped)
    if any((other.model, other.provider) == (row.model, row.provider) for other in document.routes):
        raise Refused(N_("This model has a route to this provider already: change that one."))
    applied = await apply(conn, shipped, checked(CatalogDocument(routes=(row,))), now_us)
    detail: dict[str, object] = {"upstream_model": row.upstream_model}
    subject = f"{row.model} at {row.provider}"
    await rows.append_audit(conn, now_us, actor, "route.add", subject, detail)
    return applied


async def put_route(
    conn: Connection,
    shipped: CatalogDocument,
    key: tuple[str, str],
    wishes: RouteWishes,
    *,
    now_us: int,
    actor: str,
) -> RouteRow:
    """The route of (model, provider) as it shall be: changed, or added without a price. Raises
    InvalidRow."""
    document = await in_force(conn, shipped)
    if any((row.model, row.provider) == key for row in document.routes):
        await change_route(conn, shipped, key, wishes, now_us=now_us, actor=actor)
    else:
        row = RouteRow(*key, **msgspec.structs.asdict(wishes))
        await add_route(conn, shipped, row, now_us=now_us, actor=actor)
    return find_route(await in_force(conn, shipped), key)


async def reset(
    conn: Connection,
    shipped: CatalogDocument,
    kind: Kind,
    key: tuple[str, ...],
    *,
    now_us: int,
    actor: str,
) -> None:
    """The shipped row holds again; a row of the operator's own making is gone.

    Raises NotThere, or InvalidRow if other rows need it.
    """
    try:
        found = await catalog_rows.reset(conn, shipped, kind, key)
    except CatalogError as error:
        raise InvalidRow(error) from error
    if not found:
        raise NotThere(N_("Nothing here was changed: this row is as shipped."))
    await rows.append_audit(conn, now_us, actor, f"{kind}.reset", " at ".join(key), {})


def find_model(document: CatalogDocument, model_id: str) -> Model:
    """Raises NotThere."""
    for row in document.models:
        if row.model.id == model_id:
            return row.model
    raise NotThere(N_("There is no such model."))


def find_route(document: CatalogDocument, key: tuple[str, str]) -> RouteRow:
    """Raises NotThere."""
    for row in document.routes:
        if (row.model, row.provider) == key:
            return row
    raise NotThere(N_("There is no such route."))


def checked(document: CatalogDocument) -> CatalogDocument:
    """The rows as a file with them would be read. Raises InvalidRow."""
    try:
        return parse(dump(document), "")
    except CatalogError as error:
        raise InvalidRow(error) from error


async def apply(
    conn: Connection, shipped: CatalogDocument, document: CatalogDocument, now_us: int
) -> Applied:
    """Write checked rows without API keys. Raises InvalidRow; then roll back."""
    try:
        return await catalog_rows.apply(conn, _NO_KEYS, shipped, document, now_us=now_us)
    except CatalogError as error:
        raise InvalidRow(error) from error


def changed_fields(before: msgspec.Struct, after: msgspec.Struct) -> dict[str, object]:
    """For the audit trail: field -> [before, after]."""
    return {
        name: [msgspec.to_builtins(getattr(before, name)), msgspec.to_builtins(value)]
        for name, value in msgspec.structs.asdict(after).items()
        if value != getattr(before, name) and name != "place"
    }
