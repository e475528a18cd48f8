"""Undoes gzip and deflate of an upstream that compresses although we asked it not to.

Bounded on purpose (``design/security.md`` F5, N8): a few kilobytes can unfold to gigabytes.
"""

from __future__ import annotations

import zlib

RATIO_MAX = 100
BYTES_FREE = 1 << 20  # text that repeats itself may beat the ratio while it is still small

CODINGS = frozenset({"gzip", "x-gzip", "deflate"})


class Inflater:
    """One body. ``feed`` any cut of the bytes; ``cut_short`` if it ended before its end."""

    __slots__ = ("_bytes_in", "_bytes_out", "_first", "_zlib")

    def __init__(self, coding: str) -> None:
        self._bytes_in = 0
        self._bytes_out = 0
        self._first: bytes = b""
        # 16 + 15: gzip only. "deflate" is zlib or, by an old mistake, raw: the first bytes tell.
        self._zlib = None if coding == "deflate" else zlib.decompressobj(31)

    @property
    def cut_short(self) -> bool:
        return self._bytes_in > 0 and (self._zlib is None or not self._zlib.eof)

    def feed(self, data: bytes) -> bytes:
        """Raises ValueError: not that coding, more than the ratio, or bytes after the end."""
        self._bytes_in += len(data)
        if self._zlib is None:
            data = self._first + data
            if len(data) < 2:
                self._first = data
                return b""
            is_zlib = data[0] & 15 == 8 and (data[0] << 8 | data[1]) % 31 == 0
            self._zlib = zlib.decompressobj(15 if is_zlib else -15)
        allowed = max(BYTES_FREE, RATIO_MAX * self._bytes_in) - self._bytes_out
        try:
            out = self._zlib.decompress(data, allowed + 1)
        except zlib.error as error:
            raise ValueError("the compressed body is damaged") from error
        if len(out) > allowed:
            raise ValueError("the compressed body unfolds to more than 100 times its size")
        if self._zlib.unused_data:
            raise ValueError("bytes after the end of the compressed body")
        self._bytes_out += len(out)
        return out
