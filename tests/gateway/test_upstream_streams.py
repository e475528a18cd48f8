"""Streams that go wrong after their first byte, and those that end strangely but well."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from tests.gateway.site import Lane, Org, Site, eventually
from tests.gateway.upstream import (
    DONE,
    END,
    STREAM_HEAD,
    TOLD,
    Act,
    Link,
    Seen,
    chunk,
    events,
    framed,
    raw,
    streams,
)
from tests.gateway.wire import Answer, check_error

pytestmark = pytest.mark.asyncio(loop_scope="module")
LANES = 25

GOOD = Decimal("0.000017")
FAILURE = b'data: {"error":{"message":"the machine is on fire","type":"server_error"}}\n\n'


async def never_ending_event(link: Link, _: Seen) -> None:
    """An event that grows and grows."""
    await link.send(STREAM_HEAD + framed(chunk("one")))
    await link.send(framed(b'data: {"choices":[{"delta":{"content":"'))
    while not link.reader.at_eof():
        await link.send(framed(b"y" * 500_000))


async def comments_for_ever(link: Link, _: Seen) -> None:
    """Keep-alive comments and never a word."""
    await link.send(STREAM_HEAD)
    while not link.reader.at_eof():
        await link.send(framed(b": still here\n\n"))
        await asyncio.sleep(0.05)


# name -> act, code in the error event, upstream's kind of failure on the receipt
BROKEN: dict[str, tuple[Act, str]] = {
    "reset": (streams("one", " two", end="reset"), "PROVIDER_001"),
    "closed": (streams("one", " two", end="close"), "PROVIDER_001"),
    "stalled": (streams("one", " two", end="stall"), "PROVIDER_TIMEOUT"),
    "ended without an end": (streams("one", " two", end="nodone"), "PROVIDER_001"),
    "an error event": (
        raw(events(chunk("one"), chunk(" two"), FAILURE, DONE)),
        "PROVIDER_001",
    ),
    "an event that is no JSON": (
        raw(events(chunk("one"), chunk(" two"), b"data: {broken\n\n", DONE)),
        "PROVIDER_001",
    ),
    "an event that is no chunk": (
        raw(events(chunk("one"), chunk(" two"), b"data: [1,2]\n\n", DONE)),
        "PROVIDER_001",
    ),
    "a broken chunk frame": (
        raw(STREAM_HEAD + framed(chunk("one")) + framed(chunk(" two")) + b"zz\r\n", then="close"),
        "PROVIDER_001",
    ),
    "an event without end": (never_ending_event, "PROVIDER_001"),
}


async def check_broken(org: Org, lane: Lane, answer: Answer, code: str) -> dict[str, Any]:
    """What was sent stays, one error event ends it, no [DONE], nothing is charged."""
    assert answer.status == 200
    *before, last = answer.events
    assert "[DONE]" not in answer.events
    assert all("error" not in event for event in before)
    error = check_error(last["error"])
    assert error["code"] == code
    assert error["request_id"] == answer.id
    receipt = await org.receipt(answer.id)
    assert receipt["status"] == "failed"
    assert receipt["error"]["code"] == code
    assert len(receipt["attempts"]) == 1
    assert receipt["attempts"][0]["error"]
    assert receipt["first_byte_ms"] is not None
    await org.settled()
    await eventually(lambda: not lane.upstream.busy(lane.a), "the upstream connection is closed")
    return receipt


@pytest.mark.parametrize("case", BROKEN)
async def test_a_stream_that_breaks_after_its_first_byte(site: Site, case: str) -> None:
    act, code = BROKEN[case]
    lane, org = site.lane(), await site.org(concurrency=1)
    lane.upstream.will(lane.a, act)
    answer = await org.chat(lane.chat("two", stream=True))
    said = answer.events[:-1]
    words = "".join(e["choices"][0]["delta"].get("content") or "" for e in said)
    assert words.startswith("one")
    await check_broken(org, lane, answer, code)
    assert lane.calls() == (1, 0, 0)  # never spliced from two upstreams
    assert (await org.chat(lane.chat("two"))).status == 200  # the place is free again


async def test_a_break_after_reported_usage_charges_the_report(site: Site) -> None:
    lane, org = site.lane(), await site.org()
    lane.upstream.will(
        lane.a, raw(events(chunk("one"), chunk(" two", usage=TOLD), end=False), then="reset")
    )
    answer = await org.chat(lane.chat(stream=True))
    assert "[DONE]" not in answer.events
    assert (await org.receipt(answer.id))["status"] == "failed"
    await org.settled(GOOD)


async def test_an_error_before_the_first_word_is_an_ordinary_error_answer(site: Site) -> None:
    lane, org = site.lane(), await site.org()
    lane.upstream.will(lane.a, raw(events(FAILURE, DONE)))
    answer = await org.chat(lane.chat(stream=True))
    answer.error(502, "PROVIDER_001", fault="provider", retryable=True)
    await org.settled()


async def test_comments_alone_are_not_a_first_byte(site: Site) -> None:
    lane, org = site.lane(), await site.org()
    lane.upstream.will(lane.a, comments_for_ever)
    answer = await org.chat(lane.chat(stream=True))
    answer.error(504, "PROVIDER_TIMEOUT")
    await org.settled()


async def test_an_empty_stream_is_no_answer(site: Site) -> None:
    lane, org = site.lane(), await site.org()
    lane.upstream.will(lane.a, raw(STREAM_HEAD + END))
    (await org.chat(lane.chat(stream=True))).error(502, "PROVIDER_001")
    await org.settled()


async def test_json_where_a_stream_was_promised(site: Site) -> None:
    lane, org = site.lane(), await site.org()
    lane.upstream.will(
        lane.a, raw(b'HTTP/1.1 200 OK\r\ncontent-length: 26\r\n\r\n{"message":"no stream now"}')
    )
    (await org.chat(lane.chat(stream=True))).error(502, "PROVIDER_001")
    await org.settled()


TELLING: dict[str, tuple[bytes, ...]] = {
    "once at the end": (chunk("Hi"), chunk(finish="stop"), chunk(choices=[], usage=TOLD), DONE),
    "twice": (
        chunk("Hi"),
        chunk(finish="stop"),
        chunk(choices=[], usage=TOLD),
        chunk(choices=[], usage=TOLD),
        DONE,
    ),
    "on every chunk": (
        chunk("Hi", usage={"prompt_tokens": 7, "completion_tokens": 1}),
        chunk(finish="stop", usage=TOLD),
        DONE,
    ),
    "a final chunk twice": (
        chunk("Hi"),
        chunk(finish="stop"),
        chunk(finish="stop", usage=TOLD),
        DONE,
        DONE,
    ),
    "null before": (chunk("Hi", usage=None), chunk(finish="stop", usage=TOLD), DONE),
    "something after the end": (
        chunk("Hi"),
        chunk(finish="stop", usage=TOLD),
        DONE,
        chunk(" and more", usage={"prompt_tokens": 900, "completion_tokens": 900}),
    ),
    "without [DONE]": (chunk("Hi"), chunk(finish="stop", usage=TOLD)),
}


@pytest.mark.parametrize("asked", [False, True], ids=["not asked", "asked"])
@pytest.mark.parametrize("case", TELLING)
async def test_usage_is_charged_once_however_it_is_told(site: Site, case: str, asked: bool) -> None:
    lane, org = site.lane_shared("telling"), await site.org(concurrency=1)
    lane.upstream.will(lane.a, raw(events(*TELLING[case])))
    more = {"stream_options": {"include_usage": True}} if asked else {}
    answer = await org.chat(lane.chat(stream=True, **more))
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "x-tokenmarket-cost" not in answer.headers  # not known at the head
    found = answer.events
    assert found[-1] == "[DONE]"
    assert found.count("[DONE]") == 1
    assert answer.text == "Hi"
    chunks = [event for event in found if event != "[DONE]"]
    assert {event["id"] for event in chunks} == {chunks[0]["id"]}
    finishes = [c["finish_reason"] for e in chunks for c in e["choices"] if c["finish_reason"]]
    assert set(finishes) == {"stop"}
    if asked:
        *others, last = chunks
        assert last["choices"] == []
        assert last["usage"]["total_tokens"] == 12
        assert Decimal(last["usage"]["cost_details"]["total"]) == GOOD
        assert all(event.get("usage") is None for event in others)
    else:  # exactly as OpenAI's without it
        assert all("usage" not in event for event in chunks)
        assert all(event["choices"] for event in chunks)
    receipt = await org.receipt(answer.id)
    assert receipt["status"] == "succeeded"
    assert receipt["finish_reason"] == "stop"
    await org.settled(GOOD)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
async def test_any_cut_of_the_bytes_gives_the_same_stream(site: Site, size: int) -> None:
    lane, org = site.lane_shared("telling"), await site.org()
    body = chunk("Grüße, 世界 🌍") + chunk(finish="stop", usage=TOLD) + DONE

    async def dripping(link: Link, _: Seen) -> None:
        await link.send(STREAM_HEAD)
        for start in range(0, len(body), size):
            await link.send(framed(body[start : start + size]))
            if start % 40 == 0:
                await asyncio.sleep(0)
        await link.send(END)

    lane.upstream.will(lane.a, dripping)
    answer = await org.chat(lane.chat(stream=True))
    assert answer.text == "Grüße, 世界 🌍"
    await org.settled(GOOD)


async def test_error_text_as_content_is_content(site: Site) -> None:
    """Delivered and reported: it is not ours to judge words."""
    lane, org = site.lane_shared("telling"), await site.org()
    lane.upstream.will(lane.a, streams("Error: 503 Service Unavailable"))
    answer = await org.chat(lane.chat(stream=True))
    assert answer.text == "Error: 503 Service Unavailable"
    await org.settled(GOOD)


async def test_more_output_than_was_paid_for_is_cut(site: Site) -> None:
    """Meter enforces (design/billing.md 4.1): max_tokens is 1, the upstream never stops."""
    lane, org = site.lane(), await site.org()
    sent = 0

    async def chatter(link: Link, _: Seen) -> None:
        nonlocal sent
        await link.send(STREAM_HEAD)
        while not link.reader.at_eof():
            await link.send(framed(b"".join(chunk("more ") for _ in range(50))))
            sent += 50
            await asyncio.sleep(0)

    lane.upstream.will(lane.a, chatter)
    answer = await org.chat(lane.chat(stream=True, max_tokens=1))
    assert "[DONE]" not in answer.events
    assert answer.text.count("more ") < 5_000
    await org.settled()
