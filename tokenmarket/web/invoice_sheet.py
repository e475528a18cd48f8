"""An issued invoice in the reader's language: what its page, its PDF and its CSV all show."""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol
from zoneinfo import ZoneInfo

from tokenmarket.payments.invoice_files import Sheet
from tokenmarket.payments.invoicing import LATE, OTHER, REFUNDS, Line, document_of
from tokenmarket.payments.tax import Tax, percent
from tokenmarket.store.invoices import InvoiceRow
from tokenmarket.web.site import formats

_UTC = ZoneInfo("UTC")


class Reader(Protocol):
    """Whose language it is in: the visitor of a page, or who asks by API."""

    @property
    def lang(self) -> str: ...

    def _(self, english: str, /, **values: object) -> str: ...


def sheet_of(reader: Reader, row: InvoiceRow) -> Sheet:
    """Amounts have all their digits: they add up as they stand."""
    document = document_of(row)
    buyer = document.buyer
    what = reader._("Credit note") if row.kind == "credit_note" else reader._("Invoice")
    rows = [_row(reader, line) for line in document.lines]
    totals = [(reader._("Consumed"), _money(reader, row.consumed_nano))]
    if row.covered_nano:
        totals.append((reader._("Paid by credit"), _money(reader, -row.covered_nano)))
    totals.append((reader._("Paid from the balance"), _money(reader, row.total_nano)))
    notes = [reader._("Charges of the month, without tax. The balance was paid in advance.")]
    if document.tax is not None:
        totals += _tax_totals(reader, document.tax)
        notes = [
            reader._("The balance was paid in advance."),
            reader._("The tax is rounded half up to a cent, once, on the total."),
        ]
    return Sheet(
        title=f"{what} {row.number}",
        facts=[
            (reader._("Month"), row.period),
            (reader._("Time zone"), row.time_zone),
            (reader._("Issued"), f"{formats.day(_UTC, row.issued_us)} UTC"),
            (reader._("Currency"), "USD"),
        ],
        parties=[
            (
                reader._("From"),
                [part.strip() for part in document.issuer.split(";") if part.strip()],
            ),
            (
                reader._("To"),
                [part for part in (buyer.name, *buyer.address.splitlines(), buyer.tax_id) if part],
            ),
        ],
        heads=(
            reader._("Model"),
            reader._("Unit"),
            reader._("Quantity"),
            reader._("Unit price"),
            reader._("Amount"),
        ),
        rows=rows,
        totals=totals,
        notes=notes,
    )


def _tax_totals(reader: Reader, tax: Tax) -> list[tuple[str, str]]:
    rate = f"{tax.name} {percent(tax.rate_bp)} %"
    how = reader._("included") if tax.included else reader._("added")
    return [
        (reader._("Net"), _money(reader, tax.net_nano)),
        (f"{rate} ({how})", _money(reader, tax.tax_nano)),
        (reader._("Gross"), _money(reader, tax.gross_nano)),
    ]


def _row(reader: Reader, line: Line) -> tuple[str, str, str, str, str]:
    amount = _money(reader, line.amount_nano)
    count = formats.number(reader.lang, Decimal(line.quantity)) if line.quantity else ""
    if line.kind == LATE:
        return reader._("Earlier months, booked later"), "", "", "", amount
    if line.kind == REFUNDS:
        return line.model, reader._("Refunds"), count, "", amount
    if line.kind == OTHER:
        return line.model, reader._("Requests without price lines"), count, "", amount
    per = formats.number(reader.lang, line.per)
    price = f"${line.usd}" if line.per == 1 else f"${line.usd} / {per}"
    return line.model, _unit(reader, line.unit), count, price, amount


def _unit(reader: Reader, name: str) -> str:
    _ = reader._
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


def _money(reader: Reader, nano: int) -> str:
    return formats.money(reader.lang, nano)
