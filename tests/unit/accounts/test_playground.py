"""The playground's own key: one that is valid, whatever people did to the earlier ones."""

from __future__ import annotations

import msgspec
import pytest

from tokenmarket.accounts import admin, org_keys, people, playground
from tokenmarket.accounts.admin import Taken
from tokenmarket.core import keys, sealing
from tokenmarket.core.sealing import Root
from tokenmarket.store import accounts as rows
from tokenmarket.store.accounts import KeyRow, Limits
from tokenmarket.store.database import Database
from tokenmarket.store.people import User

ROOT = Root(b"r" * 32)
NOW_US = 1_795_392_000_000_000


async def person(database: Database, org: str = "acme") -> tuple[str, User]:
    async with database.begin() as conn:
        made = await admin.create_org(conn, org, now_us=NOW_US, actor="test")
        user = await people.create(
            conn, f"ann@{org}.test", "Ann", "hash", now_us=NOW_US, language="en"
        )
    return made.id, user


async def key_of(database: Database, org_id: str, user: User, now_us: int = NOW_US) -> KeyRow:
    text = await playground.token(database, ROOT, org_id, user, now_us=now_us)
    assert keys.is_wellformed(text)
    digest = keys.digest(text, ROOT.derive(sealing.PEPPER)).hex()
    async with database.read() as conn:
        found = await rows.key_by_digest(conn, digest)
    assert found is not None
    return found[0]


async def test_it_is_the_same_until_it_is_disabled_and_then_another(database: Database) -> None:
    org_id, user = await person(database)
    first = await key_of(database, org_id, user)
    assert first.kind == "playground"
    assert (await key_of(database, org_id, user)).id == first.id
    seen = {first.id}
    for _ in range(3):
        last = await key_of(database, org_id, user)
        async with database.begin() as conn:
            await org_keys.disable(conn, org_id, last.id, now_us=NOW_US, actor="user:usr_2")
        seen.add((await key_of(database, org_id, user)).id)
    assert len(seen) == 4
    other_org, other = await person(database, "other")
    assert (await key_of(database, other_org, other)).id not in seen
    async with database.read() as conn:
        assert {row.id for row in await rows.keys_of(conn, org_id)} == seen


async def test_one_that_was_rolled_before_keys_had_kinds_is_followed(database: Database) -> None:
    org_id, user = await person(database)
    first = await key_of(database, org_id, user)
    async with database.begin() as conn:
        await rows.expire_key(conn, first.id, NOW_US // 1_000_000 + 60)
    assert (await key_of(database, org_id, user)).id == first.id
    later = await key_of(database, org_id, user, NOW_US + 60_000_000)
    assert later.id != first.id
    assert later.expires_at_s is None


async def test_only_its_spend_caps_change(database: Database) -> None:
    org_id, user = await person(database)
    row = await key_of(database, org_id, user)
    wishes = org_keys.wishes_of(row)
    capped = msgspec.structs.replace(wishes, limits=Limits(spend_day_nano=5_000_000_000))
    async with database.begin() as conn:
        changed = await org_keys.change(
            conn, org_id, row.id, capped, now_us=NOW_US, actor="user:usr_2"
        )
    assert changed.limits == Limits(spend_day_nano=5_000_000_000)
    for other in (
        msgspec.structs.replace(wishes, name="mine"),
        msgspec.structs.replace(wishes, limits=Limits(rpm=1)),
        msgspec.structs.replace(wishes, models=("m",)),
        msgspec.structs.replace(wishes, expires_at_s=NOW_US // 1_000_000 + 9),
    ):
        with pytest.raises(Taken):
            async with database.begin() as conn:
                await org_keys.change(
                    conn, org_id, row.id, other, now_us=NOW_US, actor="user:usr_2"
                )
    with pytest.raises(Taken):
        async with database.begin() as conn:
            await org_keys.roll(
                conn, org_id, row.id, b"p" * 32, overlap_s=0, now_us=NOW_US, actor="user:usr_2"
            )
    assert (await key_of(database, org_id, user)).limits == changed.limits
