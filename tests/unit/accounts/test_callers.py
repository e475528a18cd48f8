"""From key to caller: what is asked of SQL, what is refused and why, and how changes arrive."""

import asyncio
import os

import pytest
from sqlalchemy import text

from tests.unit.accounts.clock import HandClock
from tokenmarket.accounts import Accounts, admin, callers, failures, teams
from tokenmarket.accounts.admin import KeyWishes, NewKey
from tokenmarket.accounts.teams import TeamWishes
from tokenmarket.core import keys
from tokenmarket.core.errors import ApiError
from tokenmarket.store import accounts as rows
from tokenmarket.store.accounts import Limits
from tokenmarket.store.database import Database

PEPPER = b"p" * 32
HERE = "203.0.113.7"


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def accounts(database: Database, clock: HandClock) -> Accounts:
    return Accounts(database, PEPPER, clock)


async def made(database: Database, clock: HandClock, wishes: KeyWishes | None = None) -> NewKey:
    async with database.begin() as conn:
        found = await rows.org_by_name(conn, "acme")
        org = found or await admin.create_org(
            conn, "acme", now_us=clock.wall_us(), actor="test", limits=Limits(rpm=600)
        )
        return await admin.create_key(
            conn, org, wishes or KeyWishes(), PEPPER, now_us=clock.wall_us(), actor="test"
        )


async def refused(accounts: Accounts, token: str, address: str | None = HERE) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await accounts.authenticate(token, address)
    assert accounts.lookup(token) is None
    return caught.value


def unknown() -> str:
    return keys.generate("live", os.urandom(32))


async def test_the_first_request_asks_sql_and_no_other(
    database: Database, clock: HandClock, accounts: Accounts
) -> None:
    wishes = KeyWishes(name="laptop", limits=Limits(rpm=5, tpm=0), models=("a", "b"))
    key = await made(database, clock, wishes)
    assert accounts.lookup(key.token) is None
    caller = await accounts.authenticate(key.token, HERE)
    assert (caller.key_id, caller.org_id) == (key.row.id, key.org.id)
    assert (caller.key_name, caller.org_name) == ("laptop", "acme")
    assert caller.key_hint == keys.hint(keys.prefix(key.token), key.token[-4:])
    assert (caller.key_limits.rpm, caller.key_limits.tpm) == (5, 0)
    assert caller.key_limits.concurrency is None
    assert caller.org_limits.rpm == 600
    assert caller.allowed.models == {"a", "b"}
    assert caller.allowed.providers is None
    before = database.operations
    assert accounts.lookup(key.token) is caller
    assert await accounts.authenticate(key.token, HERE) is caller
    assert database.operations == before


async def test_a_burst_with_a_new_key_ends_in_one_caller(
    database: Database, clock: HandClock, accounts: Accounts
) -> None:
    key = await made(database, clock)
    found = await asyncio.gather(*(accounts.authenticate(key.token, HERE) for _ in range(50)))
    assert len({id(caller) for caller in found}) == 1


@pytest.mark.parametrize("token", ["sk-123", "tm_live_", "x" * 46, "'; DROP TABLE api_key; --"])
async def test_garbage_never_reaches_sql(
    database: Database, accounts: Accounts, token: str
) -> None:
    before = database.operations
    error = await refused(accounts, token)
    assert (error.code, error.reason, error.status) == ("AUTH_001", "invalid_key", 401)
    assert token not in error.message
    assert database.operations == before


async def test_a_management_key_is_told_apart(database: Database, accounts: Accounts) -> None:
    before = database.operations
    error = await refused(accounts, keys.generate("adm", b"a" * 32))
    assert (error.code, error.reason) == ("AUTH_001", "management_key")
    assert database.operations == before


async def test_a_missing_key_says_how_to_send_one(accounts: Accounts) -> None:
    error = await refused(accounts, "")
    assert (error.code, error.reason) == ("AUTH_001", "missing_key")
    assert "Authorization: Bearer" in error.message


async def test_an_unknown_key_is_looked_up_once(
    database: Database, clock: HandClock, accounts: Accounts
) -> None:
    token = unknown()
    assert (await refused(accounts, token)).reason == "invalid_key"
    before = database.operations
    for _ in range(10):
        await refused(accounts, token)
    assert database.operations == before
    clock.now_s += callers.UNKNOWN_S + 1
    await refused(accounts, token)
    assert database.operations > before


async def test_the_negative_cache_is_bounded(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callers, "UNKNOWN_MAX", 10)
    monkeypatch.setattr(failures, "ADDRESSES_MAX", 10)
    for number in range(30):
        await refused(accounts, unknown(), f"198.51.100.{number}")
    assert len(accounts._unknown) == 10
    assert len(accounts._failures._counts) == 10


async def test_an_address_that_guesses_is_stopped_and_its_good_keys_are_not(
    database: Database, clock: HandClock, accounts: Accounts
) -> None:
    key = await made(database, clock)
    late = await made(database, clock)
    await accounts.authenticate(key.token, HERE)
    for _ in range(failures.FAILURES_PER_MINUTE):
        assert (await refused(accounts, unknown())).code == "AUTH_001"
    before = database.operations
    error = await refused(accounts, unknown())
    assert (error.code, error.status) == ("QUOTA_001", 429)
    assert error.retry_after_s is not None
    assert 0 < error.retry_after_s <= 60
    assert database.operations == before
    assert accounts.lookup(key.token) is not None
    assert (await refused(accounts, late.token)).code == "QUOTA_001"
    assert (await refused(accounts, unknown(), "203.0.113.8")).code == "AUTH_001"
    clock.now_s += 60
    assert await accounts.authenticate(late.token, HERE)


async def test_one_ipv6_network_counts_as_one_address(accounts: Accounts) -> None:
    for number in range(failures.FAILURES_PER_MINUTE):
        await refused(accounts, unknown(), f"2001:db8::{number:x}")
    assert (await refused(accounts, unknown(), "2001:db8::ffff:1")).code == "QUOTA_001"
    assert (await refused(accounts, unknown(), "2001:db8:0:1::1")).code == "AUTH_001"


async def test_expiry_is_looked_at_on_every_call(
    database: Database, clock: HandClock, accounts: Accounts
) -> None:
    expires_at_s = int(clock.now_s) + 10
    key = await made(database, clock, KeyWishes(expires_at_s=expires_at_s))
    await accounts.authenticate(key.token, HERE)
    clock.now_s = expires_at_s - 0.001
    assert accounts.lookup(key.token) is not None
    clock.now_s = expires_at_s
    assert (await refused(accounts, key.token)).reason == "key_expired"


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("2001:db8::1", True),
        ("2001:db8::1%eth0", True),
        ("11.1.2.3", False),
        ("2001:db9::1", False),
        ("::10.1.2.3", False),
        ("", False),
        ("unix:", False),
        (None, False),
    ],
)
async def test_addresses(
    database: Database, clock: HandClock, accounts: Accounts, address: str | None, allowed: bool
) -> None:
    key = await made(database, clock, KeyWishes(addresses=("10.0.0.0/8", "2001:db8::/64")))
    if allowed:
        await accounts.authenticate(key.token, address)
        assert accounts.lookup(key.token) is None, "lookup does not know the address"
    else:
        error = await refused(accounts, key.token, address)
        assert (error.code, error.reason) == ("AUTH_002", "address_not_allowed")


async def test_changes_arrive_with_the_next_refresh_in_the_same_caller(
    database: Database, clock: HandClock, accounts: Accounts
) -> None:
    key = await made(database, clock)
    await accounts.refresh()
    caller = await accounts.authenticate(key.token, HERE)
    marker = caller.funds = object()
    assert not await accounts.refresh()
    async with database.begin() as conn:
        await conn.execute(text("UPDATE api_key SET rpm = 7, name = 'renamed'"))
        await conn.execute(text("UPDATE organization SET tpm = 9"))
        await rows.bump_generation(conn)
    assert await accounts.refresh()
    assert not await accounts.refresh()
    assert accounts.lookup(key.token) is caller
    assert caller.funds is marker
    assert (caller.key_limits.rpm, caller.key_name, caller.org_limits.tpm) == (7, "renamed", 9)


async def test_a_disabled_key_stops_with_the_next_refresh(
    database: Database, clock: HandClock, accounts: Accounts
) -> None:
    key = await made(database, clock)
    await accounts.authenticate(key.token, HERE)
    async with database.begin() as conn:
        await admin.disable_key(conn, key.row.id, now_us=clock.wall_us(), actor="test")
    assert await accounts.refresh()
    before = database.operations
    assert (await refused(accounts, key.token)).reason == "key_disabled"
    assert database.operations == before


async def test_a_disabled_organisation_and_a_deleted_key(
    database: Database, clock: HandClock, accounts: Accounts
) -> None:
    one, two = await made(database, clock), await made(database, clock)
    for key in (one, two):
        await accounts.authenticate(key.token, HERE)
    async with database.begin() as conn:
        await conn.execute(text("UPDATE organization SET disabled_at_s = 1"))
        await conn.execute(text("DELETE FROM api_key WHERE id = :id"), {"id": two.row.id})
        await rows.bump_generation(conn)
    await accounts.refresh()
    assert (await refused(accounts, one.token)).reason == "organization_disabled"
    assert (await refused(accounts, two.token)).reason == "key_disabled"


async def test_rotation_lets_both_keys_work_until_the_overlap_ends(
    database: Database, clock: HandClock, accounts: Accounts
) -> None:
    old = await made(database, clock, KeyWishes(name="ci", models=("a",)))
    await accounts.authenticate(old.token, HERE)
    async with database.begin() as conn:
        new = await admin.rotate_key(
            conn, old.row.id, PEPPER, overlap_s=60, now_us=clock.wall_us(), actor="test"
        )
    await accounts.refresh()
    caller = await accounts.authenticate(new.token, HERE)
    assert (caller.key_name, caller.allowed.models) == ("ci", {"a"})
    assert accounts.lookup(old.token) is not None
    clock.now_s += 60
    assert (await refused(accounts, old.token)).reason == "key_expired"
    assert accounts.lookup(new.token) is caller


async def test_a_new_key_works_although_it_was_tried_before_it_was_there(
    database: Database, clock: HandClock, accounts: Accounts
) -> None:
    token = unknown()
    await refused(accounts, token)
    key = await made(database, clock)
    async with database.begin() as conn:
        digest = keys.digest(token, PEPPER).hex()
        await conn.execute(text("UPDATE api_key SET digest = :digest"), {"digest": digest})
    await accounts.refresh()
    assert (await accounts.authenticate(token, HERE)).key_id == key.row.id


async def test_a_change_that_overtakes_a_look_up_is_not_lost(
    database: Database, clock: HandClock, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row is read, then disabled and refreshed, and only then does the look-up go on."""
    key = await made(database, clock)
    await accounts.refresh()
    real = rows.key_by_digest

    async def slow(conn: object, digest: str) -> object:
        found = await real(conn, digest)
        async with database.begin() as other:
            await admin.disable_key(other, key.row.id, now_us=clock.wall_us(), actor="test")
        await accounts.refresh()
        return found

    monkeypatch.setattr(rows, "key_by_digest", slow)
    await accounts.authenticate(key.token, HERE)
    await accounts.refresh()
    assert (await refused(accounts, key.token)).reason == "key_disabled"


async def test_the_day_of_use_is_noted_once_a_day(
    database: Database, clock: HandClock, accounts: Accounts
) -> None:
    used, idle = await made(database, clock), await made(database, clock)
    await accounts.authenticate(used.token, HERE)

    async def days() -> dict[str, int | None]:
        await accounts.refresh()
        async with database.read() as conn:
            return {row.id: row.last_used_day for row in await rows.keys_of(conn)}

    assert (await days())[used.row.id] is None, "not before the sweep is due"
    clock.now_s += callers.USE_SWEEP_S
    today = int(clock.now_s // 86_400)
    assert await days() == {used.row.id: today, idle.row.id: None}
    clock.now_s += 86_400
    assert (await days())[used.row.id] == today, "cached but not used"
    assert accounts.lookup(used.token) is not None
    clock.now_s += callers.USE_SWEEP_S
    assert (await days())[used.row.id] == today + 1


async def test_a_key_of_another_pepper_is_unknown(database: Database, clock: HandClock) -> None:
    key = await made(database, clock)
    other = Accounts(database, b"q" * 32, clock)
    assert (await refused(other, key.token)).reason == "invalid_key"


@pytest.mark.parametrize(
    ("of_key", "of_team", "both"),
    [
        (None, None, None),
        (("a", "b"), None, {"a", "b"}),
        (None, ("b", "c"), {"b", "c"}),
        (("a", "b"), ("b", "c"), {"b"}),
        (("a",), ("c",), set()),
    ],
)
async def test_a_teams_models_and_the_keys_must_both_allow(
    database: Database,
    clock: HandClock,
    accounts: Accounts,
    of_key: tuple[str, ...] | None,
    of_team: tuple[str, ...] | None,
    both: set[str] | None,
) -> None:
    first = await made(database, clock)
    note = {"now_us": clock.wall_us(), "by": "test"}
    team = await teams.create(database, first.org.id, TeamWishes("Search", models=of_team), **note)
    key = await made(database, clock, KeyWishes(team_id=team.id, models=of_key))
    caller = await accounts.authenticate(key.token, HERE)
    assert caller.allowed.models == (None if both is None else frozenset(both))
    await teams.change(
        database, first.org.id, team.id, TeamWishes("Search", models=("a", "z")), **note
    )
    assert await accounts.refresh()
    expected = {"a", "z"} if of_key is None else {"a", "z"} & set(of_key)
    assert caller.allowed.models == frozenset(expected)
