"""What the operator sets while the server runs, and what the start of it decided."""

from __future__ import annotations

from starlette.responses import Response

from tokenmarket import __version__
from tokenmarket.accounts.admin import NotThere
from tokenmarket.backoffice import facts
from tokenmarket.store import org_groups
from tokenmarket.web.pages.admin.said import WRONG, reading, said
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import OPERATOR
from tokenmarket.web.site.visit import Visit


async def show(visit: Visit) -> Response:
    return await _page(visit, {})


async def change(visit: Visit) -> Response:
    """Takes both forms of the page; ``action`` says which."""
    form, now_us, actor = visit.form, visit.now_us, visit.actor
    action, field = form.get("action", ""), "cny"
    try:
        async with visit.parts.database.begin() as conn:
            if action == "rate":
                cny, day = form.get("cny", ""), form.get("day", "")
                await facts.set_exchange_rate(conn, cny, day, now_us=now_us, actor=actor)
            elif action == "people":
                field = "sign_up"
                mode, group_id = form.get("sign_up", ""), form.get("group", "")
                await facts.set_sign_up(conn, mode, now_us=now_us, actor=actor)
                field = "group"
                await facts.set_group_of_new(conn, group_id, now_us=now_us, actor=actor)
                field = "support"
                contact = form.get("support", "")
                await facts.set_support(conn, contact, now_us=now_us, actor=actor)
    except (*WRONG, NotThere) as error:
        return await _page(visit, {field: said(visit, error)})
    return visit.redirect(visit.url("/admin/settings"), flash=("ok", visit._("Saved.")))


async def _page(visit: Visit, errors: dict[str, str]) -> Response:
    async with reading(visit) as conn:
        found = await facts.read(conn)
        groups = await org_groups.listed(conn)
    entries: dict[str, object] = {
        "cny": found.cny or "",
        "day": found.cny_day or "",
        "sign_up": found.sign_up or "",
        "group": found.group_of_new or "",
        "support": found.support or "",
    }
    return await visit.render(
        "admin/settings.html",
        status=422 if errors else 200,
        errors=errors,
        entries=entries | visit.form if errors else entries,
        groups=[(group.id, group.name) for group in groups],
        config=visit.parts.config,
        version=__version__,
        base_url=visit.parts.base_url(),
    )


PAGES = [
    Page("/{lang}/admin/settings", show, OPERATOR),
    Page("/{lang}/admin/settings", change, OPERATOR, ("POST",)),
]
