"""Accounts of people: addresses, names, the last operator, and what passwords must be."""

import asyncio

import pytest

from tests.support.people import NOW_US, PASSWORD, cheap_passwords, make_person
from tokenmarket.accounts import passwords, people
from tokenmarket.accounts.admin import NotThere, Refused, Taken
from tokenmarket.accounts.passwords import Busy, checked_password
from tokenmarket.store import accounts as rows
from tokenmarket.store import people as people_rows
from tokenmarket.store.database import Database


async def test_an_address_is_one_account_however_it_is_written(database: Database) -> None:
    user = await make_person(database, " Ann@Example.COM ")
    assert user.email == "ann@example.com"
    assert await people.find_by_email(database, "ANN@example.com") == user
    assert await people.find(database, user.id) == user
    with pytest.raises(Taken):
        await make_person(database, "ann@EXAMPLE.com")
    with pytest.raises(NotThere):
        await people.find(database, "usr_nobody")


@pytest.mark.parametrize(
    "email",
    ["", "ann", "@b.c", "a@", "a b@c.d", "a@b@c.d", "a@b..c", "a\n@b.c", "a@b.c\r\nBcc: x@y.z",
     "x" * 65 + "@b.c", "a@" + "b" * 260, "<a@b.c>", "a@b,c", "a\x00@b.c", "a@-.", 'a"@b.c'],
    ids=ascii,
)  # fmt: skip
async def test_what_is_no_address_is_refused(database: Database, email: str) -> None:
    with pytest.raises(Refused):
        await make_person(database, email)


async def test_names_and_preferences_are_checked(database: Database) -> None:
    user = await make_person(database)
    for name in ("", "  ", "a\nb", "x" * 101, "a\u202eb"):
        with pytest.raises(Refused):
            await people.set_profile(database, user, name=name, now_us=NOW_US)
    await people.set_profile(database, user, name=" 王安 ", now_us=NOW_US)
    fine = {"language": "zh", "theme": "dark", "currency": "CNY", "time_zone": "Asia/Shanghai"}
    await people.set_preferences(database, user, **fine, now_us=NOW_US)
    found = await people.find(database, user.id)
    assert (found.name, found.language, found.theme) == ("王安", "zh", "dark")
    assert (found.currency, found.time_zone) == ("CNY", "Asia/Shanghai")
    for wrong in ({"language": "de"}, {"theme": "x"}, {"currency": "EUR"}, {"time_zone": "../etc"}):
        with pytest.raises(Refused):
            await people.set_preferences(database, user, **{**fine, **wrong}, now_us=NOW_US)


async def test_the_last_operator_stays(database: Database) -> None:
    first = await make_person(database, operator=True)
    with pytest.raises(Taken):
        await people.set_disabled(database, first.id, True, now_us=NOW_US, by="test")
    with pytest.raises(Taken):
        await people.set_operator(database, first.id, False, now_us=NOW_US, by="test")
    second = await make_person(database, "bob@example.com")
    await people.set_operator(database, second.id, True, now_us=NOW_US, by="test")
    await people.set_disabled(database, first.id, True, now_us=NOW_US, by="test")
    assert (await people.find(database, first.id)).disabled_at_s == NOW_US // 1_000_000
    with pytest.raises(Taken):
        await people.set_operator(database, second.id, False, now_us=NOW_US, by="test")
    await people.set_disabled(database, first.id, False, now_us=NOW_US, by="test")
    await people.set_operator(database, second.id, False, now_us=NOW_US, by="test")
    async with database.read() as conn:
        assert await people_rows.count_people(conn, operators=True) == 1
        assert await rows.broken_audit(conn) is None


async def test_people_are_listed_by_address_in_pages(database: Database) -> None:
    for letter in "cab":
        await make_person(database, f"{letter}%_@example.com")
    async with database.read() as conn:
        page = await people_rows.people(conn, limit=2)
        assert [user.email[0] for user in page] == ["a", "b"]
        rest = await people_rows.people(conn, after=page[-1].email)
        assert [user.email[0] for user in rest] == ["c"]
        assert await people_rows.people(conn, prefix="%") == []
        assert len(await people_rows.people(conn, prefix="a%")) == 1


@pytest.mark.parametrize(
    "password",
    ["short", "x" * 257, "ann@example.com", "ANN@EXAMPLE.COM", "aaaaaaaaaaaa", "abababababab"],
)
def test_passwords_that_are_refused(password: str) -> None:
    with pytest.raises(Refused):
        checked_password(password, "ann@example.com")


def test_a_password_may_be_a_sentence_in_any_script() -> None:
    assert checked_password("正确的马电池订书钉一二三", "a@b.c")
    assert checked_password("ｆｕｌｌｗｉｄｔｈ1", "a@b.c") == "fullwidth1"


async def test_hashing_and_checking() -> None:
    checker = cheap_passwords()
    try:
        stored = await checker.hash(PASSWORD)
        assert stored.startswith("$argon2id$")
        assert PASSWORD not in stored
        assert await checker.verify(stored, PASSWORD)
        assert not await checker.verify(stored, PASSWORD + "x")
        assert not await checker.verify(stored, "")
        assert not await checker.verify(stored, "x" * 1_000_000)
        assert not await checker.verify(None, "nobody")
        assert not await checker.verify("no hash", PASSWORD)
        assert not checker.is_outdated(stored)
        dearer = passwords.Passwords(time_cost=2, memory_kib=16)
        assert dearer.is_outdated(stored)
        dearer.close()
    finally:
        checker.close()


def test_the_real_costs_are_those_of_the_design() -> None:
    dear = passwords.Passwords()
    assert dear.is_outdated("$argon2id$v=19$m=65536,t=2,p=1$" + "A" * 22 + "$" + "A" * 43)
    assert not dear.is_outdated("$argon2id$v=19$m=65536,t=3,p=1$" + "A" * 22 + "$" + "A" * 43)
    dear.close()


async def test_a_flood_is_told_to_come_back() -> None:
    checker = cheap_passwords()
    work = [checker.verify(None, "x") for _ in range(passwords.WAITING_MAX + 5)]
    answers = await asyncio.gather(*work, return_exceptions=True)
    assert sum(isinstance(answer, Busy) for answer in answers) == 5
    assert await checker.verify(None, "x") is False
    checker.close()
