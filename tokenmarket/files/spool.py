"""Where the bodies of running uploads lie: memory while small, then an unlinked temporary file.

A file has no name from the moment it is made, so whatever happens to the process, the kernel takes
it back. All spools of a process share one limit: an upload that finds it used up is refused (503)
and not left waiting, because what waits holds a connection.

Writes are synchronous: a piece of at most 256 KiB into the page cache takes some 50 µs, less than
handing it to a thread would.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from tokenmarket.core.errors import ApiError

MEMORY_BYTES = 1024 * 1024
BYTES_MAX = 2 * 1024 * 1024 * 1024


class Spools:
    """All spools of a process. ``directory`` is made when the first file is."""

    def __init__(
        self, directory: Path, *, bytes_max: int = BYTES_MAX, memory_bytes: int = MEMORY_BYTES
    ) -> None:
        self._directory = directory
        self._bytes_max = bytes_max
        self.memory_bytes = memory_bytes
        self.used_bytes = 0
        self.open_count = 0

    def open(self) -> FileSpool:
        """An empty spool; whoever opens it closes it."""
        return FileSpool(self)

    def check_room(self, length: int) -> None:
        """ApiError PLATFORM_001 if ``length`` more bytes would not fit now."""
        if self.used_bytes + length > self._bytes_max:
            raise _no_room("Too many uploads are being received; try again in a moment.")

    def temporary_file(self) -> int:
        """A descriptor of a nameless file. Raises ApiError PLATFORM_001."""
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                flags = os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC
                return os.open(self._directory, flags, 0o600)
            except OSError:  # a file system without O_TMPFILE
                descriptor, name = tempfile.mkstemp(dir=self._directory, suffix=".upload")
                os.unlink(name)
                return descriptor
        except OSError as error:
            raise _no_room("The upload cannot be kept at the moment.") from error


class FileSpool:
    """One received body (``core.uploads.Spool``)."""

    __slots__ = ("_closed", "_descriptor", "_memory", "_spools", "size")

    def __init__(self, spools: Spools) -> None:
        self._spools = spools
        self._memory: bytearray | None = bytearray()
        self._descriptor = -1
        self._closed = False
        self.size = 0
        spools.open_count += 1

    @property
    def on_disk(self) -> bool:
        return self._descriptor >= 0

    def write(self, data: bytes) -> None:
        """Append. Raises ApiError PLATFORM_001 when there is no room."""
        self._spools.check_room(len(data))
        memory = self._memory
        if memory is not None and len(memory) + len(data) <= self._spools.memory_bytes:
            memory += data
        else:
            if memory is not None:
                self._descriptor = self._spools.temporary_file()
                self._write_file(memory)
                self._memory = None
            self._write_file(data)
        self.size += len(data)
        self._spools.used_bytes += len(data)

    def _write_file(self, data: bytes | bytearray) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:  # a full disk
            raise _no_room("The upload cannot be kept at the moment.") from error

    def read_at(self, offset: int, length: int) -> bytes:
        """As ``core.uploads.Spool``. Raises ValueError after ``close``."""
        if self._closed:
            raise ValueError("the spool is closed")
        if self._memory is not None:
            return bytes(memoryview(self._memory)[offset : offset + length])
        data = os.pread(self._descriptor, length, offset)
        while len(data) < min(length, self.size - offset):  # the kernel may give less than asked
            more = os.pread(self._descriptor, length - len(data), offset + len(data))
            if not more:
                raise ValueError("the spool's file has lost bytes")
            data += more
        return data

    def close(self) -> None:
        """Give everything back. May be called again."""
        if self._closed:
            return
        self._closed = True
        self._spools.used_bytes -= self.size
        self._spools.open_count -= 1
        self._memory = None
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _no_room(message: str) -> ApiError:
    return ApiError("PLATFORM_001", message, reason="no_room_for_upload", retry_after_s=5)
