"""Rows of the files we keep for callers: which bytes, whose, and until when."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import literal_column, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or_skip

from tokenmarket.store.database import Database
from tokenmarket.store.money_moves import money_transaction
from tokenmarket.store.task_tables import asset

_kept = asset.c.deleted_us == literal_column("0")


class Asset(msgspec.Struct, frozen=True, kw_only=True):
    """One stored file of a task (``task_id``) or of a request; the fields are the columns.

    ``kind``: video | thumbnail | spritesheet | last_frame | image | audio. ``number``: the output
    it belongs to, from 0. None: nobody measured.
    """

    id: str
    org_id: str
    task_id: str = ""
    request_id: str = ""
    kind: str
    number: int = 0
    store_key: str
    content_type: str
    size_bytes: int
    sha256: str
    width: int | None = None
    height: int | None = None
    duration_ms: int | None = None
    created_us: int
    expires_us: int
    deleted_us: int = 0


async def add(database: Database, items: Sequence[Asset]) -> None:
    """Record stored files; one that is there already stays."""
    rows = [msgspec.structs.asdict(item) for item in items]
    if rows:
        async with money_transaction(database) as conn:
            await conn.execute(insert_or_skip(asset).on_conflict_do_nothing(), rows)


async def by_id(database: Database, org_id: str, asset_id: str) -> Asset | None:
    """None for an unknown id and for another organisation's; a deleted one says so."""
    query = select(asset).where(asset.c.id == asset_id, asset.c.org_id == org_id)
    async with database.read() as conn:
        found = (await conn.execute(query)).mappings().one_or_none()
    return None if found is None else Asset(**found)


async def of_task(database: Database, org_id: str, task_id: str) -> list[Asset]:
    """The files of a task that are not deleted, by kind and number."""
    query = (
        select(asset)
        .where(asset.c.task_id == task_id, asset.c.org_id == org_id, _kept)
        .where(asset.c.task_id != literal_column("''"))
        .order_by(asset.c.kind, asset.c.number, asset.c.id)
    )
    async with database.read() as conn:
        return [Asset(**row) for row in (await conn.execute(query)).mappings()]


async def expired(database: Database, now_us: int, limit: int) -> list[Asset]:
    """Files whose time is over and whose bytes may still be there, of anybody."""
    query = (
        select(asset).where(_kept, asset.c.expires_us <= now_us).order_by(asset.c.expires_us)
    ).limit(limit)
    async with database.read() as conn:
        return [Asset(**row) for row in (await conn.execute(query)).mappings()]


async def mark_deleted(database: Database, asset_ids: Sequence[str], now_us: int) -> None:
    """The bytes are gone; the rows stay, to answer 410."""
    statement = update(asset).where(asset.c.id.in_(asset_ids), _kept).values(deleted_us=now_us)
    async with money_transaction(database) as conn:
        await conn.execute(statement)
