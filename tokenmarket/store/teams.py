"""Teams of an organisation: a budget and a list of models for the keys that belong to them.

A key belongs to a team from its creation (``api_key.team_id``) and never moves: what a team has
spent is what its keys have spent. Every read is by organisation and id.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or_skip
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import IntegrityError

from tokenmarket.store.accounts import NameTaken, bump_generation
from tokenmarket.store.database import Connection
from tokenmarket.store.people_tables import team, team_member
from tokenmarket.store.tables import api_key

_names = msgspec.json.Decoder(tuple[str, ...])


class TeamRow(msgspec.Struct, frozen=True):
    """One team. ``spend_…_nano`` None = no budget; ``models`` None = all the organisation has."""

    id: str
    org_id: str
    name: str
    spend_total_nano: int | None
    spend_month_nano: int | None
    spend_day_nano: int | None
    models: tuple[str, ...] | None
    created_us: int


async def insert_team(conn: Connection, row: TeamRow) -> None:
    """Raises NameTaken."""
    try:
        await conn.execute(insert(team).values(_columns(row)))
    except IntegrityError as error:
        raise NameTaken(row.name) from error
    await bump_generation(conn)


async def update_team(conn: Connection, row: TeamRow) -> None:
    """Raises NameTaken."""
    statement = update(team).where(team.c.org_id == row.org_id, team.c.id == row.id)
    try:
        await conn.execute(statement.values(_columns(row)))
    except IntegrityError as error:
        raise NameTaken(row.name) from error
    await bump_generation(conn)


async def team_by_id(conn: Connection, org_id: str, team_id: str) -> TeamRow | None:
    query = select(team).where(team.c.org_id == org_id, team.c.id == team_id)
    row = (await conn.execute(query)).mappings().one_or_none()
    return None if row is None else _team(row)


async def teams_of(conn: Connection, org_id: str) -> list[TeamRow]:
    """By name."""
    query = select(team).where(team.c.org_id == org_id).order_by(team.c.name)
    return [_team(row) for row in (await conn.execute(query)).mappings()]


async def models_of_teams(
    conn: Connection, team_ids: Iterable[str | None]
) -> dict[str, tuple[str, ...] | None]:
    """team id -> its allowed models; at most 500 ids per call."""
    wanted = {team_id for team_id in team_ids if team_id is not None}
    if not wanted:
        return {}
    rows = await conn.execute(select(team.c.id, team.c.models).where(team.c.id.in_(wanted)))
    return {row.id: None if row.models is None else _names.decode(row.models) for row in rows}


async def delete_team(conn: Connection, org_id: str, team_id: str) -> None:
    """The team and its list of members; whoever calls has seen that no key belongs to it."""
    await conn.execute(delete(team).where(team.c.org_id == org_id, team.c.id == team_id))
    await conn.execute(delete(team_member).where(team_member.c.team_id == team_id))
    await bump_generation(conn)


async def keys_in_teams(conn: Connection, org_id: str) -> dict[str, int]:
    """team id -> keys that belong to it, whatever their state."""
    query = (
        select(api_key.c.team_id, func.count())
        .where(api_key.c.org_id == org_id, api_key.c.team_id.is_not(None))
        .group_by(api_key.c.team_id)
    )
    return {str(row[0]): int(row[1]) for row in await conn.execute(query)}


async def add_to_team(conn: Connection, team_id: str, user_id: str, now_us: int) -> None:
    """Adding twice changes nothing."""
    row = {"team_id": team_id, "user_id": user_id, "created_us": now_us}
    await conn.execute(insert_or_skip(team_member).values(row).on_conflict_do_nothing())


async def remove_from_team(conn: Connection, team_id: str, user_id: str) -> None:
    await conn.execute(
        delete(team_member).where(
            team_member.c.team_id == team_id, team_member.c.user_id == user_id
        )
    )


async def people_in_teams(conn: Connection, org_id: str) -> dict[str, list[str]]:
    """team id -> ids of its people, those added first at the front."""
    query = (
        select(team_member.c.team_id, team_member.c.user_id)
        .join(team, team.c.id == team_member.c.team_id)
        .where(team.c.org_id == org_id)
        .order_by(team_member.c.created_us, team_member.c.user_id)
    )
    found: dict[str, list[str]] = {}
    for row in await conn.execute(query):
        found.setdefault(row.team_id, []).append(row.user_id)
    return found


def _columns(row: TeamRow) -> dict[str, object]:
    values: dict[str, object] = msgspec.structs.asdict(row)
    if row.models is not None:
        values["models"] = msgspec.json.encode(row.models).decode()
    return values


def _team(row: RowMapping) -> TeamRow:
    fields: dict[str, object] = {name: row[name] for name in TeamRow.__struct_fields__}
    if row["models"] is not None:
        fields["models"] = _names.decode(row["models"])
    return msgspec.convert(fields, TeamRow)
