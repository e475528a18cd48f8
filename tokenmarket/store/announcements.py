"""What the operator announces on all pages: rows in, rows out."""

from __future__ import annotations

import msgspec
from sqlalchemy import delete, insert, or_, select, update

from tokenmarket.store.backoffice_tables import announcement
from tokenmarket.store.database import Connection


class Announcement(msgspec.Struct, frozen=True):
    """Shown from ``from_us`` until ``until_us`` (None: until it is withdrawn); ``level`` is info,
    warn or bad."""

    id: str
    level: str
    text_en: str
    text_zh: str
    from_us: int
    until_us: int | None
    author: str
    created_us: int

    def text(self, lang: str) -> str:
        return self.text_zh if lang == "zh" else self.text_en


async def listed(conn: Connection) -> list[Announcement]:
    """All, newest first."""
    query = select(announcement).order_by(announcement.c.id.desc())
    return [Announcement(**row) for row in (await conn.execute(query)).mappings()]


async def showing(conn: Connection, now_us: int) -> list[Announcement]:
    """Those that people see now, oldest first."""
    until = announcement.c.until_us
    query = (
        select(announcement)
        .where(announcement.c.from_us <= now_us, or_(until.is_(None), until > now_us))
        .order_by(announcement.c.id)
    )
    return [Announcement(**row) for row in (await conn.execute(query)).mappings()]


async def put(conn: Connection, row: Announcement) -> None:
    """Insert, or replace all but its author and time."""
    values = {
        name: getattr(row, name) for name in ("level", "text_en", "text_zh", "from_us", "until_us")
    }
    here = update(announcement).where(announcement.c.id == row.id)
    if (await conn.execute(here.values(values))).rowcount == 0:
        await conn.execute(
            insert(announcement).values(
                id=row.id, author=row.author, created_us=row.created_us, **values
            )
        )


async def remove(conn: Connection, announcement_id: str) -> bool:
    """False if there was none."""
    statement = delete(announcement).where(announcement.c.id == announcement_id)
    return (await conn.execute(statement)).rowcount > 0
