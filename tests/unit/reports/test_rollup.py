"""Sums of the rollup are those of the raw rows, whenever it ran and whatever zone is asked for."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from tests.support.money import NOON_US
from tests.support.plans import query_plan
from tests.unit.reports.rows import add, event
from tokenmarket.reports.periods import days_of
from tokenmarket.store import usage_rolling, usage_sums
from tokenmarket.store.database import Database
from tokenmarket.store.usage_rollup import (
    DAY_US,
    HOUR_US,
    QUARTER_US,
    Bucketing,
    Filters,
    usage_series,
)

NOTHING = Filters()


async def total(database: Database, **options: object) -> list[dict[str, int | str]]:
    arguments: dict[str, object] = {
        "org_id": "org_a",
        "from_us": NOON_US - 400 * DAY_US,
        "to_us": NOON_US + DAY_US,
        "groups": (),
        "filters": NOTHING,
        **options,
    }
    async with database.read() as conn:
        return await usage_sums.sums(conn, **arguments)  # type: ignore[arg-type]


async def test_nothing_sums_to_nothing(database: Database) -> None:
    assert await total(database) == []
    assert await usage_rolling.roll_up(database) == 0


async def test_rolled_up_or_not_the_sum_is_the_same(database: Database) -> None:
    await add(database, event(1), event(2, status="failed", charge_nano=0))
    before = await total(database)
    assert before[0] == {
        "failed": 1,
        "requests": 2,
        "charge_nano": 7,
        "uncollected_nano": 0,
        "prompt_tokens": 6,
        "completion_tokens": 4,
        "cached_tokens": 2,
        "reasoning_tokens": 0,
        "duration_us": 2_000,
    }
    assert await usage_rolling.roll_up(database) == 2
    assert await total(database) == before
    assert await usage_rolling.roll_up(database) == 0
    assert await total(database) == before


async def test_a_request_that_ended_late_is_counted_where_it_began(database: Database) -> None:
    await add(database, event(1))
    await usage_rolling.roll_up(database)
    await add(database, event(2, accepted_us=NOON_US - 3 * HOUR_US, charge_nano=5))
    late = {"from_us": NOON_US - 3 * HOUR_US, "to_us": NOON_US}
    for _ in range(2):
        [row] = await total(database, **late)
        assert (row["requests"], row["charge_nano"]) == (1, 5)
        [row] = await total(database)
        assert (row["requests"], row["charge_nano"]) == (2, 12)
        await usage_rolling.roll_up(database)


async def test_another_organisation_sees_nothing(database: Database) -> None:
    await add(database, event(1), event(2, org_id="org_b"))
    for _ in range(2):
        [row] = await total(database, org_id="org_b")
        assert row["requests"] == 1
        [row] = await total(database, org_id=None)
        assert row["requests"] == 2
        assert await total(database, org_id="org_c") == []
        await usage_rolling.roll_up(database)


async def test_filters_and_groups(database: Database) -> None:
    await add(
        database,
        event(1),
        event(2, model="n", key_id="key_2"),
        event(3, status="failed", error_code="PROVIDER_001"),
    )
    for _ in range(2):
        rows = await total(database, groups=("model", "key_id"))
        assert [(row["model"], row["key_id"], row["requests"]) for row in rows] == [
            ("m", "key_1", 2),
            ("n", "key_2", 1),
        ]
        assert (await total(database, filters=Filters(keys=()))) == []
        [row] = await total(database, filters=Filters(keys=("key_2",), models=("m", "n")))
        assert row["requests"] == 1
        [row] = await total(database, filters=Filters(error_codes=("PROVIDER_001",)))
        assert (row["requests"], row["failed"]) == (1, 1)
        await usage_rolling.roll_up(database)


async def test_half_an_hour_is_refused(database: Database) -> None:
    with pytest.raises(ValueError, match="quarter"):
        await total(database, from_us=NOON_US + 1)


async def test_a_rollup_that_lost_rows_is_found_out(database: Database) -> None:
    await add(database, event(1), event(2))
    await usage_rolling.roll_up(database)
    async with database.read() as conn:
        assert await usage_rolling.is_complete(conn)
    async with database.begin() as conn:
        await conn.execute(
            text("DELETE FROM usage_event WHERE request_id = :id"), {"id": f"req_{1:034x}"}
        )
    async with database.read() as conn:
        assert not await usage_rolling.is_complete(conn)
    async with database.begin() as conn:
        await usage_rolling.forget(conn)
    await usage_rolling.roll_up(database)
    [row] = await total(database)
    assert row["requests"] == 1


async def test_series_that_are_missing_are_found_out(database: Database) -> None:
    """As after the upgrade that brought them."""
    await add(database, event(1), event(2))
    await usage_rolling.roll_up(database)
    async with database.begin() as conn:
        await conn.execute(usage_series.delete())
    async with database.read() as conn:
        assert not await usage_rolling.is_complete(conn)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Shanghai", "America/New_York", "Asia/Kathmandu"])
async def test_days_of_a_zone_are_exact(database: Database, zone: str) -> None:
    """Half of the rows are rolled up, half are not; days are compared with Python's own."""
    random.seed(7)
    there = ZoneInfo(zone)
    begin = datetime(2026, 10, 20, tzinfo=there)
    from_us = int(begin.timestamp()) * 1_000_000
    expected: defaultdict[int, int] = defaultdict(int)
    rows: list[dict[str, object]] = []
    for number in range(600):
        at_us = from_us + random.randrange(20 * DAY_US)
        charge_nano = random.randrange(1, 10**9)
        rows.append(event(number, accepted_us=at_us, charge_nano=charge_nano))
        local = (datetime.fromtimestamp(at_us // 1_000_000, UTC)).astimezone(there)
        expected[local.date().toordinal()] += charge_nano
    await add(database, *rows[:300])
    await usage_rolling.roll_up(database)
    await add(database, *rows[300:])
    to_us = int((begin + timedelta(days=21)).timestamp()) * 1_000_000
    bucketing: Bucketing = days_of(there, from_us, to_us)
    found = await total(database, from_us=from_us, to_us=to_us, bucketing=bucketing)
    epoch = datetime(1970, 1, 1, tzinfo=UTC).toordinal()
    assert {int(row["bucket"]) + epoch: row["charge_nano"] for row in found} == dict(expected)


async def test_the_plan_reads_the_rollup_by_its_key_and_the_rest_by_rowid(
    database: Database,
) -> None:
    """A year of raw rows is never read for a sum."""
    which = ("org_a", NOON_US, NOON_US + QUARTER_US, ("model", "key_id"), NOTHING, None)
    part = usage_sums.Run(0, QUARTER_US, NOON_US, NOON_US + QUARTER_US)
    query = usage_sums.rollup_query("org_a", part, ("model", "key_id"), NOTHING, None)
    plan = await query_plan(database, query)
    assert any("usage_rollup USING" in step and "org_id=?" in step for step in plan), plan
    plan = await query_plan(database, usage_sums.tail_query(*which))
    assert any("usage_event USING INTEGER PRIMARY KEY (rowid>?)" in step for step in plan), plan


async def test_the_plan_reads_a_series_by_runs_of_blocks(database: Database) -> None:
    runs = usage_sums.runs_of(NOON_US - DAY_US, NOON_US, None)
    query = usage_sums.series_query("org_a", "model", None, runs, by_value=True, by_bucket=True)
    plan = await query_plan(database, query)
    assert any("usage_name USING" in one and "org_id=? AND dimension=?" in one for one in plan), (
        plan
    )
    key = "(name_id=? AND width_us=? AND start_us>? AND start_us<?)"
    assert any(one.startswith("SEARCH usage_series") and key in one for one in plan), plan
