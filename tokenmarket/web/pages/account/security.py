"""A person's password, second factor and sessions.

What changes the second factor asks for proof first (``step_up``); the password form carries the old
password itself.
"""

from __future__ import annotations

from markupsafe import Markup
from starlette.responses import Response

from tokenmarket.accounts import people
from tokenmarket.accounts.admin import Refused, Taken
from tokenmarket.accounts.identity import WrongPassword
from tokenmarket.accounts.passwords import Busy
from tokenmarket.accounts.second_factor import app_uri, qr_svg
from tokenmarket.accounts.throttle import TooMany
from tokenmarket.web.pages.account.entry import came_from, signed, slowed
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import SIGNED_IN
from tokenmarket.web.site.visit import Visit

HOME = "/account/security"


async def security(visit: Visit) -> Response:
    return await _overview(visit, {}, 200)


async def _overview(visit: Visit, errors: dict[str, str], status: int) -> Response:
    me, identity = signed(visit), visit.parts.identity
    return await visit.render(
        "account/security.html",
        status=status,
        errors=errors,
        sessions=await identity.sessions.of_user(me.user.id),
        codes_left=await identity.second_factor.codes_left(me.user.id),
    )


async def change_password(visit: Visit) -> Response:
    me, form = signed(visit), visit.form
    try:
        fresh = await visit.parts.identity.change_password(
            me.session, me.token, form.get("old", ""), form.get("password", ""), came_from(visit)
        )
    except Refused as error:
        return await _overview(visit, {"password": visit._(str(error))}, 422)
    except WrongPassword:
        return await _overview(visit, {"old": visit._("This is not your password.")}, 422)
    except (TooMany, Busy) as error:
        text, status = slowed(visit, error)
        return await _overview(visit, {"old": text}, status)
    text = visit._("Your password is changed. All other sessions have ended.")
    response = visit.redirect(visit.url(HOME), ("ok", text))
    visit.site.cookies.set_session(response, fresh)
    return response


async def end_sessions(visit: Visit) -> Response:
    """One by its id, or all but this one."""
    me, sessions = signed(visit), visit.parts.sessions
    session_id = visit.form.get("session", "")
    if session_id == me.session.id:
        await sessions.close(me.token)
        response = visit.redirect(visit.url("/sign-in"))
        visit.site.cookies.clear_session(response)
        return response
    if session_id:
        await sessions.close_one(me.user.id, session_id)
        text = visit._("The session has ended.")
    else:
        await sessions.close_all(me.user.id, but=me.session.id)
        text = visit._("All other sessions have ended.")
    return visit.redirect(visit.url(HOME), ("ok", text))


async def two_factor(visit: Visit) -> Response:
    """Show the secret, take a first code, show the recovery codes; or switch it off."""
    me, factor = signed(visit), visit.parts.identity.second_factor
    post = visit.request.method == "POST"
    if me.user.has_totp:
        if not post:
            return visit.redirect(visit.url(HOME))
        return await _switch_off_or_renew(visit)
    errors: dict[str, str] = {}
    try:
        if post:
            codes = await factor.confirm(me.user, visit.form.get("code", ""))
            visit.parts.sessions.forget(me.user.id)
            return await _show_codes(visit, codes)
    except Refused as error:
        errors = {"code": visit._(str(error))}
    try:
        secret = await factor.begin(me.user)
    except Taken:
        return visit.redirect(visit.url(HOME))  # switched on in another window
    return await visit.render(
        "account/two_factor.html",
        status=422 if errors else 200,
        errors=errors,
        secret=" ".join(secret[at : at + 4] for at in range(0, len(secret), 4)),
        # made by the library from base32 and a quoted address: nothing in it is markup of others
        qr=Markup(qr_svg(app_uri(secret, me.user.email))),  # noqa: S704
    )


async def _switch_off_or_renew(visit: Visit) -> Response:
    me, factor = signed(visit), visit.parts.identity.second_factor
    if "renew" in visit.form:
        return await _show_codes(visit, await factor.renew_codes(me.user))
    await factor.remove(me.user, by=people.actor(me.user.id))
    visit.parts.sessions.forget(me.user.id)
    return visit.redirect(visit.url(HOME), ("ok", visit._("Two-factor sign-in is off.")))


async def _show_codes(visit: Visit, codes: list[str]) -> Response:
    """On this page and never again."""
    token = visit.site.cookies.session_token(visit.request)
    fresh = None if token is None else await visit.parts.sessions.rotate(token)
    if fresh is not None:
        session = await visit.parts.sessions.find(fresh)
        visit.csrf = visit.csrf if session is None else session.csrf
    response = await visit.render("account/recovery_codes.html", codes=codes)
    if fresh is not None:
        visit.site.cookies.set_session(response, fresh)
    return response


PAGES = [
    Page("/{lang}/account/security", security, SIGNED_IN),
    Page("/{lang}/account/security/password", change_password, SIGNED_IN, ("POST",)),
    Page("/{lang}/account/security/sessions", end_sessions, SIGNED_IN, ("POST",)),
    Page(
        "/{lang}/account/security/two-factor",
        two_factor,
        SIGNED_IN,
        ("GET", "POST"),
        step_up=True,
    ),
]
