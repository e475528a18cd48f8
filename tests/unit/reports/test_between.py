"""``GET /usage``: between any two moments, grouped in any way, it is what the rows add up to."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from typing import Any

from tests.support.money import NOON_US
from tests.unit.reports.rows import add, event
from tokenmarket.store import usage_rolling
from tokenmarket.store.database import Database
from tokenmarket.store.usage_between import GROUPS, usage_between
from tokenmarket.store.usage_rollup import DAY_US, HOUR_US, NUMBERS, QUARTER_US


def expected(
    rows: list[dict[str, Any]], from_us: int, to_us: int, group_by: tuple[str, ...]
) -> dict[tuple[Any, ...], tuple[int, ...]]:
    """By a plain scan: group -> NUMBERS."""
    found: defaultdict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0] * len(NUMBERS))
    for row in rows:
        if row["org_id"] != "org_a" or not from_us <= row["accepted_us"] < to_us:
            continue
        facts = {
            **row,
            "day": row["accepted_us"] // DAY_US,
            "key": row["key_id"],
            "failed": int(row["status"] != "succeeded"),
            "requests": 1,
            "duration_us": row["finished_us"] - row["accepted_us"],
        }
        sums = found[tuple(facts[name] for name in group_by)]
        for place, name in enumerate(NUMBERS):
            sums[place] += facts[name]
    return {key: tuple(sums) for key, sums in found.items()}


async def test_any_bounds_and_groups_are_what_a_scan_adds_up(database: Database) -> None:
    random.seed(23)
    rows: list[dict[str, Any]] = [
        event(
            number,
            org_id=random.choice(("org_a", "org_a", "org_b")),
            accepted_us=(at := NOON_US - random.randrange(5 * DAY_US)),
            finished_us=at + random.randrange(10**8),
            model=f"m{random.randrange(4)}",
            provider=f"p{random.randrange(2)}",
            key_id=f"key_{random.randrange(3)}",
            operation=random.choice(("chat", "image")),
            status=random.choice(("succeeded", "succeeded", "failed")),
            charge_nano=random.randrange(10**10),
            uncollected_nano=random.randrange(10),
            prompt_tokens=random.randrange(10**6),
        )
        for number in range(800)
    ]
    await add(database, *rows[:500])
    await usage_rolling.roll_up(database)
    await add(database, *rows[500:])
    sizes = itertools.cycle((7 * 60_000_000, QUARTER_US, 5 * HOUR_US, 5 * DAY_US))
    for number, groups in enumerate(
        choice for size in range(4) for choice in itertools.permutations(GROUPS, size)
    ):
        from_us = NOON_US - random.randrange(5 * DAY_US)
        if number % 4 == 0:
            from_us -= from_us % HOUR_US
        to_us = from_us + random.randrange(next(sizes) + 1)
        found = await usage_between(database, "org_a", from_us, to_us, groups)
        keys = [tuple(row[name] for name in groups) for row in found]
        assert keys == sorted(keys)
        got = {
            key: tuple(row[name] for name in NUMBERS) for key, row in zip(keys, found, strict=True)
        }
        assert got == expected(rows, from_us, to_us, groups), (groups, from_us, to_us)
