"""Management endpoints for an organization's teams: budget, models, people."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tokenmarket.accounts import admin, teams
from tokenmarket.accounts.org_keys import WrongEntry
from tokenmarket.accounts.teams import TeamView, TeamWishes
from tokenmarket.core.money import nano_from_usd, usd_from_nano
from tokenmarket.core.wording import said_by
from tokenmarket.web.manage.endpoint import Call, Deleted, Endpoint, Listing, page

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=admin.NAME_CHARS_MAX)]
Names = Annotated[list[str], msgspec.Meta(min_length=1, max_length=admin.ALLOWED_MAX)]
_SPEND = ("spend_day", "spend_month", "spend_total")


class TeamBudgets(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What all keys of a team may spend together; null: no budget. USD, days and months in UTC."""

    spend_day: str | None = None
    spend_month: str | None = None
    spend_total: str | None = None


class Team(msgspec.Struct, kw_only=True):
    """A team. ``models`` null: all; ``members`` are ids of people; ``keys`` counts API keys."""

    object: Literal["team"] = "team"
    id: str
    name: str
    budgets: TeamBudgets
    models: list[str] | None
    members: list[str]
    keys: int
    created_at: int


class NewTeam(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a new team shall be."""

    name: Name
    budgets: TeamBudgets = msgspec.field(default_factory=TeamBudgets)
    models: Names | None = None


class TeamChanges(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What shall change of a team; members that are left out stay as they are."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    budgets: TeamBudgets | msgspec.UnsetType = msgspec.UNSET
    models: Names | msgspec.UnsetType | None = msgspec.UNSET


class TeamPerson(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The member of the organization to put into the team."""

    user_id: str


async def listing(call: Call) -> Listing[Team]:
    found = sorted(
        await teams.of_org(call.parts.database, call.org_id), key=lambda view: view.row.id
    )
    later = [view for view in found if not call.cursor or view.row.id > call.cursor]
    shown = page(later, call.limit, lambda view: view.row.id)
    return Listing(data=[_team(view) for view in shown.data], next_cursor=shown.next_cursor)


async def create(call: Call) -> Team:
    wishes: NewTeam = call.body
    models = None if wishes.models is None else tuple(wishes.models)
    wanted = TeamWishes(wishes.name, models=models, **_budgets(wishes.budgets))
    row = await teams.create(
        call.parts.database, call.org_id, wanted, now_us=call.now_us, by=call.actor
    )
    return await _find(call, row.id)


async def show(call: Call) -> Team:
    return await _find(call, call.params["id"])


async def change(call: Call) -> Team:
    changes: TeamChanges = call.body
    team_id = call.params["id"]
    old = (await teams.find(call.parts.database, call.org_id, team_id)).row
    wanted = TeamWishes(
        old.name, old.spend_total_nano, old.spend_month_nano, old.spend_day_nano, old.models
    )
    if changes.name is not msgspec.UNSET:
        wanted = msgspec.structs.replace(wanted, name=changes.name)
    if changes.budgets is not msgspec.UNSET:
        wanted = msgspec.structs.replace(wanted, **_budgets(changes.budgets))
    if changes.models is not msgspec.UNSET:
        models = None if changes.models is None else tuple(changes.models)
        wanted = msgspec.structs.replace(wanted, models=models)
    await teams.change(
        call.parts.database, call.org_id, team_id, wanted, now_us=call.now_us, by=call.actor
    )
    return await _find(call, team_id)


async def remove(call: Call) -> Deleted:
    team_id = call.params["id"]
    await teams.remove(call.parts.database, call.org_id, team_id, now_us=call.now_us, by=call.actor)
    return Deleted(id=team_id)


async def add_person(call: Call) -> Team:
    wishes: TeamPerson = call.body
    await teams.add_person(
        call.parts.database,
        call.org_id,
        call.params["id"],
        wishes.user_id,
        now_us=call.now_us,
        by=call.actor,
    )
    return await _find(call, call.params["id"])


async def remove_person(call: Call) -> Team:
    await teams.remove_person(
        call.parts.database,
        call.org_id,
        call.params["id"],
        call.params["user_id"],
        now_us=call.now_us,
        by=call.actor,
    )
    return await _find(call, call.params["id"])


async def _find(call: Call, team_id: str) -> Team:
    return _team(await teams.find(call.parts.database, call.org_id, team_id))


def _team(view: TeamView) -> Team:
    row = view.row
    caps = {name: getattr(row, f"{name}_nano") for name in _SPEND}
    return Team(
        id=row.id,
        name=row.name,
        budgets=TeamBudgets(
            **{name: None if nano is None else usd_from_nano(nano) for name, nano in caps.items()}
        ),
        models=None if row.models is None else list(row.models),
        members=list(view.people),
        keys=view.keys,
        created_at=row.created_us // 1_000_000,
    )


def _budgets(wanted: TeamBudgets) -> dict[str, int | None]:
    found: dict[str, int | None] = {}
    for name in _SPEND:
        text = getattr(wanted, name)
        try:
            found[f"{name}_nano"] = None if text is None else nano_from_usd(text)
        except ValueError as error:
            raise WrongEntry(f"budgets.{name}", said_by(error)) from error
    return found


_TAG = "Teams"
ENDPOINTS = [
    Endpoint("GET", "/teams", "view", listing, None, Listing[Team], "Teams, oldest first.", _TAG),
    Endpoint("POST", "/teams", "teams", create, NewTeam, Team, "Make a team.", _TAG),
    Endpoint("GET", "/teams/{id}", "view", show, None, Team, "One team.", _TAG),
    Endpoint(
        "PATCH",
        "/teams/{id}",
        "teams",
        change,
        TeamChanges,
        Team,
        "Change the name, budgets or models of a team.",
        _TAG,
    ),
    Endpoint(
        "DELETE",
        "/teams/{id}",
        "teams",
        remove,
        None,
        Deleted,
        "Remove a team that no API key belongs to.",
        _TAG,
    ),
    Endpoint(
        "POST",
        "/teams/{id}/members",
        "teams",
        add_person,
        TeamPerson,
        Team,
        "Put a member into a team.",
        _TAG,
    ),
    Endpoint(
        "DELETE",
        "/teams/{id}/members/{user_id}",
        "teams",
        remove_person,
        None,
        Team,
        "Take a member out of a team.",
        _TAG,
    ),
]
