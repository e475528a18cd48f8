"""The transport inside the gateway: the desk's bytes, timeouts and endings as of a connection."""

import asyncio
import json
from typing import Any

import pytest

from tokenmarket.adapters.protocol import UpstreamRequest
from tokenmarket.core.catalog import Timeouts
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.uploads import Memory, Upload
from tokenmarket.sandbox.desk import BODY_BYTES_MAX, heavy
from tokenmarket.sandbox.inprocess import SandboxResponse, SandboxTransport

_SHORT = Timeouts(connect=0.01, first_byte=0.01, idle=0.01, total=10)


def request(headers: tuple[tuple[str, str], ...] = (), **fields: Any) -> UpstreamRequest:
    body = {"model": "sandbox-chat", "messages": [{"role": "user", "content": "hello"}], **fields}
    return UpstreamRequest("/chat/completions", headers, json.dumps(body).encode())


async def send(
    asked: UpstreamRequest, timeouts: Timeouts = _SHORT, transport: SandboxTransport | None = None
) -> SandboxResponse:
    return await (transport or SandboxTransport(now_s=lambda: 1)).send(None, asked, (), timeouts)


async def drained(response: SandboxResponse) -> list[bytes]:
    chunks: list[bytes] = []
    while chunk := await response.chunk():
        chunks.append(chunk)
    return chunks


async def test_a_document_and_its_head() -> None:
    transport = SandboxTransport(now_s=lambda: 1)
    response = await send(request(), transport=transport)
    body = await response.read(10_000)
    assert response.head.status == 200
    assert response.head.headers["content-type"] == "application/json"
    assert response.head.headers["content-length"] == str(len(body))
    assert json.loads(body)["created"] == 1
    assert response.complete
    assert await response.chunk() == b""
    other = await send(request(), transport=transport)
    assert other.head.headers["x-request-id"] != response.head.headers["x-request-id"]
    response.abort()
    assert await response.chunk() == b""
    await transport.close()


async def test_a_stream_comes_whole_in_bounded_chunks() -> None:
    headers = (("X-Sandbox-Tokens", "2000"), ("accept", "text/event-stream"))
    response = await send(request(headers, stream=True))
    assert response.head.headers["content-type"].startswith("text/event-stream")
    assert "content-length" not in response.head.headers
    chunks = await drained(response)
    assert len(chunks) > 5
    assert max(map(len, chunks)) < 20_000
    events = b"".join(chunks).split(b"\n\n")
    assert events[-2:] == [b"data: [DONE]", b""]
    assert len(events) > 2000


async def test_a_paced_stream_comes_event_by_event() -> None:
    metadata = {"sandbox_tokens": "5", "sandbox_pace_ms": "1"}
    asked = request(stream=True, metadata=metadata)
    response = await send(asked, Timeouts(idle=5))
    chunks = await drained(response)
    assert len(chunks) == 5 + 3
    assert all(chunk.endswith(b"\n\n") and chunk.count(b"\n") == 2 for chunk in chunks)
    assert response.first_byte_us is not None
    assert response.first_data_us is not None
    assert response.first_data_us >= response.first_byte_us >= 0


@pytest.mark.parametrize(
    ("asked", "timeouts", "stage"),
    [
        (request(model="sandbox-timeout"), _SHORT, "first_byte"),
        (request(model="sandbox-slow"), _SHORT, "first_byte"),
        (request(model="sandbox-timeout"), Timeouts(first_byte=9, total=0.01), "total"),
    ],
    ids=["timeout", "slow", "total"],
)
async def test_no_head_in_time(asked: UpstreamRequest, timeouts: Timeouts, stage: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        await send(asked, timeouts)
    assert (caught.value.kind, caught.value.stage) == ("timeout", stage)
    assert caught.value.status is None


@pytest.mark.parametrize(
    ("metadata", "kind", "stage"),
    [
        ({"sandbox_fault": "stall"}, "timeout", "idle"),
        ({"sandbox_pace_ms": "60000"}, "timeout", "idle"),
        ({"sandbox_fault": "cut"}, "stream_broken", None),
        ({"sandbox_fault": "cut", "sandbox_pace_ms": "1"}, "stream_broken", None),
    ],
    ids=["stall", "pace", "cut", "paced cut"],
)
async def test_a_stream_that_breaks_off_gives_what_it_had(
    metadata: dict[str, str], kind: str, stage: str | None
) -> None:
    response = await send(request(stream=True, metadata=metadata))
    assert await response.chunk()
    with pytest.raises(UpstreamError) as caught:
        await drained(response)
    assert (caught.value.kind, caught.value.stage) == (kind, stage)
    assert caught.value.status == 200
    assert not response.complete
    with pytest.raises(UpstreamError, match=caught.value.message):
        await response.chunk()


@pytest.mark.parametrize("model", ["sandbox-cut", "sandbox-nousage", "sandbox-fail-429"])
async def test_documents_of_faulty_models(model: str) -> None:
    response = await send(request(model=model))
    if model == "sandbox-cut":
        with pytest.raises(UpstreamError) as caught:
            await response.read(10_000)
        assert caught.value.kind == "stream_broken"
        return
    body = json.loads(await response.read(10_000))
    if model == "sandbox-fail-429":
        assert response.head.status == 429
        assert response.head.headers["retry-after"] == "2"
        assert body["error"]["code"] == "rate_limit_exceeded"
    else:
        assert "usage" not in body


async def test_a_body_above_the_bound_is_an_error() -> None:
    response = await send(request())
    with pytest.raises(UpstreamError) as caught:
        await response.read(100)
    assert caught.value.kind == "upstream_error"


async def test_abort_ends_a_waiting_chunk_at_once() -> None:
    response = await send(request(stream=True, metadata={"sandbox_pace_ms": "60000"}), Timeouts())
    assert await response.chunk()
    waiting = asyncio.ensure_future(response.chunk())
    await asyncio.sleep(0)
    response.abort()
    with pytest.raises(UpstreamError) as caught:
        await asyncio.wait_for(waiting, 5)
    assert caught.value.kind == "stream_broken"


async def test_a_cancelled_wait_leaves_nothing_behind() -> None:
    waiting = asyncio.ensure_future(send(request(model="sandbox-timeout"), Timeouts()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_nothing_a_caller_writes_is_an_exception() -> None:
    for path, body in (("/chat/completions", b"\xff"), ("/nowhere", b""), ("", b"{}")):
        response = await send(UpstreamRequest(path, (), body))
        assert response.head.status in (400, 404)
        assert "error" in json.loads(await response.read(10_000))


async def test_a_body_that_the_server_would_refuse_is_refused_here_too() -> None:
    part = b"x" * (BODY_BYTES_MAX // 2 + 1)
    upload = Upload("file", "a.wav", "audio/wav", Memory(part), 0, len(part))
    asked = UpstreamRequest("/audio/transcriptions", (), (part, upload))
    response = await send(asked)
    assert response.head.status == 413


@pytest.mark.parametrize(
    ("path", "body_bytes", "slow"),
    [
        ("/chat/completions", 10_000_000, False),
        ("/embeddings", 10_000_000, False),
        ("/rerank", 100, False),
        ("/rerank", 1_000_000, True),
        ("/v1/images/generations?x=1", 100, True),
        ("/videos/video_x/content?variant=video", 0, True),
        ("/videos/video_x", 0, False),
        ("/audio/speech", 100, True),
        ("/audio/transcriptions", 1_000_000, True),
    ],
)
def test_what_takes_long_does_not_stop_the_event_loop(
    path: str, body_bytes: int, slow: bool
) -> None:
    assert heavy(path, body_bytes) is slow
