"""Keys of the management API: an organisation's in its settings, operators' in theirs.

The two differ in who may see them and in the roles on offer. As with API keys, a new key's text is
in the answer to the form that made it and nowhere else.
"""

from __future__ import annotations

from starlette.responses import Response

from tokenmarket.accounts import manage_keys
from tokenmarket.accounts.admin import NotThere, Refused
from tokenmarket.accounts.manage_keys import OPERATOR as OPERATOR_ROLE
from tokenmarket.core import sealing
from tokenmarket.core.keys import hint
from tokenmarket.core.roles import ROLES
from tokenmarket.store import manage_keys as rows
from tokenmarket.store.manage_keys import ManageKeyRow
from tokenmarket.store.people import people_by_ids
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import OPERATOR, member
from tokenmarket.web.site.visit import Visit

PAGE_KEYS = 50
LIVES_DAYS = (30, 90, 365)
DAY_S = 86_400


async def listing(visit: Visit) -> Response:
    """Newest first, with who made each and when it was used."""
    org_id, parts = _org_id(visit), visit.parts
    async with parts.database.read() as conn:
        found = await rows.keys_of(
            conn, org_id, after=visit.query.get("after", ""), limit=PAGE_KEYS + 1
        )
        makers = [row.maker.removeprefix("user:") for row in found if row.maker[:5] == "user:"]
        people = await people_by_ids(conn, makers)
    return await visit.render(
        "console/manage_keys.html",
        keys=[(row, hint(row.prefix, row.last4), _state(visit, row)) for row in found[:PAGE_KEYS]],
        after=found[PAGE_KEYS - 1].id if len(found) > PAGE_KEYS else None,
        people=people,
        home=_home(visit),
        operator=visit.org is None,
    )


async def new(visit: Visit) -> Response:
    """The form, and the key that it makes."""
    if visit.request.method == "GET":
        return await _form(visit, {})
    form = visit.form
    role, days = form.get("role", ""), form.get("days", "")
    if role not in _roles(visit) or days not in {str(one) for one in LIVES_DAYS}:
        return await _form(visit, {"": visit._("Some entries need your attention.")})
    parts = visit.parts
    try:
        async with parts.database.begin() as conn:
            made = await manage_keys.create(
                conn,
                org_id=_org_id(visit),
                role=role,
                name=form.get("name", "").strip(),
                expires_at_s=visit.now_us // 1_000_000 + int(days) * DAY_S,
                pepper=parts.root.derive(sealing.PEPPER),
                giver=visit.role or OPERATOR_ROLE,
                maker=visit.actor,
                actor=visit.actor,
                now_us=visit.now_us,
            )
    except Refused:
        text = visit._(
            "Write one line of at most 100 characters; there are at most 100 valid keys."
        )
        return await _form(visit, {"name": text})
    return await visit.render(
        "console/manage_key_made.html",
        made=made,
        home=_home(visit),
        operator=visit.org is None,
        base_url=parts.base_url(),
    )


async def disable(visit: Visit) -> Response:
    """At once and for good."""
    try:
        async with visit.parts.database.begin() as conn:
            row = await manage_keys.disable(
                conn,
                _org_id(visit),
                visit.params["key"],
                actor=visit.actor,
                now_us=visit.now_us,
            )
    except NotThere:
        raise visit.not_found() from None
    text = visit._("The key {name} is disabled.", name=row.name)
    return visit.redirect(visit.url(_home(visit)), flash=("ok", text))


async def _form(visit: Visit, errors: dict[str, str]) -> Response:
    return await visit.render(
        "console/manage_key_new.html",
        status=422 if errors else 200,
        errors=errors,
        form=visit.form,
        roles=_roles(visit),
        days=LIVES_DAYS,
        home=_home(visit),
        operator=visit.org is None,
    )


def _org_id(visit: Visit) -> str:
    """Empty on operators' pages."""
    return "" if visit.org is None else visit.org.id


def _home(visit: Visit) -> str:
    return "/admin/settings/api" if visit.org is None else "@/settings/api"


def _roles(visit: Visit) -> list[str]:
    """Those that whoever looks may give."""
    if visit.org is None:
        return [OPERATOR_ROLE]
    return [role for role in ROLES if manage_keys.may_give(visit.role or "", role)]


def _state(visit: Visit, row: ManageKeyRow) -> str:
    if row.disabled_at_s is not None:
        return "disabled"
    ended = row.expires_at_s is not None and row.expires_at_s * 1_000_000 <= visit.now_us
    return "expired" if ended else "active"


_SETTINGS = member("settings")
PAGES = [
    Page("/{lang}/console/{org}/settings/api", listing, _SETTINGS),
    Page("/{lang}/console/{org}/settings/api/new", new, _SETTINGS, ("GET", "POST"), step_up=True),
    Page("/{lang}/console/{org}/settings/api/{key}/disable", disable, _SETTINGS, ("POST",)),
    Page("/{lang}/admin/settings/api", listing, OPERATOR),
    Page("/{lang}/admin/settings/api/new", new, OPERATOR, ("GET", "POST"), step_up=True),
    Page("/{lang}/admin/settings/api/{key}/disable", disable, OPERATOR, ("POST",)),
]
