"""How an organisation stands: its balance, what it is made of, what this month has cost."""

from __future__ import annotations

from datetime import date
from zoneinfo import ZoneInfo

import msgspec

from tokenmarket.billing.wallet import Wallet
from tokenmarket.reports.periods import day_start_us, local_day
from tokenmarket.store import invoices
from tokenmarket.store.database import Database
from tokenmarket.store.money import NEVER_US
from tokenmarket.store.statements import balance_and_debt, buckets

_names = msgspec.json.Decoder(list[str])


class Credit(msgspec.Struct, frozen=True):
    """One part of the balance; ``expires_us`` None: never. Without ``models`` it pays for all."""

    kind: str
    balance_nano: int
    expires_us: int | None
    models: tuple[str, ...]


class Position(msgspec.Struct, frozen=True):
    """Nano-USD. ``month_nano`` was consumed since ``month_day``, in the organisation's zone."""

    balance_nano: int
    debt_nano: int
    held_nano: int
    month_nano: int
    month_day: date
    credits: tuple[Credit, ...]


async def position(
    database: Database, wallet: Wallet, org_id: str, zone: ZoneInfo, now_us: int
) -> Position:
    """One snapshot of what is posted, after everything that has ended was."""
    await wallet.flush()
    first = local_day(now_us, zone).replace(day=1)
    async with database.read() as conn:
        balance_nano, debt_nano = await balance_and_debt(conn, org_id)
        found = await buckets(conn, org_id)
        before_nano, _ = await invoices.consumed(conn, org_id, day_start_us(first, zone))
        all_nano, _ = await invoices.consumed(conn, org_id, NEVER_US)
    return Position(
        balance_nano=balance_nano,
        debt_nano=debt_nano,
        held_nano=(await wallet.balance(org_id)).held_nano,
        month_nano=all_nano - before_nano,
        month_day=first,
        credits=tuple(
            Credit(
                kind=one.kind,
                balance_nano=one.balance_nano,
                expires_us=None if one.expires_us >= NEVER_US else one.expires_us,
                models=tuple(_names.decode(one.scope)) if one.scope else (),
            )
            for one in found
        ),
    )
