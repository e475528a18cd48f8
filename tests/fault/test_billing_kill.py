"""T3.1, T3.2, T3.5, T3.7: a process that spends money is killed; nothing is lost, doubled or wrong.

The expected rows are those of ``design/billing.md`` section 9. The books of the parent come from
the pipe: h/H hold, p/P progress, s/S settle, small before and capital after the step.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.support.money import NOON_US, USD, World, database_at, memory_folder

ROOT = Path(__file__).parents[2]
BUDGET = 500 * USD


@pytest.fixture
async def w() -> AsyncIterator[World]:
    folder = memory_folder()
    database = await database_at(folder / "money.db")
    world = World(folder, database)
    world.clock.wall = NOON_US + 365 * 86_400_000_000  # later than the driver's real clock
    await world.grant(BUDGET)
    yield world
    await database.close()
    shutil.rmtree(folder, ignore_errors=True)


async def start(w: World, worker: str, tasks: int, point: str = "", nth: int = 0):
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        "-m",
        "tests.support.money_driver",
        str(w.folder),
        worker,
        str(tasks),
        point,
        str(nth),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
    )


async def told(process: asyncio.subprocess.Process) -> list[list[str]]:
    """Every whole line until the end of the process."""
    assert process.stdout is not None
    output = await process.stdout.read()
    await process.wait()
    lines = output.decode().split("\n")[:-1]
    return [line.split(" ") for line in lines]


async def run_to_death(w: World, worker: str, tasks: int, point: str, nth: int) -> list[list[str]]:
    process = await start(w, worker, tasks, point, nth)
    lines = await asyncio.wait_for(told(process), 60)
    assert process.returncode == -signal.SIGKILL
    return lines


class Books:
    """What may have been charged for each request, from outside."""

    def __init__(self) -> None:
        self.allowed: dict[str, set[int | None]] = {}

    def hear(self, lines: list[list[str]]) -> None:
        for step, *rest in lines:
            if step == "ready":
                continue
            name, amount = rest[0], int(rest[1])
            if step == "h":
                self.allowed[name] = {None, 0}  # H may or may not have been written
            elif step == "H":
                self.allowed[name] = {0}
            elif step in ("p", "s"):
                self.allowed[name].add(amount)
            else:
                self.allowed[name] = {amount}

    def check(self, charged: dict[str, int]) -> None:
        assert not charged.keys() - self.allowed.keys()
        for name, allowed in self.allowed.items():
            assert charged.get(name) in allowed, name


async def charges(w: World) -> dict[str, int]:
    async with w.database.read() as conn:
        rows = await conn.execute(text("SELECT request_id, charge_nano FROM usage_event"))
        return dict(rows.all())


async def recover_and_check(w: World, books: Books) -> dict[str, int]:
    wallet = await w.open()
    await wallet.close()
    charged = await charges(w)
    books.check(charged)
    assert await w.differences() == []
    assert await w.scalar("SELECT SUM(dr_pending) FROM account") == 0
    assert await w.scalar("SELECT COUNT(*) FROM lease WHERE state = 'open'") == 0
    assert await w.scalar("SELECT dr_posted FROM account") == sum(charged.values())
    assert await w.scalar("SELECT COUNT(*) FROM suspense") == 0
    return charged


# The tenth request: 10 % 3 = 1 progress of 7, charge 310, hold 1010. None: no event at all.
POINTS = [
    ("before_H", 10, None),
    ("after_H", 10, 0),
    ("before_S", 10, 7),
    ("after_S", 10, 310),
]


@pytest.mark.parametrize(("point", "nth", "expected"), POINTS, ids=[p[0] for p in POINTS])
async def test_killed_at_a_named_point_of_a_request(
    w: World, point: str, nth: int, expected: int | None
) -> None:
    books = Books()
    books.hear(await run_to_death(w, "d1", 1, point, nth))
    charged = await recover_and_check(w, books)
    assert charged.get("d1.0.10") == expected
    assert [charged[f"d1.0.{n}"] for n in range(1, 10)] == [300 + n for n in range(1, 10)]


async def test_killed_mid_stream_charges_the_last_progress(w: World) -> None:
    books = Books()
    # progress records: request 1 one, 2 two, 4 one, 5 two; the fifth in all is 5's first (7)
    books.hear(await run_to_death(w, "d1", 1, "after_P", 6))
    charged = await recover_and_check(w, books)
    assert charged["d1.0.5"] == 107


@pytest.mark.parametrize("point", ["before_post", "in_post", "after_post"])
async def test_killed_while_posting(w: World, point: str) -> None:
    books = Books()
    books.hear(await run_to_death(w, "d1", 8, point, 3))
    charged = await recover_and_check(w, books)
    assert len(charged) > 20


@pytest.mark.parametrize("point", ["adopt_batch", "adopt_close"])
async def test_an_adopter_killed_in_the_middle_is_continued(w: World, point: str) -> None:
    books = Books()
    books.hear(await run_to_death(w, "d1", 4, "after_S", 60))
    assert await run_to_death(w, "d2", 1, point, 1) == []
    await recover_and_check(w, books)


async def test_killed_at_random_again_and_again(w: World) -> None:
    chance = random.Random(7)
    books = Books()
    for life in range(4):
        process = await start(w, f"d{life}", 16)
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        await asyncio.sleep(chance.uniform(0.05, 0.4))  # any moment will do
        process.kill()
        books.hear(await asyncio.wait_for(told(process), 60))
    charged = await recover_and_check(w, books)
    assert len(charged) > 200


async def test_a_living_or_stopped_owner_is_never_adopted(w: World) -> None:
    from tokenmarket.billing.wallet import AlreadyRunning

    process = await start(w, "d1", 4)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGSTOP)
    with pytest.raises(AlreadyRunning):
        await w.open()
    process.send_signal(signal.SIGCONT)
    process.kill()
    books = Books()
    books.hear(await told(process))
    await recover_and_check(w, books)


async def test_sigterm_posts_everything_and_gives_everything_back(w: World) -> None:
    process = await start(w, "d1", 16)
    assert process.stdout is not None
    for _ in range(100):
        await process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    await asyncio.wait_for(told(process), 10)
    assert process.returncode == 0
    assert await w.scalar("SELECT SUM(dr_pending) FROM account") == 0
    assert await w.scalar("SELECT state FROM worker") == "dead"
    assert await w.differences() == []
