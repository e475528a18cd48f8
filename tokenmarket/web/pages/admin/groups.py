"""Groups of organisations with their markup."""

from __future__ import annotations

from starlette.responses import Response

from tokenmarket.backoffice import groups
from tokenmarket.backoffice.groups import GroupWishes
from tokenmarket.core.catalog_groups import percent_text
from tokenmarket.store import org_desk, org_groups
from tokenmarket.store.org_groups import GroupRow
from tokenmarket.web.pages.admin.said import WRONG, or_not_found, reading, said
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import OPERATOR
from tokenmarket.web.site.visit import Visit

MEMBERS_SHOWN = 100


async def listing(visit: Visit) -> Response:
    async with reading(visit) as conn:
        found = await org_groups.listed(conn)
    return await visit.render("admin/groups.html", groups=found, percent_text=percent_text)


async def new(visit: Visit) -> Response:
    errors: dict[str, str] = {}
    if visit.request.method == "POST":
        try:
            async with visit.parts.database.begin() as conn:
                row = await groups.create(
                    conn,
                    _wishes(visit),
                    visit.parts.catalog.document,
                    now_us=visit.now_us,
                    actor=visit.actor,
                )
        except WRONG as error:
            errors = {"": said(visit, error)}
        else:
            here = visit.url(f"/admin/groups/{row.id}")
            return visit.redirect(here, flash=("ok", visit._("Saved.")))
    return await _form(visit, None, errors)


async def detail(visit: Visit) -> Response:
    async with reading(visit) as conn:
        row = await groups.find(conn, visit.params["group"])
    return await _form(visit, row, {})


async def act(visit: Visit) -> Response:
    """Change or remove."""
    group_id = visit.params["group"]
    try:
        async with or_not_found(visit), visit.parts.database.begin() as conn:
            row = await groups.find(conn, group_id)
            if visit.form.get("action") == "remove":
                await groups.remove(conn, group_id, now_us=visit.now_us, actor=visit.actor)
            else:
                await groups.change(
                    conn,
                    group_id,
                    _wishes(visit),
                    visit.parts.catalog.document,
                    now_us=visit.now_us,
                    actor=visit.actor,
                )
    except WRONG as error:
        async with reading(visit) as conn:
            row = await groups.find(conn, group_id)
        return await _form(visit, row, {"": said(visit, error)})
    removed = visit.form.get("action") == "remove"
    path = "/admin/groups" if removed else f"/admin/groups/{group_id}"
    text = visit._("The group is removed.") if removed else visit._("Saved.")
    return visit.redirect(visit.url(path), flash=("ok", text))


async def _form(visit: Visit, row: GroupRow | None, errors: dict[str, str]) -> Response:
    members: list[org_desk.OrgLine] = []
    if row is not None:
        async with reading(visit) as conn:
            members = await org_desk.search(conn, group_id=row.id, limit=MEMBERS_SHOWN)
    document = visit.parts.catalog.document
    return await visit.render(
        "admin/group.html",
        status=422 if errors else 200,
        group=row,
        members=members,
        errors=errors,
        entries=_entries(visit, row, errors),
        models=[(one.model.id, one.model.id) for one in document.models],
        providers=[(one.provider.name, one.provider.name) for one in document.providers],
    )


def _entries(visit: Visit, row: GroupRow | None, errors: dict[str, str]) -> dict[str, object]:
    if errors and visit.form.get("action") != "remove":
        return {
            "name": visit.form.get("name", ""),
            "markup": visit.form.get("markup", ""),
            "models": visit.form_lists.get("models", []),
            "providers": visit.form_lists.get("providers", []),
        }
    if row is None:
        return {"name": "", "markup": "0", "models": [], "providers": []}
    return {
        "name": row.name,
        "markup": percent_text(row.markup_bp),
        "models": row.models or [],
        "providers": row.providers or [],
    }


def _wishes(visit: Visit) -> GroupWishes:
    """Raises Refused."""
    models, providers = (tuple(visit.form_lists.get(name, ())) for name in ("models", "providers"))
    return GroupWishes(
        name=visit.form.get("name", "").strip(),
        markup_bp=groups.markup_bp_from(visit.form.get("markup", "").strip() or "0"),
        models=models or None,
        providers=providers or None,
    )


PAGES = [
    Page("/{lang}/admin/groups", listing, OPERATOR),
    Page("/{lang}/admin/groups/new", new, OPERATOR, ("GET", "POST")),
    Page("/{lang}/admin/groups/{group}", detail, OPERATOR),
    Page("/{lang}/admin/groups/{group}", act, OPERATOR, ("POST",)),
]
