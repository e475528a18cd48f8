"""What the operator tells everybody on every page, in both languages, for a time."""

from __future__ import annotations

import os

import msgspec

from tokenmarket.accounts.admin import NotThere, Refused
from tokenmarket.backoffice.facts import SUPPORT
from tokenmarket.core import ids
from tokenmarket.core.texts import N_
from tokenmarket.store import accounts as rows
from tokenmarket.store import announcements as store
from tokenmarket.store.announcements import Announcement
from tokenmarket.store.database import Connection, Database

LEVELS = ("info", "warn", "bad")
TEXT_CHARS_MAX = 500
CACHE_US = 2_000_000


class AnnouncementWishes(msgspec.Struct, frozen=True):
    """An announcement as it shall be; ``until_us`` None: until it is withdrawn."""

    text_en: str
    text_zh: str
    level: str = "info"
    from_us: int = 0
    until_us: int | None = None


async def put(
    conn: Connection,
    announcement_id: str | None,
    wishes: AnnouncementWishes,
    *,
    now_us: int,
    actor: str,
) -> Announcement:
    """A new one, or (with an id) a change. Raises NotThere, Refused."""
    if wishes.level not in LEVELS:
        raise Refused(N_("The level is info, warn or bad."))
    from_us = wishes.from_us or now_us
    if wishes.until_us is not None and wishes.until_us <= from_us:
        raise Refused(N_("It would end before it begins."))
    before = None if announcement_id is None else await find(conn, announcement_id)
    row = Announcement(
        id=ids.new_id("ann", now_us, os.urandom(ids.RANDOM_BYTES)) if before is None else before.id,
        level=wishes.level,
        text_en=_checked_text(wishes.text_en),
        text_zh=_checked_text(wishes.text_zh),
        from_us=from_us,
        until_us=wishes.until_us,
        author=actor if before is None else before.author,
        created_us=now_us if before is None else before.created_us,
    )
    await store.put(conn, row)
    detail: dict[str, object] = {"level": row.level, "en": row.text_en, "zh": row.text_zh}
    action = "announcement.create" if before is None else "announcement.change"
    await rows.append_audit(conn, now_us, actor, action, row.id, detail)
    return row


async def withdraw(conn: Connection, announcement_id: str, *, now_us: int, actor: str) -> None:
    """Raises NotThere."""
    await find(conn, announcement_id)
    await store.remove(conn, announcement_id)
    await rows.append_audit(conn, now_us, actor, "announcement.withdraw", announcement_id, {})


async def find(conn: Connection, announcement_id: str) -> Announcement:
    """Raises NotThere."""
    for row in await store.listed(conn):
        if row.id == announcement_id:
            return row
    raise NotThere(N_("There is no such announcement."))


class Board:
    """What every page shows now: announcements, and where to find help. Asks SQL at most once in
    two seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._read_us: int | None = None
        self._showing: list[Announcement] = []
        self._support: str | None = None

    async def showing(self, now_us: int) -> list[Announcement]:
        await self._read(now_us)
        return self._showing

    async def support(self, now_us: int) -> str | None:
        """An e-mail or https address; None: the operator named none."""
        await self._read(now_us)
        return self._support

    async def _read(self, now_us: int) -> None:
        read_us = self._read_us
        if read_us is None or not 0 <= now_us - read_us < CACHE_US:
            async with self._database.read() as conn:
                self._showing = await store.showing(conn, now_us)
                self._support = await rows.remembered(conn, SUPPORT)
            self._read_us = now_us


def _checked_text(text: str) -> str:
    found = " ".join(text.split())
    if not found or len(found) > TEXT_CHARS_MAX or not found.isprintable():
        raise Refused(N_("Write the text in both languages, at most 500 characters each."))
    return found
