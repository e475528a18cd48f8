"""Announcements, the exchange rate, suspension and limits of organisations."""

from __future__ import annotations

import pytest

from tests.unit.backoffice.conftest import HOUR_US, NOW_US
from tokenmarket.accounts import admin
from tokenmarket.accounts.admin import NotThere, Refused, Taken
from tokenmarket.backoffice import announcements, facts, groups, orgs
from tokenmarket.backoffice.announcements import AnnouncementWishes, Board
from tokenmarket.backoffice.groups import GroupWishes
from tokenmarket.core.catalog_rows import CatalogDocument
from tokenmarket.store import org_desk
from tokenmarket.store.accounts import Limits
from tokenmarket.store.audit import audit_lines
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


async def test_new_organisations_start_in_the_group_of_new(
    database: Database, shipped: CatalogDocument
) -> None:
    async with database.begin() as conn:
        group = await groups.create(
            conn, GroupWishes("walk-in", 500), shipped, now_us=NOW_US, actor=ACTOR
        )
        before = await admin.create_org(conn, "before", now_us=NOW_US, actor=ACTOR)
        await facts.set_group_of_new(conn, group.id, now_us=NOW_US, actor=ACTOR)
        after = await admin.create_org(conn, "after", now_us=NOW_US + 1, actor=ACTOR)
        demo = await admin.create_org(conn, "demo", now_us=NOW_US + 2, actor=ACTOR, kind="demo")
        found = [await orgs.find(conn, org.id) for org in (before, after, demo)]
        assert [org.group_id for org in found] == [None, group.id, None]
        await groups.assign(conn, found[1], None, now_us=NOW_US, actor=ACTOR)
        with pytest.raises(Taken):
            await groups.remove(conn, group.id, now_us=NOW_US, actor=ACTOR)
        with pytest.raises(NotThere):
            await facts.set_group_of_new(conn, "grp_nothing", now_us=NOW_US, actor=ACTOR)
        await facts.set_group_of_new(conn, "", now_us=NOW_US, actor=ACTOR)
        await groups.remove(conn, group.id, now_us=NOW_US, actor=ACTOR)


async def test_where_people_find_help(database: Database) -> None:
    board = Board(database)
    assert await board.support(NOW_US) is None
    async with database.begin() as conn:
        for contact in ("https://help.example/start?a=b", "Help@Example.com"):
            await facts.set_support(conn, contact, now_us=NOW_US, actor=ACTOR)
        for wrong in ("http://help.example", "javascript:alert(1)", "nobody", "https://a b", "x@"):
            with pytest.raises(Refused):
                await facts.set_support(conn, wrong, now_us=NOW_US, actor=ACTOR)
        for wrong in ("everybody", "OPEN"):
            with pytest.raises(Refused):
                await facts.set_sign_up(conn, wrong, now_us=NOW_US, actor=ACTOR)
        assert len(await audit_lines(conn, action="setting")) == 2
    assert await board.support(NOW_US + 2_000_000) == "help@example.com"


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
