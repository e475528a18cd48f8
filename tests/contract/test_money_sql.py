"""The store's promises about money, whatever the code above does."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from tests.support.money import World, world
from tokenmarket.billing.wallet import InsufficientFunds


async def spoil(w: World, *statements: str) -> None:
    """Somebody's hand in the database, past every CHECK."""
    async with w.database.begin() as conn:
        await conn.execute(text("PRAGMA ignore_check_constraints = ON"))
        for statement in statements:
            await conn.execute(text(statement))
        await conn.execute(text("PRAGMA ignore_check_constraints = OFF"))


async def one_of_each(w: World) -> None:
    await w.add_owner(key_total=900)
    await w.grant(1_000)
    wallet = await w.open()
    funds = await wallet.funds("o1", "k1")
    w.settle(w.hold(funds, "r1", 700), 500)
    w.settle(w.hold(funds, "r2", 100), 0)
    await wallet.close()
    assert await w.differences() == []


NO_TRIGGERS = ("DROP TRIGGER transfer_no_update", "DROP TRIGGER transfer_no_delete")
DAMAGE = {
    "missing transfer": (("R5", "R2"), (*NO_TRIGGERS, "DELETE FROM transfer WHERE id = 'r1.c'")),
    "changed amount": (
        ("R5", "R2"),
        (*NO_TRIGGERS, "UPDATE transfer SET amount_nano = 499 WHERE id = 'r1.c'"),
    ),
    "zero amount": (
        ("I4", "R5", "R2"),
        (*NO_TRIGGERS, "UPDATE transfer SET amount_nano = 0 WHERE id = 'r1.c'"),
    ),
    "extra event": (
        ("R5",),
        (
            "INSERT INTO usage_event SELECT 'r9', org_id, key_id, accepted_us, finished_us,"
            " operation, model, provider, status, error_code, 5, 0, 0, 0, 0, 0, 0, '', 'v1', '',"
            " '' FROM usage_event WHERE request_id = 'r1'",
        ),
    ),
    "event lost": (("R5", "R4", "R11"), ("DELETE FROM usage_event WHERE request_id = 'r1'",)),
    "receipt lost": (("R4",), ("DELETE FROM usage_event WHERE request_id = 'r2'",)),
    "event changed": (
        ("R5", "R4", "R11"),
        ("UPDATE usage_event SET charge_nano = 501 WHERE request_id = 'r1'",),
    ),
    "orphan pending": (("R3",), ("UPDATE account SET dr_pending = 7",)),
    "balance changed": (("R2",), ("UPDATE account SET cr_posted = 2000",)),
    "below zero": (("I1", "R2"), ("UPDATE account SET cr_posted = 400",)),
    "window changed": (("R11",), ("UPDATE spend_window SET used_nano = 1",)),
    "window above its cap": (("R11", "I5"), ("UPDATE spend_window SET used_nano = 901",)),
    "lease not even": (
        ("I2", "R4"),
        ("UPDATE lease SET captured = captured + 1 WHERE kind = 'balance'",),
    ),
    "lease left open": (
        ("I8", "R3"),
        ("UPDATE lease SET state = 'open', returned = 0 WHERE kind = 'balance'",),
    ),
    "refund without transfer": (
        ("R10",),
        ("UPDATE usage_event SET refunded_nano = 5 WHERE request_id = 'r1'",),
    ),
    "foreign account": (("R2",), ("UPDATE account SET org_id = 'o2'",)),
    "in suspense": (("R1",), ("INSERT INTO suspense VALUES ('w1', 1, 'r9', 'why', '', 0)",)),
}


@pytest.mark.parametrize("name", DAMAGE)
async def test_the_proof_finds_every_kind_of_damage(name: str) -> None:
    rules, statements = DAMAGE[name]
    async with world() as w:
        await one_of_each(w)
        await spoil(w, *statements)
        assert {found.rule for found in await w.differences()} == set(rules)


async def test_the_proof_prices_every_charge_again() -> None:
    import msgspec

    from tokenmarket.core.pricing import PriceRow, PriceSheet
    from tokenmarket.core.usage import Usage

    sheet = PriceSheet("v1", (PriceRow("input_token", 2_000_000, "0.002"),), True)
    units = msgspec.json.encode(Usage(input_tokens=7)).decode()
    for charge, wrong in ((14, []), (15, ["R5"])):
        async with world() as w:
            await w.grant(1_000)
            wallet = await w.open()
            await wallet.remember_prices([sheet])
            hold = w.hold(await wallet.funds("o1", "k1"), "r1", 100)

            def event(capture, hold=hold, w=w):
                made = w.event(hold)(capture)
                made.units_json = units
                return made

            wallet.settle(hold, charge, event)
            await wallet.close()
            assert [found.rule for found in await w.differences()] == wrong


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE transfer SET amount_nano = 1",
        "DELETE FROM transfer",
        "UPDATE account SET dr_pending = cr_posted - dr_posted + 1",
        "UPDATE account SET cr_posted = cr_posted + 9000000000000000000",
        "UPDATE lease SET captured = granted + 1",
        "UPDATE lease SET state = 'closed', returned = 0, captured = 0",
        "UPDATE spend_window SET used_nano = cap_nano + 1",
        "UPDATE usage_event SET refunded_nano = charge_nano + 1",
        "INSERT INTO lease SELECT id || 'x', kind, target, worker_id, 'open', 0, 0, 0, 1, 0, 0"
        " FROM lease UNION ALL SELECT id || 'y', kind, target, worker_id, 'open', 0, 0, 0, 1, 0, 0"
        " FROM lease",
    ],
)
async def test_the_database_itself_refuses(statement: str) -> None:
    async with world() as w:
        await one_of_each(w)
        with pytest.raises(IntegrityError):
            async with w.database.begin() as conn:
                await conn.execute(text(statement))


async def test_a_thousand_requests_on_the_last_dollar() -> None:
    """T2.1 for one worker: never below zero at any read, at least 99 % used, nothing stranded."""
    async with world() as w:
        dollar = 1_000_000_000
        await w.grant(dollar)
        wallet = await w.open(background=True)
        funds = await wallet.funds("o1", "k1")
        charged = 0
        running = True

        async def watch() -> None:
            while running:
                low = await w.scalar("SELECT MIN(cr_posted - dr_posted - dr_pending) FROM account")
                assert low >= 0
                assert (await wallet.balance("o1")).available_nano >= 0
                await asyncio.sleep(0.002)

        async def request(number: int) -> None:
            nonlocal charged
            need = 3_000_000 + number % 7
            for attempt in range(2_000):
                try:
                    hold = w.hold(funds, f"r{number}", need)
                except InsufficientFunds as short:
                    idle = sum(bucket.free for bucket in funds.pool.buckets)
                    assert idle < need  # no false refusal
                    if not short.in_flight:
                        return
                    await asyncio.sleep(0.001)
                    continue
                await asyncio.sleep(0.001 * (attempt % 3))
                cost = 2_000_000 + number % 5
                w.settle(hold, cost)
                charged += cost
                return

        watching = asyncio.create_task(watch())
        await asyncio.gather(*(request(number) for number in range(1_000)))
        running = False
        await watching
        await wallet.flush()
        assert dollar * 99 // 100 <= charged <= dollar
        balance = await wallet.balance("o1")
        assert balance.balance_nano == dollar - charged
        assert balance.held_nano == 0
        await wallet.close()
        assert await w.scalar("SELECT SUM(dr_pending) FROM account") == 0
        assert await w.differences() == []
