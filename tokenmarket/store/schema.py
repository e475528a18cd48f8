"""Brings a database file to the schema of this version: everything at once, or step by step.

A fresh file gets all tables from ``metadata`` and the stamp of the newest revision, without
Alembic. An older one is upgraded by Alembic's revisions in ``store/migrations``. A test holds both
ways to the same result.
"""

from __future__ import annotations

import importlib

from sqlalchemy import (
    Column,
    Connection,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    insert,
    inspect,
    select,
)

from tokenmarket.store import (
    backoffice_tables,
    manage_tables,
    money,
    payment_tables,
    people_tables,
    route_rows,
    tables,
    tax_profiles,
    usage_rollup,
    webhook_tables,
)
from tokenmarket.store.database import Database, StoreError

HEAD = "0014"  # the newest file in store/migrations/versions
REVISIONS = (
    "0001",
    "0002",
    "0003",
    "0005",
    "0006",
    "0007",
    "0008",
    "0009",
    "0010",
    "0011",
    "0013",
    "0014",
)
# Each hangs its tables on the one ``metadata`` when it is imported.
TABLES = (
    tables,
    money,
    payment_tables,
    people_tables,
    route_rows,
    usage_rollup,
    manage_tables,
    webhook_tables,
    backoffice_tables,
    tax_profiles,
)
metadata = tables.metadata

# Alembic's own table, as Alembic makes it.
_stamp = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)


async def create(database: Database, upgrade: bool) -> None:
    """StoreError if the file is from a newer version, not ours, or old and not to be upgraded."""
    async with database.read() as conn:
        if await conn.run_sync(current_revision) == HEAD:
            return
    async with database.begin() as conn:
        await conn.run_sync(_bring_up, upgrade)


def _bring_up(conn: Connection, upgrade: bool) -> None:
    """Inside one transaction: SQLite rolls back DDL too, so a crash leaves no half schema."""
    revision = current_revision(conn)
    if revision == HEAD:
        return
    if revision is None:
        metadata.create_all(conn)
        conn.execute(insert(tables.meta).values(name="generation", number=1, text=""))
        _stamp.create(conn)
        conn.execute(insert(_stamp).values(version_num=HEAD))
        return
    if revision not in REVISIONS:
        raise StoreError(
            f"the database has schema {revision!r}, this version knows up to {HEAD!r}: "
            "run the newer TokenMarket that wrote it"
        )
    if not upgrade:
        raise StoreError("the database is of an older version: start the server once to upgrade it")
    # by name and late: Alembic costs 0.2 s to import, and is needed once per release
    importlib.import_module("tokenmarket.store.migrations.upgrade").upgrade(conn)


def current_revision(conn: Connection) -> str | None:
    """None for an empty file; StoreError for somebody else's database."""
    names = inspect(conn).get_table_names()
    if "alembic_version" in names:
        return conn.execute(select(_stamp.c.version_num)).scalar_one()
    if names:
        raise StoreError("the database file has tables, but they are not TokenMarket's")
    return None
