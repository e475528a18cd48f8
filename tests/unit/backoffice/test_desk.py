"""Announcements, the exchange rate, suspension and limits of organisations."""

from __future__ import annotations

import pytest

from tests.unit.backoffice.conftest import HOUR_US, NOW_US
from tokenmarket.accounts import admin
from tokenmarket.accounts.admin import NotThere, Refused
from tokenmarket.backoffice import announcements, facts, orgs
from tokenmarket.backoffice.announcements import AnnouncementWishes, Board
from tokenmarket.store import org_desk
from tokenmarket.store.accounts import Limits
from tokenmarket.store.database import Database

ACTOR = "user:usr_x"


async def test_an_announcement_shows_for_its_time(database: Database) -> None:
    wishes = AnnouncementWishes("Work tonight", "今晚维护", "warn", NOW_US, NOW_US + HOUR_US)
    board = Board(database)
    assert await board.showing(NOW_US) == []
    async with database.begin() as conn:
        row = await announcements.put(conn, None, wishes, now_us=NOW_US, actor=ACTOR)
    assert await board.showing(NOW_US + 1_000_000) == []  # asked a second ago
    later = await board.showing(NOW_US + 2_000_000)
    assert [(one.text("en"), one.text("zh")) for one in later] == [("Work tonight", "今晚维护")]
    assert await board.showing(NOW_US + HOUR_US) == []
    async with database.begin() as conn:
        await announcements.withdraw(conn, row.id, now_us=NOW_US, actor=ACTOR)
        with pytest.raises(NotThere):
            await announcements.withdraw(conn, row.id, now_us=NOW_US, actor=ACTOR)


@pytest.mark.parametrize(
    "wishes",
    [
        AnnouncementWishes("", "好"),
        AnnouncementWishes("x" * 501, "好"),
        AnnouncementWishes("x", "好", "loud"),
        AnnouncementWishes("x", "好", "info", NOW_US, NOW_US),
    ],
)
async def test_an_announcement_nobody_could_read(
    database: Database, wishes: AnnouncementWishes
) -> None:
    async with database.begin() as conn:
        with pytest.raises(Refused):
            await announcements.put(conn, None, wishes, now_us=NOW_US, actor=ACTOR)


async def test_the_exchange_rate(database: Database) -> None:
    async with database.begin() as conn:
        assert await facts.exchange_rate(conn) is None
        for cny in ("7.1", "7.2"):
            await facts.set_exchange_rate(conn, cny, "2026-11-24", now_us=NOW_US, actor=ACTOR)
        assert await facts.exchange_rate(conn) == ("7.2", "2026-11-24")
        for cny, day in (("0", "2026-11-24"), ("-7", "2026-11-24"), ("7", "soon"), ("1e3", "")):
            with pytest.raises(Refused):
                await facts.set_exchange_rate(conn, cny, day, now_us=NOW_US, actor=ACTOR)
        await facts.set_exchange_rate(conn, "", "", now_us=NOW_US, actor=ACTOR)
        assert await facts.exchange_rate(conn) is None


async def test_suspension_limits_and_search(database: Database) -> None:
    async with database.begin() as conn:
        org = await admin.create_org(conn, "Acme 100%", now_us=NOW_US, actor=ACTOR)
        await admin.create_org(conn, "Other", now_us=NOW_US + 1, actor=ACTOR)
        with pytest.raises(Refused):
            await orgs.set_suspended(conn, org.id, True, reason=" ", now_us=NOW_US, actor=ACTOR)
        await orgs.set_suspended(conn, org.id, True, reason="fraud", now_us=NOW_US, actor=ACTOR)
        await orgs.set_limits(conn, org.id, Limits(rpm=5), now_us=NOW_US, actor=ACTOR)
        with pytest.raises(Refused):
            await orgs.set_limits(conn, org.id, Limits(rpm=-1), now_us=NOW_US, actor=ACTOR)
        found = await org_desk.search(conn, text="100%")
        assert [line.org.name for line in found] == ["Acme 100%"]
        assert found[0].org.disabled_at_s == NOW_US // 1_000_000
        assert found[0].org.limits == Limits(rpm=5)
        assert await org_desk.search(conn, text="0_%") == []
        assert len(await org_desk.search(conn, suspended=False)) == 1
        assert len(await org_desk.search(conn, group_id="")) == 2
        await orgs.set_suspended(conn, org.id, False, reason="cleared", now_us=NOW_US, actor=ACTOR)
        assert (await orgs.find(conn, org.id)).disabled_at_s is None
        with pytest.raises(NotThere):
            await orgs.find(conn, "org_nothing")
