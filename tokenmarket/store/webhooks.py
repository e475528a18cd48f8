"""Callbacks to customers: signing secrets, sealed, and the queue of notices.

A notice is queued in the transaction that ends its task, one per task and type, so none is lost and
none is made twice; it is sent at least once. Secrets are sealed as in ``store/credentials.py``.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Collection

import msgspec
from sqlalchemy import insert, literal_column, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or_skip
from sqlalchemy.ext.asyncio import AsyncConnection

from tokenmarket.core import ids, sealing
from tokenmarket.store import turns
from tokenmarket.store.database import Database
from tokenmarket.store.money import NEVER_US
from tokenmarket.store.money_moves import money_transaction
from tokenmarket.store.task_tables import webhook_delivery, webhook_secret

_VERSION = 1
_open = (webhook_delivery.c.delivered_us == literal_column("0")) & (
    webhook_delivery.c.disabled_us == literal_column("0")
)


# --------------------------------------------------------------------------------------- the queue


class NewDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """``id``: ``evt_…``, what receivers tell repeats by. ``body`` is sent byte by byte."""

    id: str
    org_id: str
    task_id: str
    url: str
    type: str
    body: str
    created_us: int


class Delivery(msgspec.Struct, frozen=True):
    """One notice as it was read; the fields are the columns of its table."""

    id: str
    org_id: str
    task_id: str
    url: str
    type: str
    body: str
    created_us: int
    attempts: int
    next_attempt_us: int
    last_status: int | None
    last_error: str
    delivered_us: int
    disabled_us: int
    lease_owner: str
    lease_until_us: int


async def queue(conn: AsyncConnection, new: NewDelivery) -> None:
    """Due at once. A second notice of the same type for the task changes nothing."""
    row = {
        **msgspec.structs.asdict(new),
        "attempts": 0,
        "next_attempt_us": new.created_us,
        "last_status": None,
        "last_error": "",
        "delivered_us": 0,
        "disabled_us": 0,
        "lease_owner": "",
        "lease_until_us": 0,
    }
    await conn.execute(insert_or_skip(webhook_delivery).values(row).on_conflict_do_nothing())


async def claim_due(
    database: Database,
    owner: str,
    now_us: int,
    lease_us: int,
    limit: int,
    *,
    busy: Collection[str] = (),
    each: int = 1_000,
) -> list[Delivery]:
    """Lease up to ``limit`` due notices to ``owner``; each counts as one more attempt. ``busy``
    organisations wait, and of one at most ``each`` are taken."""
    table = webhook_delivery
    due = turns.due(table, table.c.org_id, _open, now_us=now_us, limit=limit, busy=busy, each=each)
    async with database.read() as conn:
        if (await conn.execute(due.limit(1))).first() is None:
            return []
    claim = turns.lease(table, due, owner, now_us + lease_us).returning(*table.columns)
    async with money_transaction(database) as conn:
        rows = [Delivery(*found) for found in (await conn.execute(claim)).all()]
    return sorted(rows, key=lambda row: (row.next_attempt_us, row.id))


async def finish(
    database: Database,
    row: Delivery,
    now_us: int,
    *,
    status: int | None,
    error: str,
    again_us: int | None,
) -> bool:
    """What became of an attempt: delivered (no ``error``), due again, or given up (``again_us``
    None). False if the lease was lost meanwhile."""
    delivered = not error
    table = webhook_delivery
    statement = (
        update(table)
        .where(
            table.c.id == row.id,
            table.c.lease_owner == row.lease_owner,
            table.c.attempts == row.attempts,
            _open,
        )
        .values(
            last_status=status,
            last_error=error,
            delivered_us=now_us if delivered else 0,
            disabled_us=now_us if not delivered and again_us is None else 0,
            next_attempt_us=NEVER_US if delivered or again_us is None else again_us,
            lease_owner="",
            lease_until_us=0,
        )
    )
    async with money_transaction(database) as conn:
        return (await conn.execute(statement)).rowcount == 1


async def of_task(database: Database, org_id: str, task_id: str) -> list[Delivery]:
    """The notices of one task, oldest first."""
    query = select(webhook_delivery).where(
        webhook_delivery.c.task_id == task_id, webhook_delivery.c.org_id == org_id
    )
    async with database.read() as conn:
        return [Delivery(*row) for row in await conn.execute(query.order_by(webhook_delivery.c.id))]


async def recent(database: Database, org_id: str, limit: int) -> list[Delivery]:
    """The organisation's newest notices."""
    query = select(webhook_delivery).where(webhook_delivery.c.org_id == org_id)
    newest = query.order_by(webhook_delivery.c.id.desc()).limit(limit)
    async with database.read() as conn:
        return [Delivery(*row) for row in await conn.execute(newest)]


# ----------------------------------------------------------------------------------------- secrets


class WebhookSecret(msgspec.Struct, frozen=True):
    """One signing secret in clear. ``retired_us`` 0: the current one."""

    id: str
    org_id: str
    secret: bytes
    created_us: int
    retired_us: int

    def __repr__(self) -> str:
        return f"WebhookSecret({self.id}, {self.org_id}, ***)"


async def add_secret(
    database: Database, kek: bytes, org_id: str, secret: bytes, now_us: int, *, overlap_us: int
) -> WebhookSecret:
    """``insert_secret`` in a transaction of its own."""
    async with money_transaction(database) as conn:
        return await insert_secret(conn, kek, org_id, secret, now_us, overlap_us=overlap_us)


async def insert_secret(
    conn: AsyncConnection, kek: bytes, org_id: str, secret: bytes, now_us: int, *, overlap_us: int
) -> WebhookSecret:
    """Make ``secret`` the current one; earlier ones sign beside it for ``overlap_us`` more.

    ``kek`` = root.derive(KEY_ENCRYPTION).
    """
    made = WebhookSecret(
        ids.new_id("whs", now_us, os.urandom(ids.RANDOM_BYTES)), org_id, secret, now_us, 0
    )
    wrapped, sealed = sealing.seal(
        secret, kek, _bound_to(made.id, org_id), os.urandom(sealing.RANDOM_BYTES)
    )
    await conn.execute(
        update(webhook_secret)
        .where(webhook_secret.c.org_id == org_id, webhook_secret.c.retired_us == 0)
        .values(retired_us=now_us + overlap_us)
    )
    await conn.execute(
        insert(webhook_secret).values(
            id=made.id,
            org_id=org_id,
            version=_VERSION,
            wrapped_key=base64.b64encode(wrapped).decode(),
            sealed=base64.b64encode(sealed).decode(),
            created_us=now_us,
            retired_us=0,
        )
    )
    return made


async def secrets(database: Database, kek: bytes, org_id: str, now_us: int) -> list[WebhookSecret]:
    """Those that sign now, the current one first. Raises SealBroken if the root is another one."""
    query = (
        select(webhook_secret)
        .where(webhook_secret.c.org_id == org_id)
        .order_by(webhook_secret.c.retired_us, webhook_secret.c.id)
    )
    async with database.read() as conn:
        rows = (await conn.execute(query)).mappings().all()
    return [
        WebhookSecret(
            row["id"],
            org_id,
            sealing.unseal(
                base64.b64decode(row["wrapped_key"]),
                base64.b64decode(row["sealed"]),
                kek,
                _bound_to(row["id"], org_id),
            ),
            row["created_us"],
            row["retired_us"],
        )
        for row in rows
        if not row["retired_us"] or row["retired_us"] > now_us
    ]


def _bound_to(secret_id: str, org_id: str) -> bytes:
    return f"webhook_secret:{secret_id}:{_VERSION}:{org_id}".encode()
