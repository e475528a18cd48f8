"""The two ways to reach the database: one writer behind a lock, and readers that cannot write.

    database = await Database.open("/srv/tokenmarket/tokenmarket.db")
    await database.create_schema()
    async with database.begin() as conn: ...   # one transaction; commits at the end, or rolls back
    async with database.read() as conn: ...    # one consistent snapshot, writing is an error
    await database.write_at_once(work)         # one transaction in one visit to another thread

What a reader must know:

* SQLite only for now, one server process per file. WAL, synchronous=FULL, and one writer connection
  that alone checkpoints (``design/billing.md`` section 3): SQLite below 3.51.3 can corrupt a file
  when two connections checkpoint. A command line process beside a server opens with ``beside=True``
  and never checkpoints.
* The writer takes BEGIN IMMEDIATE: a transaction that read first can then never fail half way
  because somebody else wrote.
* Alembic is imported only when an older file must be brought up: importing it costs as much as the
  rest of the start.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import sqlite3
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import URL, event
from sqlalchemy import Connection as SyncConnection
from sqlalchemy.exc import DatabaseError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

# For those outside of store who pass a transaction on without importing SQLAlchemy.
Connection: TypeAlias = AsyncConnection
Result = TypeVar("Result")

logger = logging.getLogger(__name__)

BUSY_TIMEOUT_MS = 10_000
PAGE_BYTES = 16_384
READERS = 2
SAFE_SQLITE = (3, 51, 3)  # first version without the WAL-reset bug (two checkpointing connections)
SQLITE_VERSION = sqlite3.sqlite_version


class StoreError(Exception):
    """The database cannot be used; the text says what to do about it."""


class Database:
    """Open with ``await Database.open(...)``; ``operations`` counts statements, for the budget."""

    def __init__(
        self,
        path: Path,
        writer: AsyncEngine,
        reader: AsyncEngine,
        driver: list[sqlite3.Connection],
    ) -> None:
        self.path = path
        self.operations = 0
        self._driver = driver  # the writer's newest connection, bare
        self._writer = writer
        self._reader = reader
        self._lock = asyncio.Lock()
        for engine in (writer, reader):
            event.listen(engine.sync_engine, "before_cursor_execute", self._count)

    @classmethod
    async def open(cls, target: str | Path, *, beside: bool = False, workers: int = 1) -> Database:
        """``target`` is a file path or ``sqlite:///path``; the file is made (mode 0600) if absent.

        ``beside``: this process may run next to a server on the same file, so it leaves
        checkpoints to the server. Raises StoreError with what to write instead.
        """
        path = sqlite_path(target)
        if workers > 1:
            raise StoreError(
                f"{workers} workers cannot share one SQLite file: start with --workers 1 "
                "(several workers need PostgreSQL, which this version does not support yet)"
            )
        _create_private_file(path)
        if not beside and not sqlite_is_safe():
            logger.warning(
                "SQLite %s is older than 3.51.3, which fixes a rare corruption when two processes "
                "checkpoint; only the server checkpoints here. Upgrade SQLite when you can.",
                sqlite3.sqlite_version,
            )
        checkpoint_pages = 0 if beside else 1_000
        driver: list[sqlite3.Connection] = []
        writer = _engine(
            path, driver, pool_size=1, query_only=False, checkpoint_pages=checkpoint_pages
        )
        reader = _engine(path, None, pool_size=READERS, query_only=True, checkpoint_pages=0)
        database = cls(path, writer, reader, driver)
        try:
            # a read, because a server may be in the middle of a long write
            async with database.read() as conn:
                await conn.exec_driver_sql("SELECT count(*) FROM sqlite_master")
        except DatabaseError as error:
            await database.close()
            raise StoreError(f"{path} cannot be used as a database: {error.orig}") from error
        return database

    @asynccontextmanager
    async def begin(self) -> AsyncGenerator[AsyncConnection]:
        """A write transaction; only one at a time in this process."""
        async with self._lock, self._writer.begin() as conn:
            yield conn

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncConnection]:
        """One snapshot of the committed state; a write raises OperationalError."""
        async with self._reader.connect() as conn:
            yield conn

    async def write_at_once(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """A write transaction in one visit to another thread: for what runs many times a second.

        ``work`` gets the bare connection inside BEGIN IMMEDIATE; COMMIT follows, or ROLLBACK if it
        raised. Raises what ``work`` raises, and sqlite3.Error. ``work`` counts its ``operations``.
        """
        async with self._lock:
            if not self._driver:
                async with self._writer.connect():
                    pass  # the pool keeps it
            loop = asyncio.get_running_loop()
            doing = loop.run_in_executor(None, _transact, self._driver[-1], work)
            try:
                return await asyncio.shield(doing)
            except asyncio.CancelledError:
                await asyncio.wait([doing])  # nobody else may write before it has ended
                raise

    async def create_schema(self, *, upgrade: bool = True) -> None:
        """Make or upgrade all tables; does nothing on a file that is up to date.

        With ``upgrade=False`` an older file is refused (StoreError): only a server may bring it up,
        because another one may be running on it.
        """
        # By name and late: schema imports every table module, and those may import this one.
        schema = importlib.import_module("tokenmarket.store.schema")
        await schema.create(self, upgrade)

    async def problems(self) -> list[str]:
        """What SQLite finds wrong in the file (``PRAGMA quick_check``); empty = nothing."""
        async with self.read() as conn:
            lines = (await conn.exec_driver_sql("PRAGMA quick_check(10)")).scalars()
            return [str(line) for line in lines if line != "ok"]

    async def close(self) -> None:
        """Close all connections. The last one to leave moves the WAL into the file."""
        await self._reader.dispose()
        await self._writer.dispose()

    def _count(self, *_: object) -> None:
        self.operations += 1


def sqlite_is_safe() -> bool:
    """Whether the SQLite of this Python is free of the WAL-reset bug."""
    return sqlite3.sqlite_version_info >= SAFE_SQLITE


def sqlite_path(target: str | Path) -> Path:
    """The file behind a path or ``sqlite:///`` URL. StoreError for every other kind."""
    text = str(target)
    scheme, separator, rest = text.partition("://")
    if not separator:
        if not text or ":memory:" in text:
            raise StoreError("the database must be a file: give its path or sqlite:///path")
        return Path(text)
    if scheme.partition("+")[0] in ("postgresql", "postgres"):
        raise StoreError(
            "PostgreSQL is not supported by this version yet: leave --database out "
            "(SQLite in the data directory) or write sqlite:///path/to/file.db"
        )
    if scheme != "sqlite" or not rest.startswith("/") or rest == "/" or ":memory:" in rest:
        # never echo the rest: a database URL may carry a password
        raise StoreError(
            f"a database URL beginning with {scheme[:20]!r} is not understood: "
            "write sqlite:///path/to/file.db (four slashes for an absolute path)"
        )
    if "?" in rest:
        raise StoreError("a SQLite URL takes no options: write sqlite:///path/to/file.db")
    return Path(rest[1:])


def _create_private_file(path: Path) -> None:
    """SQLite would create the file readable for everybody."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StoreError(f"cannot open the database {path}: {error.strerror}") from error


def _transact(conn: sqlite3.Connection, work: Callable[[sqlite3.Connection], Result]) -> Result:
    conn.execute("BEGIN IMMEDIATE")
    try:
        result = work(conn)
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise
    return result


class _RollingBack(sqlite3.Connection):
    """SQLite keeps a closed connection, and the locks of its transaction, while anybody holds one
    of its statements: the traceback of a query that was cancelled does. So it ends it first."""

    def close(self) -> None:
        try:
            if self.in_transaction:
                self.rollback()
        except sqlite3.Error:  # closed before, or broken: nothing to end
            pass
        super().close()


def _engine(
    path: Path,
    driver: list[sqlite3.Connection] | None,
    *,
    pool_size: int,
    query_only: bool,
    checkpoint_pages: int,
) -> AsyncEngine:
    """``driver`` will hold the newest bare connection, usable in any thread while nobody else
    uses it."""
    connect_args: dict[str, object] = {
        # None: Python's sqlite3 begins nothing by itself, the listener below does
        "isolation_level": None,
        "timeout": BUSY_TIMEOUT_MS / 1000,
    }
    connect_args["factory"] = _RollingBack
    if driver is not None:
        connect_args["check_same_thread"] = False

        class Kept(_RollingBack):
            def __init__(self, *arguments: Any, **options: Any) -> None:
                super().__init__(*arguments, **options)
                driver[:] = [self]

        connect_args["factory"] = Kept
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(path)),
        pool_size=pool_size,
        max_overflow=0,
        hide_parameters=True,  # an error text must never carry a digest or a sealed key
        connect_args=connect_args,
    )
    pragmas: dict[str, object] = {
        # Only a new file takes it, so it comes first. Rows are added at the ends of few trees:
        # larger pages are written four times less often (two system calls each).
        "page_size": PAGE_BYTES,
        "journal_mode": "WAL",
        "synchronous": "FULL",
        "wal_autocheckpoint": checkpoint_pages,
        "secure_delete": "FAST",  # what is deleted is overwritten: sealed keys first of all
        "query_only": "ON" if query_only else "OFF",
    }
    event.listen(engine.sync_engine, "connect", _on_connect(pragmas))
    if driver is not None:
        # A statement that was cancelled costs its connection; the next one makes another.
        for ending in ("invalidate", "close"):
            event.listen(engine.sync_engine, ending, lambda *_: driver.clear())
    event.listen(engine.sync_engine, "begin", _begin_deferred if query_only else _begin_immediate)
    return engine


def _on_connect(pragmas: Mapping[str, object]) -> Callable[..., None]:
    statements = [f"PRAGMA {name} = {value}" for name, value in pragmas.items()]

    def on_connect(connection: sqlite3.Connection, _record: object) -> None:
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        cursor.close()

    return on_connect


def _begin_immediate(conn: SyncConnection) -> None:
    conn.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_deferred(conn: SyncConnection) -> None:
    conn.exec_driver_sql("BEGIN")
