"""An operator's credit or debit of one organisation, with the latest lines of its statement.

The form carries the id of the movement: sent twice, it moves once.
"""

from __future__ import annotations

import os

from starlette.responses import Response

from tokenmarket.accounts.admin import NotThere, Refused, Taken
from tokenmarket.billing import statement
from tokenmarket.core import ids
from tokenmarket.payments import credit
from tokenmarket.store import accounts
from tokenmarket.store.statements import balance_and_debt
from tokenmarket.web.pages.console.billing_forms import amount_nano
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import OPERATOR
from tokenmarket.web.site.visit import Visit

SHOWN = 20


async def adjust(visit: Visit) -> Response:
    """The form; after it the same page with the new balance."""
    if visit.request.method == "GET":
        made = ids.new_id("adj", visit.now_us, os.urandom(ids.RANDOM_BYTES))
        entries = {"id": made, "direction": "credit", "amount": "", "reason": ""}
        return await _form(visit, entries, {})
    entries = {name: visit.form.get(name, "") for name in ("id", "direction", "amount", "reason")}
    nano = amount_nano(entries["amount"])
    if not nano:
        errors = {"amount": visit._("Write an amount in USD with at most two decimals.")}
        return await _form(visit, entries, errors)
    try:
        await credit.adjust(
            visit.parts.database,
            org_id=visit.params["org"],
            adjustment_id=entries["id"],
            amount_nano=-nano if entries["direction"] == "debit" else nano,
            reason=entries["reason"],
            actor=visit.actor,
            now_us=visit.now_us,
        )
    except NotThere:
        raise visit.not_found() from None
    except (Refused, Taken) as error:
        field = "reason" if "reason" in str(error) else ""
        return await _form(visit, entries, {field: visit._(str(error))})
    address = visit.url(f"/admin/orgs/{visit.params['org']}/credit")
    return visit.redirect(address, flash=("ok", visit._("Booked.")))


async def _form(visit: Visit, entries: dict[str, str], errors: dict[str, str]) -> Response:
    org_id = visit.params["org"]
    await visit.parts.wallet.flush()
    async with visit.parts.database.read() as conn:
        org = await accounts.org_by_id(conn, org_id)
        if org is None:
            raise visit.not_found()
        balance_nano, debt_nano = await balance_and_debt(conn, org_id)
        lines = (await statement.page(conn, org_id, statement.ALL, None, SHOWN)).lines
    return await visit.render(
        "admin/credit.html",
        status=422 if errors else 200,
        customer=org,
        balance_nano=balance_nano,
        debt_nano=debt_nano,
        lines=lines,
        entries=entries,
        errors=errors,
    )


PAGES = [Page("/{lang}/admin/orgs/{org}/credit", adjust, OPERATOR, ("GET", "POST"))]
