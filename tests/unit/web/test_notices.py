"""Notices of providers: only our own signed addresses make us ask, and nothing they say is read."""

from __future__ import annotations

import json

import pytest

from tokenmarket.core.errors import ApiError
from tokenmarket.core.notice_urls import NoticeUrls
from tokenmarket.core.wire import Inbound
from tokenmarket.web.notices import Notices

TASK = "video_066100c33a8cd4f7ba5032e70d26781925"
OTHER = "video_066100c33a8cd4f7ba5032e70d26781926"
URLS = NoticeUrls(b"k" * 32, "https://gateway.test")


class Caller:
    """The provider's connection."""

    cancellable = False
    gone = False
    begun = False

    def __init__(self) -> None:
        self.answer: tuple[int, bytes, bytes] | None = None

    def respond(self, status: int, head: bytes, body: bytes) -> None:
        self.answer = (status, head, body)

    def begin(self, status: int, head: bytes, length: int | None = None) -> None:
        raise AssertionError

    def write(self, data: bytes) -> bool:
        raise AssertionError

    async def drained(self) -> None:
        raise AssertionError

    def end(self, data: bytes) -> None:
        raise AssertionError


def inbound(url: str, body: bytes = b"{}", method: str = "POST") -> Inbound:
    path, _, query = url.removeprefix("https://gateway.test").partition("?")
    return Inbound("req_1", method, path, query.encode(), {}, body, "203.0.113.9", 0, 0)


async def told(request: Inbound) -> tuple[int, dict[str, object], list[str]]:
    """(status, document, tasks that were asked about)."""
    asked: list[str] = []

    async def hint(task_id: str) -> None:
        asked.append(task_id)

    def refusal(request_id: str, error: ApiError) -> tuple[bytes, bytes]:
        return b"", json.dumps({"code": error.code}).encode()

    caller = Caller()
    await Notices(URLS, hint, refusal).handle(request, caller)
    assert caller.answer is not None
    return caller.answer[0], json.loads(caller.answer[2]), asked


def url(task_id: str = TASK) -> str:
    found = URLS.url(task_id)
    assert found is not None
    return found


async def test_our_own_address_makes_us_ask() -> None:
    assert await told(inbound(url(), b'{"status":"failed"}')) == (200, {}, [TASK])


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b'{"challenge":{}}', b"x" * 10_000])
async def test_what_a_notice_says_is_not_read(body: bytes) -> None:
    assert await told(inbound(url(), body)) == (200, {}, [TASK])


async def test_a_challenge_is_repeated() -> None:
    status, document, _ = await told(inbound(url(), b'{"challenge":"abc"}'))
    assert (status, document) == (200, {"challenge": "abc"})


@pytest.mark.parametrize(
    "wrong",
    [
        url().replace(TASK, OTHER),
        url()[:-1] + ("A" if url()[-1] != "A" else "B"),
        url().partition("?")[0],
        url() + "&x=1",
        "https://gateway.test/notices/../files?s=" + "A" * 43,
    ],
)
async def test_a_guess_is_not_found(wrong: str) -> None:
    assert await told(inbound(wrong)) == (404, {"code": "REQUEST_004"}, [])


async def test_other_methods_and_large_bodies_are_refused() -> None:
    assert (await told(inbound(url(), method="GET")))[::2] == (405, [])
    assert (await told(inbound(url(), b"x" * (2 << 20))))[::2] == (413, [])


@pytest.mark.parametrize("base_url", ["http://gateway.test", ""])
def test_no_address_where_nobody_could_reach_us_safely(base_url: str) -> None:
    assert NoticeUrls(b"k" * 32, base_url).url(TASK) is None
