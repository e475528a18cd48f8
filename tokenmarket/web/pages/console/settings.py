"""Settings of an organisation: name and billing time zone."""

from __future__ import annotations

from starlette.responses import Response

from tokenmarket.accounts import org_settings
from tokenmarket.accounts.admin import Refused, Taken
from tokenmarket.web.pages.account.profile import time_zones
from tokenmarket.web.pages.console.place import place
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import member
from tokenmarket.web.site.visit import Visit


async def settings(visit: Visit) -> Response:
    org, by = place(visit)
    errors: dict[str, str] = {}
    name = visit.form.get("name", org.name)
    time_zone = visit.form.get("time_zone", org.time_zone)
    if visit.request.method == "POST":
        try:
            await org_settings.change(
                visit.parts.database,
                org.id,
                name=name,
                time_zone=time_zone,
                now_us=visit.now_us,
                actor=by.actor,
            )
        except (Refused, Taken) as error:
            field = "time_zone" if "time zone" in str(error) else "name"
            errors = {field: visit._(str(error))}
        else:
            return visit.redirect(visit.url("@/settings"), ("ok", visit._("Saved.")))
    return await visit.render(
        "console/settings.html",
        status=422 if errors else 200,
        errors=errors,
        name=name,
        chosen=time_zone,
        time_zones=time_zones(),
        content_days=visit.parts.contents.days_of(org),
    )


PAGES = [Page("/{lang}/console/{org}/settings", settings, member("settings"), ("GET", "POST"))]
