"""A head that was read before: recognised byte for byte, and never where it should not be."""

from __future__ import annotations

import asyncio
import socket
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.web.test_front import OK, connect, front, settle
from tokenmarket.core.wire import Client, Inbound
from tokenmarket.web.known_head import BODY_BYTES_MAX, Heads, learn, no_heads

HEAD = b"POST /p?q=1 HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\nX-A: b\r\n\r\n"


def whole(body: bytes) -> bytes:
    return HEAD % len(body) + body


def learned(body: bytes = b"hello", heads: Heads | None = None) -> object:
    headers = {b"host": b"h", b"content-length": b"%d" % len(body), b"x-a": b"b"}
    return learn(whole(body), "/p", b"q=1", headers, body, no_heads() if heads is None else heads)


def test_the_same_head_with_any_body() -> None:
    known = learn(whole(b"hello"), "/p", b"q=1", {b"content-length": b"5"}, b"hello", no_heads())
    assert known is not None
    assert known.body_of(whole(b"hello")) == b"hello"
    assert known.body_of(whole(b"x" * 1234)) == b"x" * 1234
    assert known.body_of(whole(b"")) == b""
    assert known.headers_for(b"world") is known.headers
    assert known.headers_for(b"longer") == {b"content-length": b"6"}
    assert known.headers == {b"content-length": b"5"}


@pytest.mark.parametrize(
    "data",
    [
        whole(b"hello")[:-1],
        whole(b"hello") + b"P",
        whole(b"hello") + whole(b"hello"),
        whole(b"hello").replace(b"h\r", b"i\r", 1),
        whole(b"hello").replace(b": b", b": c"),
        whole(b"hello").replace(b": 5", b": +5"),
        whole(b"hello").replace(b": 5", b": "),
        whole(b"hello").replace(b": 5", b": 5 "),
        whole(b"hello").replace(b": 5", b": 0000000005"),
        whole(b"hello").replace(b": 5", b": 5, 5"),
        whole(b"hello")[:20],
        b"",
    ],
)
def test_anything_else_is_not_known(data: bytes) -> None:
    known = learn(whole(b"hello"), "/p", b"q=1", {b"content-length": b"5"}, b"hello", no_heads())
    assert known is not None
    assert known.body_of(data) is None


def test_what_is_not_learned() -> None:
    chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert learn(chunked, "/", b"", {b"transfer-encoding": b"chunked"}, b"", no_heads()) is None
    waiting = {b"content-length": b"5", b"expect": b"100-continue"}
    assert learn(whole(b"hello"), "/p", b"", waiting, b"hello", no_heads()) is None
    large = b"x" * (BODY_BYTES_MAX + 1)
    assert learned(large) is None
    # Two requests in one read: the bytes before the body are not one head.
    two = whole(b"hello") + whole(b"hello")
    assert learn(two, "/p", b"", {b"content-length": b"5"}, b"hello", no_heads()) is None


def test_connections_share_a_head_and_forget_it_with_the_last() -> None:
    heads = no_heads()
    first, second = learned(heads=heads), learned(b"other body", heads)
    assert first is second is not None
    assert len(heads) == 1
    del first, second
    assert not heads


async def _served(pieces: list[bytes]) -> list[tuple[bytes, ...]]:
    seen: list[tuple[bytes, ...]] = []

    async def handler(inbound: Inbound, client: Client) -> None:
        await asyncio.sleep(0)
        headers = b"|".join(b"%b=%b" % pair for pair in inbound.headers.items())
        seen.append((inbound.path.encode(), inbound.query, inbound.body, headers))
        client.respond(200, OK, inbound.body)

    of = front(handler)
    connection, paper = connect(of)
    paper.socket, other = socket.socketpair()
    for piece in pieces:
        connection.data_received(piece)
        await settle(of)
    paper.socket.close()
    other.close()
    assert not paper.aborted
    assert paper.written.count(b"HTTP/1.1 200 OK") == len(seen)
    return seen


@given(
    bodies=st.lists(st.binary(max_size=30), min_size=1, max_size=5),
    cuts=st.lists(st.integers(0, 600), max_size=6),
)
def test_the_same_requests_however_they_arrive(bodies: list[bytes], cuts: list[int]) -> None:
    """Whole, pipelined or cut: what the handler sees is the same."""
    data = b"".join(whole(body) for body in bodies)
    at = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    pieces = [data[start:stop] for start, stop in pairwise(at) if start < stop]
    expected = asyncio.run(_served([whole(body) for body in bodies]))
    assert asyncio.run(_served(pieces)) == expected
    assert [body for _, _, body, _ in expected] == bodies
