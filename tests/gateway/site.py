"""The real server in the test's event loop, over a scripted upstream, with lanes to drive on.

A lane is a set of providers and models that no other test uses, so that breakers, resting keys and
latencies of one test cannot be seen by the next. ``Site.org`` makes an organisation with one key
and a known balance: what a test may say about money is then exact.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from tests.gateway.upstream import Upstream, scripted
from tests.gateway.wire import Answer, Wire, raw_request
from tokenmarket import config as configuration
from tokenmarket.accounts import admin
from tokenmarket.app import Server
from tokenmarket.billing.clock import SystemClock
from tokenmarket.billing.verify import verify
from tokenmarket.catalog import load_shipped
from tokenmarket.core import sealing
from tokenmarket.core.catalog_toml import parse
from tokenmarket.ledger.grants import grant
from tokenmarket.store import catalog_rows
from tokenmarket.store.accounts import Limits
from tokenmarket.store.database import Database
from tokenmarket.telemetry import Log
from tokenmarket.web.front import FrontLimits

LANES = 50  # a module that needs others says so in a LANES of its own
CHAT = "/api/v1/chat/completions"
EMBEDDINGS = "/api/v1/embeddings"
COMPLETIONS = "/api/v1/completions"
SHORT = "{ connect = 0.5, first_byte = 0.5, idle = 0.5, total = 3 }"

_LANE = """
[[provider]]
name = "l{n}a"
adapter = "vllm"
base_url = "http://127.0.0.1:{port}/l{n}a/v1"
timeout_s = {short}
data = {{ retention_days = 0, trains = false }}
[[provider]]
name = "l{n}b"
adapter = "vllm"
base_url = "http://127.0.0.1:{port}/l{n}b/v1"
timeout_s = {short}
[[provider]]
name = "l{n}c"
adapter = "mistral"
base_url = "http://127.0.0.1:{port}/l{n}c/v1"
timeout_s = {short}
api_keys = ["first-key-{n}", "other-key-{n}"]
[[provider]]
name = "l{n}d"
adapter = "vllm"
base_url = "http://127.0.0.1:1/l{n}d/v1"
timeout_s = {short}
"""
_MODEL = """
[[model]]
id = "l{n}-{name}"
operation = "{operation}"
name = {{ en = "Lane {n} {name}", zh = "车道 {n}" }}
vendor = "tests"
default_provider = "l{n}{default}"
policy = "{policy}"
context_tokens = 100_000
max_output_tokens = {output}
"""
_ROUTE = """
[[route]]
model = "l{n}-{name}"
provider = "l{n}{letter}"
upstream_model = "{name}-at-{letter}"
priority = {priority}
price = [
  {{ unit = "input_token", usd = "{input}" }},
  {{ unit = "output_token", usd = "{output}" }},
]
"""
# name -> operation, policy, (letter, priority, usd per million in, out)
MODELS: dict[str, tuple[str, str, tuple[tuple[str, int, str, str], ...]]] = {
    "one": ("chat", "default", (("a", 0, "1", "2"),)),
    "two": ("chat", "default", (("a", 0, "1", "2"), ("b", 1, "3", "4"))),
    "all": (
        "chat",
        "default",
        (("a", 0, "1", "2"), ("b", 1, "3", "4"), ("c", 2, "0.5", "0.5")),
    ),
    "refused": ("chat", "default", (("d", 0, "1", "2"),)),
    "refused_two": ("chat", "default", (("d", 0, "1", "2"), ("b", 1, "3", "4"))),
    "keys": ("chat", "default", (("c", 0, "0.5", "0.5"),)),
    "vectors": ("embeddings", "default", (("a", 0, "0.02", "0"),)),
}


def lane_toml(n: int, port: int) -> str:
    text = _LANE.format(n=n, port=port, short=SHORT)
    for name, (operation, policy, routes) in MODELS.items():
        text += _MODEL.format(
            n=n,
            name=name,
            operation=operation,
            default=routes[0][0],
            policy=policy,
            output=0 if operation == "embeddings" else 4096,
        )
        for letter, priority, price_in, price_out in routes:
            text += _ROUTE.format(
                n=n,
                name=name,
                letter=letter,
                priority=priority,
                input=price_in,
                output=price_out,
            )
    return text


class Clock(SystemClock):
    """The machine's clocks, and a jump: what cools down or refills is then not waited for."""

    def __init__(self) -> None:
        self.ahead_us = 0

    def monotonic_us(self) -> int:
        return super().monotonic_us() + self.ahead_us

    def jump(self, seconds: float) -> None:
        self.ahead_us += int(seconds * 1_000_000)


@dataclass
class Lane:
    """``a``, ``b``, ``c`` are provider names; models are reached by ``model("two")``."""

    n: int
    upstream: Upstream

    @property
    def a(self) -> str:
        return f"l{self.n}a"

    @property
    def b(self) -> str:
        return f"l{self.n}b"

    @property
    def c(self) -> str:
        return f"l{self.n}c"

    def model(self, name: str = "one") -> str:
        return f"l{self.n}-{name}"

    def chat(self, name: str = "one", **more: Any) -> dict[str, Any]:
        """A body; 50 output tokens at most unless said otherwise."""
        body: dict[str, Any] = {
            "model": self.model(name),
            "messages": [{"role": "user", "content": "Say hello."}],
            "max_tokens": 50,
        }
        return {name: value for name, value in (body | more).items() if value is not ...}

    def calls(self) -> tuple[int, int, int]:
        """How many requests a, b and c have got."""
        return (
            len(self.upstream.of(self.a)),
            len(self.upstream.of(self.b)),
            len(self.upstream.of(self.c)),
        )


@dataclass
class Org:
    """An organisation with one key; ``asked`` counts its authenticated inference requests."""

    site: Site
    id: str
    key: str
    granted: Decimal
    asked: int = 0

    async def post(
        self, path: str, body: Any, *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        self.asked += 1
        return await self.site.post(path, body, key=self.key, headers=headers)

    async def chat(self, body: Any, *, headers: Mapping[str, str] | None = None) -> Answer:
        return await self.post(CHAT, body, headers=headers)

    async def get(self, path: str) -> Answer:
        return await self.site.get(path, key=self.key)

    async def receipt(self, request_id: str) -> dict[str, Any]:
        answer = await self.get(f"/api/v1/requests/{request_id}")
        assert answer.status == 200, answer.body
        receipt: dict[str, Any] = answer.json
        assert receipt["id"] == request_id
        return receipt

    async def receipts(self) -> list[dict[str, Any]]:
        """All receipts of the organisation, after they were posted to SQL, oldest first."""
        await self.site.server.wallet.flush()
        found = await self.site.posted(self.id)
        return [await self.receipt(request_id) for request_id in found]

    async def credits(self) -> tuple[Decimal, Decimal]:
        """(balance, held)."""
        document = (await self.get("/api/v1/credits")).json
        balance, held = Decimal(document["balance"]), Decimal(document["held"])
        assert Decimal(document["available"]) == balance - held
        return balance, held

    async def settled(self, *charges: Decimal | str) -> None:
        """Nothing is held, exactly these charges were taken, and each request has one receipt
        that says so."""
        total = sum(map(Decimal, charges), Decimal(0))

        async def quiet() -> bool:
            return (await self.credits())[1] == 0

        await eventually(quiet, "the hold is released")
        balance, _ = await self.credits()
        assert balance == self.granted - total, (balance, charges)
        receipts = await self.receipts()
        assert len(receipts) == self.asked, [r["status"] for r in receipts]
        assert len({r["id"] for r in receipts}) == self.asked
        charged = [Decimal(r["amounts"]["charged"]) for r in receipts]
        assert sum(charged) == total
        assert sorted(c for c in charged if c) == sorted(c for c in map(Decimal, charges) if c)
        for receipt in receipts:
            amounts = {k: Decimal(v) for k, v in receipt["amounts"].items() if k != "currency"}
            over = max(amounts["charged"] - amounts["held"], Decimal(0))
            assert amounts["held"] + over == amounts["charged"] + amounts["released"], receipt
            items = sum((Decimal(i["amount"]) for i in receipt["items"]), Decimal(0))
            assert items == amounts["charged"] + amounts["uncollected"], receipt
            assert receipt["status"] != "running"


class Site:
    def __init__(
        self, server: Server, upstream: Upstream, clock: Clock, port: int, lanes: int
    ) -> None:
        self.server = server
        self.upstream = upstream
        self.clock = clock
        self.port = port
        self.lines: list[bytes] = []  # of the log
        self._lanes = iter(range(lanes))
        self._shared: dict[str, Lane] = {}
        self._orgs = 0

    async def jump(self, seconds: float) -> None:
        """Let that much time pass. Nothing may wait for SQL then, or it would seem to be down."""
        await self.server.wallet.flush()
        self.clock.jump(seconds)

    def lane(self) -> Lane:
        return Lane(next(self._lanes), self.upstream)

    def lane_shared(self, name: str) -> Lane:
        """A lane for tests whose upstream always answers: nothing there cools down."""
        if name not in self._shared:
            self._shared[name] = self.lane()
        return self._shared[name]

    async def org(
        self, usd: str = "1", *, models: tuple[str, ...] | None = None, **limits: int
    ) -> Org:
        self._orgs += 1
        name = f"org-{self._orgs}"
        database, now_us = self.server.database, self.clock.wall_us()
        wishes = admin.KeyWishes(limits=Limits(**limits), models=models)
        pepper = self.server.config.root.derive(sealing.PEPPER)
        async with database.begin() as conn:
            org = await admin.create_org(conn, name, now_us=now_us, actor="test")
            key = await admin.create_key(conn, org, wishes, pepper, now_us=now_us, actor="test")
        amount = Decimal(usd)
        if amount:
            nano = int(amount * 10**9)
            await grant(
                database,
                org_id=org.id,
                grant_id=f"g{self._orgs}",
                amount_nano=nano,
                reason="test",
                now_us=now_us,
            )
        return Org(self, org.id, key.token, amount)

    async def posted(self, org_id: str) -> list[str]:
        async with self.server.database.read() as conn:
            rows = await conn.exec_driver_sql(
                "SELECT request_id FROM usage_event WHERE org_id = ? ORDER BY accepted_us",
                (org_id,),
            )
            return [str(row[0]) for row in rows]

    async def raw(self, data: bytes, *, head_only: bool = False) -> Answer:
        """These bytes on a connection of their own, and the one answer."""
        wire = await Wire.open(self.port)
        try:
            wire.writer.write(data)
            return await wire.answer(head_only=head_only)
        finally:
            await wire.close()

    async def post(
        self,
        path: str,
        body: Any,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.raw(raw_request("POST", path, data, key=key, headers=headers))

    async def get(self, path: str, *, key: str | None = None) -> Answer:
        return await self.raw(raw_request("GET", path, key=key))

    async def metric(self, line_start: str) -> float:
        text = (await self.get("/metrics")).body.decode()
        for line in text.splitlines():
            if line.startswith(line_start):
                return float(line.rpartition(" ")[2])
        raise AssertionError(f"no metric {line_start}")


async def eventually(check: Callable[[], Any], what: str, *, within_s: float = 5.0) -> None:
    """Polls until true; a deadline instead of a sleep."""
    deadline_s = time.monotonic() + within_s
    while True:
        found = check()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return
        assert time.monotonic() < deadline_s, f"not within {within_s} s: {what}"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def running(
    folder: Path,
    *,
    limits: dict[str, Any] | None = None,
    lanes: int = LANES,
    catalog: Callable[[Upstream], str] | None = None,
) -> AsyncGenerator[Site]:
    """One server until the end of the module; then the books must be right. ``catalog`` gives more
    rows than those of the lanes."""
    config = configuration.load(
        {"data_dir": str(folder / "data"), "port": 0, "log_level": "warning", "demo": False}, {}
    )
    clock = Clock()
    lines: list[bytes] = []
    server = Server(config, Log(lambda block: lines.append(block), clock, config.log_level), clock)
    async with scripted() as upstream:
        database = await Database.open(config.database_url)
        await database.create_schema()
        text = "".join(lane_toml(n, upstream.port) for n in range(lanes))
        text += catalog(upstream) if catalog is not None else ""
        async with database.begin() as conn:
            await catalog_rows.apply(
                conn,
                config.root.derive(sealing.KEY_ENCRYPTION),
                load_shipped(),
                parse(text, "lanes.toml"),
                now_us=clock.wall_us(),
            )
        await database.close()
        await server.open()
        if limits is not None:
            server.front.limits = msgspec.structs.replace(FrontLimits(), **limits)
        site = Site(server, upstream, clock, await server.listen(), lanes)
        site.lines = lines
        try:
            yield site
            crashes = [line for line in lines if b'"crash"' in line]
            assert not crashes, crashes[:3]
            assert await site.metric("tokenmarket_crashes_total") == 0
            assert upstream.faults == []
        finally:
            await server.close()
    database = await Database.open(config.database_url)
    try:
        assert await verify(database, config.data_dir / "journal") == []
    finally:
        await database.close()
