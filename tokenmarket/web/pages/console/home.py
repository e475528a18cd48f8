"""The way into the console: to the organisation of last time, or to making a first one."""

from __future__ import annotations

from starlette.responses import Response

from tokenmarket.accounts import members
from tokenmarket.accounts.admin import Refused, Taken
from tokenmarket.web.pages.account.entry import signed
from tokenmarket.web.pages.console import playground
from tokenmarket.web.site.cookies import LAST_ORG
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import SIGNED_IN
from tokenmarket.web.site.visit import Visit


async def console(visit: Visit) -> Response:
    """``?open=playground&model=`` leads on to where that model can be tried."""
    me = signed(visit)
    mine = await members.of_user(visit.parts.database, me.user.id)
    if not mine:
        return visit.redirect(visit.url("/admin" if me.user.operator else "/console/new"))
    last = visit.request.cookies.get(LAST_ORG)
    found = next((one.org_id for one in mine if one.org_id == last), mine[0].org_id)
    here = f"/console/{found}"
    if visit.query.get("open") == "playground":
        here += playground.path_for(visit, visit.query.get("model", ""))
    return visit.redirect(visit.url(here))


async def new(visit: Visit) -> Response:
    me, errors = signed(visit), dict[str, str]()
    if visit.request.method == "POST":
        try:
            org = await members.create_org(
                visit.parts.database, me.user, visit.form.get("name", ""), now_us=visit.now_us
            )
        except (Refused, Taken) as error:
            errors = {"name": visit._(str(error))}
        else:
            text = visit._("The organization is there. You are its owner.")
            return visit.redirect(visit.url(f"/console/{org.id}"), ("ok", text))
    return await visit.render(
        "console/new_org.html",
        status=422 if errors else 200,
        errors=errors,
        name=visit.form.get("name", ""),
    )


PAGES = [
    Page("/{lang}/console", console, SIGNED_IN),
    Page("/{lang}/console/new", new, SIGNED_IN, ("GET", "POST")),
]
