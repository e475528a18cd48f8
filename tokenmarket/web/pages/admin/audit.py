"""The audit trail of the whole installation, and whether its chain is whole."""

from __future__ import annotations

from starlette.responses import Response

from tokenmarket.store import accounts as rows
from tokenmarket.store.audit import audit_lines
from tokenmarket.store.people import people_by_ids
from tokenmarket.web.pages.admin.said import reading
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import OPERATOR
from tokenmarket.web.site.visit import Visit

PAGE_EVENTS = 100


async def listing(visit: Visit) -> Response:
    """Newest first; by the beginning of an action, by actor, by object. ``check=1`` proves it."""
    query = visit.query
    before = query.get("before", "")
    async with reading(visit) as conn:
        found = await audit_lines(
            conn,
            actor=query.get("actor", "").strip(),
            action_start=query.get("action", "").strip(),
            subject=query.get("object", "").strip(),
            before_seq=int(before) if before.isdecimal() and len(before) < 18 else None,
            limit=PAGE_EVENTS + 1,
        )
        checked = query.get("check") == "1"
        broken = await rows.broken_audit(conn) if checked else None
        ids = list({one.actor.removeprefix("user:") for one in found if one.actor[:5] == "user:"})
        people = await people_by_ids(conn, ids[:500])
    return await visit.render(
        "admin/audit.html",
        events=found[:PAGE_EVENTS],
        after=found[PAGE_EVENTS - 1].seq if len(found) > PAGE_EVENTS else None,
        people={user_id: user.email for user_id, user in people.items()},
        checked=checked,
        broken=broken,
        chosen={name: query.get(name, "") for name in ("actor", "action", "object")},
    )


PAGES = [Page("/{lang}/admin/audit", listing, OPERATOR)]
