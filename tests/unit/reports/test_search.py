"""The search finds what a plain scan finds, page after page, whatever is rolled up."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.support.money import NOON_US
from tests.support.plans import query_plan
from tests.unit.reports.rows import add, event
from tokenmarket.store import report_counts, report_rows, report_search, usage_rolling
from tokenmarket.store.database import Database
from tokenmarket.store.report_rows import Place, Search
from tokenmarket.store.usage_rollup import DAY_US, QUARTER_US, Bucketing, Filters

FROM_US, TO_US = NOON_US - 3 * DAY_US, NOON_US + DAY_US
EVERYTHING = Search("org_a", FROM_US, TO_US)
SEARCHES = {
    "everything": EVERYTHING,
    "all organizations": EVERYTHING._replace(org_id=None),
    "a model": EVERYTHING._replace(filters=Filters(models=("m1",))),
    "two keys and a status": EVERYTHING._replace(
        filters=Filters(keys=("key_1", "key_2"), statuses=("failed",))
    ),
    "no keys": EVERYTHING._replace(filters=Filters(keys=())),
    "cost over": EVERYTHING._replace(charge_min_nano=900),
    "latency over": EVERYTHING._replace(duration_min_us=9_000_000),
    "both, of all": Search(None, FROM_US, TO_US, charge_min_nano=500, duration_min_us=5_000_000),
    "a stretch of time": EVERYTHING._replace(
        from_us=NOON_US - DAY_US, to_us=NOON_US, filters=Filters(providers=("p0",))
    ),
    "an id": EVERYTHING._replace(id_prefix="req_" + f"{5:034x}"[:33]),
}


@pytest.fixture
async def rows(database: Database) -> list[dict[str, object]]:
    """600 requests of two organisations: times repeat, and half of them is rolled up."""
    random.seed(11)
    found = [
        event(
            number,
            org_id=random.choice(("org_a", "org_a", "org_b")),
            accepted_us=(at := NOON_US - random.randrange(4 * 96) * QUARTER_US // 2),
            finished_us=at + random.randrange(10_000_000),
            key_id=random.choice(("key_1", "key_2", "key_3")),
            model=random.choice(("m0", "m1")),
            provider=random.choice(("p0", "p1")),
            status=random.choice(("succeeded", "succeeded", "failed")),
            charge_nano=random.randrange(1000),
        )
        for number in range(600)
    ]
    await add(database, *found[:400])
    await usage_rolling.roll_up(database)
    await add(database, *found[400:])
    return found


def expected(rows: list[dict[str, object]], search: Search) -> list[object]:
    """The ids, by a plain scan."""
    wanted = search.filters

    def hit(row: dict[str, object]) -> bool:
        at_us, finished_us = int(str(row["accepted_us"])), int(str(row["finished_us"]))
        return (
            search.org_id in (None, row["org_id"])
            and (bool(search.id_prefix) or search.from_us <= at_us < search.to_us)
            and (not wanted.models or row["model"] in wanted.models)
            and (not wanted.providers or row["provider"] in wanted.providers)
            and (not wanted.statuses or row["status"] in wanted.statuses)
            and (wanted.keys is None or row["key_id"] in wanted.keys)
            and int(str(row["charge_nano"])) >= search.charge_min_nano
            and finished_us - at_us >= search.duration_min_us
            and str(row["request_id"]).startswith(search.id_prefix)
        )

    def place(row: dict[str, object]) -> tuple[int, str]:
        return int(str(row["accepted_us"])), str(row["request_id"])

    return [row["request_id"] for row in sorted(filter(hit, rows), key=place, reverse=True)]


@pytest.mark.parametrize("name", SEARCHES)
async def test_pages_are_what_a_scan_finds(
    database: Database,
    rows: list[dict[str, object]],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However much is looked through before the series are asked, and in which pieces."""
    monkeypatch.setattr(report_search, "SPOTS_AT_ONCE", 3)
    monkeypatch.setattr(report_search, "STRETCH_US", 7 * QUARTER_US)
    search = SEARCHES[name]
    wanted = expected(rows, search)
    if search.id_prefix:
        wanted.sort(key=str, reverse=True)
    assert wanted or name == "no keys"
    for looked in (5, 100, 10_000):
        monkeypatch.setattr(report_search, "LOOKED", looked)
        found: list[str] = []
        place: Place | None = None
        async with database.read() as conn:
            while True:
                page = await report_search.page(conn, search._replace(before=place), 7)
                assert len(page.rows) <= 7
                found += [row.request_id for row in page.rows]
                place = page.next_place
                if place is None:
                    break
                assert page.rows
        assert found == wanted, looked


@pytest.mark.parametrize("name", [name for name in SEARCHES if name != "an id"])
async def test_the_histogram_counts_what_is_found(
    database: Database, rows: list[dict[str, object]], name: str
) -> None:
    search = SEARCHES[name]
    days = Bucketing(DAY_US, ((10**18, 0),))
    async with database.read() as conn:
        counted = await report_counts.histogram(conn, search, days)
    if search.org_id is None and search.charge_min_nano:
        assert counted is None
        return
    ids = set(expected(rows, search))
    hits = [row for row in rows if row["request_id"] in ids]
    assert counted is not None
    assert counted.from_us == search.from_us
    assert sum(requests for _, requests, _ in counted.rows) == len(hits)
    failed_hits = sum(row["status"] == "failed" for row in hits)
    assert sum(failed for _, _, failed in counted.rows) == failed_hits
    for number, requests, _ in counted.rows:
        assert requests == sum(int(str(row["accepted_us"])) // DAY_US == number for row in hits)


@pytest.mark.parametrize("org_id", ["org_a", None])
async def test_a_page_that_searched_long_says_so_and_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch, org_id: str | None
) -> None:
    """Costly ones and slow ones in every quarter-hour, but none that is both: the page ends empty
    with a place from which the next goes on."""
    monkeypatch.setattr(report_rows, "BUCKETS_MAX", 4)
    monkeypatch.setattr(report_rows, "BUCKETS_AT_ONCE", 3)
    monkeypatch.setattr(report_search, "LOOKED", 2)
    monkeypatch.setattr(report_search, "READ_MAX", 60)
    for number in range(10):
        at_us = NOON_US - number * QUARTER_US
        await add(
            database,
            event(2 * number, accepted_us=at_us, charge_nano=100),
            event(2 * number + 1, accepted_us=at_us, finished_us=at_us + 10**7, charge_nano=1),
        )
    both = event(99, accepted_us=FROM_US, finished_us=FROM_US + 10**7, charge_nano=100)
    await usage_rolling.roll_up(database)
    await add(database, both)  # not rolled up: it must not come before its time, nor twice
    search = EVERYTHING._replace(org_id=org_id, charge_min_nano=100, duration_min_us=10**7)
    found: list[str] = []
    searched_us = TO_US
    pages = 0
    async with database.read() as conn:
        while True:
            page = await report_search.page(conn, search, 5)
            found += [row.request_id for row in page.rows]
            pages += 1
            if page.next_place is None:
                break
            assert page.searched_to_us is not None
            assert page.searched_to_us < searched_us
            searched_us = page.searched_to_us
            search = search._replace(before=page.next_place)
    assert page.searched_to_us is None
    assert found == [both["request_id"]]
    assert pages > 1


async def test_a_histogram_of_too_many_begins_where_it_counted(
    database: Database, rows: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it shows is all there is since then."""
    monkeypatch.setattr(report_search, "SPOTS_AT_ONCE", 3)
    days = Bucketing(DAY_US, ((10**18, 0),))
    for name, most in (("two keys and a status", 60), ("cost over", 300)):
        monkeypatch.setattr(report_counts, "COUNTED_MAX", most)
        search = SEARCHES[name]
        async with database.read() as conn:
            counted = await report_counts.histogram(conn, search, days)
        assert counted is not None
        assert search.from_us < counted.from_us < search.to_us
        newer = expected(rows, search._replace(from_us=counted.from_us))
        assert sum(requests for _, requests, _ in counted.rows) == len(newer) > 0


async def test_first_bytes_come_from_receipts(database: Database) -> None:
    compact = '["req","succeeded","chat","m","p","key",0,{us},500,0,false]'
    await add(
        database,
        event(1, receipt=compact.replace("{us}", "250")),
        event(2, receipt=compact.replace("{us}", "null")),
        event(3, receipt='{"object":"request"}'),
        event(4, receipt=compact.replace("{us}", "99"), status="failed"),
        event(5, receipt=compact.replace("{us}", "99"), org_id="org_b"),
    )
    async with database.read() as conn:
        assert await report_rows.first_bytes_us(conn, "org_a", FROM_US, 100) == [250]


async def test_the_plans_use_indexes(database: Database) -> None:
    searches = {
        "time": report_rows.by_time_query(EVERYTHING._replace(before=Place(NOON_US, "x")), 50),
        "bucket": report_rows.bucket_query(SEARCHES["a model"], NOON_US, ["org_a", "org_b"], 50),
        "spots": report_search.spots_query(
            SEARCHES["a model"], [report_search.Spot(NOON_US, NOON_US, NOON_US + 9, 1, 1)], 50
        ),
        "counted": report_counts.count_spots_query(
            SEARCHES["cost over"],
            [report_search.Spot(NOON_US, NOON_US, NOON_US + 9, 1, 1)],
            Bucketing(DAY_US, ((10**18, 0),)),
        ),
    }
    for query in searches.values():
        plan = await query_plan(database, query)
        [step] = [step for step in plan if "usage_event" in step]
        assert "USING INDEX ix_usage_event_org_id (org_id=? AND accepted_us>? AND" in step, plan
    tail = await query_plan(database, report_rows.tail_query(SEARCHES["a model"], 50))
    assert any("usage_event USING INTEGER PRIMARY KEY (rowid>?)" in step for step in tail), tail
    [step] = [
        step
        for step in await query_plan(database, report_rows.by_id_query(SEARCHES["an id"], 50))
        if "usage_event" in step
    ]
    assert "(request_id>? AND request_id<?)" in step
    buckets: Any = report_rows.buckets_query(SEARCHES["all organizations"], NOON_US, 64)
    plan = await query_plan(database, buckets)
    assert any("(width_us=? AND start_us>? AND start_us<?)" in step for step in plan), plan
    names = report_search.Names(1, [[2, 3], [4]])
    plan = await query_plan(database, report_search.series_spots_query(EVERYTHING, names, 64))
    assert "SEARCH some USING PRIMARY KEY (name_id=? AND width_us=? AND start_us>? AND" in plan[0]
    for other in ("whole", "also0"):
        key = f"SEARCH {other} USING PRIMARY KEY (name_id=? AND width_us=? AND start_us=?)"
        assert any(key in step for step in plan), plan
