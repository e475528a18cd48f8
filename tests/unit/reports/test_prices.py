"""What people are told of price changes: only prices they pay, of routes that are offered."""

from __future__ import annotations

from tokenmarket.core.catalog_rows import PriceEntry
from tokenmarket.core.price_terms import PriceTerms
from tokenmarket.reports import prices
from tokenmarket.reports.prices import Line
from tokenmarket.store import price_changes
from tokenmarket.store.database import Database
from tokenmarket.store.price_changes import PriceChange, State

OLD = PriceTerms(
    (PriceEntry("input_token", "1"), PriceEntry("output_token", "2")),
    (PriceEntry("input_token", "0.123"),),
)


def terms(output: str) -> PriceTerms:
    """Another price of output, another cost, and a markup of a half."""
    price = (PriceEntry("input_token", "1"), PriceEntry("output_token", output))
    return PriceTerms(price, (PriceEntry("input_token", "0.456"),))


async def change(
    database: Database, number: int, state: State, at_us: int, provider: str = "one"
) -> None:
    row = PriceChange(
        id=f"pch_{number:034x}",
        model="small",
        provider=provider,
        terms=terms(str(number)),
        state=state,
        effective_us=at_us,
        reason="secret",
        author="user:x",
        created_us=1,
        decided_us=at_us + 5 if state == "published" else None,
        version_after=f"v{number}",
        terms_before=OLD,
    )
    async with database.begin() as conn:
        await price_changes.insert_change(conn, row)


async def test_history_has_what_is_coming_first_and_nothing_of_costs(database: Database) -> None:
    await change(database, 3, "published", 100)
    await change(database, 4, "published", 200)
    await change(database, 5, "scheduled", 900)
    await change(database, 6, "scheduled", 950, provider="hidden")
    await change(database, 7, "draft", 300)
    await change(database, 8, "cancelled", 400)
    async with database.read() as conn:
        found = await prices.history(conn, "small", ["one"])
        coming = await prices.announced(conn)
        assert await prices.history(conn, "other", ["one"]) == []
    assert [(one.at_us, one.announced, one.version) for one in found] == [
        (900, True, "v5"),
        (205, False, "v4"),
        (105, False, "v3"),
    ]
    assert found[0].lines == [Line("output_token", (), 0, "2.00", "5.00")], "what stays is left out"
    assert [(one.provider, one.at_us) for one in coming] == [("one", 900), ("hidden", 950)]
