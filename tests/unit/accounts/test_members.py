"""Organisations of people: invitations, roles, the last owner, teams, and what others see."""

import pytest

from tests.support.people import NOW_US, make_person
from tests.unit.accounts.clock import HandClock
from tokenmarket.accounts import admin, members, people, teams
from tokenmarket.accounts.admin import KeyWishes, NotThere, Refused, Taken
from tokenmarket.accounts.links import INVITATION_S, Links
from tokenmarket.accounts.members import By
from tokenmarket.accounts.teams import TeamWishes
from tokenmarket.core.roles import ROLES
from tokenmarket.store import accounts as rows
from tokenmarket.store.accounts import OrgRow
from tokenmarket.store.database import Database
from tokenmarket.store.people import User

OWNER = By("user:usr_owner", "owner")
ADMIN = By("user:usr_admin", "admin")


def make_links(database: Database) -> Links:
    return Links(database, HandClock(), b"l" * 32)


async def make_org(database: Database, name: str = "Acme") -> tuple[User, OrgRow]:
    owner = await make_person(database, f"{name.lower()}@example.com", name=name)
    return owner, await members.create_org(database, owner, name, now_us=NOW_US)


async def join(database: Database, org: OrgRow, email: str, role: str) -> User:
    links = make_links(database)
    user = await make_person(database, email)
    token, _ = await members.invite(
        database, links, org.id, email=email, role=role, by=OWNER, now_us=NOW_US
    )
    found = await members.find_invitation(database, links, token, now_us=NOW_US)
    assert found is not None
    async with database.begin() as conn:
        await members.accept(conn, found, user, now_us=NOW_US)
    return user


async def test_who_makes_an_organisation_owns_it(database: Database) -> None:
    owner, org = await make_org(database)
    [mine] = await members.of_user(database, owner.id)
    assert (mine.org_id, mine.org_name, mine.role) == (org.id, "Acme", "owner")
    assert await members.membership(database, org.id, "usr_stranger") is None
    with pytest.raises(Taken):
        await members.create_org(database, owner, "Acme", now_us=NOW_US)
    with pytest.raises(Refused):
        await members.create_org(database, owner, " \n", now_us=NOW_US)


async def test_the_first_organisation_gets_a_name_that_is_free(database: Database) -> None:
    names: list[str] = []
    for number in range(3):
        user = await make_person(database, f"ann{number}@example.com")
        async with database.begin() as conn:
            org = await members.create_first_org(conn, user, now_us=NOW_US)
        names.append(org.name)
    assert names == ["Ann", "Ann 2", "Ann 3"]


async def test_an_invitation_is_for_one_address_and_one_use(database: Database) -> None:
    _, org = await make_org(database)
    links = make_links(database)
    wishes = {"email": "Bob@example.com", "role": "developer", "by": ADMIN, "now_us": NOW_US}
    first, _ = await members.invite(database, links, org.id, **wishes)
    token, row = await members.invite(database, links, org.id, **wishes)
    assert await members.find_invitation(database, links, first, now_us=NOW_US) is None
    assert [r.id for r in await members.invitations(database, org.id, now_us=NOW_US)] == [row.id]
    found = await members.find_invitation(database, links, token, now_us=NOW_US)
    assert found is not None
    assert (found.org_name, found.row.role) == ("Acme", "developer")

    mallory = await make_person(database, "mallory@example.com")
    bob = await make_person(database, "bob@example.com")
    with pytest.raises(Refused):
        async with database.begin() as conn:
            await members.accept(conn, found, mallory, now_us=NOW_US)
    async with database.begin() as conn:
        await members.accept(conn, found, bob, now_us=NOW_US)
    with pytest.raises(NotThere):
        async with database.begin() as conn:
            await members.accept(conn, found, bob, now_us=NOW_US)
    assert await members.find_invitation(database, links, token, now_us=NOW_US) is None
    assert await members.invitations(database, org.id, now_us=NOW_US) == []
    with pytest.raises(Taken):
        await members.invite(database, links, org.id, **wishes)


async def test_an_invitation_can_be_revoked_and_expires(database: Database) -> None:
    _, org = await make_org(database)
    _, other = await make_org(database, "Other")
    links = make_links(database)
    wishes = {"email": "bob@example.com", "role": "viewer", "by": ADMIN}
    token, row = await members.invite(database, links, org.id, now_us=NOW_US, **wishes)
    with pytest.raises(NotThere):
        await members.revoke(database, other.id, row.id, by=ADMIN, now_us=NOW_US)
    await members.revoke(database, org.id, row.id, by=ADMIN, now_us=NOW_US)
    with pytest.raises(NotThere):
        await members.revoke(database, org.id, row.id, by=ADMIN, now_us=NOW_US)
    assert await members.find_invitation(database, links, token, now_us=NOW_US) is None
    late_us = NOW_US + INVITATION_S * 1_000_000
    token, _ = await members.invite(database, links, org.id, now_us=NOW_US, **wishes)
    assert await members.find_invitation(database, links, token, now_us=late_us) is None
    for wrong in ("", "x", "y" * 5000):
        assert await members.find_invitation(database, links, wrong, now_us=NOW_US) is None


@pytest.mark.parametrize("role", ROLES)
async def test_who_may_give_which_role(database: Database, role: str) -> None:
    _, org = await make_org(database)
    links = make_links(database)
    wishes = {"email": "bob@example.com", "now_us": NOW_US}
    for giver in ("billing", "developer", "viewer"):
        by = By("user:usr_x", giver)
        with pytest.raises(Refused):
            await members.invite(database, links, org.id, role=role, by=by, **wishes)
    if role == "owner":
        with pytest.raises(Refused):
            await members.invite(database, links, org.id, role=role, by=ADMIN, **wishes)
    for wrong in ("root", "", "Owner"):
        with pytest.raises(Refused):
            await members.invite(database, links, org.id, role=wrong, by=OWNER, **wishes)
    await members.invite(database, links, org.id, role=role, by=OWNER, **wishes)


async def test_an_admin_cannot_touch_an_owner_and_the_last_owner_stays(database: Database) -> None:
    owner, org = await make_org(database)
    bob = await join(database, org, "bob@example.com", "viewer")
    change = {"by": ADMIN, "now_us": NOW_US}
    with pytest.raises(Refused):
        await members.change_role(database, org.id, owner.id, "viewer", **change)
    with pytest.raises(Refused):
        await members.remove(database, org.id, owner.id, **change)
    with pytest.raises(Refused):
        await members.change_role(database, org.id, bob.id, "owner", **change)
    himself = By(people.actor(owner.id), "owner")
    with pytest.raises(Taken):
        await members.change_role(database, org.id, owner.id, "admin", by=himself, now_us=NOW_US)
    with pytest.raises(Taken):
        await members.remove(database, org.id, owner.id, by=himself, now_us=NOW_US)
    await members.change_role(database, org.id, bob.id, "owner", by=OWNER, now_us=NOW_US)
    await members.remove(database, org.id, owner.id, by=himself, now_us=NOW_US)
    assert [m.user.id for m in await members.of_org(database, org.id)] == [bob.id]


async def test_everybody_may_leave_but_not_remove(database: Database) -> None:
    _, org = await make_org(database)
    bob = await join(database, org, "bob@example.com", "viewer")
    eve = await join(database, org, "eve@example.com", "viewer")
    as_bob = By(people.actor(bob.id), "viewer")
    with pytest.raises(Refused):
        await members.remove(database, org.id, eve.id, by=as_bob, now_us=NOW_US)
    await members.remove(database, org.id, bob.id, by=as_bob, now_us=NOW_US)
    with pytest.raises(NotThere):
        await members.remove(database, org.id, bob.id, by=as_bob, now_us=NOW_US)


async def test_teams_are_of_one_organisation(database: Database) -> None:
    owner, org = await make_org(database)
    stranger, other = await make_org(database, "Other")
    wishes = TeamWishes("Search", spend_month_nano=5_000_000_000, models=("a", "b", "a"))
    made = await teams.create(database, org.id, wishes, now_us=NOW_US, by="test")
    assert made.models == ("a", "b")
    with pytest.raises(Taken):
        await teams.create(database, org.id, wishes, now_us=NOW_US, by="test")
    await teams.create(database, other.id, wishes, now_us=NOW_US, by="test")
    for wrong in (
        TeamWishes(""), TeamWishes("x", models=()), TeamWishes("x", spend_day_nano=-1),
        TeamWishes("x", models=("a\nb",)),
    ):  # fmt: skip
        with pytest.raises(Refused):
            await teams.create(database, org.id, wrong, now_us=NOW_US, by="test")
    note = {"now_us": NOW_US, "by": "test"}
    with pytest.raises(NotThere):
        await teams.change(database, other.id, made.id, wishes, **note)
    with pytest.raises(NotThere):
        await teams.add_person(database, org.id, made.id, stranger.id, **note)
    with pytest.raises(NotThere):
        await teams.add_person(database, other.id, made.id, stranger.id, **note)
    await teams.add_person(database, org.id, made.id, owner.id, **note)
    await teams.add_person(database, org.id, made.id, owner.id, **note)
    changed = await teams.change(database, org.id, made.id, TeamWishes("Find"), **note)
    assert (changed.name, changed.models, changed.spend_month_nano) == ("Find", None, None)
    view = await teams.find(database, org.id, made.id)
    assert (view.row, view.people, view.keys) == (changed, (owner.id,), 0)
    with pytest.raises(NotThere):
        await teams.find(database, other.id, made.id)
    await teams.remove_person(database, org.id, made.id, owner.id, **note)
    assert (await teams.find(database, org.id, made.id)).people == ()


async def test_who_leaves_the_organisation_leaves_its_teams(database: Database) -> None:
    _, org = await make_org(database)
    bob = await join(database, org, "bob@example.com", "viewer")
    note = {"now_us": NOW_US, "by": "test"}
    made = await teams.create(database, org.id, TeamWishes("Search"), **note)
    await teams.add_person(database, org.id, made.id, bob.id, **note)
    await members.remove(database, org.id, bob.id, by=OWNER, now_us=NOW_US)
    assert (await teams.find(database, org.id, made.id)).people == ()


async def test_a_key_joins_a_team_of_its_own_organisation_for_good(database: Database) -> None:
    _, org = await make_org(database)
    _, other = await make_org(database, "Other")
    note = {"now_us": NOW_US, "by": "test"}
    mine = await teams.create(database, org.id, TeamWishes("Search"), **note)
    theirs = await teams.create(database, other.id, TeamWishes("Search"), **note)
    made = {"now_us": NOW_US, "actor": "user:usr_1"}
    async with database.begin() as conn:
        with pytest.raises(NotThere):
            await admin.create_key(conn, org, KeyWishes(team_id=theirs.id), b"p" * 32, **made)
        key = await admin.create_key(conn, org, KeyWishes(team_id=mine.id), b"p" * 32, **made)
        rotated = await admin.rotate_key(
            conn, key.row.id, b"p" * 32, overlap_s=60, now_us=NOW_US, actor="user:usr_2"
        )
    assert (key.row.team_id, key.row.created_by) == (mine.id, "user:usr_1")
    assert (rotated.row.team_id, rotated.row.created_by) == (mine.id, "user:usr_1")
    assert (await teams.find(database, org.id, mine.id)).keys == 2
    with pytest.raises(Taken):
        await teams.remove(database, org.id, mine.id, **note)
    await teams.remove(database, other.id, theirs.id, **note)
    assert await teams.of_org(database, other.id) == []


async def test_every_line_of_the_audit_trail_knows_its_organisation(database: Database) -> None:
    _, org = await make_org(database)
    await join(database, org, "bob@example.com", "viewer")
    async with database.read() as conn:
        assert await rows.broken_audit(conn) is None
    async with database.begin() as conn:
        from sqlalchemy import text

        actions = await conn.execute(
            text("SELECT action FROM audit_event WHERE org_id = :org"), {"org": org.id}
        )
        assert list(actions.scalars()) == [
            "org.create", "member.join", "member.invite", "member.join",
        ]  # fmt: skip
        await conn.execute(text("UPDATE audit_event SET org_id = NULL WHERE action = 'org.create'"))
    async with database.read() as conn:
        assert await rows.broken_audit(conn) == 2
