"""Bodies from a spool, written piece by piece to a transport that says when it has enough."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from tokenmarket.core.uploads import Memory, Upload, memory_upload
from tokenmarket.upstream.body_writer import PIECE_BYTES, WHOLE_BYTES, BodyWriter, pieces, writable

BIG = bytes(range(256)) * 4096  # 1 MiB


def upload(data: bytes) -> Upload:
    return memory_upload(data, field="file", filename="a.wav", content_type="audio/wav")


class Narrow:
    """A transport that is full after ``room`` bytes."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.buffered = 0
        self.most = 0
        self.written = bytearray()
        self.closing = False
        self.writer: BodyWriter

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes) -> None:
        self.written += data
        self.buffered += len(data)
        self.most = max(self.most, self.buffered)
        if self.buffered > self.room:
            self.writer.pause()

    def drain(self) -> None:
        self.buffered = 0
        self.writer.resume()


def begun(body: Any, room: int = 64 * 1024) -> tuple[BodyWriter, Narrow, list[str]]:
    writer, transport = BodyWriter(body), Narrow(room)
    transport.writer = writer
    told: list[str] = []
    writer.begin(
        cast("asyncio.Transport", transport),
        lambda: told.append("moved"),
        lambda: told.append("broken"),
    )
    return writer, transport, told


def test_pieces_are_the_body() -> None:
    part = upload(BIG)
    inner = Upload("f", "n", "", Memory(b"--" + BIG + b"--"), 2, len(BIG))
    for body in (b"", b"x" * 10, BIG, (b"head", part, b"", b"tail"), (inner,), ()):
        whole = (
            body
            if isinstance(body, bytes)
            else b"".join(p.data() if isinstance(p, Upload) else p for p in body)
        )
        assert b"".join(pieces(body)) == whole
        assert all(0 < len(piece) <= 1000 for piece in pieces(body, 1000))


def test_what_is_small_is_sent_as_bytes() -> None:
    assert writable((b"a", upload(b"bc"))) == (b"abc", 3)
    body, length = writable((b"a", upload(BIG)))
    assert isinstance(body, BodyWriter)
    assert length == len(BIG) + 1
    assert isinstance(writable((upload(BIG[:WHOLE_BYTES]),))[0], bytes)


def test_the_transport_sets_the_pace() -> None:
    writer, transport, told = begun((b"head", upload(BIG), b"tail"))
    assert len(transport.written) < 3 * PIECE_BYTES
    turns = 0
    while not writer.done:
        before = len(transport.written)
        transport.drain()
        assert len(transport.written) > before or writer.done
        turns += 1
    assert turns > 5
    assert bytes(transport.written) == b"head" + BIG + b"tail"
    assert transport.most <= 64 * 1024 + PIECE_BYTES
    assert set(told) == {"moved"}


def test_stopping() -> None:
    writer, transport, _ = begun((upload(BIG),))
    written = len(transport.written)
    writer.stop()
    transport.drain()
    assert len(transport.written) == written
    assert not writer.done
    writer, transport, _ = begun((upload(BIG),))
    transport.closing = True
    written = len(transport.written)
    transport.drain()
    assert len(transport.written) == written
    assert not writer.done


class Failing(Memory):
    def read_at(self, offset: int, length: int) -> bytes:
        if offset > 300_000:
            raise ValueError("the spool is closed")
        return super().read_at(offset, length)


@pytest.mark.parametrize("spool", [Failing(BIG), Memory(BIG[:300_000])], ids=["closed", "short"])
def test_a_body_that_cannot_be_read_to_its_end(spool: Memory) -> None:
    writer, transport, told = begun((Upload("f", "n", "", spool, 0, len(BIG)),), room=10**9)
    assert told[-1] == "broken"
    assert not writer.done
    assert len(transport.written) < len(BIG)
