"""Orders, codes and invoices of a running server for browser tests, made in its own database."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec
from sqlalchemy import text

from tests.support.residents import root_of
from tokenmarket.billing.clock import SystemClock
from tokenmarket.core import ids, sealing
from tokenmarket.payments.invoicing import Document, Legal, Line
from tokenmarket.payments.redeem import BatchWishes, Codes, NewBatch
from tokenmarket.store import invoices, orders
from tokenmarket.store.database import Database
from tokenmarket.store.invoices import InvoiceRow
from tokenmarket.store.money import DAY_US
from tokenmarket.store.orders import OrderRow

USD = 1_000_000_000
Made = TypeVar("Made")


def made_in(data: Path, work: Callable[[Database, int], Awaitable[Made]]) -> Made:
    """What ``work(database, now_us)`` returns."""

    async def run() -> Made:
        database = await Database.open(data / "tokenmarket.db", beside=True)
        try:
            return await work(database, SystemClock().wall_us())
        finally:
            await database.close()

    with ThreadPoolExecutor(1) as thread:  # Playwright has a loop in this one
        return thread.submit(lambda: asyncio.run(run())).result()


def waiting_order(data: Path, org_id: str) -> str:
    """An order by the test provider that waits for its payment."""

    async def work(database: Database, now_us: int) -> str:
        name = ids.new_id("ord", now_us, b"\1" * ids.RANDOM_BYTES)
        row = OrderRow(
            id=name,
            org_id=org_id,
            psp="test",
            amount_nano=20 * USD,
            currency="USD",
            pay_minor=2_000,
            rate="",
            state="created",
            session=f"test_{name}",
            payment="",
            url="/test",
            taken_minor=0,
            created_by="user:test",
            created_us=now_us,
            expires_us=now_us + DAY_US,
            paid_us=0,
        )
        async with database.begin() as conn:
            await orders.insert_order(conn, row)
        return name

    return made_in(data, work)


def batch(data: Path, codes: int = 2, usd: int = 5) -> NewBatch:
    """A batch of codes."""

    async def work(database: Database, now_us: int) -> NewBatch:
        secret = root_of(data).derive(sealing.REDEEM_CODES)
        wishes = BatchWishes("spring", usd * USD, codes, now_us + DAY_US)
        return await Codes(database, secret, SystemClock()).create(wishes, actor="user:test")

    return made_in(data, work)


def audit_of(data: Path, org_id: str) -> list[str]:
    """The actions of an organisation's audit trail, oldest first."""

    async def work(database: Database, _now_us: int) -> list[str]:
        query = text("SELECT action FROM audit_event WHERE org_id = :o ORDER BY seq")
        async with database.read() as conn:
            return list((await conn.execute(query, {"o": org_id})).scalars())

    return made_in(data, work)


def invoice(data: Path, org_id: str, period: str = "2025-01") -> str:
    """An issued invoice of an earlier month; the same one if there is one of this period."""

    async def work(database: Database, now_us: int) -> str:
        document = Document(
            "TokenMarket Ltd; 1 Example Street; VAT 123",
            Legal("Example Inc", "2 Example Road\nTown", "91110108MA01ABCDE1", "a@example.test"),
            [
                Line(
                    "",
                    "openai/gpt-4o-mini",
                    "input_token",
                    "0.15",
                    1_000_000,
                    "2000000",
                    300_000_000,
                ),
                Line(
                    "", "openai/gpt-4o-mini", "output_token", "0.60", 1_000_000, "12345", 7_407_001
                ),
                Line("other", "tokenmarket/sandbox-chat", "", "", 0, "3", 77),
                Line("refunds", "openai/gpt-4o-mini", "", "", 0, "1", -5_000),
                Line("late", "", "", "", 0, "", 12),
            ],
        )
        total = sum(line.amount_nano for line in document.lines)
        async with database.begin() as conn:
            for one in await invoices.invoices_of(conn, org_id):
                if one.period == period:
                    return one.id
            serial = await invoices.next_serial(conn)
            row = InvoiceRow(
                id=ids.new_id("inv", now_us, b"\1" * ids.RANDOM_BYTES),
                org_id=org_id,
                kind="invoice",
                serial=serial,
                number=f"INV-{serial:06d}",
                period=period,
                time_zone="UTC",
                start_us=1,
                end_us=2,
                consumed_nano=total,
                covered_nano=100_000_000,
                total_nano=total - 100_000_000,
                document=msgspec.json.encode(document).decode(),
                issued_us=now_us,
            )
            await invoices.insert_invoice(conn, row)
        return row.id

    return made_in(data, work)
