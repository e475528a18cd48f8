"""Holds, captures and releases of one process, over the real SQL."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.money import NOON_US, USD, World, usage_event, world
from tokenmarket.billing import poster
from tokenmarket.billing.journal import JournalFailed
from tokenmarket.billing.wallet import (
    AdmissionStopped,
    AlreadyRunning,
    Balance,
    Capture,
    HoldEnded,
    InsufficientFunds,
    Wallet,
)
from tokenmarket.ledger.grants import expire
from tokenmarket.store import money
from tokenmarket.store.money import DAY_US
from tokenmarket.store.usage_between import usage_between


async def test_a_request_is_held_charged_and_explained() -> None:
    async with world() as w:
        await w.grant(10 * USD)
        wallet = await w.open()
        funds = await wallet.funds("o1", "k1")
        hold = w.hold(funds, "r1", 3_000)
        assert await wallet.balance("o1") == Balance(10 * USD, 3_000, 10 * USD - 3_000)
        captures: list[Capture] = []

        def event(capture: Capture):
            captures.append(capture)
            return w.event(hold)(capture)

        wallet.settle(hold, 1_000, event)
        assert captures == [Capture(1_000, 0, 2_000, ("r1.c",))]
        settled = Balance(10 * USD - 1_000, 0, 10 * USD - 1_000)
        assert await wallet.balance("o1") == settled
        assert wallet.balance_nano(funds) == settled.balance_nano
        # readable before posting, only for its organisation
        assert wallet.unposted_receipt("o1", "r1") == b'{"id":"r1"}'
        assert wallet.unposted_receipt("o2", "r1") is None
        await wallet.flush()
        assert wallet.unposted_receipt("o1", "r1") is None
        assert await money.receipt_json(w.database, "o1", "r1") == b'{"id":"r1"}'
        assert await money.receipt_json(w.database, "o2", "r1") is None
        assert await wallet.balance("o1") == settled
        await wallet.close()
        assert await wallet.balance("o1") == settled
        assert await w.scalar("SELECT SUM(dr_pending) FROM account") == 0
        assert await w.differences() == []


async def test_nothing_is_charged_twice() -> None:
    async with world() as w:
        await w.grant(USD)
        wallet = await w.open()
        funds = await wallet.funds("o1", "k1")
        hold = w.hold(funds, "r1", 500)
        w.settle(hold, 100)
        with pytest.raises(HoldEnded):
            w.settle(hold, 100)
        with pytest.raises(HoldEnded):
            wallet.void(hold, w.event(hold))
        with pytest.raises(HoldEnded):
            wallet.progress(hold, 1)
        assert (await wallet.balance("o1")).balance_nano == USD - 100
        await wallet.close()


async def test_one_hold_per_request_and_no_negative_amounts() -> None:
    async with world() as w:
        await w.grant(USD)
        wallet = await w.open()
        funds = await wallet.funds("o1", "k1")
        hold = w.hold(funds, "r1", 500)
        with pytest.raises(ValueError, match="a request has one"):
            w.hold(funds, "r1", 500)
        with pytest.raises(ValueError, match="not negative"):
            w.hold(funds, "r2", -1)
        with pytest.raises(ValueError, match="not negative"):
            w.settle(hold, -1)
        with pytest.raises(ValueError, match="amounts of the capture"):
            wallet.settle(hold, 5, lambda _: usage_event("r1", "o1", "k1", NOON_US))
        with pytest.raises(ValueError, match="another request"):
            wallet.settle(hold, 0, lambda _: usage_event("r9", "o1", "k1", NOON_US))
        with pytest.raises(ValueError, match="needs a hold"):
            wallet.record(usage_event("r3", "o1", "k1", NOON_US, charge_nano=1))
        assert (await wallet.balance("o1")).held_nano == 500
        w.settle(hold, 500)
        await wallet.close()
        assert await w.differences() == []


async def test_a_failing_event_leaves_the_hold_open() -> None:
    async with world() as w:
        await w.grant(USD)
        wallet = await w.open()
        hold = w.hold(await wallet.funds("o1", "k1"), "r1", 500)

        def broken(_: Capture):
            raise KeyError("bug in the receipt")

        with pytest.raises(KeyError):
            wallet.settle(hold, 10, broken)
        assert hold.open
        assert (await wallet.balance("o1")).held_nano == 500
        w.settle(hold, 10)
        await wallet.close()
        assert await w.differences() == []


async def test_a_charge_above_the_hold_takes_what_is_free_and_no_more() -> None:
    async with world() as w:
        await w.grant(1_000)
        wallet = await w.open()
        funds = await wallet.funds("o1", "k1")
        other = w.hold(funds, "r0", 300)
        hold = w.hold(funds, "r1", 500)
        captures: list[Capture] = []
        wallet.settle(hold, 900, lambda c: captures.append(c) or w.event(hold)(c))
        assert captures == [Capture(700, 200, 0, ("r1.c",))]
        assert await wallet.balance("o1") == Balance(300, 300, 0)
        assert wallet.metrics()["uncollected_nano"] == 200
        wallet.void(other, w.event(other, "failed"))
        await wallet.close()
        assert await w.scalar("SELECT SUM(uncollected_nano) FROM usage_event") == 200
        assert await w.differences() == []


async def test_insufficient_funds_say_whether_running_requests_hold_them() -> None:
    async with world() as w:
        await w.grant(1_000)
        wallet = await w.open()
        funds = await wallet.funds("o1", "k1")
        hold = w.hold(funds, "r1", 600)
        with pytest.raises(InsufficientFunds) as caught:
            w.hold(funds, "r2", 500)
        short = caught.value
        assert (short.available_nano, short.held_nano, short.needed_nano) == (400, 600, 500)
        assert short.in_flight
        with pytest.raises(InsufficientFunds) as caught:
            w.hold(funds, "r2", 1_001)
        assert not caught.value.in_flight
        assert wallet.affordable_nano(funds, "m") == 400
        wallet.void(hold, w.event(hold))
        assert wallet.affordable_nano(funds, "m") == 1_000
        await wallet.close()


async def test_a_broke_customer_does_not_hammer_sql() -> None:
    async with world() as w:
        wallet = await w.open()
        funds = await wallet.funds("o1", "k1")
        before = w.database.operations
        for _ in range(400):  # one second at 400 requests/s
            with pytest.raises(InsufficientFunds):
                w.hold(funds, "r1", 10)
            assert not await wallet.refill(funds, 10)
            w.clock.advance(2_500)
        asked = w.database.operations - before
        await w.grant(100)
        w.clock.advance(200_000)
        assert await wallet.refill(funds, 10)
        w.hold(funds, "r1", 10)
        assert 0 < asked <= 5 * 6  # five looks, each a handful of statements
        await w.crash()


async def test_refill_finds_a_new_grant() -> None:
    async with world() as w:
        await w.grant(100)
        wallet = await w.open()
        funds = await wallet.funds("o1", "k1")
        await w.grant(900, "g2")
        with pytest.raises(InsufficientFunds):
            w.hold(funds, "r1", 1_000)
        assert await wallet.refill(funds, 1_000)
        hold = w.hold(funds, "r1", 1_000)
        captures: list[Capture] = []
        wallet.settle(hold, 950, lambda c: captures.append(c) or w.event(hold)(c))
        assert captures[0].transfer_ids == ("r1.c0", "r1.c1")
        await wallet.close()
        assert await w.differences() == []


async def test_burn_order_scope_priority_expiry_then_paid_money() -> None:
    async with world() as w:
        await w.grant(100, "late", expires_us=NOON_US + 2 * DAY_US)
        await w.grant(100, "soon", expires_us=NOON_US + DAY_US)
        await w.grant(100, "first", priority=1)
        await w.grant(100, "scoped", models=["m", "n"], priority=500)
        await w.grant(100, "foreign", models=["x"])
        wallet = await w.open()
        funds = await wallet.funds("o1", "k1")
        assert [b.account_id.rpartition(":")[2] for b in funds.pool.buckets if not b.scope] == [
            "first",
            "soon",
            "late",
        ]
        hold = w.hold(funds, "r1", 250)
        taken = [(bucket.account_id.rpartition(":")[2], n) for bucket, n in hold.parts]
        assert taken == [("scoped", 100), ("first", 100), ("soon", 50)]
        assert wallet.affordable_nano(funds, "m") == 150
        w.settle(hold, 120)
        with pytest.raises(InsufficientFunds):
            w.hold(funds, "r2", 381)  # money for model x does not count
        w.settle(w.hold(funds, "r2", 380 - 100), 1)
        await wallet.close()
        assert await w.differences() == []


async def test_a_grant_expires_at_the_microsecond_but_a_hold_may_still_be_captured() -> None:
    async with world() as w:
        await w.grant(1_000, expires_us=NOON_US + 50)
        wallet = await w.open()
        funds = await wallet.funds("o1", "k1")
        w.clock.advance(49)
        hold = w.hold(funds, "r1", 300)
        w.clock.advance(1)
        with pytest.raises(InsufficientFunds):
            w.hold(funds, "r2", 1)
        assert await expire(w.database, w.clock.wall) == 0  # all of it is leased
        await wallet.release_idle(w.clock.monotonic)
        assert await expire(w.database, w.clock.wall) == 700
        assert await expire(w.database, w.clock.wall) == 0
        w.settle(hold, 200)
        await wallet.flush()
        await wallet.release_idle(w.clock.monotonic)
        assert await expire(w.database, w.clock.wall) == 100
        assert await wallet.balance("o1") == Balance(0, 0, 0)
        await wallet.close()
        assert await w.differences() == []


async def test_idle_money_goes_back_and_comes_again() -> None:
    async with world() as w:
        await w.grant(1_000)
        wallet = await w.open()
        funds = await wallet.funds("o1", "k1")
        hold = w.hold(funds, "r1", 100)
        await wallet.release_idle(w.clock.monotonic)  # just used
        assert await w.scalar("SELECT dr_pending FROM account") == 1_000
        w.clock.advance(10_000_000)
        await wallet.release_idle(w.clock.monotonic)
        assert await w.scalar("SELECT dr_pending FROM account") == 100  # the running hold stays
        w.settle(hold, 40)
        await wallet.flush()
        await wallet.release_idle(w.clock.monotonic)
        assert await w.scalar("SELECT dr_pending FROM account") == 0
        assert await w.scalar("SELECT COUNT(*) FROM lease WHERE state = 'open'") == 0
        with pytest.raises(InsufficientFunds):
            w.hold(funds, "r2", 10)
        assert await wallet.refill(funds, 10)
        w.settle(w.hold(funds, "r2", 960), 960)
        await wallet.close()
        assert await w.differences() == []
        assert await w.scalar("SELECT dr_posted FROM account") == 1_000


async def test_free_requests_need_no_money() -> None:
    async with world() as w:
        wallet = await w.open()
        funds = await wallet.funds("o1", "k1")
        w.settle(w.hold(funds, "r1", 0), 0)
        await wallet.close()
        assert await w.scalar("SELECT COUNT(*) FROM transfer") == 0
        assert await w.scalar("SELECT COUNT(*) FROM usage_event") == 1
        assert await w.differences() == []


async def test_refused_requests_leave_a_receipt() -> None:
    async with world() as w:
        wallet = await w.open()
        wallet.record(usage_event("r1", "o1", "k1", NOON_US, status="rejected"))
        assert wallet.unposted_receipt("o1", "r1") is not None
        await wallet.close()
        assert await money.receipt_json(w.database, "o1", "r1") == b'{"id":"r1"}'
        rows = await usage_between(w.database, "o1", 0, NOON_US + 1, ["model", "key"])
        assert [(r["model"], r["key"], r["requests"], r["failed"]) for r in rows] == [
            ("m", "k1", 1, 1)
        ]
        with pytest.raises(KeyError):
            await usage_between(w.database, "o1", 0, 1, ["secret"])


async def test_a_second_process_is_refused() -> None:
    async with world() as w:
        wallet = await w.open()
        with pytest.raises(AlreadyRunning, match="another TokenMarket process"):
            await w.open()
        with pytest.raises(AlreadyRunning, match="one SQLite file serves one process"):
            await Wallet.open(
                w.database, w.folder / "elsewhere", clock=w.clock, worker_id="w9", background=False
            )
        await wallet.close()
        await (await w.open()).close()


async def test_a_failing_disk_stops_admission_and_charges_nothing() -> None:
    async with world() as w:
        broken = False

        def sync(_: int) -> None:
            if broken:
                raise OSError(5, "Input/output error")

        await w.grant(1_000)
        wallet = await w.open(sync=sync)
        funds = await wallet.funds("o1", "k1")
        hold = w.hold(funds, "r1", 100)
        broken = True
        with pytest.raises(JournalFailed, match="Input/output error"):
            await wallet.flush()
        assert "fdatasync failed" in (wallet.ready() or "")
        with pytest.raises(AdmissionStopped):
            w.hold(funds, "r2", 100)
        with pytest.raises(JournalFailed):
            w.settle(hold, 50)
        assert hold.open
        broken = False
        with pytest.raises(JournalFailed):  # an fd that failed once is never trusted again
            await wallet.flush()
        await w.crash()
        wallet = await w.open()
        assert (await wallet.balance("o1")).balance_nano == 1_000
        await wallet.close()
        assert await w.differences() == []


async def test_group_waits_for_the_disk_and_replicated_for_sql() -> None:
    async with world() as w:
        await w.grant(1_000)
        synced: list[int] = []
        wallet = await w.open(journal_sync="group", sync=synced.append)
        funds = await wallet.funds("o1", "k1")
        place = w.settle(w.hold(funds, "r1", 10), 10)
        before = len(synced)
        await wallet.durable(place)
        assert len(synced) > before
        await wallet.close()
        wallet = await w.open(journal_sync="replicated", background=True)
        funds = await wallet.funds("o1", "k1")
        places = [w.settle(w.hold(funds, f"s{n}", 10), 10) for n in range(5)]
        await asyncio.gather(*(wallet.durable(place) for place in places))
        assert await w.scalar("SELECT COUNT(*) FROM usage_event WHERE request_id LIKE 's%'") == 5
        await wallet.close()
        assert await w.differences() == []


async def test_stored_answers_are_found_before_and_after_posting() -> None:
    from tokenmarket.billing.records import StoredAnswer

    async with world() as w:
        await w.grant(1_000)
        wallet = await w.open()
        hold = w.hold(await wallet.funds("o1", "k1"), "r1", 10)
        answer = StoredAnswer("idem", "/chat", "f1", 200, "application/json", b"\x00\xff")

        def event(capture: Capture):
            made = w.event(hold)(capture)
            made.answer = answer
            return made

        wallet.settle(hold, 10, event)
        assert wallet.unposted_answer("o1", "/chat", "idem") == answer
        assert wallet.unposted_answer("o2", "/chat", "idem") is None
        await wallet.flush()
        assert wallet.unposted_answer("o1", "/chat", "idem") is None
        now = w.clock.wall
        found = await money.stored_answer(w.database, "o1", "/chat", "idem", now)
        assert found == ("r1", "f1", 200, "application/json", b"\x00\xff")
        assert await money.stored_answer(w.database, "o1", "/chat", "idem", now + DAY_US) is None
        await wallet.close()


async def _many(w: World, count: int) -> None:
    wallet = await w.open()
    funds = await wallet.funds("o1", "k1")
    for number in range(count):
        w.settle(w.hold(funds, f"r{number}", 10), number % 7)
    await wallet.flush()
    await wallet.close()


async def test_big_batches_are_posted_whole() -> None:
    async with world() as w:
        await w.grant(USD)
        await _many(w, 2_500)
        assert await w.scalar("SELECT COUNT(*) FROM usage_event") == 2_500
        expected = sum(n % 7 for n in range(2_500))
        assert await w.scalar("SELECT dr_posted FROM account") == expected
        assert await w.differences() == []


async def test_the_proof_may_run_beside_a_busy_server() -> None:
    async with world() as w:
        await w.add_owner(org_day=USD)
        await w.grant(USD)
        wallet = await w.open(background=True, segment_bytes=1 << 14)
        funds = await wallet.funds("o1", "k1")
        held = [w.hold(funds, f"h{number}", 10) for number in range(50)]
        for number in range(200):
            w.settle(w.hold(funds, f"r{number}", 10), 3)
            if number % 20 == 0:
                await asyncio.sleep(0)
                assert await w.differences() == []
        for hold in held:
            w.settle(hold, 5)
        await wallet.flush()
        assert await w.differences() == []
        await wallet.close()
        assert await w.differences() == []


async def test_a_rest_that_fills_no_batch_waits_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poster, "BATCH_RECORDS", 4)
    async with world() as w:
        await w.grant(1_000)
        wallet = await w.open()
        funds = await wallet.funds("o1", "k1")
        for number in range(10):
            w.settle(w.hold(funds, f"r{number}", 100), 10)
        await wallet._journal.flush()
        posting, synced = wallet._poster, wallet._journal.synced
        await posting.run(synced, rest_waits_us=1_000)
        assert (posting.posted, len(posting.pending)) == (8, 2)  # two whole batches
        w.clock.monotonic += 1_001
        await posting.run(synced, rest_waits_us=1_000)
        assert (posting.posted, len(posting.pending)) == (10, 0)
        for number in range(10, 16):
            w.settle(w.hold(funds, f"r{number}", 100), 10)
        await wallet._journal.flush()
        await posting.run(wallet._journal.synced)  # somebody waits: nothing stays
        assert (posting.posted, len(posting.pending)) == (16, 0)
