"""What the video endpoints ask of the engine (``tasks.py``), which does not know the web.

A task is one of the caller's organisation; None means that there is none such. All may raise
ApiError.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from tokenmarket.accounts import Caller
from tokenmarket.core.video.projection import VideoView
from tokenmarket.core.video.request import VideoRequest
from tokenmarket.core.video.results import Content, Created
from tokenmarket.core.wire import Client, Inbound


class VideoService(Protocol):
    async def create(
        self,
        caller: Caller,
        inbound: Inbound,
        read: Callable[[], Awaitable[VideoRequest]],
        *,
        idempotency_key: str,
    ) -> Created:
        """``read`` gives the order, or raises ApiError: called inside, so that a refusal is
        recorded like any other. ``idempotency_key`` is "" or 1 to 255 characters."""
        ...

    async def get(self, caller: Caller, task_id: str) -> VideoView | None: ...
    async def page(
        self,
        caller: Caller,
        *,
        after: str,
        limit: int,
        ascending: bool,
        states: tuple[str, ...],
        model: str,
    ) -> tuple[list[VideoView], bool]:
        """(tasks after the id ``after``, whether there are more). ``states`` () means all."""
        ...

    async def cancel(self, caller: Caller, task_id: str) -> VideoView | None:
        """Asks for the end of a live task; one that is over stays as it is."""
        ...

    async def delete(self, caller: Caller, task_id: str) -> bool:
        """Hides a task that is over, and deletes its files. False: there is none such."""
        ...

    async def content(
        self, caller: Caller, task_id: str, variant: str, index: int, *, redirect: bool
    ) -> Content | None:
        """A file of a succeeded task; None: it is not kept (any more). ``redirect``: as a
        signed address."""
        ...


class SendContent(Protocol):
    """``web/files.py``'s ``send_file`` with its store."""

    def __call__(
        self,
        client: Client,
        key: str,
        headers: dict[bytes, bytes],
        *,
        head: bytes,
        content_type: str | None,
        filename: str | None,
        head_only: bool,
    ) -> Awaitable[None]: ...
