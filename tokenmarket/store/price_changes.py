"""Dated price changes: rows in, rows out. Who may change what is ``backoffice/prices.py``."""

from __future__ import annotations

from typing import Literal

import msgspec
from sqlalchemy import func, insert, select, update
from sqlalchemy.engine import RowMapping

from tokenmarket.core.price_terms import PriceTerms
from tokenmarket.store.backoffice_tables import price_change
from tokenmarket.store.database import Connection

State = Literal["draft", "scheduled", "published", "cancelled", "failed"]


class PriceChange(msgspec.Struct, frozen=True):
    """One new price of one route. ``decided_us``: when it was published, cancelled or failed;
    versions are hashes of price sheets; ``problem`` says why it failed."""

    id: str
    model: str
    provider: str
    terms: PriceTerms
    state: State
    effective_us: int
    reason: str
    author: str
    created_us: int
    decided_us: int | None = None
    version_before: str | None = None
    version_after: str | None = None
    terms_before: PriceTerms | None = None
    problem: str | None = None


async def insert_change(conn: Connection, row: PriceChange) -> None:
    values = {
        name: getattr(row, name)
        for name in row.__struct_fields__
        if name not in ("terms", "terms_before")
    }
    before = None if row.terms_before is None else _text(row.terms_before)
    await conn.execute(
        insert(price_change).values(document=_text(row.terms), document_before=before, **values)
    )


async def find(conn: Connection, change_id: str) -> PriceChange | None:
    query = select(price_change).where(price_change.c.id == change_id)
    row = (await conn.execute(query)).mappings().one_or_none()
    return None if row is None else _change(row)


async def listed(
    conn: Connection,
    *,
    states: tuple[State, ...] | None = None,
    model: str | None = None,
    provider: str | None = None,
    before_id: str | None = None,
    limit: int = 100,
) -> list[PriceChange]:
    """Newest first (ids are in the order of time); ``before_id``: those after it in the list."""
    query = select(price_change).order_by(price_change.c.id.desc()).limit(limit)
    if states is not None:
        query = query.where(price_change.c.state.in_(states))
    if model is not None:
        query = query.where(price_change.c.model == model)
    if provider is not None:
        query = query.where(price_change.c.provider == provider)
    if before_id is not None:
        query = query.where(price_change.c.id < before_id)
    return [_change(row) for row in (await conn.execute(query)).mappings()]


async def due(conn: Connection, now_us: int) -> list[str]:
    """Ids of scheduled changes whose moment has come, in the order to publish them."""
    query = (
        select(price_change.c.id)
        .where(price_change.c.state == "scheduled", price_change.c.effective_us <= now_us)
        .order_by(price_change.c.effective_us, price_change.c.id)
    )
    return list((await conn.execute(query)).scalars())


async def count_open(conn: Connection) -> int:
    """Drafts and scheduled changes."""
    query = select(func.count()).where(price_change.c.state.in_(("draft", "scheduled")))
    return (await conn.execute(query)).scalar_one()


async def decide(
    conn: Connection, change_id: str, before: tuple[State, ...], **values: object
) -> bool:
    """Change it if it is still in one of these states; False if somebody was faster."""
    statement = update(price_change).where(
        price_change.c.id == change_id, price_change.c.state.in_(before)
    )
    return (await conn.execute(statement.values(**_columns(values)))).rowcount == 1


def _columns(values: dict[str, object]) -> dict[str, object]:
    names = {"terms": "document", "terms_before": "document_before"}
    return {
        names.get(name, name): _text(value) if isinstance(value, PriceTerms) else value
        for name, value in values.items()
    }


def _change(row: RowMapping) -> PriceChange:
    fields: dict[str, object] = {str(name): value for name, value in row.items()}
    del fields["document"], fields["document_before"]
    before = row["document_before"]
    fields["terms"] = msgspec.json.decode(row["document"])
    fields["terms_before"] = None if before is None else msgspec.json.decode(before)
    return msgspec.convert(fields, PriceChange)


def _text(terms: PriceTerms) -> str:
    return msgspec.json.encode(terms).decode()
