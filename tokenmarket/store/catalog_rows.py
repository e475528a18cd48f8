"""The operator's catalog rows, which lie over the shipped files.

Only what differs is written, so that applying an export changes nothing, and an update of the
shipped prices reaches everybody who never overrode them. API keys in a document go to
``store/credentials.py``, never into these rows.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import msgspec
from sqlalchemy import Table, and_, delete, insert, select, update
from sqlalchemy.sql.elements import ColumnElement

from tokenmarket.core.catalog import Model, Provider
from tokenmarket.core.catalog_compile import check
from tokenmarket.core.catalog_rows import (
    CatalogDocument,
    CatalogError,
    ModelRow,
    ProviderRow,
    RouteRow,
    merge,
    without_places,
)
from tokenmarket.store import credentials
from tokenmarket.store.accounts import bump_generation
from tokenmarket.store.database import Connection
from tokenmarket.store.tables import model, provider, route

_Row = TypeVar("_Row", ProviderRow, ModelRow, RouteRow)
Kind = Literal["provider", "model", "route"]
_TABLES: dict[Kind, tuple[Table, tuple[str, ...]]] = {
    "provider": (provider, ("name",)),
    "model": (model, ("id",)),
    "route": (route, ("model", "provider")),
}


class Applied(msgspec.Struct, frozen=True):
    """What was changed; ``keyless`` are providers whose stored key is for another URL."""

    providers: tuple[str, ...]
    models: tuple[str, ...]
    routes: tuple[tuple[str, str], ...]
    keys: tuple[str, ...]
    keyless: tuple[str, ...]

    @property
    def anything(self) -> bool:
        return bool(self.providers or self.models or self.routes or self.keys)


async def overlay(conn: Connection) -> CatalogDocument:
    """All rows of the operator."""
    providers = [
        ProviderRow(msgspec.json.decode(text, type=Provider))
        for text in await _documents(conn, provider)
    ]
    models = [
        ModelRow(msgspec.json.decode(text, type=Model)) for text in await _documents(conn, model)
    ]
    routes = [msgspec.json.decode(text, type=RouteRow) for text in await _documents(conn, route)]
    return CatalogDocument(tuple(providers), tuple(models), tuple(routes))


async def apply(
    conn: Connection,
    kek: bytes,
    shipped: CatalogDocument,
    document: CatalogDocument,
    *,
    now_us: int,
) -> Applied:
    """Write what differs from the catalog in force, all or nothing.

    ``shipped`` is the catalog without operator's rows. Raises CatalogError if the result would be
    inconsistent; the caller's transaction must then roll back.
    """
    before = without_places(merge([shipped, await overlay(conn)]))
    faults = check(merge([before, document]))
    if faults:
        raise CatalogError(faults)
    keys = {row.provider.name: row for row in document.providers if row.api_keys}
    wanted = _without_keys(without_places(document))
    providers = _differing(before.providers, wanted.providers)
    models = _differing(before.models, wanted.models)
    routes = _differing(before.routes, wanted.routes)
    for row in providers:
        await _put(conn, provider, {"name": row.provider.name}, row.provider, now_us)
    for row in models:
        await _put(conn, model, {"id": row.model.id}, row.model, now_us)
    for row in routes:
        await _put(conn, route, {"model": row.model, "provider": row.provider}, row, now_us)
    changed_keys: list[str] = []
    for name, row in keys.items():
        if await _keys_differ(conn, kek, row):
            url = row.provider.base_url
            await credentials.replace(conn, kek, name, url, list(row.api_keys), now_us=now_us)
            changed_keys.append(name)
    applied = Applied(
        providers=tuple(row.provider.name for row in providers),
        models=tuple(row.model.id for row in models),
        routes=tuple((row.model, row.provider) for row in routes),
        keys=tuple(changed_keys),
        keyless=await _keyless(conn, providers),
    )
    if applied.anything:
        await bump_generation(conn)
    return applied


async def reset(
    conn: Connection, shipped: CatalogDocument, kind: Kind, key: tuple[str, ...]
) -> bool:
    """Forget the operator's row, so that the shipped one holds again (or none); False if there was
    none. Raises CatalogError if the result would be inconsistent; then roll back."""
    table, columns = _TABLES[kind]
    here = and_(*(table.c[name] == value for name, value in zip(columns, key, strict=True)))
    removed = (await conn.execute(delete(table).where(here))).rowcount > 0
    if removed:
        faults = check(merge([shipped, await overlay(conn)]))
        if faults:
            raise CatalogError(faults)
        await bump_generation(conn)
    return removed


async def _documents(conn: Connection, table: Table) -> list[str]:
    query = select(table.c.document).order_by(*table.primary_key.columns)
    return list((await conn.execute(query)).scalars())


async def _put(
    conn: Connection, table: Table, key: dict[str, str], document: object, now_us: int
) -> None:
    """Insert or replace; the transaction is the only writer, so looking first is safe."""
    values = {"document": msgspec.json.encode(document).decode(), "updated_us": now_us}
    here: ColumnElement[bool] = and_(*(table.c[name] == value for name, value in key.items()))
    if (await conn.execute(update(table).where(here).values(values))).rowcount == 0:
        await conn.execute(insert(table).values({**key, **values}))


def _without_keys(document: CatalogDocument) -> CatalogDocument:
    rows = tuple(msgspec.structs.replace(row, api_keys=()) for row in document.providers)
    return msgspec.structs.replace(document, providers=rows)


def _differing(before: tuple[_Row, ...], wanted: tuple[_Row, ...]) -> list[_Row]:
    return [row for row in wanted if row not in before]


async def _keys_differ(conn: Connection, kek: bytes, row: ProviderRow) -> bool:
    stored = await credentials.open_all(conn, kek, provider=row.provider.name)
    here = {c.secret for c in stored if c.base_url == row.provider.base_url}
    return here != set(row.api_keys) or len(stored) != len(here)


async def _keyless(conn: Connection, providers: list[ProviderRow]) -> tuple[str, ...]:
    names: list[str] = []
    for row in providers:
        stored = await credentials.listed(conn, row.provider.name)
        if stored and not any(c.base_url == row.provider.base_url for c in stored):
            names.append(row.provider.name)
    return tuple(names)
