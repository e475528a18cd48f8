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
from tokenmarket.core.wire import Client, ClientGone, Inbound

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
    ) -> None:
        self._handler = handler
        self._refusal = refusal
        self._new_id = new_id
        self._body_bytes_max = body_bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One HTTP request; lifespan events are acknowledged, WebSockets refused."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        client = AsgiClient(send)
        now_us = time.time_ns() // 1000
        request_id = self._new_id(now_us)
        try:
            body = await self._body(receive)
        except ClientGone:
            return
        except ApiError as error:
            head, payload = self._refusal(request_id, error)
            client.respond(error.status, head, payload)
            await client.flush()
            return
        peer = scope.get("client")
        inbound = Inbound(
            request_id,
            scope["method"],
            _raw_path(scope),
            scope.get("query_string", b""),
            _headers(scope["headers"]),
            body,
            peer[0] if peer else "",
            now_us,
            time.monotonic_ns() // 1000,
        )
        task = asyncio.ensure_future(self._handler(inbound, client))
        watch = asyncio.ensure_future(_left(receive, client, task))
        try:
            await task
        finally:
            watch.cancel()
        await client.flush()

    async def _body(self, receive: Receive) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":
                raise ClientGone
            part = event.get("body", b"")
            size += len(part)
            if size > self._body_bytes_max:
                raise ApiError(
                    "REQUEST_006", f"The body is larger than {self._body_bytes_max} bytes."
                )
            parts.append(part)
            if not event.get("more_body", False):
                return b"".join(parts)


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

    def begin(self, status: int, head: bytes) -> None:
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
