"""What the operator sets while the server runs, and what the start of it decided."""

from __future__ import annotations

from starlette.responses import Response

from tokenmarket import __version__
from tokenmarket.backoffice import facts
from tokenmarket.web.pages.admin.said import WRONG, Entries, reading, said
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import OPERATOR
from tokenmarket.web.site.visit import Visit


async def show(visit: Visit) -> Response:
    return await _page(visit, {})


async def change(visit: Visit) -> Response:
    """The exchange rate."""
    form = visit.form
    try:
        async with visit.parts.database.begin() as conn:
            await facts.set_exchange_rate(
                conn,
                form.get("cny", ""),
                form.get("day", ""),
                now_us=visit.now_us,
                actor=visit.actor,
            )
    except WRONG as error:
        return await _page(visit, {"cny": said(visit, error)})
    return visit.redirect(visit.url("/admin/settings"), flash=("ok", visit._("Saved.")))


async def _page(visit: Visit, errors: dict[str, str]) -> Response:
    async with reading(visit) as conn:
        rate = await facts.exchange_rate(conn)
    cny, day = rate or ("", "")
    return await visit.render(
        "admin/settings.html",
        status=422 if errors else 200,
        errors=errors,
        entries=Entries(visit.form) if errors else {"cny": cny, "day": day},
        config=visit.parts.config,
        version=__version__,
        base_url=visit.parts.base_url(),
    )


PAGES = [
    Page("/{lang}/admin/settings", show, OPERATOR),
    Page("/{lang}/admin/settings", change, OPERATOR, ("POST",)),
]
