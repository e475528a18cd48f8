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


async def test_a_sender_that_fails_costs_the_others_one_turn() -> None:
    log: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: log.append(str(context["exception"])))
    box = Outbox.of(loop)

    class Fails(Sender):
        def send_now(self) -> None:
            box.add(Sender(log, "added"))
            raise RuntimeError(self.name)

    box.add(Sender(log, "a"))
    box.add(Fails(log, "b"))
    box.add(Sender(log, "c"))
    await asyncio.sleep(0)
    assert log == ["a", "b"]
    await asyncio.sleep(0)
    assert log == ["a", "b", "c", "added"]


async def test_the_loop_is_asked_once_per_turn() -> None:
    log: list[str] = []
    loop = asyncio.get_running_loop()
    box = Outbox.of(loop)
    asked: list[object] = []
    call_soon = loop.call_soon

    class Again(Sender):
        def send_now(self) -> None:
            box.add(Sender(log, "later"))
            asked.append(box)

    def counted(callback: object, *arguments: object, **options: object) -> object:
        asked.append(callback)
        return call_soon(callback, *arguments, **options)  # type: ignore[arg-type]

    loop.call_soon = counted  # type: ignore[method-assign]
    box.add(Again(log, "first"))
    assert asked == [box.flush]
    box.flush()
    assert asked == [box.flush, box]
    assert log == ["later"]
    del loop.call_soon
