"""Keys as members of an organisation manage them: only their own, and what they spent."""

from typing import Any

import msgspec
import pytest
from sqlalchemy import insert

from tokenmarket.accounts import admin, org_keys
from tokenmarket.accounts.admin import KeyWishes, NewKey, NotThere, Refused, Taken
from tokenmarket.accounts.org_keys import Known, WrongEntry
from tokenmarket.store import accounts as rows
from tokenmarket.store.accounts import Limits
from tokenmarket.store.database import Database
from tokenmarket.store.money import DAY_US, usage_event

PEPPER = b"p" * 32
NOW_US = 1_795_392_000_000_000  # 2026-11-23 00:00 UTC
NOW_S = NOW_US // 1_000_000
KNOWN = Known({"a/model", "b/model"}, {"sandbox"})


async def made_key(
    database: Database, org: str = "acme", wishes: KeyWishes | None = None
) -> NewKey:
    async with database.begin() as conn:
        try:
            row = await admin.find_org(conn, org)
        except NotThere:
            row = await admin.create_org(conn, org, now_us=NOW_US, actor="test")
        return await admin.create_key(
            conn, row, wishes or KeyWishes(), PEPPER, now_us=NOW_US, actor="user:usr_1"
        )


async def spend(database: Database, key: NewKey, nano: int, accepted_us: int, number: int) -> None:
    """One posted request."""
    values: dict[str, object] = {
        column.name: 0 if column.type.python_type is int else "" for column in usage_event.columns
    }
    values |= {
        "request_id": f"req_{number}",
        "org_id": key.org.id,
        "key_id": key.row.id,
        "accepted_us": accepted_us,
        "finished_us": accepted_us + 1,
        "status": "succeeded",
        "charge_nano": nano,
    }
    async with database.begin() as conn:
        await conn.execute(insert(usage_event).values(values))


async def test_a_key_of_another_organisation_is_not_there(database: Database) -> None:
    mine, theirs = await made_key(database), await made_key(database, "other")
    async with database.begin() as conn:
        assert await org_keys.find(conn, mine.org.id, mine.row.id) == mine.row
        for key_id in (theirs.row.id, "key_", "", "x" * 200):
            with pytest.raises(NotThere):
                await org_keys.find(conn, mine.org.id, key_id)
        by: Any = {"now_us": NOW_US, "actor": "test"}
        with pytest.raises(NotThere):
            await org_keys.change(conn, mine.org.id, theirs.row.id, KeyWishes(), **by)
        with pytest.raises(NotThere):
            await org_keys.disable(conn, mine.org.id, theirs.row.id, **by)
        with pytest.raises(NotThere):
            await org_keys.roll(conn, mine.org.id, theirs.row.id, PEPPER, overlap_s=0, **by)
        assert await org_keys.find(conn, theirs.org.id, theirs.row.id) == theirs.row


async def test_what_was_changed_is_written_told_and_noted(database: Database) -> None:
    made = await made_key(database, wishes=KeyWishes(models=("a/model",)))
    wishes = KeyWishes(
        name="renamed",
        limits=Limits(spend_month_nano=5, rpm=7),
        addresses=("10.0.0.0/8",),
        expires_at_s=NOW_S + 60,
    )
    async with database.begin() as conn:
        before = await rows.generation(conn)
        await org_keys.change(
            conn, made.org.id, made.row.id, wishes, now_us=NOW_US, actor="user:usr_2"
        )
        assert await rows.generation(conn) > before
        found = await org_keys.find(conn, made.org.id, made.row.id)
    expected = msgspec.structs.replace(
        made.row,
        name="renamed",
        limits=wishes.limits,
        models=None,
        addresses=("10.0.0.0/8",),
        expires_at_s=NOW_S + 60,
    )
    assert found == expected
    assert org_keys.wishes_of(found) == wishes


async def test_changing_nothing_writes_nothing(database: Database) -> None:
    made = await made_key(database)
    async with database.begin() as conn:
        before = await rows.generation(conn)
        wishes = org_keys.wishes_of(made.row)
        await org_keys.change(conn, made.org.id, made.row.id, wishes, now_us=NOW_US, actor="x")
        assert await rows.generation(conn) == before


async def test_what_cannot_be(database: Database) -> None:
    made = await made_key(database, wishes=KeyWishes(expires_at_s=NOW_S + 5))
    later_us = NOW_US + 10_000_000
    async with database.begin() as conn:
        org_id, key_id = made.org.id, made.row.id
        by: Any = {"now_us": later_us, "actor": "x"}
        # it has expired meanwhile: everything else may still be changed
        kept = KeyWishes(name="late", expires_at_s=NOW_S + 5)
        assert (await org_keys.change(conn, org_id, key_id, kept, **by)).name == "late"
        with pytest.raises(WrongEntry) as wrong:
            await org_keys.change(conn, org_id, key_id, KeyWishes(expires_at_s=NOW_S + 6), **by)
        assert wrong.value.param == "expires_at"
        with pytest.raises(Refused):
            await org_keys.change(conn, org_id, key_id, KeyWishes(name="\n"), **by)
        with pytest.raises(WrongEntry):
            await org_keys.roll(conn, org_id, key_id, PEPPER, overlap_s=-1, **by)
        await org_keys.disable(conn, org_id, key_id, **by)
        with pytest.raises(Taken):
            await org_keys.change(conn, org_id, key_id, KeyWishes(), **by)


def test_names_are_those_of_the_catalog_or_were_there_before() -> None:
    org_keys.check_names(KeyWishes(models=("a/model",), providers=("sandbox",)), KNOWN)
    for wishes, param in (
        (KeyWishes(models=("gone/model",)), "models"),
        (KeyWishes(providers=("nobody",)), "providers"),
    ):
        with pytest.raises(WrongEntry) as wrong:
            org_keys.check_names(wishes, KNOWN)
        assert wrong.value.param == param


async def test_what_the_key_had_before_may_stay(database: Database) -> None:
    made = await made_key(database, wishes=KeyWishes(models=("gone/model",)))
    org_keys.check_names(KeyWishes(models=("gone/model", "a/model")), KNOWN, made.row)
    with pytest.raises(WrongEntry):
        org_keys.check_names(KeyWishes(models=("other/model",)), KNOWN, made.row)


@pytest.mark.parametrize(
    ("expires_in_s", "expected"),
    [(None, "active"), (0, "expired"), (1, "expiring"), (7 * 86_400, "expiring")],
)
async def test_states(database: Database, expires_in_s: int | None, expected: str) -> None:
    made = await made_key(database)
    ends = None if expires_in_s is None else NOW_S + expires_in_s
    row = msgspec.structs.replace(made.row, expires_at_s=ends)
    assert org_keys.state(row, NOW_S) == expected
    assert org_keys.state(msgspec.structs.replace(row, disabled_at_s=NOW_S), NOW_S) == "disabled"
    far = msgspec.structs.replace(row, expires_at_s=NOW_S + 7 * 86_400 + 1)
    assert org_keys.state(far, NOW_S) == "active"


async def test_what_keys_have_spent(database: Database) -> None:
    one, two = await made_key(database), await made_key(database)
    other = await made_key(database, "other")
    await spend(database, one, 100, NOW_US, 1)  # today
    await spend(database, one, 20, NOW_US - 1, 2)  # yesterday, this month
    await spend(database, one, 3, NOW_US - 40 * DAY_US, 3)  # another month
    await spend(database, other, 7, NOW_US, 4)
    async with database.read() as conn:
        assert await org_keys.spent_this_month(conn, one.org.id, NOW_US) == {one.row.id: 120}
        spent = await org_keys.spent_by_period(conn, one.org.id, one.row.id, NOW_US)
        assert spent == {"day": 100, "month": 120, "total": 123}
        nothing = await org_keys.spent_by_period(conn, two.org.id, two.row.id, NOW_US)
        assert nothing == {"day": 0, "month": 0, "total": 0}
