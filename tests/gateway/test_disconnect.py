"""Clients that leave, read slowly or close half, at every stage of a request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from tests.gateway.site import CHAT, Lane, Org, Site, eventually
from tests.gateway.upstream import (
    DONE,
    END,
    STREAM_HEAD,
    TOLD,
    Link,
    Seen,
    chunk,
    completion,
    framed,
    http,
    silent,
)
from tests.gateway.wire import Wire, raw_request

pytestmark = pytest.mark.asyncio(loop_scope="module")
LANES = 25

GOOD = Decimal("0.000017")
LEAVE: dict[str, Callable[[Wire], None]] = {
    "FIN": lambda wire: wire.writer.close(),
    "RST": lambda wire: wire.reset(),
}


async def begun(
    site: Site, org: Org, body: Any, *, headers: dict[str, str] | None = None, **open_: int
) -> Wire:
    """A connection on which this chat has been asked."""
    org.asked += 1
    wire = await Wire.open(site.port, **open_)
    data = json.dumps(body).encode()
    await wire.write(raw_request("POST", CHAT, data, key=org.key, headers=headers))
    return wire


async def ended(org: Org) -> dict[str, Any]:
    """The one receipt of the organisation, when the request is over."""
    found: list[dict[str, Any]] = []

    async def there() -> bool:
        found[:] = await org.receipts()
        return bool(found)

    await eventually(there, "the request has ended")
    (receipt,) = found
    return receipt


def asked(lane: Lane, provider: str) -> Callable[[], bool]:
    return lambda: len(lane.upstream.of(provider)) > 0


async def holding(org: Org) -> None:
    async def held() -> bool:
        return (await org.credits())[1] > 0

    await eventually(held, "the hold is seen")


@pytest.mark.parametrize("how", LEAVE)
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_leaving_before_the_upstream_answers(site: Site, how: str, stream: bool) -> None:
    lane, org = site.lane(), await site.org(concurrency=1)
    lane.upstream.will(lane.a, silent)
    wire = await begun(site, org, lane.chat("two", stream=stream))
    await eventually(asked(lane, lane.a), "the upstream is asked")
    await holding(org)
    LEAVE[how](wire)
    receipt = await ended(org)
    assert receipt["status"] == "cancelled"
    assert receipt["error"]["code"] == "CLIENT_001"
    assert receipt["first_byte_ms"] is None
    await org.settled()
    await eventually(lambda: not lane.upstream.busy(lane.a), "the upstream call is aborted")
    assert lane.calls() == (1, 0, 0)
    assert (await org.chat(lane.chat("one"))).status == 200  # neither held back nor cooled down


@pytest.mark.parametrize("how", LEAVE)
async def test_leaving_after_the_head_and_before_the_first_event(site: Site, how: str) -> None:
    lane, org = site.lane(), await site.org(concurrency=1)

    async def head_only(link: Link, _: Seen) -> None:
        await link.send(STREAM_HEAD)
        await link.until_gone()

    lane.upstream.will(lane.a, head_only)
    wire = await begun(site, org, lane.chat(stream=True))
    await eventually(asked(lane, lane.a), "the upstream is asked")
    await eventually(lambda: lane.upstream.links[-1].sent > 0, "its head is sent")
    LEAVE[how](wire)
    assert (await ended(org))["status"] == "cancelled"
    await org.settled()
    await eventually(lambda: not lane.upstream.busy(lane.a), "the upstream call is aborted")


@pytest.mark.parametrize("how", LEAVE)
async def test_leaving_in_mid_stream_pays_what_was_delivered(site: Site, how: str) -> None:
    lane, org = site.lane(), await site.org(concurrency=1)

    async def talks_on(link: Link, _: Seen) -> None:
        await link.send(STREAM_HEAD)
        for _ in range(10):
            await link.send(framed(chunk("word ")))
        await link.until_gone()

    lane.upstream.will(lane.a, talks_on)
    wire = await begun(site, org, lane.chat(stream=True))
    head = await wire.head()
    assert head.status == 200
    got = b""
    while got.count(b"word ") < 10:
        got += await wire.piece()
    LEAVE[how](wire)
    receipt = await ended(org)
    assert receipt["status"] == "cancelled"
    assert receipt["error"]["code"] == "CLIENT_001"
    assert receipt["usage"]["estimated"] is True
    assert receipt["usage"]["output_tokens"] in (9, 10)  # the first event may only say the role
    charged, held = (Decimal(receipt["amounts"][name]) for name in ("charged", "held"))
    output = 9 * Decimal("0.000002")
    assert output < charged <= held  # something for the input too
    assert receipt["attempts"][0]["status"] == 200
    await org.settled(charged)
    await eventually(lambda: not lane.upstream.busy(lane.a), "the upstream call is aborted")
    assert (await org.chat(lane.chat())).status == 200


async def test_leaving_in_mid_stream_pays_what_the_upstream_counted(site: Site) -> None:
    lane, org = site.lane(), await site.org()

    async def counts(link: Link, _: Seen) -> None:
        await link.send(STREAM_HEAD + framed(chunk("word ", usage=TOLD)))
        await link.until_gone()

    lane.upstream.will(lane.a, counts)
    wire = await begun(site, org, lane.chat(stream=True))
    await wire.head()
    assert b"word" in await wire.piece()
    wire.reset()
    receipt = await ended(org)
    assert receipt["status"] == "cancelled"
    assert not receipt["usage"].get("estimated")
    await org.settled(GOOD)


async def test_an_estimate_is_never_above_the_hold(site: Site) -> None:
    """More events than max_tokens: the estimate stops at what was held."""
    lane, org = site.lane(), await site.org()

    async def talks_on(link: Link, _: Seen) -> None:
        await link.send(STREAM_HEAD + b"".join(framed(chunk("word ")) for _ in range(300)))
        await link.until_gone()

    lane.upstream.will(lane.a, talks_on)
    wire = await begun(site, org, lane.chat(stream=True, max_tokens=3))
    await wire.head()
    got = b""
    while got.count(b"word ") < 300:
        got += await wire.piece()
    wire.reset()
    receipt = await ended(org)
    charged, held = (Decimal(receipt["amounts"][name]) for name in ("charged", "held"))
    assert 0 < charged <= held
    await org.settled(charged)


async def test_leaving_between_the_last_word_and_the_end(site: Site) -> None:
    lane, org = site.lane(), await site.org()

    async def no_end_yet(link: Link, _: Seen) -> None:
        await link.send(STREAM_HEAD + framed(chunk("all")) + framed(chunk(finish="stop")))
        await link.until_gone()

    lane.upstream.will(lane.a, no_end_yet)
    wire = await begun(site, org, lane.chat(stream=True))
    await wire.head()
    got = b""
    while b'"stop"' not in got:
        got += await wire.piece()
    wire.reset()
    receipt = await ended(org)
    assert receipt["status"] == "cancelled"
    assert receipt["finish_reason"] == "stop"
    charged = Decimal(receipt["amounts"]["charged"])
    assert 0 < charged <= Decimal(receipt["amounts"]["held"])
    await org.settled(charged)


async def test_a_half_close_ends_the_request_like_leaving(site: Site) -> None:
    lane, org = site.lane(), await site.org(concurrency=1)
    lane.upstream.will(lane.a, silent)
    wire = await begun(site, org, lane.chat())
    await eventually(asked(lane, lane.a), "the upstream is asked")
    wire.writer.write_eof()
    assert (await ended(org))["status"] == "cancelled"
    await wire.ended()
    await wire.close()
    await org.settled()


async def test_a_request_cut_in_its_body_is_refused_and_takes_nothing(site: Site) -> None:
    lane, org = site.lane(), await site.org()
    wire = await Wire.open(site.port)
    data = json.dumps(lane.chat()).encode()
    await wire.write(raw_request("POST", CHAT, data, key=org.key)[:-5])
    wire.writer.write_eof()
    answer = await wire.answer()
    answer.error(400, "REQUEST_001", reason="cut")
    await wire.close()
    await org.settled()


@pytest.mark.parametrize("how", LEAVE)
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_with_an_idempotency_key_the_answer_is_finished_and_replayed(
    site: Site, how: str, stream: bool
) -> None:
    lane, org = site.lane(), await site.org(concurrency=1)
    go_on = asyncio.Event()

    async def in_two_parts(link: Link, _: Seen) -> None:
        if not stream:
            await go_on.wait()
            await link.send(http(200, json.dumps(completion("whole")).encode()))
            return
        await link.send(STREAM_HEAD + framed(chunk("wh")))
        await go_on.wait()
        await link.send(framed(chunk("ole")) + framed(chunk(finish="stop", usage=TOLD)))
        await link.send(framed(DONE) + END)

    lane.upstream.will(lane.a, in_two_parts)
    keyed = {"idempotency-key": f"left-{how}-{stream}"}
    body = lane.chat(stream=stream)
    wire = await begun(site, org, body, headers=keyed)
    await eventually(asked(lane, lane.a), "the upstream is asked")
    if stream:
        await wire.head()
        assert b"wh" in await wire.piece()
    LEAVE[how](wire)
    running = await org.chat(body, headers=keyed)
    running.error(409, "IDEMPOTENCY_001", reason="still_running", retryable=True)
    assert int(running.headers["retry-after"]) >= 1
    go_on.set()

    async def done() -> bool:
        return (await org.credits())[1] == 0

    await eventually(done, "the answer is finished")
    again = await org.chat(body, headers=keyed)
    assert again.status == 200
    assert again.headers["idempotent-replayed"] == "true"
    assert again.text == "whole"
    if stream:
        assert again.events[-1] == "[DONE]"
    assert lane.calls() == (1, 0, 0)
    other = await org.chat(lane.chat(stream=stream, seed=1), headers=keyed)
    other.error(409, "IDEMPOTENCY_001", retryable=False, reason="other_body")
    await org.settled(GOOD)


async def test_a_failed_request_may_be_tried_again_under_its_key(site: Site) -> None:
    lane, org = site.lane(), await site.org()
    keyed = {"idempotency-key": "again"}
    broken = http(500, b'{"error":{"message":"x"}}')

    async def fails(link: Link, _: Seen) -> None:
        await link.send(broken)

    lane.upstream.will(lane.a, fails)
    (await org.chat(lane.chat(), headers=keyed)).error(502, "PROVIDER_001")
    answer = await org.chat(lane.chat(), headers=keyed)
    assert answer.status == 200
    assert "idempotent-replayed" not in answer.headers
    await org.settled(GOOD)


async def test_idempotency_keys_are_of_an_organisation_and_a_path(site: Site) -> None:
    lane, one, two = site.lane(), await site.org(), await site.org()
    keyed = {"idempotency-key": "the same"}
    assert (await one.chat(lane.chat(), headers=keyed)).status == 200
    answer = await two.chat(lane.chat(seed=5), headers=keyed)
    assert answer.status == 200
    assert "idempotent-replayed" not in answer.headers
    await one.settled(GOOD)
    await two.settled(GOOD)


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "tab\tinside"])
async def test_an_idempotency_key_that_is_none(site: Site, key: str) -> None:
    lane, org = site.lane_shared("keys"), await site.org()
    answer = await org.chat(lane.chat(), headers={"idempotency-key": key})
    answer.error(400, "REQUEST_001", param="Idempotency-Key")
    assert lane.calls() == (0, 0, 0)
    await org.settled()


async def test_a_slow_reader_stops_the_upstream_and_gets_everything(site: Site) -> None:
    """Back-pressure through both connections: megabytes do not pile up in the gateway."""
    lane, org = site.lane(), await site.org()
    event = chunk("x" * 8_000)
    count, links = 4_000, []  # 32 MB

    async def floods(link: Link, _: Seen) -> None:
        links.append(link)
        await link.send(STREAM_HEAD)
        for _ in range(count):
            await link.send(framed(event))
        await link.send(framed(chunk(finish="stop", usage=TOLD)) + framed(DONE) + END)

    lane.upstream.will(lane.a, floods)
    wire = await begun(site, org, lane.chat(stream=True, max_tokens=4096), receive_bytes=16 * 1024)
    await wire.head()
    before = -1

    async def stands_still() -> bool:
        nonlocal before
        now, before_ = links[0].sent, before
        before = now
        await asyncio.sleep(0.15)
        return now == before_ and now > 0

    await eventually(stands_still, "the upstream is made to wait")
    assert links[0].sent < 16_000_000, links[0].sent  # kernel buffers, not ours
    assert (await org.credits())[1] > 0
    assert (await org.get("/api/v1/key")).status == 200  # others are served meanwhile
    got = 0
    while data := await wire.piece():
        got += data.count(b"data: ")
    assert got == count + 2
    await wire.close()
    await org.settled(GOOD)


async def test_a_reader_that_never_reads_is_cut_off(site: Site) -> None:
    lane, org = site.lane(), await site.org(concurrency=1)
    front = site.server.front
    before = front.limits

    async def floods(link: Link, _: Seen) -> None:
        await link.send(STREAM_HEAD)
        while not link.reader.at_eof():
            await link.send(framed(chunk("x" * 8_000)))

    front.limits = msgspec.structs.replace(before, write_stall_s=0.3)
    try:
        lane.upstream.will(lane.a, floods)
        wire = await begun(site, org, lane.chat(stream=True), receive_bytes=16 * 1024)
        receipt = await ended(org)
        assert receipt["status"] == "cancelled"
        assert Decimal(receipt["amounts"]["charged"]) <= Decimal(receipt["amounts"]["held"])
        await eventually(lambda: not lane.upstream.busy(lane.a), "the upstream call is aborted")
        wire.reset()
    finally:
        front.limits = before


async def test_the_next_pipelined_request_of_one_who_left_is_not_run(site: Site) -> None:
    lane, org = site.lane(), await site.org()
    lane.upstream.will(lane.a, silent)
    data = json.dumps(lane.chat()).encode()
    wire = await Wire.open(site.port)
    org.asked += 1
    await wire.write(raw_request("POST", CHAT, data, key=org.key))
    await eventually(asked(lane, lane.a), "the upstream is asked")
    await wire.write(raw_request("POST", CHAT, data, key=org.key))
    wire.reset()
    receipt = await ended(org)
    assert receipt["status"] in ("cancelled", "failed")
    assert lane.calls() == (1, 0, 0)
    await org.settled()
