"""A fresh database with all tables."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.support.money import database_at
from tokenmarket.store.database import Database


@pytest.fixture
async def database(tmp_path: Path) -> AsyncGenerator[Database]:
    opened = await database_at(tmp_path / "tokenmarket.db")
    yield opened
    await opened.close()
