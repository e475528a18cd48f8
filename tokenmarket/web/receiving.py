"""A multipart body while it arrives: into a spool, and only for callers who show a key.

What a reader must know:

* Whoever sends more than ``MEMORY_BYTES``, or asks with ``Expect: 100-continue`` before sending, is
  asked for the key first: reading pauses, ``admit`` runs as a task (a cached key takes one turn of
  the loop), and only then is the rest taken. So an anonymous caller can make us hold at most what
  one read brings beyond that, as with a JSON body. The gateway authenticates again; this here only
  guards the disk.
* While a check runs, whole requests that arrived wait in the connection's queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from tokenmarket.core.errors import ApiError
from tokenmarket.core.wire import Inbound
from tokenmarket.files.spool import FileSpool, Spools

# Gets the head of a request; raises ApiError, and nothing else, for who may not upload.
Admit = Callable[[Inbound], Awaitable[None]]


class Line(Protocol):
    """What the intake needs from its connection."""

    def hold(self) -> None:
        """Read nothing more."""
        ...

    def release(self, *, welcome: bool) -> None:
        """Go on. ``welcome``: the client waits for a 100 before it sends the body."""
        ...

    def refuse(self, error: ApiError) -> None: ...


class Forms:
    """What all connections share: the spools, and who may upload."""

    def __init__(self, spools: Spools, admit: Admit) -> None:
        self.spools = spools
        self.admit = admit


class FormIntake:
    """The multipart bodies of one connection, one after the other."""

    __slots__ = ("_checked", "_forms", "_head", "_line", "_spool", "_task")

    def __init__(self, forms: Forms, line: Line) -> None:
        self._forms = forms
        self._line = line
        self._head: Inbound | None = None
        self._checked = False
        self._spool: FileSpool | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def receiving(self) -> bool:
        """Whether the body that arrives is a form."""
        return self._spool is not None

    @property
    def asking(self) -> bool:
        """Whether a sender is being looked up: nothing new is served until that is known."""
        return self._task is not None

    def begin(self, head: Inbound, length: int | None, *, waits: bool, behind: bool) -> None:
        """A form begins. ``waits``: the client waits for a 100 (Continue); ``behind``: other
        requests wait before it. Raises ApiError: PLATFORM_001 when there is no room."""
        forms = self._forms
        if self.asking:
            raise _pipelined()
        self._head = head
        self._checked = False
        forms.spools.check_room(length or 0)
        if waits or (length or 0) > forms.spools.memory_bytes:
            self._check(welcome=waits, behind=behind)
        self._spool = forms.spools.open()

    def write(self, data: bytes, *, behind: bool) -> None:
        """Raises ApiError: PLATFORM_001 when there is no room."""
        spool = self._spool
        if spool is None:
            return
        if not self._checked and spool.size + len(data) > self._forms.spools.memory_bytes:
            self._check(welcome=False, behind=behind)
        spool.write(data)

    def taken(self) -> FileSpool | None:
        """The form is whole: whoever takes its spool closes it."""
        spool, self._spool = self._spool, None
        return spool

    def drop(self) -> None:
        """The connection is over, or what it sends is not wanted."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    def _check(self, *, welcome: bool, behind: bool) -> None:
        if behind:  # a refusal could not be told from the answer to what waits
            raise _pipelined()
        self._checked = True
        self._line.hold()
        self._task = asyncio.get_running_loop().create_task(self._ask(welcome))

    async def _ask(self, welcome: bool) -> None:
        if self._head is None:
            return
        try:
            await self._forms.admit(self._head)
        except ApiError as error:
            self._task = None
            self._line.refuse(error)
        else:
            self._task = None
            self._line.release(welcome=welcome)


def _pipelined() -> ApiError:
    return ApiError("REQUEST_001", "A large form cannot be pipelined behind other requests.")
