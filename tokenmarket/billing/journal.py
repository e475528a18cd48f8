"""The worker's append-only file: every request leaves its trail here before anything else happens.

``append`` copies into a shared mapping of the file: like ``write(2)`` it survives the death of the
process, but costs no system call and never hands the interpreter lock to another thread.
``fdatasync`` runs in one thread, 20 ms after the first unsynced byte or at once when somebody
waits: it survives the death of the machine. What a reader must know (``design/billing.md``
section 5):

* One directory per worker, ``<root>/<worker id>/``: ``lock`` (flock held for the life of the
  process; its release by the kernel is the only proof of death) and segments ``000001.tmj``.
* Segments are preallocated, so a full disk shows when a segment is made, not in the middle of a
  request. Then admission stops (``trouble``), and running requests still settle: what stands after
  the preallocated part is written with ``pwrite``. So is everything where mapping does not work.
* A frame's payload is copied before its header: a death between the two leaves no frame.
* Preallocated blocks are why touching the mapping cannot fail. On a file system that copies on
  write (ZFS, Btrfs) a full disk may end the process with SIGBUS instead; nothing is charged wrong.
* After a failed fdatasync nothing is known about the pages: the journal is failed for good, and
  the process should be restarted on a healthy disk.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import threading
from collections.abc import Callable
from functools import partial
from mmap import ALLOCATIONGRANULARITY, PAGESIZE, mmap
from pathlib import Path
from zlib import crc32

from tokenmarket.billing.disk import DiskThread
from tokenmarket.billing.frames import (
    HASH_AT,
    HEADER_BYTES,
    frame,
    header,
    offset_of,
    position,
    put_frame_header,
)
from tokenmarket.billing.records import StoredAnswer, UsageEvent

__all__ = ["AlreadyRunning", "Journal", "JournalFailed", "StoredAnswer", "UsageEvent", "take_lock"]

SEGMENT_BYTES = 64 << 20
SEGMENT_AGE_US = 60_000_000
FLUSH_AFTER_S = 0.02
WINDOW_BYTES = 1 << 20  # mapped at a time: what the journal may add to the resident memory
# Zeros are written so far ahead. A page that the kernel has written to before costs 3 µs until it
# is filled, against 9 to 15 if MADV_POPULATE_WRITE makes it and 19 if a fault does (ext4, between
# two calls of fdatasync): then it is one transaction of the file system for each page.
READY_BYTES = 64 << 10
_ZEROS = bytes(READY_BYTES)


class JournalFailed(Exception):
    """The trail of a request could not be written, so the request must not go on."""


class AlreadyRunning(Exception):
    """Another live process holds the lock."""


def take_lock(path: Path) -> int:
    """A descriptor holding an exclusive flock on ``path``. Raises AlreadyRunning, OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise AlreadyRunning(str(path)) from None
    return fd


def segment_path(directory: Path, segment: int) -> Path:
    """``000001.tmj`` and so on."""
    return directory.joinpath(f"{segment:06d}.tmj")


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Journal:
    """One worker's journal, open for writing.

    ``synced``: everything before this position is on disk. ``trouble``: why no new request may be
    admitted, or None. ``checkpoint`` gives the payload that opens each later segment.
    """

    def __init__(
        self,
        root: Path,
        worker_id: str,
        *,
        checkpoint: Callable[[], bytes],
        on_synced: Callable[[], None],
        segment_bytes: int = SEGMENT_BYTES,
        background: bool = True,
        sync: Callable[[int], None] = os.fdatasync,
        window_bytes: int = WINDOW_BYTES,
    ) -> None:
        """Makes the directory and the first segment. Raises AlreadyRunning, OSError.

        ``background=False`` leaves flushing to ``flush`` (tests that own the time).
        ``window_bytes=0``: write with ``pwrite`` instead of through a mapping.
        """
        self.directory = root.joinpath(worker_id)
        self.worker_id = worker_id
        self.trouble: str | None = None
        self.failed = False
        self._checkpoint = checkpoint
        self._on_synced = on_synced
        self._segment_bytes = segment_bytes
        self._background = background
        self._sync = sync
        self._loop = asyncio.get_running_loop()
        self._window_bytes = window_bytes
        self._timer: asyncio.TimerHandle | None = None
        self._flushing = False
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._finished: list[tuple[int, int]] = []  # (fd, used bytes): full, not yet sealed
        self._spare_fd: int | None = None  # descriptor of the next segment
        self._spare_asked = False
        self._making = threading.Lock()  # one thread at a time makes a segment
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=False)
        self._lock_fd = take_lock(self.directory.joinpath("lock"))
        self._earlier_b = 0  # bytes of records in the segments before
        # The window: the mapped part of the segment. ``_at`` and ``_room``, the end of the pages
        # that are ready, count from its start; without a window there is no room, and it starts at
        # the start of the file.
        self._window: memoryview | None = None  # cheaper to write to than the mmap behind it
        self._room = 0
        self._begin(1, self._make_segment(1))
        self.synced = self.place
        self._thread = DiskThread(self._loop)

    def _begin(self, segment: int, fd: int) -> None:
        """Go on at the start of this segment."""
        self._close_window()
        self._segment, self._fd = segment, fd
        self._base, self._at = position(segment, 0), HEADER_BYTES

    @property
    def place(self) -> int:
        """The position after the last appended record."""
        return self._base + self._at

    @property
    def appended_b(self) -> int:
        """Bytes of all records so far."""
        return self._earlier_b + self.used_b()

    # ------------------------------------------------------------------------------------ writing

    def append(self, payload: bytes) -> int:
        """Write one record; returns the position after it. Raises JournalFailed.

        Assumes that the window has room; everything else is ``_append_otherwise``.
        """
        at = self._at
        start = at + 8
        end = start + len(payload)
        window = self._window
        if end > self._room or window is None:
            return self._append_otherwise(payload)
        window[start:end] = payload
        put_frame_header(window, at, end - start, crc32(payload))
        self._at = end
        if self._timer is None:
            self._flush_soon()
        return self._base + end

    def _append_otherwise(self, payload: bytes) -> int:
        """Where no page is ready, at the end of the segment, or where mapping does not work."""
        if self.failed:
            raise JournalFailed(self.trouble)
        if self._make_ready(len(payload) + 8):
            return self.append(payload)
        if offset_of(self.place) >= self._segment_bytes:
            self.rotate()
        if self._open_window(len(payload) + 8):
            return self.append(payload)
        return self._write(frame(payload))

    def _open_window(self, need_b: int) -> bool:
        """Map the part of the segment that comes next; whether ``need_b`` bytes fit into it."""
        offset = offset_of(self.place)
        start = offset - offset % ALLOCATIONGRANULARITY
        length = min(self._window_bytes, self._segment_bytes - start)
        if offset + need_b > start + length:
            return False
        try:
            window = memoryview(mmap(self._fd, length, offset=start))
        except (OSError, ValueError):
            self._window_bytes = 0  # not on this file system
            return False
        self._close_window()
        self._window = window
        self._base, self._at = position(self._segment, start), offset - start
        self._room = self._at
        return self._make_ready(need_b)

    def _make_ready(self, need_b: int) -> bool:
        """Have the next pages of the window ready; whether ``need_b`` bytes fit into them."""
        window = self._window
        if window is None or self._at + need_b > len(window):
            return False
        start = self._room  # never before the last record
        end = start + READY_BYTES
        end = min(len(window), max(self._at + need_b, end - end % PAGESIZE))
        zeros = _ZEROS if end - start == READY_BYTES else bytes(end - start)
        try:
            written = os.pwrite(self._fd, zeros, offset_of(self._base) + start)
        except OSError:
            return False  # ``_write`` will meet it too, and can say so
        self._room = start + written
        return self._room == end

    def _close_window(self) -> None:
        if self._window is not None:
            self._window.release()  # the last reference to the mmap, which ends with it
            self._window, self._room = None, 0

    def _write(self, record: bytes) -> int:
        """Past the preallocated part, or without a mapping."""
        try:
            written = os.pwrite(self._fd, record, offset_of(self.place))
        except OSError as error:
            raise self._fail(f"journal write failed: {error.strerror}") from error
        if written != len(record):
            # half a record: the next one would follow garbage
            raise self._fail("journal write was cut short: the disk is full")
        self._at += written
        if self._timer is None:
            self._flush_soon()
        return self.place

    def _flush_soon(self) -> None:
        if self._background:
            self._timer = self._loop.call_later(FLUSH_AFTER_S, self._start_flush)

    def rotate(self) -> None:
        """Begin the next segment; on a full disk stay in this one and stop admission."""
        if self.failed:
            raise JournalFailed(self.trouble)
        with self._making:
            fd, self._spare_fd = self._spare_fd, None
            try:
                fd = self._make_segment(self._segment + 1) if fd is None else fd
            except OSError as error:
                self.trouble = f"no new journal segment: {error.strerror}"
                return
            self._spare_asked = False
            self.trouble = None
            self._finished.append((self._fd, offset_of(self.place)))
            self._earlier_b += self.used_b()
            self._begin(self._segment + 1, fd)
        self._append_otherwise(self._checkpoint())

    def used_b(self) -> int:
        """Bytes of records in the current segment."""
        return offset_of(self.place) - HEADER_BYTES

    def _make_segment(self, segment: int) -> int:
        path = segment_path(self.directory, segment)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, self._segment_bytes)
            os.write(fd, header(self.worker_id, segment))
            os.fdatasync(fd)
            _sync_directory(self.directory)
        except OSError:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        return fd

    def _fail(self, why: str) -> JournalFailed:
        self.failed = True
        self.trouble = why
        self._close_window()
        for _, waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(JournalFailed(why))
        self._waiters.clear()
        return JournalFailed(why)

    # ----------------------------------------------------------------------------------- flushing

    async def wait_synced(self, place: int) -> None:
        """Returns when everything before ``place`` is on disk. Raises JournalFailed."""
        if place <= self.synced:
            return
        if self.failed:
            raise JournalFailed(self.trouble)
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append((place, waiter))
        self._start_flush()
        await waiter

    async def flush(self) -> None:
        """Everything appended so far is on disk when this returns. Raises JournalFailed."""
        await self.wait_synced(self.place)

    def _start_flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._flushing or self.failed:
            return  # the end of the running one looks again
        finished, self._finished = self._finished, []
        self._flushing = True
        self._thread.do(
            partial(self._flush_files, finished, self._fd), partial(self._flushed, self.place)
        )

    def _flush_files(self, finished: list[tuple[int, int]], current: int) -> None:
        """In the thread: sync, then seal what is full by writing its hash into its successor."""
        for fd, used_b in finished:
            os.ftruncate(fd, used_b)  # give the preallocated rest back
            self._sync(fd)
        self._sync(current)
        successors = [*(fd for fd, _ in finished), current][1:]
        for (fd, _), successor in zip(finished, successors, strict=True):
            os.pwrite(successor, _hash(fd), HASH_AT)
            self._sync(successor)
            os.close(fd)

    def _flushed(self, place: int, error: str | None) -> None:
        self._flushing = False
        if self.failed:
            return
        if error is not None:
            self._fail(f"journal fdatasync failed: {error}")
            return
        self.synced = place
        waiting = self._waiters
        self._waiters = [(goal, waiter) for goal, waiter in waiting if goal > place]
        for goal, waiter in waiting:
            if goal <= place and not waiter.done():
                waiter.set_result(None)
        if self._waiters:
            self._start_flush()
        elif self.place > place and self._timer is None:
            self._flush_soon()
        if self._background and self.used_b() * 2 > self._segment_bytes and not self._spare_asked:
            self._spare_asked = True
            self._thread.do(partial(self._make_spare, self._segment + 1), lambda _: None)
        self._on_synced()

    def _make_spare(self, segment: int) -> None:
        """In the thread. A failure is met again, and handled, when the segment is needed."""
        with self._making:
            if self._segment + 1 == segment and self._spare_fd is None:
                self._spare_fd = self._make_segment(segment)

    async def close(self) -> None:
        """Flush and let go of the lock. The spare segment, if any, is removed."""
        try:
            if not self.failed:
                await self.flush()
        finally:
            self._thread.end()
            if self._spare_fd is not None:
                segment_path(self.directory, self._segment + 1).unlink(missing_ok=True)
            self.abandon()

    def abandon(self) -> None:
        """Let go of everything without a flush, as a death would."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._thread.end()
        self._close_window()
        spare = () if self._spare_fd is None else (self._spare_fd,)
        for fd in (self._fd, self._lock_fd, *spare, *(fd for fd, _ in self._finished)):
            os.close(fd)
        self.failed = True
        self.trouble = "the journal is closed"


def _hash(fd: int) -> bytes:
    digest = hashlib.sha256()
    place = 0
    while block := os.pread(fd, 1 << 20, place):
        digest.update(block)
        place += len(block)
    return digest.digest()
