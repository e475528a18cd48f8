"""Teams of an organisation: budget, models, people, and what their keys have spent this month."""

from __future__ import annotations

from starlette.responses import Response

from tokenmarket.accounts import members, org_keys, teams
from tokenmarket.accounts.admin import NotThere, Refused, Taken
from tokenmarket.accounts.teams import TeamWishes
from tokenmarket.core.money import nano_from_usd, usd_from_nano
from tokenmarket.store import accounts as rows
from tokenmarket.web.pages.console.place import place
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import member
from tokenmarket.web.site.visit import Visit


async def listing(visit: Visit) -> Response:
    org, _ = place(visit)
    return await visit.render(
        "console/teams.html",
        teams=await teams.of_org(visit.parts.database, org.id),
        spent=await _spent(visit, org.id),
    )


async def new(visit: Visit) -> Response:
    org, by = place(visit)
    errors: dict[str, str] = {}
    if visit.request.method == "POST":
        try:
            wishes = _wishes(visit)
            row = await teams.create(
                visit.parts.database, org.id, wishes, now_us=visit.now_us, by=by.actor
            )
        except (Refused, Taken) as error:
            errors = _errors(visit, error)
        else:
            text = visit._("The team is there. Choose it when you make an API key.")
            return visit.redirect(visit.url(f"@/teams/{row.id}"), ("ok", text))
    return await visit.render(
        "console/team_new.html",
        status=422 if errors else 200,
        errors=errors,
        form=_entries(visit),
        models=_models(visit),
    )


async def detail(visit: Visit) -> Response:
    org, by = place(visit)
    database, team_id = visit.parts.database, visit.params["team"]
    try:
        view = await teams.find(database, org.id, team_id)
    except NotThere:
        raise visit.not_found() from None
    errors: dict[str, str] = {}
    form = {
        "name": view.row.name,
        "spend_month": _usd(view.row.spend_month_nano),
        "spend_day": _usd(view.row.spend_day_nano),
        "spend_total": _usd(view.row.spend_total_nano),
        "models": list(view.row.models or ()),
    }
    if visit.request.method == "POST":
        try:
            await teams.change(
                database, org.id, team_id, _wishes(visit), now_us=visit.now_us, by=by.actor
            )
        except (Refused, Taken) as error:
            errors, form = _errors(visit, error), _entries(visit)
        else:
            return visit.redirect(visit.url(f"@/teams/{team_id}"), ("ok", visit._("Saved.")))
    everybody = await members.of_org(database, org.id)
    return await visit.render(
        "console/team.html",
        status=422 if errors else 200,
        errors=errors,
        view=view,
        form=form,
        models=_models(visit),
        spent=(await _spent(visit, org.id)).get(team_id, 0),
        inside=[one for one in everybody if one.user.id in view.people],
        outside=[one for one in everybody if one.user.id not in view.people],
    )


async def people(visit: Visit) -> Response:
    """Put one member into the team, or take one out."""
    org, by = place(visit)
    database, team_id = visit.parts.database, visit.params["team"]
    home = visit.url(f"@/teams/{team_id}")
    try:
        now_us = visit.now_us
        if "out" in visit.form:
            await teams.remove_person(
                database, org.id, team_id, visit.form["out"], now_us=now_us, by=by.actor
            )
        else:
            await teams.add_person(
                database, org.id, team_id, visit.form.get("user", ""), now_us=now_us, by=by.actor
            )
    except NotThere as error:
        return visit.redirect(home, ("bad", visit._(str(error))))
    return visit.redirect(home, ("ok", visit._("Saved.")))


async def remove(visit: Visit) -> Response:
    org, by = place(visit)
    team_id = visit.params["team"]
    try:
        await teams.remove(visit.parts.database, org.id, team_id, now_us=visit.now_us, by=by.actor)
    except NotThere:
        raise visit.not_found() from None
    except Taken as error:
        return visit.redirect(visit.url(f"@/teams/{team_id}"), ("bad", visit._(str(error))))
    return visit.redirect(visit.url("@/teams"), ("ok", visit._("The team is removed.")))


async def _spent(visit: Visit, org_id: str) -> dict[str, int]:
    """team id -> nano-USD this month (UTC), of all its keys."""
    await visit.parts.wallet.flush()
    async with visit.parts.database.read() as conn:
        by_key = await org_keys.spent_this_month(conn, org_id, visit.now_us)
        keys = await rows.keys_of(conn, org_id)
    found: dict[str, int] = {}
    for key in keys:
        if key.team_id is not None:
            found[key.team_id] = found.get(key.team_id, 0) + by_key.get(key.id, 0)
    return found


def _wishes(visit: Visit) -> TeamWishes:
    """Raises Refused."""
    amounts: dict[str, int | None] = {}
    for name in ("spend_total", "spend_month", "spend_day"):
        text = visit.form.get(name, "").strip().removeprefix("$")
        try:
            amounts[f"{name}_nano"] = nano_from_usd(text) if text else None
        except ValueError:
            raise _WrongAmount(name) from None
        if (amounts[f"{name}_nano"] or 0) < 0:
            raise _WrongAmount(name)
    chosen = tuple(visit.form_lists.get("models", ()))
    if not set(chosen) <= set(_models(visit)):
        raise Refused("Choose from the list.")
    return TeamWishes(visit.form.get("name", ""), models=chosen or None, **amounts)


class _WrongAmount(Refused):
    """``field`` is no amount."""

    def __init__(self, field: str) -> None:
        super().__init__("Write an amount in USD, such as 25 or 0.50.")
        self.field = field


def _errors(visit: Visit, error: Refused | Taken) -> dict[str, str]:
    if isinstance(error, _WrongAmount):
        return {error.field: visit._(str(error))}
    field = "models" if "list" in str(error) or "models" in str(error) else "name"
    return {field: visit._(str(error))}


def _entries(visit: Visit) -> dict[str, str | list[str]]:
    texts: dict[str, str | list[str]] = {
        name: visit.form.get(name, "")
        for name in ("name", "spend_month", "spend_day", "spend_total")
    }
    return {**texts, "models": visit.form_lists.get("models", [])}


def _models(visit: Visit) -> list[str]:
    catalog = visit.parts.catalog.current
    return sorted(name for name, model in catalog.models.items() if model.enabled)


def _usd(nano: int | None) -> str:
    return "" if nano is None else usd_from_nano(nano)


PAGES = [
    Page("/{lang}/console/{org}/teams", listing, member("teams")),
    Page("/{lang}/console/{org}/teams/new", new, member("teams"), ("GET", "POST")),
    Page("/{lang}/console/{org}/teams/{team}", detail, member("teams"), ("GET", "POST")),
    Page("/{lang}/console/{org}/teams/{team}/people", people, member("teams"), ("POST",)),
    Page("/{lang}/console/{org}/teams/{team}/remove", remove, member("teams"), ("POST",)),
]
