"""The operator's rows: only differences are kept, everything or nothing, keys apart."""

import pytest
from sqlalchemy import text

from tokenmarket.core.catalog_rows import CatalogDocument, CatalogError, merge, without_places
from tokenmarket.core.catalog_toml import dump, parse
from tokenmarket.store import accounts, catalog_rows, credentials
from tokenmarket.store.catalog_rows import Applied
from tokenmarket.store.database import Database

KEK = b"k" * 32
NOW_US = 1_795_392_000_000_000
SHIPPED = parse(
    """
[[provider]]
name = "one"
adapter = "openai"
base_url = "https://one.example/v1"
api_key_env = "ONE_API_KEY"
timeout_s = { connect = 2.5 }
headers = { "x-title" = "tokenmarket" }

[[model]]
id = "small"
operation = "chat"
name = { en = "Small", zh = "小" }
vendor = "acme"
aliases = ["tiny"]
capabilities = { tools = true, sizes = ["1x1"], depth = { most = 3 } }

[[route]]
model = "small"
provider = "one"
upstream_model = "small-1"
price = [
  { unit = "input_token", usd = "0.14" },
  { unit = "input_token", usd = "0.28", when = { context_above = 1000 } },
  { unit = "output_token", usd = "0.3", when = { service_tier = "flex" } },
  { unit = "output_token", usd = "0.6" },
]
""",
    "shipped.toml",
)
CHEAPER = """
[[route]]
model = "small"
provider = "one"
upstream_model = "small-1"
markup_percent = "12.5"
price = [{ unit = "input_token", usd = "0.1" }, { unit = "output_token", usd = "0.2" }]
"""
TWO = """
[[provider]]
name = "two"
adapter = "openai"
base_url = "{url}"
api_keys = ["sk-first-0123456789", "sk-second-0123456789"]
"""


async def applied(database: Database, toml: str) -> Applied:
    async with database.begin() as conn:
        document = parse(toml, "mine.toml")
        return await catalog_rows.apply(conn, KEK, SHIPPED, document, now_us=NOW_US)


async def overlay(database: Database) -> CatalogDocument:
    async with database.read() as conn:
        return await catalog_rows.overlay(conn)


async def test_applying_what_is_in_force_changes_nothing(database: Database) -> None:
    done = await applied(database, dump(SHIPPED))
    assert not done.anything
    assert await overlay(database) == CatalogDocument()


async def test_every_kind_of_row_comes_back_as_it_was(database: Database) -> None:
    async with database.begin() as conn:
        done = await catalog_rows.apply(conn, KEK, CatalogDocument(), SHIPPED, now_us=NOW_US)
    assert done == Applied(("one",), ("small",), (("small", "one"),), (), ())
    assert await overlay(database) == without_places(SHIPPED)


async def test_a_row_wins_over_the_shipped_one_and_is_exported(database: Database) -> None:
    async with database.read() as conn:
        before = await accounts.generation(conn)
    done = await applied(database, CHEAPER)
    assert done.routes == (("small", "one"),)
    assert done.providers == done.models == ()
    merged = merge([SHIPPED, await overlay(database)])
    assert merged.routes[0].price[0].usd == "0.1"
    assert not (await applied(database, dump(merged))).anything
    assert not (await applied(database, CHEAPER)).anything
    async with database.read() as conn:
        assert await accounts.generation(conn) == before + 1


async def test_going_back_to_the_shipped_price_works(database: Database) -> None:
    await applied(database, CHEAPER)
    assert (await applied(database, dump(SHIPPED))).routes == (("small", "one"),)
    merged = merge([SHIPPED, await overlay(database)])
    assert without_places(merged) == without_places(SHIPPED)


async def test_a_fault_anywhere_writes_nothing(database: Database) -> None:
    with pytest.raises(CatalogError) as caught:
        await applied(database, TWO.format(url="https://two.example/v1") + """
[[route]]
model = "no-such-model"
provider = "two"
upstream_model = "x"
price = [{ unit = "input_token", usd = "1" }, { unit = "output_token", usd = "1" }]
""")  # fmt: skip
    assert "no-such-model" in str(caught.value)
    assert "mine.toml" in str(caught.value)
    assert await overlay(database) == CatalogDocument()
    async with database.read() as conn:
        assert await credentials.listed(conn) == []


async def test_api_keys_are_sealed_and_never_in_the_rows(database: Database) -> None:
    done = await applied(database, TWO.format(url="https://two.example/v1"))
    assert (done.providers, done.keys, done.keyless) == (("two",), ("two",), ())
    async with database.read() as conn:
        secrets = {row.secret for row in await credentials.open_all(conn, KEK)}
        rows = (await conn.execute(text("SELECT document FROM provider"))).all()
    assert secrets == {"sk-first-0123456789", "sk-second-0123456789"}
    assert "sk-" not in repr(rows)
    assert "sk-" not in dump(await overlay(database))
    assert not (await applied(database, TWO.format(url="https://two.example/v1"))).anything


async def test_a_new_url_needs_the_keys_again(database: Database) -> None:
    await applied(database, TWO.format(url="https://two.example/v1"))
    moved = TWO.format(url="https://elsewhere.example/v1")
    without_keys = "\n".join(line for line in moved.splitlines() if "api_keys" not in line)
    assert (await applied(database, without_keys)).keyless == ("two",)
    assert (await applied(database, moved)).keys == ("two",)
    async with database.read() as conn:
        urls = {row.base_url for row in await credentials.listed(conn)}
    assert urls == {"https://elsewhere.example/v1"}
