"""Billing of an organisation: balance, statement, redeem codes, low-balance alert."""

from __future__ import annotations

from starlette.responses import Response

from tokenmarket.accounts.admin import NotThere, Refused, Taken
from tokenmarket.billing import statement
from tokenmarket.core.csv_rows import CONTENT_TYPE
from tokenmarket.core.money import usd_from_nano
from tokenmarket.payments.position import position
from tokenmarket.payments.redeem import TooMany
from tokenmarket.reports.statement_csv import chosen_lines, statement_csv
from tokenmarket.store import orders, redeem
from tokenmarket.store.statements import Place, Wanted, balance_and_debt
from tokenmarket.web.pages.console.billing_forms import amount_nano, org_id
from tokenmarket.web.site import formats
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import member
from tokenmarket.web.site.visit import Visit

PAGE_LINES = 50


async def overview(visit: Visit) -> Response:
    """The balance and what it is made of."""
    org, parts = org_id(visit), visit.parts
    found = await position(parts.database, parts.wallet, org, visit.time_zone, visit.now_us)
    async with parts.database.read() as conn:
        latest = await orders.orders_of(conn, org, limit=10)
    return await visit.render("console/billing/overview.html", position=found, orders=latest)


# ---------------------------------------------------------------------------------- the statement


async def ledger(visit: Visit) -> Response:
    """Lines with the balance after each, by kind and days."""
    org = org_id(visit)
    await visit.parts.wallet.flush()
    chosen = {name: visit.query.get(name, "") for name in ("kind", "from", "to")}
    wanted, problem = Wanted(0, 0), ""
    try:
        wanted = _wanted(visit, chosen)
    except Refused as error:
        problem = visit._(str(error))
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
    await visit.parts.wallet.flush()
    chosen = {name: visit.query.get(name, "") for name in ("kind", "from", "to")}
    zone = visit.time_zone
    try:
        wanted = _wanted(visit, chosen)
        async with visit.parts.database.read() as conn:
            text = await statement_csv(conn, org_id(visit), wanted, zone)
    except Refused as error:
        return visit.redirect(visit.url("@/billing/ledger"), flash=("bad", visit._(str(error))))
    return visit.file(text, CONTENT_TYPE, "statement.csv")


def _wanted(visit: Visit, chosen: dict[str, str]) -> Wanted:
    """The lines of a choice. Raises Refused."""
    kind = chosen["kind"] if chosen["kind"] in statement.KINDS else ""
    return chosen_lines(kind, chosen["from"], chosen["to"], visit.time_zone)


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
