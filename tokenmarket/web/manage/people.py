"""Management endpoints for an organization's members and invitations.

The same domain functions as the pages: nobody gives or takes a role above their key's own, and the
last owner stays.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tokenmarket.accounts import members
from tokenmarket.accounts.admin import NotThere
from tokenmarket.accounts.members import By
from tokenmarket.store import accounts as rows
from tokenmarket.store.members import InvitationRow, Member
from tokenmarket.web.manage.endpoint import Call, Deleted, Endpoint, Listing, page

Role = Literal["owner", "admin", "billing", "developer", "viewer"]


class OrgMember(msgspec.Struct, kw_only=True):
    """One person's place in the organization."""

    object: Literal["member"] = "member"
    id: str
    email: str
    name: str
    role: str
    two_factor: bool
    joined_at: int


class RoleChange(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The role that a member shall have."""

    role: Role


class OrgInvitation(msgspec.Struct, kw_only=True):
    """An invitation that can still be accepted."""

    object: Literal["invitation"] = "invitation"
    id: str
    email: str
    role: str
    invited_by: str
    created_at: int
    expires_at: int


class NewInvitation(OrgInvitation, kw_only=True):
    """An invitation that was just made; ``url`` is shown this once. ``mailed``: it was sent too."""

    url: str
    mailed: bool


class InvitationWishes(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Who is invited, and as what. ``language`` is that of the letter."""

    email: Annotated[str, msgspec.Meta(max_length=254)]
    role: Role
    language: Literal["en", "zh"] = "en"


async def listing(call: Call) -> Listing[OrgMember]:
    found = await members.of_org(call.parts.database, call.org_id)
    later = [one for one in found if not call.cursor or _place(one) > call.cursor]
    shown = page(later, call.limit, _place)
    return Listing(data=[_member(one) for one in shown.data], next_cursor=shown.next_cursor)


async def change(call: Call) -> OrgMember:
    wishes: RoleChange = call.body
    await members.change_role(
        call.parts.database,
        call.org_id,
        call.params["id"],
        wishes.role,
        by=_by(call),
        now_us=call.now_us,
    )
    for one in await members.of_org(call.parts.database, call.org_id):
        if one.user.id == call.params["id"]:
            return _member(one)
    raise NotThere("There is no such member.")


async def remove(call: Call) -> Deleted:
    user_id = call.params["id"]
    await members.remove(
        call.parts.database, call.org_id, user_id, by=_by(call), now_us=call.now_us
    )
    return Deleted(id=user_id)


async def invitations(call: Call) -> Listing[OrgInvitation]:
    found = await members.invitations(call.parts.database, call.org_id, now_us=call.now_us)
    older = [row for row in found if not call.cursor or row.id < call.cursor]
    shown = page(older, call.limit, lambda row: row.id)
    return Listing(data=[_invitation(row) for row in shown.data], next_cursor=shown.next_cursor)


async def invite(call: Call) -> NewInvitation:
    wishes: InvitationWishes = call.body
    async with call.parts.database.read() as conn:
        org = await rows.org_by_id(conn, call.org_id)
    if org is None:
        raise NotThere("There is no such organization.")
    made = await call.parts.identity.invite(
        org,
        email=wishes.email,
        role=wishes.role,
        by=_by(call),
        inviter=call.key.name,
        language=wishes.language,
    )
    shown = msgspec.structs.asdict(_invitation(made.row))
    return NewInvitation(**shown, url=made.link, mailed=made.mailed)


async def revoke(call: Call) -> Deleted:
    await members.revoke(
        call.parts.database, call.org_id, call.params["id"], by=_by(call), now_us=call.now_us
    )
    return Deleted(id=call.params["id"])


def _by(call: Call) -> By:
    return By(call.actor, call.role)


def _place(one: Member) -> str:
    """Where the member stands in the list: by time, then by id."""
    return f"{one.created_us:016d}.{one.user.id}"


def _member(one: Member) -> OrgMember:
    return OrgMember(
        id=one.user.id,
        email=one.user.email,
        name=one.user.name,
        role=one.role,
        two_factor=one.user.has_totp,
        joined_at=one.created_us // 1_000_000,
    )


def _invitation(row: InvitationRow) -> OrgInvitation:
    return OrgInvitation(
        id=row.id,
        email=row.email,
        role=row.role,
        invited_by=row.invited_by,
        created_at=row.created_us // 1_000_000,
        expires_at=row.expires_at_s,
    )


_TAG = "Members"
ENDPOINTS = [
    Endpoint(
        "GET",
        "/members",
        "members",
        listing,
        None,
        Listing[OrgMember],
        "Members, who came first at the front.",
        _TAG,
    ),
    Endpoint(
        "PATCH",
        "/members/{id}",
        "members",
        change,
        RoleChange,
        OrgMember,
        "Give a member another role.",
        _TAG,
    ),
    Endpoint("DELETE", "/members/{id}", "members", remove, None, Deleted, "Remove a member.", _TAG),
    Endpoint(
        "GET",
        "/invitations",
        "members",
        invitations,
        None,
        Listing[OrgInvitation],
        "Open invitations, newest first.",
        _TAG,
    ),
    Endpoint(
        "POST",
        "/invitations",
        "members",
        invite,
        InvitationWishes,
        NewInvitation,
        "Invite somebody; the answer has the link.",
        _TAG,
    ),
    Endpoint(
        "DELETE",
        "/invitations/{id}",
        "members",
        revoke,
        None,
        Deleted,
        "Revoke an invitation.",
        _TAG,
    ),
]
