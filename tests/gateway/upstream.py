"""A scripted upstream: what a provider does with its next request is a function in a queue.

Every provider of the tests has a path of its own on one port. Without a script it answers well.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(eq=False)
class Link:
    """One accepted connection. ``busy``: a request is being answered."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    busy: bool = False
    closed: bool = False
    sent: int = 0
    provider: str = ""

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        self.sent += len(data)
        await self.writer.drain()

    async def until_gone(self) -> None:
        """Waits until the gateway closes (its next bytes would be a request on a busy link)."""
        try:
            extra = await self.reader.read(1)
        except ConnectionError:
            extra = b""
        assert extra == b"", "a second request was written before the first was answered"
        raise ConnectionResetError

    def reset(self) -> None:
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        raise ConnectionResetError


@dataclass
class Seen:
    """A request as the upstream got it."""

    path: str
    headers: dict[str, str]
    body: bytes
    link: Link

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Act = Callable[[Link, Seen], Awaitable[None]]


@dataclass
class Upstream:
    port: int = 0
    links: list[Link] = field(default_factory=list)
    seen: dict[str, list[Seen]] = field(default_factory=dict)
    scripts: dict[str, deque[Act]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    usual: dict[str, Act] = field(default_factory=dict)  # by the end of the path, before ``well``

    def will(self, provider: str, *acts: Act) -> None:
        """The next requests to this provider are handled so, in order."""
        self.scripts.setdefault(provider, deque()).extend(acts)

    def of(self, provider: str) -> list[Seen]:
        return self.seen.get(provider, [])

    def busy(self, *providers: str) -> list[Link]:
        """Links that are neither closed nor back in the gateway's pool."""
        return [link for link in self.links if link.provider in providers and link.busy]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(reader, writer)
        self.links.append(link)
        try:
            while True:
                await self._one(link)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        except AssertionError as error:
            self.faults.append(str(error))
        finally:
            link.closed, link.busy = True, False
            writer.close()

    async def _one(self, link: Link) -> None:
        head = await link.reader.readuntil(b"\r\n\r\n")
        lines = head[:-4].decode("latin-1").split("\r\n")
        path = lines[0].split(" ")[1]
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, _, value = line.partition(": ")
            assert name not in headers, f"the gateway sent {name} twice"
            headers[name] = value
        body = await link.reader.readexactly(int(headers.get("content-length", "0")))
        provider = path.split("/")[1]
        link.provider, link.busy = provider, True
        seen = Seen(path, headers, body, link)
        self.seen.setdefault(provider, []).append(seen)
        script = self.scripts.get(provider)
        act = script.popleft() if script else self._usual(path)
        await act(link, seen)
        link.busy = False

    def _usual(self, path: str) -> Act:
        ends = (act for end, act in self.usual.items() if path.endswith(end))
        return next(ends, well)


@asynccontextmanager
async def scripted() -> AsyncGenerator[Upstream]:
    upstream = Upstream()
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        await upstream.serve(reader, writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    upstream.port = server.sockets[0].getsockname()[1]
    try:
        yield upstream
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for link in upstream.links:
            link.writer.transport.abort()


# --- what an upstream may do ---------------------------------------------------------------------

TOLD = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
UNSET: Any = object()


def completion(text: str = "Hello there.", usage: Any = UNSET, **more: Any) -> dict[str, Any]:
    document: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "upstream-model",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
            }
        ],
        **more,
    }
    if usage is UNSET:
        document["usage"] = TOLD
    elif usage is not None:
        document["usage"] = usage
    return document


def http(
    status: int,
    body: bytes,
    *,
    content_type: str = "application/json",
    headers: tuple[tuple[str, str], ...] = (),
    reason: str = "Whatever",
) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return (
        f"HTTP/1.1 {status} {reason}\r\ncontent-type: {content_type}\r\n"
        f"content-length: {len(body)}\r\nx-request-id: up-77\r\n{lines}\r\n"
    ).encode() + body


def answers(
    status: int = 200, document: Any = None, headers: tuple[tuple[str, str], ...] = ()
) -> Act:
    """One JSON answer (``document`` may be bytes, sent as they are)."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return raw(http(status, body, headers=headers))


def raw(data: bytes, *, then: str = "keep") -> Act:
    """Exactly these bytes; ``then`` keep, close or reset."""

    async def act(link: Link, _: Seen) -> None:
        await link.send(data)
        if then == "reset":
            await asyncio.sleep(0.02)  # or the kernel drops what was sent
            link.reset()
        if then == "close":
            raise ConnectionResetError

    return act


async def well(link: Link, seen: Seen) -> None:
    """A good answer to whatever was asked."""
    asked = seen.json
    if seen.path.endswith("/embeddings"):
        count = len(asked["input"]) if isinstance(asked["input"], list) else 1
        data = [
            {"object": "embedding", "index": index, "embedding": [0.5, -0.25]}
            for index in range(count)
        ]
        usage = {"prompt_tokens": 4, "total_tokens": 4}
        document = {"object": "list", "data": data, "model": "e", "usage": usage}
        await link.send(http(200, json.dumps(document).encode()))
    elif asked.get("stream"):
        await streams("Hello", " there.")(link, seen)
    else:
        await link.send(http(200, json.dumps(completion()).encode()))


def chunk(
    text: str | None = None, *, finish: str | None = None, usage: Any = UNSET, choices: Any = UNSET
) -> bytes:
    document: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "upstream-model",
        "choices": [
            {
                "index": 0,
                "delta": {} if text is None else {"content": text},
                "finish_reason": finish,
            }
        ]
        if choices is UNSET
        else choices,
    }
    if usage is not UNSET:
        document["usage"] = usage
    return b"data: " + json.dumps(document).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
    b"x-request-id: up-77\r\n\r\n"
)
END = b"0\r\n\r\n"


def framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def events(*parts: bytes, end: bool = True) -> bytes:
    """A whole chunked stream answer."""
    return STREAM_HEAD + b"".join(map(framed, parts)) + (END if end else b"")


def streams(*words: str, usage: Any = UNSET, end: str = "done") -> Act:
    """A stream of these words. ``end``: done, or how it breaks off after the words: reset, close,
    stall, nodone (chunked end without [DONE] and finish reason)."""

    async def act(link: Link, _: Seen) -> None:
        await link.send(STREAM_HEAD)
        for word in words:
            await link.send(framed(chunk(word)))
            await asyncio.sleep(0.005)
        if end == "reset":
            await asyncio.sleep(0.03)
            link.reset()
        if end == "close":
            raise ConnectionResetError
        if end == "stall":
            await link.until_gone()
        if end == "nodone":
            await link.send(END)
            return
        await link.send(framed(chunk(finish="stop")))
        if usage is not None:
            told = TOLD if usage is UNSET else usage
            await link.send(framed(chunk(choices=[], usage=told)))
        await link.send(framed(DONE) + END)

    return act


async def silent(link: Link, _: Seen) -> None:
    """Takes the request and says nothing."""
    await link.until_gone()
