"""The writer, the readers, and what is refused before anything is opened."""

import asyncio
import logging
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError

from tokenmarket.store import database as module
from tokenmarket.store.database import Database, StoreError, sqlite_path
from tokenmarket.store.tables import meta


async def number(database: Database) -> int:
    async with database.read() as conn:
        query = select(meta.c.number).where(meta.c.name == "generation")
        return (await conn.execute(query)).scalar_one()


async def test_a_transaction_commits_at_its_end_and_rolls_back_on_an_error(
    database: Database,
) -> None:
    async with database.begin() as conn:
        await conn.execute(update(meta).values(number=7))
    assert await number(database) == 7

    async def fail() -> None:
        async with database.begin() as conn:
            await conn.execute(update(meta).values(number=8))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await number(database) == 7


async def test_a_cancelled_transaction_leaves_nothing_and_frees_the_writer(
    database: Database,
) -> None:
    written = asyncio.Event()

    async def write() -> None:
        async with database.begin() as conn:
            await conn.execute(update(meta).values(number=9))
            written.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write())
    await written.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with database.begin() as conn:
        await conn.execute(update(meta).values(number=meta.c.number + 1))
    assert await number(database) == 2


async def test_writers_take_turns(database: Database) -> None:
    async def count_up() -> None:
        async with database.begin() as conn:
            query = select(meta.c.number).where(meta.c.name == "generation")
            seen = (await conn.execute(query)).scalar_one()
            await conn.execute(update(meta).values(number=seen + 1))

    await asyncio.gather(*(count_up() for _ in range(20)))
    assert await number(database) == 21


async def test_two_processes_take_turns_too(database: Database) -> None:
    """Each reads, then writes: without BEGIN IMMEDIATE one would fail or lose its write."""
    other = await Database.open(database.path, beside=True)

    async def count_up(through: Database) -> None:
        async with through.begin() as conn:
            query = select(meta.c.number).where(meta.c.name == "generation")
            seen = (await conn.execute(query)).scalar_one()
            await conn.execute(update(meta).values(number=seen + 1))

    await asyncio.gather(*(count_up(through) for through in (database, other) * 10))
    assert await number(other) == 21
    await other.close()


async def test_a_reader_cannot_write_and_sees_one_snapshot(database: Database) -> None:
    async with database.read() as conn:
        with pytest.raises(OperationalError, match="readonly"):
            await conn.execute(update(meta).values(number=5))
    async with database.read() as conn:
        query = select(meta.c.number).where(meta.c.name == "generation")
        before = (await conn.execute(query)).scalar_one()
        async with database.begin() as writer:
            await writer.execute(update(meta).values(number=50))
        assert (await conn.execute(query)).scalar_one() == before
    assert await number(database) == 50


async def test_the_settings_that_keep_money(database: Database) -> None:
    async with database.begin() as conn:
        pragma = "PRAGMA {}".format
        names = ("journal_mode", "synchronous", "wal_autocheckpoint", "busy_timeout")
        values = [(await conn.exec_driver_sql(pragma(name))).scalar_one() for name in names]
    assert values == ["wal", 2, 0, module.BUSY_TIMEOUT_MS]  # 2 = FULL; 0: opened beside a server
    server = await Database.open(database.path)
    async with server.begin() as conn:
        assert (await conn.exec_driver_sql("PRAGMA wal_autocheckpoint")).scalar_one() == 1000
    await server.close()
    assert database.path.stat().st_mode & 0o077 == 0


async def test_statements_are_counted(database: Database) -> None:
    before = database.operations
    async with database.read() as conn:
        await conn.execute(text("SELECT 1"))
    assert database.operations == before + 2  # BEGIN and the SELECT


async def test_an_error_never_shows_the_values(database: Database) -> None:
    statement = insert(meta).values({"name": "generation", "number": 1, "text": "sk-secret"})
    async with database.begin() as conn:
        with pytest.raises(IntegrityError, match="UNIQUE") as caught:
            await conn.execute(statement)
    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("data/x.db", "data/x.db"),
        ("sqlite:///data/x.db", "data/x.db"),
        ("sqlite:////srv/x.db", "/srv/x.db"),
        ("/srv/with #? %41.db", "/srv/with #? %41.db"),
    ],
)
def test_paths_and_urls(target: str, path: str) -> None:
    assert sqlite_path(target) == Path(path)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("postgresql://me:secret@host/db", "PostgreSQL is not supported"),
        ("postgresql+asyncpg://me:secret@host/db", "PostgreSQL is not supported"),
        ("mysql://me:secret@host/db", "is not understood"),
        ("sqlite://", "is not understood"),
        ("sqlite:///", "is not understood"),
        ("sqlite:///:memory:", "is not understood"),
        ("sqlite:///x.db?mode=ro", "no options"),
        (":memory:", "must be a file"),
        ("", "must be a file"),
    ],
)
def test_what_cannot_be_opened_is_said_without_the_password(target: str, says: str) -> None:
    with pytest.raises(StoreError, match=says) as caught:
        sqlite_path(target)
    assert "secret" not in str(caught.value)


async def test_several_workers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="--workers 1"):
        await Database.open(tmp_path / "x.db", workers=2)
    assert not (tmp_path / "x.db").exists()


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_text("this is not a database, but long enough to look at" * 20)
    with pytest.raises(StoreError, match="cannot be used"):
        await Database.open(path)
    with pytest.raises(StoreError, match="cannot open"):
        await Database.open(tmp_path / "absent" / "x.db")


async def test_an_old_sqlite_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 2))
    with caplog.at_level(logging.WARNING):
        await (await Database.open(tmp_path / "x.db")).close()
    assert "3.51.3" in caplog.text
    caplog.clear()
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 3))
    with caplog.at_level(logging.WARNING):
        await (await Database.open(tmp_path / "x.db")).close()
    assert not caplog.text


async def test_damage_is_found(database: Database) -> None:
    assert await database.problems() == []


async def test_a_closed_connection_lets_go_though_a_statement_is_still_held(
    tmp_path: Path,
) -> None:
    """As after a cancelled query, whose traceback holds the cursor."""
    database = await Database.open(tmp_path / "x.db")
    try:
        async with database.begin() as conn:
            await conn.exec_driver_sql("CREATE TABLE t (a INT)")
            await conn.exec_driver_sql("INSERT INTO t VALUES (1), (2), (3)")
        held: list[object] = []
        async with database._writer.connect() as conn:
            await conn.begin()
            await conn.exec_driver_sql("INSERT INTO t VALUES (4)")
            bare = (await conn.get_raw_connection()).driver_connection
            assert bare is not None
            held.append(await bare.execute("SELECT a FROM t"))  # and nothing is fetched
            await conn.invalidate()
        async with asyncio.timeout(5), database.begin() as conn:
            await conn.exec_driver_sql("INSERT INTO t VALUES (5)")
            found = (await conn.exec_driver_sql("SELECT a FROM t ORDER BY a")).scalars().all()
        assert list(found) == [1, 2, 3, 5]
        assert held
    finally:
        await database.close()
