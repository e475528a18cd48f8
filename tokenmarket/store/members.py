"""Who belongs to an organisation, in which role, and who is invited."""

from __future__ import annotations

import msgspec
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or_skip
from sqlalchemy.engine import RowMapping

from tokenmarket.store.database import Connection
from tokenmarket.store.people import User, person_columns, user_of
from tokenmarket.store.people_tables import invitation, membership, person, team, team_member
from tokenmarket.store.tables import organization


class Membership(msgspec.Struct, frozen=True):
    """One person's place in one organisation, as the switcher lists it."""

    org_id: str
    org_name: str
    kind: str
    disabled_at_s: int | None
    user_id: str
    role: str
    created_us: int


class Member(msgspec.Struct, frozen=True):
    """One person's place in one organisation, as the organisation's list shows it."""

    user: User
    role: str
    created_us: int


class InvitationRow(msgspec.Struct, frozen=True):
    """An invitation; open until accepted, revoked or expired. ``invited_by`` is an actor."""

    id: str
    org_id: str
    email: str
    role: str
    digest: str
    invited_by: str
    created_us: int
    expires_at_s: int
    accepted_us: int | None
    accepted_by: str | None
    revoked_us: int | None


async def insert_membership(
    conn: Connection, org_id: str, user_id: str, role: str, now_us: int
) -> bool:
    """False, and nothing changed, for who is a member already."""
    row = {"org_id": org_id, "user_id": user_id, "role": role, "created_us": now_us}
    found = await conn.execute(insert_or_skip(membership).values(row).on_conflict_do_nothing())
    return found.rowcount == 1


async def memberships_of(conn: Connection, user_id: str) -> list[Membership]:
    """Oldest first."""
    query = _memberships().where(membership.c.user_id == user_id)
    rows = await conn.execute(query.order_by(membership.c.created_us, membership.c.org_id))
    return [_membership(row) for row in rows.mappings()]


async def membership_of(conn: Connection, org_id: str, user_id: str) -> Membership | None:
    query = _memberships().where(membership.c.org_id == org_id, membership.c.user_id == user_id)
    row = (await conn.execute(query)).mappings().one_or_none()
    return None if row is None else _membership(row)


async def members_of(conn: Connection, org_id: str) -> list[Member]:
    """Who came first, first."""
    query = (
        select(
            membership.c.role,
            membership.c.created_us.label("member_since_us"),
            *person_columns(),
        )
        .join(person, person.c.id == membership.c.user_id)
        .where(membership.c.org_id == org_id)
        .order_by(membership.c.created_us, membership.c.user_id)
    )
    rows = (await conn.execute(query)).mappings()
    return [Member(user_of(row), row["role"], row["member_since_us"]) for row in rows]


async def count_owners(conn: Connection, org_id: str) -> int:
    """Those who can still sign in."""
    query = (
        select(func.count())
        .select_from(membership)
        .join(person, person.c.id == membership.c.user_id)
        .where(
            membership.c.org_id == org_id,
            membership.c.role == "owner",
            person.c.disabled_at_s.is_(None),
        )
    )
    return (await conn.execute(query)).scalar_one()


async def change_role(conn: Connection, org_id: str, user_id: str, role: str) -> None:
    await conn.execute(
        update(membership)
        .where(membership.c.org_id == org_id, membership.c.user_id == user_id)
        .values(role=role)
    )


async def delete_membership(conn: Connection, org_id: str, user_id: str) -> None:
    """Also out of all teams of the organisation."""
    await conn.execute(
        delete(membership).where(membership.c.org_id == org_id, membership.c.user_id == user_id)
    )
    teams = select(team.c.id).where(team.c.org_id == org_id)
    await conn.execute(
        delete(team_member).where(
            team_member.c.user_id == user_id, team_member.c.team_id.in_(teams)
        )
    )


async def insert_invitation(conn: Connection, row: InvitationRow) -> None:
    await conn.execute(insert(invitation).values(msgspec.structs.asdict(row)))


async def invitation_by_digest(conn: Connection, digest: str) -> InvitationRow | None:
    """For who holds the link; whatever its state."""
    query = select(invitation).where(invitation.c.digest == digest)
    row = (await conn.execute(query)).mappings().one_or_none()
    return None if row is None else _invitation(row)


async def invitation_by_id(
    conn: Connection, org_id: str, invitation_id: str
) -> InvitationRow | None:
    query = select(invitation).where(
        invitation.c.org_id == org_id, invitation.c.id == invitation_id
    )
    row = (await conn.execute(query)).mappings().one_or_none()
    return None if row is None else _invitation(row)


async def open_invitations(conn: Connection, org_id: str, now_s: int) -> list[InvitationRow]:
    """Newest first."""
    query = (
        select(invitation)
        .where(
            invitation.c.org_id == org_id,
            invitation.c.accepted_us.is_(None),
            invitation.c.revoked_us.is_(None),
            invitation.c.expires_at_s > now_s,
        )
        .order_by(invitation.c.created_us.desc())
    )
    return [_invitation(row) for row in (await conn.execute(query)).mappings()]


async def end_invitation(
    conn: Connection, invitation_id: str, *, now_us: int, accepted_by: str | None
) -> bool:
    """Accepted by somebody, or revoked; False if it had ended before."""
    values: dict[str, object] = {"revoked_us": now_us}
    if accepted_by is not None:
        values = {"accepted_us": now_us, "accepted_by": accepted_by}
    found = await conn.execute(
        update(invitation)
        .where(
            invitation.c.id == invitation_id,
            invitation.c.accepted_us.is_(None),
            invitation.c.revoked_us.is_(None),
        )
        .values(values)
    )
    return found.rowcount == 1


def _memberships():
    return select(
        membership,
        organization.c.name.label("org_name"),
        organization.c.kind,
        organization.c.disabled_at_s,
    ).join(organization, organization.c.id == membership.c.org_id)


def _membership(row: RowMapping) -> Membership:
    return Membership(*(row[name] for name in Membership.__struct_fields__))


def _invitation(row: RowMapping) -> InvitationRow:
    return InvitationRow(*(row[name] for name in InvitationRow.__struct_fields__))
