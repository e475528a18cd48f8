"""An issued invoice in the reader's language: what its page, its PDF and its CSV all show."""

from __future__ import annotations

from decimal import Decimal

from tokenmarket.payments.invoice_files import Sheet
from tokenmarket.payments.invoicing import LATE, OTHER, REFUNDS, Line, document_of
from tokenmarket.store.invoices import InvoiceRow
from tokenmarket.web.site import formats
from tokenmarket.web.site.visit import UTC_ZONE, Visit


def sheet_of(visit: Visit, row: InvoiceRow) -> Sheet:
    """Amounts have all their digits: they add up as they stand."""
    document = document_of(row)
    buyer = document.buyer
    what = visit._("Credit note") if row.kind == "credit_note" else visit._("Invoice")
    rows = [_row(visit, line) for line in document.lines]
    totals = [(visit._("Consumed"), _money(visit, row.consumed_nano))]
    if row.covered_nano:
        totals.append((visit._("Paid by credit"), _money(visit, -row.covered_nano)))
    totals.append((visit._("Paid from the balance"), _money(visit, row.total_nano)))
    return Sheet(
        title=f"{what} {row.number}",
        facts=[
            (visit._("Month"), row.period),
            (visit._("Time zone"), row.time_zone),
            (visit._("Issued"), f"{formats.day(UTC_ZONE, row.issued_us)} UTC"),
            (visit._("Currency"), "USD"),
        ],
        parties=[
            (
                visit._("From"),
                [part.strip() for part in document.issuer.split(";") if part.strip()],
            ),
            (
                visit._("To"),
                [part for part in (buyer.name, *buyer.address.splitlines(), buyer.tax_id) if part],
            ),
        ],
        heads=(
            visit._("Model"),
            visit._("Unit"),
            visit._("Quantity"),
            visit._("Unit price"),
            visit._("Amount"),
        ),
        rows=rows,
        totals=totals,
        notes=[
            visit._("Charges of the month, without tax. The balance was paid in advance."),
        ],
    )


def _row(visit: Visit, line: Line) -> tuple[str, str, str, str, str]:
    amount = _money(visit, line.amount_nano)
    count = formats.number(visit.lang, Decimal(line.quantity)) if line.quantity else ""
    if line.kind == LATE:
        return visit._("Earlier months, booked later"), "", "", "", amount
    if line.kind == REFUNDS:
        return line.model, visit._("Refunds"), count, "", amount
    if line.kind == OTHER:
        return line.model, visit._("Requests without price lines"), count, "", amount
    per = formats.number(visit.lang, line.per)
    price = f"${line.usd}" if line.per == 1 else f"${line.usd} / {per}"
    return line.model, _unit(visit, line.unit), count, price, amount


def _unit(visit: Visit, name: str) -> str:
    _ = visit._
    return {
        "input_token": _("input"),
        "cached_input_token": _("cached input"),
        "cache_write_token": _("cache write"),
        "cache_write_long_token": _("cache write, one hour"),
        "output_token": _("output"),
        "reasoning_token": _("reasoning"),
        "audio_input_token": _("audio input"),
        "audio_output_token": _("audio output"),
        "image_input_token": _("image input"),
        "image_output_token": _("image output"),
        "video_token": _("video tokens"),
        "character": _("characters"),
        "request": _("request"),
        "image": _("image"),
        "audio_second": _("audio"),
        "video_second": _("video"),
        "input_video_second": _("input video"),
        "search": _("search"),
        "web_search": _("web search"),
        "tool_call": _("tool call"),
    }.get(name, name)


def _money(visit: Visit, nano: int) -> str:
    return formats.money(visit.lang, nano)
