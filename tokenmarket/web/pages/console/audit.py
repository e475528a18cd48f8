"""The audit log of an organisation: who did what, newest first, by person and kind."""

from __future__ import annotations

import re
from typing import cast

import msgspec
from starlette.responses import Response

from tokenmarket.core.texts import N_
from tokenmarket.store.audit import AuditRow, audit_lines
from tokenmarket.store.people import User, people_by_ids
from tokenmarket.web.pages.console.place import place
from tokenmarket.web.site.formats import money
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import member
from tokenmarket.web.site.visit import Visit

PAGE_LINES = 50
_USER = re.compile(r"user:(usr_[0-9a-f]{34})")

ACTIONS = {
    "org.create": N_("Organization made"),
    "org.settings": N_("Settings changed"),
    "org.limits": N_("Limits changed"),
    "content.switch": N_("Storing of content changed"),
    "content.read": N_("Content of a request read"),
    "content.delete": N_("Content of a request deleted"),
    "key.create": N_("API key made"),
    "key.change": N_("API key changed"),
    "key.rotate": N_("API key rolled"),
    "key.disable": N_("API key disabled"),
    "member.invite": N_("Member invited"),
    "member.invite_revoke": N_("Invitation revoked"),
    "member.join": N_("Member joined"),
    "member.role": N_("Role changed"),
    "member.remove": N_("Member removed"),
    "member.leave": N_("Member left"),
    "team.create": N_("Team made"),
    "team.change": N_("Team changed"),
    "team.remove": N_("Team removed"),
    "team.join": N_("Person added to a team"),
    "team.leave": N_("Person taken out of a team"),
}
GROUPS = ("org", "key", "member", "team", "content")


class Line(msgspec.Struct):
    """One line as the page shows it; ``action`` in the visitor's language, or its code."""

    row: AuditRow
    action: str
    actor: str
    subject: str
    detail: list[tuple[str, str]]


async def audit(visit: Visit) -> Response:
    org, _ = place(visit)
    query = visit.query
    before = query.get("before", "")
    group = query.get("group", "") if query.get("group") in GROUPS else ""
    async with visit.parts.database.read() as conn:
        found = await audit_lines(
            conn,
            org_id=org.id,
            actor=query.get("actor", ""),
            action=group,
            before_seq=int(before) if re.fullmatch("[0-9]{1,15}", before) else None,
            limit=PAGE_LINES + 1,
        )
        ids = {name for row in found for name in _USER.findall(f"{row.actor} {_as_actor(row)}")}
        named = await people_by_ids(conn, sorted(ids))
    shown = found[:PAGE_LINES]
    return await visit.render(
        "console/audit.html",
        lines=[_line(visit, row, named) for row in shown],
        group=group,
        actor=query.get("actor", ""),
        actor_name=_name(visit, query.get("actor", ""), named),
        older=shown[-1].seq if len(found) > PAGE_LINES else None,
        paged=bool(before),
    )


def _line(visit: Visit, row: AuditRow, named: dict[str, User]) -> Line:
    known = ACTIONS.get(row.action)
    detail: dict[str, object] = msgspec.json.decode(row.detail, type=dict[str, object])
    return Line(
        row=row,
        action=visit._(known) if known else row.action,
        actor=_name(visit, row.actor, named),
        subject=_name(visit, _as_actor(row), named),
        detail=[
            (name.removesuffix("_nano"), _shown(visit, name, value))
            for name, value in detail.items()
            if value is not None and name != "org"
        ],
    )


def _as_actor(row: AuditRow) -> str:
    return f"user:{row.object}" if row.object.startswith("usr_") else row.object


def _name(visit: Visit, actor: str, named: dict[str, User]) -> str:
    """Ids of people become their names; the rest says what it is."""
    if actor.startswith("cli:"):
        return visit._("Command line")
    if actor.startswith("key:"):
        return visit._("Management key {id}", id=actor[4:])

    def replaced(match: re.Match[str]) -> str:
        user = named.get(match[1])
        return match[1] if user is None else f"{user.name} ({user.email})"

    return _USER.sub(replaced, actor)


def _shown(visit: Visit, name: str, value: object) -> str:
    if name.endswith("_nano") and isinstance(value, int):
        return money(visit.lang, value)
    return _text(value)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        items = cast("list[object]", value)
        if len(items) == 2:
            return " → ".join(_text(item) for item in items)
    return msgspec.json.encode(value).decode()


PAGES = [Page("/{lang}/console/{org}/audit", audit, member("audit"))]
