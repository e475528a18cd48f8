"""One attempt of a media request: parts side by side, polls, what fails and what does not."""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

import msgspec
import pytest

from tokenmarket import media as module
from tokenmarket.adapters.kit.openai_images import merged
from tokenmarket.adapters.protocol import (
    Again,
    Head,
    MediaAdapter,
    Produced,
    Reply,
    UpstreamRequest,
)
from tokenmarket.core.bodies import ImageBody
from tokenmarket.core.catalog import Model, Provider, Route
from tokenmarket.core.errors import ApiError, UpstreamError
from tokenmarket.core.pricing import price_sheet
from tokenmarket.core.requests import Request
from tokenmarket.core.uploads import Input
from tokenmarket.core.usage import Usage
from tokenmarket.exchange import Attempt
from tokenmarket.media import MediaRooms, Shelf
from tokenmarket.upstream.fetch import Fetcher, FetchRefused
from tokenmarket.upstream.outbound import Answer

ROUTE = Route(
    Model("m", "images", "M", "M", "tests"),
    Provider("p", "openai", "https://p.test/v1"),
    "m-upstream",
    price_sheet([]),
)
CREATE = UpstreamRequest("/create", (), b"{}")
POLL = UpstreamRequest("/poll", (), b"", method="GET")


class Pictures(MediaAdapter):
    """Answers "done", or a job that is asked for until it is."""

    atomic = False

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        return CREATE

    def read(self, request: Request, route: Route, head: Head, body: bytes) -> Reply | Again:
        return self._read(head, body)

    def _read(self, head: Head, body: bytes) -> Reply | Again:
        if body == b"done":
            return Reply({}, Usage(images=1), produced=(Produced(b64="eA=="),))
        return Again(POLL, self._read, delay_s=1.0)

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        kind = {429: "rate_limited", 400: "bad_request"}.get(head.status, "upstream_error")
        return UpstreamError(kind, f"status {head.status}", status=head.status)  # pyright: ignore[reportArgumentType]

    def merge(self, request: Request, route: Route, replies: Sequence[Reply]) -> Reply:
        return merged(replies)


class AllOrNothing(Pictures):
    atomic = True


class Said:
    """An upstream's answer that is there already."""

    def __init__(self, status: int, body: bytes) -> None:
        self.head = Head(status, {})
        self.aborted = False
        self._body = body

    async def read(self, bytes_max: int) -> bytes:
        return self._body

    async def relay(self, take: Callable[[bytes], bool]) -> bool:
        raise AssertionError

    def abort(self) -> None:
        self.aborted = True


class Script:
    """What the upstream says, in order; ``asked`` are the paths."""

    def __init__(self, *answers: tuple[int, bytes] | UpstreamError) -> None:
        self._answers = deque(answers)
        self.asked: list[str] = []

    async def send(self, call: UpstreamRequest) -> Answer:
        self.asked.append(call.path)
        answer = self._answers.popleft()
        await asyncio.sleep(0)
        if isinstance(answer, UpstreamError):
            raise answer
        return Said(*answer)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Delays are noted instead of waited for."""
    delays: list[float] = []
    sleep = asyncio.sleep

    async def noted(delay_s: float) -> None:
        if delay_s:
            delays.append(delay_s)
        await sleep(0)

    monkeypatch.setattr(module.asyncio, "sleep", noted)
    return delays


async def collected(
    script: Script, adapter: MediaAdapter, parts: int = 1, fetcher: object = None
) -> Reply:
    request = Request("images", "m", b"{}", ImageBody("m", "a cat"), n=parts)
    rooms = MediaRooms(cast("Fetcher", fetcher), cast("Shelf", None))
    attempt = Attempt("p", "m-upstream", 0)
    return await rooms.collect(
        adapter, ROUTE, request, [request] * parts, [CREATE] * parts, script.send, attempt, int
    )


async def test_a_job_is_asked_for_until_it_is_done(slept: list[float]) -> None:
    script = Script((200, b"queued"), (200, b"queued"), (200, b"done"))
    reply = await collected(script, Pictures())
    assert len(reply.produced) == 1
    assert script.asked == ["/create", "/poll", "/poll"]
    assert slept == [1.0, 1.0]


async def test_a_question_that_fails_is_asked_again_the_job_is_not(slept: list[float]) -> None:
    lost = UpstreamError("connect", "refused")
    script = Script((200, b"queued"), (429, b""), lost, (503, b""), (200, b"done"))
    await collected(script, Pictures())
    assert script.asked == ["/create", *["/poll"] * 4]


@pytest.mark.parametrize("status", [429, 503])
async def test_a_refused_create_is_not_repeated(status: int) -> None:
    script = Script((status, b""), (200, b"done"))
    with pytest.raises(UpstreamError):
        await collected(script, Pictures())
    assert script.asked == ["/create"]


async def test_a_question_that_is_refused_ends_it(slept: list[float]) -> None:
    script = Script((200, b"queued"), (400, b""))
    with pytest.raises(UpstreamError) as failed:
        await collected(script, Pictures())
    assert failed.value.kind == "bad_request"


class Failing(Pictures):
    """The job says that it failed."""

    def _read(self, head: Head, body: bytes) -> Reply | Again:
        if body == b"failed":
            raise UpstreamError("upstream_error", "the job failed")
        return super()._read(head, body)


async def test_a_job_that_failed_is_not_asked_again(slept: list[float]) -> None:
    script = Script((200, b"queued"), (200, b"failed"), (200, b"done"))
    with pytest.raises(UpstreamError, match="the job failed"):
        await collected(script, Failing())
    assert script.asked == ["/create", "/poll"]


class Elsewhere(Pictures):
    """The result lies in somebody's storage."""

    def read(self, request: Request, route: Route, head: Head, body: bytes) -> Reply | Again:
        stored = msgspec.structs.replace(POLL, url="https://storage.test/1?signed")
        return Again(stored, self._read, elsewhere=True)


class Storage:
    """A fetcher that answers so, in order."""

    def __init__(self, *answers: bytes | FetchRefused) -> None:
        self._answers = deque(answers)
        self.asked: list[str] = []

    async def read(self, url: str, *, bytes_max: int) -> tuple[str, bytes]:
        self.asked.append(url)
        answer = self._answers.popleft()
        if isinstance(answer, FetchRefused):
            raise answer
        return "application/json", answer


async def test_a_result_elsewhere_is_fetched_and_not_asked_for_with_our_key(
    slept: list[float],
) -> None:
    storage = Storage(FetchRefused("unreachable", "no answer"), b"done")
    script = Script((200, b"there"))
    await collected(script, Elsewhere(), fetcher=storage)
    assert script.asked == ["/create"]
    assert storage.asked == ["https://storage.test/1?signed"] * 2


async def test_a_result_at_a_forbidden_address_ends_it(slept: list[float]) -> None:
    storage = Storage(FetchRefused("private_address", "not a public address"))
    with pytest.raises(UpstreamError, match="cannot be fetched"):
        await collected(Script((200, b"there")), Elsewhere(), fetcher=storage)
    assert len(storage.asked) == 1


async def test_a_job_without_end_times_out(slept: list[float]) -> None:
    script = Script(*[(200, b"queued")] * 200)
    with pytest.raises(UpstreamError) as failed:
        await collected(script, Pictures())
    assert (failed.value.kind, failed.value.stage) == ("timeout", "job")
    assert sum(slept) <= Pictures.wait_s_max


async def test_delivered_parts_are_answered_and_the_others_named() -> None:
    script = Script((200, b"done"), (503, b""), (200, b"done"))
    reply = await collected(script, Pictures(), parts=3)
    assert len(reply.produced) == 2
    assert reply.usage == Usage(images=2)
    assert reply.warnings[0].startswith("1 of 3 parts failed")


async def test_all_parts_failed_is_a_failure() -> None:
    script = Script((503, b""), (503, b""))
    with pytest.raises(UpstreamError):
        await collected(script, Pictures(), parts=2)


async def test_an_atomic_adapter_delivers_all_or_nothing() -> None:
    script = Script((200, b"done"), (503, b""))
    with pytest.raises(UpstreamError):
        await collected(script, AllOrNothing(), parts=2)


# --- the caller's addresses -----------------------------------------------------------------------

PICTURE = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x02\x00\x00\x00\x02\x08\x06\x00\x00\x00"
PICTURE += zlib.crc32(PICTURE[12:29]).to_bytes(4)


class TakesBytes(Pictures):
    inputs = "bytes"


class Web:
    """A fetcher that says how much it was allowed to take."""

    def __init__(self) -> None:
        self.allowed: list[int] = []

    async def read(self, url: str, *, bytes_max: int) -> tuple[str, bytes]:
        self.allowed.append(bytes_max)
        return "image/png", PICTURE


async def test_addresses_share_one_limit_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FETCHED_BYTES_MAX", 100)
    web = Web()
    rooms = MediaRooms(cast("Fetcher", web), cast("Shelf", None))
    links = tuple(Input("image", f"image[{n}]", url=f"https://a.test/{n}") for n in range(2))
    request = Request("images", "m", b"{}", ImageBody("m", "a cat"), inputs=links)
    ready = await rooms.prepared(TakesBytes(), request, ROUTE, "org")
    assert web.allowed == [100, 100 - len(PICTURE)]
    assert [item.upload is not None for item in ready.inputs] == [True, True]
    assert request.inputs is links  # another route gets them as they came


async def test_addresses_that_take_too_long_together_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Never(Web):
        async def read(self, url: str, *, bytes_max: int) -> tuple[str, bytes]:
            await asyncio.Event().wait()
            raise AssertionError

    monkeypatch.setattr(module, "FETCHED_S_MAX", 0.01)
    rooms = MediaRooms(cast("Fetcher", Never()), cast("Shelf", None))
    links = (Input("image", "image[0]", url="https://a.test/0"),)
    request = Request("images", "m", b"{}", ImageBody("m", "a cat"), inputs=links)
    with pytest.raises(ApiError) as refused:
        await rooms.prepared(TakesBytes(), request, ROUTE, "org")
    assert (refused.value.param, refused.value.reason) == ("image[0]", "timeout")
