"""A request body that is not in memory, written to a transport as fast as the upstream takes it.

Callbacks only, as everything in ``connection.py``: the transport says pause and resume, and each
resume reads the next pieces from their spool. At most one piece beyond the transport's own limit is
in memory. An answer that is an error stops the writing; such a connection is not used again, nor
is one whose answer was whole before its request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Final

from tokenmarket.core.uploads import Body, Upload, body_bytes_count, joined

PIECE_BYTES: Final = 128 * 1024
WHOLE_BYTES: Final = 256 * 1024  # what is smaller is sent as bytes


def writable(body: tuple[bytes | Upload, ...]) -> tuple[bytes | BodyWriter, int]:
    """What ``Connection.start`` takes, and its length."""
    length = body_bytes_count(body)
    return (joined(body) if length <= WHOLE_BYTES else BodyWriter(body)), length


class BodyWriter:
    """One body on its way. ``broken`` is called when the body cannot be read any more."""

    __slots__ = ("_broken", "_paused", "_pieces", "_progress", "_transport", "done")

    def __init__(self, body: Body) -> None:
        self._pieces: Iterator[bytes] | None = pieces(body)
        self._paused = False
        self._transport: asyncio.Transport | None = None
        self._progress: Callable[[], None] | None = None
        self._broken: Callable[[], None] | None = None
        self.done = False

    def begin(
        self,
        transport: asyncio.Transport,
        progress: Callable[[], None],
        broken: Callable[[], None],
    ) -> None:
        """Write as much as goes. ``progress`` is called with every piece."""
        self._transport, self._progress, self._broken = transport, progress, broken
        self._go()

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self._go()

    def stop(self) -> None:
        """The rest is not sent. The connection is good for nothing else then."""
        self._pieces = None

    def _go(self) -> None:
        transport, progress = self._transport, self._progress
        while self._pieces is not None and not self._paused:
            if transport is None or progress is None or transport.is_closing():
                self.stop()
                return
            try:
                piece = next(self._pieces, None)
            except (OSError, ValueError):
                self.stop()
                if self._broken is not None:
                    self._broken()
                return
            if piece is None:
                self.done = True
                self._pieces = None
                return
            progress()
            transport.write(piece)


def pieces(body: Body, size: int = PIECE_BYTES) -> Iterator[bytes]:
    """The body in pieces of at most ``size`` bytes. Raises ValueError if an upload is shorter than
    it said: nothing else may take its place."""
    for part in (body,) if isinstance(body, bytes) else body:
        if isinstance(part, bytes):
            for start in range(0, len(part), size):
                yield part[start : start + size]
            continue
        offset = 0
        while offset < part.size:
            piece = part.read_at(offset, size)
            if not piece:
                raise ValueError("an upload is shorter than it said")
            yield piece
            offset += len(piece)
