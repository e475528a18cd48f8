"""Prices change at their moment, once, with everything that was in force before kept."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.backoffice.conftest import HOUR_US, NOW_US
from tokenmarket.accounts.admin import NotThere, Refused, Taken
from tokenmarket.backoffice import catalog_edits, prices
from tokenmarket.core.catalog_rows import CatalogDocument, PriceEntry
from tokenmarket.core.catalog_toml import parse
from tokenmarket.core.price_terms import PriceTerms, terms_of
from tokenmarket.store import accounts, catalog_rows, price_changes
from tokenmarket.store.database import Connection, Database
from tokenmarket.store.price_changes import PriceChange

KEY = ("small", "one")
ACTOR = "user:usr_x"


def terms(usd_in: str = "1.5", usd_out: str = "3", markup: str = "0") -> PriceTerms:
    return PriceTerms(
        (PriceEntry("input_token", usd_in), PriceEntry("output_token", usd_out)),
        (PriceEntry("input_token", "0.8"), PriceEntry("output_token", "1.6")),
        markup,
    )


async def drafted(
    conn: Connection, shipped: CatalogDocument, wanted: PriceTerms, effective_us: int
) -> PriceChange:
    return await prices.draft(
        conn,
        shipped,
        KEY,
        wanted,
        effective_us=effective_us,
        reason="the provider raised its price",
        now_us=NOW_US,
        actor=ACTOR,
    )


async def scheduled(
    database: Database, shipped: CatalogDocument, wanted: PriceTerms, effective_us: int
) -> PriceChange:
    async with database.begin() as conn:
        change = await drafted(conn, shipped, wanted, effective_us)
        return await prices.schedule(conn, change.id, now_us=NOW_US, actor=ACTOR)


async def in_force(database: Database, shipped: CatalogDocument) -> PriceTerms:
    async with database.read() as conn:
        document = await catalog_edits.in_force(conn, shipped)
    return terms_of(catalog_edits.find_route(document, KEY))


async def test_a_scheduled_price_is_published_at_its_moment_and_once(
    database: Database, shipped: CatalogDocument
) -> None:
    old = await in_force(database, shipped)
    change = await scheduled(database, shipped, terms(), NOW_US + HOUR_US)
    assert await prices.publish_due(database, shipped, now_us=NOW_US + HOUR_US - 1) == []
    assert await in_force(database, shipped) == old
    async with database.read() as conn:
        generation = await accounts.generation(conn)

    published = await prices.publish_due(database, shipped, now_us=NOW_US + HOUR_US)
    assert [(row.id, row.state) for row in published] == [(change.id, "published")]
    assert published[0].terms_before == old
    assert published[0].version_before == old.sheet().version
    assert published[0].version_after == terms().sheet().version
    assert await in_force(database, shipped) == terms()
    assert await prices.publish_due(database, shipped, now_us=NOW_US + 2 * HOUR_US) == []
    async with database.read() as conn:
        assert await accounts.generation(conn) > generation  # running servers notice
        assert await accounts.broken_audit(conn) is None
        assert await price_changes.find(conn, change.id) == published[0]


async def test_what_was_due_while_nobody_ran_is_published_in_order(
    database: Database, shipped: CatalogDocument
) -> None:
    late = await scheduled(database, shipped, terms("1.9"), NOW_US + 2 * HOUR_US)
    early = await scheduled(database, shipped, terms("1.7"), NOW_US + HOUR_US)
    published = await prices.publish_due(database, shipped, now_us=NOW_US + 9 * HOUR_US)
    assert [row.id for row in published] == [early.id, late.id]
    assert published[1].terms_before == terms("1.7")
    assert await in_force(database, shipped) == terms("1.9")


async def test_two_publishers_publish_once(database: Database, shipped: CatalogDocument) -> None:
    await scheduled(database, shipped, terms(), NOW_US)
    both = await asyncio.gather(
        prices.publish_due(database, shipped, now_us=NOW_US),
        prices.publish_due(database, shipped, now_us=NOW_US),
    )
    assert sum(len(found) for found in both) == 1


async def test_other_columns_of_the_route_stay(
    database: Database, shipped: CatalogDocument
) -> None:
    async with database.begin() as conn:
        wishes = catalog_edits.RouteWishes("small-2", priority=3, weight=7)
        await catalog_edits.change_route(conn, shipped, KEY, wishes, now_us=NOW_US, actor=ACTOR)
    await scheduled(database, shipped, terms(), NOW_US)
    await prices.publish_due(database, shipped, now_us=NOW_US)
    async with database.read() as conn:
        row = catalog_edits.find_route(await catalog_edits.in_force(conn, shipped), KEY)
    assert (row.upstream_model, row.priority, row.weight) == ("small-2", 3, 7)
    assert terms_of(row) == terms()


async def test_a_change_whose_route_is_gone_fails_and_holds_nothing_up(
    database: Database, shipped: CatalogDocument
) -> None:
    await scheduled(database, shipped, terms(), NOW_US)
    without = CatalogDocument(shipped.providers, shipped.models, ())
    found = await prices.publish_due(database, without, now_us=NOW_US)
    assert [(row.state, row.problem) for row in found] == [("failed", "There is no such route.")]
    assert await prices.publish_due(database, without, now_us=NOW_US) == []


async def test_cancelled_and_drafted_changes_are_not_published(
    database: Database, shipped: CatalogDocument
) -> None:
    change = await scheduled(database, shipped, terms("1.2"), NOW_US)
    async with database.begin() as conn:
        await drafted(conn, shipped, terms("1.1"), NOW_US)
        await prices.cancel(conn, change.id, now_us=NOW_US, actor=ACTOR)
    assert await prices.publish_due(database, shipped, now_us=NOW_US + HOUR_US) == []
    async with database.begin() as conn:
        with pytest.raises(Taken):
            await prices.cancel(conn, change.id, now_us=NOW_US, actor=ACTOR)
        with pytest.raises(Taken):
            await prices.schedule(conn, change.id, now_us=NOW_US, actor=ACTOR)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (PriceTerms((PriceEntry("input_token", "1"),)), "output_token"),
        (terms("one"), "usd"),
        (terms("-1"), "usd"),
        (terms(markup="-100"), "markup_percent"),
        (PriceTerms(terms().price * 2), "second row"),
    ],
)
async def test_what_could_not_be_charged_is_refused(
    database: Database, shipped: CatalogDocument, wanted: PriceTerms, message: str
) -> None:
    async with database.begin() as conn:
        with pytest.raises(Refused, match=message):
            await drafted(conn, shipped, wanted, NOW_US)


async def test_more_refusals(database: Database, shipped: CatalogDocument) -> None:
    async with database.begin() as conn:
        with pytest.raises(Refused, match="in force already"):
            await drafted(conn, shipped, terms("1", "2"), NOW_US)
        with pytest.raises(Refused, match="two years"):
            await drafted(conn, shipped, terms(), NOW_US + 10**18)
        with pytest.raises(NotThere):
            await prices.find(conn, "pch_nothing")
        past = await drafted(conn, shipped, terms(), NOW_US - HOUR_US)
        assert past.effective_us == NOW_US  # the past is not rewritten
        assert await price_changes.count_open(conn) == 1


async def test_the_preview_says_old_new_difference_and_margin(
    database: Database, shipped: CatalogDocument
) -> None:
    async with database.read() as conn:
        found = await prices.preview(conn, shipped, KEY, terms("1", "2", markup="25"))
        below = await prices.preview(conn, shipped, KEY, terms("0.5", "2"))
    first = found.rows[0]
    assert (first.unit, first.before_usd, first.after_usd) == ("input_token", "1.00", "1.25")
    assert (first.cost_usd, first.change_bp, first.margin_bp) == ("0.80", 2500, 3600)
    assert found.example.before_nano * 5 == found.example.after_nano * 4
    assert found.example.cost_nano is not None
    assert not found.below_cost
    assert below.below_cost
    assert found.version_before != found.version_after


async def test_a_row_is_reset_to_the_shipped_one(
    database: Database, shipped: CatalogDocument
) -> None:
    await scheduled(database, shipped, terms(), NOW_US)
    await prices.publish_due(database, shipped, now_us=NOW_US)
    async with database.begin() as conn:
        assert ("route", *KEY) in await catalog_edits.own_rows(conn)
        await catalog_edits.reset(conn, shipped, "route", KEY, now_us=NOW_US, actor=ACTOR)
        assert await catalog_edits.own_rows(conn) == set()
        with pytest.raises(NotThere):
            await catalog_edits.reset(conn, shipped, "route", KEY, now_us=NOW_US, actor=ACTOR)
    assert await in_force(database, shipped) == terms("1", "2")


async def test_a_row_that_others_need_is_not_reset(
    database: Database, shipped: CatalogDocument
) -> None:
    """A model of the operator's own with a route of the operator's own."""
    own = parse(
        '[[model]]\nid = "own"\noperation = "chat"\n[[route]]\nmodel = "own"\nprovider = "one"\n',
        "own.toml",
    )
    async with database.begin() as conn:
        await catalog_rows.apply(conn, b"", shipped, own, now_us=NOW_US)
    with pytest.raises(catalog_edits.InvalidRow, match="there is no model"):
        async with database.begin() as conn:
            await catalog_edits.reset(conn, shipped, "model", ("own",), now_us=NOW_US, actor=ACTOR)
    async with database.read() as conn:
        assert ("model", "own") in await catalog_edits.own_rows(conn)
