"""A fresh database with all tables."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tokenmarket.store.database import Database


@pytest.fixture
async def database(tmp_path: Path) -> AsyncGenerator[Database]:
    opened = await Database.open(tmp_path / "tokenmarket.db", beside=True)
    await opened.create_schema()
    yield opened
    await opened.close()
