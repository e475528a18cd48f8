"""Topping up: the form with the terms, the order, and the test provider's own page.

A form may not lead to another host (content security policy), so it makes the order, and the
order's page has a link to where it is paid. The form carries the order's id: a double click makes
one order.
"""

from __future__ import annotations

import os

from starlette.responses import Response

from tokenmarket.accounts.admin import NotThere, Refused, Taken
from tokenmarket.core import ids
from tokenmarket.core.roles import may
from tokenmarket.payments.gateway import Gateway, Unreachable
from tokenmarket.payments.test_gateway import HEADER, OUTCOMES, Outcome, TestGateway
from tokenmarket.store.orders import OrderRow
from tokenmarket.web.pages.console.billing_forms import amount_nano, org_id, to_pay
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import member
from tokenmarket.web.site.visit import Visit


async def top_up(visit: Visit) -> Response:
    """The form; after it the order's page."""
    payments, org = visit.parts.payments, visit.org
    if org is None:
        raise visit.not_found()
    providers = payments.offered_to(org)
    first = providers[0].name if providers else ""
    if visit.request.method == "GET":
        order_id = ids.new_id("ord", visit.now_us, os.urandom(ids.RANDOM_BYTES))
        entries = {"amount": "20", "currency": "USD", "psp": first}
        return await _form(visit, providers, order_id, entries, {})
    order_id = visit.form.get("order", "")
    entries = {name: visit.form.get(name, "") for name in ("amount", "currency", "psp")}
    nano = amount_nano(entries["amount"])
    if nano is None:
        errors = {"amount": visit._("Write an amount in USD with at most two decimals.")}
        return await _form(visit, providers, order_id, entries, errors)
    base = f"{visit.parts.base_url()}{visit.url('@/billing/top-up/')}"
    try:
        order = await payments.order(
            org,
            order_id,
            psp=entries["psp"],
            amount_nano=nano,
            currency=entries["currency"],
            return_url=lambda name: f"{base}{name}",
            actor=visit.actor,
        )
    except (Refused, Taken, NotThere) as error:
        field = "amount" if "amount" in str(error) else ""
        return await _form(visit, providers, order_id, entries, {field: visit._(str(error))})
    except Unreachable as error:
        visit.parts.telemetry.log.write("error", "checkout", error=str(error))
        text = visit._("The payment provider does not answer now. Try again in a minute.")
        return await _form(visit, providers, order_id, entries, {"": text})
    return visit.redirect(visit.url(f"@/billing/top-up/{order.id}"))


async def _form(
    visit: Visit,
    providers: list[Gateway],
    order_id: str,
    entries: dict[str, str],
    errors: dict[str, str],
) -> Response:
    names = {"stripe": "Stripe", "test": visit._("Test (no money)")}
    return await visit.render(
        "console/billing/topup.html",
        status=422 if errors else 200,
        providers=[(one.name, names.get(one.name, one.name)) for one in providers],
        terms=visit.parts.payments.terms,
        order_id=order_id,
        entries=entries,
        errors=errors,
    )


async def order_page(visit: Visit) -> Response:
    """Where it is paid, and afterwards that it was; the provider is asked when it is not yet."""
    try:
        order = await visit.parts.payments.check(org_id(visit), visit.params["order"])
    except NotThere:
        raise visit.not_found() from None
    available = await visit.parts.wallet.balance(order.org_id)
    return await visit.render(
        "console/billing/order.html",
        order=order,
        to_pay=to_pay(visit, order),
        pay_url=_pay_url(visit, order),
        balance_nano=available.available_nano,
        can_pay=may(visit.role or "", "billing"),
    )


def _pay_url(visit: Visit, order: OrderRow) -> str:
    """The test provider's page is on the host that the browser is on."""
    if order.psp == "test":
        return visit.url(f"@/billing/top-up/{order.id}/test")
    return order.url


async def check(visit: Visit) -> Response:
    """The button that asks the provider."""
    try:
        order = await visit.parts.payments.check(org_id(visit), visit.params["order"])
    except NotThere:
        raise visit.not_found() from None
    flash = None
    if order.state == "created":
        flash = ("info", visit._("The provider knows of no payment yet."))
    return visit.redirect(visit.url(f"@/billing/top-up/{order.id}"), flash=flash)


async def test_payment(visit: Visit) -> Response:
    """The test provider's page; its buttons send signed news, as a provider does."""
    payments = visit.parts.payments
    gateway = payments.gateways["test"]
    try:
        order = await payments.find(org_id(visit), visit.params["order"])
    except NotThere:
        raise visit.not_found() from None
    if order.psp != "test" or not isinstance(gateway, TestGateway):
        raise visit.not_found()
    if visit.request.method == "GET":
        return await visit.render(
            "console/billing/test_payment.html", order=order, to_pay=to_pay(visit, order)
        )
    wanted = visit.form.get("outcome")
    chosen: Outcome | None = next((one for one in OUTCOMES if one == wanted), None)
    if chosen is not None:
        body, signature = gateway.news(order, chosen, visit.now_us // 1_000_000)
        await payments.receive("test", body, {HEADER: signature})
    return visit.redirect(visit.url(f"@/billing/top-up/{order.id}"))


_BASE = "/{lang}/console/{org}/billing/top-up"
PAGES = [
    Page(_BASE, top_up, member("billing"), ("GET", "POST")),
    Page(f"{_BASE}/{{order}}", order_page, member("billing.view")),
    Page(f"{_BASE}/{{order}}/check", check, member("billing"), ("POST",)),
    Page(f"{_BASE}/{{order}}/test", test_payment, member("billing"), ("GET", "POST")),
]
