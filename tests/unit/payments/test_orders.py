"""Orders and their payments: each credited once, whoever tells it how often and in which order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.money import USD, World
from tests.support.paying import Desk
from tokenmarket.accounts.admin import NotThere, Refused, Taken
from tokenmarket.payments.gateway import Forged, Unreachable
from tokenmarket.payments.terms import to_pay_minor
from tokenmarket.store import accounts, orders
from tokenmarket.store.money_ledger import debts, lines


async def test_a_payment_is_credited_once(desk: Desk, w: World) -> None:
    order = await desk.order()
    assert order.url == f"https://pay.example/{order.id}"
    desk.paid(order)
    assert await desk.tell(order) == "credited"
    assert await desk.tell(order) == "repeated"
    assert await desk.tell(order, "e2") == "unchanged"
    found = await desk.payments.find("o1", order.id)
    assert (found.state, found.paid_us) == ("paid", w.clock.wall)
    assert await desk.balance() == 20 * USD
    assert await w.differences() == []


async def test_fifty_tellers_at_once(desk: Desk) -> None:
    order = await desk.order()
    desk.paid(order)
    told = [desk.tell(order, f"e{number % 25}") for number in range(50)]
    outcomes = await asyncio.gather(*told)
    assert outcomes.count("credited") == 1
    assert await desk.balance() == 20 * USD


async def test_a_double_click_is_one_order(desk: Desk) -> None:
    name = desk.new_id()
    first, second = await asyncio.gather(desk.order(order_id=name), desk.order(order_id=name))
    assert first.id == second.id
    async with desk.w.database.read() as conn:
        assert len(await orders.orders_of(conn, "o1")) == 1


async def test_the_order_of_another_organisation_is_not_there(desk: Desk, w: World) -> None:
    order = await desk.order()
    await w.add_owner("o2", "k2")
    with pytest.raises(NotThere):
        await desk.payments.find("o2", order.id)
    with pytest.raises(NotThere):
        await desk.order(order_id=order.id, org="o2")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"amount_minor": 2001}, "amount"),
        ({"currency": "CNY"}, "currency"),
        ({"org_id": "o2"}, "organization"),
        ({"session": "cs_of_somebody"}, "another checkout"),
        ({"order_id": "ord_unknown"}, "no such order"),
    ],
)
async def test_what_is_not_the_orders_moves_nothing(
    desk: Desk, change: dict[str, Any], why: str
) -> None:
    order = await desk.order()
    desk.paid(order, **change)
    assert why in await desk.tell(order)
    assert await desk.balance() == 0
    assert (await desk.payments.find("o1", order.id)).state == "created"
    assert desk.troubles


async def test_the_order_of_one_provider_is_not_paid_by_another(desk: Desk) -> None:
    """new-api's CVE-2026-41432: an order of one provider was fulfilled by another's news."""
    order = await desk.order(psp="scripted")
    desk.other.truth[order.session] = desk.paid(order)
    assert (await desk.tell(order, psp="other")).startswith("mismatch")
    assert await desk.balance() == 0


async def test_news_without_signature_and_of_no_provider(desk: Desk) -> None:
    with pytest.raises(Forged):
        await desk.payments.receive("scripted", b"e1 changed x", {})
    with pytest.raises(KeyError):
        await desk.payments.receive("stripe", b"", {})


async def test_failed_and_expired_change_only_an_open_order(desk: Desk) -> None:
    order = await desk.order()
    desk.paid(order, state="failed")
    assert await desk.tell(order) == "failed"
    desk.paid(order, state="expired")
    assert await desk.tell(order, "e2") == "unchanged"
    desk.paid(order)  # the payer tried another card on the same page
    assert await desk.tell(order, "e3") == "credited"
    desk.paid(order, state="expired")  # an old piece of news comes late
    assert await desk.tell(order, "e4") == "unchanged"
    assert await desk.balance() == 20 * USD


async def test_a_refund_that_is_told_before_the_payment(desk: Desk, w: World) -> None:
    order = await desk.order()
    desk.paid(order, refunded_minor=500)
    assert await desk.tell(order) == "taken back"
    assert await desk.balance() == 15 * USD
    desk.paid(order, refunded_minor=2000)
    assert await desk.tell(order, "e2") == "taken back"
    assert (await desk.payments.find("o1", order.id)).state == "refunded"
    assert await desk.balance() == 0
    assert (await desk.org()).disabled_at_s is None  # nothing is owed
    assert await w.differences() == []


async def test_a_chargeback_freezes_and_leaves_a_debt(desk: Desk, w: World) -> None:
    order = await desk.order()
    desk.paid(order)
    await desk.tell(order)
    wallet = await w.open()
    w.settle(w.hold(await wallet.funds("o1", "k1"), "r1", 8 * USD), 8 * USD)
    await wallet.close()
    desk.paid(order, disputed_minor=2000)
    assert await desk.tell(order, "e2") == "taken back"
    assert await desk.balance() == 0
    assert (await desk.org()).disabled_at_s is not None
    async with w.database.read() as conn:
        assert await debts(conn) == [("o1", 8 * USD)]
    # what is paid later pays the debt first
    later = await desk.order(10)
    desk.paid(later)
    await desk.tell(later, "e3")
    assert await desk.balance() == 2 * USD
    async with w.database.read() as conn:
        assert await debts(conn) == []
    assert await w.differences() == []


async def test_leased_money_is_owed_until_it_comes_back(desk: Desk, w: World) -> None:
    order = await desk.order()
    desk.paid(order)
    await desk.tell(order)
    wallet = await w.open()
    await wallet.funds("o1", "k1")  # a running server holds all of it
    desk.paid(order, disputed_minor=2000)
    await desk.tell(order, "e2")
    async with w.database.read() as conn:
        assert await debts(conn) == [("o1", 20 * USD)]
    await wallet.close()
    await desk.payments.catch_up()
    await desk.payments.catch_up()
    async with w.database.read() as conn:
        assert await debts(conn) == []
    assert await desk.balance() == 0
    assert await w.differences() == []


async def test_a_dispute_that_is_won_comes_back(desk: Desk, w: World) -> None:
    order = await desk.order()
    desk.paid(order, disputed_minor=2000)
    await desk.tell(order)
    assert await desk.balance() == 0
    desk.paid(order)
    assert await desk.tell(order, "e2") == "credited"
    assert await desk.balance() == 20 * USD
    assert (await desk.payments.find("o1", order.id)).state == "paid"
    assert await w.differences() == []


async def test_yuan_are_two_linked_transfers(desk: Desk, w: World) -> None:
    order = await desk.order(currency="CNY")
    assert (order.pay_minor, order.rate) == (14240, "7.12")
    desk.paid(order)
    await desk.tell(order)
    assert await desk.balance() == 20 * USD
    paid = [line for line in await lines(w.database, "", 2**62, "", 9) if line.ref == order.id]
    assert [(line.debit, line.credit, line.amount_nano) for line in paid] == [
        ("psp:scripted:clearing:CNY", "exchange:CNY", 14240 * USD // 100)
    ]
    desk.paid(order, refunded_minor=14240)
    await desk.tell(order, "e2")
    assert await desk.balance() == 0
    back = [line for line in await lines(w.database, "", 2**62, "", 9) if line.ref == order.id]
    assert sum(line.amount_nano for line in back) == 2 * 14240 * USD // 100
    assert await w.differences() == []


@pytest.mark.parametrize(
    ("nano", "currency", "minor"),
    [(5 * USD, "USD", 500), (USD // 100, "CNY", 8), (19_990_000_000, "CNY", 14233)],
)
def test_what_is_to_pay(nano: int, currency: str, minor: int) -> None:
    assert to_pay_minor(nano, currency, "7.12") == minor


async def test_absurd_orders_are_refused(desk: Desk) -> None:
    for usd, currency, psp in ((4, "USD", "scripted"), (1001, "USD", "scripted")):
        with pytest.raises(Refused, match="outside"):
            await desk.order(usd, currency=currency, psp=psp)
    with pytest.raises(Refused, match="currencies"):
        await desk.order(currency="EUR")
    with pytest.raises(Refused, match="ways to pay"):
        await desk.order(psp="test")  # not a demo organisation
    with pytest.raises(Refused, match="too old"):
        await desk.order(order_id="mine")


async def test_many_orders_in_an_hour(desk: Desk) -> None:
    for _ in range(20):
        await desk.order()
    with pytest.raises(Taken):
        await desk.order()
    desk.w.clock.advance(3_601_000_000)
    await desk.order()


async def test_a_lost_webhook_is_made_good(desk: Desk) -> None:
    order = await desk.order()
    desk.paid(order)
    desk.w.clock.advance(601_000_000)
    desk.scripted.down = True
    await desk.payments.catch_up()
    assert (await desk.payments.find("o1", order.id)).state == "created"
    desk.scripted.down = False
    await desk.payments.catch_up()
    assert (await desk.payments.check("o1", order.id)).state == "paid"
    assert await desk.balance() == 20 * USD
    assert await desk.tell(order, "late") == "unchanged"


async def test_a_provider_that_is_down_leaves_the_order_to_try_again(desk: Desk) -> None:
    desk.scripted.down = True
    name = desk.new_id()
    with pytest.raises(Unreachable):
        await desk.order(order_id=name)
    desk.scripted.down = False
    assert (await desk.order(order_id=name)).url


async def test_an_order_nobody_pays_expires(desk: Desk) -> None:
    order = await desk.order()
    desk.w.clock.advance(3 * 3_600_000_000)
    await desk.payments.catch_up()
    assert (await desk.payments.find("o1", order.id)).state == "expired"


async def test_everything_is_in_the_audit_trail(desk: Desk, w: World) -> None:
    order = await desk.order()
    desk.paid(order, disputed_minor=2000)
    await desk.tell(order)
    async with w.database.read() as conn:
        assert await accounts.broken_audit(conn) is None
        from sqlalchemy import text

        rows = await conn.execute(text("SELECT action, org_id FROM audit_event ORDER BY seq"))
        assert [tuple(row) for row in rows] == [
            ("topup.order", "o1"),
            ("topup.paid", "o1"),
            ("topup.chargeback", "o1"),
            ("org.freeze", "o1"),
        ]
