"""``UpstreamResponse.relay``: chunks go to the reader's function as they arrive."""

from __future__ import annotations

import asyncio

import pytest

from tokenmarket.core.catalog import Timeouts
from tokenmarket.core.errors import UpstreamError
from tokenmarket.upstream.response import UpstreamResponse


def made() -> UpstreamResponse:
    response = UpstreamResponse(0.0, 0.0, Timeouts(), False)
    response.head_s = 1.0
    return response


def arrives(response: UpstreamResponse, data: bytes) -> None:
    """As ``Connection.data_received`` does it."""
    response.inbox.append(data)
    response.queued_bytes += len(data)
    if response.waiter is not None:
        response.wake()


def ends(response: UpstreamResponse) -> None:
    """As ``Connection._finish`` does it: the waiter is resolved without ``wake``."""
    response.complete = True
    waiter, response.waiter = response.waiter, None
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


async def test_chunks_are_taken_without_a_task_switch() -> None:
    response, taken = made(), list[bytes]()
    task = asyncio.ensure_future(response.relay(lambda data: bool(taken.append(data))))
    await asyncio.sleep(0)
    for number in range(3):
        arrives(response, b"%d" % number)
        assert taken[-1] == b"%d" % number  # at once, in the caller's own call
    assert not task.done()
    ends(response)
    assert await task is False
    assert taken == [b"0", b"1", b"2"]


async def test_the_last_chunk_may_come_with_the_end() -> None:
    response, taken = made(), list[bytes]()
    task = asyncio.ensure_future(response.relay(lambda data: bool(taken.append(data))))
    await asyncio.sleep(0)
    response.inbox.append(b"last")
    ends(response)
    assert await task is False
    assert taken == [b"last"]


async def test_a_reader_that_wants_a_rest_gets_it_and_loses_nothing() -> None:
    response, taken = made(), list[bytes]()

    def one(data: bytes) -> bool:
        taken.append(data)
        return True

    task = asyncio.ensure_future(response.relay(one))
    await asyncio.sleep(0)
    arrives(response, b"a")
    arrives(response, b"b")  # while it rests
    arrives(response, b"c")
    assert await task is True
    assert taken == [b"a"]
    assert await response.relay(one) is True
    assert taken == [b"a", b"bc"]
    ends(response)
    assert await response.relay(one) is False


async def test_what_the_reader_raises_comes_out_of_relay() -> None:
    response = made()

    def refuse(data: bytes) -> bool:
        raise UpstreamError("upstream_error", data.decode())

    task = asyncio.ensure_future(response.relay(refuse))
    await asyncio.sleep(0)
    arrives(response, b"no chunk")
    arrives(response, b"more")  # goes to nobody
    with pytest.raises(UpstreamError, match="no chunk"):
        await task
    assert response.inbox == [b"more"]


async def test_good_bytes_before_a_failure_are_taken_first() -> None:
    response, taken = made(), list[bytes]()
    task = asyncio.ensure_future(response.relay(lambda data: bool(taken.append(data))))
    await asyncio.sleep(0)
    response.inbox.append(b"good")
    response.error = UpstreamError("stream_broken", "reset")
    response.wake()
    with pytest.raises(UpstreamError, match="reset"):
        await task
    assert taken == [b"good"]


async def test_a_cancelled_reader_takes_nothing_more() -> None:
    response, taken = made(), list[bytes]()
    task = asyncio.ensure_future(response.relay(lambda data: bool(taken.append(data))))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    arrives(response, b"late")
    assert taken == []
