"""Durable holds: money set aside in SQL for work that outlives a process.

A hold begins inside a worker's leases: its money leaves them by the lease's ``returned`` and stays
pending, on the hold's rows (``dr_pending`` and ``leased_nano`` do not change, so no bucket and no
spend window is ever short). It ends once, captured or void. Everything takes the connection of one
``money_transaction``, so that hold and task change together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import func, insert, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tokenmarket.store.database import Database
from tokenmarket.store.money import account, hold, lease, spend_window, transfer, usage_event
from tokenmarket.store.money_ledger import Transfer
from tokenmarket.store.money_moves import Rejected, lease_id


class Part(NamedTuple):
    """What a hold takes out of one lease. ``kind``: balance | window."""

    kind: str
    target: str
    lease_no: int
    amount_nano: int


class Ended(NamedTuple):
    """``legs``: (account, captured) in burn order; ``windows``: where the charge counted."""

    legs: list[tuple[str, int]]
    windows: list[str]


async def take(
    conn: AsyncConnection,
    worker_id: str,
    ref_id: str,
    org_id: str,
    parts: Sequence[Part],
    expires_us: int,
    now_us: int,
) -> None:
    """Turn parts of this worker's leases into the hold of ``ref_id``. Raises Rejected if a lease
    has not that much left."""
    for part in sorted(parts):
        taken = await conn.execute(
            update(lease)
            .where(
                lease.c.id == lease_id(worker_id, part.lease_no),
                lease.c.target == part.target,
                lease.c.state == "open",
                lease.c.granted - lease.c.captured - lease.c.returned >= part.amount_nano,
            )
            .values(returned=lease.c.returned + part.amount_nano, op_seq=lease.c.op_seq + 1)
        )
        if taken.rowcount != 1:
            raise Rejected(f"lease {part.lease_no} has not {part.amount_nano} left")
    rows = [
        {
            "id": f"{ref_id}.h{number}",
            "ref_id": ref_id,
            "org_id": org_id,
            "kind": part.kind,
            "target": part.target,
            "number": number,
            "amount_nano": part.amount_nano,
            "captured_nano": 0,
            "state": "pending",
            "expires_us": expires_us,
            "created_us": now_us,
        }
        for number, part in enumerate(parts)
    ]
    if rows:
        await conn.execute(insert(hold), rows)


async def end(conn: AsyncConnection, ref_id: str, charge_nano: int) -> Ended:
    """Capture ``charge_nano`` of a pending hold in its order and release the rest.

    Raises Rejected when it has ended before or holds less. The caller records the transfers.
    """
    query = (
        select(hold.c.id, hold.c.kind, hold.c.target, hold.c.amount_nano)
        .where(hold.c.ref_id == ref_id)
        .order_by(hold.c.number)
    )
    rows = (await conn.execute(query)).all()
    legs: list[tuple[str, int]] = []
    moves: list[tuple[str, str, str, int, int]] = []
    due = charge_nano
    for name, kind, target, amount in rows:
        captured = min(due if kind == "balance" else charge_nano, amount)
        if kind == "balance":
            due -= captured
            if captured:
                legs.append((target, captured))
        moves.append((kind, target, name, amount, captured))
    if due:
        raise Rejected(f"the hold of {ref_id} is {due} nano-USD below its charge")
    for kind, target, name, amount, captured in sorted(moves):  # accounts first, by id
        await _end_part(conn, kind, target, amount, captured)
        ended = await conn.execute(
            update(hold)
            .where(hold.c.id == name, hold.c.state == "pending")
            .values(captured_nano=captured, state="captured" if captured else "void")
        )
        if ended.rowcount != 1:
            raise Rejected(f"hold {name} has ended before")
    windows = [target for _, kind, target, _ in rows if kind == "window"]
    return Ended(legs, windows if charge_nano else [])


async def _end_part(
    conn: AsyncConnection, kind: str, target: str, amount_nano: int, captured_nano: int
) -> None:
    if kind == "balance":
        statement = (
            update(account)
            .where(account.c.id == target)
            .values(
                dr_posted=account.c.dr_posted + captured_nano,
                dr_pending=account.c.dr_pending - amount_nano,
            )
        )
    else:
        statement = (
            update(spend_window)
            .where(spend_window.c.id == target)
            .values(
                used_nano=spend_window.c.used_nano + captured_nano,
                leased_nano=spend_window.c.leased_nano - amount_nano,
            )
        )
    if (await conn.execute(statement)).rowcount != 1:
        raise Rejected(f"{kind} {target} is not there")


async def record_captures(conn: AsyncConnection, transfers: Sequence[Transfer]) -> None:
    """The transfers of an ended hold. Their ids are unique: a second capture is Rejected."""
    if transfers:
        await conn.execute(insert(transfer), [item._asdict() for item in transfers])


async def record_event(conn: AsyncConnection, row: dict[str, object]) -> None:
    """The usage event of a task, at its end. A second one is Rejected."""
    await conn.execute(insert(usage_event).values(row))


async def pending_nano(database: Database, org_id: str) -> int:
    """The organisation's money in durable holds."""
    query = select(func.coalesce(func.sum(hold.c.amount_nano), 0)).where(
        hold.c.org_id == org_id,
        hold.c.kind == "balance",
        hold.c.state == literal_column("'pending'"),
    )
    async with database.read() as conn:
        return int((await conn.execute(query)).scalar_one())
