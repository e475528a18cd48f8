"""Keys of the management API (``tm_adm_…``): bound to one organisation and one role, or an
operator's.

What a reader must know:

* A key never has a right that its maker lacks: it is made with a role whose permissions its maker
  has, and it is dead as soon as the maker is removed, disabled or lowered below it. That is looked
  up with every request; keys made on the command line stand on their own.
* Nothing of it is cached: a disabled key ends with the next request.
"""

from __future__ import annotations

import os

import msgspec

from tokenmarket.accounts.admin import PEPPER_VERSION, NotThere, Refused, checked_name
from tokenmarket.core import ids, keys
from tokenmarket.core.errors import ApiError
from tokenmarket.core.roles import ROLES, covers
from tokenmarket.store import accounts as rows
from tokenmarket.store import manage_keys
from tokenmarket.store.accounts import OrgRow
from tokenmarket.store.database import Connection, Database
from tokenmarket.store.manage_keys import ManageKeyRow

OPERATOR = "operator"  # the role of keys that belong to no organisation
KEYS_MAX = 100  # valid ones of one organisation
EXPIRES_S_MAX = 366 * 86_400


class ManageCaller(msgspec.Struct, frozen=True):
    """Who a management key speaks for. ``org`` is None for an operator's."""

    key: ManageKeyRow
    org: OrgRow | None

    @property
    def role(self) -> str:
        return self.key.role

    @property
    def actor(self) -> str:
        """For the audit trail."""
        return f"key:{self.key.id}"


class NewManageKey(msgspec.Struct, frozen=True):
    """A key just made; ``token`` exists nowhere else and is shown once."""

    token: str
    row: ManageKeyRow

    def __repr__(self) -> str:
        return f"NewManageKey({self.row.id}, ***)"


def may_give(giver: str, role: str) -> bool:
    """Whether who has the role ``giver`` (or is an operator) has every right of ``role``."""
    if role == OPERATOR or giver == OPERATOR:
        return giver == OPERATOR
    return covers(giver, role)


async def create(
    conn: Connection,
    *,
    org_id: str,
    role: str,
    name: str,
    expires_at_s: int | None,
    pepper: bytes,
    giver: str,
    maker: str,
    actor: str,
    now_us: int,
) -> NewManageKey:
    """``giver``: the role of who makes it; ``maker``: with whose rights the key stands and falls,
    for a key made by a key that one's maker. ``org_id`` is empty for an operator's. Raises Refused.
    """
    if role not in (ROLES if org_id else (OPERATOR,)):
        raise Refused("There is no such role.")
    if not may_give(giver, role):
        raise Refused("A key cannot have rights that its maker does not have.")
    now_s = now_us // 1_000_000
    if expires_at_s is not None and not now_s < expires_at_s <= now_s + EXPIRES_S_MAX:
        raise Refused("The end of a key is in the future, at most a year from now.")
    valid = [
        row
        for row in await manage_keys.keys_of(conn, org_id)
        if row.disabled_at_s is None and not (row.expires_at_s and row.expires_at_s <= now_s)
    ]
    if len(valid) >= KEYS_MAX:
        raise Refused("There are 100 valid keys already: disable one first.")
    token = keys.generate("adm", os.urandom(keys.RANDOM_BYTES))
    row = ManageKeyRow(
        id=ids.new_id("mkey", now_us, os.urandom(ids.RANDOM_BYTES)),
        org_id=org_id,
        role=role,
        maker=maker,
        name=checked_name(name),
        digest=keys.digest(token, pepper).hex(),
        pepper_version=PEPPER_VERSION,
        prefix=keys.prefix(token),
        last4=token[-4:],
        expires_at_s=expires_at_s,
        disabled_at_s=None,
        last_used_us=None,
        created_us=now_us,
    )
    await manage_keys.insert_key(conn, row)
    await _audit(conn, now_us, actor, "manage_key.create", row, {"name": row.name, "role": role})
    return NewManageKey(token, row)


async def disable(
    conn: Connection, org_id: str, key_id: str, *, actor: str, now_us: int
) -> ManageKeyRow:
    """At once and for good; disabling twice changes nothing. Raises NotThere."""
    row = await find(conn, org_id, key_id)
    if row.disabled_at_s is None:
        await manage_keys.disable_key(conn, org_id, key_id, now_us // 1_000_000)
        await _audit(conn, now_us, actor, "manage_key.disable", row, {})
    return await find(conn, org_id, key_id)


async def find(conn: Connection, org_id: str, key_id: str) -> ManageKeyRow:
    """Raises NotThere."""
    row = None
    if ids.is_id(key_id, "mkey"):
        row = await manage_keys.key_by_id(conn, org_id, key_id)
    if row is None:
        raise NotThere("There is no such management key.")
    return row


async def authenticate(database: Database, token: str, pepper: bytes, now_us: int) -> ManageCaller:
    """Whose key it is. ApiError AUTH_001: no such key, or it is not valid any more."""
    if not keys.is_wellformed(token) or not token.startswith("tm_adm_"):
        raise refusal(
            "invalid_key", "The management API takes keys that begin with tm_adm_, nothing else."
        )
    async with database.read() as conn:
        row = await manage_keys.key_by_digest(conn, keys.digest(token, pepper).hex())
        org, stands = None, True
        if row is not None:
            stands = await _maker_stands(conn, row)
            org = await rows.org_by_id(conn, row.org_id) if row.org_id else None
    if row is None:
        raise refusal("unknown_key", "This management key does not exist.")
    if row.disabled_at_s is not None:
        raise refusal("key_disabled", "This management key is disabled.")
    if row.expires_at_s is not None and row.expires_at_s * 1_000_000 <= now_us:
        raise refusal("key_expired", "This management key has expired.")
    if row.org_id and (org is None or org.disabled_at_s is not None):
        raise refusal("organization_disabled", "The organization of this key is disabled.")
    if not stands:
        raise refusal("maker_gone", "Who made this key does not have its rights any more.")
    return ManageCaller(row, org)


def refusal(reason: str, message: str) -> ApiError:
    return ApiError("AUTH_001", message, reason=reason)


async def _maker_stands(conn: Connection, row: ManageKeyRow) -> bool:
    kind, _, user_id = row.maker.partition(":")
    if kind != "user":
        return True
    operator, role = await manage_keys.rights_of(conn, row.org_id, user_id)
    return operator if not row.org_id else role is not None and may_give(role, row.role)


async def _audit(
    conn: Connection,
    now_us: int,
    actor: str,
    action: str,
    row: ManageKeyRow,
    detail: dict[str, object],
) -> None:
    org_id = row.org_id or None
    await rows.append_audit(conn, now_us, actor, action, row.id, detail, org_id=org_id)
