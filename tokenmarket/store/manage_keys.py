"""Rows of the management API: keys (read by ``(org_id, id)``) and kept answers.

Every function takes the connection of the caller's transaction; nothing is decided here.
"""

from __future__ import annotations

import base64
import os

import msgspec
from sqlalchemy import delete, insert, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or_skip

from tokenmarket.core import sealing
from tokenmarket.store.database import Connection
from tokenmarket.store.manage_tables import manage_answer, manage_key
from tokenmarket.store.people_tables import membership, person


class ManageKeyRow(msgspec.Struct, frozen=True):
    """One management key without the key; ``org_id`` is empty for an operator's."""

    id: str
    org_id: str
    role: str
    maker: str
    name: str
    digest: str
    pepper_version: int
    prefix: str
    last4: str
    expires_at_s: int | None
    disabled_at_s: int | None
    last_used_us: int | None
    created_us: int


class KeptAnswer(msgspec.Struct, frozen=True):
    """What a request with this idempotency key was answered; ``body`` None: nothing yet."""

    fingerprint: str
    body: bytes | None
    created_us: int


async def insert_key(conn: Connection, row: ManageKeyRow) -> None:
    await conn.execute(insert(manage_key).values(msgspec.structs.asdict(row)))


async def key_by_digest(conn: Connection, digest: str) -> ManageKeyRow | None:
    """Whatever its state."""
    query = select(manage_key).where(manage_key.c.digest == digest)
    row = (await conn.execute(query)).one_or_none()
    return None if row is None else ManageKeyRow(*row)


async def key_by_id(conn: Connection, org_id: str, key_id: str) -> ManageKeyRow | None:
    query = select(manage_key).where(manage_key.c.org_id == org_id, manage_key.c.id == key_id)
    row = (await conn.execute(query)).one_or_none()
    return None if row is None else ManageKeyRow(*row)


async def keys_of(
    conn: Connection, org_id: str, *, after: str = "", limit: int = 1_000
) -> list[ManageKeyRow]:
    """Newest first; ``after``: those older than this id."""
    query = select(manage_key).where(manage_key.c.org_id == org_id)
    if after:
        query = query.where(manage_key.c.id < after)
    found = await conn.execute(query.order_by(manage_key.c.id.desc()).limit(limit))
    return [ManageKeyRow(*row) for row in found]


async def disable_key(conn: Connection, org_id: str, key_id: str, at_s: int) -> None:
    """Keeps the first time if it was disabled before."""
    await conn.execute(
        update(manage_key)
        .where(
            manage_key.c.org_id == org_id,
            manage_key.c.id == key_id,
            manage_key.c.disabled_at_s.is_(None),
        )
        .values(disabled_at_s=at_s)
    )


async def mark_used(conn: Connection, org_id: str, key_id: str, at_us: int) -> None:
    await conn.execute(
        update(manage_key)
        .where(manage_key.c.org_id == org_id, manage_key.c.id == key_id)
        .values(last_used_us=at_us)
    )


async def rights_of(conn: Connection, org_id: str, user_id: str) -> tuple[bool, str | None]:
    """Whether a person is an operator now, and the role in this organisation; neither for one who
    is disabled or gone."""
    query = (
        select(person.c.operator, membership.c.role)
        .select_from(person)
        .outerjoin(
            membership, (membership.c.user_id == person.c.id) & (membership.c.org_id == org_id)
        )
        .where(person.c.id == user_id, person.c.disabled_at_s.is_(None))
    )
    row = (await conn.execute(query)).one_or_none()
    return (False, None) if row is None else (bool(row[0]), row[1])


# ------------------------------------------------------------------------------------ kept answers


async def claim(
    conn: Connection, kek: bytes, key_id: str, idempotency_key: str, fingerprint: str, now_us: int
) -> KeptAnswer | None:
    """None: this request is the first with the key, and is noted. Raises SealBroken."""
    statement = insert_or_skip(manage_answer).values(
        key_id=key_id,
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
        wrapped_key="",
        sealed="",
        created_us=now_us,
    )
    if (await conn.execute(statement.on_conflict_do_nothing())).rowcount == 1:
        return None
    query = select(manage_answer).where(
        manage_answer.c.key_id == key_id, manage_answer.c.idempotency_key == idempotency_key
    )
    row = (await conn.execute(query)).mappings().one()
    body = None
    if row["sealed"]:
        wrapped, sealed = base64.b64decode(row["wrapped_key"]), base64.b64decode(row["sealed"])
        body = sealing.unseal(wrapped, sealed, kek, _bound_to(key_id, idempotency_key))
    return KeptAnswer(row["fingerprint"], body, row["created_us"])


async def keep(
    conn: Connection, kek: bytes, key_id: str, idempotency_key: str, body: bytes
) -> None:
    """The answer of the request that was noted."""
    wrapped, sealed = sealing.seal(
        body, kek, _bound_to(key_id, idempotency_key), os.urandom(sealing.RANDOM_BYTES)
    )
    await conn.execute(
        update(manage_answer)
        .where(manage_answer.c.key_id == key_id, manage_answer.c.idempotency_key == idempotency_key)
        .values(
            wrapped_key=base64.b64encode(wrapped).decode(), sealed=base64.b64encode(sealed).decode()
        )
    )


async def forget(conn: Connection, key_id: str, idempotency_key: str) -> None:
    """A refused request changed nothing: the key may be used again."""
    await conn.execute(
        delete(manage_answer).where(
            manage_answer.c.key_id == key_id, manage_answer.c.idempotency_key == idempotency_key
        )
    )


async def forget_before(conn: Connection, at_us: int) -> None:
    await conn.execute(delete(manage_answer).where(manage_answer.c.created_us < at_us))


def _bound_to(key_id: str, idempotency_key: str) -> bytes:
    return f"manage_answer:{key_id}:{idempotency_key}".encode()
