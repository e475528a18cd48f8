"""Images, sound, films, rerank and moderation over real HTTP, asked by OpenAI's unmodified SDK."""

import asyncio
import base64
import io
import json
import wave
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from openai import APIStatusError, AsyncOpenAI, BadRequestError, InternalServerError

from tokenmarket.adapters.protocol import UpstreamRequest
from tokenmarket.core.catalog import Timeouts
from tokenmarket.sandbox import probing
from tokenmarket.sandbox.inprocess import SandboxTransport
from tokenmarket.sandbox.server import listen, url_of

# OpenAI gave up its own videos and translations, and its SDK says so at each call.
pytestmark = [
    pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The Sora API is scheduled:DeprecationWarning"),
]


@pytest_asyncio.fixture
async def url() -> AsyncIterator[str]:
    server, upstream = await listen("127.0.0.1", 0)
    yield url_of(server) + "/v1"
    server.close()
    for connection in tuple(upstream.connections):
        connection.stop()
    await server.wait_closed()


@pytest_asyncio.fixture
async def sdk(url: str) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=url, api_key="any", max_retries=0) as client:
        yield client


def size(data: bytes) -> tuple[int, int]:
    probe = probing.picture(data)
    assert probe is not None
    return probe.width, probe.height


async def test_pictures_as_bytes_and_by_address(sdk: AsyncOpenAI) -> None:
    made = await sdk.images.generate(model="sandbox-image", prompt="a lake", n=2, size="auto")
    assert made.data is not None
    assert [size(base64.b64decode(row.b64_json or "")) for row in made.data] == [(1024, 1024)] * 2
    assert made.usage is not None
    linked = await sdk.images.generate(
        model="sandbox-image", prompt="a lake", response_format="url", size="1536x1024"
    )
    assert linked.data is not None
    address = linked.data[0].url
    assert address is not None
    async with httpx2.AsyncClient(trust_env=False) as client:
        got = await client.get(address)
    assert got.headers["content-type"] == "image/png"
    assert int(got.headers["content-length"]) == len(got.content)
    assert size(got.content) == (1536, 1024)


async def test_an_edit_of_two_pictures_with_a_mask(sdk: AsyncOpenAI) -> None:
    made = await sdk.images.generate(model="sandbox-image", prompt="a lake")
    assert made.data is not None
    source = base64.b64decode(made.data[0].b64_json or "")
    files = [("a.png", source, "image/png"), ("b.png", source, "image/png")]
    edited = await sdk.images.edit(
        model="sandbox-image", prompt="at night", image=files, mask=files[0], n=1
    )
    assert edited.data is not None
    assert edited.data[0].revised_prompt == (
        "at night (from a png of 1024x1024, a png of 1024x1024)"
    )
    with pytest.raises(BadRequestError) as caught:
        await sdk.images.edit(model="sandbox-image", prompt="x", image=("a.png", source[:999]))
    assert caught.value.param == "image"


async def test_a_stream_of_partial_pictures(sdk: AsyncOpenAI) -> None:
    stream = await sdk.images.generate(
        model="sandbox-image", prompt="a lake", stream=True, partial_images=2
    )
    kinds = [event.type async for event in stream]
    assert kinds == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    source = io.BytesIO(base64.b64decode((await _one(sdk)).b64_json or ""))
    source.name = "a.png"
    edits = await sdk.images.edit(
        model="sandbox-image", prompt="x", image=source, stream=True, partial_images=1
    )
    assert [event.type async for event in edits] == [
        "image_edit.partial_image",
        "image_edit.completed",
    ]


async def _one(sdk: AsyncOpenAI) -> Any:
    made = await sdk.images.generate(model="sandbox-image", prompt="one")
    assert made.data is not None
    return made.data[0]


@pytest.mark.parametrize("form", ["mp3", "wav", "flac"])
async def test_what_was_spoken_is_understood(sdk: AsyncOpenAI, form: Any) -> None:
    text = "The quick brown fox. 敏捷的棕色狐狸"
    spoken = await sdk.audio.speech.create(
        model="sandbox-speech", voice="nova", input=text, response_format=form
    )
    assert spoken.response.headers["content-type"].startswith("audio/")
    assert spoken.response.headers["transfer-encoding"] == "chunked"
    heard = await sdk.audio.transcriptions.create(
        model="sandbox-transcribe", file=(f"a.{form}", spoken.content)
    )
    assert heard.text == text
    subtitles = await sdk.audio.transcriptions.create(
        model="sandbox-transcribe", file=(f"a.{form}", spoken.content), response_format="srt"
    )
    assert isinstance(subtitles, str)
    assert subtitles.startswith("1\n00:00:00,000 --> ")
    stream = await sdk.audio.transcriptions.create(
        model="sandbox-transcribe",
        file=(f"a.{form}", spoken.content),
        stream=True,
        include=["logprobs"],
        chunking_strategy={"type": "server_vad"},
    )
    events = [event async for event in stream]
    assert events[-1].type == "transcript.text.done"
    translated = await sdk.audio.translations.create(
        model="sandbox-translate", file=(f"a.{form}", spoken.content)
    )
    assert translated.text.isascii()


async def test_speech_comes_at_the_asked_pace(sdk: AsyncOpenAI) -> None:
    async with sdk.audio.speech.with_streaming_response.create(
        model="sandbox-speech",
        voice="alloy",
        input="word " * 60,
        response_format="wav",
        extra_headers={"x-sandbox-pace-ms": "1"},
    ) as response:
        chunks = [chunk async for chunk in response.iter_bytes()]
    assert len(chunks) > 5
    with wave.open(io.BytesIO(b"".join(chunks))) as file:
        assert file.getnframes() == 300 * 1680
    async with sdk.audio.speech.with_streaming_response.create(
        model="sandbox-speech", voice="alloy", input="hi", stream_format="sse"
    ) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        last = (await response.read()).decode().strip().split("\n\n")[-1]
    assert json.loads(last.removeprefix("data: "))["type"] == "speech.audio.done"


async def test_moderation_and_rerank(sdk: AsyncOpenAI) -> None:
    judged = await sdk.moderations.create(model="sandbox-moderation", input=["hello", "murder"])
    assert [result.flagged for result in judged.results] == [False, True]
    ranked = await sdk.post(
        "/rerank",
        cast_to=object,
        body={"model": "sandbox-rerank", "query": "fox", "documents": ["cat", "fox"]},
    )
    assert isinstance(ranked, dict)
    assert ranked["results"][0]["index"] == 1


async def test_a_video_from_the_order_to_its_bytes(sdk: AsyncOpenAI) -> None:
    task = await sdk.videos.create_and_poll(
        model="sandbox-video",
        prompt="a paper plane over a lake",
        seconds="4",
        size="1280x720",
        extra_body={"metadata": {"a": "1"}},
        extra_headers={"x-sandbox-delay-ms": "250"},
        poll_interval_ms=50,
    )
    assert (task.status, task.progress) == ("completed", 100)
    content = await sdk.videos.download_content(task.id)
    assert content.response.headers["content-type"] == "video/mp4"
    assert content.response.headers["accept-ranges"] == "bytes"
    data = content.content
    assert data[4:8] == b"ftyp"
    part = await sdk.videos.download_content(task.id, extra_headers={"Range": "bytes=4-7"})
    assert (part.response.status_code, part.content) == (206, b"ftyp")
    assert part.response.headers["content-range"] == f"bytes 4-7/{len(data)}"
    listed = await sdk.videos.list(limit=5)
    assert [row.id for row in listed.data] == [task.id]
    assert (await sdk.videos.delete(task.id)).deleted
    with pytest.raises(APIStatusError) as caught:
        await sdk.videos.retrieve(task.id)
    assert caught.value.status_code == 404


async def test_the_state_of_a_task_is_never_answered_from_memory(sdk: AsyncOpenAI) -> None:
    """The same bytes are sent again and again; the answer changes with the time."""
    reader, writer = await asyncio.open_connection(sdk.base_url.host, sdk.base_url.port)
    body = b'{"model":"sandbox-video","prompt":"x"}'
    create = b"POST /v1/videos HTTP/1.1\r\nHost: x\r\nx-sandbox-delay-ms: 60\r\n"
    create += b"Content-Length: %d\r\n\r\n%b" % (len(body), body)

    async def document() -> Any:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode().lower().split("\r\n")
        (length,) = [line.split(": ")[1] for line in lines if line.startswith("content-length")]
        return json.loads(await reader.readexactly(int(length)))

    ids: set[str] = set()
    for _ in range(3):
        writer.write(create)
        ids.add((await document())["id"])
    assert len(ids) == 3
    seen = ""
    while seen != "completed":
        writer.write(f"GET /v1/videos/{min(ids)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        seen = (await document())["status"]
        assert seen in ("queued", "in_progress", "completed")
    writer.close()


async def test_a_lost_answer_leaves_a_task(sdk: AsyncOpenAI) -> None:
    with pytest.raises(InternalServerError):
        await sdk.videos.create(
            model="sandbox-video-lost", prompt="x", extra_body={"metadata": {"ref": "7"}}
        )
    (row,) = (await sdk.videos.list()).data
    assert (row.to_dict()["metadata"], row.status) == ({"ref": "7"}, "queued")


async def test_the_transport_inside_the_gateway_gives_the_same(url: str) -> None:
    transport = SandboxTransport(now_s=lambda: 1)
    headers = (("content-type", "application/json"),)

    async def ask(path: str, method: str = "POST", **fields: Any) -> tuple[Any, bytes]:
        body = json.dumps(fields).encode() if fields else b""
        request = UpstreamRequest(path, headers, body, method=method)
        response = await transport.send(None, request, (), Timeouts())
        return response.head, await response.read(10_000_000)

    head, sound = await ask("/audio/speech", model="sandbox-speech", voice="echo", input="hi " * 99)
    assert (head.status, head.headers["content-type"]) == (200, "audio/mpeg")
    async with AsyncOpenAI(base_url=url, api_key="any") as client:
        spoken = await client.audio.speech.create(
            model="sandbox-speech", voice="echo", input="hi " * 99
        )
    assert spoken.content == sound
    head, made = await ask(
        "/images/generations", model="sandbox-image", prompt="x", response_format="url"
    )
    assert "b64_json" in json.loads(made)["data"][0]
    head, task = await ask(
        "/videos", model="sandbox-video", prompt="x", metadata={"sandbox_delay_ms": "0"}
    )
    assert "openai-poll-after-ms" not in head.headers
    head, film = await ask(f"/videos/{json.loads(task)['id']}/content", method="GET")
    assert (head.headers["content-type"], film[4:8]) == ("video/mp4", b"ftyp")
    assert head.headers["content-length"] == str(len(film))
