# pyright: basic
"""One organisation with webhook endpoints over a real database, a clock that tests move, and a
postman instead of the network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.video_parts import Postman
from tests.unit.accounts.clock import HandClock
from tokenmarket.accounts import admin
from tokenmarket.store import webhook_endpoints, webhook_sending
from tokenmarket.store.database import Database
from tokenmarket.store.webhook_endpoints import EndpointRow
from tokenmarket.telemetry import Log
from tokenmarket.webhooks import endpoints
from tokenmarket.webhooks.deliverer import Deliverer
from tokenmarket.webhooks.dispatches import Dispatches
from tokenmarket.webhooks.endpoints import Desk, Made, Wishes

KEK = b"k" * 32
URL = "https://customer.example/hook"
EVENTS = ("video.completed", "key.created")


class Shop:
    """``deliverer`` sends through ``postman``; its jitter is always the smallest."""

    def __init__(self, database: Database, clock: Any, fetcher: Any = None) -> None:
        self.database = database
        self.clock = clock
        self.postman = Postman()
        self.lines: list[bytes] = []

        def sink(block: bytes) -> None:
            self.lines.append(block)

        log = Log(sink, clock, "info")
        self.off: list[EndpointRow] = []  # those that were turned off, as it was told
        queue = Dispatches(database, "w1", KEK, clock, lambda: 0, (), self.turned_off)
        self.deliverer = Deliverer([queue], fetcher or self.postman, clock, log)
        self.org_id = ""

    async def turned_off(self, endpoint: EndpointRow) -> None:
        self.off.append(endpoint)

    @property
    def desk(self) -> Desk:
        return Desk(self.org_id, "user:usr_1", self.clock.wall_us(), KEK)

    async def org(self, name: str) -> str:
        async with self.database.begin() as conn:
            row = await admin.create_org(conn, name, now_us=self.clock.wall_us(), actor="test")
        return row.id

    async def made(self, url: str = URL, events: tuple[str, ...] = EVENTS) -> Made:
        async with self.database.begin() as conn:
            return await endpoints.create(conn, self.desk, Wishes(url, "", events))

    async def test(self, endpoint_id: str) -> str:
        async with self.database.begin() as conn:
            return await endpoints.send_test(conn, self.desk, endpoint_id)

    async def endpoint(self, endpoint_id: str) -> EndpointRow:
        async with self.database.read() as conn:
            return await endpoints.find(conn, self.org_id, endpoint_id)

    async def secrets(self, endpoint_id: str) -> list[str]:
        async with self.database.read() as conn:
            found = await webhook_endpoints.secrets(
                conn, KEK, self.org_id, endpoint_id, self.clock.wall_us()
            )
        return [row.secret for row in found]

    async def sent(self, endpoint_id: str) -> list[webhook_sending.Dispatch]:
        async with self.database.read() as conn:
            return await webhook_sending.dispatches_of(conn, self.org_id, endpoint_id)

    async def attempts(self, dispatch_id: str) -> list[webhook_sending.Attempt]:
        async with self.database.read() as conn:
            found = await webhook_sending.attempts_of(conn, self.org_id, [dispatch_id])
        return found.get(dispatch_id, [])

    def pass_s(self, seconds: float) -> None:
        self.clock.now_s += seconds


@asynccontextmanager
async def shop(folder: Path, fetcher: Any = None) -> AsyncIterator[Shop]:
    database = await Database.open(folder / "tokenmarket.db", beside=True)
    await database.create_schema()
    opened = Shop(database, HandClock(), fetcher)
    opened.org_id = await opened.org("acme")
    try:
        yield opened
    finally:
        await database.close()
