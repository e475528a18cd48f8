"""Runs of the proof of the books, and what was used per route in exact units: rows out."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import ColumnElement, func, select

from tokenmarket.core.usage import Usage
from tokenmarket.store.database import Connection
from tokenmarket.store.money import recon_diff, recon_run, usage_event

_COUNTS = tuple(
    field.name for field in msgspec.structs.fields(Usage) if field.type is int
)  # of ``Usage``, as ``units_json`` has them


class Run(msgspec.Struct, frozen=True):
    """One proof of the books."""

    id: str
    started_us: int
    finished_us: int
    differences: int


class Diff(msgspec.Struct, frozen=True):
    """One thing that is not as the rule says."""

    rule: str
    subject: str
    expected: str
    actual: str


class RouteUse(msgspec.Struct, frozen=True):
    """What one route was used for in a time: the sum of all units, and of the charges."""

    model: str
    provider: str
    requests: int
    charge_nano: int
    usage: Usage


async def run_by_id(conn: Connection, run_id: str) -> Run | None:
    row = (await conn.execute(select(recon_run).where(recon_run.c.id == run_id))).mappings().first()
    return None if row is None else Run(**row)


async def runs(conn: Connection, limit: int = 50, *, before_us: int | None = None) -> list[Run]:
    """Newest first; those that were started before ``before_us``."""
    query = select(recon_run).order_by(recon_run.c.started_us.desc()).limit(limit)
    if before_us is not None:
        query = query.where(recon_run.c.started_us < before_us)
    return [Run(**row) for row in (await conn.execute(query)).mappings()]


async def differences(conn: Connection, run_id: str, limit: int = 500) -> list[Diff]:
    columns = [recon_diff.c[name] for name in Diff.__struct_fields__]
    query = (
        select(*columns)
        .where(recon_diff.c.run_id == run_id)
        .order_by(recon_diff.c.number)
        .limit(limit)
    )
    return [Diff(**row) for row in (await conn.execute(query)).mappings()]


async def route_use(conn: Connection, from_us: int, to_us: int) -> list[RouteUse]:
    """Every route with charged or measured requests that were accepted in this time."""
    sums: list[ColumnElement[Any]] = [
        func.coalesce(func.sum(func.json_extract(usage_event.c.units_json, f"$.{name}")), 0).label(
            name
        )
        for name in _COUNTS
    ]
    query = (
        select(
            usage_event.c.model,
            usage_event.c.provider,
            func.count().label("number"),
            func.coalesce(func.sum(usage_event.c.charge_nano), 0).label("charged"),
            *sums,
        )
        .where(
            usage_event.c.accepted_us >= from_us,
            usage_event.c.accepted_us < to_us,
            usage_event.c.provider != "",
            usage_event.c.units_json != "",
        )
        .group_by(usage_event.c.model, usage_event.c.provider)
        .order_by(usage_event.c.provider, usage_event.c.model)
    )
    found: list[RouteUse] = []
    for row in (await conn.execute(query)).mappings():
        usage = msgspec.convert({name: row[name] for name in _COUNTS}, Usage)
        found.append(RouteUse(row["model"], row["provider"], row["number"], row["charged"], usage))
    return found
