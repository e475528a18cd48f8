"""``Outbox``: what a turn of the loop has to send leaves together, once, at its end."""

from __future__ import annotations

import asyncio

from tokenmarket.upstream.outbox import Outbox


class Sender:
    def __init__(self, log: list[str], name: str) -> None:
        self.log, self.name = log, name

    def send_now(self) -> None:
        self.log.append(self.name)


async def test_everybody_sends_at_the_end_of_the_turn_in_order() -> None:
    log: list[str] = []
    box = Outbox.of(asyncio.get_running_loop())
    assert Outbox.of(asyncio.get_running_loop()) is box
    box.add(Sender(log, "a"))
    box.add(Sender(log, "b"))
    log.append("work goes on")
    assert log == ["work goes on"]
    await asyncio.sleep(0)
    assert log == ["work goes on", "a", "b"]
    await asyncio.sleep(0)
    assert log == ["work goes on", "a", "b"]


async def test_who_is_added_while_others_send_sends_after_them_in_the_same_turn() -> None:
    log: list[str] = []
    box = Outbox.of(asyncio.get_running_loop())

    class Again(Sender):
        def send_now(self) -> None:
            super().send_now()
            box.add(Sender(log, "later"))

    box.add(Again(log, "first"))
    box.add(Sender(log, "second"))
    await asyncio.sleep(0)
    assert log == ["first", "second", "later"]
    await asyncio.sleep(0)
    assert log == ["first", "second", "later"]
