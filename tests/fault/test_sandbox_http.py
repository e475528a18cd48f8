"""The sandbox as an HTTP upstream: real sockets, faults on the wire, hostile clients, a signal."""

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from openai import APIStatusError, AsyncOpenAI, AuthenticationError

from tokenmarket.adapters.protocol import UpstreamRequest
from tokenmarket.core.catalog import Timeouts
from tokenmarket.core.errors import UpstreamError
from tokenmarket.sandbox.behaviour import FAULTS
from tokenmarket.sandbox.inprocess import SandboxTransport
from tokenmarket.sandbox.server import (
    BODY_BYTES_MAX,
    HEAD_BYTES_MAX,
    Upstream,
    listen,
    url_of,
)
from tokenmarket.upstream.client import UpstreamClient
from tokenmarket.upstream.origin import Origin

_ROOT = Path(__file__).resolve().parents[2]


class Client:
    """A bare HTTP/1.1 client that hides nothing."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, body: bytes | dict[str, Any], *headers: str, path: str = "") -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"POST {path or '/v1/chat/completions'} HTTP/1.1", "Host: sandbox", *headers]
        lines += [f"Content-Length: {len(raw)}", "", ""]
        self.writer.write("\r\n".join(lines).encode() + raw)

    async def head(self) -> tuple[int, dict[str, str]]:
        raw = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        status, *lines = raw.split("\r\n")[:-2]
        pairs = (line.split(": ", 1) for line in lines)
        return int(status.split(" ")[1]), {name.lower(): value for name, value in pairs}

    async def chunk(self) -> bytes:
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def until_reset(self) -> bytes:
        """All bytes before the connection is reset; fails if it ends in an orderly way."""
        got = b""
        try:
            while chunk := await self.reader.read(1000):
                got += chunk
        except ConnectionResetError:
            return got
        raise AssertionError("an orderly end instead of a reset")

    async def document(self) -> tuple[int, Any]:
        status, headers = await self.head()
        return status, json.loads(await self.reader.readexactly(int(headers["content-length"])))

    async def events(self) -> list[bytes]:
        status, headers = await self.head()
        assert (status, headers["transfer-encoding"]) == (200, "chunked")
        events: list[bytes] = []
        while chunk := await self.chunk():
            events.append(chunk)
        return events


class Connect:
    """Opens connections to a server that runs in this event loop."""

    def __init__(self, port: int, upstream: Upstream) -> None:
        self.port = port
        self.upstream = upstream
        self.opened: list[asyncio.StreamWriter] = []

    async def __call__(self) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.opened.append(writer)
        return Client(reader, writer)


@pytest_asyncio.fixture
async def connect() -> AsyncIterator[Connect]:
    server, upstream = await listen("127.0.0.1", 0)
    connect = Connect(server.sockets[0].getsockname()[1], upstream)
    yield connect
    for writer in connect.opened:
        writer.transport.abort()
    server.close()
    for connection in tuple(upstream.connections):
        connection.stop()
    await server.wait_closed()


async def round_trip(connect: Connect) -> None:
    """Another client's request and answer: whatever the server does at once is done by then."""
    client = await connect()
    client.send(said())
    assert (await client.document())[0] == 200
    client.writer.close()


def said(text: str = "answer OK", **fields: Any) -> dict[str, Any]:
    body = {"model": "sandbox-chat", "messages": [{"role": "user", "content": text}]}
    return {**body, **fields}


async def test_requests_on_one_connection_each_with_an_id(connect: Connect) -> None:
    client = await connect()
    ids: set[str] = set()
    for _ in range(3):
        client.send(said())
        status, headers = await client.head()
        body = json.loads(await client.reader.readexactly(int(headers["content-length"])))
        assert status == 200
        assert headers["content-type"] == "application/json"
        assert body["choices"][0]["message"]["content"] == "OK"
        ids.add(headers["x-request-id"])
    assert len(ids) == 3


async def test_pipelined_requests_are_answered_in_order(connect: Connect) -> None:
    client = await connect()
    client.send(said("answer one"), "x-sandbox-delay-ms: 30")
    client.send(said("answer two", stream=True), "x-sandbox-pace-ms: 1")
    client.send(said("answer three"))
    client.send(said("answer four"), "x-sandbox-status: 503", "x-sandbox-retry-after: 9")
    _, first = await client.document()
    assert first["choices"][0]["message"]["content"] == "one"
    assert b'"content":"two"' in b"".join(await client.events())
    _, third = await client.document()
    assert third["choices"][0]["message"]["content"] == "three"
    status, headers = await client.head()
    assert (status, headers["retry-after"]) == (503, "9")


@pytest.mark.parametrize("pace", ["0", "1"])
async def test_a_stream_has_the_same_events_at_any_pace(connect: Connect, pace: str) -> None:
    client = await connect()
    client.send(said(stream=True), "x-sandbox-tokens: 20", f"x-sandbox-pace-ms: {pace}")
    status, headers = await client.head()
    assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    events: list[bytes] = []
    while chunk := await client.chunk():
        events += chunk.split(b"\n\n")[:-1]
    assert len(events) == 1 + 20 + 1 + 1
    assert events[-1] == b"data: [DONE]"
    client.send(said())
    assert (await client.document())[0] == 200


async def test_a_slow_reader_gets_every_event(connect: Connect) -> None:
    client = await connect()
    text = "x" * 100_000  # echoed as one event each: more than the sockets hold
    prompts = [f"{text}{number}" for number in range(120)]
    body = {"model": "sandbox-chat", "prompt": prompts, "echo": True, "stream": True}
    client.send({**body, "max_tokens": 0}, "x-sandbox-pace-ms: 1", path="/completions")
    client.send(said())
    (served,) = connect.upstream.connections
    while not served._blocked:
        await round_trip(connect)
    await round_trip(connect)
    events = await client.events()
    assert sum(text.encode() in event for event in events) == 120
    assert events[-1] == b"data: [DONE]\n\n"
    assert (await client.document())[0] == 200


async def test_http_1_0_and_close_end_with_the_connection(connect: Connect) -> None:
    client = await connect()
    client.send(said(), "Connection: close")
    status, headers = await client.head()
    assert (status, headers["connection"]) == (200, "close")
    assert len(await client.reader.read()) == int(headers["content-length"])
    client = await connect()
    raw = json.dumps(said(stream=True)).encode()
    lead = b"POST /v1/chat/completions HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(raw)
    client.writer.write(lead + raw)
    status, headers = await client.head()
    assert status == 200
    assert "transfer-encoding" not in headers
    assert (await client.reader.read()).endswith(b"data: [DONE]\n\n")


async def test_cut_is_a_reset_in_the_middle_of_a_document(connect: Connect) -> None:
    client = await connect()
    client.send(said(model="sandbox-cut"))
    status, headers = await client.head()
    assert status == 200
    got = await client.until_reset()
    assert 0 < len(got) < int(headers["content-length"])


@pytest.mark.parametrize("pace", ["0", "2"])
async def test_cut_is_a_reset_in_the_middle_of_a_stream(connect: Connect, pace: str) -> None:
    client = await connect()
    client.send(said(model="sandbox-cut", stream=True), f"x-sandbox-pace-ms: {pace}")
    await client.head()
    got = await client.until_reset()
    assert got.count(b"data: ") > 2
    assert b"[DONE]" not in got
    assert b"0\r\n\r\n" not in got


async def test_a_request_that_times_out_gets_nothing_nor_do_those_behind_it(
    connect: Connect,
) -> None:
    client = await connect()
    client.send(said(model="sandbox-timeout"))
    client.send(said())
    waiting = asyncio.ensure_future(client.reader.read(1))
    await round_trip(connect)
    await round_trip(connect)
    assert not waiting.done()
    waiting.cancel()


async def test_a_stall_keeps_the_connection_open_without_the_end(connect: Connect) -> None:
    client = await connect()
    client.send(said(stream=True), "x-sandbox-fault: stall")
    client.send(said())
    await client.head()
    events = [await client.chunk(), await client.chunk()]
    assert events[0].endswith(b"\n\n")
    waiting = asyncio.ensure_future(client.reader.read(1000))
    await round_trip(connect)
    if waiting.done():  # the last, half event
        assert b"[DONE]" not in waiting.result()
        waiting = asyncio.ensure_future(client.reader.read(1000))
        await round_trip(connect)
    assert not waiting.done()
    waiting.cancel()


async def test_delay_holds_back_the_head(connect: Connect) -> None:
    client = await connect()
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    client.send(said(), "x-sandbox-delay-ms: 60")
    assert (await client.document())[0] == 200
    assert loop.time() - started_s >= 0.055


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET\r\n\r\n",
        b"POST /v1/embeddings HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * HEAD_BYTES_MAX * 2,
        b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (BODY_BYTES_MAX + 1)
        + b"a" * (BODY_BYTES_MAX + 1),
    ],
    ids=range(9),
)
async def test_hostile_bytes_get_an_error_object_and_the_end(connect: Connect, raw: bytes) -> None:
    client = await connect()
    client.writer.write(raw)
    status, headers = await client.head()
    body = await client.reader.read()
    assert 400 <= status < 500
    assert headers["connection"] == "close"
    assert json.loads(body)["error"]["type"] == "invalid_request_error"
    again = await connect()
    again.send(said())
    assert (await again.document())[0] == 200


async def test_a_flood_of_pipelined_requests_is_cut_off(connect: Connect) -> None:
    client = await connect()
    client.send(said(), "x-sandbox-fault: timeout")
    for _ in range(100):
        client.send(said())
    assert await client.reader.read() == b""


async def test_the_same_bytes_in_other_cuts_mean_the_same(connect: Connect) -> None:
    """Identical requests are recognised by their bytes; never in the middle of another one."""
    raw = json.dumps(said("answer one")).encode()
    lead = b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: "
    whole = b"%b%d\r\n\r\n%b" % (lead, len(raw), raw)
    client = await connect()
    for _ in range(3):
        client.writer.write(whole)
        assert (await client.document())[1]["choices"][0]["message"]["content"] == "one"
    # The same bytes as the body of another request are not a request.
    client.writer.write(b"%b%d\r\n\r\n" % (lead, len(whole)))
    await round_trip(connect)
    client.writer.write(whole)
    assert (await client.document())[0] == 400
    client.writer.write(whole + whole)
    assert (await client.document())[0] == (await client.document())[0] == 200
    client.writer.write(whole[:40])
    await round_trip(connect)
    client.writer.write(whole[40:])
    assert (await client.document())[0] == 200


async def _outcome(transport: Any, origin: Any, fields: dict[str, Any]) -> tuple[object, ...]:
    """How a request ends: what ``gateway.py`` can see of it."""
    timeouts = Timeouts(connect=5, first_byte=0.2, idle=0.2, total=5)
    asked = UpstreamRequest("/chat/completions", (), json.dumps(said(**fields)).encode())
    got = b""
    status = None
    try:
        response = await transport.send(origin, asked, (), timeouts)
        status = response.head.status
        while chunk := await response.chunk():
            got += chunk
    except UpstreamError as error:
        return status, error.kind, error.stage, error.status, _undated(got)
    headers = response.head.headers
    kept = {name: headers.get(name) for name in ("content-type", "content-length", "retry-after")}
    return status, kept, response.complete, _undated(got)


def _undated(got: bytes) -> bytes:
    return re.sub(rb'"created":\d+', b"", got)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", ["", *FAULTS])
async def test_inside_the_gateway_and_over_http_a_request_ends_the_same(
    connect: Connect, fault: str, stream: bool
) -> None:
    metadata = {"sandbox_delay_ms": "1", "sandbox_pace_ms": "1", "sandbox_tokens": "8"}
    if fault:
        metadata["sandbox_fault"] = fault
    fields = {"stream": stream, "metadata": metadata}
    client = UpstreamClient(sweep_s=0.01)
    origin = Origin.parse(f"http://127.0.0.1:{connect.port}/v1")
    over_http = await _outcome(client, origin, fields)
    await client.close()
    assert await _outcome(SandboxTransport(), None, fields) == over_http


async def test_expect_continue_is_answered(connect: Connect) -> None:
    client = await connect()
    raw = json.dumps(said()).encode()
    lead = f"POST /chat/completions HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: {len(raw)}"
    client.writer.write(lead.encode() + b"\r\n\r\n")
    assert (await client.head())[0] == 100
    client.writer.write(raw)
    assert (await client.document())[0] == 200


async def test_a_body_in_pieces_is_put_together(connect: Connect) -> None:
    client = await connect()
    raw = json.dumps(said()).encode()
    client.writer.write(b"POST /v1/chat/comp")
    await round_trip(connect)
    client.writer.write(b"letions HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX-Sandbox-To")
    await round_trip(connect)
    client.writer.write(b"kens: 3\r\n\r\n")
    for index in range(0, len(raw), 7):
        part = raw[index : index + 7]
        client.writer.write(b"%x\r\n%b\r\n" % (len(part), part))
        await asyncio.sleep(0)
    client.writer.write(b"0\r\n\r\n")
    status, body = await client.document()
    assert (status, body["usage"]["completion_tokens"]) == (200, 3)


async def test_the_official_sdk_and_a_key() -> None:
    server, upstream = await listen("127.0.0.1", 0, key="sk-right")
    base_url = f"{url_of(server)}/v1"
    body = said("What is the weather?")
    async with AsyncOpenAI(base_url=base_url, api_key="sk-right", max_retries=0) as client:
        reply = await client.chat.completions.create(**body)
        assert "sandbox" in (reply.choices[0].message.content or "")
        parts = [chunk async for chunk in await client.chat.completions.create(**body, stream=True)]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in parts)
        assert text == reply.choices[0].message.content
        vectors = await client.embeddings.create(model="sandbox-embed", input=["a", "b"])
        assert [len(row.embedding) for row in vectors.data] == [256, 256]
        assert "sandbox-chat" in [model.id async for model in await client.models.list()]
        with pytest.raises(APIStatusError) as caught:
            await client.chat.completions.create(**{**body, "model": "sandbox-fail-429"})
        assert caught.value.response.headers["retry-after"] == "2"
    async with AsyncOpenAI(base_url=base_url, api_key="sk-wrong", max_retries=0) as client:
        with pytest.raises(AuthenticationError):
            await client.chat.completions.create(**body)
    server.close()
    for connection in tuple(upstream.connections):
        connection.stop()
    await server.wait_closed()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_program_says_where_it_listens_and_ends_on_a_signal(number: int) -> None:
    program = "from tokenmarket.sandbox.server import run; run('127.0.0.1', 0)"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-c", program, cwd=_ROOT, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    line = (await process.stderr.readline()).decode()
    found = re.fullmatch(r"listening on http://127\.0\.0\.1:(\d+)\n", line)
    assert found is not None, line
    reader, writer = await asyncio.open_connection("127.0.0.1", int(found.group(1)))
    client = Client(reader, writer)
    client.send(said(), "x-sandbox-fault: stall")
    assert (await client.head())[0] == 200
    process.send_signal(number)
    assert await asyncio.wait_for(process.wait(), 10) == 0
    assert (await process.stderr.read()) == b""
    writer.transport.abort()
