"""Writing the journal: through the mapping and around it, ahead of the need, and half way."""

from __future__ import annotations

import asyncio
import errno
import mmap
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.money import memory_folder, world
from tokenmarket.billing import journal
from tokenmarket.billing.frames import frames, position
from tokenmarket.billing.journal import Journal
from tokenmarket.billing.recovery import KEPT_US, drop_posted_segments
from tokenmarket.billing.replay import records, segments, tell


def write(payloads: list[bytes], *, segment_bytes: int, window_bytes: int) -> tuple[object, ...]:
    """(positions, bytes of every segment) of a journal with these records."""

    async def run() -> tuple[object, ...]:
        made = Journal(
            memory_folder(),
            "w1",
            checkpoint=lambda: b"checkpoint",
            on_synced=lambda: None,
            segment_bytes=segment_bytes,
            background=False,
            window_bytes=window_bytes,
        )
        places = [made.append(payload) for payload in payloads]
        assert made.place == places[-1]
        await made.close()
        files = sorted(made.directory.glob("*.tmj"))
        return places, made.appended_b, [path.read_bytes() for path in files]

    return asyncio.run(run())


SIZES = st.one_of(st.integers(1, 300), st.integers(3_000, 9_000))


@given(st.lists(SIZES, min_size=1, max_size=60), st.sampled_from([1_000, 8_192, 20_000, 70_001]))
def test_mapped_or_not_the_bytes_are_the_same(sizes: list[int], segment_bytes: int) -> None:
    payloads = [bytes([1 + n % 255]) * size for n, size in enumerate(sizes)]
    plain = write(payloads, segment_bytes=segment_bytes, window_bytes=0)
    for window_bytes in (4_096, 8_192, 1 << 20):
        assert write(payloads, segment_bytes=segment_bytes, window_bytes=window_bytes) == plain


@pytest.mark.parametrize("written", [None, 0, 1_000])
def test_pages_that_cannot_be_made_ready(
    written: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk refuses zeros, or takes only some: the records go on, in the same bytes."""
    payloads = [b"%d" % n * (n % 700 + 1) for n in range(200)]
    plain = write(payloads, segment_bytes=200_000, window_bytes=0)
    pwrite, asked = os.pwrite, 0

    def full(fd: int, data: bytes, at: int) -> int:
        nonlocal asked
        if any(data):
            return pwrite(fd, data, at)
        asked += 1
        if written is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return pwrite(fd, data[:written], at)

    monkeypatch.setattr(os, "pwrite", full)
    assert write(payloads, segment_bytes=200_000, window_bytes=1 << 16) == plain
    assert asked


def test_pages_are_made_ready_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite
    asked: list[tuple[int, int]] = []

    def watched(fd: int, data: bytes, at: int) -> int:
        if not any(data):
            asked.append((at, len(data)))
        return pwrite(fd, data, at)

    monkeypatch.setattr(os, "pwrite", watched)
    write([b"x" * 1_000] * 300, segment_bytes=1 << 20, window_bytes=1 << 18)
    assert all((at + length) % mmap.PAGESIZE == 0 for at, length in asked)
    assert len(asked) <= 300_000 // journal.READY_BYTES + 2
    covered = sum(length for _, length in asked)
    assert 300_000 < covered < 300_000 + 3 * journal.READY_BYTES


def test_what_was_written_through_the_mapping_is_read() -> None:
    payloads = [b"%d" % n * (n % 700 + 1) for n in range(200)]
    _, _, files = write(payloads, segment_bytes=20_000, window_bytes=4_096)
    assert isinstance(files, list)
    assert len(files) > 2
    found = [f.payload for content in files for f in frames(content, last=False)]
    assert [payload for payload in found if payload != b"checkpoint"] == payloads


async def test_a_death_between_payload_and_header_leaves_no_frame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as w:
        await w.grant(1_000)
        wallet = await w.open()
        funds = await wallet.funds("o1", "k1")
        w.settle(w.hold(funds, "r1", 100), 60)
        hold = w.hold(funds, "r2", 100)
        with monkeypatch.context() as patch:
            patch.setattr(journal, "put_frame_header", lambda *_: None)
            w.settle(hold, 50)
        await w.crash()
        wallet = await w.open()
        assert wallet.recovered.quarantined == []
        await wallet.close()
        assert await w.scalar("SELECT dr_posted FROM account") == 60
        assert await w.differences() == []


async def _spare_is_there(folder: Path) -> None:
    for _ in range(500):
        if (folder / "000002.tmj").exists():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("no spare segment was made")


async def test_a_torn_tail_before_a_segment_made_ahead_is_only_a_torn_tail() -> None:
    async with world() as w:
        await w.grant(100_000)
        wallet = await w.open(background=True, segment_bytes=8_192)
        funds = await wallet.funds("o1", "k1")
        number = 0
        while wallet._journal.used_b() * 2 <= 8_192:
            number += 1
            w.settle(w.hold(funds, f"r{number}", 100), 10)
        await _spare_is_there(wallet._journal.directory)
        place = wallet._journal.place
        hold = w.hold(funds, "torn", 100)
        folder = wallet._journal.directory
        await w.crash()
        assert segments(folder) == [1, 2]
        with (folder / "000001.tmj").open("r+b") as file:  # the last frame lost its second half
            file.seek((place & 0xFFFFFFFFFF) + 20)
            file.write(bytes(200))
        told = tell(folder, "w1", position(1, 128))
        assert len(told.endings) == number
        assert told.open_holds == []
        wallet = await w.open()
        assert wallet.recovered.adopted == ["w1"]
        await wallet.close()
        assert await w.scalar("SELECT dr_posted FROM account") == 10 * number
        assert hold.open


async def test_a_segment_made_ahead_is_used_and_the_unused_one_removed() -> None:
    async with world() as w:
        await w.grant(100_000)
        wallet = await w.open(background=True, segment_bytes=8_192)
        funds = await wallet.funds("o1", "k1")
        folder = wallet._journal.directory
        for number in range(100):
            w.settle(w.hold(funds, f"r{number}", 100), 10)
            if number % 10 == 0:
                await wallet.flush()
        ends = [r for _, r in records(folder, "w1", 1) if hasattr(r, "event")]
        assert len(ends) == 100
        await wallet.close()
        assert segments(folder)[-1] == wallet._journal.place >> 40
        assert await w.differences() == []


async def test_segments_of_a_living_journal_go_three_days_after_posting() -> None:
    async with world() as w:
        await w.grant(100_000)
        wallet = await w.open(segment_bytes=4_096)
        funds = await wallet.funds("o1", "k1")
        running = w.hold(funds, "running", 100)
        for number in range(60):
            w.settle(w.hold(funds, f"r{number}", 100), 10)
        folder = wallet._journal.directory
        numbers = segments(folder)
        now_us = w.clock.wall
        later_us = now_us + KEPT_US + 1
        for number in numbers:
            os.utime(folder / f"{number:06d}.tmj", ns=(now_us * 1_000, now_us * 1_000))
        assert drop_posted_segments(folder, wallet._poster.cursor, later_us) == 0  # not posted
        await wallet.flush()
        for number in numbers:
            os.utime(folder / f"{number:06d}.tmj", ns=(now_us * 1_000, now_us * 1_000))
        assert drop_posted_segments(folder, wallet._poster.cursor, later_us - 1) == 0  # too young
        assert drop_posted_segments(folder, wallet._poster.cursor, later_us) == len(numbers) - 1
        assert segments(folder) == numbers[-1:]
        assert await w.differences() == []
        w.settle(running, 7)  # what was open is in the checkpoint of the segment that stayed
        await w.crash()
        await (await w.open()).close()
        assert await w.scalar("SELECT dr_posted FROM account") == 607
        assert await w.differences() == []
