"""Redeem codes and their batches: rows in, rows out. A code is known by its keyed digest only."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import case, func, insert, select, update

from tokenmarket.store.database import Connection
from tokenmarket.store.payment_tables import redeem_batch, redeem_code


class BatchRow(msgspec.Struct, frozen=True):
    """One batch; ``payment_tables.redeem_batch`` says what the fields are."""

    id: str
    name: str
    amount_nano: int
    codes: int
    expires_us: int
    credit_days: int
    models: str
    one_per_org: int
    created_by: str
    created_us: int
    disabled_us: int


class CodeRow(msgspec.Struct, frozen=True):
    """One code; ``redeemed_us`` 0: not yet."""

    digest: str
    batch_id: str
    hint: str
    once: str | None
    redeemed_us: int
    org_id: str
    redeemed_by: str


async def insert_batch(conn: Connection, row: BatchRow, codes: Sequence[tuple[str, str]]) -> None:
    """The batch and its codes, given as (digest, hint)."""
    await conn.execute(insert(redeem_batch).values(msgspec.structs.asdict(row)))
    rows = [
        {
            "digest": digest,
            "batch_id": row.id,
            "hint": hint,
            "once": None,
            "redeemed_us": 0,
            "org_id": "",
            "redeemed_by": "",
        }
        for digest, hint in codes
    ]
    await conn.execute(insert(redeem_code), rows)


async def find_code(conn: Connection, digest: str) -> tuple[CodeRow, BatchRow] | None:
    """Whatever its state; whoever knows the code may know the batch."""
    query = select(redeem_code).where(redeem_code.c.digest == digest)
    row = (await conn.execute(query)).mappings().one_or_none()
    if row is None:
        return None
    code = CodeRow(*(row[name] for name in CodeRow.__struct_fields__))
    batch = await batch_by_id(conn, code.batch_id)
    return None if batch is None else (code, batch)


async def use_code(
    conn: Connection, digest: str, *, org_id: str, by: str, once: str | None, now_us: int
) -> bool:
    """False, and nothing changed, for a code that has been redeemed."""
    changed = await conn.execute(
        update(redeem_code)
        .where(redeem_code.c.digest == digest, redeem_code.c.redeemed_us == 0)
        .values(redeemed_us=now_us, org_id=org_id, redeemed_by=by, once=once)
    )
    return changed.rowcount == 1


async def is_used_once(conn: Connection, once: str) -> bool:
    """Whether this organisation has redeemed a code of this batch."""
    query = select(func.count()).select_from(redeem_code).where(redeem_code.c.once == once)
    return (await conn.execute(query)).scalar_one() > 0


async def batch_by_id(conn: Connection, batch_id: str) -> BatchRow | None:
    query = select(redeem_batch).where(redeem_batch.c.id == batch_id)
    row = (await conn.execute(query)).mappings().one_or_none()
    return None if row is None else BatchRow(*(row[name] for name in BatchRow.__struct_fields__))


async def batches(
    conn: Connection, *, before_id: str = "", limit: int = 50
) -> list[tuple[BatchRow, int]]:
    """Newest first, each with how many of its codes were redeemed."""
    used = func.coalesce(func.sum(case((redeem_code.c.redeemed_us > 0, 1), else_=0)), 0)
    query = (
        select(redeem_batch, used.label("used"))
        .join(redeem_code, redeem_code.c.batch_id == redeem_batch.c.id)
        .group_by(*redeem_batch.c)
        .order_by(redeem_batch.c.id.desc())
        .limit(limit)
    )
    if before_id:
        query = query.where(redeem_batch.c.id < before_id)
    return [
        (BatchRow(*(row[name] for name in BatchRow.__struct_fields__)), int(row["used"]))
        for row in (await conn.execute(query)).mappings()
    ]


async def redeemed_of_batch(conn: Connection, batch_id: str, limit: int) -> list[CodeRow]:
    """The codes that were redeemed, the latest first."""
    query = (
        select(redeem_code)
        .where(redeem_code.c.batch_id == batch_id, redeem_code.c.redeemed_us > 0)
        .order_by(redeem_code.c.redeemed_us.desc(), redeem_code.c.digest)
        .limit(limit)
    )
    rows = (await conn.execute(query)).mappings()
    return [CodeRow(*(row[name] for name in CodeRow.__struct_fields__)) for row in rows]


async def redeemed_by_org(
    conn: Connection, org_id: str, limit: int
) -> list[tuple[CodeRow, BatchRow]]:
    """What an organisation has redeemed, the latest first."""
    query = (
        select(redeem_code)
        .where(redeem_code.c.org_id == org_id, redeem_code.c.redeemed_us > 0)
        .order_by(redeem_code.c.redeemed_us.desc())
        .limit(limit)
    )
    found: list[tuple[CodeRow, BatchRow]] = []
    for row in (await conn.execute(query)).mappings().all():
        code = CodeRow(*(row[name] for name in CodeRow.__struct_fields__))
        batch = await batch_by_id(conn, code.batch_id)
        if batch is not None:
            found.append((code, batch))
    return found


async def disable_batch(conn: Connection, batch_id: str, now_us: int) -> bool:
    """False if it was disabled before."""
    changed = await conn.execute(
        update(redeem_batch)
        .where(redeem_batch.c.id == batch_id, redeem_batch.c.disabled_us == 0)
        .values(disabled_us=now_us)
    )
    return changed.rowcount == 1
