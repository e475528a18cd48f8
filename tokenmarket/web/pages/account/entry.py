"""Coming in and going out: sign-in by password and code, proof once more, sign-out.

Answers are the same for a wrong password and for no such account. The code step is a second form on
the same address: what stands between the two is a hidden field, not a cookie.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from starlette.responses import Response

from tokenmarket.accounts.admin import NotThere
from tokenmarket.accounts.identity import From, NeedsCode, SignedIn, WrongPassword
from tokenmarket.accounts.passwords import Busy
from tokenmarket.accounts.people import User
from tokenmarket.accounts.sessions import Session
from tokenmarket.accounts.throttle import TooMany
from tokenmarket.web.site.cookies import CURRENCY, THEME
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import PUBLIC, SIGNED_IN
from tokenmarket.web.site.visit import Answered, Visit, local_path


class Signed(NamedTuple):
    """Who is signed in, on pages whose policy demands it."""

    user: User
    session: Session
    token: str


def signed(visit: Visit) -> Signed:
    """Raises Answered(401) where the policy of the page did not see to it."""
    token = visit.site.cookies.session_token(visit.request)
    if visit.session is None or token is None:
        raise Answered(401)
    return Signed(visit.session.user, visit.session, token)


def came_from(visit: Visit) -> From:
    """Where this request comes from, for the session list and the waits."""
    return From(visit.address, visit.request.headers.get("user-agent", ""))


def next_path(visit: Visit) -> str:
    """Where to go afterwards: ``next`` of the address or form if it is a page of this site."""
    wanted = visit.form.get("next") or visit.query.get("next", "")
    return local_path(wanted) or visit.url("/console")


def signed_in(visit: Visit, done: SignedIn, path: str) -> Response:
    """The answer that carries the new session's cookie."""
    response = visit.redirect(path)
    cookies = visit.site.cookies
    cookies.set_session(response, done.token)
    cookies.remember(response, THEME, done.user.theme)
    cookies.remember(response, CURRENCY, done.user.currency)
    return response


def slowed(visit: Visit, error: TooMany | Busy) -> tuple[str, int]:
    """(what a form says, status) when something was tried too often or the server is busy."""
    if isinstance(error, TooMany):
        return visit.n_(
            "Too many tries. Wait {n} second and try again.",
            "Too many tries. Wait {n} seconds and try again.",
            error.retry_after_s,
        ), 429
    return visit._("Too many people sign in right now. Try again in a moment."), 503


async def sign_in(visit: Visit) -> Response:
    identity = visit.parts.identity
    if visit.request.method == "GET":
        if visit.user is not None:
            return visit.redirect(next_path(visit))
        return await _sign_in_form(visit, {}, 200)
    if "pending" in visit.form:
        return await _give_code(visit)
    email, password = visit.form.get("email", ""), visit.form.get("password", "")
    try:
        done = await identity.sign_in(email, password, came_from(visit))
    except WrongPassword:
        text = visit._("The e-mail address or the password is not right.")
        return await _sign_in_form(visit, {"": text}, 422)
    except (TooMany, Busy) as error:
        text, status = slowed(visit, error)
        return await _sign_in_form(visit, {"": text}, status)
    if isinstance(done, NeedsCode):
        return await _code_form(visit, done.pending, {}, 200)
    return signed_in(visit, done, next_path(visit))


async def _give_code(visit: Visit) -> Response:
    pending, code = visit.form["pending"], visit.form.get("code", "")
    try:
        done = await visit.parts.identity.give_code(pending, code, came_from(visit))
    except WrongPassword:
        text = visit._("This code is not right, or was used before.")
        return await _code_form(visit, pending, {"code": text}, 422)
    except (TooMany, Busy) as error:
        text, status = slowed(visit, error)
        return await _code_form(visit, pending, {"": text}, status)
    except NotThere as error:
        return await _sign_in_form(visit, {"": visit._(str(error))}, 422)
    return signed_in(visit, done, next_path(visit))


async def _sign_in_form(visit: Visit, errors: Mapping[str, str], status: int) -> Response:
    return await visit.render(
        "account/sign_in.html",
        status=status,
        errors=errors,
        email=visit.form.get("email", ""),
        next=next_path(visit),
        may_sign_up=await visit.parts.identity.sign_up_mode() == "open",
    )


async def _code_form(
    visit: Visit, pending: str, errors: Mapping[str, str], status: int
) -> Response:
    return await visit.render(
        "account/code.html", status=status, errors=errors, pending=pending, next=next_path(visit)
    )


async def confirm(visit: Visit) -> Response:
    """The password or a code once more, before something that matters; the session is renewed."""
    me = signed(visit)
    errors: dict[str, str] = {}
    status = 200
    if visit.request.method == "POST":
        try:
            fresh = await visit.parts.identity.prove(
                me.token, me.session, visit.form.get("secret", ""), came_from(visit)
            )
        except WrongPassword:
            errors, status = {"secret": visit._("This is not right. Try again.")}, 422
        except (TooMany, Busy) as error:
            text, status = slowed(visit, error)
            errors = {"": text}
        else:
            response = visit.redirect(next_path(visit))
            visit.site.cookies.set_session(response, fresh)
            return response
    return await visit.render(
        "account/confirm.html", status=status, errors=errors, next=next_path(visit)
    )


async def sign_out(visit: Visit) -> Response:
    """Ends this session; an operator who looked through somebody's eyes ends only that."""
    token = visit.site.cookies.session_token(visit.request)
    if token is not None:
        await visit.parts.sessions.close(token)
    response = visit.redirect(visit.url("/sign-in"), ("ok", visit._("You are signed out.")))
    visit.site.cookies.clear_session(response)
    return response


PAGES = [
    Page("/{lang}/sign-in", sign_in, PUBLIC, ("GET", "POST")),
    Page("/{lang}/account/confirm", confirm, SIGNED_IN, ("GET", "POST")),
    Page("/{lang}/sign-out", sign_out, PUBLIC, ("POST",)),
]
