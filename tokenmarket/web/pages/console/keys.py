"""The API keys of an organisation: list, make, look at, change, roll, disable.

A new key's text is in the answer to the form that made it and nowhere else, so that answer is a
page and not a redirect.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from starlette.responses import Response

from tokenmarket.accounts import admin, org_keys
from tokenmarket.accounts.admin import NewKey, NotThere, Refused, Taken
from tokenmarket.accounts.org_keys import Known
from tokenmarket.core import sealing
from tokenmarket.core.catalog import OPERATIONS
from tokenmarket.core.keys import hint
from tokenmarket.store import accounts as rows
from tokenmarket.store.accounts import KeyRow
from tokenmarket.store.database import Connection
from tokenmarket.store.people import people_by_ids
from tokenmarket.store.teams import teams_of
from tokenmarket.web.pages.console import key_form
from tokenmarket.web.pages.console.key_form import Entries, Wrong
from tokenmarket.web.pages.public.samples import samples
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import member
from tokenmarket.web.site.visit import Visit

PAGE_KEYS = 100
OVERLAPS_S = (0, 3_600, 86_400, 7 * 86_400)


async def listing(visit: Visit) -> Response:
    """All keys of the organisation, newest first; filters by text and state."""
    org_id = _org_id(visit)
    async with visit.parts.database.read() as conn:
        found = await rows.keys_of(conn, org_id)
        spent = await org_keys.spent_this_month(conn, org_id, visit.now_us)
        teams = {team.id: team.name for team in await teams_of(conn, org_id)}
        named = await _names(visit, conn, found)
    text, wanted = visit.query.get("q", "").lower(), visit.query.get("state", "")
    chosen = [
        row
        for row in reversed(found)
        if (not wanted or _state(visit, row) == wanted)
        and (
            not text or text in named[row.id].lower() or text in hint(row.prefix, row.last4).lower()
        )
    ]
    start = int(visit.query["start"]) if visit.query.get("start", "").isdecimal() else 0
    shown = chosen[start : start + PAGE_KEYS]
    return await visit.render(
        "console/keys.html",
        keys=[(row, hint(row.prefix, row.last4), _state(visit, row)) for row in shown],
        spent=spent,
        teams=teams,
        named=named,
        has_any=bool(found),
        start=start,
        page_keys=PAGE_KEYS,
        total=len(chosen),
        chosen={"q": visit.query.get("q", ""), "state": wanted},
        used_on=_used_on,
    )


async def new(visit: Visit) -> Response:
    """The form, and the key that it makes."""
    if visit.request.method == "GET":
        return await _form(visit, key_form.entries_of(None, visit.time_zone), {})
    entries = key_form.entries_from(visit.form, visit.form_lists)
    parts = visit.parts
    try:
        wishes = key_form.read(entries, visit.time_zone, _known(visit), now_us=visit.now_us)
        async with parts.database.begin() as conn:
            org = await admin.find_org(conn, _org_id(visit))
            made = await admin.create_key(
                conn, org, wishes, _pepper(visit), now_us=visit.now_us, actor=visit.actor
            )
    except Wrong as wrong:
        return await _form(visit, entries, wrong.errors)
    except (Refused, NotThere):
        return await _form(visit, entries, {"": visit._("Some entries need your attention.")})
    return await _made(visit, made)


async def detail(visit: Visit) -> Response:
    """One key: what it may do, what it has spent, and the form to change it."""
    row = await _key(visit)
    return await _detail(visit, row, key_form.entries_of(row, visit.time_zone), {})


async def change(visit: Visit) -> Response:
    """Takes the form of the detail page."""
    row = await _key(visit)
    entries = key_form.entries_from(visit.form, visit.form_lists)
    if row.kind == "playground":  # its form has nothing else
        caps = {name: entries.texts[name] for name in key_form.AMOUNTS}
        entries = key_form.entries_of(row, visit.time_zone)
        entries.texts.update(caps)
    known, parts = _known(visit), visit.parts
    try:
        wishes = key_form.read(entries, visit.time_zone, known, now_us=visit.now_us, before=row)
        async with parts.database.begin() as conn:
            await org_keys.change(
                conn, row.org_id, row.id, wishes, now_us=visit.now_us, actor=visit.actor
            )
    except Wrong as wrong:
        return await _detail(visit, row, entries, wrong.errors)
    except (Refused, Taken):
        text = visit._("The key is disabled or has expired; make a new one.")
        return await _detail(visit, row, entries, {"": text})
    return visit.redirect(visit.url(f"@/keys/{row.id}"), flash=("ok", visit._("Saved.")))


async def disable(visit: Visit) -> Response:
    """At once and for good; the name was typed to confirm it."""
    row = await _key(visit)
    if visit.form.get("typed") != row.name:
        return visit.redirect(
            visit.url(f"@/keys/{row.id}"),
            flash=("bad", visit._("The name that was typed is not the key's. Nothing changed.")),
        )
    async with visit.parts.database.begin() as conn:
        await org_keys.disable(conn, row.org_id, row.id, now_us=visit.now_us, actor=visit.actor)
    text = visit._("The key {name} is disabled.", name=row.name)
    return visit.redirect(visit.url("@/keys"), flash=("ok", text))


async def roll(visit: Visit) -> Response:
    """A successor; the old key goes on for the chosen time."""
    row = await _key(visit)
    chosen = visit.form.get("overlap_s", "")
    overlap_s = int(chosen) if chosen in {str(one) for one in OVERLAPS_S} else 0
    try:
        async with visit.parts.database.begin() as conn:
            made = await org_keys.roll(
                conn,
                row.org_id,
                row.id,
                _pepper(visit),
                overlap_s=overlap_s,
                now_us=visit.now_us,
                actor=visit.actor,
            )
    except Taken:
        text = visit._("This key cannot be rolled: it has a successor, is disabled or has expired.")
        return visit.redirect(visit.url(f"@/keys/{row.id}"), flash=("bad", text))
    return await _made(visit, made, replaced=row)


async def _form(visit: Visit, entries: Entries, errors: dict[str, str]) -> Response:
    async with visit.parts.database.read() as conn:
        teams = await teams_of(conn, _org_id(visit))
    return await visit.render(
        "console/key_new.html",
        status=422 if errors else 200,
        entries=entries,
        errors=_translated(visit, errors),
        teams=[(team.id, team.name) for team in teams],
        choices=_choices(visit, None),
    )


async def _detail(visit: Visit, row: KeyRow, entries: Entries, errors: dict[str, str]) -> Response:
    async with visit.parts.database.read() as conn:
        spent = await org_keys.spent_by_period(conn, row.org_id, row.id, visit.now_us)
        teams = {team.id: team.name for team in await teams_of(conn, row.org_id)}
        maker_id = (row.created_by or "").removeprefix("user:")
        maker = (await people_by_ids(conn, [maker_id])).get(maker_id)
        named = await _names(visit, conn, [row])
        successors = [one for one in await rows.keys_of(conn, row.org_id) if one.rotates == row.id]
    return await visit.render(
        "console/key.html",
        status=422 if errors else 200,
        key=row,
        name=named[row.id],
        hint=hint(row.prefix, row.last4),
        state=_state(visit, row),
        spent=spent,
        team=teams.get(row.team_id or ""),
        maker=maker.email if maker is not None else row.created_by,
        successor=successors[0] if successors else None,
        entries=entries,
        errors=_translated(visit, errors),
        choices=_choices(visit, row),
        used_on=_used_on,
    )


async def _made(visit: Visit, made: NewKey, replaced: KeyRow | None = None) -> Response:
    """The one page that has the key's text."""
    base_url = f"{visit.parts.base_url()}/api/v1"
    first = samples("chat", _model_for(visit, made.row), base_url)
    response = await visit.render(
        "console/key_made.html", made=made, replaced=replaced, samples=first, base_url=base_url
    )
    response.headers["cache-control"] = "no-store"
    return response


async def _key(visit: Visit) -> KeyRow:
    try:
        async with visit.parts.database.read() as conn:
            return await org_keys.find(conn, _org_id(visit), visit.params["key"])
    except NotThere:
        raise visit.not_found() from None


async def _names(visit: Visit, conn: Connection, found: Sequence[KeyRow]) -> dict[str, str]:
    """What each key is called here: the playground's by whose they are."""
    makers = {
        row.id: (row.created_by or "").removeprefix("user:")
        for row in found
        if row.kind == "playground"
    }
    people = await people_by_ids(conn, sorted(set(makers.values())))
    named = {row.id: row.name for row in found}
    for key_id, maker in makers.items():
        if maker in people:
            named[key_id] = visit._("Playground of {name}", name=people[maker].name)
    return named


def _model_for(visit: Visit, row: KeyRow) -> str:
    """A chat model that the key may use and that can be called now, for the first request."""
    source = visit.parts.catalog
    ready = [
        model.id
        for model in source.current.models.values()
        if model.operation == "chat"
        and model.enabled
        and (row.models is None or model.id in row.models)
        and source.unavailable_reason(model) is None
    ]
    real = [name for name in ready if not name.startswith("sandbox-")]
    return next(iter([*real, *ready]), "MODEL")


def _choices(visit: Visit, row: KeyRow | None) -> dict[str, object]:
    """What may be ticked: the catalog's, and what the key has and the catalog lost."""
    known = _known(visit)
    models = {*known.models, *((row and row.models) or ())}
    providers = {*known.providers, *((row and row.providers) or ())}
    return {
        "operations": OPERATIONS,
        "models": [(name, name) for name in sorted(models)],
        "providers": [(name, name) for name in sorted(providers)],
    }


def _used_on(row: KeyRow) -> str:
    """The day, in UTC, on which the key was last used: more is not noted."""
    day = row.last_used_day
    return "" if day is None else datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m-%d")


def _known(visit: Visit) -> Known:
    catalog = visit.parts.catalog.current
    models = {name for name, model in catalog.models.items() if model.enabled}
    return Known(
        models, {route.provider.name for some in catalog.routes.values() for route in some}
    )


def _translated(visit: Visit, errors: dict[str, str]) -> dict[str, str]:
    return {name: visit._(text) if name else text for name, text in errors.items()}


def _state(visit: Visit, row: KeyRow) -> str:
    return org_keys.state(row, visit.now_us // 1_000_000)


def _org_id(visit: Visit) -> str:
    return visit.params["org"]


def _pepper(visit: Visit) -> bytes:
    return visit.parts.root.derive(sealing.PEPPER)


PAGES = [
    Page("/{lang}/console/{org}/keys", listing, member("view")),
    Page("/{lang}/console/{org}/keys/new", new, member("keys"), ("GET", "POST")),
    Page("/{lang}/console/{org}/keys/{key}", detail, member("view")),
    Page("/{lang}/console/{org}/keys/{key}", change, member("keys"), ("POST",)),
    Page("/{lang}/console/{org}/keys/{key}/roll", roll, member("keys"), ("POST",)),
    Page("/{lang}/console/{org}/keys/{key}/disable", disable, member("keys"), ("POST",)),
]
