"""Management endpoints of invoices and of Chinese tax invoices; the operator answers the latter."""

from __future__ import annotations

import asyncio
import functools
from typing import Annotated, Literal

import msgspec

from tokenmarket.accounts.admin import NotThere
from tokenmarket.core.csv_rows import CONTENT_TYPE
from tokenmarket.core.errors import ApiError
from tokenmarket.core.money import usd_from_nano
from tokenmarket.core.wording import say
from tokenmarket.payments import fapiao, invoicing, tax
from tokenmarket.payments.invoice_files import Sheet, csv_file, pdf_file
from tokenmarket.store import invoices
from tokenmarket.store.invoices import FapiaoRow, InvoiceRow
from tokenmarket.web.invoice_sheet import sheet_of
from tokenmarket.web.manage.endpoint import OPERATOR, Call, Endpoint, File, Listing, page
from tokenmarket.web.site.i18n import LANGUAGES, Texts, load

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


class InvoiceTax(msgspec.Struct, kw_only=True):
    """The tax on ``total``: ``rate`` in percent; included in it, or added on top."""

    name: str
    rate: str
    included: bool
    net: str
    tax: str
    gross: str


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
    tax: InvoiceTax | None = None
    lines: list[InvoiceLine] | None = None


class BillingDetails(msgspec.Struct, kw_only=True):
    """Who the next invoices are made out to; empty: the organization's name."""

    object: Literal["billing_details"] = "billing_details"
    name: str
    address: str
    tax_id: str
    email: str


class BillingDetailsBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Who the next invoices shall be made out to."""

    name: Text = ""
    address: Text = ""
    tax_id: Text = ""
    email: Text = ""


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
    row = await _row(call)
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


async def _row(call: Call) -> InvoiceRow:
    """Raises NotThere."""
    async with call.parts.database.read() as conn:
        row = await invoices.invoice_by_id(conn, call.org_id, call.params["id"])
    if row is None:
        raise NotThere("There is no such invoice.")
    return row


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
        tax=_tax(invoicing.document_of(row).tax),
    )


def _tax(found: tax.Tax | None) -> InvoiceTax | None:
    if found is None:
        return None
    return InvoiceTax(
        name=found.name,
        rate=tax.percent(found.rate_bp),
        included=found.included,
        net=usd_from_nano(found.net_nano),
        tax=usd_from_nano(found.tax_nano),
        gross=usd_from_nano(found.gross_nano),
    )


async def invoice_pdf(call: Call) -> File:
    row, sheet = await _sheet(call)
    body = await asyncio.to_thread(pdf_file, sheet)
    return File(name=f"{row.number}.pdf", content_type="application/pdf", body=body)


async def invoice_csv(call: Call) -> File:
    row, sheet = await _sheet(call)
    return File(name=f"{row.number}.csv", content_type=CONTENT_TYPE, body=csv_file(sheet).encode())


async def _sheet(call: Call) -> tuple[InvoiceRow, Sheet]:
    """Raises NotThere, ApiError."""
    language = call.query.get("language", "en")
    if language not in LANGUAGES:
        raise ApiError("REQUEST_001", "language is en or zh.", param="language")
    row = await _row(call)
    texts = await asyncio.to_thread(_texts, call.parts.config.strict_texts)
    return row, sheet_of(_Reader(language, texts), row)


class _Reader(msgspec.Struct, frozen=True):
    lang: str
    texts: Texts

    def _(self, english: str, /, **values: object) -> str:
        return self.texts.text(self.lang, english, **values)


@functools.cache
def _texts(strict: bool) -> Texts:  # read once, when the first file is asked for
    return load(strict=strict)


async def billing_details(call: Call) -> BillingDetails:
    legal = await invoicing.legal_of(call.parts.database, call.org_id)
    return BillingDetails(**msgspec.structs.asdict(legal))


async def put_billing_details(call: Call) -> BillingDetails:
    body: BillingDetailsBody = call.body
    texts = {name: text.strip() for name, text in msgspec.structs.asdict(body).items()}
    await invoicing.set_legal(
        call.parts.database,
        call.org_id,
        invoicing.Legal(**texts),
        actor=call.actor,
        now_us=call.now_us,
    )
    return await billing_details(call)


async def tax_invoices_of(call: Call) -> Listing[TaxInvoice]:
    row = await _row(call)
    async with call.parts.database.read() as conn:
        found = await invoices.fapiao_of_invoice(conn, row.org_id, row.id)
    return Listing(data=[_tax_invoice(one) for one in found[: call.limit]])


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
_LANGUAGE = (("language", "en or zh; en unless given."),)
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
        "GET",
        "/invoices/{id}/pdf",
        "billing.view",
        invoice_pdf,
        None,
        File,
        "An invoice as a PDF file.",
        _TAG,
        query=_LANGUAGE,
        file="application/pdf",
    ),
    Endpoint(
        "GET",
        "/invoices/{id}/csv",
        "billing.view",
        invoice_csv,
        None,
        File,
        "An invoice as a CSV file.",
        _TAG,
        query=_LANGUAGE,
        file="text/csv",
    ),
    Endpoint(
        "GET",
        "/billing-details",
        "billing.view",
        billing_details,
        None,
        BillingDetails,
        "Who invoices are made out to.",
        _TAG,
    ),
    Endpoint(
        "PUT",
        "/billing-details",
        "billing",
        put_billing_details,
        BillingDetailsBody,
        BillingDetails,
        "Changes who the next invoices are made out to.",
        _TAG,
    ),
    Endpoint(
        "GET",
        "/invoices/{id}/tax-invoices",
        "billing.view",
        tax_invoices_of,
        None,
        Listing[TaxInvoice],
        "Requests for Chinese tax invoices on an invoice, the latest first.",
        _TAG,
    ),
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
