"""A small world with money in it: a database, a journal folder, a clock that tests move."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import text

from tokenmarket.billing.funds import Capture, Funds, Hold
from tokenmarket.billing.records import UsageEvent
from tokenmarket.billing.verify import verify
from tokenmarket.billing.wallet import Wallet
from tokenmarket.ledger import grants
from tokenmarket.store.database import Database
from tokenmarket.store.tasks import NewTask, TaskRow

NOON_US = 1_795_435_200_000_000  # 2026-11-23 12:00 UTC
USD = 1_000_000_000


class FakeClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.wall = NOON_US
        self.monotonic = 1_000_000

    def wall_us(self) -> int:
        return self.wall

    def monotonic_us(self) -> int:
        return self.monotonic

    def advance(self, us: int) -> None:
        self.wall += us
        self.monotonic += us


def memory_folder() -> Path:
    """A temporary folder without a disk behind it where the machine has one: fsync is free."""
    shared = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="tokenmarket-", dir=shared if shared.is_dir() else None))


@functools.cache
def _template() -> Path:
    folder = memory_folder()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder / "template.db"


async def database_at(path: Path) -> Database:
    """A database with the schema; made once per process, then copied."""
    template = _template()
    if not _is_there(template):
        making = await Database.open(template)
        await making.create_schema()
        await making.close()
    if not _is_there(path):
        shutil.copyfile(template, path)
    return await Database.open(path)


def _is_there(path: Path) -> bool:
    return path.exists()


class World:
    """One data directory and at most one live wallet on it."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder = folder
        self.journal_root = folder / "journal"
        self.database = database
        self.clock = FakeClock()
        self.workers = 0
        self.wallet: Wallet = None  # type: ignore[assignment]  # set by open

    async def open(self, **options: Any) -> Wallet:
        self.workers += 1
        options = {"background": False, "segment_bytes": 1 << 16, **options}
        self.wallet = await Wallet.open(
            self.database,
            self.journal_root,
            clock=self.clock,
            worker_id=f"w{self.workers}",
            **options,
        )
        return self.wallet

    async def grant(
        self, amount_nano: int, grant_id: str = "g1", org: str = "o1", **more: Any
    ) -> bool:
        return await grants.grant(
            self.database,
            org_id=org,
            grant_id=grant_id,
            amount_nano=amount_nano,
            reason="test",
            now_us=self.clock.wall,
            **more,
        )

    async def add_owner(self, org: str = "o1", key: str = "k1", **limits: int) -> None:
        """Rows of the control plane; ``org_day=5`` or ``key_total=7`` set spend limits in nano."""
        async with self.database.begin() as conn:
            await conn.execute(
                text(
                    "INSERT OR IGNORE INTO organization (id, name, kind, created_us)"
                    " VALUES (:o, :o, 'customer', 0)"
                ),
                {"o": org},
            )
            await conn.execute(
                text(
                    "INSERT OR IGNORE INTO api_key (id, org_id, name, digest, pepper_version,"
                    " prefix, last4, created_us) VALUES (:k, :o, '', :k, 1, '', '', 0)"
                ),
                {"k": key, "o": org},
            )
        await self.limit(org, key, **limits)

    async def add_team(self, *keys: str, org: str = "o1", **limits: int) -> None:
        """The team t1 with these keys; ``team_day=5`` sets a budget in nano."""
        async with self.database.begin() as conn:
            await conn.execute(
                text("INSERT INTO team (id, org_id, name, created_us) VALUES ('t1', :o, 't', 0)"),
                {"o": org},
            )
            for key in keys:
                await conn.execute(
                    text("UPDATE api_key SET team_id = 't1' WHERE id = :k"), {"k": key}
                )
        await self.limit(org, "", **limits)

    async def limit(self, org: str = "o1", key: str = "k1", **limits: int | None) -> None:
        async with self.database.begin() as conn:
            for name, amount in limits.items():
                owner, _, period = name.partition("_")
                tables = {"org": ("organization", org), "team": ("team", "t1")}
                table, row = tables.get(owner, ("api_key", key))
                await conn.execute(
                    text(f"UPDATE {table} SET spend_{period}_nano = :n WHERE id = :i"),
                    {"n": amount, "i": row},
                )

    def hold(self, funds: Funds, request_id: str, amount_nano: int, model: str = "m") -> Hold:
        return self.wallet.try_hold(
            funds, request_id, amount_nano, model=model, price_version="v1", provider="sandbox"
        )

    def settle(self, hold: Hold, charge_nano: int) -> int:
        return self.wallet.settle(hold, charge_nano, self.event(hold))

    def event(self, hold: Hold, status: str = "succeeded") -> Callable[[Capture], UsageEvent]:
        def make(capture: Capture) -> UsageEvent:
            return usage_event(
                hold.request_id,
                hold.org_id,
                hold.key_id,
                self.clock.wall,
                status=status,
                charge_nano=capture.charged_nano,
                uncollected_nano=capture.uncollected_nano,
            )

        return make

    def new_task(self, name: str, org: str = "o1", key: str = "k1", **more: Any) -> NewTask:
        now_us = self.clock.wall
        known = {
            "id": f"video_{name}",
            "org_id": org,
            "key_id": key,
            "request_id": f"req_{name}",
            "operation": "video",
            "model": "m",
            "provider": "sandbox",
            "upstream_model": "up",
            "adapter": "sandbox",
            "price_version": "v1",
            "prices_json": "[]",
            "receipt": f'{{"id":"req_{name}","status":"running"}}',
            "created_us": now_us,
            "deadline_us": now_us + 3_600_000_000,
            "next_poll_us": now_us + 5_000_000,
        }
        return NewTask(**{**known, **more})

    async def task(self, name: str, amount_nano: int, **more: Any) -> TaskRow:
        new = self.new_task(name, **more)
        funds = await self.wallet.funds(new.org_id, new.key_id)
        return await self.wallet.tasks.create(funds, new, amount_nano)

    def task_event(self, row: TaskRow, status: str = "succeeded", **more: Any) -> Any:
        def make(capture: Capture) -> UsageEvent:
            made = usage_event(
                row.request_id,
                row.org_id,
                row.key_id,
                self.clock.wall,
                status=status,
                charge_nano=capture.charged_nano,
                uncollected_nano=capture.uncollected_nano,
                **more,
            )
            made.accepted_us = row.created_us
            return made

        return make

    async def settle_task(
        self, row: TaskRow, charge_nano: int, state: str = "succeeded", **more: Any
    ) -> TaskRow | None:
        """``charge_nano`` 0 with another state is how a failure ends."""
        event = self.task_event(row, "succeeded" if state == "succeeded" else "failed")
        return await self.wallet.tasks.settle(row, state, charge_nano, event, **more)

    async def differences(self) -> list[object]:
        return list(await verify(self.database, self.journal_root))

    async def scalar(self, query: str, **values: object) -> Any:
        async with self.database.read() as conn:
            return (await conn.execute(text(query), values)).scalar()

    async def crash(self) -> None:
        """Death of the process: memory is gone, everything written stays."""
        self.wallet.abandon()

    async def power_loss(self) -> None:
        """Death of the machine: what was not synced is gone too."""
        journal = self.wallet._journal
        synced = journal.synced
        self.wallet.abandon()
        for path in sorted(journal.directory.glob("*.tmj")):
            number, content = int(path.stem), path.read_bytes()
            segment, offset = synced >> 40, synced & ((1 << 40) - 1)
            if number > segment:
                path.unlink()
            elif number == segment:
                path.write_bytes(content[:offset] + bytes(len(content) - offset))


def usage_event(
    request_id: str, org: str, key: str, now_us: int, *, status: str = "succeeded", **more: Any
) -> UsageEvent:
    return UsageEvent(
        request_id,
        org,
        key,
        now_us,
        now_us,
        "chat",
        "m",
        "sandbox",
        status,
        price_version="v1",
        receipt=b'{"id":"' + request_id.encode() + b'"}',
        **more,
    )


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    """A fresh world without a wallet; cleaned up at the end."""
    folder = memory_folder()
    database = await database_at(folder / "money.db")
    try:
        yield World(folder, database)
    finally:
        await database.close()
        shutil.rmtree(folder, ignore_errors=True)
