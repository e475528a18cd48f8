"""Sessions: found, aged, rotated, ended; one-time links: once, in time, for one purpose."""

import pytest
from sqlalchemy import text

from tests.support.people import make_person
from tests.unit.accounts.clock import HandClock
from tokenmarket.accounts import people
from tokenmarket.accounts.links import RESET_S, Links, Spent
from tokenmarket.accounts.sessions import CACHE_S, Sessions
from tokenmarket.store.database import Database

DAY_S = 86_400
SECRET = b"s" * 32


def make(database: Database) -> tuple[Sessions, HandClock]:
    clock = HandClock()
    return Sessions(database, clock, SECRET), clock


async def test_a_token_opens_its_session_and_nothing_else_does(database: Database) -> None:
    sessions, _ = make(database)
    user = await make_person(database)
    token = await sessions.open(user.id, address="203.0.113.7", agent="x" * 1000)
    found = await sessions.find(token)
    assert found is not None
    assert found.user == user
    assert (found.address, len(found.agent)) == ("203.0.113.7", 200)
    assert found.csrf not in token
    for wrong in ("", token[:-1], token + "x", "x" * 10_000, "\ud800", found.csrf, found.id):
        assert await sessions.find(wrong) is None
    async with database.read() as conn:
        stored = str((await conn.execute(text("SELECT * FROM session"))).all())
    assert token not in stored
    assert found.csrf not in stored


async def test_a_session_ends_when_idle_and_absolutely(database: Database) -> None:
    sessions, clock = make(database)
    user = await make_person(database)
    idle = await sessions.open(user.id, address="", agent="")
    used = await sessions.open(user.id, address="", agent="")
    for _ in range(29):
        clock.now_s += DAY_S - 1
        assert await sessions.find(used) is not None
    assert await sessions.find(idle) is None
    clock.now_s += DAY_S + 60
    assert await sessions.find(used) is None
    assert await sessions.of_user(user.id) == []


async def test_an_impersonation_ends_by_itself_after_an_hour(database: Database) -> None:
    sessions, clock = make(database)
    user = await make_person(database)
    token = await sessions.open(user.id, address="", agent="", impersonator="usr_op")
    found = await sessions.find(token)
    assert found is not None
    assert found.impersonator == "usr_op"
    assert await sessions.of_user(user.id) == []
    clock.now_s += 3_600
    assert await sessions.find(token) is None


async def test_rotation_ends_the_old_token_at_once(database: Database) -> None:
    sessions, clock = make(database)
    user = await make_person(database)
    old = await sessions.open(user.id, address="", agent="")
    before = await sessions.find(old)
    clock.now_s += 700
    fresh = await sessions.rotate(old, proved=True)
    assert fresh is not None
    assert await sessions.find(old) is None
    after = await sessions.find(fresh)
    assert before is not None
    assert after is not None
    assert after.id == before.id
    assert after.csrf != before.csrf
    assert after.proved_us == clock.wall_us()
    assert await sessions.rotate(old) is None
    plain = await sessions.rotate(fresh)
    assert plain is not None
    again = await sessions.find(plain)
    assert again is not None
    assert again.proved_us == after.proved_us


async def test_signing_out_everywhere_but_here(database: Database) -> None:
    sessions, _ = make(database)
    user = await make_person(database)
    other = await make_person(database, "bob@example.com")
    here = await sessions.open(user.id, address="", agent="here")
    there = await sessions.open(user.id, address="", agent="there")
    bobs = await sessions.open(other.id, address="", agent="")
    looking = await sessions.open(other.id, address="", agent="", impersonator=user.id)
    kept = await sessions.find(here)
    assert kept is not None
    assert await sessions.find(there) is not None
    assert {row.agent for row in await sessions.of_user(user.id)} == {"here", "there"}
    assert await sessions.close_all(user.id, but=kept.id) == 2
    assert await sessions.find(there) is None
    assert await sessions.find(looking) is None
    assert await sessions.find(here) is not None
    theirs = await sessions.find(bobs)
    assert theirs is not None
    assert await sessions.close_one(user.id, theirs.id) is False
    assert await sessions.close_one(other.id, theirs.id) is True
    assert await sessions.find(bobs) is None
    await sessions.close(here)
    assert await sessions.find(here) is None


async def test_what_another_process_does_is_seen_within_the_caches_time(database: Database) -> None:
    sessions, clock = make(database)
    elsewhere = Sessions(database, clock, SECRET)
    user = await make_person(database, operator=True)
    await make_person(database, "second@example.com", operator=True)
    first = await sessions.open(user.id, address="", agent="")
    second = await sessions.open(user.id, address="", agent="")
    assert await sessions.find(first) is not None
    assert await sessions.find(second) is not None
    await elsewhere.close(first)
    clock.now_s += CACHE_S
    assert await sessions.find(first) is None
    await people.set_disabled(database, user.id, True, now_us=clock.wall_us(), by="test")
    sessions.forget(user.id)
    assert await sessions.find(second) is None


async def test_another_secret_opens_nothing(database: Database) -> None:
    sessions, clock = make(database)
    user = await make_person(database)
    token = await sessions.open(user.id, address="", agent="")
    assert await Sessions(database, clock, b"t" * 32).find(token) is None


async def test_a_link_works_once_in_time_and_for_its_purpose(database: Database) -> None:
    clock = HandClock()
    links = Links(database, clock, SECRET)
    token = await links.make("reset", "usr_1", lifetime_s=RESET_S)
    assert await links.find("welcome", token) is None
    assert await links.find("reset", "x" * 5000) is None
    link = await links.find("reset", token)
    assert link is not None
    async with database.begin() as conn:
        await links.use(conn, link)
    assert await links.find("reset", token) is None
    with pytest.raises(Spent):
        async with database.begin() as conn:
            await links.use(conn, link)

    older = await links.make("reset", "usr_1", lifetime_s=RESET_S)
    newer = await links.make("reset", "usr_1", lifetime_s=RESET_S)
    others = await links.make("reset", "usr_2", lifetime_s=RESET_S)
    assert await links.find("reset", older) is not None
    link = await links.find("reset", newer)
    assert link is not None
    async with database.begin() as conn:
        await links.use(conn, link)
    assert await links.find("reset", older) is None
    assert await links.find("reset", others) is not None
    clock.now_s += RESET_S
    assert await links.find("reset", others) is None
