"""A scripted engine behind the video endpoints, and a desk that asks them: by hand, or through the
unmodified openai SDK without sockets."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any, cast

import httpx2
import msgspec
import openai

from tokenmarket.accounts import Caller
from tokenmarket.contents import Recorder
from tokenmarket.core.catalog import Model
from tokenmarket.core.errors import ApiError
from tokenmarket.core.tasks import TERMINAL
from tokenmarket.core.uploads import Memory
from tokenmarket.core.video.capabilities import resolve
from tokenmarket.core.video.projection import OutputView, VideoView
from tokenmarket.core.video.request import ResolvedVideo, VideoRequest
from tokenmarket.core.video.results import Content, Created
from tokenmarket.core.wire import ClientGone, Inbound
from tokenmarket.files.contents import ContentFiles
from tokenmarket.replies import ErrorBodies, error_lines
from tokenmarket.web.videos import Videos, VideosContext

NOW = 1_795_400_000
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABpfZFQAAAAABJRU5ErkJggg=="
)
IDS = [f"video_{number:034x}" for number in range(9)]
KLING = Model(
    "kling-v1",
    "video",
    "Kling",
    "可灵",
    "kuaishou",
    capabilities={"seconds": [5, 10], "seed": False, "image_to_video": True},
)
OUTPUT = OutputView(0, "https://us.example/v", width=1280, height=720)


def view(task_id: str = IDS[1], state: str = "queued", **changes: Any) -> VideoView:
    base: dict[str, Any] = {
        "id": task_id,
        "provider": "dataeyes",
        "state": state,
        "video": ResolvedVideo(
            model="kling-v1", prompt="a lake", seconds=5, width=1280, height=720
        ),
        "created_s": NOW,
        "now_s": NOW,
    }
    if state in TERMINAL:
        base |= {"completed_s": NOW + 9, "charged_nano": 0}
    if state == "succeeded":
        base["outputs"] = (OUTPUT,)
    return VideoView(**(base | changes))


class Key:
    """A caller: what the handlers look at."""

    def __init__(self, org_id: str, models: frozenset[str] | None = None) -> None:
        self.org_id = org_id
        self.allowed = self
        self.models = models
        self.group_id: str | None = None
        self.keeps_content = True  # if the recorder has a key


def _not_kept(what: str, error: Exception) -> None:
    raise AssertionError(what) from error


class Engine:
    """Tasks of ``org_1``; what it was asked for."""

    def __init__(self, *views: VideoView) -> None:
        self.tasks = {one.id: one for one in views}
        self.orders: list[VideoRequest] = []
        self.keys: list[str] = []
        self.asked: list[object] = []
        self.states: list[str] = []
        self.kept = True
        self.location: str | None = None
        self.fault: Exception | None = None

    async def create(
        self, caller: Caller, inbound: Inbound, read: Any, *, idempotency_key: str
    ) -> Created:
        if self.fault is not None:
            raise self.fault
        order = await read()
        self.orders.append(order)
        self.keys.append(idempotency_key)
        made = view(IDS[7], video=resolve(order, KLING))
        self.tasks[made.id] = made
        return Created(
            made, replayed=idempotency_key == "again", head=b"x-tokenmarket-attempts: 1\r\n"
        )

    async def get(self, caller: Caller, task_id: str) -> VideoView | None:
        found = self.tasks.get(task_id) if caller.org_id == "org_1" else None
        if found is not None and self.states:
            state = self.states.pop(0)
            found = view(task_id, state, video=found.video)
        return found

    async def page(self, caller: Caller, **asked: Any) -> tuple[list[VideoView], bool]:
        self.asked.append(asked)
        names = sorted(self.tasks, reverse=not asked["ascending"])
        if asked["after"]:
            names = names[names.index(asked["after"]) + 1 :]
        limit = asked["limit"]
        return [self.tasks[name] for name in names[:limit]], len(names) > limit

    async def cancel(self, caller: Caller, task_id: str) -> VideoView | None:
        found = await self.get(caller, task_id)
        return None if found is None else view(task_id, "canceling")

    async def delete(self, caller: Caller, task_id: str) -> bool:
        return self.tasks.pop(task_id, None) is not None

    async def content(
        self, caller: Caller, task_id: str, variant: str, index: int, *, redirect: bool
    ) -> Content | None:
        self.asked.append((variant, index, redirect))
        return Content("k", location=self.location) if self.kept else None


class Answer:
    """A client that remembers."""

    cancellable = False
    gone = False

    def __init__(self) -> None:
        self.status = 0
        self.head = b""
        self.body = b""
        self.begun = False

    def respond(self, status: int, head: bytes, body: bytes) -> None:
        assert not self.begun
        assert head.endswith(b"\r\n")
        self.begun = True
        self.status, self.head, self.body = status, head, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def headers(self) -> dict[str, str]:
        lines = self.head.decode().split("\r\n")[:-1]
        return dict(line.split(": ", 1) for line in lines)


class Desk:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.crashes: list[Exception] = []
        self.sent: list[dict[str, Any]] = []
        self.gone = False
        self.asked = 0
        catalog = type("C", (), {})()
        catalog.current = type("D", (), {"models": {"kling-v1": KLING}})()
        catalog.for_group = lambda _group: catalog
        catalog.openai_model = lambda model: msgspec.json.encode({"id": model.id, "pricing": []})
        bodies = ErrorBodies("https://docs.example", lambda english: None)
        clock = type("E", (), {"monotonic_us": lambda _: 5_000})()
        self.recorder = Recorder(ContentFiles(Path("/nowhere")), _not_kept)
        self.videos = Videos(
            VideosContext(
                service=engine,
                catalog=cast("Any", catalog),
                authenticate=self._authenticate,
                refusal=lambda inbound, error, ms: (
                    error_lines(error),
                    bodies.body(error, inbound.request_id),
                ),
                message=lambda inbound, error: error.message,
                limits=lambda caller: b"x-ratelimit-limit-requests: 9\r\n",
                crash=lambda request_id, error: self.crashes.append(error),
                send=self._send,
                clock=clock,
                contents=self.recorder,
            )
        )

    async def _authenticate(self, inbound: Inbound) -> Caller:
        key = inbound.headers.get(b"authorization", b"").removeprefix(b"Bearer ").decode()
        if not key:
            raise ApiError("AUTH_001", "No API key.")
        models = frozenset({"other"}) if key == "org_1_narrow" else None
        return cast("Caller", Key(key.removesuffix("_narrow"), models))

    async def _send(self, client: Any, key: str, headers: Any, **options: Any) -> None:
        if self.gone:
            client.begun = True
            raise ClientGone
        self.sent.append({"key": key, "range": headers.get(b"range"), **options})
        client.respond(206, options["head"], b"MP4")

    def ask(
        self,
        method: str,
        path: str,
        body: object = b"",
        *,
        key: str = "org_1",
        query: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        self.asked += 1
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        found = {name.lower().encode(): value.encode() for name, value in (headers or {}).items()}
        if key:
            found[b"authorization"] = f"Bearer {key}".encode()
        inbound = Inbound("req_1", method, path, query, found, raw, "192.0.2.1", NOW * 10**6, 0)
        if found.get(b"content-type", b"").startswith(b"multipart/"):
            inbound.body, inbound.spool = b"", cast("Any", Memory(raw))
        answer = Answer()
        asyncio.run(self.videos.handle(inbound, cast("Any", answer)))
        assert answer.begun
        return answer

    def sdk(self) -> openai.OpenAI:
        def handler(request: httpx2.Request) -> httpx2.Response:
            answer = self.ask(
                request.method,
                request.url.path,
                request.read(),
                key=request.headers["authorization"].removeprefix("Bearer "),
                query=request.url.query,
                headers={
                    name: value
                    for name, value in request.headers.items()
                    if name != "authorization"
                },
            )
            return httpx2.Response(answer.status, headers=answer.headers, content=answer.body)

        return openai.OpenAI(
            api_key="org_1",
            base_url="https://us.example/api/v1",
            max_retries=2,
            http_client=httpx2.Client(transport=httpx2.MockTransport(handler)),
        )


BASE = "/api/v1"
ORDER = {"model": "kling-v1", "prompt": "a lake"}
