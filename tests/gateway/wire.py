"""A client that shows everything: one connection, raw bytes out, a whole answer back."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ANSWER_S = 8.0  # no answer may take longer; a hang is a failure
ERROR_KEYS = {
    "type",
    "code",
    "message",
    "param",
    "request_id",
    "fault",
    "retryable",
    "docs_url",
}


@dataclass
class Answer:
    """One HTTP answer; names of headers are lower case."""

    status: int
    headers: dict[str, str]
    raw_head: bytes
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def id(self) -> str:
        return self.headers["x-request-id"]

    @property
    def events(self) -> list[Any]:
        """The data of a stream's events; ``[DONE]`` as text."""
        found: list[Any] = []
        for event in self.body.split(b"\n\n"):
            for line in event.split(b"\n"):
                if line.startswith(b"data: "):
                    data = line[6:]
                    found.append("[DONE]" if data == b"[DONE]" else json.loads(data))
        return found

    @property
    def text(self) -> str:
        """What the model said, of a stream or of one answer."""
        if self.headers["content-type"].startswith("text/event-stream"):
            deltas = [
                choice["delta"].get("content") or ""
                for event in self.events
                if isinstance(event, dict)
                for choice in event.get("choices", ())
            ]
            return "".join(deltas)
        return str(self.json["choices"][0]["message"]["content"])

    def error(
        self,
        status: int,
        code: str,
        *,
        fault: str | None = None,
        retryable: bool | None = None,
        param: str | None = None,
        reason: str | None = None,
    ) -> dict[str, Any]:
        """The envelope of design/api.md section 5, complete and consistent with the headers."""
        assert (self.status, self.body[:60] and self.json["error"]["code"]) == (status, code), (
            self.status,
            self.body[:600],
        )
        assert self.headers["content-type"] == "application/json"
        document = self.json
        assert set(document) == {"error"}
        found = check_error(document["error"])
        assert found["request_id"] == self.id
        assert self.headers["x-should-retry"] == ("true" if found["retryable"] else "false")
        for name, wanted in (("fault", fault), ("param", param), ("reason", reason)):
            if wanted is not None:
                assert found.get(name) == wanted, (name, found)
        if retryable is not None:
            assert found["retryable"] is retryable, found
        return found


def check_error(found: dict[str, Any]) -> dict[str, Any]:
    """The keys of the error object, in an answer or in a stream."""
    missing = ERROR_KEYS - set(found)
    assert not missing, missing
    assert isinstance(found["message"], str)
    assert found["message"]
    assert found["fault"] in ("caller", "platform", "provider")
    assert isinstance(found["retryable"], bool)
    assert found["request_id"].startswith("req_")
    assert found["docs_url"].startswith("http")
    assert found["param"] is None or isinstance(found["param"], str)
    return found


OPENED: list[Wire] = []  # closed after each test, whatever became of it


class Closed(Exception):
    """The server closed without (the rest of) an answer."""


@dataclass
class Wire:
    """One connection to the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    left: bytes = field(default=b"")

    @classmethod
    async def open(cls, port: int, *, receive_bytes: int | None = None) -> Wire:
        raw = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        raw.setblocking(False)
        if receive_bytes is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", port))
        limit = 2**16 if receive_bytes is None else receive_bytes
        wire = cls(*await asyncio.open_connection(sock=raw, limit=limit))
        OPENED.append(wire)
        return wire

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> Answer:
        """Status and headers of the next answer; interim answers are passed over."""
        try:
            async with asyncio.timeout(ANSWER_S):
                raw = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise Closed(repr(error)) from None
        lines = raw[:-4].split(b"\r\n")
        version, status, _ = lines[0].split(b" ", 2)
        assert version == b"HTTP/1.1"
        if status.startswith(b"1"):
            return await self.head()
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, colon, value = line.decode("ascii").partition(": ")
            assert colon, line
            assert value.isprintable(), line
            assert name not in headers, f"{name} twice"
            headers[name] = value
        return Answer(int(status), headers, raw)

    async def piece(self) -> bytes:
        """The next chunk of a chunked body; b"" is the last."""
        try:
            async with asyncio.timeout(ANSWER_S):
                size = int(await self.reader.readuntil(b"\r\n"), 16)
                data = await self.reader.readexactly(size + 2)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise Closed(repr(error)) from None
        assert data.endswith(b"\r\n")
        return data[:-2]

    async def answer(self, *, head_only: bool = False) -> Answer:
        """One whole answer by its own framing."""
        found = await self.head()
        if head_only or found.status in (204, 304):
            return found
        if found.headers.get("transfer-encoding") == "chunked":
            assert "content-length" not in found.headers
            while data := await self.piece():
                found.body += data
            return found
        try:
            async with asyncio.timeout(ANSWER_S):
                if "content-length" in found.headers:
                    length = int(found.headers["content-length"])
                    found.body = await self.reader.readexactly(length)
                else:
                    found.body = await self.reader.read()
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise Closed(repr(error)) from None
        return found

    async def ended(self) -> bytes:
        """Everything until the server closes; a hang fails."""
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self.reader.read()
        except ConnectionError:
            return b""

    def reset(self) -> None:
        """RST, as of a client that was killed."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            pass


def raw_request(
    method: str,
    path: str,
    body: bytes = b"",
    *,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """A well-formed request; ``headers`` are added, and replace our own of the same name."""
    fields = {"host": "gateway.test"}
    if key is not None:
        fields["authorization"] = f"Bearer {key}"
    if body or method == "POST":
        fields["content-type"] = "application/json"
        fields["content-length"] = str(len(body))
    fields |= headers or {}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body
