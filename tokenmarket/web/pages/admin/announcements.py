"""What is announced on every page."""

from __future__ import annotations

from starlette.responses import Response

from tokenmarket.accounts.admin import Refused
from tokenmarket.backoffice import announcements
from tokenmarket.backoffice.announcements import LEVELS, AnnouncementWishes
from tokenmarket.store import announcements as store
from tokenmarket.web.pages.admin.said import WRONG, Entries, moment_us, or_not_found, reading, said
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import OPERATOR
from tokenmarket.web.site.visit import Visit


async def listing(visit: Visit) -> Response:
    return await _page(visit, {})


async def make(visit: Visit) -> Response:
    """A new announcement."""
    try:
        async with visit.parts.database.begin() as conn:
            await announcements.put(
                conn, None, _wishes(visit), now_us=visit.now_us, actor=visit.actor
            )
    except WRONG as error:
        return await _page(visit, {"": said(visit, error)})
    text = visit._("It shows within two seconds of its beginning.")
    return visit.redirect(visit.url("/admin/announcements"), flash=("ok", text))


async def withdraw(visit: Visit) -> Response:
    async with or_not_found(visit), visit.parts.database.begin() as conn:
        await announcements.withdraw(
            conn, visit.params["announcement"], now_us=visit.now_us, actor=visit.actor
        )
    text = visit._("The announcement is withdrawn.")
    return visit.redirect(visit.url("/admin/announcements"), flash=("ok", text))


async def _page(visit: Visit, errors: dict[str, str]) -> Response:
    async with reading(visit) as conn:
        found = await store.listed(conn)
    return await visit.render(
        "admin/announcements.html",
        status=422 if errors else 200,
        announcements=[(one, _state(one, visit.now_us)) for one in found],
        errors=errors,
        entries=Entries(visit.form),
        levels=LEVELS,
        zone=str(visit.time_zone),
    )


def _state(one: store.Announcement, now_us: int) -> str:
    if one.from_us > now_us:
        return "coming"
    return "over" if one.until_us is not None and one.until_us <= now_us else "showing"


def _wishes(visit: Visit) -> AnnouncementWishes:
    """Raises Refused."""
    form = visit.form
    moments: list[int | None] = []
    for name in ("from", "until"):
        text = form.get(name, "").strip()
        at_us = moment_us(visit, text) if text else None
        if text and at_us is None:
            raise Refused(visit._("Write the moment as a date and a time."))
        moments.append(at_us)
    return AnnouncementWishes(
        text_en=form.get("text_en", ""),
        text_zh=form.get("text_zh", ""),
        level=form.get("level", "info"),
        from_us=moments[0] or visit.now_us,
        until_us=moments[1],
    )


PAGES = [
    Page("/{lang}/admin/announcements", listing, OPERATOR),
    Page("/{lang}/admin/announcements", make, OPERATOR, ("POST",)),
    Page("/{lang}/admin/announcements/{announcement}/withdraw", withdraw, OPERATOR, ("POST",)),
]
