"""Usage: totals of rows, chart and CSV are one number; whose a key is; the time before."""

from __future__ import annotations

import csv
import io
import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert

from tests.support.money import NOON_US
from tests.unit.reports.rows import add, event
from tokenmarket.reports.asking import BadFilter, before, read_asked, read_span
from tokenmarket.reports.names import Names, names_of
from tokenmarket.reports.periods import day_start_us
from tokenmarket.reports.usage import GROUPS, METRICS, by_day, series, total, usage
from tokenmarket.reports.usage_csv import usage_csv
from tokenmarket.store import usage_rolling
from tokenmarket.store.database import Database
from tokenmarket.store.people_tables import membership, person, team
from tokenmarket.store.report_names import KeyName
from tokenmarket.store.tables import api_key
from tokenmarket.store.usage_rollup import DAY_US, HOUR_US

SHANGHAI = ZoneInfo("Asia/Shanghai")
ZONES = ["UTC", "Asia/Shanghai", "America/New_York"]
NAMES = Names(
    {
        "key_1": KeyName("key_1", "org_a", "prod", "tm_live_a", "aaaa", "team_1", "user:usr_1"),
        "key_2": KeyName("key_2", "org_a", "dev", "tm_live_b", "bbbb", "team_1", "user:usr_2"),
        "key_3": KeyName("key_3", "org_a", "old", "tm_live_c", "cccc", None, "cli:root"),
    },
    {"usr_1": "Ada", "usr_2": "Ben"},
    {"team_1": "Core"},
)


@pytest.fixture
async def charged(database: Database) -> int:
    """Requests over 60 days with the end of American summer time among them; their sum."""
    random.seed(5)
    rows = [
        event(
            number,
            accepted_us=NOON_US - random.randrange(60 * DAY_US),
            key_id=random.choice(("key_1", "key_2", "key_3")),
            model=f"m{random.randrange(8)}",
            status=random.choice(("succeeded", "failed")),
            charge_nano=random.randrange(10**9),
        )
        for number in range(400)
    ]
    await add(database, *rows[:250])
    await usage_rolling.roll_up(database)
    await add(database, *rows[250:])
    return sum(int(str(row["charge_nano"])) for row in rows)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("group", GROUPS)
async def test_every_sum_is_the_same_number(
    database: Database, charged: int, group: str, zone: str
) -> None:
    asked = read_asked({"range": "90d"}, ZoneInfo(zone), NOON_US)
    report = await usage(database, "org_a", asked, group, NAMES)
    assert report.total.charge_nano == charged
    assert report.total.requests == 400
    assert sum(row.sums.charge_nano for row in report.rows) == charged
    assert sum(day.charge_nano for day in by_day(report)) == charged
    assert len(by_day(report)) == 90
    for metric in METRICS:
        drawn = series(report, metric)
        assert sum(one.total for one in drawn) == report.total.of(metric)
        assert sum(map(sum, (one.values for one in drawn))) == report.total.of(metric)
    text = usage_csv(report, lambda name: f"={name}").removeprefix("\ufeff")
    head, *lines, last = csv.reader(io.StringIO(text, newline=""))
    assert zone in head[0]
    assert sum((Decimal(line[-1]) for line in lines), Decimal()) == Decimal(charged) / 10**9
    assert Decimal(last[-1]) == Decimal(charged) / 10**9
    assert all(line[2].startswith("'=") for line in lines)
    begins = {datetime.fromisoformat(line[0]) for line in lines}
    there = ZoneInfo(zone)
    assert all(begin.astimezone(there).strftime("%H:%M") == "00:00" for begin in begins)
    assert (await total(database, "org_a", asked.span)).charge_nano == charged
    for metric in METRICS:
        brief = await usage(database, "org_a", asked, group, NAMES, metric)
        assert brief._replace(cells=[]) == report._replace(cells=[])
        assert series(brief, metric) == series(report, metric)
        assert by_day(brief) == by_day(report)


async def test_keys_are_their_makers_and_teams(database: Database, charged: int) -> None:
    asked = read_asked({"range": "90d"}, UTC_ZONE, NOON_US)
    keys = {row.name: row.sums for row in (await usage(database, "org_a", asked, "key", None)).rows}
    members = {
        row.name: row.sums for row in (await usage(database, "org_a", asked, "member", NAMES)).rows
    }
    teams = {
        row.name: row.sums for row in (await usage(database, "org_a", asked, "team", NAMES)).rows
    }
    assert members == {"usr_1": keys["key_1"], "usr_2": keys["key_2"], "": keys["key_3"]}
    assert set(teams) == {"team_1", ""}
    assert teams["team_1"].requests == keys["key_1"].requests + keys["key_2"].requests
    for values, wanted in (
        ({"member": "usr_1"}, keys["key_1"]),
        ({"team": "team_1", "key": "key_2"}, keys["key_2"]),
        ({"team": "team_2"}, None),
    ):
        narrow = read_asked({"range": "90d", **values}, UTC_ZONE, NOON_US)
        report = await usage(database, "org_a", narrow, "model", NAMES)
        assert report.total.requests == (0 if wanted is None else wanted.requests)


UTC_ZONE = ZoneInfo("UTC")


async def test_the_period_before_is_as_long_and_just_before(database: Database) -> None:
    midnight_us = NOON_US - 12 * HOUR_US
    await add(
        database,
        event(1, accepted_us=midnight_us - 6 * DAY_US, charge_nano=1),
        event(2, accepted_us=midnight_us - 6 * DAY_US - 1, charge_nano=10, model="gone"),
        event(3, accepted_us=midnight_us - 13 * DAY_US, charge_nano=100),
        event(4, accepted_us=midnight_us - 13 * DAY_US - 1, charge_nano=1000),
    )
    asked = read_asked({"range": "7d"}, UTC_ZONE, NOON_US)
    report = await usage(database, "org_a", asked, "model", None)
    assert report.total.charge_nano == 1
    assert report.total_before.charge_nano == 110
    assert {row.name: (row.sums.charge_nano, row.before.charge_nano) for row in report.rows} == {
        "m": (1, 100),
        "gone": (0, 10),
    }


def test_days_across_the_end_of_summer_time() -> None:
    zone = ZoneInfo("America/New_York")
    span = read_span({"from": "2026-11-01", "to": "2026-11-01"}, zone, NOON_US)
    assert span.to_us - span.from_us == 25 * HOUR_US
    assert (span.first_day, span.last_day, span.days) == (date(2026, 11, 1), date(2026, 11, 1), 1)
    assert before(span).to_us - before(span).from_us == 24 * HOUR_US


def test_ranges_are_days_of_the_zone() -> None:
    span = read_span({}, SHANGHAI, NOON_US)
    assert span.from_us == day_start_us(date(2026, 11, 17), SHANGHAI)
    assert span.to_us == day_start_us(date(2026, 11, 24), SHANGHAI)
    hour = read_span({"range": "1h"}, SHANGHAI, NOON_US + 1)
    assert hour.to_us - hour.from_us == HOUR_US
    assert hour.from_us <= NOON_US + 1 < hour.to_us
    local = datetime.fromtimestamp(span.from_us / 1e6, UTC) + timedelta(hours=8)
    assert local.hour == 0


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"range": "forever"}, "range"),
        ({"from": "2026-13-01"}, "from"),
        ({"from": "2026-11-20", "to": "2026-11-19"}, "from"),
        ({"from": "2020-01-01", "to": "2026-11-19"}, "from"),
        ({"to": "0001-01-01"}, "to"),
        ({"from": "９"}, "from"),
        ({"status": "odd"}, "status"),
        ({"cost_over": "-1"}, "cost_over"),
        ({"cost_over": "1e3"}, "cost_over"),
        ({"latency_over": "soon"}, "latency_over"),
        ({"latency_over": "999999"}, "latency_over"),
        ({"cursor": "1.req_x"}, "cursor"),
        ({"model": "m" * 300}, "model"),
    ],
)
def test_hostile_filters_are_refused_with_their_field(values: dict[str, str], field: str) -> None:
    with pytest.raises(BadFilter) as caught:
        read_asked(values, SHANGHAI, NOON_US)
    assert caught.value.field == field
    assert str(caught.value)


async def test_names_are_of_the_organisation_only(database: Database) -> None:
    async with database.begin() as conn:
        for number, org_id in ((1, "org_a"), (2, "org_b")):
            await conn.execute(
                insert(person).values(
                    id=f"usr_{number}",
                    email=f"{number}@example.org",
                    name="",
                    password_hash="",
                    operator=0,
                    language="en",
                    theme="auto",
                    currency="USD",
                    time_zone="UTC",
                    created_us=0,
                )
            )
            await conn.execute(
                insert(membership).values(
                    org_id=org_id, user_id=f"usr_{number}", role="owner", created_us=0
                )
            )
            await conn.execute(
                insert(team).values(id=f"team_{number}", org_id=org_id, name="T", created_us=0)
            )
            await conn.execute(
                insert(api_key).values(
                    id=f"key_{number}",
                    org_id=org_id,
                    name="k",
                    digest=str(number),
                    pepper_version=1,
                    prefix="tm_live_x",
                    last4="aaaa",
                    team_id=f"team_{number}",
                    created_by=f"user:usr_{number}",
                    created_us=0,
                )
            )
    async with database.read() as conn:
        names = await names_of(conn, "org_a")
    assert names.members == {"usr_1": "1@example.org"}
    assert names.teams == {"team_1": "T"}
    assert list(names.keys) == ["key_1"]
    assert (names.member_of("key_1"), names.team_of("key_1")) == ("usr_1", "team_1")
    assert (names.member_of("key_2"), names.key_name("key_2")) == ("", "key_2")
