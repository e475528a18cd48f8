"""The key of an organisation's kept contents, sealed (``core/sealing.py``), opened only in memory.

One row per organisation that has them kept; the row is what ties files to it (``files/contents.py``
keeps them under organisation and ``made_us``). Taking the row away destroys the key, and with it
everything that was written under it.
"""

from __future__ import annotations

import base64
import os

from sqlalchemy import delete, insert, select
from sqlalchemy.engine import RowMapping

from tokenmarket.core import sealing
from tokenmarket.core.contents import ContentKey
from tokenmarket.store.database import Connection
from tokenmarket.store.tables import content_key

_VERSION = 1


async def add(conn: Connection, kek: bytes, org_id: str, *, now_us: int) -> ContentKey:
    """A new key; ``kek`` = root.derive(CONTENTS). The organisation has none."""
    key = ContentKey(org_id, now_us, os.urandom(sealing.DATA_KEY_BYTES))
    wrapped, sealed = sealing.seal(
        key.secret, kek, _bound_to(org_id, now_us), os.urandom(sealing.RANDOM_BYTES)
    )
    await conn.execute(
        insert(content_key).values(
            org_id=org_id,
            made_us=now_us,
            version=_VERSION,
            wrapped_key=base64.b64encode(wrapped).decode(),
            sealed=base64.b64encode(sealed).decode(),
        )
    )
    return key


async def find(conn: Connection, kek: bytes, org_id: str) -> ContentKey | None:
    """Raises SealBroken if the root is another one."""
    query = select(content_key).where(content_key.c.org_id == org_id)
    row = (await conn.execute(query)).mappings().one_or_none()
    return None if row is None else _open(row, kek)


async def open_all(conn: Connection, kek: bytes) -> list[ContentKey]:
    """Those of all organisations. Raises SealBroken."""
    return [_open(row, kek) for row in (await conn.execute(select(content_key))).mappings()]


async def destroy(conn: Connection, org_id: str) -> None:
    await conn.execute(delete(content_key).where(content_key.c.org_id == org_id))


def _open(row: RowMapping, kek: bytes) -> ContentKey:
    secret = sealing.unseal(
        base64.b64decode(row["wrapped_key"]),
        base64.b64decode(row["sealed"]),
        kek,
        _bound_to(row["org_id"], row["made_us"]),
    )
    return ContentKey(row["org_id"], row["made_us"], secret)


def _bound_to(org_id: str, made_us: int) -> bytes:
    """Table, row and version: a ciphertext moved to another row does not open."""
    return f"content_key:{org_id}:{made_us}:{_VERSION}".encode()
