"""A server that is killed while a payment is being told: credited once, whatever was answered."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.money import USD, World, database_at
from tests.support.paying import Desk
from tokenmarket.payments import settling
from tokenmarket.store.orders import OrderRow


async def _opened(folder: Path) -> Desk:
    w = World(folder, await database_at(folder / "tokenmarket.db"))
    return Desk(w)


def _told_and_killed(folder: Path, order: OrderRow, moment: str) -> None:
    """In a process of its own: settle the payment, and die at ``moment``."""

    async def run() -> None:
        desk = await _opened(folder)
        desk.paid(order)
        whole = settling.credit_payment

        async def dying(*arguments: Any, **options: Any) -> bool:
            done = await whole(*arguments, **options)
            if moment == "inside":
                os._exit(9)
            return done

        settling.credit_payment = dying
        await desk.tell(order)
        os._exit(9)  # committed, not answered

    asyncio.run(run())


@pytest.mark.parametrize("moment", ["inside", "before the answer"])
async def test_killed_between_the_news_and_the_answer(tmp_path: Path, moment: str) -> None:
    desk = await _opened(tmp_path)
    await desk.w.add_owner()
    order = await desk.order()
    await desk.w.database.close()
    context = multiprocessing.get_context("spawn")
    child = context.Process(target=_told_and_killed, args=(tmp_path, order, moment))
    child.start()
    await asyncio.to_thread(child.join)
    assert child.exitcode == 9
    desk = await _opened(tmp_path)
    try:
        desk.paid(order)
        before = await desk.balance()
        assert before == (0 if moment == "inside" else 20 * USD)
        # the provider has no answer, so it tells again
        assert await desk.tell(order) == ("credited" if moment == "inside" else "repeated")
        assert await desk.balance() == 20 * USD
        assert (await desk.payments.find("o1", order.id)).state == "paid"
    finally:
        await desk.w.database.close()
