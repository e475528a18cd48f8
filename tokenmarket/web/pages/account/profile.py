"""A person's own pages: name, and how the site looks to them."""

from __future__ import annotations

from zoneinfo import available_timezones

from starlette.responses import Response

from tokenmarket.accounts import people
from tokenmarket.accounts.admin import Refused
from tokenmarket.web.pages.account.entry import signed
from tokenmarket.web.site.cookies import CURRENCY, LANG, THEME
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import SIGNED_IN
from tokenmarket.web.site.visit import Visit


def time_zones() -> list[tuple[str, str]]:
    """Options of a select: UTC first, then places by name."""
    places = sorted(
        zone for zone in available_timezones() if "/" in zone and not zone.startswith("Etc/")
    )
    return [(zone, zone.replace("_", " ")) for zone in ("UTC", *places)]


async def profile(visit: Visit) -> Response:
    me = signed(visit)
    errors: dict[str, str] = {}
    if visit.request.method == "POST":
        if "verify" in visit.form:
            await visit.parts.identity.ask_verification(me.user)
            text = visit._("A letter with a link is on its way.")
            return visit.redirect(visit.url("/account/profile"), ("ok", text))
        try:
            await people.set_profile(
                visit.parts.database, me.user, name=visit.form.get("name", ""), now_us=visit.now_us
            )
        except Refused as error:
            errors = {"name": visit._(str(error))}
        else:
            visit.parts.sessions.forget(me.user.id)
            return visit.redirect(visit.url("/account/profile"), ("ok", visit._("Saved.")))
    return await visit.render(
        "account/profile.html",
        status=422 if errors else 200,
        errors=errors,
        name=visit.form.get("name", me.user.name),
        mail_is_set=visit.parts.mail.is_set,
    )


async def preferences(visit: Visit) -> Response:
    me = signed(visit)
    errors: dict[str, str] = {}
    form = visit.form
    wanted = {
        "language": form.get("language", me.user.language),
        "theme": form.get("theme", me.user.theme),
        "currency": form.get("currency", me.user.currency),
        "time_zone": form.get("time_zone", me.user.time_zone),
    }
    if visit.request.method == "POST":
        try:
            await people.set_preferences(
                visit.parts.database, me.user, now_us=visit.now_us, **wanted
            )
        except Refused as error:
            errors = {"": visit._(str(error))}
        else:
            visit.parts.sessions.forget(me.user.id)
            saved = visit.site.texts.text(wanted["language"], "Saved.")
            response = visit.redirect(f"/{wanted['language']}/account/preferences", ("ok", saved))
            cookies = visit.site.cookies
            cookies.remember(response, LANG, wanted["language"])
            cookies.remember(response, THEME, wanted["theme"])
            cookies.remember(response, CURRENCY, wanted["currency"])
            return response
    return await visit.render(
        "account/preferences.html",
        status=422 if errors else 200,
        errors=errors,
        wanted=wanted,
        time_zones=time_zones(),
    )


PAGES = [
    Page("/{lang}/account/profile", profile, SIGNED_IN, ("GET", "POST")),
    Page("/{lang}/account/preferences", preferences, SIGNED_IN, ("GET", "POST")),
]
