"""The answer to one request as bytes of HTTP/1.1; ``front.py`` makes one per request."""

from __future__ import annotations

from collections.abc import Coroutine
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from tokenmarket.core.wire import ClientGone

if TYPE_CHECKING:
    from tokenmarket.lane.call import Call
    from tokenmarket.lane.frames import Heading
    from tokenmarket.web.front import Connection

STATUS_LINES = {
    status: f"HTTP/1.1 {status} {phrase}\r\n".encode("ascii")
    for status, phrase in (
        *((int(known), known.phrase) for known in HTTPStatus),
        *(
            (extra, "Error")
            for extra in range(400, 600)
            if extra not in {int(k) for k in HTTPStatus}
        ),
    )
}


class Reply:
    """The answer to one request (``core.wire.Client``)."""

    __slots__ = (
        "_chunked",
        "_connection",
        "_head_only",
        "begun",
        "cancellable",
        "done",
        "keep_alive",
    )

    def __init__(
        self, connection: Connection, *, keep_alive: bool, head_only: bool, chunked: bool
    ) -> None:
        """``chunked``: the client understands that, as all since HTTP/1.1 do."""
        self._connection = connection
        self._head_only = head_only
        self._chunked = chunked
        self.keep_alive = keep_alive
        self.begun = False
        self.done = False
        self.cancellable = False

    @property
    def gone(self) -> bool:
        return self._connection.gone

    def respond(self, status: int, head: bytes, body: bytes) -> None:
        """A whole answer in one write, at the end of this turn of the loop."""
        self.begun = self.done = True
        self._connection.send_soon(
            b"%b%b%b%bcontent-length: %d\r\n\r\n%b"
            % (
                STATUS_LINES[status],
                self._connection.date_line,
                head,
                b"" if self.keep_alive else b"connection: close\r\n",
                len(body),
                b"" if self._head_only else body,
            )
        )

    # --- for the lane: no task serves the request -------------------------------------------------

    def address(self, headers: dict[bytes, bytes]) -> str:
        """Where the request comes from."""
        return self._connection.address(headers)

    def taken(self, call: Call) -> None:
        """The lane serves the request."""
        self._connection.call_taken(call)

    def left(self, heading: Heading, body: bytes) -> None:
        """The lane does not."""
        self._connection.call_left(heading, body)

    def over(self) -> None:
        """The request is answered: the connection may take the next one."""
        self._connection.call_over(self)

    def go_on(self, work: Coroutine[Any, Any, None]) -> None:
        """From now on a task serves the request after all."""
        self._connection.call_goes_on(self, work)

    # ----------------------------------------------------------------------------------------------

    def begin(self, status: int, head: bytes, length: int | None = None) -> None:
        """The head of a stream, or of a body whose ``length`` is known."""
        self.begun = True
        framing = b"transfer-encoding: chunked\r\n"
        if length is not None:
            self._chunked = False
            framing = b"content-length: %d\r\n" % length
        elif not self._chunked:
            self.keep_alive = False
            framing = b""
        self._connection.write(
            b"%b%b%b%b%b\r\n"
            % (
                STATUS_LINES[status],
                self._connection.date_line,
                head,
                framing,
                b"" if self.keep_alive else b"connection: close\r\n",
            )
        )

    def write(self, data: bytes) -> bool:
        """Stream bytes; True when the client is slow. Raises ClientGone."""
        connection = self._connection
        if connection.gone:
            raise ClientGone
        connection.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        return connection.drain_waiter is not None

    async def drained(self) -> None:
        """Returns when the client has taken enough to be sent more; ClientGone if it left."""
        await self._connection.drained()

    def end(self, data: bytes) -> None:
        """The last stream bytes."""
        self.done = True
        if self._chunked:
            data = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if data else b"0\r\n\r\n"
        self._connection.write(data)
