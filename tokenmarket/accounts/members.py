"""Who belongs to an organisation: invited by link, accepted, given another role, removed.

Rules that hold whoever asks: nobody gives or takes a role wider than their own, and the last owner
who can sign in stays. API keys belong to the organisation and outlive the member who made them.
An invitation is for one e-mail address, but its link may be passed on by hand: without a mail
server the inviter does just that.
"""

from __future__ import annotations

import os
import secrets

import msgspec

from tokenmarket.accounts import admin, people
from tokenmarket.accounts.admin import NotThere, Refused, Taken
from tokenmarket.accounts.links import INVITATION_S, TOKEN_CHARS_MAX, Links
from tokenmarket.core import ids
from tokenmarket.core.roles import ROLES, covers, given_by
from tokenmarket.core.texts import N_
from tokenmarket.store import accounts as rows
from tokenmarket.store import members as member_rows
from tokenmarket.store.accounts import OrgRow
from tokenmarket.store.database import Connection, Database
from tokenmarket.store.members import InvitationRow, Member, Membership
from tokenmarket.store.people import User

__all__ = ["InvitationRow", "Member", "Membership"]

ORGS_OF_ONE_PERSON_MAX = 50
INVITATIONS_MAX = 200  # open ones of one organisation
_NAME_TRIES = 50


class By(msgspec.Struct, frozen=True):
    """Who acts: the actor for the audit trail, and the role (an operator acts as an owner)."""

    actor: str
    role: str


class Invitation(msgspec.Struct, frozen=True):
    """What who opens the link is shown."""

    row: InvitationRow
    org_name: str


async def of_user(database: Database, user_id: str) -> list[Membership]:
    """All organisations of a person, the oldest membership first."""
    async with database.read() as conn:
        return await member_rows.memberships_of(conn, user_id)


async def membership(database: Database, org_id: str, user_id: str) -> Membership | None:
    """The person's place in this organisation, or None."""
    async with database.read() as conn:
        return await member_rows.membership_of(conn, org_id, user_id)


async def of_org(database: Database, org_id: str) -> list[Member]:
    async with database.read() as conn:
        return await member_rows.members_of(conn, org_id)


async def create_org(database: Database, user: User, name: str, *, now_us: int) -> OrgRow:
    """A new organisation whose owner is ``user``. Raises Refused, Taken."""
    if len(await of_user(database, user.id)) >= ORGS_OF_ONE_PERSON_MAX:
        raise Refused(N_("One person belongs to at most 50 organizations."))
    checked = people.checked_person_name(name)
    async with database.begin() as conn:
        return await _create_org(conn, user.id, checked, now_us)


async def create_first_org(conn: Connection, user: User, *, now_us: int) -> OrgRow:
    """The organisation that comes with a new account, named after the person; a name that is taken
    gets a number."""
    base = user.name[: admin.NAME_CHARS_MAX - 4].strip()
    for number in range(1, _NAME_TRIES):
        name = base if number == 1 else f"{base} {number}"
        if await rows.org_by_name(conn, name) is None:
            return await _create_org(conn, user.id, name, now_us)
    return await _create_org(conn, user.id, f"{base[:80]} {user.id[-10:]}", now_us)


async def add_owner(conn: Connection, org_id: str, user_id: str, *, now_us: int, by: str) -> None:
    """The first operator becomes owner of what the first start made; twice changes nothing."""
    if await member_rows.insert_membership(conn, org_id, user_id, "owner", now_us):
        await rows.append_audit(
            conn, now_us, by, "member.join", user_id, {"role": "owner"}, org_id=org_id
        )


async def invite(
    database: Database, links: Links, org_id: str, *, email: str, role: str, by: By, now_us: int
) -> tuple[str, InvitationRow]:
    """(token of the link, the invitation); an earlier one to the same address is over.

    Raises Refused, or Taken for who is a member already.
    """
    _check_giving(by, role)
    token = secrets.token_urlsafe(32)
    row = InvitationRow(
        id=ids.new_id("inv", now_us, os.urandom(ids.RANDOM_BYTES)),
        org_id=org_id,
        email=people.checked_email(email),
        role=role,
        digest=links.digest(token),
        invited_by=by.actor,
        created_us=now_us,
        expires_at_s=now_us // 1_000_000 + INVITATION_S,
        accepted_us=None,
        accepted_by=None,
        revoked_us=None,
    )
    async with database.begin() as conn:
        if any(m.user.email == row.email for m in await member_rows.members_of(conn, org_id)):
            raise Taken(N_("This person is a member already."))
        before = await member_rows.open_invitations(conn, org_id, now_us // 1_000_000)
        if len(before) >= INVITATIONS_MAX:
            raise Refused(N_("There are 200 open invitations; revoke some of them first."))
        for old in before:
            if old.email == row.email:
                await member_rows.end_invitation(conn, old.id, now_us=now_us, accepted_by=None)
        await member_rows.insert_invitation(conn, row)
        detail: dict[str, object] = {"role": role}
        await rows.append_audit(
            conn, now_us, by.actor, "member.invite", row.id, detail, org_id=org_id
        )
    return token, row


async def invitations(database: Database, org_id: str, *, now_us: int) -> list[InvitationRow]:
    """Those that can still be accepted, newest first."""
    async with database.read() as conn:
        return await member_rows.open_invitations(conn, org_id, now_us // 1_000_000)


async def revoke(
    database: Database, org_id: str, invitation_id: str, *, by: By, now_us: int
) -> None:
    """Raises NotThere for one that is over."""
    async with database.begin() as conn:
        row = await member_rows.invitation_by_id(conn, org_id, invitation_id)
        if row is None or not await member_rows.end_invitation(
            conn, row.id, now_us=now_us, accepted_by=None
        ):
            raise NotThere(N_("There is no such open invitation."))
        await rows.append_audit(
            conn, now_us, by.actor, "member.invite_revoke", row.id, {}, org_id=org_id
        )


async def find_invitation(
    database: Database, links: Links, token: str, *, now_us: int
) -> Invitation | None:
    """What the link stands for, if it can still be accepted; takes any text."""
    if not 0 < len(token) <= TOKEN_CHARS_MAX:
        return None
    async with database.read() as conn:
        row = await member_rows.invitation_by_digest(conn, links.digest(token))
        org = None if row is None else await rows.org_by_id(conn, row.org_id)
    if row is None or org is None or org.disabled_at_s is not None:
        return None
    over = row.accepted_us is not None or row.revoked_us is not None
    if over or now_us >= row.expires_at_s * 1_000_000:
        return None
    return Invitation(row, org.name)


async def accept(conn: Connection, invitation: Invitation, user: User, *, now_us: int) -> None:
    """``user`` becomes a member. Raises Refused for another address, NotThere if it is over.

    Who is a member already keeps the role.
    """
    row = invitation.row
    if user.email != row.email:
        raise Refused(N_("This invitation is for another e-mail address."))
    if not await member_rows.end_invitation(conn, row.id, now_us=now_us, accepted_by=user.id):
        raise NotThere(N_("There is no such open invitation."))
    if await member_rows.insert_membership(conn, row.org_id, user.id, row.role, now_us):
        detail: dict[str, object] = {"role": row.role, "invitation": row.id}
        by = people.actor(user.id)
        await rows.append_audit(conn, now_us, by, "member.join", user.id, detail, org_id=row.org_id)


async def change_role(
    database: Database, org_id: str, user_id: str, role: str, *, by: By, now_us: int
) -> None:
    """Raises NotThere, Refused, or Taken for the last owner."""
    _check_giving(by, role)
    async with database.begin() as conn:
        old = await _member(conn, org_id, user_id)
        if not covers(by.role, old.role):
            raise Refused(N_("Only an owner can change another owner."))
        if old.role == role:
            return
        await _check_last_owner(conn, old)
        await member_rows.change_role(conn, org_id, user_id, role)
        detail: dict[str, object] = {"from": old.role, "to": role}
        await rows.append_audit(
            conn, now_us, by.actor, "member.role", user_id, detail, org_id=org_id
        )


async def remove(database: Database, org_id: str, user_id: str, *, by: By, now_us: int) -> None:
    """Out of the organisation and its teams; everybody may leave. Raises NotThere, Refused, or
    Taken for the last owner."""
    async with database.begin() as conn:
        old = await _member(conn, org_id, user_id)
        leaves = by.actor == people.actor(user_id)
        if not leaves and (not given_by(by.role) or not covers(by.role, old.role)):
            raise Refused(N_("Only an owner can change another owner."))
        await _check_last_owner(conn, old)
        await member_rows.delete_membership(conn, org_id, user_id)
        action = "member.leave" if leaves else "member.remove"
        detail: dict[str, object] = {"role": old.role}
        await rows.append_audit(conn, now_us, by.actor, action, user_id, detail, org_id=org_id)


def _check_giving(by: By, role: str) -> None:
    if role not in ROLES:
        raise Refused(N_("Choose one of the roles offered."))
    if role not in given_by(by.role):
        raise Refused(N_("Nobody can give a role above their own."))


async def _member(conn: Connection, org_id: str, user_id: str) -> Membership:
    found = await member_rows.membership_of(conn, org_id, user_id)
    if found is None:
        raise NotThere(N_("There is no such member."))
    return found


async def _check_last_owner(conn: Connection, old: Membership) -> None:
    if old.role == "owner" and await member_rows.count_owners(conn, old.org_id) <= 1:
        raise Taken(N_("The last owner stays: make somebody else an owner first."))


async def _create_org(conn: Connection, user_id: str, name: str, now_us: int) -> OrgRow:
    by = people.actor(user_id)
    try:
        org = await admin.create_org(conn, name, now_us=now_us, actor=by)
    except Taken as error:
        raise Taken(N_("There is an organization with this name already.")) from error
    await add_owner(conn, org.id, user_id, now_us=now_us, by=by)
    return org
