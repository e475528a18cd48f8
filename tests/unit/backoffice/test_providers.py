"""Providers are changed by the rules of the catalog; their keys go in and never come out."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import text

from tests.unit.backoffice.conftest import NOW_US
from tokenmarket.accounts.admin import NotThere, Refused, Taken
from tokenmarket.backoffice import catalog_edits, providers
from tokenmarket.backoffice.catalog_edits import InvalidRow, ModelWishes
from tokenmarket.backoffice.providers import ProviderWishes
from tokenmarket.core.catalog import ProviderLimits
from tokenmarket.core.catalog_rows import CatalogDocument
from tokenmarket.store import credentials
from tokenmarket.store.database import Database

KEK = b"k" * 32
ACTOR = "user:usr_x"
SECRET = "sk-do-not-show-me-12345678"
WISHES = ProviderWishes("deepseek", "https://two.example/v1", "TWO_API_KEY")


async def test_a_provider_is_added_changed_and_switched_off(
    database: Database, shipped: CatalogDocument
) -> None:
    async with database.begin() as conn:
        made = await providers.create(conn, shipped, "two", WISHES, now_us=NOW_US, actor=ACTOR)
        assert made.adapter == "deepseek"
        with pytest.raises(Taken):
            await providers.create(conn, shipped, "two", WISHES, now_us=NOW_US, actor=ACTOR)
        other = ProviderWishes("deepseek", "https://b.example", limits=ProviderLimits(rpm=5))
        await providers.change(conn, shipped, KEK, "two", other, now_us=NOW_US, actor=ACTOR)
        await providers.set_enabled(conn, shipped, "two", enabled=False, now_us=NOW_US, actor=ACTOR)
        found = providers.find(await catalog_edits.in_force(conn, shipped), "two")
    assert (found.base_url, found.limits.rpm, found.enabled) == ("https://b.example", 5, False)


@pytest.mark.parametrize(
    ("name", "wishes", "message"),
    [
        ("Two!", WISHES, "name"),
        ("two", ProviderWishes("nothing", "https://two.example"), "adapter"),
        ("two", ProviderWishes("openai", "https://user:pw@two.example"), "user name"),
        ("two", ProviderWishes("openai", "ftp://two.example"), "https://"),
    ],
)
async def test_the_rules_of_the_catalog_hold(
    database: Database,
    shipped: CatalogDocument,
    name: str,
    wishes: ProviderWishes,
    message: str,
) -> None:
    async with database.begin() as conn:
        with pytest.raises(InvalidRow, match=message) as caught:
            await providers.create(conn, shipped, name, wishes, now_us=NOW_US, actor=ACTOR)
    assert "user:pw" not in str(caught.value)


async def test_a_key_goes_in_and_never_comes_out(
    database: Database, shipped: CatalogDocument
) -> None:
    async with database.begin() as conn:
        row = await providers.add_key(conn, shipped, KEK, "one", SECRET, now_us=NOW_US, actor=ACTOR)
        with pytest.raises(Taken):
            await providers.add_key(conn, shipped, KEK, "one", SECRET, now_us=NOW_US, actor=ACTOR)
        opened = await credentials.open_all(conn, KEK, provider="one")
    assert [one.secret for one in opened] == [SECRET]
    assert SECRET not in repr(row)
    async with database.read() as conn:
        for table in ("audit_event", "credential", "provider"):
            rows = (await conn.execute(text(f"SELECT * FROM {table}"))).all()
            assert SECRET not in json.dumps([list(one) for one in rows]), table
    async with database.begin() as conn:
        await providers.remove_key(conn, "one", row.id, now_us=NOW_US, actor=ACTOR)
        assert await credentials.open_all(conn, KEK, provider="one") == []
        with pytest.raises(NotThere):
            await providers.remove_key(conn, "one", row.id, now_us=NOW_US, actor=ACTOR)


async def test_another_address_leaves_the_key_behind(
    database: Database, shipped: CatalogDocument
) -> None:
    wishes = ProviderWishes("openai", "https://elsewhere.example/v1", "ONE_API_KEY")
    async with database.begin() as conn:
        await providers.add_key(conn, shipped, KEK, "one", SECRET, now_us=NOW_US, actor=ACTOR)
        await providers.change(conn, shipped, KEK, "one", wishes, now_us=NOW_US, actor=ACTOR)
        opened = await credentials.open_all(conn, KEK, provider="one")
    assert [one.base_url for one in opened] == ["https://one.example/v1"]


@pytest.mark.parametrize("secret", ["", "  ", "two words", "schlüssel", "x" * 20_000, "a\nb"])
async def test_what_is_no_key_is_refused(
    database: Database, shipped: CatalogDocument, secret: str
) -> None:
    async with database.begin() as conn:
        with pytest.raises(Refused) as caught:
            await providers.add_key(conn, shipped, KEK, "one", secret, now_us=NOW_US, actor=ACTOR)
    assert not secret.strip() or secret not in str(caught.value)


async def test_a_model_is_renamed_and_its_end_announced(
    database: Database, shipped: CatalogDocument
) -> None:
    wishes = ModelWishes("Smaller", "更小", deprecated_at="2027-01-31")
    elsewhere = ModelWishes("S", "小", default_provider="two")
    async with database.begin() as conn:
        await catalog_edits.change_model(conn, shipped, "small", wishes, now_us=NOW_US, actor=ACTOR)
        model = catalog_edits.find_model(await catalog_edits.in_force(conn, shipped), "small")
        with pytest.raises(InvalidRow, match="no route for this model"):
            await catalog_edits.change_model(
                conn, shipped, "small", elsewhere, now_us=NOW_US, actor=ACTOR
            )
    assert (model.name_zh, model.deprecated_at) == ("更小", "2027-01-31")
