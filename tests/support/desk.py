"""Things of the operator's pages in a running server's database: group, price change, proof."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec

from tokenmarket.backoffice import groups, prices
from tokenmarket.backoffice.catalog_edits import find_route
from tokenmarket.backoffice.groups import GroupWishes
from tokenmarket.billing.clock import SystemClock
from tokenmarket.catalog import load_shipped
from tokenmarket.core.catalog_rows import PriceEntry
from tokenmarket.core.price_terms import PriceTerms, terms_of
from tokenmarket.store import org_groups
from tokenmarket.store.database import Database
from tokenmarket.store.money_checks import record_run

Result = TypeVar("Result")
ROUTE = ("sandbox-chat", "sandbox")
RUN_ID = "rec_" + "0" * 34


def in_database(data: Path, work: Callable[[Database], Awaitable[Result]]) -> Result:
    """``work`` beside the server, in a loop of its own (Playwright has one in this thread)."""

    async def run() -> Result:
        database = await Database.open(data / "tokenmarket.db", beside=True)
        try:
            return await work(database)
        finally:
            await database.close()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, run()).result()


def make_group(data: Path, name: str, markup_bp: int = 1_000) -> str:
    """Its id; the one of that name if there is one."""

    async def make(database: Database) -> str:
        async with database.begin() as conn:
            for row in await org_groups.listed(conn):
                if row.name == name:
                    return row.id
            wishes = GroupWishes(name, markup_bp)
            now_us = SystemClock().wall_us()
            made = await groups.create(conn, wishes, load_shipped(), now_us=now_us, actor="test")
            return made.id

    return in_database(data, make)


def draft_price(data: Path, usd: str = "7.25") -> str:
    """A draft for the sandbox's chat route; its id."""

    async def make(database: Database) -> str:
        shipped = load_shipped()
        before = terms_of(find_route(shipped, ROUTE))
        rows = tuple(
            msgspec.structs.replace(row, usd=usd) if row.unit == "input_token" else row
            for row in before.price
        )
        terms = PriceTerms(rows, (PriceEntry("input_token", "1"),), "10")
        now_us = SystemClock().wall_us()
        async with database.begin() as conn:
            row = await prices.draft(
                conn,
                shipped,
                ROUTE,
                terms,
                effective_us=now_us + 86_400_000_000,
                reason="a sample",
                now_us=now_us,
                actor="test",
            )
            return row.id

    return in_database(data, make)


def proof_with_difference(data: Path) -> str:
    """A finished run that found something; its id."""

    async def make(database: Database) -> str:
        now_us = SystemClock().wall_us()
        async with database.read() as conn:
            known = await conn.exec_driver_sql("SELECT 1 FROM recon_run WHERE id = ?", (RUN_ID,))
            if known.first() is not None:
                return RUN_ID
        differences = [("I1", "org_x:cash", "0", "-1")]
        await record_run(database, RUN_ID, now_us, now_us + 40_000, differences)
        return RUN_ID

    return in_database(data, make)
