"""Members of an organisation: who, in which role; invitations by link; leaving."""

from __future__ import annotations

from starlette.responses import Response

from tokenmarket.accounts import members
from tokenmarket.accounts.admin import NotThere, Refused, Taken
from tokenmarket.core.roles import given_by
from tokenmarket.web.pages.account.entry import signed
from tokenmarket.web.pages.console.place import place
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import member
from tokenmarket.web.site.visit import Visit


async def listing(visit: Visit) -> Response:
    """The list; a POST changes one role, removes one member or revokes one invitation."""
    org, by = place(visit)
    parts = visit.parts
    if visit.request.method == "POST":
        return await _act(visit)
    return await visit.render(
        "console/members.html",
        members=await members.of_org(parts.database, org.id),
        invitations=await members.invitations(parts.database, org.id, now_us=visit.now_us),
        roles=given_by(by.role),
    )


async def _act(visit: Visit) -> Response:
    org, by = place(visit)
    database, form = visit.parts.database, visit.form
    home = visit.url("@/members")
    now_us = visit.now_us
    try:
        if "revoke" in form:
            await members.revoke(database, org.id, form["revoke"], by=by, now_us=now_us)
            done = visit._("The invitation is revoked.")
        elif "remove" in form:
            await members.remove(database, org.id, form["remove"], by=by, now_us=now_us)
            done = visit._("The member is removed. API keys that they made still work.")
        else:
            await members.change_role(
                database, org.id, form.get("user", ""), form.get("role", ""), by=by, now_us=now_us
            )
            done = visit._("The role is changed.")
    except (Refused, Taken, NotThere) as error:
        return visit.redirect(home, ("bad", visit._(str(error))))
    return visit.redirect(home, ("ok", done))


async def invite(visit: Visit) -> Response:
    org, by = place(visit)
    me, form = signed(visit), visit.form
    errors: dict[str, str] = {}
    if visit.request.method == "POST":
        try:
            made = await visit.parts.identity.invite(
                org,
                email=form.get("email", ""),
                role=form.get("role", ""),
                by=by,
                inviter=me.user.name,
                language=visit.lang,
            )
        except (Refused, Taken) as error:
            field = "role" if "role" in str(error) else "email"
            errors = {field: visit._(str(error))}
        else:
            return await visit.render(
                "console/invited.html", link=made.link, mailed=made.mailed, email=made.row.email
            )
    return await visit.render(
        "console/invite.html",
        status=422 if errors else 200,
        errors=errors,
        email=form.get("email", ""),
        role=form.get("role", "developer"),
        roles=given_by(by.role),
    )


async def leave(visit: Visit) -> Response:
    """Everybody may leave, except the last owner."""
    org, by = place(visit)
    me = signed(visit)
    try:
        await members.remove(visit.parts.database, org.id, me.user.id, by=by, now_us=visit.now_us)
    except (Refused, Taken, NotThere) as error:
        return visit.redirect(visit.url("/account/profile"), ("bad", visit._(str(error))))
    text = visit._("You have left {org}.", org=org.name)
    return visit.redirect(visit.url("/account/profile"), ("ok", text))


PAGES = [
    Page("/{lang}/console/{org}/members", listing, member("members"), ("GET", "POST")),
    Page("/{lang}/console/{org}/members/invite", invite, member("members"), ("GET", "POST")),
    Page("/{lang}/console/{org}/leave", leave, member("view"), ("POST",)),
]
