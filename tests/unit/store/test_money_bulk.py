"""Transactions past SQLAlchemy: many rows at once, all or nothing, never two at a time."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import Column, MetaData, Table, Text, bindparam, select, text, update
from sqlalchemy.schema import CreateTable

from tests.support.money import database_at
from tokenmarket.billing.records import UsageEvent
from tokenmarket.store.bulk import BulkInsert, Prepared
from tokenmarket.store.database import Database
from tokenmarket.store.money_posting import EVENT_COLUMNS
from tokenmarket.store.tables import meta

THREE = Table("three", MetaData(), *(Column(name, Text) for name in ("a", "b", "c")))


def test_the_event_columns_begin_like_the_journal_record() -> None:
    plain = EVENT_COLUMNS[: EVENT_COLUMNS.index("windows")]
    assert UsageEvent.__struct_fields__[: len(plain)] == plain


@pytest.mark.parametrize("rows", [0, 1, 7, 8, 9, 500, 1_024, 1_025, 2_100])
def test_as_many_rows_as_were_given(rows: int) -> None:
    conn = sqlite3.connect(":memory:")
    conn.execute("CREATE TABLE three (a, b, c)")
    values: list[object] = []
    for number in range(rows):
        values += (f"r{number}", None if number % 2 else number)
    statements = BulkInsert(THREE, ("b", "c"), ("a",)).run(conn, ("same",), values)
    assert statements == -(-rows // 1_024)
    found = conn.execute("SELECT a, b, c FROM three ORDER BY rowid").fetchall()
    assert found == [("same", f"r{n}", None if n % 2 else n) for n in range(rows)]
    conn.close()


def test_text_that_looks_like_padding_is_a_row() -> None:
    conn = sqlite3.connect(":memory:")
    conn.execute(str(CreateTable(THREE)))
    BulkInsert(THREE, ("a", "b"), ("c",)).run(conn, ("same",), ["0", "x", "", "y", "0.0", "z"])
    found = conn.execute("SELECT a, b FROM three ORDER BY rowid").fetchall()
    assert found == [("0", "x"), ("", "y"), ("0.0", "z")]
    conn.close()


def test_every_column_once() -> None:
    with pytest.raises(ValueError, match="every column"):
        BulkInsert(THREE, ("a",), ("b",))


def test_a_prepared_statement_knows_the_order_of_its_values() -> None:
    query = select(THREE.c.a).where(THREE.c.c == bindparam("z"), THREE.c.b == bindparam("y"))
    prepared = Prepared(query)
    assert prepared.text.count("?") == 2
    assert prepared.values({"y": 1, "z": 2}) == (2, 1)
    with pytest.raises(KeyError):
        prepared.values({"y": 1})
    with pytest.raises(TypeError):
        Prepared(CreateTable(THREE))


@pytest.fixture
async def database(tmp_path: Path):
    opened = await database_at(tmp_path / "money.db")
    yield opened
    await opened.close()


def add_price(conn: sqlite3.Connection, name: str) -> str:
    conn.execute("INSERT INTO price (version, sheet, created_us) VALUES (?, '', 0)", (name,))
    return name


async def prices(database: Database) -> list[str]:
    async with database.read() as conn:
        return list((await conn.execute(text("SELECT version FROM price"))).scalars())


async def test_all_or_nothing(database: Database) -> None:
    assert await database.write_at_once(lambda conn: add_price(conn, "p1")) == "p1"

    def fails(conn: sqlite3.Connection) -> None:
        add_price(conn, "p2")
        add_price(conn, "p1")

    with pytest.raises(sqlite3.IntegrityError):
        await database.write_at_once(fails)
    assert await prices(database) == ["p1"]
    async with database.begin() as conn:  # the connection is as good as before
        await conn.execute(text("INSERT INTO price VALUES ('p3', '', 0)"))
    assert sorted(await prices(database)) == ["p1", "p3"]


async def test_a_cancelled_writer_still_keeps_the_others_out(database: Database) -> None:
    started, go = threading.Event(), threading.Event()

    def slow(conn: sqlite3.Connection) -> str:
        started.set()
        assert go.wait(10)
        return add_price(conn, "slow")

    writing = asyncio.create_task(database.write_at_once(slow))
    await asyncio.to_thread(started.wait, 10)
    writing.cancel()
    following = asyncio.create_task(database.write_at_once(lambda conn: add_price(conn, "next")))
    await asyncio.sleep(0.05)
    assert not following.done()
    go.set()
    assert await following == "next"
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert sorted(await prices(database)) == ["next", "slow"]


async def test_a_write_follows_a_transaction_that_was_cancelled_at_any_moment(
    database: Database,
) -> None:
    async def write() -> None:
        async with database.begin() as conn:
            for number in range(3):
                await conn.execute(update(meta).values(number=number))

    for turns in range(40):  # of the loop, while the other thread works
        writing = asyncio.create_task(write())
        for _ in range(turns):
            await asyncio.sleep(0)
        writing.cancel()
        assert await database.write_at_once(functools.partial(add_price, name=f"p{turns}"))
        with contextlib.suppress(asyncio.CancelledError):
            await writing
