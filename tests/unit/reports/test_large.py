"""A million requests: what the pages ask reads the rollup and a few quarter-hours, by indexes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from tests.support.money import NOON_US
from tests.support.plans import query_plan
from tests.unit.reports.rows import event
from tokenmarket.store import report_counts, report_rows, report_search, usage_rolling, usage_sums
from tokenmarket.store.database import Database
from tokenmarket.store.report_rows import Place, Search
from tokenmarket.store.usage_rollup import DAY_US, Bucketing, Filters

ROWS = 1_000_000
STEP_US = 30 * DAY_US // ROWS
RARE = 100_000  # one request in so many
COLUMNS = tuple(event(0))


def rows() -> Iterator[tuple[object, ...]]:
    """Thirty days; every 100,000th is of a key that is used for nothing else."""
    for number in range(ROWS):
        at_us = NOON_US - 30 * DAY_US + number * STEP_US
        yield tuple(
            event(
                number,
                accepted_us=at_us,
                finished_us=at_us + number % 1000,
                key_id="key_rare" if number % RARE == 7 else f"key_{number % 3}",
                model=f"m{number % 4}",
                charge_nano=10**9 if number % RARE == 9 else 5,
            ).values()
        )


def insert(connection: sqlite3.Connection) -> None:
    marks = ", ".join("?" * len(COLUMNS))
    statement = f"INSERT INTO usage_event ({', '.join(COLUMNS)}) VALUES ({marks})"
    connection.executemany(statement, rows())


@pytest.mark.serial
@pytest.mark.timeout(600)
async def test_a_million_requests(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_rolling, "OLD_ROWS", usage_rolling.BATCH_ROWS)  # nobody waits
    await database.write_at_once(insert)
    while await usage_rolling.roll_up(database):
        pass
    span = Search("org_a", NOON_US - 30 * DAY_US, NOON_US + DAY_US)
    rare = span._replace(filters=Filters(keys=("key_rare",)))
    costly = span._replace(charge_min_nano=10**9)
    async with database.read() as conn:
        before = database.operations
        for search, remainder in ((rare, 7), (costly, 9)):
            page = await report_search.page(conn, search, 50)
            numbers = [int(row.request_id.removeprefix("req_"), 16) for row in page.rows]
            assert numbers == [n for n in range(ROWS - 1, -1, -1) if n % RARE == remainder]
        assert database.operations - before < 40, "one read per quarter-hour with a match"
        [total] = await usage_sums.sums(
            conn, "org_a", span.from_us, span.to_us, (), Filters(), None
        )
        assert total["requests"] == ROWS
        assert total["charge_nano"] == (ROWS - 10) * 5 + 10 * 10**9
        counted = await report_counts.histogram(conn, rare, Bucketing(DAY_US, ((10**18, 0),)))
    assert counted is not None
    assert sum(requests for _, requests, _ in counted.rows) == 10
    # with statistics or without, after a million rows: the plans are those of test_search.py
    deep = span._replace(before=Place(NOON_US - 15 * DAY_US, "x"))
    plan = await query_plan(database, report_rows.by_time_query(deep, 51))
    assert any("ix_usage_event_org_id (org_id=? AND accepted_us>? AND" in one for one in plan), plan
