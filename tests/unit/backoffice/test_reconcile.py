"""A proof finds a seeded difference; costs beside charges are exact, and unknown where they are."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert, text

from tests.support.money import NOON_US, FakeClock
from tests.unit.reports.rows import event
from tokenmarket.accounts.admin import NotThere
from tokenmarket.backoffice.reconcile import (
    Proofs,
    ProviderBalance,
    find_run,
    midnight_us,
    provider_balances,
)
from tokenmarket.core.catalog_compile import compile
from tokenmarket.core.catalog_rows import CatalogDocument
from tokenmarket.ledger.grants import grant
from tokenmarket.store import recon_rows
from tokenmarket.store.database import Database
from tokenmarket.store.money import usage_event

HOUR_US = 3_600_000_000
UNITS = '{"input_tokens":1000000,"output_tokens":500000}'  # 0.8 + 0.8 USD at the cost rows


@pytest.fixture
async def proofs(database: Database, tmp_path: Path) -> Proofs:
    async def flush() -> None:
        return None

    wallet: Any = SimpleNamespace(flush=flush)
    return Proofs(database, wallet, tmp_path / "journal", FakeClock())


async def granted(database: Database) -> None:
    await grant(
        database,
        org_id="org_a",
        grant_id="g1",
        amount_nano=10**9,
        reason="test",
        now_us=NOON_US,
    )


async def test_right_books_have_no_difference(database: Database, proofs: Proofs) -> None:
    await granted(database)
    run_id = await proofs.run()
    async with database.read() as conn:
        assert (await find_run(conn, run_id)).differences == 0
        assert await recon_rows.differences(conn, run_id) == []
        with pytest.raises(NotThere):
            await find_run(conn, "rec_x")


async def test_a_balance_that_no_transfer_explains_is_found(
    database: Database, proofs: Proofs
) -> None:
    await granted(database)
    async with database.begin() as conn:
        await conn.execute(
            text("UPDATE account SET cr_posted = cr_posted + 7 WHERE org_id = 'org_a'")
        )
    await proofs.begin("user:test")
    await proofs.stop()
    assert proofs.problem is None
    async with database.read() as conn:
        [run] = await recon_rows.runs(conn)
        found = await recon_rows.differences(conn, run.id)
    assert run.differences == len(found) > 0
    [balance] = [one for one in found if "grant" in one.subject and one.expected.isdigit()]
    assert int(balance.actual) - int(balance.expected) in (7, -7)


async def test_costs_beside_charges(database: Database, shipped: CatalogDocument) -> None:
    """A provider that was charged below its cost shows it to the last digit; a route without cost
    rows has no cost, not 0."""
    rows = [
        event(1, model="small", provider="one", units_json=UNITS, charge_nano=1_600_000_001),
        event(2, model="small", provider="one", units_json=UNITS, charge_nano=5),
        event(3, model="small", provider="gone", units_json=UNITS, charge_nano=11),
        event(4, model="small", provider="one", units_json="", charge_nano=0),  # nothing reported
        event(
            5,
            model="small",
            provider="one",
            units_json=UNITS,
            charge_nano=13,
            accepted_us=NOON_US - HOUR_US,
        ),
    ]
    async with database.begin() as conn:
        await conn.execute(insert(usage_event), rows)
    catalog = compile(shipped, 1)
    found = await provider_balances(database, catalog, NOON_US, NOON_US + 1)
    assert found == [
        ProviderBalance("gone", 1, 11, 0, 0, 1),
        ProviderBalance("one", 2, 1_600_000_006, 1_600_000_006, 3_200_000_000, 0),
    ]
    [_, longer] = await provider_balances(database, catalog, NOON_US - HOUR_US, NOON_US + 1)
    assert (longer.requests, longer.cost_nano) == (3, 4_800_000_000)


def test_days_begin_at_midnight_of_the_zone() -> None:
    """NOON_US is noon of UTC, 20:00 in Shanghai."""
    assert midnight_us(NOON_US, ZoneInfo("Asia/Shanghai"), 1) == NOON_US - 20 * HOUR_US
    assert midnight_us(NOON_US, ZoneInfo("UTC"), 7) == NOON_US - 12 * HOUR_US - 6 * 24 * HOUR_US
