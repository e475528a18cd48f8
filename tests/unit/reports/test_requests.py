"""Lists with running requests, the columns above them, one request with its attempts."""

from __future__ import annotations

import itertools
import random
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from tests.support.money import NOON_US, FakeClock
from tests.unit.reports.rows import add, event
from tokenmarket.reports.asking import read_asked
from tokenmarket.reports.requests import Requests, models_meant
from tokenmarket.store import usage_rolling
from tokenmarket.store.database import Database
from tokenmarket.store.usage_rollup import DAY_US, HOUR_US

UTC_ZONE = ZoneInfo("UTC")
ATTEMPTS = [
    {"provider": "a", "error": "overloaded: busy"},
    {"provider": "b", "error": None},
]


def running(request_id: str, org_id: str, at_us: int, model: str = "m") -> Any:
    """What the gateway knows of a request that it serves."""
    return SimpleNamespace(
        request_id=request_id,
        org_id=org_id,
        caller=SimpleNamespace(key_id="key_1"),
        route=None,
        request=SimpleNamespace(model=model),
        operation="chat",
        inbound=SimpleNamespace(accepted_us=at_us),
        started_us=0,
        first_byte_us=None,
        attempts=[],
    )


class Desk:
    """Requests over a database, a wallet that has posted everything, and what runs."""

    def __init__(self, database: Database) -> None:
        self.flushes = 0
        self.running: list[Any] = []
        wallet: Any = SimpleNamespace(flush=self._flush)
        self.requests = Requests(
            database, wallet, lambda: self.running, lambda _: None, FakeClock()
        )

    async def _flush(self) -> None:
        self.flushes += 1


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database)


async def test_running_requests_come_first_and_once(desk: Desk, database: Database) -> None:
    ended = event(1, receipt=msgspec.json.encode({"attempts": ATTEMPTS}).decode())
    await add(database, ended, event(2, accepted_us=NOON_US - 1))
    desk.running = [
        running(str(ended["request_id"]), "org_a", NOON_US),  # ended while the list was read
        running("req_x", "org_a", NOON_US),
        running("req_y", "org_b", NOON_US),
        running("req_z", "org_a", NOON_US, "another"),
    ]
    asked = read_asked({"model": "m"}, UTC_ZONE, NOON_US)
    found = await desk.requests.listing("org_a", asked, limit=1)
    assert desk.flushes == 1
    assert [line.request_id for line in found.running] == ["req_x"]
    assert [line.request_id for line in found.lines] == [ended["request_id"]]
    assert found.lines[0].failed_providers == ("a",)
    assert found.lines[0].fell_back
    following = await desk.requests.listing("org_a", asked._replace(before=found.next_place))
    assert following.running == []
    assert [line.request_id for line in following.lines] == [f"req_{2:034x}"]
    only = await desk.requests.listing("org_a", asked._replace(status="running"))
    assert (len(only.running), only.lines, only.next_place) == (2, [], None)
    costly = await desk.requests.listing("org_a", asked._replace(cost_over_nano=1))
    assert costly.running == [], "nobody knows yet what they cost"


@pytest.mark.parametrize("zone", ["UTC", "Asia/Shanghai", "America/New_York", "Asia/Kathmandu"])
@pytest.mark.parametrize("name", ["1h", "24h", "7d", "30d", "90d"])
async def test_columns_fill_the_time_and_count_everything(
    desk: Desk, database: Database, zone: str, name: str
) -> None:
    random.seed(3)
    rows = [
        event(
            number,
            accepted_us=NOON_US - random.randrange(2 * HOUR_US if number % 2 else 80 * DAY_US),
            status=random.choice(("succeeded", "failed")),
        )
        for number in range(300)
    ]
    await add(database, *rows[:200])
    await usage_rolling.roll_up(database)
    await add(database, *rows[200:])
    asked = read_asked({"range": name}, ZoneInfo(zone), NOON_US)
    found = await desk.requests.histogram("org_a", asked)
    assert found is not None
    assert found.counted_from_us is None
    columns = found.columns
    span = asked.span
    assert (columns[0].from_us, columns[-1].to_us) == (span.from_us, span.to_us)
    assert all(one.to_us == two.from_us for one, two in itertools.pairwise(columns))
    assert 4 <= len(columns) <= 91
    for column in columns:
        inside = [
            row for row in rows if column.from_us <= int(str(row["accepted_us"])) < column.to_us
        ]
        assert column.requests == len(inside)
        assert column.failed == sum(row["status"] == "failed" for row in inside)


async def test_no_columns_where_nobody_can_count(desk: Desk) -> None:
    asked = read_asked({"status": "running"}, UTC_ZONE, NOON_US)
    assert await desk.requests.histogram("org_a", asked) is None
    asked = read_asked({"q": "req_0"}, UTC_ZONE, NOON_US)
    assert await desk.requests.histogram("org_a", asked) is None


async def test_one_request_is_its_organisations(desk: Desk, database: Database) -> None:
    row = event(1, receipt='{"object":"request","id":"x"}')
    await add(database, row)
    request_id = str(row["request_id"])
    told = await desk.requests.one("org_a", request_id)
    assert told is not None
    assert (told.receipt["id"], told.entries, told.balance_after_nano) == ("x", [], None)
    assert await desk.requests.one("org_b", request_id) is None
    assert await desk.requests.one("org_a", "../etc/passwd") is None
    assert await desk.requests.org_of(request_id) == "org_a"
    assert await desk.requests.org_of("nothing") is None


@pytest.mark.parametrize(
    ("text", "meant"),
    [("", ()), ("SONNET", ("claude-sonnet",)), ("x", ()), ("c", ("claude-sonnet", "c"))],
)
def test_a_text_means_models(text: str, meant: tuple[str, ...]) -> None:
    assert models_meant(text, ["claude-sonnet", "c", "d"]) == meant
