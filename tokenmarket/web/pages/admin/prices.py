"""Prices: what changes when, looked at before it goes out.

form -> draft, which is the preview -> scheduled -> published by the server at its moment
"""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from tokenmarket.accounts.admin import NotThere, Refused
from tokenmarket.backoffice import catalog_edits, prices
from tokenmarket.core.catalog_groups import marked_up, percent_text
from tokenmarket.core.catalog_rows import PriceEntry
from tokenmarket.core.price_terms import PriceTerms, terms_of
from tokenmarket.core.usage import UNITS
from tokenmarket.store import org_groups, price_changes
from tokenmarket.store.people import people_by_ids
from tokenmarket.web.pages.admin.said import (
    WRONG,
    Entries,
    moment_us,
    or_not_found,
    reading,
    said,
    shipped,
)
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import OPERATOR
from tokenmarket.web.site.visit import Visit

PAGE_CHANGES = 50
BLANK_ROWS = 3
ROWS_MAX = 200


class Row(msgspec.Struct, frozen=True):
    """One line of the form: price and cost of a unit under conditions, as written."""

    unit: str = ""
    when: str = ""
    usd: str = ""
    cost: str = ""


async def listing(visit: Visit) -> Response:
    """All price changes, newest first."""
    states: tuple[price_changes.State, ...] | None = None
    wanted = visit.query.get("state", "")
    if wanted in ("draft", "scheduled", "published", "cancelled", "failed"):
        states = (msgspec.convert(wanted, price_changes.State),)
    async with reading(visit) as conn:
        found = await price_changes.listed(
            conn,
            states=states,
            before_id=visit.query.get("before"),
            limit=PAGE_CHANGES + 1,
        )
    return await visit.render(
        "admin/prices.html",
        changes=found[:PAGE_CHANGES],
        after=found[PAGE_CHANGES - 1].id if len(found) > PAGE_CHANGES else None,
        chosen={"state": wanted},
    )


async def new(visit: Visit) -> Response:
    """The form for one route, filled with what is in force; it makes a draft."""
    key = (visit.params["model"], visit.params["provider"])
    async with reading(visit) as conn:
        document = await catalog_edits.in_force(conn, shipped(visit))
        before = terms_of(catalog_edits.find_route(document, key))
    errors: dict[str, str] = {}
    rows = _rows(before)
    if visit.request.method == "POST":
        rows = _rows_of_form(visit)
        try:
            change_id = await _draft(visit, key, rows)
        except WRONG as error:
            errors = {"": said(visit, error)}
        else:
            return visit.redirect(visit.url(f"/admin/prices/versions/{change_id}"))
    rows = [row for row in rows if row.unit or row.usd or row.cost]
    return await visit.render(
        "admin/price_new.html",
        status=422 if errors else 200,
        model=key[0],
        provider=key[1],
        rows=rows + [Row()] * BLANK_ROWS,
        units=list(UNITS),
        entries=Entries(visit.form or {"markup_percent": before.markup_percent}),
        errors=errors,
        zone=str(visit.time_zone),
    )


async def detail(visit: Visit) -> Response:
    """One change: old and new price, difference, margin, an example, every group's price."""
    async with reading(visit) as conn:
        change = await prices.find(conn, visit.params["change"])
        document = await catalog_edits.in_force(conn, shipped(visit))
        groups = await org_groups.listed(conn)
        author_id = change.author.removeprefix("user:")
        people = await people_by_ids(conn, [author_id])
    before = change.terms_before
    if change.state in ("draft", "scheduled"):
        async with or_not_found(visit):
            row = catalog_edits.find_route(document, (change.model, change.provider))
            before = terms_of(row)
    preview = prices.compare(before or PriceTerms(), change.terms)
    sheet = change.terms.sheet()
    return await visit.render(
        "admin/price.html",
        change=change,
        preview=preview,
        before=before,
        groups=[
            (group.name, percent_text(group.markup_bp), marked_up(sheet, group.markup_bp).rows)
            for group in groups
        ],
        author=people[author_id].email if author_id in people else change.author,
        zone=str(visit.time_zone),
    )


async def decide(visit: Visit) -> Response:
    """Schedule (or publish at once), or cancel."""
    change_id, action = visit.params["change"], visit.form.get("action", "")
    try:
        async with or_not_found(visit), visit.parts.database.begin() as conn:
            now_us, actor = visit.now_us, visit.actor
            if action == "cancel":
                await prices.cancel(conn, change_id, now_us=now_us, actor=actor)
                text = visit._("The change is cancelled.")
            else:
                await prices.schedule(conn, change_id, now_us=now_us, actor=actor)
                text = visit._("The price goes out at its moment.")
    except WRONG as error:
        flash = ("bad", said(visit, error))
        return visit.redirect(visit.url(f"/admin/prices/versions/{change_id}"), flash=flash)
    return visit.redirect(visit.url(f"/admin/prices/versions/{change_id}"), flash=("ok", text))


async def _draft(visit: Visit, key: tuple[str, str], rows: list[Row]) -> str:
    """Raises Refused, Taken."""
    form = visit.form
    effective = form.get("effective", "").strip()
    effective_us = moment_us(visit, effective) if effective else visit.now_us
    if effective_us is None:
        raise Refused(visit._("Write the moment as a date and a time."))
    terms = PriceTerms(
        tuple(PriceEntry(row.unit, row.usd, *_when(visit, row)) for row in rows if row.usd),
        tuple(PriceEntry(row.unit, row.cost, *_when(visit, row)) for row in rows if row.cost),
        form.get("markup_percent", "").strip() or "0",
    )
    try:
        async with visit.parts.database.begin() as conn:
            change = await prices.draft(
                conn,
                shipped(visit),
                key,
                terms,
                effective_us=effective_us,
                reason=form.get("reason", ""),
                now_us=visit.now_us,
                actor=visit.actor,
            )
    except NotThere:
        raise visit.not_found() from None
    return change.id


def _rows(terms: PriceTerms) -> list[Row]:
    """Price and cost side by side."""
    costs = {(one.unit, one.when, one.context_above): one.usd for one in terms.cost}
    rows = [
        Row(
            one.unit,
            _condition(one),
            one.usd,
            costs.pop((one.unit, one.when, one.context_above), ""),
        )
        for one in terms.price
    ]
    costs_only = [
        Row(unit, _condition(PriceEntry(unit, usd, when, above)), "", usd)
        for (unit, when, above), usd in costs.items()
    ]
    return rows + costs_only


def _rows_of_form(visit: Visit) -> list[Row]:
    lists = [visit.form_lists.get(name, []) for name in ("unit", "when", "usd", "cost")]
    return [Row(*(text.strip() for text in row)) for row in list(zip(*lists, strict=False))][
        :ROWS_MAX
    ]


def _condition(entry: PriceEntry) -> str:
    parts = [f"{name}={value}" for name, value in entry.when]
    if entry.context_above:
        parts.append(f"context_above={entry.context_above}")
    return ", ".join(parts)


def _when(visit: Visit, row: Row) -> tuple[tuple[tuple[str, str], ...], int]:
    """Raises Refused."""
    above, pairs = 0, list[tuple[str, str]]()
    for part in filter(None, (one.strip() for one in row.when.split(","))):
        name, equals, value = (text.strip() for text in part.partition("="))
        if not equals or not name or not value:
            raise Refused(visit._("Write conditions as in resolution=720p, separated by commas."))
        if name == "context_above":
            if not value.isdecimal() or len(value) > 9:
                raise Refused(visit._("context_above takes a whole number of tokens."))
            above = int(value)
        else:
            pairs.append((name, value))
    return tuple(sorted(pairs)), above


PAGES = [
    Page("/{lang}/admin/prices", listing, OPERATOR),
    Page("/{lang}/admin/prices/new/{provider}/{model:path}", new, OPERATOR, ("GET", "POST")),
    Page("/{lang}/admin/prices/versions/{change}", detail, OPERATOR),
    Page("/{lang}/admin/prices/versions/{change}", decide, OPERATOR, ("POST",)),
]
