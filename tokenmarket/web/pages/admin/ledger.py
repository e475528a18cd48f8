"""The ledger of all organisations, newest first, for the operator. Reads only."""

from __future__ import annotations

import re
from urllib.parse import urlencode

from starlette.responses import Response

from tokenmarket.store import report_ledger, report_names
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import OPERATOR
from tokenmarket.web.site.visit import Visit

ENTRIES = 100
_ROW = re.compile(r"[0-9]{1,15}")


async def page(visit: Visit) -> Response:
    """``org``, ``kind`` and ``ref`` narrow it."""
    query = visit.query
    org_id = query.get("org", "").strip()
    kind = query.get("kind", "")
    ref = query.get("ref", "").strip()
    cursor = query.get("cursor", "")
    await visit.parts.wallet.flush()
    async with visit.parts.database.read() as conn:
        found = await report_ledger.ledger_page(
            conn,
            org_id=org_id or None,
            kind=kind if kind in report_ledger.KINDS else None,
            ref=ref or None,
            before_row=int(cursor) if _ROW.fullmatch(cursor) else None,
            limit=ENTRIES,
        )
        orgs = sorted({entry.org_id for entry in found.entries})
        org_names = await report_names.org_names(conn, orgs)
    base = visit.url("/admin/ledger")
    narrowed = {"org": org_id, "kind": kind, "ref": ref}

    def link(**changes: str) -> str:
        values = {name: value for name, value in (narrowed | changes).items() if value}
        return f"{base}?{urlencode(values)}" if values else base

    return await visit.render(
        "admin/ledger.html",
        nav="ledger",
        found=found,
        org_names=org_names,
        narrowed=narrowed,
        kinds=report_ledger.KINDS,
        first=link() if cursor else None,
        following=None if found.next_row is None else link(cursor=str(found.next_row)),
    )


PAGES = [Page("/{lang}/admin/ledger", page, OPERATOR)]
