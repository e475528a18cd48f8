"""How SQLite would run a query: the steps of its plan, without running it."""

from __future__ import annotations

from sqlalchemy import Select
from sqlalchemy.dialects import sqlite

from tokenmarket.store.database import Database


async def query_plan(database: Database, query: Select[object]) -> list[str]:
    compiled = query.compile(
        dialect=sqlite.dialect(paramstyle="qmark"), compile_kwargs={"render_postcompile": True}
    )
    values = tuple(compiled.params[name] for name in compiled.positiontup or ())
    async with database.read() as conn:
        rows = await conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", values)
        return [row.detail for row in rows]
