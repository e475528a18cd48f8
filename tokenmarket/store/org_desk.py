"""Organisations as the operator sees them: search over all, and the columns only he changes."""

from __future__ import annotations

import msgspec
from sqlalchemy import func, or_, select, update

from tokenmarket.store.accounts import OrgRow, bump_generation, org_by_id
from tokenmarket.store.database import Connection
from tokenmarket.store.money import account
from tokenmarket.store.people_tables import membership, person
from tokenmarket.store.tables import api_key, organization


class OrgLine(msgspec.Struct, frozen=True):
    """One line of the operator's list. ``balance_nano`` is posted, what runs is not in it."""

    org: OrgRow
    balance_nano: int
    keys: int
    members: int


async def search(
    conn: Connection,
    *,
    text: str = "",
    group_id: str | None = None,
    suspended: bool | None = None,
    after_id: str = "",
    limit: int = 50,
) -> list[OrgLine]:
    """By part of the name, the id, or a member's address; oldest first, behind ``after_id``."""
    query = select(organization.c.id).where(organization.c.id > after_id)
    if text:
        member = (
            select(membership.c.org_id)
            .join(person, person.c.id == membership.c.user_id)
            .where(person.c.email == text.lower())
        )
        query = query.where(
            or_(
                organization.c.id == text,
                organization.c.name.icontains(text, autoescape=True),
                organization.c.id.in_(member),
            )
        )
    if group_id is not None:
        none = group_id == ""
        here = organization.c.group_id
        query = query.where(here.is_(None) if none else here == group_id)
    if suspended is not None:
        at = organization.c.disabled_at_s
        query = query.where(at.is_not(None) if suspended else at.is_(None))
    ids = (await conn.execute(query.order_by(organization.c.id).limit(limit))).scalars().all()
    return [line for org_id in ids if (line := await find(conn, org_id)) is not None]


async def find(conn: Connection, org_id: str) -> OrgLine | None:
    org = await org_by_id(conn, org_id)
    if org is None:
        return None
    balance = select(func.coalesce(func.sum(account.c.cr_posted - account.c.dr_posted), 0)).where(
        account.c.org_id == org_id, account.c.limited == 1
    )
    keys = select(func.count()).where(api_key.c.org_id == org_id, api_key.c.disabled_at_s.is_(None))
    members = select(func.count()).where(membership.c.org_id == org_id)
    return OrgLine(
        org,
        (await conn.execute(balance)).scalar_one(),
        (await conn.execute(keys)).scalar_one(),
        (await conn.execute(members)).scalar_one(),
    )


async def change(conn: Connection, org_id: str, **values: object) -> None:
    """Set columns; running servers notice."""
    await conn.execute(update(organization).where(organization.c.id == org_id).values(values))
    await bump_generation(conn)
