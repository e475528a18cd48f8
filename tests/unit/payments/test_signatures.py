"""What is signed with an empty, another or an old secret gives no money (W1 to W3)."""

from __future__ import annotations

import importlib
from typing import Any

import msgspec
import pytest

from tests.support.money import NOON_US, USD, World
from tests.support.paying import TERMS, Desk
from tokenmarket.payments.gateway import Forged, Payment
from tokenmarket.payments.service import Payments
from tokenmarket.payments.stripe_checkout import StripeGateway
from tokenmarket.payments.test_gateway import HEADER
from tokenmarket.settings import SETTINGS
from tokenmarket.upstream.credentials import Secret
from tokenmarket.upstream.proxy import Proxies

NOW_S = NOON_US // 1_000_000
SECRET = "whsec_" + "0" * 32


class KnownStripe(StripeGateway):
    """Stripe's signatures, and an API that knows one payment."""

    truth: Payment | None = None

    async def fetch(self, subject: str) -> Payment | None:
        return self.truth


def gateway() -> KnownStripe:
    return KnownStripe(Secret("sk_" + "1" * 30), Secret(SECRET), Proxies(), ("USD",))


def event(**changes: Any) -> bytes:
    document = {
        "id": "evt_1",
        "type": "checkout.session.completed",
        "data": {"object": {"id": "cs_1", "object": "checkout.session"}},
        **changes,
    }
    return msgspec.json.encode(document)


def signed(body: bytes, secret: str = SECRET, at_s: int = NOW_S) -> dict[bytes, bytes]:
    """By the library's own signing."""
    stripe: Any = importlib.import_module("stripe")
    header = stripe.WebhookSignature.generate_signature_header(body.decode(), secret, at_s)
    return {b"stripe-signature": header.encode()}


async def test_stripes_own_signature_pays(desk: Desk, w: World) -> None:
    stripe = gateway()
    payments = Payments(
        w.database,
        [stripe],
        ["stripe"],
        TERMS,
        w.clock,
        lambda *_: None,
        alerts=desk.payments.alerts,
        codes=desk.payments.codes,
    )
    order = await desk.order()
    async with w.database.begin() as conn:
        from sqlalchemy import text

        await conn.execute(text("UPDATE topup_order SET psp = 'stripe'"))
    stripe.truth = desk.paid(order)
    body = event()
    for headers in (
        {},
        signed(body, ""),
        signed(body, " "),
        signed(body, "whsec_" + "1" * 32),
        signed(body, SECRET[:-1]),
        signed(body, at_s=NOW_S - 301),
        signed(body, at_s=NOW_S + 301),
        signed(event(id="evt_2")),
        {b"stripe-signature": b"t=,v1="},
        {b"stripe-signature": b"v1=" + b"0" * 64},
        {b"stripe-signature": b"t=%d" % NOW_S},
        {b"stripe-signature": "t=1,v1=ü".encode()},
    ):
        with pytest.raises(Forged):
            await payments.receive("stripe", body, headers)
    assert await desk.balance() == 0
    assert await payments.receive("stripe", body, signed(body)) == "credited"
    assert await payments.receive("stripe", body, signed(body)) == "repeated"
    assert await desk.balance() == 20 * USD


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"[]", b"{}", b'{"id": 1}', event(data=None)])
def test_signed_nonsense_is_refused(body: bytes) -> None:
    text = body.decode("utf-8", "replace").encode()
    headers = signed(text)
    with pytest.raises(Forged):
        gateway().verify(body, headers, NOW_S)


@pytest.mark.parametrize(
    ("kind", "found", "subject"),
    [
        ("checkout.session.expired", {"id": "cs_1"}, "cs_1"),
        ("charge.refunded", {"id": "ch_1", "payment_intent": "pi_1"}, "pi_1"),
        ("charge.dispute.created", {"id": "dp_1", "payment_intent": "pi_1"}, "pi_1"),
        ("customer.created", {"id": "cus_1"}, ""),
    ],
)
def test_what_is_asked_after_an_event(kind: str, found: dict[str, str], subject: str) -> None:
    body = event(type=kind, data={"object": found})
    assert gateway().verify(body, signed(body), NOW_S).subject == subject


@pytest.mark.parametrize("value", ["", "short", "x" * 23, "ä" * 30, "with space" * 4, 5, None])
def test_a_secret_is_long_or_refused(value: object) -> None:
    setting = next(one for one in SETTINGS if one.name == "stripe_webhook_secret")
    with pytest.raises(ValueError, match="at least 24") as told:
        setting.read(value)
    assert not value or str(value) not in str(told.value)


async def test_the_test_provider_signs_too(desk: Desk, w: World) -> None:
    async with w.database.begin() as conn:
        from sqlalchemy import text

        await conn.execute(text("UPDATE organization SET kind = 'demo'"))
    order = await desk.order(psp="test")
    body, signature = desk.test.news(order, "paid", NOW_S)
    for wrong in (
        b"",
        signature[:-1],
        signature.replace(b"t=1", b"t=2", 1),
        b"t=1" + b"0" * 30,
        desk.test.news(order, "failed", NOW_S)[1],
        desk.test.news(order, "paid", NOW_S - 301)[1],
    ):
        with pytest.raises(Forged):
            await desk.payments.receive("test", body, {HEADER: wrong})
    assert await desk.test.fetch("00.00") is None
    assert await desk.press(order, "paid") == "credited"
    assert await desk.press(order, "paid") == "repeated"
    assert await desk.balance() == 20 * USD
    assert await desk.press(order, "refunded") == "taken back"
    assert await desk.balance() == 0
