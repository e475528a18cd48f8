"""Management endpoints about management keys themselves: who am I, make, list, disable."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tokenmarket.accounts import manage_keys
from tokenmarket.accounts.manage_keys import OPERATOR as OPERATOR_ROLE
from tokenmarket.core import sealing
from tokenmarket.core.keys import hint
from tokenmarket.core.roles import PERMISSIONS, may
from tokenmarket.store import accounts as rows
from tokenmarket.store import manage_keys as key_rows
from tokenmarket.store.manage_keys import ManageKeyRow
from tokenmarket.web.manage.endpoint import ANY, OPERATOR, Call, Endpoint, Listing, page


class ManagementKey(msgspec.Struct, kw_only=True):
    """A management key, without the key itself."""

    object: Literal["management_key"] = "management_key"
    id: str
    name: str
    hint: str
    role: str
    organization_id: str | None
    maker: str
    created_at: int
    expires_at: int | None
    disabled_at: int | None
    last_used_at: int | None


class NewManagementKey(ManagementKey, kw_only=True):
    """A management key that was just made; ``key`` is shown this once."""

    key: str


class CurrentKey(ManagementKey, kw_only=True):
    """The management key that asks, and what it may do."""

    organization: str | None
    permissions: list[str]


class ManagementKeyWishes(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a new management key shall be. Its role has no right that the asking key lacks."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    role: str
    expires_at: int | None = None


def shown(row: ManageKeyRow) -> dict[str, object]:
    """The fields that all three answers have."""
    return {
        "id": row.id,
        "name": row.name,
        "hint": hint(row.prefix, row.last4),
        "role": row.role,
        "organization_id": row.org_id or None,
        "maker": row.maker,
        "created_at": row.created_us // 1_000_000,
        "expires_at": row.expires_at_s,
        "disabled_at": row.disabled_at_s,
        "last_used_at": None if row.last_used_us is None else row.last_used_us // 1_000_000,
    }


def _document(row: ManageKeyRow) -> ManagementKey:
    return msgspec.convert(shown(row), ManagementKey)


async def current(call: Call) -> CurrentKey:
    name = None
    if call.org_id:
        async with call.parts.database.read() as conn:
            org = await rows.org_by_id(conn, call.org_id)
        name = None if org is None else org.name
    rights = [one for one in PERMISSIONS if may(call.role, one)] or [OPERATOR_ROLE]
    more = {"organization": name, "permissions": rights}
    return msgspec.convert({**shown(call.key), **more}, CurrentKey)


async def listing(call: Call) -> Listing[ManagementKey]:
    async with call.parts.database.read() as conn:
        found = await key_rows.keys_of(conn, call.org_id, after=call.cursor, limit=call.limit + 1)
    return page([_document(row) for row in found], call.limit, lambda item: item.id)


async def create(call: Call) -> NewManagementKey:
    wishes: ManagementKeyWishes = call.body
    async with call.parts.database.begin() as conn:
        made = await manage_keys.create(
            conn,
            org_id=call.org_id,
            role=wishes.role,
            name=wishes.name,
            expires_at_s=wishes.expires_at,
            pepper=call.parts.root.derive(sealing.PEPPER),
            giver=call.role,
            maker=call.key.maker,
            actor=call.actor,
            now_us=call.now_us,
        )
    return msgspec.convert({**shown(made.row), "key": made.token}, NewManagementKey)


async def disable(call: Call) -> ManagementKey:
    async with call.parts.database.begin() as conn:
        row = await manage_keys.disable(
            conn, call.org_id, call.params["id"], actor=call.actor, now_us=call.now_us
        )
    return _document(row)


_TAG = "Management keys"
ENDPOINTS = [
    Endpoint("GET", "/key", ANY, current, None, CurrentKey, "The key that asks.", _TAG),
    Endpoint(
        "GET",
        "/management-keys",
        "settings",
        listing,
        None,
        Listing[ManagementKey],
        "Management keys, newest first.",
        _TAG,
    ),
    Endpoint(
        "POST",
        "/management-keys",
        "settings",
        create,
        ManagementKeyWishes,
        NewManagementKey,
        "Make a management key.",
        _TAG,
    ),
    Endpoint(
        "DELETE",
        "/management-keys/{id}",
        "settings",
        disable,
        None,
        ManagementKey,
        "Disable a management key, at once and for good.",
        _TAG,
    ),
    Endpoint(
        "GET",
        "/admin/management-keys",
        OPERATOR,
        listing,
        None,
        Listing[ManagementKey],
        "Operators' management keys, newest first.",
        _TAG,
    ),
    Endpoint(
        "POST",
        "/admin/management-keys",
        OPERATOR,
        create,
        ManagementKeyWishes,
        NewManagementKey,
        "Make an operator's management key.",
        _TAG,
    ),
    Endpoint(
        "DELETE",
        "/admin/management-keys/{id}",
        OPERATOR,
        disable,
        None,
        ManagementKey,
        "Disable an operator's management key, at once and for good.",
        _TAG,
    ),
]
