"""Invoices of an organisation: list and billing details, one invoice, its files, tax invoices."""

from __future__ import annotations

import asyncio

from starlette.responses import Response

from tokenmarket.accounts.admin import Refused, Taken
from tokenmarket.core.csv_rows import CONTENT_TYPE
from tokenmarket.core.roles import may
from tokenmarket.payments import fapiao, invoicing
from tokenmarket.payments.fapiao import Wishes
from tokenmarket.payments.invoice_files import csv_file, pdf_file
from tokenmarket.payments.invoicing import Legal
from tokenmarket.store import invoices
from tokenmarket.store.invoices import InvoiceRow
from tokenmarket.web.invoice_sheet import sheet_of
from tokenmarket.web.pages.console.billing_forms import org_id
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import member
from tokenmarket.web.site.visit import Visit

PAGE_INVOICES = 24
_FIELDS = ("name", "address", "tax_id", "email")


async def listing(visit: Visit) -> Response:
    """All invoices, the latest first, and who the next is made out to."""
    legal = await invoicing.legal_of(visit.parts.database, org_id(visit))
    return await _listing(visit, legal, {})


async def details(visit: Visit) -> Response:
    """Takes the form of the billing details."""
    given = {name: visit.form.get(name, "").strip() for name in _FIELDS}
    legal = Legal(**given)
    try:
        await invoicing.set_legal(
            visit.parts.database, org_id(visit), legal, actor=visit.actor, now_us=visit.now_us
        )
    except Refused as error:
        return await _listing(visit, legal, {"": visit._(str(error))})
    return visit.redirect(visit.url("@/billing/invoices"), flash=("ok", visit._("Saved.")))


async def _listing(visit: Visit, legal: Legal, errors: dict[str, str]) -> Response:
    async with visit.parts.database.read() as conn:
        found = await invoices.invoices_of(
            conn,
            org_id(visit),
            before_id=visit.query.get("before", ""),
            limit=PAGE_INVOICES + 1,
        )
    more = len(found) > PAGE_INVOICES
    return await visit.render(
        "console/billing/invoices.html",
        status=422 if errors else 200,
        invoices=found[:PAGE_INVOICES],
        next=f"?before={found[PAGE_INVOICES - 1].id}" if more else None,
        legal=legal,
        errors=errors,
    )


async def show(visit: Visit) -> Response:
    """One invoice, and the request for a tax invoice on it."""
    return await _show(visit, await _invoice(visit), None, {})


async def _show(
    visit: Visit, row: InvoiceRow, entries: Wishes | None, errors: dict[str, str]
) -> Response:
    async with visit.parts.database.read() as conn:
        requests = await invoices.fapiao_of_invoice(conn, row.org_id, row.id)
    buyer = invoicing.document_of(row).buyer
    stands = any(one.active is not None for one in requests)
    return await visit.render(
        "console/billing/invoice.html",
        status=422 if errors else 200,
        row=row,
        sheet=sheet_of(visit, row),
        requests=requests,
        can_ask=may(visit.role or "", "billing") and row.total_nano > 0 and not stands,
        entries=entries or Wishes("ordinary", buyer.name, buyer.tax_id, buyer.email),
        errors=errors,
    )


async def pdf(visit: Visit) -> Response:
    row = await _invoice(visit)
    body = await asyncio.to_thread(pdf_file, sheet_of(visit, row))
    return visit.file(body, "application/pdf", f"{row.number}.pdf")


async def csv(visit: Visit) -> Response:
    row = await _invoice(visit)
    return visit.file(csv_file(sheet_of(visit, row)), CONTENT_TYPE, f"{row.number}.csv")


async def ask_fapiao(visit: Visit) -> Response:
    """Takes the request for a tax invoice."""
    row = await _invoice(visit)
    given = {name: visit.form.get(name, "").strip() for name in Wishes._fields}
    wishes = Wishes(**given)
    if wrong := fapiao.problems(wishes):
        errors = {name: visit._(text) for name, text in wrong.items()}
        return await _show(visit, row, wishes, errors)
    try:
        await fapiao.request(
            visit.parts.database,
            row.org_id,
            row.id,
            wishes,
            actor=visit.actor,
            now_us=visit.now_us,
        )
    except (Refused, Taken) as error:
        return await _show(visit, row, wishes, {"": visit._(str(error))})
    text = visit._("Requested. The operator answers here.")
    return visit.redirect(visit.url(f"@/billing/invoices/{row.id}"), flash=("ok", text))


async def _invoice(visit: Visit) -> InvoiceRow:
    async with visit.parts.database.read() as conn:
        row = await invoices.invoice_by_id(conn, org_id(visit), visit.params["invoice"])
    if row is None:
        raise visit.not_found()
    return row


_BASE = "/{lang}/console/{org}/billing/invoices"
PAGES = [
    Page(_BASE, listing, member("billing.view")),
    Page(_BASE, details, member("billing"), ("POST",)),
    Page(f"{_BASE}/{{invoice}}", show, member("billing.view")),
    Page(f"{_BASE}/{{invoice}}/pdf", pdf, member("billing.view")),
    Page(f"{_BASE}/{{invoice}}/csv", csv, member("billing.view")),
    Page(f"{_BASE}/{{invoice}}/fapiao", ask_fapiao, member("billing"), ("POST",)),
]
