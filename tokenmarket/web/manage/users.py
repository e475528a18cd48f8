"""Management endpoints of the operator about people: find, suspend, make an operator."""

from __future__ import annotations

from typing import Literal

import msgspec

from tokenmarket.accounts import members
from tokenmarket.backoffice import users
from tokenmarket.store import people as people_rows
from tokenmarket.store.people import User
from tokenmarket.web.manage.endpoint import OPERATOR, Call, Endpoint, Listing, page

_TAG = "customers"


class UserMembership(msgspec.Struct, kw_only=True):
    """An organization that a person belongs to, and as what."""

    organization: str
    name: str
    role: str


class UserObject(msgspec.Struct, kw_only=True):
    """A person who can sign in. ``memberships`` and ``sessions`` (how many are open) are null in
    lists."""

    object: Literal["user"] = "user"
    id: str
    email: str
    name: str
    operator: bool
    two_factor: bool
    email_verified: bool
    suspended_at: int | None
    created_at: int
    memberships: list[UserMembership] | None = None
    sessions: int | None = None


class UserChanges(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What shall be different of a person; what is left out stays. Either change ends all
    sessions."""

    operator: bool | msgspec.UnsetType = msgspec.UNSET
    suspended: bool | msgspec.UnsetType = msgspec.UNSET


async def list_users(call: Call) -> Listing[UserObject]:
    prefix = call.query.get("email", "").strip().lower()
    async with call.parts.database.read() as conn:
        found = await people_rows.people(
            conn, prefix=prefix, after=call.cursor, limit=call.limit + 1
        )
    return page([_user(user) for user in found], call.limit, lambda one: one.email)


async def show_user(call: Call) -> UserObject:
    return await _whole(call)


async def change_user(call: Call) -> UserObject:
    body: UserChanges = call.body
    parts, user_id = call.parts, call.params["user"]
    await users.find(parts.database, user_id)
    if body.operator is not msgspec.UNSET:
        await users.set_operator(
            parts.database,
            parts.sessions,
            user_id,
            body.operator,
            now_us=call.now_us,
            by=call.actor,
        )
    if body.suspended is not msgspec.UNSET:
        await users.set_suspended(
            parts.database,
            parts.sessions,
            user_id,
            body.suspended,
            now_us=call.now_us,
            by=call.actor,
        )
    return await _whole(call)


async def _whole(call: Call) -> UserObject:
    """Raises NotThere."""
    parts = call.parts
    user = await users.find(parts.database, call.params["user"])
    places = await members.of_user(parts.database, user.id)
    return msgspec.structs.replace(
        _user(user),
        memberships=[
            UserMembership(organization=one.org_id, name=one.org_name, role=one.role)
            for one in places
        ],
        sessions=len(await parts.sessions.of_user(user.id)),
    )


def _user(user: User) -> UserObject:
    return UserObject(
        id=user.id,
        email=user.email,
        name=user.name,
        operator=user.operator,
        two_factor=user.has_totp,
        email_verified=user.email_verified_us is not None,
        suspended_at=user.disabled_at_s,
        created_at=user.created_us // 1_000_000,
    )


_ONE = "/admin/users/{user}"
ENDPOINTS = [
    Endpoint(
        "GET",
        "/admin/users",
        OPERATOR,
        list_users,
        None,
        Listing[UserObject],
        "All people, by e-mail address.",
        _TAG,
        query=(("email", "The beginning of the address."),),
    ),
    Endpoint("GET", _ONE, OPERATOR, show_user, None, UserObject, "One person.", _TAG),
    Endpoint(
        "PATCH",
        _ONE,
        OPERATOR,
        change_user,
        UserChanges,
        UserObject,
        "Suspends a person or lets them in again; makes an operator or not any more.",
        _TAG,
    ),
]
