"""A database with one organisation, a clock to set by hand, and the service."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tokenmarket.accounts import admin
from tokenmarket.contents.service import Contents
from tokenmarket.files.contents import ContentFiles
from tokenmarket.store.database import Database

NOW_US = 1_795_392_000_000_000
KEK = b"k" * 32


class HandClock:
    def __init__(self) -> None:
        self.at_us = NOW_US

    def wall_us(self) -> int:
        return self.at_us

    def monotonic_us(self) -> int:
        return self.at_us


@dataclass
class Place:
    """``folder`` is where contents are; ``told`` what could not be written."""

    database: Database
    folder: Path
    org_id: str
    clock: HandClock = field(default_factory=HandClock)
    told: list[Exception] = field(default_factory=list)

    def service(self, days_max: int = 90) -> Contents:
        return Contents(
            self.database,
            ContentFiles(self.folder),
            KEK,
            self.clock,
            days_max=days_max,
            failed=lambda _, error: self.told.append(error),
        )

    @property
    def files(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file()]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncGenerator[Place]:
    database = await Database.open(tmp_path / "tokenmarket.db", beside=True)
    await database.create_schema()
    async with database.begin() as conn:
        org = await admin.create_org(conn, "one", now_us=NOW_US, actor="test")
    yield Place(database, tmp_path / "contents", org.id)
    await database.close()
