"""Faults between us and SQL: a transaction that is lost, or only its answer."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from typing import Any

from tests.support.money import World


@contextlib.contextmanager
def losing(world: World, what: str) -> Any:
    """The next transactions are lost: their work (rolled back), or only their answer."""
    real = world.database.begin
    real_at_once = world.database.write_at_once

    async def write_at_once(work: Any) -> Any:
        error = sqlite3.OperationalError("connection lost")

        def lost_work(conn: sqlite3.Connection) -> None:
            work(conn)
            raise error

        await real_at_once(lost_work if what == "work" else work)
        raise error

    @contextlib.asynccontextmanager
    async def begin() -> AsyncIterator[Any]:
        from sqlalchemy.exc import OperationalError

        error = OperationalError("", {}, Exception("connection lost"))
        async with real() as conn:
            yield conn
            if what == "work":
                raise error
        raise error

    if not what:
        yield
        return
    world.database.begin = begin  # type: ignore[method-assign]  # a fault to inject
    world.database.write_at_once = write_at_once  # type: ignore[method-assign]
    try:
        yield
    finally:
        del world.database.begin  # type: ignore[method-assign]
        del world.database.write_at_once  # type: ignore[method-assign]
