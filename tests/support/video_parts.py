# pyright: basic
"""What stands around the engine of video tasks in tests: a scripted provider, files in memory, a
postman, and adapters of other kinds."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import msgspec

from tokenmarket.adapters.kit.openai_videos import OpenAIVideos
from tokenmarket.adapters.protocol import Head, Produced, UpstreamRequest
from tokenmarket.adapters.video_protocol import Output, Succeeded
from tokenmarket.core.catalog import Timeouts
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.file_urls import RANDOM_BYTES, FileUrls, new_key
from tokenmarket.core.uploads import joined
from tokenmarket.files.store import Stored, StoreFailed
from tokenmarket.sandbox import painting
from tokenmarket.sandbox.filming import Film, mp4
from tokenmarket.upstream.fetch import FetchRefused, Posted

_films: dict[int, bytes] = {}


def film(seconds: int = 4) -> bytes:
    """A real film of that length."""
    if seconds not in _films:
        _films[seconds] = mp4(Film(bytes(range(32)), 320, 180, seconds, 8))
    return _films[seconds]


class Failing(Exception):
    """A scripted answer that is no answer: ``error`` is raised by the transport."""

    def __init__(self, error: UpstreamError) -> None:
        super().__init__(str(error))
        self.error = error


def timeout(stage: str = "first_byte") -> Failing:
    return Failing(UpstreamError("timeout", "too slow", stage=stage))


def refused() -> Failing:
    return Failing(UpstreamError("connect", "connection refused"))


class Answer:
    """One scripted answer as the transport gives it."""

    def __init__(self, status: int, body: bytes, cut: bool = False) -> None:
        self.head = Head(status, {"content-type": "application/json"})
        self._body = body
        self._cut = cut

    async def read(self, bytes_max: int) -> bytes:
        if self._cut:
            raise UpstreamError("stream_broken", "reset", status=self.head.status)
        return self._body

    async def save(self, sink: Callable[[bytes], object], bytes_max: int) -> int:
        sink(await self.read(bytes_max))
        return len(self._body)

    async def relay(self, take: Callable[[bytes], bool]) -> bool:
        raise AssertionError("videos are not relayed")

    def abort(self) -> None:
        return


Reply = tuple[int, Any] | Failing | Answer


class Provider:
    """OpenAI's Videos wire: ``state`` is what all tasks are in; a list of scripted replies in
    ``script[(method, what)]`` goes first. ``what``: create | list | poll | cancel | content."""

    def __init__(self) -> None:
        self.status = "queued"
        self.more: dict[str, Any] = {}
        self.seconds: str | None = "4"
        self.content: bytes | None = None
        self.tasks: dict[str, dict[str, Any]] = {}
        self.script: dict[str, list[Reply]] = {}
        self.calls: list[tuple[str, str, str]] = []  # what, key, task id
        self.bodies: list[dict[str, Any]] = []
        self.on: dict[str, Callable[[], Awaitable[None]]] = {}
        self._ids = count(1)

    def count(self, what: str) -> int:
        return sum(call[0] == what for call in self.calls)

    def then(self, what: str, *replies: Reply) -> None:
        self.script.setdefault(what, []).extend(replies)

    async def send(
        self, origin: object, request: UpstreamRequest, headers: Any, timeouts: Timeouts
    ) -> Answer:
        path = request.path.partition("?")[0].strip("/").split("/")
        task_id = path[1] if len(path) > 1 else ""
        what = {"POST": "create", "GET": "list"}[request.method] if not task_id else "poll"
        if len(path) > 2:
            what = path[2]
        key = dict(headers).get("Authorization", dict(headers).get("authorization", ""))
        self.calls.append((what, key.removeprefix("Bearer "), task_id))
        made = ""
        if what == "create":
            body = json.loads(joined(request.body))
            self.bodies.append(body)
            made = f"up-{next(self._ids)}"
        if what in self.on:
            await self.on[what]()
        scripted = self.script.get(what)
        if scripted:
            reply = scripted.pop(0)
            if isinstance(reply, Failing):
                if reply.error.kind != "connect" and made:
                    self._keep(made, self.bodies[-1])
                raise reply.error
            if isinstance(reply, Answer):
                if made:
                    self._keep(made, self.bodies[-1])
                return reply
            status, document = reply
            if made and status >= 500:
                self._keep(made, self.bodies[-1])
            return Answer(status, json.dumps(document).encode())
        if made:
            self._keep(made, self.bodies[-1])
            return Answer(200, json.dumps(self.tasks[made]).encode())
        if what == "list":
            data = [self._shown(name) for name in reversed(self.tasks)]
            page = {"object": "list", "data": data, "has_more": False}
            return Answer(200, json.dumps(page).encode())
        if task_id not in self.tasks:
            return Answer(404, b'{"error":{"message":"no such video","code":"video_not_found"}}')
        if what == "cancel":
            self.status = "failed"
            self.more = {"error": {"code": "cancelled", "message": "cancelled"}}
        if what == "content":
            return Answer(200, film() if self.content is None else self.content)
        return Answer(200, json.dumps(self._shown(task_id)).encode())

    def _keep(self, made: str, body: dict[str, Any]) -> None:
        self.tasks[made] = {"id": made, "status": "queued", "metadata": body.get("metadata")}

    def _shown(self, task_id: str) -> dict[str, Any]:
        shown = {**self.tasks[task_id], "status": self.status, **self.more}
        if self.seconds is not None:
            shown["seconds"] = self.seconds
        return shown


PUBLIC_URL = "https://cdn.example/film.mp4"


class PublicVideos(OpenAIVideos):
    """As many providers do: the film is at an address that needs no key, with a poster."""

    def observe(self, handle: Any, route: Any, head: Any, body: bytes) -> Any:
        seen = super().observe(handle, route, head, body)
        if not isinstance(seen, Succeeded):
            return seen
        poster = Output(Produced(url="https://cdn.example/p.png"), kind="thumbnail")
        outputs = (Output(Produced(url=PUBLIC_URL), duration_ms=4000), poster)
        return msgspec.structs.replace(seen, outputs=outputs)


PNG = painting.png(painting.Picture(bytes(32), 32, 32))


class BytesVideos(OpenAIVideos):
    """A provider that fetches nothing itself."""

    inputs = "bytes"


class InlineVideos(OpenAIVideos):
    """The film is inside the answer."""

    def observe(self, handle: Any, route: Any, head: Any, body: bytes) -> Any:
        seen = super().observe(handle, route, head, body)
        if not isinstance(seen, Succeeded):
            return seen
        inline = base64.b64encode(film()).decode()
        return msgspec.structs.replace(seen, outputs=(Output(Produced(b64=inline)),))


class MemoryStore:
    """Files in memory. ``failing``: writes fail."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.failing = False

    async def size(self, key: str) -> int | None:
        return len(self.files[key]) if key in self.files else None

    async def read(self, key: str, start: int = 0, length: int | None = None) -> Any:
        yield self.files[key][start:]

    async def delete(self, key: str) -> None:
        self.files.pop(key, None)


class MemoryWriter:
    def __init__(self, store: MemoryStore, key: str) -> None:
        self._store, self._key, self._data = store, key, bytearray()

    async def write(self, data: bytes) -> None:
        if self._store.failing:
            raise StoreFailed("the disk is full")
        self._data += data

    async def commit(self) -> Stored:
        self._store.files[self._key] = bytes(self._data)
        return Stored(self._key, len(self._data), "0" * 64)

    async def abort(self) -> None:
        return


class MemoryShelf:
    def __init__(self, now_s: Callable[[], int]) -> None:
        self.store: Any = MemoryStore()
        self._urls = FileUrls(b"s" * 32, "https://tm.test")
        self._now_s = now_s
        self._numbers = count(1)

    async def open(self, org_id: str, content_type: str, ttl_s: int | None = None) -> Any:
        number = next(self._numbers).to_bytes(RANDOM_BYTES, "big")
        key = new_key(org_id, self._now_s() + (ttl_s or 3600), number, content_type)
        return key, MemoryWriter(self.store, key)

    def address(self, key: str, ttl_s: int | None = None) -> tuple[str, int]:
        expires_s = self._now_s() + (ttl_s or 3600)
        return self._urls.url(key, expires_s), expires_s


class Postman:
    """The guarded fetcher: callbacks are kept, ``answers`` say what becomes of them."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[int | FetchRefused] = []
        self.pages: dict[str, bytes] = {}
        self.downloads: list[tuple[str, dict[str, Any]]] = []

    async def post(self, url: str, *, headers: Any, body: bytes, **_options: Any) -> Posted:
        self.posts.append((url, dict(headers), body))
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, FetchRefused):
            raise answer
        return Posted(answer, b"heard\x00")

    async def download(self, url: str, sink: Any, **options: Any) -> None:
        self.downloads.append((url, options))
        if url not in self.pages:
            raise FetchRefused("bad_status", "HTTP 503", 503)
        sink(self.pages[url])

    async def read(self, url: str, *, bytes_max: int) -> tuple[str, bytes]:
        if url not in self.pages:
            raise FetchRefused("unreachable", "nobody is there")
        return "image/png", self.pages[url]
