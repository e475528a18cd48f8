"""Writes copies of requests to files, beside the requests: a bounded queue and a thread.

What a reader must know:

* ``copy`` and ``keep`` are on the path of requests: they do not wait, and whatever goes wrong in
  them is told and counted, never the request's.
* What does not fit into the queue, cannot be written, or would take the disk's last space (which
  the journal needs) is dropped and counted; its receipt then says that nothing was kept.
* Who records is known from ``take_over``, called when the control plane has changed. Nothing is
  written under a key that is gone by then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from tokenmarket.contents.copying import Copy
from tokenmarket.core.contents import TAKEN_BYTES_MAX, Content, ContentKey, is_text, kept_side
from tokenmarket.core.wire import Client, Inbound
from tokenmarket.files.contents import ContentFiles

QUEUE_BYTES_MAX = 32 * 1024 * 1024
FREE_BYTES_MIN = 512 * 1024 * 1024
GATHER_S = 0.05  # so long a batch is gathered
_encode = msgspec.json.Encoder().encode


class Body(NamedTuple):
    """Of one side: the first bytes, None where they are not text."""

    content_type: str
    data: bytes | None
    size: int
    cut: bool
    files: tuple[str, ...] = ()


class Entry(NamedTuple):
    """One request that waits to be written."""

    key: ContentKey
    request_id: str
    request: Body
    status: int | None
    answer: Body | None

    @property
    def size(self) -> int:
        """In the queue."""
        bodies = (self.request, self.answer)
        return sum(len(body.data) for body in bodies if body is not None and body.data is not None)


class Recorder:
    """Of one process. ``failed`` is told what could not be written: (what, why)."""

    def __init__(self, files: ContentFiles, failed: Callable[[str, Exception], object]) -> None:
        self._files = files
        self._failed = failed
        self._keys: dict[str, ContentKey] = {}
        self._queue: list[Entry] = []
        self._waiting = asyncio.Event()
        self._writing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self.queue_bytes = 0  # including what is being written
        self.kept = 0
        self.dropped = 0

    def take_over(self, keys: Iterable[ContentKey]) -> None:
        """These organisations record from now on, and no other."""
        self._keys = {key.org_id: key for key in keys}

    # --- beside a request -----------------------------------------------------------------------

    def copy(self, org_id: str, inbound: Inbound, client: Client) -> Copy | None:
        """The client to answer with instead; None: this organisation does not record."""
        key = self._keys.get(org_id)
        return None if key is None else Copy(key, inbound, client)

    def keep(self, copy: Copy) -> None:
        """The request is over."""
        try:
            entry = _entry(copy)
        except Exception as error:  # our bug must not be the request's
            self.dropped += 1
            self._tell(error)
            return
        if self.queue_bytes + entry.size > QUEUE_BYTES_MAX:
            self.dropped += 1
            return
        self._queue.append(entry)
        self.queue_bytes += entry.size
        self._waiting.set()

    # --- writing --------------------------------------------------------------------------------

    def start(self) -> None:
        self._task = asyncio.create_task(self._write_forever(), name="contents")

    async def stop(self) -> None:
        """Everything that waits is written."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self.flush()

    async def _write_forever(self) -> None:
        while True:
            await self._waiting.wait()
            await asyncio.sleep(GATHER_S)
            await self.flush()

    async def flush(self) -> None:
        """What waits now is written when this returns."""
        async with self._writing:
            self._waiting.clear()
            entries, self._queue = self._queue, []
            if not entries:
                return
            size = sum(entry.size for entry in entries)
            try:
                written = await asyncio.shield(asyncio.to_thread(self._write, entries))
                self.kept += written.kept
                self.dropped += written.dropped
                if written.error is not None:
                    self._tell(written.error)
            finally:
                self.queue_bytes -= size

    def _write(self, entries: list[Entry]) -> Written:
        """In a thread. One line is told of a batch, not one per request."""
        kept = dropped = 0
        failure: Exception | None = None
        try:
            full = self._files.free_bytes() < FREE_BYTES_MIN
        except OSError as error:
            full, failure = True, error
        for entry in entries:
            if self._keys.get(entry.key.org_id) != entry.key:
                continue  # switched off meanwhile
            if full:
                dropped += 1
                continue
            try:
                self._files.write(entry.key, entry.request_id, _encode(_content(entry)))
                kept += 1
            except Exception as error:
                dropped += 1
                failure = error
        return Written(kept, dropped, failure)

    def _tell(self, error: Exception) -> None:
        """Of errors other than the disk's the kind alone: their texts may quote what was kept."""
        told = error if isinstance(error, OSError) else RuntimeError(type(error).__name__)
        self._failed("contents", told)

    def gauges(self) -> Iterable[tuple[str, str, float]]:
        """For ``GET /metrics``."""
        yield "contents_kept", "Requests whose content was written, since the start.", self.kept
        yield "contents_dropped", "Requests whose content could not be kept.", self.dropped
        yield "contents_queue_bytes", "Content that waits to be written.", self.queue_bytes


class Written(NamedTuple):
    """What became of a batch."""

    kept: int
    dropped: int
    error: Exception | None


def _entry(copy: Copy) -> Entry:
    inbound = copy.inbound
    content_type = inbound.headers.get(b"content-type", b"").decode("latin-1")
    if inbound.spool is not None:
        request = Body(content_type, copy.fields, inbound.spool.size, False, copy.files)
    else:
        request = _body(content_type, inbound.body, len(inbound.body))
    answer = None
    if copy.status is not None:
        answer = _body(copy.answer_type, bytes(copy.answer), copy.answer_size)
    return Entry(copy.key, inbound.request_id, request, copy.status, answer)


def _body(content_type: str, data: bytes, size: int) -> Body:
    if not is_text(content_type):
        return Body(content_type, None, size, False)
    taken = data[:TAKEN_BYTES_MAX]
    return Body(content_type, taken, size, len(taken) < size)


def _content(entry: Entry) -> Content:
    answer = entry.answer
    return Content(
        request=kept_side(*entry.request),
        status=entry.status,
        answer=None if answer is None else kept_side(*answer),
    )
