"""A forgotten password: asking for a link, and using one."""

from __future__ import annotations

from starlette.responses import Response

from tokenmarket.accounts.admin import NotThere, Refused
from tokenmarket.accounts.passwords import Busy
from tokenmarket.accounts.throttle import TooMany
from tokenmarket.web.pages.account.entry import came_from, slowed
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import PUBLIC
from tokenmarket.web.site.visit import Visit


async def forgot(visit: Visit) -> Response:
    """The answer is the same whether there is such an account or not."""
    errors: dict[str, str] = {}
    status, asked = 200, False
    if visit.request.method == "POST":
        try:
            await visit.parts.identity.ask_reset(visit.form.get("email", ""), came_from(visit))
        except TooMany as error:
            text, status = slowed(visit, error)
            errors = {"": text}
        else:
            asked = True
    return await visit.render(
        "account/forgot.html",
        status=status,
        errors=errors,
        asked=asked,
        by_mail=visit.parts.mail.is_set,
        email=visit.form.get("email", ""),
    )


async def reset(visit: Visit) -> Response:
    identity, token = visit.parts.identity, visit.params["token"]
    errors: dict[str, str] = {}
    status = 200
    if visit.request.method == "POST":
        try:
            await identity.reset(token, visit.form.get("password", ""))
        except Refused as error:
            errors, status = {"password": visit._(str(error))}, 422
        except NotThere:
            return await visit.render("account/gone.html", status=404)
        except Busy as error:
            text, status = slowed(visit, error)
            errors = {"": text}
        else:
            text = visit._("Your password is set. Sign in with it.")
            response = visit.redirect(visit.url("/sign-in"), ("ok", text))
            visit.site.cookies.clear_session(response)
            return response
    elif await identity.links.find("reset", token) is None:
        return await visit.render("account/gone.html", status=404)
    return await visit.render("account/reset.html", status=status, errors=errors)


PAGES = [
    Page("/{lang}/forgot", forgot, PUBLIC, ("GET", "POST")),
    Page("/{lang}/reset/{token}", reset, PUBLIC, ("GET", "POST")),
]
