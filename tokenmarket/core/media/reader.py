"""How media bytes are read: at a place, a little at a time, and never more than a budget.

A 200 MB upload lies on disk; the functions of this package are handed a ``Reader`` over it and
wrap it in ``Bounded``, which counts what is read and turns every read past the end, and every read
beyond the budget, into MediaError.
"""

from __future__ import annotations

from typing import Protocol

READ_BYTES_MAX = 4 * 1024 * 1024
READS_MAX = 20_000

_JUMP_BYTES = 1024  # after a jump only a header is wanted …
_AHEAD_BYTES = 64 * 1024  # … and going on from there, what follows as well
_TAKE_BYTES_MAX = 1024 * 1024


class MediaError(ValueError):
    """The bytes are not what they claim to be, end early, or cost too much to understand."""


class Reader(Protocol):
    """Bytes of a known number; ``read_at`` may give fewer than asked for only at the end."""

    @property
    def size(self) -> int: ...
    def read_at(self, offset: int, length: int) -> bytes: ...


class BytesReader:
    """A Reader over bytes that are in memory already."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        """All of them."""
        return len(self._data)

    def read_at(self, offset: int, length: int) -> bytes:
        """A copy of that part, shorter at the end."""
        return self._data[offset : offset + length]


class Bounded:
    """A view of a Reader with a window and a budget. ``size`` bytes count, at most the reader's."""

    def __init__(
        self, reader: Reader, size: int | None = None, *, bytes_max: int = READ_BYTES_MAX
    ) -> None:
        self._reader = reader
        self.size = reader.size if size is None else max(0, min(size, reader.size))
        self.bytes_left = bytes_max
        self._reads_left = READS_MAX
        self._start = 0
        self._window = b""

    def some(self, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes from ``offset``; fewer at the end, none beyond it."""
        length = min(length, self.size - offset)
        if offset < 0 or length <= 0:
            return b""
        begin = offset - self._start
        if begin < 0 or begin + length > len(self._window):
            self._refill(offset, length)
            begin = 0
        return self._window[begin : begin + length]

    def take(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes; MediaError where the file ends before."""
        found = self.some(offset, length)
        if len(found) != length:
            raise MediaError(f"the file ends inside a header at byte {offset}")
        return found

    def _refill(self, offset: int, length: int) -> None:
        if length > _TAKE_BYTES_MAX:
            raise MediaError(f"a header of {length} bytes is too long")
        end = self._start + len(self._window)
        ahead = _AHEAD_BYTES if self._start <= offset <= end and self._window else _JUMP_BYTES
        wanted = min(max(length, ahead), self.size - offset)
        self._reads_left -= 1
        self.bytes_left -= wanted
        if self.bytes_left < 0 or self._reads_left < 0:
            raise MediaError("the file is too scattered to be understood")
        self._start, self._window = offset, self._reader.read_at(offset, wanted)
