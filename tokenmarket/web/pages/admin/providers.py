"""Providers: what they are, their keys (never shown), a test call, switching off, cool-downs."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from tokenmarket.accounts.admin import NotThere, Refused
from tokenmarket.backoffice import catalog_edits, cool_downs, probing, providers
from tokenmarket.backoffice.providers import ProviderWishes
from tokenmarket.core.catalog import ADAPTERS, DataPolicy, Provider, ProviderLimits
from tokenmarket.core.catalog_rows import RouteRow
from tokenmarket.store import credentials
from tokenmarket.upstream.probe import Probe
from tokenmarket.web.pages.admin.said import (
    WRONG,
    Entries,
    kek,
    reading,
    said,
    shipped,
    whole,
)
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import OPERATOR
from tokenmarket.web.site.visit import Visit

_TRAINS = {"": None, "yes": True, "no": False}
_Errors = dict[str, str]


class Line(msgspec.Struct, frozen=True):
    """One provider in the list."""

    provider: Provider
    in_flight: int
    keys: int
    usable: bool
    alert: str | None
    routes: int
    own: bool


async def listing(visit: Visit) -> Response:
    """All providers, those with something to see to first."""
    parts = visit.parts
    async with reading(visit) as conn:
        document = await catalog_edits.in_force(conn, shipped(visit))
        own = await catalog_edits.own_rows(conn)
    text = visit.query.get("q", "").lower()
    lines = [
        _line(visit, row.provider, own)
        for row in sorted(document.providers, key=lambda row: row.provider.name)
        if text in row.provider.name.lower() or text in row.provider.adapter.lower()
    ]
    wanted = visit.query.get("state", "")
    if wanted == "usable":
        lines = [line for line in lines if line.usable]
    elif wanted == "off":
        lines = [line for line in lines if not line.provider.enabled]
    elif wanted == "alert":
        lines = [line for line in lines if line.alert]
    return await visit.render(
        "admin/providers.html",
        lines=lines,
        chosen={"q": visit.query.get("q", ""), "state": wanted},
        total=len(parts.catalog.current.providers),
    )


async def new(visit: Visit) -> Response:
    """The form of a provider that the catalog does not have, and what it makes."""
    entries, errors = Entries(visit.form), dict[str, str]()
    if visit.request.method == "POST":
        name = visit.form.get("name", "").strip()
        try:
            async with visit.parts.database.begin() as conn:
                await providers.create(
                    conn,
                    shipped(visit),
                    name,
                    _wishes(visit, None),
                    now_us=visit.now_us,
                    actor=visit.actor,
                )
                if visit.form.get("key"):
                    await providers.add_key(
                        conn,
                        shipped(visit),
                        kek(visit),
                        name,
                        visit.form["key"],
                        now_us=visit.now_us,
                        actor=visit.actor,
                    )
        except WRONG as error:
            errors = {"": said(visit, error)}
        else:
            flash = ("ok", visit._("The provider {name} is there.", name=name))
            return visit.redirect(visit.url(f"/admin/providers/{name}"), flash=flash)
    entries.pop("key", None)
    return await visit.render(
        "admin/provider_new.html",
        status=422 if errors else 200,
        entries=entries,
        errors=errors,
        adapters=[(name, name) for name in sorted(ADAPTERS)],
    )


async def detail(visit: Visit) -> Response:
    """One provider, and the forms to change it."""
    return await _detail(visit, {})


async def act(visit: Visit) -> Response:
    """Takes every form of the detail page; ``action`` says which."""
    name, action = visit.params["name"], visit.form.get("action", "")
    text = visit._("Saved.")
    try:
        if action == "test":
            return await _test(visit, name)
        if action == "add_route":
            return await _add_route(visit, name)
        if action == "reset":
            await cool_downs.end_of_provider(
                visit.parts.database,
                visit.parts.catalog.current,
                visit.parts.outbound,
                name,
                now_us=visit.now_us,
                actor=visit.actor,
            )
            text = visit._("Breakers are closed and keys rested enough.")
        else:
            await _change(visit, name, action)
    except NotThere as error:
        if action != "shipped":
            raise visit.not_found() from None
        text = said(visit, error)
    except WRONG as error:
        return await _detail(visit, {action: said(visit, error)})
    here = visit.url(f"/admin/providers/{name}")
    return visit.redirect(here, flash=("ok", text))


async def _change(visit: Visit, name: str, action: str) -> None:
    known = shipped(visit)
    async with visit.parts.database.begin() as conn:
        now_us, actor = visit.now_us, visit.actor
        if action == "save":
            document = await catalog_edits.in_force(conn, known)
            wishes = _wishes(visit, providers.find(document, name))
            await providers.change(
                conn, known, kek(visit), name, wishes, now_us=now_us, actor=actor
            )
        elif action in ("enable", "disable"):
            await providers.set_enabled(
                conn, known, name, enabled=action == "enable", now_us=now_us, actor=actor
            )
        elif action == "add_key":
            secret = visit.form.get("key", "")
            await providers.add_key(
                conn, known, kek(visit), name, secret, now_us=now_us, actor=actor
            )
        elif action == "remove_key":
            key_id = visit.form.get("key_id", "")
            await providers.remove_key(conn, name, key_id, now_us=now_us, actor=actor)
        elif action == "shipped":
            await catalog_edits.reset(conn, known, "provider", (name,), now_us=now_us, actor=actor)
        else:
            raise Refused("unknown action")


async def _add_route(visit: Visit, name: str) -> Response:
    """A model at this provider, and on to its price. Raises Refused."""
    model = visit.form.get("model", "").strip()
    row = RouteRow(model, name, visit.form.get("upstream_model", "").strip() or model)
    async with visit.parts.database.begin() as conn:
        await catalog_edits.add_route(
            conn, shipped(visit), row, now_us=visit.now_us, actor=visit.actor
        )
    text = visit._("The route is there; requests take it when it has a price.")
    path = visit.url(f"/admin/prices/new/{name}/{model}")
    return visit.redirect(path, flash=("ok", text))


async def _test(visit: Visit, name: str) -> Response:
    parts = visit.parts
    found = await probing.try_provider(
        parts.database,
        shipped(visit),
        kek(visit),
        parts.config.environment,
        parts.outbound,
        name,
    )
    return await _detail(visit, {}, found)


async def _detail(visit: Visit, errors: _Errors, tested: Probe | None = None) -> Response:
    name, outbound = visit.params["name"], visit.parts.outbound
    async with reading(visit) as conn:
        document = await catalog_edits.in_force(conn, shipped(visit))
        provider = providers.find(document, name)
        own = await catalog_edits.own_rows(conn)
        stored = [row for row in await credentials.listed(conn, name) if row.disabled_at_s is None]
    variable = provider.api_key_env
    in_environment = (
        variable is not None and visit.parts.config.environment.provider_key(variable) is not None
    )
    limits, data = provider.limits, provider.data
    return await visit.render(
        "admin/provider.html",
        status=422 if errors else 200,
        line=_line(visit, provider, own),
        provider=provider,
        stored=stored,
        states={key.id: key for key in outbound.keys(name)},
        in_environment=in_environment,
        routes=[
            (route, outbound.state(route))
            for some in visit.parts.catalog.current.routes.values()
            for route in some
            if route.provider.name == name
        ],
        models=sorted(visit.parts.catalog.current.models),
        errors=errors,
        tested=tested,
        adapters=[(name, name) for name in sorted(ADAPTERS)],
        entries=Entries(visit.form)
        if "save" in errors
        else {
            "adapter": provider.adapter,
            "base_url": provider.base_url,
            "api_key_env": provider.api_key_env or "",
            "rpm": limits.rpm or "",
            "tpm": limits.tpm or "",
            "concurrency": limits.concurrency or "",
            "retention_days": "" if data.retention_days is None else data.retention_days,
            "trains": next(key for key, value in _TRAINS.items() if value is data.trains),
            "region": data.region or "",
        },
    )


def _line(visit: Visit, provider: Provider, own: set[tuple[str, ...]]) -> Line:
    parts = visit.parts
    in_flight = parts.outbound.in_flight(provider.name)
    keys = parts.outbound.keys(provider.name)
    return Line(
        provider=provider,
        in_flight=in_flight,
        keys=len([key for key in keys if key.id != "none"]),
        usable=provider.enabled and bool(keys),
        alert=next((key.alert for key in keys if key.alert), None),
        routes=sum(
            route.provider.name == provider.name
            for some in parts.catalog.current.routes.values()
            for route in some
        ),
        own=("provider", provider.name) in own,
    )


def _wishes(visit: Visit, before: Provider | None) -> ProviderWishes:
    """Raises Refused."""
    form = visit.form

    def text(name: str) -> str:
        return form.get(name, "").strip()

    try:
        rpm, tpm, concurrency = (whole(text(name)) for name in ("rpm", "tpm", "concurrency"))
        days = whole(text("retention_days"))
    except ValueError:
        raise Refused(visit._("Write whole numbers, or leave a field empty.")) from None
    wishes = ProviderWishes(
        adapter=text("adapter"),
        base_url=text("base_url"),
        api_key_env=text("api_key_env") or None,
        limits=ProviderLimits(rpm or 0, tpm or 0, concurrency or 0),
        data=DataPolicy(days, _TRAINS.get(text("trains")), text("region") or None),
    )
    if before is not None:
        wishes = msgspec.structs.replace(wishes, timeouts=before.timeouts, enabled=before.enabled)
    return wishes


PAGES = [
    Page("/{lang}/admin/providers", listing, OPERATOR),
    Page("/{lang}/admin/providers/new", new, OPERATOR, ("GET", "POST")),
    Page("/{lang}/admin/providers/{name}", detail, OPERATOR),
    Page("/{lang}/admin/providers/{name}", act, OPERATOR, ("POST",)),
]
