"""``Offers``: what came with one turn is taken or left at its end, each for itself."""

from __future__ import annotations

import asyncio
from typing import cast

from tokenmarket.billing.clock import SystemClock
from tokenmarket.core.plain_chat import Plain
from tokenmarket.lane.call import Call, Client
from tokenmarket.lane.frames import Heading
from tokenmarket.lane.offers import Offer, Offers
from tokenmarket.telemetry import Telemetry
from tokenmarket.upstream.connection import Connection

HEADING = cast("Heading", None)


class Asked:
    """What the desk makes of an offer."""

    def __init__(self, heading: Heading, body: bytes, client: Client) -> None:
        self.heading, self.body, self.client = heading, body, client

    def __str__(self) -> str:
        return self.body.decode()


class Desk:
    """Recognises bodies by their first word, and keeps a log."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.offers = Offers(
            self.recognise, self.admit, self.send, cast("Telemetry", self), SystemClock()
        )

    def crash(self, request_id: str, error: BaseException) -> None:
        self.log.append(f"crash {error}")

    def recognise(self, offer: Offer) -> tuple[Call, Plain] | None:
        body = offer[1].decode()
        self.log.append(f"recognise {body}")
        if body == "bug":
            raise RuntimeError("recognise")
        if body == "odd":
            return None
        return cast("Call", Asked(*offer[:3])), cast("Plain", body)

    def admit(self, call: Call, plain: Plain) -> Connection | None:
        if str(call) == "late bug":
            raise RuntimeError("admit")
        return None if str(call) == "poor" else cast("Connection", "wire")

    def send(self, call: Call, plain: Plain, connection: Connection) -> None:
        self.log.append(f"send {call} on {connection}")

    # --- the client
    def taken(self, call: Call) -> None:
        self.log.append(f"taken {call}")

    def left(self, heading: Heading, body: bytes) -> None:
        self.log.append(f"left {body.decode()}")

    def offer(self, *bodies: str) -> None:
        for body in bodies:
            self.offers.add(HEADING, body.encode(), cast("Client", self))


async def test_all_are_recognised_before_the_first_is_sent() -> None:
    desk = Desk()
    desk.offer("a", "b")
    assert desk.log == []
    await asyncio.sleep(0)
    assert desk.log == [
        "recognise a",
        "recognise b",
        "send a on wire",
        "taken a",
        "send b on wire",
        "taken b",
    ]


async def test_each_is_left_for_itself_and_a_bug_is_told() -> None:
    desk = Desk()
    desk.offer("odd", "poor", "bug", "late bug", "fine")
    await asyncio.sleep(0)
    told = [line for line in desk.log if not line.startswith("recognise")]
    assert told == [
        "left odd",
        "crash recognise",
        "left bug",
        "left poor",
        "crash admit",
        "left late bug",
        "send fine on wire",
        "taken fine",
    ]


async def test_who_cannot_wait_is_served_at_once_and_once() -> None:
    desk = Desk()
    desk.offer("a")
    desk.offers.send_now()
    assert desk.log[-1] == "taken a"
    await asyncio.sleep(0)
    assert desk.log.count("taken a") == 1
