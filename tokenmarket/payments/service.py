"""The payments of one running server: orders with their checkouts, webhooks, what runs beside.

    order = await payments.order(org, order_id, …)      # a double click gives the same order
    outcome = await payments.receive("stripe", body, headers)
    order = await payments.check(org_id, order_id)      # ask the provider now

``receive`` raises Forged for what is not signed; the route answers 400 then. Orders whose payment
was never told are asked about every few minutes, so a lost webhook costs minutes, not money.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from tokenmarket.accounts.admin import NotThere, Refused, Taken
from tokenmarket.billing.clock import Clock
from tokenmarket.config import Config
from tokenmarket.core import ids, sealing
from tokenmarket.core.money import usd_from_nano
from tokenmarket.core.texts import N_
from tokenmarket.ledger.paid import collect_debt
from tokenmarket.mail import Mail
from tokenmarket.payments.alerts import Alerts
from tokenmarket.payments.gateway import Forged, Gateway, Unreachable
from tokenmarket.payments.invoicing import issue_due
from tokenmarket.payments.redeem import Codes
from tokenmarket.payments.settling import Told, settle
from tokenmarket.payments.stripe_checkout import API, StripeGateway
from tokenmarket.payments.terms import Terms, to_pay_minor
from tokenmarket.payments.test_gateway import TestGateway
from tokenmarket.store import accounts as rows
from tokenmarket.store import orders
from tokenmarket.store.accounts import OrgRow
from tokenmarket.store.database import Database
from tokenmarket.store.money_ledger import debts
from tokenmarket.store.money_moves import money_transaction
from tokenmarket.store.orders import OrderRow

ORDER_LIFE_US = 3600 * 1_000_000  # of a checkout; Stripe takes half an hour to a day
ORDERS_PER_HOUR = 20
HOUR_US = 3600 * 1_000_000
ASK_AFTER_US = 600 * 1_000_000
ASK_EVERY_S = 300.0
ALERT_EVERY_S = 30.0
INVOICE_EVERY_S = 1_800.0
_ASK_AT_ONCE = 50

Failed = Callable[[str, Exception], object]


def opened(
    config: Config,
    database: Database,
    clock: Clock,
    mail: Mail,
    failed: Failed,
    *,
    stripe_api: str = API,
) -> Payments:
    """The payments that the configuration asks for; Stripe only with both of its secrets."""
    terms = Terms(
        config.topup_minimum_nano,
        config.topup_maximum_nano,
        config.refund_days,
        config.cny_per_usd,
    )
    gateways: list[Gateway] = [TestGateway(config.root.derive(sealing.TEST_PAYMENTS))]
    offered = ["test"] if config.payment_test_gateway else []
    key, secret = config.stripe_secret_key, config.stripe_webhook_secret
    if key is not None and secret is not None:
        stripe = StripeGateway(key, secret, config.proxies, terms.currencies, stripe_api)
        gateways.insert(0, stripe)
        offered.append("stripe")
    return Payments(
        database,
        gateways,
        offered,
        terms,
        clock,
        failed,
        alerts=Alerts(database, mail, clock),
        codes=Codes(database, config.root.derive(sealing.REDEEM_CODES), clock),
        issuer=config.invoice_issuer,
    )


class Payments:
    """``return_url(order)`` is the order's page; ``offered`` names the providers of everybody, the
    test provider is offered to demo organisations besides. ``failed`` is told (what, why)."""

    def __init__(
        self,
        database: Database,
        gateways: Sequence[Gateway],
        offered: Sequence[str],
        terms: Terms,
        clock: Clock,
        failed: Failed,
        *,
        alerts: Alerts,
        codes: Codes,
        issuer: str = "",
    ) -> None:
        self.alerts = alerts
        self.codes = codes
        self._issuer = issuer
        self.terms = terms
        self.gateways = {gateway.name: gateway for gateway in gateways}
        self._offered = frozenset(offered)
        self._database = database
        self._clock = clock
        self._failed = failed
        self._tasks: list[asyncio.Task[None]] = []

    def offered_to(self, org: OrgRow) -> list[Gateway]:
        """The providers by which this organisation can pay."""
        return [
            gateway
            for name, gateway in self.gateways.items()
            if name in self._offered or (name == "test" and org.kind == "demo")
        ]

    async def order(
        self,
        org: OrgRow,
        order_id: str,
        *,
        psp: str,
        amount_nano: int,
        currency: str,
        return_url: Callable[[str], str],
        actor: str,
    ) -> OrderRow:
        """A new order with its checkout; the same ``order_id`` again gives the same order.

        Raises Refused, Taken, and Unreachable if the provider has no checkout for it now.
        """
        gateway = self.gateways.get(psp)
        if gateway is None or gateway not in self.offered_to(org):
            raise Refused(N_("Choose one of the ways to pay that are offered."))
        if not ids.is_id(order_id, "ord"):
            raise Refused(N_("The form is too old. Load the page again."))
        row = self._drawn(org, order_id, gateway, amount_nano, currency, actor)
        async with self._database.begin() as conn:
            made = await orders.insert_order(conn, row)
            if made:
                since_us = self._clock.wall_us() - HOUR_US
                if await orders.count_since(conn, org.id, since_us) > ORDERS_PER_HOUR:
                    raise Taken(N_("That were many orders in one hour. Try again later."))
                detail: dict[str, object] = {
                    "amount": usd_from_nano(amount_nano),
                    "currency": currency,
                    "provider": psp,
                }
                await rows.append_audit(
                    conn, row.created_us, actor, "topup.order", row.id, detail, org_id=org.id
                )
            found = await orders.order_by_id(conn, org.id, order_id)
        if found is None:
            raise NotThere(N_("There is no such order."))
        if found.state != "created" or found.session:
            return found
        checkout = await gateway.create_checkout(found, return_url=return_url(order_id))
        async with self._database.begin() as conn:
            await orders.set_checkout(conn, order_id, checkout.session, checkout.url)
        return await self.find(org.id, order_id)

    def _drawn(
        self,
        org: OrgRow,
        order_id: str,
        gateway: Gateway,
        amount_nano: int,
        currency: str,
        actor: str,
    ) -> OrderRow:
        terms, now_us = self.terms, self._clock.wall_us()
        if currency not in terms.currencies or currency not in gateway.currencies:
            raise Refused(N_("Choose one of the currencies that are offered."))
        if not terms.minimum_nano <= amount_nano <= terms.maximum_nano:
            raise Refused(N_("The amount is outside what can be topped up at once."))
        rate = terms.cny_per_usd if currency == "CNY" else ""
        try:
            pay_minor = to_pay_minor(amount_nano, currency, rate)
        except ValueError as error:
            raise Refused(N_("Write an amount in USD with at most two decimals.")) from error
        return OrderRow(
            id=order_id,
            org_id=org.id,
            psp=gateway.name,
            amount_nano=amount_nano,
            currency=currency,
            pay_minor=pay_minor,
            rate=rate,
            state="created",
            session="",
            payment="",
            url="",
            taken_minor=0,
            created_by=actor,
            created_us=now_us,
            expires_us=now_us + ORDER_LIFE_US,
            paid_us=0,
        )

    async def find(self, org_id: str, order_id: str) -> OrderRow:
        """Raises NotThere."""
        async with self._database.read() as conn:
            found = await orders.order_by_id(conn, org_id, order_id)
        if found is None:
            raise NotThere(N_("There is no such order."))
        return found

    async def receive(self, psp: str, body: bytes, headers: Mapping[bytes, bytes]) -> str:
        """One webhook call. Raises KeyError (no such provider), Forged, Unreachable, Rejected,
        Unavailable; after those the provider tells it again."""
        gateway = self.gateways[psp]
        news = await asyncio.to_thread(
            gateway.verify, body, headers, self._clock.wall_us() // 1_000_000
        )
        payment = await gateway.fetch(news.subject) if news.subject else None
        told = Told(psp, news.id, news.kind)
        outcome = await settle(self._database, told, payment, self._clock.wall_us())
        if outcome.startswith("mismatch"):
            self._failed("payment", Forged(f"{psp} {news.id}: {outcome}"))
        return outcome

    async def check(self, org_id: str, order_id: str) -> OrderRow:
        """Ask the provider about an order that is not paid yet, and apply what it says.

        Raises NotThere; a provider that does not answer changes nothing.
        """
        order = await self.find(org_id, order_id)
        if order.state == "created":
            await self._ask(order)
            order = await self.find(org_id, order_id)
        return order

    async def _ask(self, order: OrderRow) -> None:
        gateway = self.gateways.get(order.psp)
        now_us = self._clock.wall_us()
        payment = None
        try:
            if gateway is not None and order.session:
                payment = await gateway.fetch(order.session)
        except Unreachable as error:
            self._failed("payment", error)
            return
        if payment is not None and payment.state != "open":
            told = Told(order.psp, f"asked.{order.id}.{payment.state}", "asked")
            await settle(self._database, told, payment, now_us)
        elif now_us > order.expires_us + HOUR_US and payment is None:
            async with self._database.begin() as conn:
                await orders.set_state(conn, order, "expired")

    # --- beside the requests --------------------------------------------------------------------

    def start(self) -> None:
        """Begins to ask about open orders, collect debts, tell of low balances, issue invoices."""
        self._tasks = [
            asyncio.create_task(self._every(ASK_EVERY_S, self.catch_up), name="payments"),
            asyncio.create_task(self._every(ALERT_EVERY_S, self.alerts.check), name="alerts"),
            asyncio.create_task(self._every(INVOICE_EVERY_S, self.issue), name="invoices"),
        ]

    async def stop(self) -> None:
        """Ends what runs beside."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _every(self, pause_s: float, work: Callable[[], Awaitable[object]]) -> None:
        while True:
            await asyncio.sleep(pause_s)
            try:
                await work()
            except Exception as error:
                self._failed("payments", error)

    async def issue(self) -> None:
        """Invoices of months that are over."""
        await issue_due(self._database, self._issuer, self._clock.wall_us())

    async def catch_up(self) -> None:
        """Ask about every order that waits for its payment, and collect what is owed."""
        before_us = self._clock.wall_us() - ASK_AFTER_US
        async with self._database.read() as conn:
            waiting = await orders.open_orders(conn, before_us, _ASK_AT_ONCE)
            owing = await debts(conn)
        for order in waiting:
            await self._ask(order)
        for org_id, _ in owing:
            async with money_transaction(self._database) as conn:
                await collect_debt(conn, org_id, self._clock.wall_us())
