"""Management endpoints of invoices and of Chinese tax invoices; the operator answers the latter."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tokenmarket.accounts.admin import NotThere
from tokenmarket.core.errors import ApiError
from tokenmarket.core.money import usd_from_nano
from tokenmarket.core.wording import say
from tokenmarket.payments import fapiao, invoicing
from tokenmarket.store import invoices
from tokenmarket.store.invoices import FapiaoRow, InvoiceRow
from tokenmarket.web.manage.endpoint import OPERATOR, Call, Endpoint, Listing, page

Text = Annotated[str, msgspec.Meta(max_length=500)]
STATES = ("requested", "issued", "rejected")
WAITING_MAX = 200


class InvoiceLine(msgspec.Struct, kw_only=True):
    """One line of an invoice; ``kind`` is usage, other, refunds or late."""

    kind: str
    model: str
    unit: str
    unit_price: str
    per: int
    quantity: str
    amount: str


class Invoice(msgspec.Struct, kw_only=True):
    """An issued invoice; the amounts of its lines add up to ``consumed``."""

    object: Literal["invoice"] = "invoice"
    id: str
    number: str
    kind: str
    period: str
    time_zone: str
    currency: Literal["USD"] = "USD"
    consumed: str
    paid_by_credit: str
    total: str
    issued_at: int
    lines: list[InvoiceLine] | None = None


class TaxInvoice(msgspec.Struct, kw_only=True):
    """A request for a Chinese tax invoice and its answer."""

    object: Literal["tax_invoice"] = "tax_invoice"
    id: str
    organization_id: str
    invoice_id: str
    kind: str
    title: str
    tax_id: str
    email: str
    note: str
    amount: str
    state: str
    number: str
    url: str
    created_at: int


class TaxInvoiceWishes(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a Chinese tax invoice shall say."""

    kind: Literal["ordinary", "special"]
    title: Annotated[str, msgspec.Meta(max_length=100)]
    tax_id: Annotated[str, msgspec.Meta(max_length=20)] = ""
    email: Annotated[str, msgspec.Meta(max_length=254)]
    note: Text = ""


class TaxInvoiceAnswer(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The operator's answer: a number if it was issued, else the reason."""

    issued: bool
    number: Annotated[str, msgspec.Meta(max_length=200)]
    url: Text = ""


async def invoice_list(call: Call) -> Listing[Invoice]:
    async with call.parts.database.read() as conn:
        found = await invoices.invoices_of(
            conn, call.org_id, before_id=call.cursor, limit=call.limit + 1
        )
    return page([_invoice(row) for row in found], call.limit, lambda item: item.id)


async def invoice(call: Call) -> Invoice:
    async with call.parts.database.read() as conn:
        row = await invoices.invoice_by_id(conn, call.org_id, call.params["id"])
    if row is None:
        raise NotThere("There is no such invoice.")
    lines = [
        InvoiceLine(
            kind=line.kind or "usage",
            model=line.model,
            unit=line.unit,
            unit_price=line.usd,
            per=line.per,
            quantity=line.quantity,
            amount=usd_from_nano(line.amount_nano),
        )
        for line in invoicing.document_of(row).lines
    ]
    return msgspec.structs.replace(_invoice(row), lines=lines)


def _invoice(row: InvoiceRow) -> Invoice:
    return Invoice(
        id=row.id,
        number=row.number,
        kind=row.kind,
        period=row.period,
        time_zone=row.time_zone,
        consumed=usd_from_nano(row.consumed_nano),
        paid_by_credit=usd_from_nano(row.covered_nano),
        total=usd_from_nano(row.total_nano),
        issued_at=row.issued_us // 1_000_000,
    )


async def ask_tax_invoice(call: Call) -> TaxInvoice:
    body: TaxInvoiceWishes = call.body
    wishes = fapiao.Wishes(body.kind, body.title, body.tax_id, body.email, body.note)
    row = await fapiao.request(
        call.parts.database,
        call.org_id,
        call.params["id"],
        wishes,
        actor=call.actor,
        now_us=call.now_us,
    )
    return _tax_invoice(row)


def _tax_invoice(row: FapiaoRow) -> TaxInvoice:
    return TaxInvoice(
        id=row.id,
        organization_id=row.org_id,
        invoice_id=row.invoice_id,
        kind=row.kind,
        title=row.title,
        tax_id=row.tax_id,
        email=row.email,
        note=row.note,
        amount=usd_from_nano(row.amount_nano),
        state=row.state,
        number=row.number,
        url=row.url,
        created_at=row.created_us // 1_000_000,
    )


async def tax_invoices(call: Call) -> Listing[TaxInvoice]:
    state = call.query.get("state", "requested")
    if state not in STATES:
        raise ApiError(
            "REQUEST_001", say("state is one of {states}.", states=", ".join(STATES)), param="state"
        )
    async with call.parts.database.read() as conn:
        found = await invoices.fapiao_list(conn, state, min(call.limit, WAITING_MAX))
    return Listing(data=[_tax_invoice(row) for row, _ in found])


async def answer(call: Call) -> TaxInvoice:
    body: TaxInvoiceAnswer = call.body
    await fapiao.decide(
        call.parts.database,
        call.params["id"],
        issued=body.issued,
        number=body.number,
        url=body.url,
        actor=call.actor,
        now_us=call.now_us,
    )
    async with call.parts.database.read() as conn:
        row = await invoices.fapiao_by_id(conn, call.params["id"])
    if row is None:
        raise NotThere("There is no such request.")
    return _tax_invoice(row)


_TAG = "Invoices"
ENDPOINTS = [
    Endpoint(
        "GET",
        "/invoices",
        "billing.view",
        invoice_list,
        None,
        Listing[Invoice],
        "Invoices, the latest month first.",
        _TAG,
    ),
    Endpoint("GET", "/invoices/{id}", "billing.view", invoice, None, Invoice, "One invoice.", _TAG),
    Endpoint(
        "POST",
        "/invoices/{id}/tax-invoice",
        "billing",
        ask_tax_invoice,
        TaxInvoiceWishes,
        TaxInvoice,
        "Ask for a Chinese tax invoice.",
        _TAG,
    ),
    Endpoint(
        "GET",
        "/admin/tax-invoices",
        OPERATOR,
        tax_invoices,
        None,
        Listing[TaxInvoice],
        "Requests for Chinese tax invoices; those that wait, oldest first.",
        _TAG,
        query=(("state", "requested, issued or rejected."),),
    ),
    Endpoint(
        "POST",
        "/admin/tax-invoices/{id}/answer",
        OPERATOR,
        answer,
        TaxInvoiceAnswer,
        TaxInvoice,
        "Answer a request for a Chinese tax invoice.",
        _TAG,
    ),
]
