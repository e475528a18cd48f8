"""The worker's append-only file: every request leaves its trail here before anything else happens.

``append`` is one ``write(2)``: it survives the death of the process. ``fdatasync`` runs in one
thread, 20 ms after the first unsynced byte or at once when somebody waits: it survives the death of
the machine. What a reader must know (``design/billing.md`` section 5):

* One directory per worker, ``<root>/<worker id>/``: ``lock`` (flock held for the life of the
  process; its release by the kernel is the only proof of death) and segments ``000001.tmj``.
* Segments are preallocated, so a full disk shows when a segment is made, not in the middle of a
  request. Then admission stops (``trouble``), and running requests still settle.
* After a failed fdatasync nothing is known about the pages: the journal is failed for good, and
  the process should be restarted on a healthy disk.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tokenmarket.billing.frames import HASH_AT, HEADER_BYTES, frame, header, position
from tokenmarket.billing.records import StoredAnswer, UsageEvent

__all__ = ["AlreadyRunning", "Journal", "JournalFailed", "StoredAnswer", "UsageEvent", "take_lock"]

SEGMENT_BYTES = 64 << 20
SEGMENT_AGE_US = 60_000_000
FLUSH_AFTER_S = 0.02


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
    ) -> None:
        """Makes the directory and the first segment. Raises AlreadyRunning, OSError.

        ``background=False`` leaves flushing to ``flush`` (tests that own the time).
        """
        self.directory = root.joinpath(worker_id)
        self.worker_id = worker_id
        self.trouble: str | None = None
        self.failed = False
        self.appended_b = 0
        self._checkpoint = checkpoint
        self._on_synced = on_synced
        self._segment_bytes = segment_bytes
        self._background = background
        self._sync = sync
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "journal")
        self._timer: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Future[None] | None = None
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._finished: list[tuple[int, int]] = []  # (fd, used bytes): full, not yet sealed
        self._spare: asyncio.Future[int] | None = None  # descriptor of the next segment
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=False)
        self._lock_fd = take_lock(self.directory.joinpath("lock"))
        self._segment = 1
        self._fd = self._make_segment(1)
        self._base = position(1, 0)
        self._offset = HEADER_BYTES
        self.synced = self._base + HEADER_BYTES

    @property
    def place(self) -> int:
        """The position after the last appended record."""
        return self._base + self._offset

    # ------------------------------------------------------------------------------------ writing

    def append(self, payload: bytes) -> int:
        """Write one record; returns the position after it. Raises JournalFailed."""
        if self._offset >= self._segment_bytes:
            self.rotate()
        return self._write(frame(payload))

    def _write(self, record: bytes) -> int:
        if self.failed:
            raise JournalFailed(self.trouble)
        try:
            written = os.write(self._fd, record)
        except OSError as error:
            raise self._fail(f"journal write failed: {error.strerror}") from error
        if written != len(record):
            # half a record: the next one would follow garbage
            raise self._fail("journal write was cut short: the disk is full")
        self._offset += written
        self.appended_b += written
        if self._timer is None and self._background:
            self._timer = self._loop.call_later(FLUSH_AFTER_S, self._start_flush)
        return self._base + self._offset

    def rotate(self) -> None:
        """Begin the next segment; on a full disk stay in this one and stop admission."""
        if self.failed:
            raise JournalFailed(self.trouble)
        following = self._segment + 1
        try:
            if self._spare is not None and self._spare.done():
                fd = self._spare.result()
            else:
                fd = self._make_segment(following)
        except OSError as error:
            self._spare = None
            self.trouble = f"no new journal segment: {error.strerror}"
            return
        self._spare = None
        self.trouble = None
        self._finished.append((self._fd, self._offset))
        self._segment, self._fd = following, fd
        self._base, self._offset = position(following, 0), HEADER_BYTES
        self._write(frame(self._checkpoint()))

    def used_b(self) -> int:
        """Bytes of records in the current segment."""
        return self._offset - HEADER_BYTES

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
        if self._flushing is not None or self.failed:
            return  # the end of the running one looks again
        finished, self._finished = self._finished, []
        following = self._fd
        work = partial(self._flush_files, finished, following)
        self._flushing = self._loop.run_in_executor(self._thread, work)
        self._flushing.add_done_callback(partial(self._flushed, self.place))

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

    def _flushed(self, place: int, done: asyncio.Future[None]) -> None:
        self._flushing = None
        if self.failed:
            return
        error = None if done.cancelled() else done.exception()
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
        elif self.place > place and self._timer is None and self._background:
            self._timer = self._loop.call_later(FLUSH_AFTER_S, self._start_flush)
        if self._background and self._offset * 2 > self._segment_bytes and self._spare is None:
            self._prepare_spare()
        self._on_synced()

    def _prepare_spare(self) -> None:
        self._spare = self._loop.run_in_executor(
            self._thread, self._make_segment, self._segment + 1
        )
        # a failure is met again, and handled, when the segment is needed
        self._spare.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def close(self) -> None:
        """Flush and let go of the lock. The spare segment, if any, is removed."""
        try:
            if not self.failed:
                await self.flush()
        finally:
            if self._spare is not None:
                try:
                    os.close(await self._spare)
                    segment_path(self.directory, self._segment + 1).unlink()
                except OSError:
                    pass  # it was never made
            self.abandon()

    def abandon(self) -> None:
        """Let go of everything without a flush, as a death would."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._thread.shutdown(wait=True)
        for fd in (self._fd, self._lock_fd, *(fd for fd, _ in self._finished)):
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
