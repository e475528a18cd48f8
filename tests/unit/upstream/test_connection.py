"""The parser side of the client without sockets: framing, limits, cuts, timers, back-pressure."""

from __future__ import annotations

import asyncio
import gzip
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.upstream.fake import Seen, Stage, cut, outcome, play
from tokenmarket.core.catalog import Timeouts
from tokenmarket.core.errors import UpstreamError
from tokenmarket.upstream.connection import QUEUE_BYTES_MAX

OK = b"HTTP/1.1 200 OK\r\n"
BODY = b'{"choices":[{"message":{"content":"hello"}}]}'


def sized(body: bytes = BODY, more: bytes = b"") -> bytes:
    return OK + b"Content-Length: %d\r\n%s\r\n%s" % (len(body), more, body)


def chunked(parts: list[bytes], more: bytes = b"", trailer: bytes = b"") -> bytes:
    lines = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts if part)
    return OK + b"Transfer-Encoding: chunked\r\n%s\r\n%s0\r\n%s\r\n" % (more, lines, trailer)


EVENTS = [b": keep-alive\n\n", b'data: {"a":1}\n\n', b"data: [DONE]\n\n"]
GZIP = b"Content-Encoding: gzip\r\n"
RESPONSES: dict[str, tuple[bytes, bytes]] = {
    "sized": (sized(), BODY),
    "empty": (sized(b""), b""),
    "chunked": (chunked(EVENTS, b"Content-Type: text/event-stream\r\n"), b"".join(EVENTS)),
    "one-byte chunks": (chunked([BODY[i : i + 1] for i in range(len(BODY))]), BODY),
    "trailers": (chunked(EVENTS, trailer=b"X-A: 1\r\nX-B: 2\r\n"), b"".join(EVENTS)),
    "no content": (b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n", b""),
    "continue": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nLink: x\r\n\r\n" + sized(), BODY),
    "empty lines first": (b"\r\n\r\n" + sized(), BODY),
    "gzip": (sized(gzip.compress(BODY), GZIP), BODY),
    "gzip chunked": (chunked([gzip.compress(BODY)[:9], gzip.compress(BODY)[9:]], GZIP), BODY),
    "deflate": (sized(zlib.compress(BODY), b"content-encoding: deflate\r\n"), BODY),
    "raw deflate": (sized(zlib.compress(BODY, wbits=-15), b"content-encoding: deflate\r\n"), BODY),
    "closing": (sized(more=b"Connection: close\r\n"), BODY),
    "http 1.0": (sized().replace(b"1.1", b"1.0"), BODY),
    "error": (sized().replace(b"200 OK", b"429 Too Many"), BODY),
}


def same(seen: Seen) -> tuple[object, ...]:
    # What was kept of a broken body may depend on the cut; that it broke may not.
    return seen.status, seen.headers, seen.body if seen.error is None else None, seen.error


@pytest.mark.parametrize("name", RESPONSES)
def test_any_cut_gives_the_same_answer(name: str) -> None:
    data, body = RESPONSES[name]
    runner = asyncio.Runner()

    @settings(deadline=None)
    @given(st.lists(st.integers(0, 1000), max_size=8), st.booleans())
    def check(places: list[int], whole: bool) -> None:
        seen = runner.run(play(cut(data, places), eof=False, whole=whole))
        assert seen.error is None
        assert seen.body == body
        assert seen.headers.get("content-encoding") is None

    with runner:
        check()
        every_byte = runner.run(play([bytes([byte]) for byte in data], eof=False))
        assert same(every_byte) == same(runner.run(play([data], eof=False)))


@pytest.mark.parametrize("name", RESPONSES)
async def test_a_truncated_answer_is_never_a_success(name: str) -> None:
    data, _ = RESPONSES[name]
    for end in range(len(data)):
        for pieces in ([data[:end]], [bytes([byte]) for byte in data[:end]]):
            seen = await play(pieces)
            assert seen.error in {"upstream_error", "stream_broken"}, (end, seen)
            assert not seen.kept


@settings(deadline=None)
@given(st.binary(max_size=300), st.lists(st.integers(0, 400), max_size=5), st.booleans())
def test_arbitrary_bytes_end_in_an_error(data: bytes, places: list[int], lead: bool) -> None:
    data = (OK if lead else b"") + data

    async def check() -> None:
        seen = await play(cut(data, places))
        assert seen.error is not None or lead  # bytes without a status line are no answer
        assert seen.error is not None or seen.status == 200

    asyncio.run(check())


HOSTILE: dict[str, tuple[bytes, str]] = {
    "garbage": (b"SSH-2.0-OpenSSH\r\n\r\n", "upstream_error"),
    "another protocol": (sized().replace(b"HTTP/1.1", b"RTSP/1.0"), "upstream_error"),
    "negative length": (OK + b"Content-Length: -5\r\n\r\nhello", "upstream_error"),
    "signed length": (OK + b"Content-Length: +5\r\n\r\nhello", "upstream_error"),
    "hex length": (OK + b"Content-Length: 0x5\r\n\r\nhello", "upstream_error"),
    "two lengths": (
        OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "upstream_error",
    ),
    "length list": (OK + b"Content-Length: 5, 5\r\n\r\nhello", "upstream_error"),
    "huge length": (OK + b"Content-Length: 99999999999999999999\r\n\r\n", "upstream_error"),
    "both framings": (
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "upstream_error",
    ),
    "both framings, other order": (
        OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "upstream_error",
    ),
    "gzip transfer coding": (
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "upstream_error",
    ),
    "unknown transfer coding": (OK + b"Transfer-Encoding: x\r\n\r\n", "upstream_error"),
    "hidden transfer coding": (
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\nabc",
        "stream_broken",
    ),
    "folded header": (OK + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n", "upstream_error"),
    "bare line feeds": (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", "upstream_error"),
    "NUL in a value": (OK + b"X: a\0b\r\nContent-Length: 0\r\n\r\n", "upstream_error"),
    "space before the colon": (OK + b"Content-Length : 0\r\n\r\n", "upstream_error"),
    "status 999": (b"HTTP/1.1 999 No\r\nContent-Length: 0\r\n\r\n", "upstream_error"),
    "status 099": (b"HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n", "upstream_error"),
    "switching": (
        b"HTTP/1.1 101 S\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\nPRI",
        "upstream_error",
    ),
    "only informational": (b"HTTP/1.1 100 Continue\r\n\r\n" * 3, "upstream_error"),
    "endless informational": (b"HTTP/1.1 100 Continue\r\n\r\n" * 4000, "upstream_error"),
    "head of 100 kB": (
        OK + b"X: " + b"a" * 100_000 + b"\r\nContent-Length: 0\r\n\r\n",
        "upstream_error",
    ),
    "head without end": (OK + b"X: " + b"a" * 100_000, "upstream_error"),
    "201 headers": (
        OK + b"".join(b"X-%d: 1\r\n" % i for i in range(201)) + b"\r\n",
        "upstream_error",
    ),
    "bad chunk size": (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "stream_broken"),
    "negative chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", "stream_broken"),
    "huge chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 20, "stream_broken"),
    "chunk too long": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
        "stream_broken",
    ),
    "endless trailers": (
        chunked([b"a"])[:-2] + b"X: " + b"a" * 200_000,
        "stream_broken",
    ),
    "brotli": (sized(b"x", b"Content-Encoding: br\r\n"), "upstream_error"),
    "coded twice": (sized(b"x", b"Content-Encoding: gzip, gzip\r\n"), "upstream_error"),
    "not gzip": (sized(b"not gzip at all", GZIP), "upstream_error"),
    "gzip and more": (sized(gzip.compress(b"a") + b"more", GZIP), "upstream_error"),
    "gzip cut short": (sized(gzip.compress(BODY)[:-4], GZIP), "stream_broken"),
    "gzip bomb": (sized(gzip.compress(b"a" * 50_000_000), GZIP), "upstream_error"),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_answers(name: str) -> None:
    data, kind = HOSTILE[name]
    step = 8192
    for pieces in ([data], [data[i : i + step] for i in range(0, len(data), step)]):
        seen = await play(pieces)
        assert seen.error == kind
        assert not seen.kept


async def test_a_body_without_length_ends_with_the_connection() -> None:
    seen = await play([OK + b"\r\nab", b"cd"])
    assert (seen.error, seen.body, seen.kept) == (None, b"abcd", False)


async def test_a_body_without_length_is_broken_by_a_reset() -> None:
    stage = Stage()
    stage.feed(OK + b"\r\nab")
    stage.connection.connection_lost(ConnectionResetError())
    assert (await outcome(stage)).error == "stream_broken"


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (sized(), True),
        (chunked([b"a"]), True),
        (sized(more=b"Connection: close\r\n"), False),
        (sized().replace(b"1.1", b"1.0"), False),
        (sized(more=b"Connection: keep-alive\r\n").replace(b"1.1", b"1.0"), True),
        (sized() + sized(), False),
        (sized() + b"HT", False),
        (sized() + b"garbage", False),
    ],
    ids=["sized", "chunked", "close", "1.0", "1.0 keep-alive", "two", "begun", "garbage"],
)
async def test_what_goes_back_to_the_pool(data: bytes, kept: bool) -> None:
    seen = await play([data], eof=False)
    assert (seen.error, seen.kept) == (None, kept)


async def test_an_unfinished_request_is_not_followed_by_another() -> None:
    stage = Stage()
    stage.transport.unsent = 1  # the upstream answered before it had read everything
    stage.feed(sized())
    assert stage.home.kept == 0
    assert stage.transport.closed


async def test_head_has_no_body_and_is_not_kept() -> None:
    seen = await play([OK + b"Content-Length: 500\r\n\r\n"], eof=False, method="HEAD")
    assert (seen.error, seen.body, seen.kept) == (None, b"", False)
    assert seen.headers == {"content-length": "500"}


async def test_not_modified_has_no_body() -> None:
    seen = await play([b"HTTP/1.1 304 N\r\nContent-Length: 500\r\n\r\n"], eof=False)
    assert (seen.error, seen.body, seen.kept) == (None, b"", True)


async def test_trailers_do_not_leak_into_the_next_answer() -> None:
    stage = Stage()
    stage.feed(chunked([b"a"], trailer=b"X-Evil: 1\r\nX-Worse: 2\r\n"))
    stage.ask(reused=True)
    stage.feed(sized())
    seen = await outcome(stage)
    assert (seen.error, seen.headers) == (None, {"content-length": str(len(BODY))})


async def test_headers_of_informational_answers_do_not_leak() -> None:
    early = b"HTTP/1.1 103 Early\r\nContent-Encoding: br\r\nX-Early: 1\r\n\r\n"
    for pieces in ([early + sized()], [early, sized()], [early[:40], early[40:] + sized()]):
        seen = await play(pieces, eof=False)
        assert (seen.error, seen.headers) == (None, {"content-length": str(len(BODY))})


async def test_unasked_bytes_close_an_idle_connection() -> None:
    stage = Stage()
    stage.feed(sized())
    assert not stage.transport.closed
    stage.feed(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert stage.transport.closed
    assert (await outcome(stage)).error is None


async def test_a_reused_connection_that_closes_instead_of_answering() -> None:
    stage = Stage()
    stage.feed(sized())
    stage.ask(reused=True)
    stage.eof()
    await stage.waiter
    with pytest.raises(UpstreamError) as raised:
        stage.response.check_head()
    assert (raised.value.kind, raised.value.stage) == ("upstream_error", "reuse")


async def test_one_byte_of_an_answer_makes_it_no_reuse_race() -> None:
    stage = Stage()
    stage.feed(sized())
    stage.ask(reused=True)
    stage.feed(b"H")
    stage.eof()
    assert stage.response.error is not None
    assert stage.response.error.stage is None


async def test_keep_alive_promise_is_obeyed() -> None:
    stage = Stage()
    stage.feed(sized(more=b"Keep-Alive: timeout=5, max=100\r\n"))
    stage.clock.now_s += 3.9
    assert not stage.transport.is_closing()
    stage.connection.expire(stage.clock())
    assert not stage.transport.closed
    stage.clock.now_s += 0.2
    assert not stage.connection.usable(stage.clock())
    stage.connection.expire(stage.clock())
    assert stage.transport.closed


# ---------------------------------------------------------------------------------- timers


def stages_of(stage: Stage) -> str | None:
    stage.connection.expire(stage.clock())
    error = stage.response.error
    return None if error is None else error.stage


async def test_first_byte_timer_ignores_keep_alive() -> None:
    stage = Stage(timeouts=Timeouts(first_byte=10, idle=1, total=100))
    stage.feed(OK + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for comment in (b": kee", b"p-alive\n", b"\r\n", b":\n\n"):
        stage.clock.now_s += 2.4
        stage.feed(b"%x\r\n%s\r\n" % (len(comment), comment))
        assert stages_of(stage) is None
    assert stage.response.first_data_us is None
    stage.clock.now_s += 0.5
    assert stages_of(stage) == "first_byte"
    assert await stage.response.chunk() == b": keep-alive\n\r\n:\n\n"
    with pytest.raises(UpstreamError, match="first_byte timeout of 10 s"):
        await stage.response.chunk()


async def test_idle_timer_counts_from_the_last_byte() -> None:
    stage = Stage(timeouts=Timeouts(first_byte=10, idle=5, total=100))
    stage.feed(OK + b"Content-Type: text/event-stream\r\n\r\n: x\n\ndata: 1\n\n")
    assert stage.response.first_data_us == 0
    for _ in range(3):
        stage.clock.now_s += 4
        stage.feed(b": ping\n\n")
        assert stages_of(stage) is None
    stage.clock.now_s += 5
    assert stages_of(stage) == "idle"


async def test_total_timer() -> None:
    stage = Stage(timeouts=Timeouts(first_byte=10, idle=5, total=12))
    stage.feed(OK + b"\r\n{")
    for _ in range(3):
        stage.clock.now_s += 3.9
        stage.feed(b" ")
        assert stages_of(stage) is None
    stage.clock.now_s += 1
    assert stages_of(stage) == "total"


async def test_first_byte_timer_before_the_head() -> None:
    stage = Stage(timeouts=Timeouts(first_byte=10))
    stage.clock.now_s += 9.9
    stage.feed(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert stages_of(stage) is None
    stage.clock.now_s += 0.2
    assert stages_of(stage) == "first_byte"
    assert stage.transport.closed
    assert (await outcome(stage)).error == "timeout"


async def test_binary_that_looks_like_keep_alive_is_data() -> None:
    stage = Stage()
    stage.feed(OK + b"Content-Type: audio/pcm\r\n\r\n::\n")
    assert stage.response.first_data_us == 0


# --------------------------------------------------------------------------- back-pressure


async def test_a_slow_reader_pauses_the_upstream_and_its_idle_timer() -> None:
    stage = Stage(timeouts=Timeouts(idle=5, total=100))
    body = b"x" * (QUEUE_BYTES_MAX + 1)
    stage.feed(OK + b"Content-Length: %d\r\n\r\n" % (len(body) + 1))
    await stage.waiter
    stage.feed(body)
    assert stage.transport.paused
    stage.clock.now_s += 50
    assert stages_of(stage) is None
    assert await stage.response.chunk() == body
    assert not stage.transport.paused
    stage.clock.now_s += 4.9
    assert stages_of(stage) is None
    stage.feed(b"y")
    assert await stage.response.chunk() == b"y"
    assert await stage.response.chunk() == b""
    assert await stage.response.chunk() == b""


async def test_read_does_not_pause_and_is_bounded() -> None:
    stage = Stage()
    stage.feed(OK + b"Content-Length: 1000000\r\n\r\n" + b"x" * 70_000)
    assert stage.transport.paused
    reading = asyncio.ensure_future(stage.response.read(100_000))
    await asyncio.sleep(0)
    assert not stage.transport.paused
    stage.feed(b"x" * 30_000)
    await asyncio.sleep(0)
    assert not reading.done()
    stage.feed(b"x")
    with pytest.raises(UpstreamError, match="larger than 100000 bytes"):
        await reading
    assert stage.transport.closed


async def test_read_of_a_finished_answer_does_not_wait() -> None:
    stage = Stage()
    stage.feed(sized())
    reading = stage.response.read(1000)
    with pytest.raises(StopIteration) as stopped:
        reading.send(None)
    assert stopped.value.value == BODY
    stage.ask()
    stage.feed(sized())
    with pytest.raises(UpstreamError, match="larger than 3 bytes"):
        stage.response.read(3).send(None)


async def test_abort_closes_and_wakes() -> None:
    stage = Stage()
    stage.feed(OK + b"\r\nab")
    assert await stage.response.chunk() == b"ab"
    reading = asyncio.ensure_future(stage.response.chunk())
    await asyncio.sleep(0)
    stage.response.abort()
    assert stage.transport.closed
    with pytest.raises(UpstreamError):
        await reading


async def test_abort_after_the_end_does_nothing() -> None:
    stage = Stage()
    stage.feed(sized())
    stage.response.abort()
    assert not stage.transport.closed
    assert stage.home.kept == 1
