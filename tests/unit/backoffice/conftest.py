"""A fresh database with all tables, and a small shipped catalog."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tokenmarket.core.catalog_rows import CatalogDocument
from tokenmarket.core.catalog_toml import parse
from tokenmarket.store.database import Database

NOW_US = 1_795_392_000_000_000
HOUR_US = 3_600_000_000


@pytest.fixture
async def database(tmp_path: Path) -> AsyncGenerator[Database]:
    opened = await Database.open(tmp_path / "tokenmarket.db", beside=True)
    await opened.create_schema()
    yield opened
    await opened.close()


@pytest.fixture
def shipped() -> CatalogDocument:
    return parse(
        """
[[provider]]
name = "one"
adapter = "openai"
base_url = "https://one.example/v1"
api_key_env = "ONE_API_KEY"

[[model]]
id = "small"
operation = "chat"
name = { en = "Small", zh = "小" }
vendor = "acme"

[[route]]
model = "small"
provider = "one"
upstream_model = "small-1"
price = [
  { unit = "input_token", usd = "1" },
  { unit = "output_token", usd = "2" },
]
cost = [
  { unit = "input_token", usd = "0.8" },
  { unit = "output_token", usd = "1.6" },
]
""",
        "shipped.toml",
    )
