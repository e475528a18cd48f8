"""People: search, suspend, operators, and looking through somebody's eyes.

Looking is its own session of an hour: everything is shown as that person sees it and nothing can be
changed (``web/site/pages.py`` refuses every form). It ends with the button of the banner. Another
operator's eyes are not lent: what he sees is more than what customers see.
"""

from __future__ import annotations

from starlette.responses import Response

from tokenmarket.accounts import members, people
from tokenmarket.accounts.admin import NotThere
from tokenmarket.backoffice import users
from tokenmarket.store import accounts as rows
from tokenmarket.store import people as people_rows
from tokenmarket.store.audit import audit_lines
from tokenmarket.store.people import User
from tokenmarket.web.pages.admin.said import WRONG, reading, said
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import OPERATOR
from tokenmarket.web.site.visit import Visit

PAGE_USERS = 50


async def listing(visit: Visit) -> Response:
    """By the beginning of the e-mail address."""
    query = visit.query
    prefix = query.get("q", "").strip().lower()
    async with reading(visit) as conn:
        found = await people_rows.people(
            conn, prefix=prefix, after=query.get("after", ""), limit=PAGE_USERS + 1
        )
    return await visit.render(
        "admin/users.html",
        users=found[:PAGE_USERS],
        after=found[PAGE_USERS - 1].email if len(found) > PAGE_USERS else None,
        chosen={"q": query.get("q", "")},
    )


async def detail(visit: Visit) -> Response:
    return await _detail(visit, await _user(visit), "")


async def act(visit: Visit) -> Response:
    """Suspend or restore, make an operator or not; ``action`` says which."""
    user, parts = await _user(visit), visit.parts
    action, by, now_us = visit.form.get("action", ""), visit.actor, visit.now_us
    try:
        if action in ("suspend", "restore"):
            await users.set_suspended(
                parts.database,
                parts.sessions,
                user.id,
                action == "suspend",
                now_us=now_us,
                by=by,
            )
        elif action in ("operator", "no_operator"):
            await users.set_operator(
                parts.database,
                parts.sessions,
                user.id,
                action == "operator",
                now_us=now_us,
                by=by,
            )
    except WRONG as error:
        return await _detail(visit, user, said(visit, error))
    here = visit.url(f"/admin/users/{user.id}")
    return visit.redirect(here, flash=("ok", visit._("Saved.")))


async def look(visit: Visit) -> Response:
    """See the console as this person; for an hour, reading only."""
    user, session = await _user(visit), visit.session
    if session is None or visit.user is None:
        raise visit.forbidden()
    if user.operator or user.disabled_at_s is not None:
        text = visit._("Nobody looks through an operator's eyes or a suspended person's.")
        return await _detail(visit, user, text)
    operator_id = visit.user.id
    token = await visit.parts.sessions.open(
        user.id,
        address=visit.address,
        agent=visit.request.headers.get("user-agent", ""),
        impersonator=operator_id,
    )
    async with visit.parts.database.begin() as conn:
        await rows.append_audit(conn, visit.now_us, visit.actor, "user.impersonate", user.id, {})
    response = visit.redirect(visit.url("/console"))
    visit.site.cookies.set_session(response, token)
    return response


async def _detail(visit: Visit, user: User, problem: str) -> Response:
    async with reading(visit) as conn:
        events = await audit_lines(conn, actor=people.actor(user.id), limit=20)
    return await visit.render(
        "admin/user.html",
        status=422 if problem else 200,
        person=user,
        memberships=await members.of_user(visit.parts.database, user.id),
        sessions=await visit.parts.sessions.of_user(user.id),
        events=events,
        problem=problem,
    )


async def _user(visit: Visit) -> User:
    try:
        return await users.find(visit.parts.database, visit.params["user"])
    except NotThere:
        raise visit.not_found() from None


PAGES = [
    Page("/{lang}/admin/users", listing, OPERATOR),
    Page("/{lang}/admin/users/{user}", detail, OPERATOR),
    Page("/{lang}/admin/users/{user}", act, OPERATOR, ("POST",)),
    Page("/{lang}/admin/users/{user}/look", look, OPERATOR, ("POST",)),
]
