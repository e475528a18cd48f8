"""Money of tasks: a durable hold with the task, one end for both, and races for that end."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from sqlalchemy import text

from tests.support.losing import losing
from tests.support.money import World, world
from tokenmarket.billing.tasks import pinned_prices, prices_json
from tokenmarket.billing.wallet import InsufficientFunds, SpendLimitReached, Wallet
from tokenmarket.core.pricing import charge, price_row, price_sheet
from tokenmarket.core.usage import Usage
from tokenmarket.ledger import refunds
from tokenmarket.store import tasks, webhooks
from tokenmarket.store.database import Connection
from tokenmarket.store.money import DAY_US, receipt_json
from tokenmarket.store.money_moves import Rejected, Unavailable
from tokenmarket.store.tasks import TaskExists, TaskRow
from tokenmarket.store.webhooks import NewDelivery


async def moved(w: World, row: TaskRow, *states: str) -> TaskRow:
    for state in states:
        found = await tasks.transition(w.database, row, state)
        assert found is not None
        row = found
    return row


async def running(w: World, name: str, amount_nano: int, **more: object) -> TaskRow:
    row = await w.task(name, amount_nano, **more)
    return await moved(w, row, "submitting", "queued", "running")


async def pending(w: World) -> int:
    return int(await w.scalar("SELECT COALESCE(SUM(dr_pending), 0) FROM account"))


async def test_success_captures_its_part_and_releases_the_rest() -> None:
    async with world() as w:
        await w.grant(1_000)
        wallet = await w.open()
        funds = await wallet.funds("o1", "k1")
        row = await w.task("a", 600)
        assert (row.state, row.held_nano, row.charged_nano) == ("accepted", 600, None)
        assert wallet.affordable_nano(funds, "m") == 400
        assert wallet.balance_nano(funds) == 1_000
        assert await wallet.balance("o1") == (1_000, 600, 400)
        assert await receipt_json(w.database, "o1", "req_a") == row.receipt.encode()
        assert await w.differences() == []
        row = await moved(w, row, "submitting", "queued", "running", "finalizing")
        ended = await w.settle_task(row, 450)
        assert ended is not None
        assert (ended.state, ended.charged_nano, ended.live) == ("succeeded", 450, False)
        assert await wallet.balance("o1") == (550, 0, 550)
        assert await receipt_json(w.database, "o1", "req_a") == b'{"id":"req_a"}'
        assert await w.scalar("SELECT id FROM transfer WHERE kind = 'capture'") == "req_a.c"
        with pytest.raises(InsufficientFunds):  # what came back is in SQL
            w.hold(funds, "r1", 550)
        assert await wallet.refill(funds, 550)
        w.settle(w.hold(funds, "r1", 550), 550)
        await wallet.close()
        assert await w.differences() == []
        assert await pending(w) == 0


@pytest.mark.parametrize("state", ["failed", "cancelled", "expired"])
async def test_failure_releases_everything_once(state: str) -> None:
    async with world() as w:
        await w.grant(1_000)
        wallet = await w.open()
        row = await running(w, "a", 600)
        ends = await asyncio.gather(*(w.settle_task(row, 0, state) for _ in range(10)))
        assert [end.state for end in ends if end is not None] == [state]
        assert await wallet.balance("o1") == (1_000, 0, 1_000)
        assert await w.scalar("SELECT COUNT(*) FROM usage_event") == 1
        assert await w.scalar("SELECT state FROM hold") == "void"
        await wallet.close()
        assert await w.differences() == []


async def test_of_all_ends_at_once_exactly_one_wins() -> None:
    async with world() as w:
        await w.grant(1_000)
        wallet = await w.open()
        row = await running(w, "a", 600)
        work = [w.settle_task(row, 100 + n) for n in range(5)]
        work += [w.settle_task(row, 0, "failed") for _ in range(5)]
        work += [w.settle_task(row, 0, "expired") for _ in range(5)]
        ends = [end for end in await asyncio.gather(*work) if end is not None]
        assert len(ends) == 1
        assert (await wallet.balance("o1")).balance_nano == 1_000 - (ends[0].charged_nano or 0)
        again = await tasks.any_by_id(w.database, row.id)
        assert again == ends[0]
        with pytest.raises(ValueError, match="does not end"):  # terminal states never change
            await w.settle_task(again, 0, "failed")
        await wallet.close()
        assert await w.differences() == []


async def test_a_change_in_between_loses_the_settlement_not_the_task() -> None:
    async with world() as w:
        await w.grant(1_000)
        wallet = await w.open()
        row = await running(w, "a", 600)
        newer = await moved(w, row, "canceling")
        assert await w.settle_task(row, 300) is None
        assert await tasks.transition(w.database, row, "finalizing") is None
        assert (await wallet.balance("o1")).held_nano == 600
        assert await w.settle_task(newer, 300) is not None
        await wallet.close()
        assert await w.differences() == []


async def test_more_than_the_hold_is_uncollected() -> None:
    async with world() as w:
        await w.grant(1_000)
        wallet = await w.open()
        ended = await w.settle_task(await running(w, "a", 600), 700)
        assert ended is not None
        assert ended.charged_nano == 600
        assert await w.scalar("SELECT uncollected_nano FROM usage_event") == 100
        await wallet.close()
        assert await w.differences() == []


async def test_several_buckets_in_burn_order() -> None:
    async with world() as w:
        await w.grant(100, "late", priority=9)
        await w.grant(200, "scoped", models=["m"], priority=9)
        await w.grant(300, "other", models=["x"])
        wallet = await w.open()
        row = await running(w, "a", 250)
        assert await wallet.balance("o1") == (600, 250, 350)
        await w.settle_task(row, 220)
        legs = await w.scalar(
            "SELECT group_concat(id || ' ' || debit || ' ' || amount_nano, ';')"
            " FROM (SELECT * FROM transfer WHERE kind = 'capture' ORDER BY id)"
        )
        assert legs == "req_a.c0 cust:o1:grant:scoped 200;req_a.c1 cust:o1:grant:late 20"
        assert await wallet.tasks.refund(row.id, "late failure") == 220
        assert await wallet.balance("o1") == (600, 0, 600)
        await wallet.close()
        assert await w.differences() == []


async def test_too_little_money_says_how_much() -> None:
    async with world() as w:
        await w.grant(1_000)
        wallet = await w.open()
        funds = await wallet.funds("o1", "k1")
        hold = w.hold(funds, "r1", 100)
        await w.task("a", 500)
        with pytest.raises(InsufficientFunds) as caught:
            await w.task("b", 700)
        short = caught.value
        assert (short.available_nano, short.held_nano, short.needed_nano) == (400, 600, 700)
        assert short.in_flight
        assert await w.scalar("SELECT COUNT(*) FROM task") == 1
        w.settle(hold, 0)
        await w.grant(300, "more")  # found in SQL, although the process has leased all it knew
        w.clock.advance(1_000_000)
        await w.task("b", 700)
        assert await wallet.balance("o1") == (1_300, 1_200, 100)
        await wallet.flush()
        await wallet.close()
        assert await w.differences() == []


async def test_a_free_task_holds_nothing() -> None:
    async with world() as w:
        await w.add_owner(key_total=10)
        wallet = await w.open()
        row = await running(w, "a", 0)
        assert await w.scalar("SELECT COUNT(*) FROM hold") == 0
        assert await w.settle_task(row, 0) is not None
        await wallet.close()
        assert await w.differences() == []


async def test_a_hold_counts_against_every_spend_limit() -> None:
    async with world() as w:
        await w.add_owner(org_day=1_000, key_total=700)
        await w.add_owner(key="k2")
        await w.grant(5_000)
        wallet = await w.open()
        funds, other = await wallet.funds("o1", "k1"), await wallet.funds("o1", "k2")
        row = await running(w, "a", 600)
        assert wallet.affordable_nano(funds, "m") == 100
        assert wallet.affordable_nano(other, "m") == 400
        with pytest.raises(SpendLimitReached):
            await w.task("b", 101)
        with pytest.raises(SpendLimitReached):
            w.hold(other, "r1", 401)
        assert await w.differences() == []
        w.clock.advance(DAY_US)  # the hold stays in the windows it began in
        await w.settle_task(row, 250)
        assert await wallet.refill(funds, 450)
        assert await wallet.refill(other, 1_000)
        assert wallet.affordable_nano(funds, "m") == 450
        assert wallet.affordable_nano(other, "m") == 1_000
        used = await w.scalar(
            "SELECT group_concat(used_nano, ',') FROM (SELECT * FROM spend_window ORDER BY id)"
        )
        assert used == "250,250,0"
        await wallet.close()
        assert await w.differences() == []


async def test_a_failed_task_gives_its_limit_back() -> None:
    async with world() as w:
        await w.add_owner(key_total=700)
        await w.grant(5_000)
        wallet = await w.open()
        await w.settle_task(await running(w, "a", 700), 0, "failed")
        await w.settle_task(await running(w, "b", 700), 700)
        with pytest.raises(SpendLimitReached):
            await w.task("c", 1)
        await wallet.close()
        assert await w.differences() == []


async def test_a_charged_task_is_refunded_once() -> None:
    async with world() as w:
        await w.grant(1_000)
        wallet = await w.open()
        row = await running(w, "a", 600)
        assert await wallet.tasks.refund(row.id, "not charged yet") == 0
        await w.settle_task(row, 500)
        part = refunds.refund(
            w.database, request_id="req_a", refund_id="1", amount_nano=120, reason="", now_us=1
        )
        assert await part
        backs = await asyncio.gather(*(wallet.tasks.refund(row.id, "failed") for _ in range(10)))
        assert sorted(backs) == [0] * 9 + [380]
        assert await tasks.refunded_nano(w.database, row) == 500
        assert await wallet.balance("o1") == (1_000, 0, 1_000)
        await wallet.close()
        assert await w.differences() == []


async def test_a_task_outlives_its_process() -> None:
    async with world() as w:
        await w.grant(1_000)
        wallet = await w.open()
        row = await running(w, "a", 600)
        w.hold(await wallet.funds("o1", "k1"), "r1", 100)
        await w.crash()
        wallet = await w.open()
        assert wallet.balance_nano(await wallet.funds("o1", "k1")) == 1_000
        assert await wallet.balance("o1") == (1_000, 600, 400)
        await w.settle_task(row, 300)
        await wallet.close()
        assert await pending(w) == 0
        assert await w.differences() == []


@pytest.mark.parametrize("lost", ["work", "answer"])
async def test_a_lost_answer_neither_doubles_nor_loses(lost: str) -> None:
    async with world() as w:
        await w.add_owner(key_total=900)
        await w.grant(1_000)
        wallet = await w.open()
        funds = await wallet.funds("o1", "k1")
        with losing(w, lost):
            if lost == "work":
                with pytest.raises(Unavailable):
                    await w.task("a", 600)
            else:
                await w.task("a", 600)
        there = await tasks.any_by_id(w.database, "video_a")
        assert (there is not None) == (lost == "answer")
        assert await wallet.balance("o1") == (1_000, 600 if there else 0, 400 if there else 1_000)
        row = await moved(w, there or await w.task("a", 600), "submitting", "running")
        with losing(w, lost), contextlib.suppress(Unavailable):
            await w.settle_task(row, 500)
        again = await w.settle_task(row, 500)
        assert (again is None) == (lost == "answer")
        assert await wallet.balance("o1") == (500, 0, 500)
        assert await wallet.refill(funds, 400)
        assert wallet.affordable_nano(funds, "m") == 400
        assert wallet.balance_nano(funds) == 500
        await wallet.close()
        assert await w.differences() == []


async def test_nothing_is_made_of_what_sql_refuses() -> None:
    async with world() as w:
        await w.grant(1_000)
        wallet = await w.open()
        funds = await wallet.funds("o1", "k1")
        await w.task("a", 100)
        with pytest.raises(Rejected):
            await w.task("b", 100, request_id="req_a")
        assert wallet.affordable_nano(funds, "m") == 900
        row = await moved(w, await w.task("c", 100), "submitting", "running")
        event = w.task_event(row)
        with pytest.raises(ValueError, match="amounts of the capture"):
            await wallet.tasks.settle(row, "succeeded", 50, lambda c: _zero(event(c)))
        assert await tasks.any_by_id(w.database, row.id) == row
        with pytest.raises(ValueError, match="not negative"):
            await w.settle_task(row, -1)
        assert await w.settle_task(row, 50) is not None
        await wallet.close()
        assert await w.differences() == []


def _zero(event: object) -> object:
    event.charge_nano = 0  # type: ignore[attr-defined]  # a careless caller
    return event


async def test_the_idempotency_key_names_one_task_for_a_day() -> None:
    async with world() as w:
        await w.grant(1_000)
        wallet = await w.open()
        row = await w.task("a", 100, idempotency_key="i1", fingerprint="f")
        with pytest.raises(TaskExists) as caught:
            await w.task("b", 100, idempotency_key="i1")
        assert caught.value.row == row
        assert await tasks.by_key(w.database, "o1", "video", "i1", w.clock.wall) == row
        assert await tasks.by_key(w.database, "o2", "video", "i1", w.clock.wall) is None
        assert (await wallet.balance("o1")).held_nano == 100
        w.clock.advance(DAY_US)
        newer = await w.task("c", 100, idempotency_key="i1")
        assert await tasks.by_key(w.database, "o1", "video", "i1", w.clock.wall) == newer
        await w.crash()
        assert await w.differences() == []


async def test_the_notice_is_queued_with_the_end_and_only_once() -> None:
    async with world() as w:
        await w.grant(1_000)
        wallet = await w.open()
        row = await running(w, "a", 100)

        async def notice(conn: Connection, ended: TaskRow) -> None:
            delivery = NewDelivery(
                id="evt_1",
                org_id=ended.org_id,
                task_id=ended.id,
                url="https://x.test",
                type=f"video.{ended.state}",
                body=str(ended.charged_nano),
                created_us=ended.completed_us,
            )
            await webhooks.queue(conn, delivery)

        for _ in range(2):
            await w.settle_task(row, 70, notice=notice)
        (told,) = await webhooks.of_task(w.database, "o1", row.id)
        assert (told.type, told.body, told.attempts) == ("video.succeeded", "70", 0)
        await wallet.close()


async def test_prices_are_those_of_the_beginning() -> None:
    sheet = price_sheet([price_row("video_second", "0.07")])
    async with world() as w:
        await w.grant(10**9)
        wallet = await w.open()
        row = await running(
            w, "a", 10**9, price_version=sheet.version, prices_json=prices_json(sheet)
        )
        usage = Usage(video_ms=5_000)
        assert pinned_prices(row) == sheet
        due = charge(pinned_prices(row), usage)
        assert due == 350_000_000
        units = '{"video_ms":5000}'
        event = w.task_event(row, units_json=units)
        assert await wallet.tasks.settle(row, "succeeded", due, event) is not None
        assert await w.differences() == []
        async with w.database.begin() as conn:  # somebody changes what it was
            await conn.execute(text("UPDATE usage_event SET units_json = '{}'"))
        assert [found.rule for found in await w.differences()] == ["R5"]
        await wallet.close()


async def test_no_task_while_admission_is_stopped() -> None:
    async with world() as w:
        await w.grant(1_000)
        wallet: Wallet = await w.open()
        wallet.admission.stopped = "frozen"
        with pytest.raises(Exception, match="frozen"):
            await w.task("a", 100)
        wallet.admission.stopped = None
        await wallet.close()
