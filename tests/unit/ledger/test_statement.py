"""The statement: every page has the balance after each line, whatever is between the pages."""

from __future__ import annotations

import pytest

from tests.support import straight_payments
from tests.support.money import USD, world
from tokenmarket.billing.statement import ALL, Line, page
from tokenmarket.ledger import grants
from tokenmarket.ledger.paid import collect_debt, take_back
from tokenmarket.store.database import Database
from tokenmarket.store.statements import Place


async def all_lines(database: Database, size: int, kind: str = "") -> list[Line]:
    found: list[Line] = []
    place: Place | None = None
    while True:
        async with database.read() as conn:
            some = await page(conn, "o1", ALL._replace(kind=kind), place, size)
        found += some.lines
        place = some.next_place
        if place is None:
            return found


@pytest.mark.parametrize("size", [1, 2, 3, 100])
async def test_running_balance_across_pages(size: int) -> None:
    async with world() as w:
        for number in range(7):
            amount = (5 if number % 3 else -3) * USD
            if number:
                await grants.adjust(
                    w.database,
                    org_id="o1",
                    adjustment_id=f"a{number}",
                    amount_nano=amount,
                    reason="test",
                    now_us=w.clock.wall,
                )
            else:
                await w.grant(10 * USD)
            w.clock.advance(number % 2)  # some have the same time
        lines = await all_lines(w.database, size)
        assert len(lines) == 7
        balance = 0
        for line in reversed(lines):
            balance += line.amount_nano
            assert line.balance_nano == balance
        assert balance == 24 * USD
        some = await all_lines(w.database, size, "adjustment")
        assert some == [line for line in lines if line.kind == "adjustment"]


async def test_a_debt_is_not_the_balance() -> None:
    async with world() as w:
        await straight_payments.top_up(
            w.database, org_id="o1", psp="p", payment_id="1", amount_nano=USD, now_us=w.clock.wall
        )
        w.clock.advance(1)
        async with w.database.begin() as conn:
            await take_back(
                conn,
                org_id="o1",
                psp="p",
                payment_id="2",
                part="x",
                kind="chargeback",
                amount_nano=3 * USD,
                ref="2",
                now_us=w.clock.wall,
            )
        w.clock.advance(1)
        await straight_payments.top_up(
            w.database,
            org_id="o1",
            psp="p",
            payment_id="3",
            amount_nano=5 * USD,
            now_us=w.clock.wall,
        )
        w.clock.advance(1)
        async with w.database.begin() as conn:
            assert await collect_debt(conn, "o1", w.clock.wall) == 2 * USD
            assert await collect_debt(conn, "o1", w.clock.wall) == 0
        lines = await all_lines(w.database, 2)
        assert [(line.kind, line.amount_nano, line.balance_nano) for line in lines] == [
            ("debt", -2 * USD, 3 * USD),
            ("topup", 5 * USD, 5 * USD),
            ("chargeback", 0, 0),
            ("chargeback", -USD, 0),
            ("topup", USD, USD),
        ]
        assert await w.differences() == []
