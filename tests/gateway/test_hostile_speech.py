"""Clients that leave and speech that is cut, in the middle or before: who heard nothing pays
nothing, and a cut can never be taken for an end."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.gateway.media_lane import (
    MODELS,
    MP3,
    delta,
    done,
    media_lane,
    media_lanes,
    nothing_left,
)
from tests.gateway.site import Site, eventually
from tests.gateway.upstream import Act, Link, Seen, events, raw
from tests.gateway.wire import Closed, Wire, raw_request

pytestmark = pytest.mark.asyncio(loop_scope="module")
LANES = 0
CATALOG = media_lanes(40)
NAMES = ["picture", "pictures", "speech", "spoken", "heard", "translated", "ranked", "judged"]
LETTER = {name: MODELS[name][2][0][0] for name in MODELS}


async def leave(site: Site, data: bytes, *, after_head: bool) -> None:
    wire = await Wire.open(site.port)
    await wire.write(data)
    if after_head:
        await wire.head()
    wire.reset()


def holding(first: bytes, gone: asyncio.Event) -> Act:
    """Sends that much and then nothing until the gateway leaves."""

    async def act(link: Link, _: Seen) -> None:
        await link.send(first)
        try:
            await link.until_gone()
        finally:
            gone.set()

    return act


SPEAKING = (
    b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ntransfer-encoding: chunked\r\n\r\n"
    b"%x\r\n%b\r\n" % (len(MP3), MP3)
)


@pytest.mark.parametrize("name", NAMES)
async def test_a_client_that_leaves_before_the_first_byte(site: Site, name: str) -> None:
    lane = media_lane(site)
    org = await site.org()
    gone = asyncio.Event()
    lane.will(LETTER[name], holding(b"", gone))
    path, body, headers = lane.ask(name)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    wire = await Wire.open(site.port)
    await wire.write(raw_request("POST", path, data, key=org.key, headers=headers))
    org.asked += 1
    await eventually(lambda: lane.seen(LETTER[name]), "the upstream is asked")
    wire.reset()
    await asyncio.wait_for(gone.wait(), 5)
    await org.settled()
    await nothing_left(site)


async def test_a_client_that_leaves_in_the_middle_of_speech(site: Site) -> None:
    """What it heard is paid: characters are what is counted."""
    lane = media_lane(site)
    org = await site.org()
    gone = asyncio.Event()
    lane.will("a", holding(SPEAKING, gone))
    path, body, _ = lane.ask("speech")
    data = raw_request("POST", path, json.dumps(body).encode(), key=org.key)
    await leave(site, data, after_head=True)
    org.asked += 1
    await asyncio.wait_for(gone.wait(), 5)
    await org.settled("0.00005")


@pytest.mark.parametrize("then", ["reset", "close"])
@pytest.mark.parametrize("name", ["speech", "spoken"])
async def test_speech_cut_in_the_middle_is_a_cut(site: Site, name: str, then: str) -> None:
    """The connection ends without the end of the body, and nothing is charged."""
    lane = media_lane(site)
    org = await site.org()
    cut = SPEAKING if name == "speech" else events(delta(MP3), end=False)
    lane.will("a", raw(cut, then=then))
    path, body, _ = lane.ask(name)
    org.asked += 1
    with pytest.raises(Closed):
        await site.post(path, body, key=org.key)
    await org.settled()
    (receipt,) = await org.receipts()
    assert receipt["status"] == "failed"


@pytest.mark.parametrize(
    "words",
    [
        events(delta(MP3)),
        events(b"data: {\n\n"),
        events(b'data: {"type":"error","error":{"message":"no"}}\n\n'),
        events(done(input_tokens=5, output_tokens=5)),
        events(b'data: {"type":"speech.audio.delta","audio":"%%%"}\n\n'),
        events(b"data: " + b"[" * 100_000 + b"\n\n"),
        events(b": nothing\n\n"),
    ],
)
async def test_speech_events_that_are_wrong(site: Site, words: bytes) -> None:
    lane = media_lane(site)
    org = await site.org()
    lane.will("a", raw(words))
    path, body, _ = lane.ask("spoken")
    org.asked += 1
    try:
        answer = await site.post(path, body, key=org.key)
        answer.error(502, "PROVIDER_001")
    except Closed:
        pass
    await org.settled()


async def test_speech_in_events_to_the_caller_ends_with_the_error(site: Site) -> None:
    lane = media_lane(site)
    org = await site.org()
    lane.will("a", raw(SPEAKING, then="reset"))
    path, body, _ = lane.ask("speech", stream_format="sse")
    answer = await org.post(path, body)
    assert answer.events[0]["type"] == "speech.audio.delta"
    assert answer.events[-1]["error"]["code"] == "PROVIDER_001"
    await org.settled()


async def test_a_slow_listener_slows_the_upstream(site: Site) -> None:
    lane = media_lane(site)
    org = await site.org()
    sent = 0

    async def endless(link: Link, _: Seen) -> None:
        nonlocal sent
        head = b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ncontent-length: %d\r\n\r\n"
        await link.send(head % (64 * 1024 * 1024))
        while sent < 64 * 1024 * 1024:
            await link.send(bytes(64 * 1024))
            sent += 64 * 1024

    lane.will("a", endless)
    path, body, _ = lane.ask("speech")
    wire = await Wire.open(site.port, receive_bytes=16 * 1024)
    await wire.write(raw_request("POST", path, json.dumps(body).encode(), key=org.key))
    org.asked += 1
    await wire.head()
    before = -1
    while before != sent:
        before = sent
        await asyncio.sleep(0.2)
    assert sent < 24 * 1024 * 1024  # of which the kernel has the most
    wire.reset()
    await org.settled("0.00005")
