"""The journal's bytes under every kind of damage."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.money import NOON_US, usage_event, world
from tokenmarket.billing import records
from tokenmarket.billing.frames import (
    HASH_AT,
    HEADER_BYTES,
    JournalCorrupt,
    frame,
    frames,
    header,
    position,
    read_header,
)
from tokenmarket.billing.records import C, H, P, R, S, StoredAnswer, V
from tokenmarket.billing.replay import records as read_records
from tokenmarket.billing.replay import segments, start_position, tell

PAYLOADS = [b"first", b"\0\0\0\1", b"x" * 40, b"last"]


def segment(payloads: list[bytes], tail: int = 64) -> bytes:
    return header("w1", 1) + b"".join(map(frame, payloads)) + bytes(tail)


def read(content: bytes, *, last: bool = True) -> list[bytes]:
    return [found.payload for found in frames(content, last=last)]


@given(st.lists(st.binary(min_size=1, max_size=300)), st.integers(0, 4096))
def test_what_was_written_is_read(payloads: list[bytes], tail: int) -> None:
    assert read(segment(payloads, tail)) == payloads
    assert read(segment(payloads, tail), last=False) == payloads


@pytest.mark.parametrize("zeros", [0, 64])
def test_cut_at_every_byte_loses_only_the_tail(zeros: int) -> None:
    whole = segment(PAYLOADS, 0)
    ends = [found.end for found in frames(whole, last=True)]
    for cut in range(HEADER_BYTES, len(whole)):
        found = read(whole[:cut] + bytes(zeros))
        assert found == PAYLOADS[: sum(end <= cut for end in ends)]


def test_a_flipped_bit_is_a_torn_tail_only_at_the_tail() -> None:
    whole = segment(PAYLOADS)
    found = list(frames(whole, last=True))
    for offset in range(HEADER_BYTES, found[-1].end):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[offset] ^= 1 << bit
            if offset >= found[-1].start:
                assert read(bytes(damaged)) == PAYLOADS[:-1]
            else:
                with pytest.raises(JournalCorrupt):
                    read(bytes(damaged))
            with pytest.raises(JournalCorrupt):
                read(bytes(damaged), last=False)


def test_a_header_of_another_worker_or_damaged_is_refused() -> None:
    whole = segment([])
    assert read_header(whole, "w1", 1) == bytes(32)
    for worker, number in (("w2", 1), ("w1", 2)):
        with pytest.raises(JournalCorrupt):
            read_header(whole, worker, number)
    for offset in range(HASH_AT):
        damaged = bytearray(whole)
        damaged[offset] ^= 1
        with pytest.raises(JournalCorrupt):
            read_header(bytes(damaged), "w1", 1)
    for name in ("", "x" * 33):
        with pytest.raises(ValueError, match="1 to 32"):
            header(name, 1)


@given(st.integers(1, 1000), st.integers(0, 2**39), st.integers(1, 1000), st.integers(0, 2**39))
def test_positions_order_like_the_journal(s1: int, o1: int, s2: int, o2: int) -> None:
    assert (position(s1, o1) < position(s2, o2)) == ((s1, o1) < (s2, o2))


def test_every_record_comes_back_and_newer_fields_are_ignored() -> None:
    event = usage_event("r", "o", "k", 1, answer=StoredAnswer("a", "b", "c", 200, "d", b"\xff"))
    hold = H("r", "o", "k", "m", "p", "v", 5, (("a", 1, 5),), (("w", 2),), 7)
    for record in (
        hold,
        P("r", 5, b"x"),
        S("r", (("a", 1, 5),), (("w", 2),), event),
        V("r", event),
        R("r", event),
        C("", (hold,), (P("r", 1, b""),), 3, 4),
    ):
        payload = records.encode(record)
        assert records.decode(payload) == record
        grown = payload.replace(payload[:1], bytes([payload[0] + 1]), 1) + b"\xc3"
        assert records.decode(grown) == record  # a field added by a later version


def write(folder: Path, contents: list[list[bytes]], *, sealed: bool = True) -> list[bytes]:
    made: list[bytes] = []
    for number, payloads in enumerate(contents, start=1):
        content = bytearray(header("w1", number) + b"".join(map(frame, payloads)))
        if made and sealed:
            content[HASH_AT : HASH_AT + 32] = hashlib.sha256(made[-1]).digest()
        folder.joinpath(f"{number:06d}.tmj").write_bytes(content)
        made.append(bytes(content))
    return made


def ends(count: int, first: int = 0) -> list[bytes]:
    return [
        records.encode(R(f"r{n}", usage_event(f"r{n}", "o", "k", NOON_US)))
        for n in range(first, first + count)
    ]


def names(folder: Path) -> list[str]:
    return [record.request_id for _, record in read_records(folder, "w1", 1)]


def test_segments_follow_each_other_by_hash(tmp_path: Path) -> None:
    made = write(tmp_path, [ends(2), ends(2, 2), ends(1, 4)])
    assert names(tmp_path) == ["r0", "r1", "r2", "r3", "r4"]
    second = tmp_path / "000002.tmj"
    # another valid segment in its place
    swapped = bytearray(header("w1", 2) + b"".join(map(frame, ends(2, 9))))
    swapped[HASH_AT : HASH_AT + 32] = made[1][HASH_AT : HASH_AT + 32]
    second.write_bytes(swapped)
    with pytest.raises(JournalCorrupt, match="not what was sealed"):
        names(tmp_path)
    second.unlink()
    with pytest.raises(JournalCorrupt, match="missing"):
        segments(tmp_path)
    second.write_bytes(made[1])
    (tmp_path / "000001.tmj").unlink()
    with pytest.raises(JournalCorrupt, match="segment 1 is missing"):
        names(tmp_path)


def test_a_death_before_sealing_leaves_readable_segments(tmp_path: Path) -> None:
    write(tmp_path, [ends(2), ends(2, 2)], sealed=False)
    (tmp_path / "000003.tmj").write_bytes(bytes(4096))  # preallocated, header not yet written
    assert names(tmp_path) == ["r0", "r1", "r2", "r3"]


def test_a_record_nobody_wrote_is_corruption(tmp_path: Path) -> None:
    write(tmp_path, [[b"\x93\x01\x02\x03"]])
    with pytest.raises(JournalCorrupt, match="unknown record"):
        names(tmp_path)


def test_a_story_begins_at_any_segment(tmp_path: Path) -> None:
    hold = H("open", "o", "k", "m", "p", "v", 5, (("a", 1, 5),), (), 7)
    step = P("open", 3, b"")
    write(
        tmp_path,
        [
            [records.encode(hold), records.encode(step), *ends(1)],
            [records.encode(C("", (hold,), (step,), 0, 0)), *ends(1, 1)],
        ],
    )
    whole = tell(tmp_path, "w1", start_position())
    assert [end.record.request_id for end in whole.endings] == ["r0", "r1"]
    assert whole.open_holds == [(hold, step)]
    later = tell(tmp_path, "w1", position(2, HEADER_BYTES))
    assert [end.record.request_id for end in later.endings] == ["r1"]
    assert later.open_holds == [(hold, step)]
    assert tell(tmp_path, "w1", whole.end).endings == []


async def test_a_journal_rotates_and_proves_itself() -> None:
    async with world() as w:
        await w.grant(1_000_000)
        wallet = await w.open(segment_bytes=4096)
        funds = await wallet.funds("o1", "k1")
        waiting = w.hold(funds, "waits", 77)
        wallet.progress(waiting, 33)
        for number in range(100):
            w.settle(w.hold(funds, f"r{number}", 10), 3)
            if number % 10 == 0:
                await wallet.flush()
        folder = w.journal_root / "w1"
        assert len(segments(folder)) >= 5
        assert all(p.stat().st_size < 5_000 for p in folder.glob("*.tmj"))
        await w.crash()
        wallet = await w.open()
        assert wallet.recovered.ended == 1
        assert (await wallet.balance("o1")).balance_nano == 1_000_000 - 300 - 33
        await wallet.close()
        assert await w.differences() == []
