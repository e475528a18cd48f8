"""Rows of ``usage_event`` for tests, and a way to put them in."""

from __future__ import annotations

from sqlalchemy import insert

from tests.support.money import NOON_US
from tokenmarket.store.database import Database
from tokenmarket.store.money import usage_event


def event(number: int, **columns: object) -> dict[str, object]:
    """One finished request; what is not said is that of a plain chat at noon."""
    row: dict[str, object] = {
        "request_id": f"req_{number:034x}",
        "org_id": "org_a",
        "key_id": "key_1",
        "accepted_us": NOON_US,
        "operation": "chat",
        "model": "m",
        "provider": "p",
        "status": "succeeded",
        "error_code": "",
        "charge_nano": 7,
        "uncollected_nano": 0,
        "refunded_nano": 0,
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "cached_tokens": 1,
        "reasoning_tokens": 0,
        "units_json": "",
        "price_version": "",
        "windows": "",
        "receipt": "{}",
        **columns,
    }
    accepted_us = row["accepted_us"]
    assert isinstance(accepted_us, int)
    row.setdefault("finished_us", accepted_us + 1_000)
    return row


async def add(database: Database, *rows: dict[str, object]) -> None:
    """As the poster does, in this order."""
    async with database.begin() as conn:
        await conn.execute(insert(usage_event), list(rows))
