# pyright: basic
"""The engine of video tasks over a scripted provider, on a clock that tests move.

``studio()`` gives a Studio: real database, wallet, catalog, credentials and adapters; the provider
is ``Provider``, a table of tasks that tests set; files are in memory. Nothing waits: ``pass_s``
moves the clock, ``sweep`` does what is due then.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import count
from typing import Any

from tests.support.money import USD, World, world
from tests.support.video_parts import MemoryShelf, Postman, Provider
from tokenmarket.accounts.callers import Caller
from tokenmarket.adapters.registry import VIDEO
from tokenmarket.admission import Admission
from tokenmarket.catalog import CatalogSource
from tokenmarket.core.catalog_rows import CatalogDocument
from tokenmarket.core.catalog_toml import parse
from tokenmarket.core.video.parse import parse_video
from tokenmarket.core.video.projection import VideoView
from tokenmarket.core.video.request import VideoRequest
from tokenmarket.core.video.results import Created
from tokenmarket.core.wire import Inbound
from tokenmarket.files.spool import Spools
from tokenmarket.limits import Limits
from tokenmarket.receipts import render
from tokenmarket.settlement import Settlement
from tokenmarket.store import accounts as account_rows
from tokenmarket.store import tasks as rows
from tokenmarket.store.accounts import KeyRow, OrgRow
from tokenmarket.store.money import receipt_json
from tokenmarket.store.tasks import TaskRow
from tokenmarket.tasks.engine import Engine
from tokenmarket.tasks.service import VideoTasks
from tokenmarket.telemetry import Log, Telemetry
from tokenmarket.upstream.client import UpstreamClient
from tokenmarket.upstream.credentials import Secret
from tokenmarket.upstream.health import Health
from tokenmarket.upstream.outbound import Outbound
from tokenmarket.webhooks.callbacks import Callbacks
from tokenmarket.webhooks.deliverer import Deliverer
from tokenmarket.webhooks.dispatches import Dispatches

CATALOG = """
[[provider]]
name = "one"
adapter = "sandbox"
base_url = "sandbox:"
api_key_env = "ONE_KEY"
[[provider]]
name = "two"
adapter = "sandbox"
base_url = "sandbox:"
api_key_env = "TWO_KEY"
[[model]]
id = "film"
operation = "video"
name = { en = "Film", zh = "影片" }
vendor = "tests"
default_provider = "one"
[model.capabilities]
seconds = [4, 8]
expected_s = 20
deadline_s = 1800
image_to_video = true
sizes = ["320x180", "640x360"]
operations = ["remix"]
[[route]]
model = "film"
provider = "one"
price = [{ unit = "video_second", usd = "0.01" }]
[[model]]
id = "film-more"
operation = "video"
name = { en = "Film, continued", zh = "影片" }
vendor = "tests"
default_provider = "one"
capabilities = { seconds = [4, 8], expected_s = 20, sizes = ["320x180"], operations = ["extend"] }
[[route]]
model = "film-more"
provider = "one"
price = [{ unit = "video_second", usd = "0.01" }]
[[model]]
id = "film-two"
operation = "video"
name = { en = "Film at two", zh = "影片" }
vendor = "tests"
default_provider = "one"
capabilities = { seconds = [4, 8], expected_s = 20, sizes = ["320x180"] }
[[route]]
model = "film-two"
provider = "one"
price = [{ unit = "video_second", usd = "0.01" }]
[[route]]
model = "film-two"
provider = "two"
priority = 1
price = [{ unit = "video_second", usd = "0.03" }]
"""


async def _nobody(_endpoint: object) -> None:
    """No letters."""


class Studio:
    """One process: engine and service over a World."""

    def __init__(self, w: World) -> None:
        self.world = w
        self.clock = w.clock
        self.provider = Provider()
        self.postman = Postman()
        self.shelf = MemoryShelf(lambda: self.clock.wall // 1_000_000)
        self.lines: list[bytes] = []

        def sink(block: bytes) -> None:
            self.lines.append(block)

        self._sink = sink
        self.draws = count(0)
        self.requests = count(1)
        self.tasks: VideoTasks = None  # type: ignore[assignment]  # set by open
        self.caller: Caller = None  # type: ignore[assignment]

    async def open(self) -> VideoTasks:
        """A process starts (again) on the same data."""
        w = self.world
        wallet = await w.open()
        self.log = Log(self._sink, self.clock, "info")
        telemetry = Telemetry(self.log, self.clock)
        catalog = CatalogSource(CatalogDocument(), parse(CATALOG, "test"))
        assert not catalog.faults
        monotonic_s = lambda: self.clock.monotonic / 1e6  # noqa: E731
        client = UpstreamClient()
        local: Any = self.provider
        outbound = Outbound(client, Health(monotonic_s), monotonic_s, local=local)
        outbound.update(
            catalog.current.providers,
            lambda provider: [("env:KEY", Secret(f"key-{provider.name}"))],
        )
        await wallet.remember_prices(
            route.prices for routes in catalog.current.routes.values() for route in routes
        )
        engine = Engine(
            database=w.database,
            wallet=wallet,
            catalog=catalog,
            upstreams=outbound,
            fetcher=self.postman,  # type: ignore[arg-type]
            adapters=VIDEO,
            shelf=self.shelf,
            spools=Spools(w.folder / "spool"),
            telemetry=telemetry,
            clock=self.clock,
            draw=lambda: next(self.draws),
            randomness=_randomness(),
            video_ttl_s=7 * 86_400,
            notice_url=lambda task_id: f"https://us.test/notices/{task_id}",
        )
        admission = Admission(Limits(rpm_default=10_000, tpm_default=10**9), wallet, self.clock)
        settlement = Settlement(wallet, telemetry, self.clock)
        self.tasks = VideoTasks(engine, admission, settlement)
        queues = [
            Dispatches(
                w.database, wallet.worker_id, b"k" * 32, self.clock, engine.draw, (), _nobody
            ),
            Callbacks(
                w.database,
                wallet.worker_id,
                b"k" * 32,
                self.clock,
                engine.draw,
                engine.randomness,
            ),
        ]
        self.deliverer = Deliverer(queues, engine.fetcher, self.clock, self.log)
        await self.tasks.adopt()
        self.caller = _caller()
        return self.tasks

    async def restart(self) -> None:
        """The process dies where it is, another one begins."""
        self.world.wallet.abandon()
        await self.open()

    # --- driving ----------------------------------------------------------------------------------

    async def create(self, key: str = "", files: Any = (), **body: Any) -> Created:
        known = {"model": "film", "prompt": "A boat", "seconds": 4, "size": "320x180"}
        data = json.dumps({k: v for k, v in {**known, **body}.items() if v is not ...}).encode()
        number = next(self.requests)
        request_id = f"req_{self.clock.wall:014x}{number:020x}"
        inbound = Inbound(
            request_id=request_id,
            method="POST",
            path="/api/v1/videos",
            query=b"",
            headers={},
            body=data,
            address="127.0.0.1",
            accepted_us=self.clock.wall,
            started_us=self.clock.monotonic,
        )

        async def read() -> VideoRequest:
            return parse_video(data, files)

        return await self.tasks.create(self.caller, inbound, read, idempotency_key=key)

    async def made(self, **body: Any) -> str:
        return (await self.create(**body)).view.id

    def pass_s(self, seconds: float) -> None:
        self.clock.advance(int(seconds * 1_000_000))

    async def sweep(self) -> int:
        return await self.tasks.poller.sweep()

    async def sweep_for(self, seconds: float, step_s: float = 5.0) -> None:
        """Let that much time pass, doing what is due on the way."""
        passed = 0.0
        while passed < seconds:
            self.pass_s(step_s)
            passed += step_s
            await self.sweep()

    async def row(self, task_id: str) -> TaskRow:
        found = await rows.any_by_id(self.world.database, task_id)
        assert found is not None
        return found

    async def view(self, task_id: str) -> VideoView:
        found = await self.tasks.get(self.caller, task_id)
        assert found is not None
        return found

    async def receipt(self, task_id: str) -> dict[str, Any]:
        row = await self.row(task_id)
        found = await receipt_json(self.world.database, row.org_id, row.request_id)
        assert found is not None
        document: dict[str, Any] = json.loads(render(found))
        return document

    async def money(self) -> tuple[Decimal, Decimal]:
        """(balance, held) in USD."""
        found = await self.world.wallet.balance("o1")
        return Decimal(found.balance_nano) / USD, Decimal(found.held_nano) / USD

    async def settled(self, task_id: str, state: str, charged: str) -> TaskRow:
        """The task ended so, exactly that was taken, nothing is held, and the books agree."""
        row = await self.row(task_id)
        assert row.state == state, (row.state, row.error_json)
        charges = await self.world.scalar(
            "SELECT COUNT(*) FROM usage_event WHERE request_id = :r", r=row.request_id
        )
        assert charges == 1
        assert Decimal(row.charged_nano or 0) / USD == Decimal(charged)
        held = await self.world.scalar("SELECT COUNT(*) FROM hold WHERE state = 'pending'")
        live = await self.world.scalar("SELECT COUNT(*) FROM task WHERE completed_us = 0")
        assert bool(held) == bool(live)
        await self.world.wallet.flush()
        assert await self.world.differences() == []
        return row

    def events(self, name: str) -> list[dict[str, Any]]:
        self.log.flush()
        found = [json.loads(line) for block in self.lines for line in block.splitlines()]
        return [line for line in found if line["event"] == name]


def _randomness() -> Callable[[int], bytes]:
    numbers = count(1)
    return lambda length: next(numbers).to_bytes(length, "big")


def _caller() -> Caller:
    no = account_rows.Limits()
    org = OrgRow("o1", "o1", "customer", no, None, 0)
    unset: dict[str, Any] = dict.fromkeys(KeyRow.__struct_fields__[8:16])
    key = KeyRow("k1", "o1", "", "k1", 1, "", "", no, created_us=0, **unset)
    return Caller(key, org)


@asynccontextmanager
async def studio(usd: str = "1") -> AsyncIterator[Studio]:
    async with world() as w:
        await w.add_owner()
        await w.grant(int(Decimal(usd) * USD))
        found = Studio(w)
        await found.open()
        yield found
        await w.wallet.close()
        assert await w.differences() == []
