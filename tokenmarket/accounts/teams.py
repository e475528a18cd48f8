"""Teams: a budget and a list of models for the API keys that belong to them, and their people.

A key joins a team when it is made and stays; what a team has spent is what its keys have spent.
The budget is a spend window like a key's own (``billing/periods.py``), so the last cent of it is
spent once. The models of a team and of a key both must allow a model.
"""

from __future__ import annotations

import os

import msgspec

from tokenmarket.accounts import people
from tokenmarket.accounts.admin import (
    ALLOWED_MAX,
    NotThere,
    Refused,
    Taken,
    checked_limits,
    checked_name,
)
from tokenmarket.core import ids
from tokenmarket.core.texts import N_
from tokenmarket.store import accounts as rows
from tokenmarket.store import members as member_rows
from tokenmarket.store import teams as team_rows
from tokenmarket.store.accounts import Limits, NameTaken
from tokenmarket.store.database import Connection, Database
from tokenmarket.store.teams import TeamRow

__all__ = ["TeamRow"]

TEAMS_MAX = 500  # of one organisation


class TeamWishes(msgspec.Struct, frozen=True):
    """What a team shall be; None = no budget, all models. Days and months are UTC."""

    name: str
    spend_total_nano: int | None = None
    spend_month_nano: int | None = None
    spend_day_nano: int | None = None
    models: tuple[str, ...] | None = None


class TeamView(msgspec.Struct, frozen=True):
    """One row of the list: the team, its people's ids, and how many keys belong to it."""

    row: TeamRow
    people: tuple[str, ...]
    keys: int


async def of_org(database: Database, org_id: str) -> list[TeamView]:
    """By name."""
    async with database.read() as conn:
        found = await team_rows.teams_of(conn, org_id)
        members = await team_rows.people_in_teams(conn, org_id)
        keys = await team_rows.keys_in_teams(conn, org_id)
    return [TeamView(r, tuple(members.get(r.id, ())), keys.get(r.id, 0)) for r in found]


async def find(database: Database, org_id: str, team_id: str) -> TeamView:
    """Raises NotThere."""
    for view in await of_org(database, org_id):
        if view.row.id == team_id:
            return view
    raise NotThere(N_("There is no such team."))


async def create(
    database: Database, org_id: str, wishes: TeamWishes, *, now_us: int, by: str
) -> TeamRow:
    """Raises Refused, Taken."""
    team_id = ids.new_id("team", now_us, os.urandom(ids.RANDOM_BYTES))
    row = _row(team_id, org_id, wishes, created_us=now_us)
    async with database.begin() as conn:
        if len(await team_rows.teams_of(conn, org_id)) >= TEAMS_MAX:
            raise Refused(N_("An organization has at most 500 teams."))
        try:
            await team_rows.insert_team(conn, row)
        except NameTaken as error:
            raise Taken(N_("There is a team with this name already.")) from error
        await _note(conn, row, "team.create", now_us, by)
    return row


async def change(
    database: Database, org_id: str, team_id: str, wishes: TeamWishes, *, now_us: int, by: str
) -> TeamRow:
    """Raises NotThere, Refused, Taken."""
    async with database.begin() as conn:
        old = await _team(conn, org_id, team_id)
        row = _row(team_id, org_id, wishes, created_us=old.created_us)
        try:
            await team_rows.update_team(conn, row)
        except NameTaken as error:
            raise Taken(N_("There is a team with this name already.")) from error
        await _note(conn, row, "team.change", now_us, by)
    return row


async def remove(database: Database, org_id: str, team_id: str, *, now_us: int, by: str) -> None:
    """Raises NotThere; Taken while a key belongs to it, revoked ones included: the books refer to
    the team by its keys."""
    async with database.begin() as conn:
        row = await _team(conn, org_id, team_id)
        if (await team_rows.keys_in_teams(conn, org_id)).get(team_id):
            raise Taken(N_("A team that API keys belong to cannot be removed."))
        await team_rows.delete_team(conn, org_id, team_id)
        await _note(conn, row, "team.remove", now_us, by)


async def add_person(
    database: Database, org_id: str, team_id: str, user_id: str, *, now_us: int, by: str
) -> None:
    """Raises NotThere for who is no member of the organisation."""
    async with database.begin() as conn:
        await _team(conn, org_id, team_id)
        if await member_rows.membership_of(conn, org_id, user_id) is None:
            raise NotThere(N_("There is no such member."))
        await team_rows.add_to_team(conn, team_id, user_id, now_us)
        detail: dict[str, object] = {"user": user_id}
        await rows.append_audit(conn, now_us, by, "team.join", team_id, detail, org_id=org_id)


async def remove_person(
    database: Database, org_id: str, team_id: str, user_id: str, *, now_us: int, by: str
) -> None:
    """Raises NotThere for a team of somebody else."""
    async with database.begin() as conn:
        await _team(conn, org_id, team_id)
        await team_rows.remove_from_team(conn, team_id, user_id)
        detail: dict[str, object] = {"user": user_id}
        await rows.append_audit(conn, now_us, by, "team.leave", team_id, detail, org_id=org_id)


async def _team(conn: Connection, org_id: str, team_id: str) -> TeamRow:
    row = await team_rows.team_by_id(conn, org_id, team_id)
    if row is None:
        raise NotThere(N_("There is no such team."))
    return row


async def _note(conn: Connection, row: TeamRow, action: str, now_us: int, by: str) -> None:
    detail: dict[str, object] = {
        "name": row.name,
        "spend_month_nano": row.spend_month_nano,
        "models": row.models,
    }
    await rows.append_audit(conn, now_us, by, action, row.id, detail, org_id=row.org_id)


def _row(team_id: str, org_id: str, wishes: TeamWishes, *, created_us: int) -> TeamRow:
    limits = checked_limits(
        Limits(
            spend_total_nano=wishes.spend_total_nano,
            spend_month_nano=wishes.spend_month_nano,
            spend_day_nano=wishes.spend_day_nano,
        )
    )
    models = None if wishes.models is None else tuple(dict.fromkeys(wishes.models))
    if models is not None:
        if not 0 < len(models) <= ALLOWED_MAX:
            raise Refused(N_("Name 1 to 200 models, or none to allow all."))
        for model in models:
            checked_name(model)
    return TeamRow(
        id=team_id,
        org_id=org_id,
        name=people.checked_person_name(wishes.name),
        spend_total_nano=limits.spend_total_nano,
        spend_month_nano=limits.spend_month_nano,
        spend_day_nano=limits.spend_day_nano,
        models=models,
        created_us=created_us,
    )
