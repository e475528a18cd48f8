"""Both ways to the newest schema end in the same one, and foreign files are left alone."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import BigInteger, Connection, Text, create_engine, text

from tokenmarket.store import schema
from tokenmarket.store.database import Database, StoreError
from tokenmarket.store.migrations.draft import draft
from tokenmarket.store.migrations.upgrade import upgrade


@pytest.fixture
def migrated() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    with engine.begin() as conn:
        upgrade(conn)
        yield conn
    engine.dispose()


@pytest.fixture
def made() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    with engine.begin() as conn:
        schema.metadata.create_all(conn)
        yield conn
    engine.dispose()


def everything(conn: Connection) -> dict[str, list[str]]:
    """name -> its SQL, as sorted parts: the two ways may order constraints differently, and SQLite
    quotes the name of a table that was made anew."""
    rows = conn.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
    return {
        row.name: sorted(
            part.strip(" \n\t,)")
            for part in re.split(r",\s*\n", row.sql.replace(f'"{row.name}"', row.name))
        )
        for row in rows
        if row.name != "alembic_version"
    }


def test_migrations_build_what_the_tables_say(migrated: Connection, made: Connection) -> None:
    assert compare_metadata(MigrationContext.configure(migrated), schema.metadata) == []
    assert everything(migrated) == everything(made)
    assert draft(migrated, made) == "", "run the draft, see store/migrations/draft.py"


def test_the_stamp_of_a_fresh_database_is_alembics_head() -> None:
    config = Config()
    config.set_main_option("script_location", "tokenmarket.store:migrations")
    revisions = list(ScriptDirectory.from_config(config).walk_revisions())
    assert revisions[0].revision == schema.HEAD
    assert {row.revision for row in revisions} == set(schema.REVISIONS)


def test_only_portable_columns() -> None:
    for table in schema.metadata.tables.values():
        for column in table.columns:
            assert type(column.type) in (BigInteger, Text), f"{table.name}.{column.name}"
        for column in table.primary_key.columns:
            assert not column.nullable
            assert column.autoincrement in (False, "auto")


async def test_creating_twice_changes_nothing(database: Database) -> None:
    await database.create_schema()
    async with database.begin() as conn:
        assert (await conn.execute(text("SELECT count(*) FROM meta"))).scalar_one() == 1
        stamp = (await conn.execute(text("SELECT version_num FROM alembic_version"))).scalars()
        assert list(stamp) == [schema.HEAD]
        found = await conn.run_sync(everything)
    engine = create_engine("sqlite://")
    with engine.begin() as other:
        schema.metadata.create_all(other)
        assert found == everything(other)
    engine.dispose()


async def test_a_newer_database_is_refused(database: Database) -> None:
    async with database.begin() as conn:
        await conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="newer TokenMarket"):
        await database.create_schema()


async def test_an_older_database_is_upgraded_by_a_server_only(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "x.db")
    async with database.begin() as conn:
        await conn.run_sync(upgrade, "0001")
        await conn.execute(text("INSERT INTO meta VALUES ('generation', 7, '')"))
    with pytest.raises(StoreError, match="older version"):
        await database.create_schema(upgrade=False)
    await database.create_schema()
    async with database.read() as conn:
        stamp = (await conn.execute(text("SELECT version_num FROM alembic_version"))).scalar_one()
        assert (await conn.execute(text("SELECT number FROM meta"))).scalar_one() == 7
        found = await conn.run_sync(everything)
    assert stamp == schema.HEAD
    engine = create_engine("sqlite://")
    with engine.begin() as other:
        schema.metadata.create_all(other)
        assert found == everything(other)
    engine.dispose()
    await database.create_schema(upgrade=False)
    await database.close()


async def test_somebody_elses_database_is_left_alone(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "x.db")
    async with database.begin() as conn:
        await conn.execute(text("CREATE TABLE notes (id TEXT)"))
    with pytest.raises(StoreError, match="not TokenMarket's"):
        await database.create_schema()
    async with database.read() as conn:
        tables = (await conn.execute(text("SELECT name FROM sqlite_master"))).scalars()
        assert list(tables) == ["notes"]
    await database.close()


async def test_a_broken_creation_leaves_no_half_schema(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("power cut")

    database = await Database.open(tmp_path / "x.db")
    with monkeypatch.context() as patch:
        patch.setattr(schema._stamp, "create", fail)
        with pytest.raises(RuntimeError, match="power cut"):
            await database.create_schema()
    async with database.read() as conn:
        assert (await conn.execute(text("SELECT count(*) FROM sqlite_master"))).scalar_one() == 0
    await database.create_schema()
    await database.close()
