"""What an operator may write, what is refused, and the trail it leaves."""

import os
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from tokenmarket.accounts import admin
from tokenmarket.accounts.admin import KeyWishes, NotThere, Refused, Taken
from tokenmarket.core.money import NANO_MAX
from tokenmarket.core.sealing import Root
from tokenmarket.store import accounts as rows
from tokenmarket.store.accounts import Limits, OrgRow
from tokenmarket.store.database import Database

PEPPER = b"p" * 32
NOW_US = 1_795_392_000_000_000


async def organisation(database: Database, name: str = "acme") -> OrgRow:
    async with database.begin() as conn:
        return await admin.create_org(conn, name, now_us=NOW_US, actor="test")


async def test_an_organisation_is_found_by_name_and_id(database: Database) -> None:
    made = await organisation(database, "Ümlaut & 公司")
    async with database.read() as conn:
        assert await admin.find_org(conn, made.name) == made
        assert await admin.find_org(conn, made.id) == made
        with pytest.raises(NotThere, match="nobody"):
            await admin.find_org(conn, "nobody")


async def test_a_name_is_taken_once(database: Database) -> None:
    await organisation(database, "caf\u00e9")
    with pytest.raises(Taken, match="already"):
        await organisation(database, "cafe\u0301")  # the same name, written otherwise
    async with database.read() as conn:
        assert len(await rows.orgs(conn)) == 1


@pytest.mark.parametrize(
    "name",
    ["", " ", " a", "a ", "a\nb", "a\rb", "a\x00b", "\x1b[31mb", "a\tb", "a\u202eb", "x" * 101],
    ids=ascii,
)
async def test_names_that_cannot_be_shown_are_refused(database: Database, name: str) -> None:
    with pytest.raises(Refused):
        await organisation(database, name)
    org = await organisation(database)
    async with database.begin() as conn:
        for wishes in (KeyWishes(name=name), KeyWishes(models=("ok", name))):
            with pytest.raises(Refused):
                await admin.create_key(conn, org, wishes, PEPPER, now_us=NOW_US, actor="test")


@given(st.text(max_size=120))
def test_every_accepted_name_is_one_clean_line(name: str) -> None:
    try:
        accepted = admin.checked_name(name)
    except Refused:
        return
    assert 0 < len(accepted) <= 100
    assert accepted.isprintable()
    assert accepted == accepted.strip()
    assert admin.checked_name(accepted) == accepted


@pytest.mark.parametrize(
    "limits",
    [
        Limits(rpm=-1),
        Limits(tpm=-(10**30)),
        Limits(concurrency=10**15),
        Limits(spend_total_nano=-1),
        Limits(spend_day_nano=NANO_MAX + 1),
    ],
    ids=str,
)
async def test_limits_below_zero_or_beyond_sense_are_refused(
    database: Database, limits: Limits
) -> None:
    with pytest.raises(Refused):
        async with database.begin() as conn:
            await admin.create_org(conn, "acme", now_us=NOW_US, actor="test", limits=limits)


async def test_the_database_refuses_negative_limits_too(database: Database) -> None:
    await organisation(database)
    with pytest.raises(IntegrityError, match="limits_not_negative"):
        async with database.begin() as conn:
            await conn.execute(text("UPDATE organization SET spend_day_nano = -1"))


@pytest.mark.parametrize(
    "wishes",
    [
        KeyWishes(models=()),
        KeyWishes(operations=("chat", "mining")),
        KeyWishes(addresses=("10.0.0.1/8",)),
        KeyWishes(addresses=("everywhere",)),
        KeyWishes(models=tuple(str(number) for number in range(201))),
        KeyWishes(expires_at_s=NOW_US // 1_000_000),
    ],
    ids=["no models", "operation", "host bits", "no network", "too many", "expired"],
)
async def test_keys_that_make_no_sense_are_refused(database: Database, wishes: KeyWishes) -> None:
    org = await organisation(database)
    async with database.begin() as conn:
        with pytest.raises(Refused):
            await admin.create_key(conn, org, wishes, PEPPER, now_us=NOW_US, actor="test")
        assert await rows.keys_of(conn) == []


async def test_a_key_is_stored_as_a_digest_only(database: Database) -> None:
    org = await organisation(database)
    wishes = KeyWishes(
        name="ci",
        limits=Limits(rpm=1, tpm=2, concurrency=3, spend_total_nano=4),
        models=("a", "a", "b"),
        providers=("p",),
        operations=("chat",),
        addresses=("10.0.0.0/8", "203.0.113.7"),
        expires_at_s=NOW_US // 1_000_000 + 1,
    )
    async with database.begin() as conn:
        made = await admin.create_key(conn, org, wishes, PEPPER, now_us=NOW_US, actor="test")
        row = await admin.find_key(conn, made.row.id)
        stored = (await conn.execute(text("SELECT * FROM api_key"))).all()
        trail = (await conn.execute(text("SELECT * FROM audit_event"))).all()
    assert row == made.row
    assert row.models == ("a", "b")
    assert row.addresses == ("10.0.0.0/8", "203.0.113.7/32")
    assert made.token[12:-4] not in repr((stored, trail, made))


async def test_disabling_is_final_and_repeatable(database: Database) -> None:
    org = await organisation(database)
    async with database.begin() as conn:
        made = await admin.create_key(conn, org, KeyWishes(), PEPPER, now_us=NOW_US, actor="test")
        for second in (5, 9):
            row = await admin.disable_key(
                conn, made.row.id, now_us=second * 1_000_000, actor="test"
            )
            assert row.disabled_at_s == 5
        with pytest.raises(Taken, match="not valid any more"):
            await admin.rotate_key(
                conn, made.row.id, PEPPER, overlap_s=0, now_us=NOW_US, actor="test"
            )
        for absent in ("key_" + "0" * 34, "nonsense", ""):
            with pytest.raises(NotThere):
                await admin.disable_key(conn, absent, now_us=NOW_US, actor="test")


async def test_rotation_never_lengthens_the_old_key(database: Database) -> None:
    org = await organisation(database)
    end_s = NOW_US // 1_000_000 + 30
    async with database.begin() as conn:
        wishes = KeyWishes(expires_at_s=end_s, limits=Limits(rpm=3))
        old = await admin.create_key(conn, org, wishes, PEPPER, now_us=NOW_US, actor="test")
        new = await admin.rotate_key(
            conn, old.row.id, PEPPER, overlap_s=3600, now_us=NOW_US, actor="test"
        )
        assert (await admin.find_key(conn, old.row.id)).expires_at_s == end_s
        assert new.row.rotates == old.row.id
        assert (new.row.limits, new.row.expires_at_s) == (Limits(rpm=3), end_s)
        with pytest.raises(Taken, match="successor"):
            await admin.rotate_key(
                conn, old.row.id, PEPPER, overlap_s=0, now_us=NOW_US, actor="test"
            )


async def test_every_write_is_noticed_and_leaves_a_trail(database: Database) -> None:
    async def state() -> tuple[int, int]:
        async with database.read() as conn:
            lines = (await conn.execute(text("SELECT count(*) FROM audit_event"))).scalar_one()
            return await rows.generation(conn), lines

    org = await organisation(database)
    before = await state()
    async with database.begin() as conn:
        made = await admin.create_key(conn, org, KeyWishes(), PEPPER, now_us=NOW_US, actor="test")
    after_create = await state()
    async with database.begin() as conn:
        await admin.rotate_key(conn, made.row.id, PEPPER, overlap_s=9, now_us=NOW_US, actor="test")
    after_rotate = await state()
    async with database.begin() as conn:
        await admin.disable_key(conn, made.row.id, now_us=NOW_US, actor="test")
    after_disable = await state()
    states = [before, after_create, after_rotate, after_disable]
    for one, two in pairwise(states):
        assert two[0] > one[0]
        assert two[1] == one[1] + 1


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE audit_event SET detail = '{}' WHERE seq = 2",
        "UPDATE audit_event SET actor = 'somebody' WHERE seq = 2",
        "UPDATE audit_event SET at_us = 0 WHERE seq = 2",
        "DELETE FROM audit_event WHERE seq = 1",
    ],
)
async def test_a_changed_trail_is_noticed(database: Database, tampering: str) -> None:
    for name in ("a", "b", "c"):
        await organisation(database, name)
    async with database.begin() as conn:
        assert await rows.broken_audit(conn) is None
        await conn.execute(text(tampering))
        assert await rows.broken_audit(conn) == 2


async def test_a_database_belongs_to_one_root(database: Database) -> None:
    root = Root(os.urandom(32))
    await admin.claim_root(database, root)
    await admin.claim_root(database, root)
    with pytest.raises(Refused, match="another secret"):
        await admin.claim_root(database, Root(os.urandom(32)))
