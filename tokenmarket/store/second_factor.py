"""Second factors and recovery codes: rows in, rows out."""

from __future__ import annotations

import msgspec
from sqlalchemy import delete, func, insert, select, update

from tokenmarket.store.database import Connection
from tokenmarket.store.people_tables import recovery_code, totp


class TotpRow(msgspec.Struct, frozen=True):
    """``last_step``: no code of this time step or an earlier one is accepted again."""

    user_id: str
    wrapped_key: str
    sealed: str
    confirmed_us: int | None
    last_step: int
    created_us: int

    def __repr__(self) -> str:
        return f"TotpRow({self.user_id}, ***)"


async def insert_totp(conn: Connection, row: TotpRow) -> None:
    await conn.execute(insert(totp).values(msgspec.structs.asdict(row)))


async def totp_of(conn: Connection, user_id: str) -> TotpRow | None:
    query = select(totp).where(totp.c.user_id == user_id)
    row = (await conn.execute(query)).mappings().one_or_none()
    return None if row is None else TotpRow(*(row[name] for name in TotpRow.__struct_fields__))


async def confirm_totp(conn: Connection, user_id: str, now_us: int) -> None:
    await conn.execute(update(totp).where(totp.c.user_id == user_id).values(confirmed_us=now_us))


async def use_step(conn: Connection, user_id: str, step: int) -> bool:
    """Whether this step is later than all that were used."""
    found = await conn.execute(
        update(totp)
        .where(totp.c.user_id == user_id, totp.c.last_step < step)
        .values(last_step=step)
    )
    return found.rowcount == 1


async def delete_totp(conn: Connection, user_id: str) -> None:
    await conn.execute(delete(totp).where(totp.c.user_id == user_id))
    await conn.execute(delete(recovery_code).where(recovery_code.c.user_id == user_id))


async def replace_recovery_codes(conn: Connection, user_id: str, digests: list[str]) -> None:
    await conn.execute(delete(recovery_code).where(recovery_code.c.user_id == user_id))
    rows = [{"user_id": user_id, "digest": digest, "used_us": None} for digest in digests]
    await conn.execute(insert(recovery_code), rows)


async def use_recovery_code(conn: Connection, user_id: str, digest: str, now_us: int) -> bool:
    """Whether there was such an unused code."""
    found = await conn.execute(
        update(recovery_code)
        .where(
            recovery_code.c.user_id == user_id,
            recovery_code.c.digest == digest,
            recovery_code.c.used_us.is_(None),
        )
        .values(used_us=now_us)
    )
    return found.rowcount == 1


async def count_recovery_codes(conn: Connection, user_id: str) -> int:
    """Unused ones."""
    query = (
        select(func.count())
        .select_from(recovery_code)
        .where(recovery_code.c.user_id == user_id, recovery_code.c.used_us.is_(None))
    )
    return (await conn.execute(query)).scalar_one()
