"""Management endpoints of the operator about announcements: a line above every page."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tokenmarket.backoffice import announcements
from tokenmarket.backoffice.announcements import AnnouncementWishes
from tokenmarket.store import announcements as announcement_rows
from tokenmarket.web.manage.endpoint import OPERATOR, Call, Deleted, Endpoint, Listing, page

_TAG = "customers"
_Text = Annotated[str, msgspec.Meta(max_length=2_000)]


class AnnouncementBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A line above every page, in both languages, for a time."""

    text_en: _Text
    text_zh: _Text
    level: Literal["info", "warn", "bad"] = "info"
    from_at: int | None = None
    until_at: int | None = None


class AnnouncementObject(msgspec.Struct, kw_only=True):
    """An announcement."""

    object: Literal["announcement"] = "announcement"
    id: str
    level: str
    text_en: str
    text_zh: str
    from_at: int
    until_at: int | None


async def list_announcements(call: Call) -> Listing[AnnouncementObject]:
    async with call.parts.database.read() as conn:
        rows = await announcement_rows.listed(conn)
    found = [_announcement(row) for row in rows if not call.cursor or row.id < call.cursor]
    return page(found[: call.limit + 1], call.limit, lambda one: one.id)


async def create_announcement(call: Call) -> AnnouncementObject:
    body: AnnouncementBody = call.body
    wishes = AnnouncementWishes(
        body.text_en,
        body.text_zh,
        body.level,
        call.now_us if body.from_at is None else body.from_at * 1_000_000,
        None if body.until_at is None else body.until_at * 1_000_000,
    )
    async with call.parts.database.begin() as conn:
        row = await announcements.put(conn, None, wishes, now_us=call.now_us, actor=call.actor)
    return _announcement(row)


async def withdraw_announcement(call: Call) -> Deleted:
    found = call.params["announcement"]
    async with call.parts.database.begin() as conn:
        await announcements.withdraw(conn, found, now_us=call.now_us, actor=call.actor)
    return Deleted(id=found)


def _announcement(row: announcement_rows.Announcement) -> AnnouncementObject:
    return AnnouncementObject(
        id=row.id,
        level=row.level,
        text_en=row.text_en,
        text_zh=row.text_zh,
        from_at=row.from_us // 1_000_000,
        until_at=None if row.until_us is None else row.until_us // 1_000_000,
    )


ENDPOINTS = [
    Endpoint(
        "GET",
        "/admin/announcements",
        OPERATOR,
        list_announcements,
        None,
        Listing[AnnouncementObject],
        "All announcements, newest first.",
        _TAG,
    ),
    Endpoint(
        "POST",
        "/admin/announcements",
        OPERATOR,
        create_announcement,
        AnnouncementBody,
        AnnouncementObject,
        "Announces something on every page.",
        _TAG,
    ),
    Endpoint(
        "DELETE",
        "/admin/announcements/{announcement}",
        OPERATOR,
        withdraw_announcement,
        None,
        Deleted,
        "Withdraws an announcement.",
        _TAG,
    ),
]
