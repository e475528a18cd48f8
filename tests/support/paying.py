"""Payments for tests: a service over a small world, with the test provider and a scripted one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.money import USD, World
from tokenmarket.core import ids
from tokenmarket.mail import Mail, MailServer, Message
from tokenmarket.payments.alerts import Alerts
from tokenmarket.payments.gateway import Checkout, Forged, News, Payment, Unreachable
from tokenmarket.payments.redeem import Codes
from tokenmarket.payments.service import Payments
from tokenmarket.payments.terms import Terms
from tokenmarket.payments.test_gateway import HEADER, Outcome, TestGateway
from tokenmarket.store import accounts
from tokenmarket.store.accounts import OrgRow
from tokenmarket.store.orders import OrderRow

TERMS = Terms(5 * USD, 1_000 * USD, 14, "7.12")


class ScriptedGateway:
    """A provider whose news are ``id kind subject`` in plain text, and whose truth tests set."""

    def __init__(self, name: str = "scripted") -> None:
        self.name = name
        self.currencies: tuple[str, ...] = ("USD", "CNY")
        self.truth: dict[str, Payment] = {}
        self.down = False
        self.checkouts = 0

    async def create_checkout(self, order: OrderRow, *, return_url: str) -> Checkout:
        if self.down:
            raise Unreachable("down")
        self.checkouts += 1
        return Checkout(f"cs_{order.id}", f"https://pay.example/{order.id}")

    def verify(self, body: bytes, headers: Mapping[bytes, bytes], now_s: int) -> News:
        if headers.get(b"signed") != b"yes":
            raise Forged("not signed")
        return News(*body.decode().split(" "))

    async def fetch(self, subject: str) -> Payment | None:
        if self.down:
            raise Unreachable("down")
        return self.truth.get(subject)


class KeptMail(Mail):
    """Keeps letters instead of sending them."""

    def __init__(self) -> None:
        super().__init__(MailServer("mail.example", 25, tls=False), "us@example.com")
        self.letters: list[Message] = []

    def post(self, message: Message) -> None:
        self.letters.append(message)


class Desk:
    """What a customer and a provider do."""

    def __init__(self, w: World) -> None:
        self.w = w
        self.test = TestGateway(b"s" * 32)
        self.scripted = ScriptedGateway()
        self.other = ScriptedGateway("other")
        self.troubles: list[str] = []
        self.mail = KeptMail()
        self.payments = Payments(
            w.database,
            [self.test, self.scripted, self.other],
            ["scripted", "other"],
            TERMS,
            w.clock,
            lambda what, error: self.troubles.append(f"{what}: {error}"),
            alerts=Alerts(w.database, self.mail, w.clock),
            codes=Codes(w.database, b"c" * 32, w.clock),
        )
        self._number = 0

    async def org(self, org_id: str = "o1") -> OrgRow:
        async with self.w.database.read() as conn:
            found = await accounts.org_by_id(conn, org_id)
        assert found is not None
        return found

    def new_id(self) -> str:
        self._number += 1
        return ids.new_id("ord", self.w.clock.wall, self._number.to_bytes(10, "big"))

    async def order(
        self,
        usd: int = 20,
        *,
        psp: str = "scripted",
        order_id: str | None = None,
        org: str = "o1",
        currency: str = "USD",
    ) -> OrderRow:
        return await self.payments.order(
            await self.org(org),
            order_id or self.new_id(),
            psp=psp,
            amount_nano=usd * USD,
            currency=currency,
            return_url=lambda name: f"/back/{name}",
            actor="user:usr_1",
        )

    def paid(self, order: OrderRow, **changes: Any) -> Payment:
        """The truth at the scripted provider from now on."""
        payment = Payment(
            session=order.session,
            payment=f"pi_{order.id}",
            order_id=order.id,
            org_id=order.org_id,
            state="paid",
            currency=order.currency,
            amount_minor=order.pay_minor,
        )
        gateway = self.other if order.psp == "other" else self.scripted
        gateway.truth[order.session] = payment = payment._replace(**changes)
        return payment

    async def tell(self, order: OrderRow, event_id: str = "e1", psp: str = "scripted") -> str:
        """News about the order's checkout."""
        body = f"{event_id} changed {order.session}".encode()
        return await self.payments.receive(psp, body, {b"signed": b"yes"})

    async def press(self, order: OrderRow, outcome: Outcome) -> str:
        """A button of the test provider's page."""
        body, signature = self.test.news(order, outcome, self.w.clock.wall // 1_000_000)
        return await self.payments.receive("test", body, {HEADER: signature})

    async def balance(self, org: str = "o1") -> int:
        """Posted, in nano-USD."""
        from tokenmarket.store.money_ledger import balance

        return (await balance(self.w.database, org))[0]
