"""Redeem codes, for operators: batches, and a new one, whose codes are on one page and no other.

The codes leave as text on the page and as a CSV file inside it (a data address), so that they are
never asked for again.
"""

from __future__ import annotations

import base64
from datetime import date, timedelta

from starlette.responses import Response

from tokenmarket.accounts.admin import NotThere, Refused, Taken
from tokenmarket.core.csv_rows import csv_text
from tokenmarket.core.money import usd_from_nano
from tokenmarket.payments.redeem import BatchWishes, NewBatch
from tokenmarket.reports.periods import day_start_us, local_day
from tokenmarket.store import redeem
from tokenmarket.web.pages.console.billing_forms import amount_nano
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import OPERATOR
from tokenmarket.web.site.visit import Visit

PAGE_BATCHES = 50
SHOWN_REDEEMED = 200
_FIELDS = ("name", "amount", "codes", "expires", "credit_days", "models", "one_per_org")


async def listing(visit: Visit) -> Response:
    """All batches, newest first."""
    async with visit.parts.database.read() as conn:
        found = await redeem.batches(
            conn, before_id=visit.query.get("before", ""), limit=PAGE_BATCHES + 1
        )
    more = len(found) > PAGE_BATCHES
    return await visit.render(
        "admin/codes.html",
        batches=found[:PAGE_BATCHES],
        next=f"?before={found[PAGE_BATCHES - 1][0].id}" if more else None,
    )


async def new(visit: Visit) -> Response:
    """The form, and the codes that it makes."""
    if visit.request.method == "GET":
        in_a_year = local_day(visit.now_us, visit.time_zone) + timedelta(days=365)
        entries = dict.fromkeys(_FIELDS, "") | {
            "codes": "10",
            "expires": in_a_year.isoformat(),
            "credit_days": "0",
        }
        return await _form(visit, entries, {})
    entries = {name: visit.form.get(name, "").strip() for name in _FIELDS}
    wishes, errors = _read(visit, entries)
    if errors:
        return await _form(visit, entries, errors)
    try:
        made = await visit.parts.payments.codes.create(wishes, actor=visit.actor)
    except Refused as error:
        return await _form(visit, entries, {"": visit._(str(error))})
    response = await visit.render(
        "admin/codes_made.html", made=made, file=_file(made), file_name=f"{made.row.id}.csv"
    )
    response.headers["cache-control"] = "no-store"
    return response


async def show(visit: Visit) -> Response:
    """One batch and who has redeemed its codes."""
    async with visit.parts.database.read() as conn:
        row = await redeem.batch_by_id(conn, visit.params["batch"])
        if row is None:
            raise visit.not_found()
        redeemed = await redeem.redeemed_of_batch(conn, row.id, SHOWN_REDEEMED)
    return await visit.render("admin/codes_batch.html", batch=row, redeemed=redeemed)


async def disable(visit: Visit) -> Response:
    """At once and for good."""
    try:
        await visit.parts.payments.codes.disable(visit.params["batch"], actor=visit.actor)
    except NotThere:
        raise visit.not_found() from None
    except Taken:
        pass  # a double click
    address = visit.url(f"/admin/codes/{visit.params['batch']}")
    return visit.redirect(address, flash=("ok", visit._("The batch is disabled.")))


async def _form(visit: Visit, entries: dict[str, str], errors: dict[str, str]) -> Response:
    return await visit.render(
        "admin/codes_new.html",
        status=422 if errors else 200,
        entries=entries,
        errors=errors,
    )


def _read(visit: Visit, entries: dict[str, str]) -> tuple[BatchWishes, dict[str, str]]:
    errors: dict[str, str] = {}
    nano = amount_nano(entries["amount"])
    if not nano:
        errors["amount"] = visit._("Write an amount in USD with at most two decimals.")
    numbers: dict[str, int] = {}
    for name in ("codes", "credit_days"):
        text = entries[name]
        if text.isascii() and text.isdecimal() and len(text) <= 9:
            numbers[name] = int(text)
        else:
            errors[name] = visit._("Write a whole number.")
    expires_us = 0
    try:
        last = date.fromisoformat(entries["expires"])
        expires_us = day_start_us(last + timedelta(days=1), visit.time_zone)
    except (ValueError, OverflowError):
        errors["expires"] = visit._("Write days as in 2026-11-24.")
    wishes = BatchWishes(
        entries["name"],
        nano or 0,
        numbers.get("codes", 0),
        expires_us,
        numbers.get("credit_days", 0),
        tuple(entries["models"].split())[:200],
        bool(entries["one_per_org"]),
    )
    return wishes, errors


def _file(made: NewBatch) -> str:
    """The codes as a CSV file, as a data address."""
    amount = usd_from_nano(made.row.amount_nano)
    rows = csv_text([("code", "amount_usd"), *((code, amount) for code in made.codes)])
    return f"data:text/csv;charset=utf-8;base64,{base64.b64encode(rows.encode()).decode()}"


_BASE = "/{lang}/admin/codes"
PAGES = [
    Page(_BASE, listing, OPERATOR),
    Page(f"{_BASE}/new", new, OPERATOR, ("GET", "POST")),
    Page(f"{_BASE}/{{batch}}", show, OPERATOR),
    Page(f"{_BASE}/{{batch}}/disable", disable, OPERATOR, ("POST",)),
]
