"""A process that spends money until it is killed, and tells its parent what it did, line by line.

    python -m tests.support.money_driver FOLDER WORKER TASKS POINT NTH

A line is written to the pipe before (small letter) and after (capital) each step, so it survives
the death of the process: the parent keeps books that know nothing of journal and SQL. At the NTH
hit of failpoint POINT the process kills itself with SIGKILL.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

from tests.support.money import usage_event
from tokenmarket.billing.clock import SystemClock
from tokenmarket.billing.wallet import InsufficientFunds, Wallet
from tokenmarket.store.database import Database


def say(text: str) -> None:
    os.write(1, text.encode() + b"\n")


class Killer:
    def __init__(self, point: str, nth: int) -> None:
        self.point, self.left = point, nth

    def __call__(self, point: str) -> None:
        if point == self.point:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def kill_inside_posting(database: Database, killer: Killer) -> None:
    """Failpoint ``in_post``: the transaction is open, its rows are written, COMMIT is not."""
    real = database.write_at_once

    async def write_at_once(work: Any) -> Any:
        def work_and_die(conn: sqlite3.Connection) -> Any:
            done = work(conn)
            killer("in_post")
            return done

        return await real(work_and_die)

    database.write_at_once = write_at_once  # type: ignore[method-assign]


async def spend(wallet: Wallet, worker: str, task: int) -> None:
    clock = SystemClock()
    funds = await wallet.funds("o1", "k1")
    number = 0
    while True:
        number += 1
        name = f"{worker}.{task}.{number}"
        held, charge = 1_000 + number % 50, 300 + number % 900
        say(f"h {name} {held}")
        try:
            hold = wallet.try_hold(
                funds, name, held, model="m", price_version="v", provider="sandbox"
            )
        except InsufficientFunds:
            await wallet.refill(funds, held)
            continue
        say(f"H {name} {held}")
        for step in range(number % 3):
            await asyncio.sleep(0)
            say(f"p {name} {100 * step + 7}")
            wallet.progress(hold, 100 * step + 7)
            say(f"P {name} {100 * step + 7}")
        say(f"s {name} {charge}")
        place = wallet.settle(
            hold,
            charge,
            lambda c, name=name: usage_event(
                name,
                "o1",
                "k1",
                clock.wall_us(),
                charge_nano=c.charged_nano,
                uncollected_nano=c.uncollected_nano,
            ),
        )
        await wallet.durable(place)
        say(f"S {name} {charge}")
        await asyncio.sleep(0.001)


async def main(folder: Path, worker: str, tasks: int, killer: Killer) -> None:
    database = await Database.open(folder / "money.db")
    wallet = await Wallet.open(
        database,
        folder / "journal",
        clock=SystemClock(),
        worker_id=worker,
        segment_bytes=1 << 14,
        failpoint=killer,
    )
    if killer.point == "in_post":
        kill_inside_posting(database, killer)
    say("ready")
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    running = [asyncio.create_task(spend(wallet, worker, n)) for n in range(tasks)]
    await stopping.wait()
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    for hold in list(wallet._live.values()):
        wallet.void(
            hold, lambda _, h=hold: usage_event(h.request_id, "o1", "k1", 0, status="cancelled")
        )
    await wallet.close()
    await database.close()


if __name__ == "__main__":
    folder, worker, tasks, point, nth = sys.argv[1:]
    asyncio.run(main(Path(folder), worker, int(tasks), Killer(point, int(nth))))
