"""Requests for Chinese tax invoices, for operators: what waits, and the answer to each."""

from __future__ import annotations

from starlette.responses import Response

from tokenmarket.accounts.admin import NotThere, Refused, Taken
from tokenmarket.payments import fapiao
from tokenmarket.store import invoices
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import OPERATOR
from tokenmarket.web.site.visit import Visit

SHOWN = 200
STATES = ("requested", "issued", "rejected")


async def listing(visit: Visit) -> Response:
    """By state; those that wait first."""
    return await _listing(visit, {}, "")


async def _listing(visit: Visit, errors: dict[str, str], wrong_id: str) -> Response:
    state = visit.query.get("state", "requested")
    state = state if state in STATES else "requested"
    async with visit.parts.database.read() as conn:
        found = await invoices.fapiao_list(conn, state, SHOWN)
    return await visit.render(
        "admin/tax_invoices.html",
        status=422 if errors else 200,
        requests=found,
        state=state,
        errors=errors,
        wrong_id=wrong_id,
        entries={name: visit.form.get(name, "") for name in ("number", "url")},
    )


async def decide(visit: Visit) -> Response:
    """Issued with its number, or rejected with the reason."""
    request_id = visit.params["request"]
    try:
        await fapiao.decide(
            visit.parts.database,
            request_id,
            issued=visit.form.get("answer") == "issued",
            number=visit.form.get("number", ""),
            url=visit.form.get("url", ""),
            actor=visit.actor,
            now_us=visit.now_us,
        )
    except NotThere:
        raise visit.not_found() from None
    except (Refused, Taken) as error:
        return await _listing(visit, {"": visit._(str(error))}, request_id)
    return visit.redirect(visit.url("/admin/invoices"), flash=("ok", visit._("Answered.")))


PAGES = [
    Page("/{lang}/admin/invoices", listing, OPERATOR),
    Page("/{lang}/admin/invoices/{request}", decide, OPERATOR, ("POST",)),
]
