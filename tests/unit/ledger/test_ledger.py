"""Grants, top-ups, adjustments and refunds: each exactly once, never above what there is."""

from __future__ import annotations

import asyncio

import pytest

from tests.support import straight_payments
from tests.support.money import NOON_US, USD, World, world
from tokenmarket.billing.statement import statement
from tokenmarket.ledger import grants, refunds
from tokenmarket.store.money import DAY_US, NANO_MAX
from tokenmarket.store.money_ledger import Conflict, Short
from tokenmarket.store.money_moves import Rejected


async def charge(w: World, name: str, hold_nano: int, charge_nano: int) -> None:
    wallet = await w.open()
    w.settle(w.hold(await wallet.funds("o1", "k1"), name, hold_nano), charge_nano)
    await wallet.close()


async def refund(w: World, name: str, refund_id: str, amount: int) -> bool:
    return await refunds.refund(
        w.database,
        request_id=name,
        refund_id=refund_id,
        amount_nano=amount,
        reason="test",
        now_us=w.clock.wall,
    )


async def adjust(w: World, adjustment_id: str, amount: int) -> bool:
    return await grants.adjust(
        w.database,
        org_id="o1",
        adjustment_id=adjustment_id,
        amount_nano=amount,
        reason="test",
        now_us=w.clock.wall,
    )


async def top_up(w: World, payment_id: str, amount: int) -> bool:
    return await straight_payments.top_up(
        w.database,
        org_id="o1",
        psp="stripe",
        payment_id=payment_id,
        amount_nano=amount,
        now_us=w.clock.wall,
    )


@pytest.mark.parametrize("amount", [0, -1, NANO_MAX + 1])
async def test_absurd_amounts_are_refused(amount: int) -> None:
    async with world() as w:
        with pytest.raises(ValueError, match="above zero"):
            await w.grant(amount)
        with pytest.raises(ValueError, match="above zero"):
            await top_up(w, "p", amount)
        with pytest.raises(ValueError, match="in the future"):
            await w.grant(1, expires_us=NOON_US)


async def test_an_account_cannot_overflow() -> None:
    async with world() as w:
        assert await top_up(w, "p1", NANO_MAX)
        with pytest.raises(Rejected):
            await top_up(w, "p2", 1)
        assert await w.differences() == []


async def test_the_same_payment_fifty_times_at_once_is_credited_once() -> None:
    async with world() as w:
        results = await asyncio.gather(*(top_up(w, "p1", USD) for _ in range(50)))
        assert sorted(results) == [False] * 49 + [True]
        with pytest.raises(Conflict):
            await top_up(w, "p1", 2 * USD)  # the same payment with another amount
        assert await w.scalar("SELECT cr_posted FROM account") == USD
        assert await w.scalar("SELECT COUNT(*) FROM payment_event") == 1


async def test_a_grant_id_belongs_to_its_organisation() -> None:
    async with world() as w:
        assert await w.grant(5, "g")
        assert await w.grant(5, "g", org="o2")
        assert not await w.grant(5, "g")
        with pytest.raises(Conflict):
            await w.grant(6, "g")


async def test_adjustments_never_take_more_than_is_free() -> None:
    async with world() as w:
        assert await adjust(w, "a1", 100)
        with pytest.raises(Short) as caught:
            await adjust(w, "a2", -101)
        assert caught.value.available_nano == 100
        assert await adjust(w, "a2", -100)
        assert not await adjust(w, "a2", -100)
        assert await w.scalar("SELECT cr_posted - dr_posted FROM account") == 0


async def test_refunds_together_never_exceed_the_charge() -> None:
    async with world() as w:
        await w.grant(1_000)
        await charge(w, "r1", 700, 500)
        results = await asyncio.gather(
            *(refund(w, "r1", str(n), 200) for n in range(5)), return_exceptions=True
        )
        assert sum(result is True for result in results) == 2
        refused = [r for r in results if isinstance(r, refunds.NotRefundable)]
        assert len(refused) == 3
        assert await refund(w, "r1", "last", 100)
        assert not await refund(w, "r1", "last", 100)
        with pytest.raises(refunds.NotRefundable):
            await refund(w, "r1", "more", 1)
        with pytest.raises(refunds.NotRefundable):
            await refund(w, "r1", "last", 50)  # the same refund with another amount
        with pytest.raises(refunds.NotRefundable):
            await refund(w, "nobody", "1", 1)
        assert await w.scalar("SELECT cr_posted - dr_posted FROM account") == 1_000
        assert await w.differences() == []


async def test_a_refund_returns_to_its_buckets_and_reopens_an_expired_grant() -> None:
    async with world() as w:
        await w.grant(100, "a", expires_us=NOON_US + DAY_US)
        await w.grant(100, "b")
        await charge(w, "r1", 150, 150)
        w.clock.advance(2 * DAY_US)
        await grants.expire(w.database, w.clock.wall)
        assert await refund(w, "r1", "1", 120)  # 50 to b, which was spent last, then 70 to a
        rows = "SELECT cr_posted - dr_posted FROM account WHERE id LIKE :name"
        assert await w.scalar(rows, name="%:b") == 100
        assert await w.scalar(rows, name="%:a") == 70
        await charge(w, "r2", 170, 170)  # spendable again
        assert await w.differences() == []


async def test_the_statement_tells_every_movement_from_the_customers_side() -> None:
    async with world() as w:
        await w.grant(1_000)
        w.clock.advance(1)
        await charge(w, "r1", 700, 500)
        w.clock.advance(1)
        await refund(w, "r1", "1", 200)
        lines = await statement(w.database, "o1")
        assert [(line.kind, line.amount_nano) for line in lines] == [
            ("refund", 200),
            ("capture", -500),
            ("grant", 1_000),
        ]
        last = lines[0]
        page = await statement(
            w.database, "o1", before_us=last.ts_us, before_id=last.transfer_id, limit=1
        )
        assert page == lines[1:2]
        assert await statement(w.database, "o2") == []
