"""Billing of an organisation: balance, statement, redeem codes, low-balance alert."""

from __future__ import annotations

from datetime import date, timedelta

import msgspec
from starlette.responses import Response

from tokenmarket.accounts.admin import NotThere, Refused, Taken
from tokenmarket.billing import statement
from tokenmarket.core.csv_rows import CONTENT_TYPE, csv_text
from tokenmarket.core.money import usd_from_nano
from tokenmarket.payments.redeem import TooMany
from tokenmarket.reports.periods import day_start_us, local_day
from tokenmarket.store import invoices, orders, redeem
from tokenmarket.store.money import NEVER_US
from tokenmarket.store.statements import Place, Wanted, balance_and_debt, buckets
from tokenmarket.web.pages.console.billing_forms import amount_nano, org_id
from tokenmarket.web.site import formats
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import member
from tokenmarket.web.site.visit import Visit

PAGE_LINES = 50
CSV_LINES_MAX = 100_000
_CSV_CHUNK = 1_000
_names = msgspec.json.Decoder(list[str])


async def overview(visit: Visit) -> Response:
    """The balance and what it is made of."""
    org = org_id(visit)
    await visit.parts.wallet.flush()
    first = local_day(visit.now_us, visit.time_zone).replace(day=1)
    start_us = day_start_us(first, visit.time_zone)
    async with visit.parts.database.read() as conn:
        balance_nano, debt_nano = await balance_and_debt(conn, org)
        found = await buckets(conn, org)
        before_nano, _ = await invoices.consumed(conn, org, start_us)
        all_nano, _ = await invoices.consumed(conn, org, NEVER_US)
        latest = await orders.orders_of(conn, org, limit=10)
    return await visit.render(
        "console/billing/overview.html",
        balance_nano=balance_nano,
        debt_nano=debt_nano,
        held_nano=(await visit.parts.wallet.balance(org)).held_nano,
        month_nano=all_nano - before_nano,
        month_day=first.isoformat(),
        buckets=[
            {
                "kind": one.kind,
                "balance_nano": one.balance_nano,
                "expires_us": one.expires_us,
                "models": _names.decode(one.scope) if one.scope else [],
            }
            for one in found
        ],
        never_us=NEVER_US,
        orders=latest,
    )


# ---------------------------------------------------------------------------------- the statement


async def ledger(visit: Visit) -> Response:
    """Lines with the balance after each, by kind and days."""
    org = org_id(visit)
    await visit.parts.wallet.flush()
    chosen = {name: visit.query.get(name, "") for name in ("kind", "from", "to")}
    wanted, problem = _wanted(visit, chosen)
    place = _place(visit.query.get("after", ""))
    async with visit.parts.database.read() as conn:
        page = await statement.page(conn, org, wanted, place, PAGE_LINES)
    query = "&".join(f"{name}={value}" for name, value in chosen.items() if value and not problem)
    following = None
    if page.next_place is not None:
        after = f"{page.next_place.ts_us}.{page.next_place.id}"
        following = f"?{query}&after={after}" if query else f"?after={after}"
    return await visit.render(
        "console/billing/ledger.html",
        lines=page.lines,
        problem=problem,
        chosen=chosen,
        kinds=[(name, _kind(visit, name)) for name in statement.KINDS],
        query=f"?{query}" if query else "",
        next=following,
    )


async def ledger_csv(visit: Visit) -> Response:
    """All lines of the choice; times have their offset, the head names the zone."""
    org = org_id(visit)
    await visit.parts.wallet.flush()
    chosen = {name: visit.query.get(name, "") for name in ("kind", "from", "to")}
    wanted, problem = _wanted(visit, chosen)
    if problem:
        return visit.redirect(visit.url("@/billing/ledger"), flash=("bad", problem))
    lines: list[statement.Line] = []
    place: Place | None = None
    async with visit.parts.database.read() as conn:
        while True:
            page = await statement.page(conn, org, wanted, place, _CSV_CHUNK)
            lines += page.lines
            place = page.next_place
            if place is None:
                break
            if len(lines) >= CSV_LINES_MAX:
                text = visit._("More than 100,000 lines: choose fewer days.")
                return visit.redirect(visit.url("@/billing/ledger"), flash=("bad", text))
    zone = visit.time_zone
    head = (f"time ({zone.key})", "kind", "amount_usd", "balance_after_usd", "reference", "reason")
    rows = [
        (
            formats.iso(zone, line.ts_us),
            line.kind,
            usd_from_nano(line.amount_nano),
            usd_from_nano(line.balance_nano),
            line.ref,
            line.reason,
        )
        for line in lines
    ]
    return visit.file(csv_text([head, *rows]), CONTENT_TYPE, "statement.csv")


def _wanted(visit: Visit, chosen: dict[str, str]) -> tuple[Wanted, str]:
    """The lines of a choice, and what is wrong with it."""
    kind = chosen["kind"] if chosen["kind"] in statement.KINDS else ""
    try:
        first = date.fromisoformat(chosen["from"]) if chosen["from"] else None
        last = date.fromisoformat(chosen["to"]) if chosen["to"] else None
        from_us = 0 if first is None else day_start_us(first, visit.time_zone)
        to_us = NEVER_US
        if last is not None:
            to_us = day_start_us(last + timedelta(days=1), visit.time_zone)
    except (ValueError, OverflowError):
        return Wanted(0, 0), visit._("Write days as in 2026-11-24.")
    if first is not None and last is not None and last < first:
        return Wanted(0, 0), visit._("The last day is before the first.")
    return Wanted(from_us, to_us, kind), ""


def _place(text: str) -> Place | None:
    """From an address, so anything; what is no place starts at the newest line."""
    time, dot, name = text.partition(".")
    if not dot or not time.isdecimal() or not time.isascii() or len(time) > 18:
        return None
    return Place(int(time), name)


def _kind(visit: Visit, name: str) -> str:
    return {
        "topup": visit._("Top-up"),
        "grant": visit._("Credit granted"),
        "capture": visit._("Request charged"),
        "refund": visit._("Request refunded"),
        "adjustment": visit._("Correction"),
        "expiry": visit._("Credit expired"),
        "topup_refund": visit._("Top-up refunded"),
        "chargeback": visit._("Payment charged back"),
        "debt": visit._("Debt paid"),
    }[name]


# ---------------------------------------------------------------------------- codes and the alert


async def redeem_code(visit: Visit) -> Response:
    """The form, and what was redeemed before."""
    errors: dict[str, str] = {}
    code = visit.form.get("code", "")
    if visit.request.method == "POST":
        try:
            nano = await visit.parts.payments.codes.redeem(
                org_id(visit), code, address=visit.address, actor=visit.actor
            )
        except (Refused, Taken, TooMany) as error:
            errors["code"] = visit._(str(error))
        else:
            text = visit._("{amount} was credited.", amount=formats.money(visit.lang, nano))
            return visit.redirect(visit.url("@/billing/redeem"), flash=("ok", text))
    async with visit.parts.database.read() as conn:
        redeemed = await redeem.redeemed_by_org(conn, org_id(visit), 50)
    return await visit.render(
        "console/billing/redeem.html",
        status=422 if errors else 200,
        errors=errors,
        entries={"code": code},
        redeemed=redeemed,
    )


async def alert(visit: Visit) -> Response:
    """The threshold and who is told."""
    alerts, org = visit.parts.payments.alerts, org_id(visit)
    row = await alerts.of(org)
    entries = {
        "threshold": "" if row is None else usd_from_nano(row.threshold_nano),
        "emails": "" if row is None else "\n".join(row.emails),
    }
    errors: dict[str, str] = {}
    if visit.request.method == "POST":
        entries = {name: visit.form.get(name, "") for name in ("threshold", "emails")}
        nano = amount_nano(entries["threshold"])
        if not nano:
            errors["threshold"] = visit._("Write an amount in USD with at most two decimals.")
        else:
            try:
                emails = tuple(entries["emails"].splitlines())
                await alerts.put(org, nano, emails, actor=visit.actor)
            except Refused as error:
                errors["emails"] = visit._(str(error))
            else:
                saved = ("ok", visit._("Saved."))
                return visit.redirect(visit.url("@/billing/alerts"), flash=saved)
    async with visit.parts.database.read() as conn:
        balance_nano, _ = await balance_and_debt(conn, org)
    return await visit.render(
        "console/billing/alerts.html",
        status=422 if errors else 200,
        alert=row,
        entries=entries,
        errors=errors,
        balance_nano=balance_nano,
        has_mail=visit.parts.mail.is_set,
    )


async def remove_alert(visit: Visit) -> Response:
    """Removing twice is as removing once."""
    try:
        await visit.parts.payments.alerts.remove(org_id(visit), actor=visit.actor)
    except NotThere:
        pass
    return visit.redirect(visit.url("@/billing/alerts"), flash=("ok", visit._("Removed.")))


_BASE = "/{lang}/console/{org}/billing"
PAGES = [
    Page(_BASE, overview, member("billing.view")),
    Page(f"{_BASE}/ledger", ledger, member("billing.view")),
    Page(f"{_BASE}/ledger.csv", ledger_csv, member("billing.view")),
    Page(f"{_BASE}/redeem", redeem_code, member("billing"), ("GET", "POST")),
    Page(f"{_BASE}/alerts", alert, member("billing"), ("GET", "POST")),
    Page(f"{_BASE}/alerts/remove", remove_alert, member("billing"), ("POST",)),
]
