"""Models: names, how routes are chosen, the day of their end."""

from __future__ import annotations

from starlette.responses import Response

from tokenmarket.accounts.admin import NotThere
from tokenmarket.backoffice import catalog_edits
from tokenmarket.backoffice.catalog_edits import ModelWishes
from tokenmarket.core.catalog import OPERATIONS, POLICIES
from tokenmarket.web.pages.admin.said import WRONG, Entries, reading, said, shipped
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import OPERATOR
from tokenmarket.web.site.visit import Visit

PAGE_MODELS = 100


async def listing(visit: Visit) -> Response:
    """All models by id; filters by text, operation and state."""
    query, catalog = visit.query, visit.parts.catalog
    text, operation, wanted = (query.get(name, "") for name in ("q", "operation", "state"))
    async with reading(visit) as conn:
        own = await catalog_edits.own_rows(conn)
    found: list[tuple[object, str, int, bool]] = []
    for name, model in sorted(catalog.current.models.items()):
        reason = catalog.unavailable_reason(model)
        state = "off" if not model.enabled else "ok" if reason is None else "missing"
        if (
            text.lower() in name.lower()
            and operation in ("", model.operation)
            and wanted in ("", state)
        ):
            count = len(catalog.current.routes[name])
            found.append((model, state, count, ("model", name) in own))
    start = int(query["start"]) if query.get("start", "").isdecimal() else 0
    return await visit.render(
        "admin/models.html",
        lines=found[start : start + PAGE_MODELS],
        total=len(found),
        start=start,
        page_models=PAGE_MODELS,
        operations=OPERATIONS,
        chosen={"q": text, "operation": operation, "state": wanted},
    )


async def detail(visit: Visit) -> Response:
    """One model, and the form to change it."""
    return await _detail(visit, {})


async def act(visit: Visit) -> Response:
    """Takes the forms of the detail page."""
    name, action = visit.params["model"], visit.form.get("action", "")
    flash = ("ok", visit._("Saved."))
    try:
        async with visit.parts.database.begin() as conn:
            known, now_us, actor = shipped(visit), visit.now_us, visit.actor
            if action == "shipped":
                await catalog_edits.reset(conn, known, "model", (name,), now_us=now_us, actor=actor)
            else:
                await catalog_edits.change_model(
                    conn, known, name, _wishes(visit), now_us=now_us, actor=actor
                )
    except NotThere as error:
        if action != "shipped":
            raise visit.not_found() from None
        flash = ("bad", said(visit, error))
    except WRONG as error:
        return await _detail(visit, {"": said(visit, error)})
    return visit.redirect(visit.url(f"/admin/models/{name}"), flash=flash)


async def _detail(visit: Visit, errors: dict[str, str]) -> Response:
    name = visit.params["model"]
    async with reading(visit) as conn:
        document = await catalog_edits.in_force(conn, shipped(visit))
        model = catalog_edits.find_model(document, name)
        own = await catalog_edits.own_rows(conn)
    routes = visit.parts.catalog.current.routes.get(name, ())
    return await visit.render(
        "admin/model.html",
        status=422 if errors else 200,
        model=model,
        own=("model", name) in own,
        routes=[(route, visit.parts.outbound.state(route)) for route in routes],
        providers=[(row.provider, row.provider) for row in document.routes if row.model == name],
        policies=POLICIES,
        errors=errors,
        entries=Entries(visit.form)
        if errors
        else {
            "name_en": model.name_en,
            "name_zh": model.name_zh,
            "policy": model.policy,
            "default_provider": model.default_provider or "",
            "deprecated_at": model.deprecated_at or "",
            "enabled": "1" if model.enabled else "",
        },
    )


def _wishes(visit: Visit) -> ModelWishes:
    form = visit.form
    return ModelWishes(
        name_en=form.get("name_en", "").strip(),
        name_zh=form.get("name_zh", "").strip(),
        policy=form.get("policy", "default"),
        default_provider=form.get("default_provider", "") or None,
        deprecated_at=form.get("deprecated_at", "") or None,
        enabled=form.get("enabled") == "1",
    )


PAGES = [
    Page("/{lang}/admin/models", listing, OPERATOR),
    Page("/{lang}/admin/models/{model:path}", detail, OPERATOR),
    Page("/{lang}/admin/models/{model:path}", act, OPERATOR, ("POST",)),
]
