"""New accounts: sign-up, an invitation's link, the first operator's link, proof of the address."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from tokenmarket.accounts import members
from tokenmarket.accounts.admin import NotThere, Refused, Taken
from tokenmarket.accounts.members import Invitation
from tokenmarket.accounts.passwords import Busy
from tokenmarket.accounts.throttle import TooMany
from tokenmarket.core.texts import N_
from tokenmarket.web.pages.account.entry import came_from, signed_in, slowed
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import PUBLIC
from tokenmarket.web.site.visit import Visit

GONE = N_("This link has been used or is too old.")
_FIELD_BY_WORD = (("password", "password"), ("e-mail", "email"), ("name", "name"))


def account_errors(visit: Visit, error: Exception) -> dict[str, str]:
    """Beside which field the sentence belongs, by what it is about."""
    english = str(error)
    lowered = english.lower()
    field = next((name for word, name in _FIELD_BY_WORD if word in lowered), "")
    return {field: visit._(english)}


async def sign_up(visit: Visit) -> Response:
    if await visit.parts.identity.sign_up_mode() != "open":
        return await visit.render("account/closed.html", status=200)
    if visit.request.method == "GET":
        if visit.user is not None:
            return visit.redirect(visit.url("/console"))
        return await _ask_or_form(visit, {}, 200)
    if not visit.parts.identity.mail.is_set:
        return await _make_account(visit, None)
    try:
        email = visit.form.get("email", "")
        await visit.parts.identity.ask_sign_up(email, came_from(visit), language=visit.lang)
    except Refused as error:
        return await _ask_or_form(visit, account_errors(visit, error), 422)
    except TooMany as error:
        text, status = slowed(visit, error)
        return await _ask_or_form(visit, {"": text}, status)
    return await _ask_or_form(visit, {}, 200, asked=True)


async def by_letter(visit: Visit) -> Response:
    """Who reads the mail of an address makes the account."""
    identity, token = visit.parts.identity, visit.params["token"]
    email = identity.sign_up_links.find(token)
    if email is None or await identity.sign_up_mode() != "open":
        return await visit.render("account/gone.html", status=404)
    errors: dict[str, str] = {}
    status = 200
    if visit.request.method == "POST":
        try:
            done = await identity.join(
                token,
                visit.form.get("name", ""),
                visit.form.get("password", ""),
                came_from(visit),
                language=visit.lang,
            )
        except NotThere:
            return await visit.render("account/gone.html", status=404)
        except Refused as error:
            errors, status = account_errors(visit, error), 422
        except Busy as error:
            text, status = slowed(visit, error)
            errors = {"": text}
        else:
            return signed_in(visit, done, visit.url("/console"))
    return await visit.render(
        "account/join.html",
        status=status,
        errors=errors,
        email=email,
        name=visit.form.get("name", ""),
    )


async def invite(visit: Visit) -> Response:
    """Somebody signed in joins; somebody else makes an account first, or signs in."""
    parts = visit.parts
    found = await members.find_invitation(
        parts.database, parts.identity.links, visit.params["token"], now_us=visit.now_us
    )
    if found is None:
        return await visit.render("account/gone.html", status=404)
    if visit.user is None:
        if visit.request.method == "GET":
            return await _form(visit, {}, 200, invitation=found)
        return await _make_account(visit, found)
    errors: dict[str, str] = {}
    if visit.request.method == "POST":
        try:
            async with parts.database.begin() as conn:
                await members.accept(conn, found, visit.user, now_us=visit.now_us)
        except (Refused, NotThere) as error:
            errors = {"": visit._(str(error))}
        else:
            return visit.redirect(visit.url(f"/console/{found.row.org_id}"))
    return await visit.render(
        "account/invitation.html", status=422 if errors else 200, invitation=found, errors=errors
    )


async def _make_account(visit: Visit, invitation: Invitation | None) -> Response:
    form = visit.form
    try:
        done = await visit.parts.identity.sign_up(
            invitation.row.email if invitation else form.get("email", ""),
            form.get("name", ""),
            form.get("password", ""),
            came_from(visit),
            language=visit.lang,
            invitation=invitation,
        )
    except (Refused, Taken, NotThere) as error:
        return await _form(visit, account_errors(visit, error), 422, invitation=invitation)
    except (TooMany, Busy) as error:
        text, status = slowed(visit, error)
        return await _form(visit, {"": text}, status, invitation=invitation)
    path = f"/console/{invitation.row.org_id}" if invitation else "/console"
    return signed_in(visit, done, visit.url(path))


async def _ask_or_form(
    visit: Visit, errors: Mapping[str, str], status: int, *, asked: bool = False
) -> Response:
    """With a mail server only the address is asked for; the letter leads to the rest."""
    if not visit.parts.identity.mail.is_set:
        return await _form(visit, errors, status, invitation=None)
    email = visit.form.get("email", "")
    return await visit.render(
        "account/sign_up_ask.html", status=status, errors=errors, email=email, asked=asked
    )


async def _form(
    visit: Visit, errors: Mapping[str, str], status: int, *, invitation: Invitation | None
) -> Response:
    return await visit.render(
        "account/sign_up.html",
        status=status,
        errors=errors,
        invitation=invitation,
        closed=await visit.parts.identity.sign_up_mode() == "closed",
        email=visit.form.get("email", ""),
        name=visit.form.get("name", ""),
        here=visit.path,
    )


async def welcome(visit: Visit) -> Response:
    """The first operator sets e-mail and password; the link came from the machine itself."""
    identity, form = visit.parts.identity, visit.form
    token = visit.params["token"]
    errors: dict[str, str] = {}
    status = 200
    if visit.request.method == "POST":
        try:
            done = await identity.welcome(
                token,
                form.get("email", ""),
                form.get("name", ""),
                form.get("password", ""),
                came_from(visit),
                language=visit.lang,
            )
        except (Refused, Taken) as error:
            errors, status = account_errors(visit, error), 422
        except NotThere:
            return await visit.render("account/gone.html", status=404)
        except Busy as error:
            text, status = slowed(visit, error)
            errors = {"": text}
        else:
            return signed_in(visit, done, visit.url("/console"))
    elif await identity.links.find("welcome", token) is None:
        return await visit.render("account/gone.html", status=404)
    return await visit.render(
        "account/welcome.html",
        status=status,
        errors=errors,
        email=form.get("email", ""),
        name=form.get("name", ""),
    )


async def verify(visit: Visit) -> Response:
    """A button, because programs that look through mail open every link in it."""
    identity, token = visit.parts.identity, visit.params["token"]
    if visit.request.method == "POST":
        try:
            await identity.verify(token)
        except NotThere:
            return await visit.render("account/gone.html", status=404)
        where = "/account/profile" if visit.user is not None else "/sign-in"
        text = visit._("Your e-mail address is confirmed.")
        return visit.redirect(visit.url(where), ("ok", text))
    if await identity.links.find("verify", token) is None:
        return await visit.render("account/gone.html", status=404)
    return await visit.render("account/verify.html")


PAGES = [
    Page("/{lang}/sign-up", sign_up, PUBLIC, ("GET", "POST")),
    Page("/{lang}/sign-up/{token}", by_letter, PUBLIC, ("GET", "POST")),
    Page("/{lang}/invite/{token}", invite, PUBLIC, ("GET", "POST")),
    Page("/{lang}/welcome/{token}", welcome, PUBLIC, ("GET", "POST")),
    Page("/{lang}/verify/{token}", verify, PUBLIC, ("GET", "POST")),
]
