"""The names that reports show beside ids: keys, members, teams, organisations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import func, or_, select

from tokenmarket.store.database import Connection
from tokenmarket.store.money import usage_event
from tokenmarket.store.people_tables import membership, person, team
from tokenmarket.store.tables import api_key, organization
from tokenmarket.store.task_tables import task


class KeyName(NamedTuple):
    """``maker``: an actor, as in ``api_key.created_by``."""

    id: str
    org_id: str
    name: str
    prefix: str
    last4: str
    team_id: str | None
    maker: str | None


async def key_names(conn: Connection, org_id: str) -> list[KeyName]:
    """Every key an organisation ever had, by name."""
    columns = api_key.c
    query = (
        select(
            columns.id,
            columns.org_id,
            columns.name,
            columns.prefix,
            columns.last4,
            columns.team_id,
            columns.created_by,
        )
        .where(columns.org_id == org_id)
        .order_by(columns.name, columns.id)
    )
    return [KeyName(*row) for row in (await conn.execute(query)).all()]


async def member_names(conn: Connection, org_id: str) -> dict[str, str]:
    """Names by user id: of members, and of people whose keys the organisation still has."""
    makers = select(func.substr(api_key.c.created_by, 6)).where(
        api_key.c.org_id == org_id, api_key.c.created_by.like("user:%")
    )
    members = select(membership.c.user_id).where(membership.c.org_id == org_id)
    query = (
        select(person.c.id, person.c.name, person.c.email)
        .where(or_(person.c.id.in_(members), person.c.id.in_(makers)))
        .order_by(person.c.name)
    )
    return {user_id: name or email for user_id, name, email in (await conn.execute(query)).all()}


async def team_names(conn: Connection, org_id: str) -> dict[str, str]:
    """Names by team id."""
    query = select(team.c.id, team.c.name).where(team.c.org_id == org_id).order_by(team.c.name)
    return {row.id: row.name for row in (await conn.execute(query)).all()}


async def org_names(conn: Connection, org_ids: Sequence[str]) -> dict[str, str]:
    """Names by organisation id, for the operator."""
    query = select(organization.c.id, organization.c.name).where(organization.c.id.in_(org_ids))
    return {row.id: row.name for row in (await conn.execute(query)).all()}


async def org_of_request(conn: Connection, request_id: str) -> str | None:
    """Whose request it was; for the operator only."""
    query = select(usage_event.c.org_id).where(usage_event.c.request_id == request_id)
    running = select(task.c.org_id).where(task.c.request_id == request_id)
    found = (await conn.execute(query)).scalar_one_or_none()
    return found or (await conn.execute(running)).scalar_one_or_none()
