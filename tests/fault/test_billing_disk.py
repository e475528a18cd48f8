"""T3.4: the disk is full, the journal is damaged or gone, SQL is slow or refuses a record."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from typing import Any

import pytest

from tests.support.losing import losing
from tests.support.money import world
from tokenmarket.billing import journal
from tokenmarket.billing.keeper import BACKLOG_US
from tokenmarket.billing.poster import Frozen
from tokenmarket.billing.recovery import KEPT_US, collect_garbage
from tokenmarket.billing.wallet import AdmissionStopped, JournalFailed
from tokenmarket.store.money import DAY_US
from tokenmarket.store.money_moves import Unavailable


async def test_a_full_disk_stops_admission_at_rotation_and_running_requests_settle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as w:
        await w.grant(1_000_000)
        wallet = await w.open(segment_bytes=4096)
        funds = await wallet.funds("o1", "k1")
        running = [w.hold(funds, f"r{n}", 100) for n in range(20)]

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "posix_fallocate", full)
            for number in range(1_000):
                if wallet.ready():
                    break
                w.hold(funds, f"s{number}", 0)
            with pytest.raises(AdmissionStopped, match="No space left"):
                w.hold(funds, "more", 0)
            for hold in running:
                w.settle(hold, 7)  # into the grown old segment
            assert "No space left" in (wallet.ready() or "")
        await wallet._keeper.tick()  # there is space again
        assert wallet.ready() is None
        w.settle(w.hold(funds, "after", 100), 7)
        await wallet.flush()
        await w.crash()
        await (await w.open()).close()
        assert await w.scalar("SELECT dr_posted FROM account") == 21 * 7
        assert await w.differences() == []


async def test_a_write_that_fails_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        await w.grant(1_000)
        wallet = await w.open()
        funds = await wallet.funds("o1", "k1")

        def broken(*_: object, **__: object) -> Any:
            raise OSError(errno.EIO, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(journal, "mmap", broken)  # not on this file system: pwrite instead
            patch.setattr(os, "pwrite", broken)
            with pytest.raises(JournalFailed):
                w.hold(funds, "r1", 100)
        assert (await wallet.balance("o1")).held_nano == 0
        assert wallet.metrics()["holds"] == 0
        with pytest.raises(AdmissionStopped):
            w.hold(funds, "r1", 100)
        await w.crash()
        await (await w.open()).close()
        assert await w.differences() == []


@pytest.mark.parametrize("damage", ["gone", "corrupt"])
async def test_a_journal_that_cannot_be_read_is_quarantined_not_guessed(damage: str) -> None:
    async with world() as w:
        await w.grant(1_000)
        wallet = await w.open()
        funds = await wallet.funds("o1", "k1")
        for number in range(5):
            w.settle(w.hold(funds, f"r{number}", 100), 50)
        await w.crash()
        folder = w.journal_root / "w1"
        if damage == "gone":
            shutil.rmtree(folder)
        else:
            segment = folder / "000001.tmj"
            content = bytearray(segment.read_bytes())
            content[200] ^= 1
            segment.write_bytes(content)
        wallet = await w.open()
        assert [name for name, _ in wallet.recovered.quarantined] == ["w1"]
        assert wallet.metrics()["quarantined"] == 1
        # its money is neither spent nor given back: nobody knows
        assert (await wallet.balance("o1")).available_nano == 0
        await wallet.close()
        assert {found.rule for found in await w.differences()} == {"R4"}


async def test_a_poison_record_is_set_aside_alone() -> None:
    async with world() as w:
        await w.grant(1_000_000)
        wallet = await w.open()
        funds = await wallet.funds("o1", "k1")
        for number in range(40):
            hold = w.hold(funds, f"r{number}", 100)

            def event(capture, hold=hold, number=number):
                made = w.event(hold)(capture)
                if number == 17:
                    made.receipt = b"\xff\xfe not text"
                return made

            wallet.settle(hold, 10, event)
        await wallet.flush()
        assert wallet.metrics()["set_aside"] == 1
        assert await w.scalar("SELECT request_id FROM suspense") == "r17"
        assert await w.scalar("SELECT COUNT(*) FROM usage_event") == 39
        assert await w.scalar("SELECT dr_posted FROM account") == 390
        await wallet.close()
        found = await w.differences()
        assert [(d.rule, d.subject) for d in found if d.rule == "R1"] == [("R1", "r17")]


async def test_a_request_id_used_twice_is_charged_once() -> None:
    async with world() as w:
        await w.grant(1_000)
        wallet = await w.open()
        funds = await wallet.funds("o1", "k1")
        for _ in range(2):
            w.settle(w.hold(funds, "r1", 100), 10)
        await wallet.flush()
        assert await w.scalar("SELECT dr_posted FROM account") == 10
        assert await w.scalar("SELECT COUNT(*) FROM suspense") == 1
        await w.crash()


@pytest.mark.parametrize("lost", ["answer", "work"])
async def test_a_lost_answer_of_a_posting_is_neither_doubled_nor_dropped(lost: str) -> None:
    async with world() as w:
        await w.grant(1_000)
        wallet = await w.open()
        funds = await wallet.funds("o1", "k1")
        w.settle(w.hold(funds, "r1", 100), 10)
        await wallet._journal.flush()
        with losing(w, lost), pytest.raises(Unavailable):
            await wallet._poster.run(wallet._journal.synced)
        w.settle(w.hold(funds, "r2", 100), 10)
        await wallet.flush()
        assert await w.scalar("SELECT dr_posted FROM account") == 20
        assert (await wallet.balance("o1")).balance_nano == 980
        await wallet.close()
        assert await w.differences() == []


async def test_a_backlog_stops_admission_until_sql_has_caught_up() -> None:
    async with world() as w:
        await w.grant(1_000)
        wallet = await w.open()
        funds = await wallet.funds("o1", "k1")
        hold = w.hold(funds, "r2", 100)
        w.settle(w.hold(funds, "r1", 100), 10)
        w.clock.advance(BACKLOG_US + 1)
        await wallet._keeper.tick()
        assert "backlog" in (wallet.ready() or "")
        with pytest.raises(AdmissionStopped):
            w.hold(funds, "r3", 1)
        w.settle(hold, 10)  # what runs may end
        await wallet.flush()
        await wallet._keeper.tick()
        assert wallet.ready() is None
        await wallet.close()
        assert await w.differences() == []


async def test_a_database_that_went_back_in_time_freezes_everything() -> None:
    async with world() as w:
        await w.grant(1_000)
        wallet = await w.open(background=True)
        funds = await wallet.funds("o1", "k1")
        w.settle(w.hold(funds, "r1", 100), 10)
        await wallet.flush()
        from sqlalchemy import text

        async with w.database.begin() as conn:  # as a restored backup would have it
            await conn.execute(text("UPDATE journal_cursor SET offset_b = offset_b - 1"))
        w.settle(w.hold(funds, "r2", 100), 10)
        for _ in range(500):
            if wallet.ready():
                break
            await asyncio.sleep(0.01)
        assert "lost commits" in (wallet.ready() or "")
        with pytest.raises(AdmissionStopped):
            w.hold(funds, "r3", 1)
        with pytest.raises(Frozen):
            await wallet.close()


async def test_journals_are_kept_for_three_days_after_their_end() -> None:
    async with world() as w:
        await (await w.open()).close()
        folder = w.journal_root / "w1"
        assert await collect_garbage(w.database, w.journal_root, w.clock.wall + KEPT_US) == 0
        assert folder.is_dir()
        later = w.clock.wall + KEPT_US + DAY_US
        assert await collect_garbage(w.database, w.journal_root, later) == 1
        assert not folder.exists()
