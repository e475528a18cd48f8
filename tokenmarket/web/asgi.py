"""The same API as a raw ASGI application, for any ASGI server and for in-process tests.

``tokenmarket serve`` uses ``web/front.py``; here is the second front on the same seam. Lifespan is
the embedder's: the parts are made by ``app.py`` before the first request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tokenmarket.core.errors import ApiError
from tokenmarket.core.forms import is_form
from tokenmarket.core.wire import Client, ClientGone, Inbound
from tokenmarket.core.wording import say
from tokenmarket.files.spool import FileSpool
from tokenmarket.web.receiving import Forms

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Handler = Callable[[Inbound, Client], Awaitable[None]]
Refusal = Callable[[str, ApiError], tuple[bytes, bytes]]


class AsgiApp:
    """``handler`` and ``refusal`` are ``Api.handle`` and ``Api.refusal``."""

    def __init__(
        self,
        handler: Handler,
        refusal: Refusal,
        new_id: Callable[[int], str],
        *,
        body_bytes_max: int,
        multipart_bytes_max: int | None = None,
        forms: Forms | None = None,
    ) -> None:
        """``forms`` None: multipart bodies are kept in memory like all others."""
        self._handler = handler
        self._refusal = refusal
        self._new_id = new_id
        self._body_bytes_max = body_bytes_max
        self._multipart_bytes_max = multipart_bytes_max or body_bytes_max
        self._forms = forms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One HTTP request; lifespan events are acknowledged, WebSockets refused."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        client = AsgiClient(send)
        inbound = self._inbound(scope)
        try:
            await self._receive(inbound, receive)
            await self._serve(inbound, client, receive)
        except ClientGone:
            return
        except ApiError as error:
            head, payload = self._refusal(inbound.request_id, error)
            client.respond(error.status, head, payload)
            await client.flush()
        finally:
            if inbound.spool is not None:
                inbound.spool.close()

    def _inbound(self, scope: Scope) -> Inbound:
        now_us = time.time_ns() // 1000
        peer = scope.get("client")
        return Inbound(
            self._new_id(now_us),
            scope["method"],
            _raw_path(scope),
            scope.get("query_string", b""),
            _headers(scope["headers"]),
            b"",
            peer[0] if peer else "",
            now_us,
            time.monotonic_ns() // 1000,
        )

    async def _serve(self, inbound: Inbound, client: AsgiClient, receive: Receive) -> None:
        task = asyncio.ensure_future(self._handler(inbound, client))
        watch = asyncio.ensure_future(_left(receive, client, task))
        try:
            await task
        finally:
            watch.cancel()
        await client.flush()

    async def _receive(self, inbound: Inbound, receive: Receive) -> None:
        """Take the body. The key of a form's sender is checked first: the server says 100
        (Continue) when it is asked for the body."""
        form = is_form(inbound.headers.get(b"content-type"))
        bytes_max = self._multipart_bytes_max if form else self._body_bytes_max
        spool: FileSpool | None = None
        if form and self._forms is not None:
            await self._forms.admit(inbound)
            inbound.spool = spool = self._forms.spools.open()
        parts: list[bytes] = []
        size = 0
        more = True
        while more:
            event = await receive()
            if event["type"] == "http.disconnect":
                raise ClientGone
            part = event.get("body", b"")
            size += len(part)
            if size > bytes_max:
                raise ApiError(
                    "REQUEST_006",
                    say("The body is larger than {bytes_max} bytes.", bytes_max=bytes_max),
                )
            if spool is not None:
                spool.write(part)
            else:
                parts.append(part)
            more = event.get("more_body", False)
        inbound.body = b"".join(parts)


class AsgiClient:
    """``core.wire.Client`` over ASGI's send: writes are queued where the caller cannot wait."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._pending: list[Event] = []
        self.gone = False
        self.begun = False
        self.cancellable = False

    def respond(self, status: int, head: bytes, body: bytes) -> None:
        length = b"content-length: %d\r\n" % len(body)
        self._start(status, head + length)
        self._pending.append({"type": "http.response.body", "body": body})

    def begin(self, status: int, head: bytes, length: int | None = None) -> None:
        if length is not None:
            head += b"content-length: %d\r\n" % length
        self._start(status, head)

    def write(self, data: bytes) -> bool:
        """Queues; ASGI's send can only be awaited, so every write asks for ``drained``."""
        if self.gone:
            raise ClientGone
        self._pending.append({"type": "http.response.body", "body": data, "more_body": True})
        return True

    async def drained(self) -> None:
        await self.flush()

    def end(self, data: bytes) -> None:
        self._pending.append({"type": "http.response.body", "body": data})

    async def flush(self) -> None:
        """Hand over what was queued; a client that left shows as OSError or as ``gone``."""
        pending, self._pending = self._pending, []
        for event in pending:
            try:
                await self._send(event)
            except OSError:
                self.gone = True
                raise ClientGone from None

    def _start(self, status: int, head: bytes) -> None:
        self.begun = True
        headers = [
            (name, value)
            for name, _, value in (line.partition(b": ") for line in head.split(b"\r\n") if line)
        ]
        self._pending.append({"type": "http.response.start", "status": status, "headers": headers})


def _raw_path(scope: Scope) -> str:
    """As it was sent: ``path`` is decoded already, and %2F must not become a slash."""
    raw: bytes | None = scope.get("raw_path")
    return scope["path"] if raw is None else raw.decode("latin-1")


def _headers(pairs: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    for name, value in pairs:
        name = name.lower()
        headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


async def _left(receive: Receive, client: AsgiClient, task: asyncio.Future[None]) -> None:
    """Waits for the disconnect that may come while the request runs."""
    while (await receive())["type"] != "http.disconnect":
        pass
    client.gone = True
    if client.cancellable:
        task.cancel()


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return
