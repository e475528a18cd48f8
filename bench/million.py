"""A million requests in a database, and how long what people ask of them takes.

    python bench/million.py make /tmp/million --days 400      # rows only, about a minute
    python bench/million.py measure /tmp/million              # rolls up what is not, then asks

One organization has 97 % of the rows, two others the rest. Models, keys and results are unevenly
frequent; ten rows each are of a model, a key, an error, a cost and a latency that nothing else has,
spread over the whole time; the most used key never used the most used model, so a search for both
finds nothing though each is everywhere. With 400 days a quarter-hour holds 26 requests and adding
up saves next to nothing, which is the worst case for a rollup.
"""

# ruff: noqa: S311, S608, ASYNC240
# random rows keep no secrets, the statement is of names above, and nothing else runs here
from __future__ import annotations

import argparse
import asyncio
import itertools
import math
import random
import sqlite3
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tokenmarket.reports.asking import read_asked
from tokenmarket.reports.names import Names
from tokenmarket.reports.requests import Requests
from tokenmarket.reports.usage import usage
from tokenmarket.store import usage_rolling
from tokenmarket.store.database import Database
from tokenmarket.store.report_names import KeyName

ROWS = 1_000_000
RARE = 10
NOW_US = 1_795_521_600_000_000  # 2026-11-24T12:00Z
DAY_US = 86_400_000_000
ORG = "org_" + "a" * 34
OTHERS = ("org_" + "b" * 34, "org_" + "c" * 34)
KEYS = [f"key_{number:034x}" for number in range(60)]
MODELS = [f"vendor{number % 5}/model-{number}" for number in range(20)]
OPERATIONS = ("chat", "chat", "chat", "embeddings", "images", "rerank", "speech")
ERRORS = ("PROVIDER_001", "PROVIDER_002", "PROVIDER_005", "QUOTA_001", "REQUEST_001")
RECEIPT = (  # as receipts.py writes them, but for attempts and items; as long as most
    '["%s","succeeded","chat","%s","vendor","%s",1795521600,812345,%d,900,false,"price",null,'
    '[["vendor","upstream-model","chosen",null],["other","upstream-model","skipped",null]],[],null,'
    '[],"price-sheet-1795521600",4096,812000,412345,399655,0,["req_of_the_ledger_entry.c"],"stop",'
    '[],null,null,"client-request-id","session-id-of-the-client","4bf92f3577b34da6a3ce929d0e0e4736"]'
)
COLUMNS = (
    "request_id, org_id, key_id, accepted_us, finished_us, operation, model, provider, status,"
    " error_code, charge_nano, uncollected_nano, refunded_nano, prompt_tokens, completion_tokens,"
    " cached_tokens, reasoning_tokens, units_json, price_version, windows, receipt"
)


def rows(days: float) -> Iterator[tuple[object, ...]]:
    """In the order of time, as they would be posted."""
    random.seed(1)
    weights = list(itertools.accumulate(1 / (place + 1) for place in range(60)))
    step_us = int(days * DAY_US / ROWS)
    rare = ROWS // RARE
    for number in range(ROWS):
        at_us = NOW_US - ROWS * step_us + number * step_us + random.randrange(step_us)
        org_id = ORG if random.random() < 0.97 else random.choice(OTHERS)
        key = random.choices(range(60), cum_weights=weights)[0]
        model = random.choices(range(20), cum_weights=weights[:20])[0]
        if key == 0 and model == 0:
            model = 1
        status, error = "succeeded", ""
        if (chance := random.random()) < 0.04:
            status = "failed" if chance < 0.02 else "cancelled" if chance < 0.03 else "rejected"
            error = random.choice(ERRORS)
        took_us = int(math.exp(random.gauss(13.5, 1)))
        charge = int(math.exp(random.gauss(13, 1.2))) if status == "succeeded" else 0
        key_id, model_id = KEYS[key], MODELS[model]
        place = number % rare
        if place == 11:
            org_id, model_id = ORG, "rare/model"
        elif place == 12:
            org_id, key_id = ORG, "key_" + "f" * 34
        elif place == 13:
            org_id, status, error = ORG, "failed", "PROVIDER_009"
        elif place == 14:
            org_id, charge = ORG, 5_000_000_000
        elif place == 15:
            org_id, took_us = ORG, 1_000_000_000
        request_id = f"req_{at_us:017x}{number:017x}"
        tokens = (random.randrange(20_000), random.randrange(2_000))
        yield (
            *(request_id, org_id, key_id, at_us, at_us + min(took_us, 1_000_000_000)),
            *(OPERATIONS[model % 7], model_id, f"provider{model % 5}", status, error),
            *(charge, 0, 0, *tokens, tokens[0] // 2, 0, "", "price-sheet-1795521600", ""),
            RECEIPT % (request_id, model_id, key_id, took_us),
        )


async def make(folder: Path, days: float) -> None:
    """A new database with the rows, none of them rolled up."""
    folder.mkdir(parents=True, exist_ok=True)
    database = await Database.open(folder / "tokenmarket.db")
    await database.create_schema()

    def insert(connection: sqlite3.Connection) -> None:
        marks = ", ".join("?" * (COLUMNS.count(",") + 1))
        statement = f"INSERT INTO usage_event ({COLUMNS}) VALUES ({marks})"
        connection.executemany(statement, rows(days))

    await database.write_at_once(insert)
    await database.close()


NAMES = Names(
    {
        key_id: KeyName(
            key_id,
            ORG,
            f"key {place}",
            "tm_live",
            "abcd",
            f"team_{place % 3}",
            f"user:u{place % 8}",
        )
        for place, key_id in enumerate(KEYS)
    },
    {f"u{number}": f"User {number}" for number in range(8)},
    {f"team_{number}": f"Team {number}" for number in range(3)},
)
ALL = {"from": "2025-10-22", "to": "2026-11-24"}  # 399 days
SEARCHES: dict[str, dict[str, str]] = {
    "everything": {},
    "frequent model": {"model": MODELS[0]},
    "rare model": {"model": "rare/model"},
    "frequent key": {"key": KEYS[0]},
    "rare key": {"key": "key_" + "f" * 34},
    "member": {"member": "u3"},
    "team": {"team": "team_1"},
    "route": {"provider": "provider4"},
    "succeeded": {"status": "succeeded"},
    "failed": {"status": "failed"},
    "error": {"error": "PROVIDER_001"},
    "rare error": {"error": "PROVIDER_009"},
    "operation": {"operation": "speech"},
    "cost over, rare": {"cost_over": "4"},
    "cost over, frequent": {"cost_over": "0.0005"},
    "cost over, middling": {"cost_over": "0.02"},
    "latency over, rare": {"latency_over": "900"},
    "latency over, frequent": {"latency_over": "1"},
    "latency over, middling": {"latency_over": "30"},
    "model and status": {"model": MODELS[7], "status": "failed"},
    "key and status": {"key": KEYS[20], "status": "cancelled"},
    "key and model": {"key": KEYS[20], "model": MODELS[11]},
    "never together": {"key": KEYS[0], "model": MODELS[0]},
    "member, failed, slow": {"member": "u3", "status": "failed", "latency_over": "20"},
    "model and cost": {"model": MODELS[5], "cost_over": "0.05"},
}


async def timed(ask: Callable[[], Awaitable[Any]]) -> tuple[str, Any]:
    """Median of five in milliseconds, time that passed and CPU that this process took of it (the
    better figure where other programs run); and what was answered."""
    took: list[float] = []
    worked: list[float] = []
    answer: Any = None
    for _ in range(5):
        begin, cpu = time.perf_counter(), time.process_time()
        answer = await ask()
        took.append((time.perf_counter() - begin) * 1000)
        worked.append((time.process_time() - cpu) * 1000)
    return f"{statistics.median(took):6.0f} ({statistics.median(worked):4.0f})", answer


async def measure(folder: Path, only: str) -> None:
    """Prints a table; CPU in brackets."""
    database = await Database.open(folder / "tokenmarket.db")
    await database.create_schema()
    begin, batches = time.perf_counter(), 0
    while await usage_rolling.roll_up(database):
        batches += 1
    print(f"rolled up in {time.perf_counter() - begin:.1f} s, {batches} batches")

    async def flush() -> None:
        return None

    wallet: Any = SimpleNamespace(flush=flush)
    clock: Any = SimpleNamespace(monotonic_us=lambda: 0)
    desk = Requests(database, wallet, list, lambda _: None, clock)
    shanghai = ZoneInfo("Asia/Shanghai")
    for span_name, span in (("7 days", {}), ("90 days", {"range": "90d"}), ("399 days", ALL)):
        for name, words in SEARCHES.items():
            if only not in name:
                continue
            asked = read_asked({**span, **words}, shanghai, NOW_US)
            list_ms, found = await timed(lambda asked=asked: desk.listing(ORG, asked, NAMES))
            bars_ms, bars = await timed(lambda asked=asked: desk.histogram(ORG, asked, NAMES))
            print(
                f"{span_name:9} {name:24} list {list_ms} {len(found.lines):3}"
                f"{'bounded' if found.searched_to_us else '+' if found.next_place else '':8}"
                f"histogram {bars_ms}{' bounded' if bars.counted_from_us else ''}"
            )
    for zone in ("UTC", "Asia/Shanghai", "America/New_York", "Asia/Kolkata"):
        for span_name, span in (("90 days", {"range": "90d"}), ("399 days", ALL)):
            for group in ("day", "model", "key", "member", "provider", "operation"):
                if only not in "usage":
                    continue
                asked = read_asked(span, ZoneInfo(zone), NOW_US)
                ms, report = await timed(
                    lambda asked=asked, group=group: usage(
                        database, ORG, asked, group, NAMES, "charge"
                    )
                )
                print(f"usage {zone:17} {span_name:9} by {group:10} {ms} {len(report.rows)} rows")
    await database.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("make", "measure"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--days", type=float, default=400)
    parser.add_argument("--only", default="", help="searches with this in their name, or usage")
    given = parser.parse_args()
    if given.what == "make":
        asyncio.run(make(given.folder, given.days))
    else:
        asyncio.run(measure(given.folder, given.only))


if __name__ == "__main__":
    main()
