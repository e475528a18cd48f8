"""A fresh database and a management API over it."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.unit.web.manage.desk import Desk
from tokenmarket.store.database import Database


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncGenerator[Desk]:
    database = await Database.open(tmp_path / "tokenmarket.db", beside=True)
    await database.create_schema()
    desk = Desk(database)
    yield desk
    await database.close()
    assert desk.crashes == []
