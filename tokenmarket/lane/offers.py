"""The requests that came with one turn of the event loop, taken stage by stage, not one by one.

For the reason that ``answers.py`` gives. Measured with 64 requests per turn: 27 µs each one by one,
18 in stages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from tokenmarket.billing.clock import Clock
from tokenmarket.core.plain_chat import Plain
from tokenmarket.lane.answers import TOGETHER_MAX
from tokenmarket.lane.frames import Heading
from tokenmarket.telemetry import Telemetry
from tokenmarket.upstream.connection import Connection
from tokenmarket.upstream.outbox import Outbox

if TYPE_CHECKING:
    from tokenmarket.lane.call import Call, Client

# Head, body, who sends it, and when it came: wall clock and monotonic, in microseconds.
Offer: TypeAlias = "tuple[Heading, bytes, Client, int, int]"
Recognise: TypeAlias = "Callable[[Offer], tuple[Call, Plain] | None]"
Admit: TypeAlias = "Callable[[Call, Plain], Connection | None]"
Send: TypeAlias = "Callable[[Call, Plain, Connection], None]"


class Offers:
    """Each is told at the end of the turn whether it is ``taken``, or ``left``: then it is not
    plain, or something about it wants a closer look; nothing was taken, nothing is known of it."""

    def __init__(
        self,
        recognise: Recognise,
        admit: Admit,
        send: Send,
        telemetry: Telemetry,
        clock: Clock,
    ) -> None:
        self._recognise = recognise
        self._admit = admit
        self._send = send
        self._telemetry = telemetry
        self._wall_us = clock.wall_us
        self._monotonic_us = clock.monotonic_us
        self._offers: list[Offer] = []
        self._outbox = Outbox.of(asyncio.get_running_loop())

    def add(self, heading: Heading, body: bytes, client: Client) -> None:
        """A request with a head that was accepted before."""
        if not self._offers:
            self._outbox.add(self)
        self._offers.append((heading, body, client, self._wall_us(), self._monotonic_us()))

    def send_now(self) -> None:
        """The end of the turn (``Outbox``)."""
        offers, self._offers = self._offers, []
        for start in range(0, len(offers), TOGETHER_MAX):
            some = offers[start : start + TOGETHER_MAX]
            known: list[tuple[Call, Plain]] = []
            for offer in some:
                found = None
                try:
                    found = self._recognise(offer)
                except Exception as error:  # our bug must not keep the others from being served
                    self._telemetry.crash("", error)
                if found is None:
                    offer[2].left(offer[0], offer[1])
                else:
                    known.append(found)
            admitted: list[tuple[Call, Plain, Connection]] = []
            for call, plain in known:
                connection = None
                try:
                    connection = self._admit(call, plain)
                except Exception as error:
                    self._telemetry.crash("", error)
                if connection is None:
                    call.client.left(call.heading, call.body)
                else:
                    admitted.append((call, plain, connection))
            for call, plain, connection in admitted:
                self._send(call, plain, connection)
                call.client.taken(call)
