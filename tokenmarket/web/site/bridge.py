"""One request of our own front, handed to an ASGI application, and its answer handed back."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import ASGIApp, Message, Scope

from tokenmarket.core.wire import Client, Inbound


async def call(app: ASGIApp, inbound: Inbound, client: Client, *, scheme: str) -> None:
    """Serve ``inbound`` with ``app``. A whole answer leaves in one write, a stream as it comes."""
    answer = _Answer(client)
    received = False

    async def receive() -> Message:
        nonlocal received
        if received:
            await asyncio.Event().wait()  # the front cancels the task of a client that left
        received = True
        return {"type": "http.request", "body": inbound.body, "more_body": False}

    await app(_scope(inbound, scheme), receive, answer.send)


def _scope(inbound: Inbound, scheme: str) -> Scope:
    raw_path = inbound.path.encode("latin-1")
    host = inbound.headers.get(b"host", b"").decode("latin-1")
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": inbound.method,
        "scheme": scheme,
        "path": _decoded(raw_path),
        "raw_path": raw_path,
        "root_path": "",
        "query_string": inbound.query,
        "headers": list(inbound.headers.items()),
        "client": (inbound.address, 0),
        "server": (host, None),
        "state": {"inbound": inbound},
    }
    return scope


def _decoded(raw_path: bytes) -> str:
    """Percent signs resolved; what is not UTF-8 then finds no page. An encoded slash stays encoded:
    it never starts a new segment."""
    parts = raw_path.replace(b"%2F", b"%252F").replace(b"%2f", b"%252F").split(b"%")
    text = bytearray(parts[0])
    for part in parts[1:]:
        try:
            text.append(int(part[:2].decode("ascii"), 16))
            text += part[2:]
        except ValueError:
            text += b"%" + part
    return text.decode("utf-8", errors="replace")


class _Answer:
    """Keeps the head until it is known whether one piece is all."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._status = 500
        self._head = b""

    async def send(self, message: Message) -> None:
        client = self._client
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._head = b"".join(
                b"%b: %b\r\n" % (name, value)
                for name, value in message.get("headers", ())
                if name != b"content-length"
            )
            return
        body: bytes = message.get("body", b"")
        more: bool = message.get("more_body", False)
        if not more:
            if client.begun:
                client.end(body)
            else:
                client.respond(self._status, self._head, body)
            return
        if not client.begun:
            client.begin(self._status, self._head)
        if body and client.write(body):
            await client.drained()
