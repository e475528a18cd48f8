"""Speech through the whole gateway over a scripted upstream: bytes as they come, events, other
formats, clients that leave or read slowly, upstreams that are cut, and what each of them costs.

A character costs 0.001 here, so the nine of ``TEXT`` cost 0.009.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from tests.gateway.site import SHORT, Org, Site, eventually
from tests.gateway.test_disconnect import LEAVE, ended, holding
from tests.gateway.upstream import END, Act, Link, Seen, Upstream, framed, http, silent
from tests.gateway.wire import Closed, Wire, check_error, raw_request
from tokenmarket import transcode
from tokenmarket.core.media.sniff import sniff
from tokenmarket.core.media.speech import wav_header

pytestmark = pytest.mark.asyncio(loop_scope="module")
LANES = 0
BOOTHS = 60
SPEECH = "/api/v1/audio/speech"
TEXT = "Good day."
PAID = Decimal("0.009")
AUDIO = b"ID3" + bytes(range(256)) * 20
NEEDS_FFMPEG = pytest.mark.skipif(not transcode.available(), reason="no ffmpeg on this machine")

_PROVIDER = """
[[provider]]
name = "s{n}{letter}"
adapter = "{adapter}"
base_url = "http://127.0.0.1:{port}/s{n}{letter}/v1"
timeout_s = {short}
"""
_MODEL = """
[[model]]
id = "s{n}-{name}"
operation = "speech"
name = {{ en = "Booth {n}", zh = "录音室 {n}" }}
vendor = "tests"
default_provider = "s{n}{letters[0]}"
capabilities = {{ {capabilities} }}
"""
_ROUTE = """
[[route]]
model = "s{n}-{name}"
provider = "s{n}{letter}"
priority = {priority}
price = [{price}]
"""
_CHARACTER = '{ unit = "character", usd = "1000" }'
_TOKENS = '{ unit = "input_token", usd = "1" }, { unit = "audio_output_token", usd = "2" }'
# name -> providers in their order, capabilities, price. a speaks OpenAI's wire, b MiniMax's, c
# Mistral's (a document), d Groq's (wav alone).
MODELS = {
    "plain": ("a", "", _CHARACTER),
    "two": ("ab", "", _CHARACTER),
    "tokens": ("a", 'speech_usage = "events"', _TOKENS),
    "whole": ("c", "", _CHARACTER),
    "wav": ("d", 'upstream_formats = ["wav"]', _CHARACTER),
}
ADAPTERS = {"a": "openai", "b": "minimax", "c": "mistral", "d": "groq"}


def CATALOG(upstream: Upstream) -> str:
    text, port = "", upstream.port
    for n in range(BOOTHS):
        for letter, adapter in ADAPTERS.items():
            text += _PROVIDER.format(n=n, letter=letter, adapter=adapter, port=port, short=SHORT)
        for name, (letters, capabilities, price) in MODELS.items():
            text += _MODEL.format(n=n, name=name, letters=letters, capabilities=capabilities)
            for priority, letter in enumerate(letters):
                text += _ROUTE.format(n=n, name=name, letter=letter, priority=priority, price=price)
    return text


@dataclass
class Booth:
    """Providers and models that no other test uses."""

    n: int
    upstream: Upstream

    def will(self, letter: str, *acts: Act) -> None:
        self.upstream.will(f"s{self.n}{letter}", *acts)

    def seen(self, letter: str) -> list[Seen]:
        return self.upstream.of(f"s{self.n}{letter}")

    def busy(self, letter: str) -> bool:
        return bool(self.upstream.busy(f"s{self.n}{letter}"))

    def ask(self, name: str = "plain", **more: Any) -> dict[str, Any]:
        return {"model": f"s{self.n}-{name}", "input": TEXT, "voice": "mia", **more}


_numbers = itertools.count()


@pytest.fixture
def booth(site: Site) -> Booth:
    return Booth(next(_numbers), site.upstream)


def audio_head(content_type: str = "audio/mpeg") -> bytes:
    return (
        f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n"
    ).encode()


def says(
    *pieces: bytes, content_type: str = "audio/mpeg", end: str = "done", pause_s: float = 0.005
) -> Act:
    """These chunks. ``end``: done, close, reset or stall."""

    async def act(link: Link, _: Seen) -> None:
        await link.send(audio_head(content_type))
        for piece in pieces:
            await link.send(framed(piece))
            await asyncio.sleep(pause_s)
        if end == "reset":
            await asyncio.sleep(0.03)
            link.reset()
        if end == "close":
            raise ConnectionResetError
        if end == "stall":
            await link.until_gone()
        await link.send(END)

    return act


def event(document: object) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def delta(audio: bytes) -> bytes:
    return event({"type": "speech.audio.delta", "audio": base64.b64encode(audio).decode()})


def heard(events: list[Any]) -> bytes:
    deltas = [one["audio"] for one in events if one.get("type") == "speech.audio.delta"]
    return b"".join(base64.b64decode(one, validate=True) for one in deltas)


DONE = event({"type": "speech.audio.done", "usage": {"input_tokens": 4, "output_tokens": 50}})


async def asked(site: Site, org: Org, body: Any, **open_: int) -> Wire:
    org.asked += 1
    wire = await Wire.open(site.port, **open_)
    data = json.dumps(body).encode()
    await wire.write(raw_request("POST", SPEECH, data, key=org.key))
    return wire


async def taken(wire: Wire, size: int) -> bytes:
    got = b""
    while len(got) < size:
        piece = await wire.piece()
        assert piece, f"the answer ended after {got[-200:]!r}"
        got += piece
    return got


# --- answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["mp3", "opus", "aac", "flac", "wav", "pcm"])
async def test_bytes_pass_and_cost_their_characters(site: Site, booth: Booth, form: str) -> None:
    org = await site.org()
    booth.will("a", says(AUDIO[:1000], AUDIO[1000:]))
    answer = await org.post(SPEECH, booth.ask(response_format=form, speed=2))
    assert (answer.status, answer.body) == (200, AUDIO)
    kinds = {"mp3": "audio/mpeg", "opus": "audio/ogg"}
    assert answer.headers["content-type"] == kinds.get(form, f"audio/{form}")
    assert Decimal(answer.headers["x-tokenmarket-cost"]) == PAID
    (seen,) = booth.seen("a")
    assert seen.json["response_format"] == form
    assert seen.json["speed"] == 2
    receipt = await org.receipt(answer.id)
    assert receipt["usage"]["characters"] == len(TEXT)
    await org.settled(PAID)


async def test_bytes_inside_events(site: Site, booth: Booth) -> None:
    org = await site.org()
    booth.will("a", says(AUDIO[:1000], AUDIO[1000:]))
    answer = await org.post(SPEECH, booth.ask(stream_format="sse"))
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert heard(answer.events) == AUDIO
    last = answer.events[-1]
    assert last["type"] == "speech.audio.done"
    usage = last["usage"]
    assert [usage[name] for name in ("input_tokens", "output_tokens", "total_tokens")] == [0, 0, 0]
    assert (usage["characters"], Decimal(str(usage["cost"]))) == (9, PAID)
    await org.settled(PAID)


@pytest.mark.parametrize("stream_format", ["audio", "sse"])
async def test_tokens_are_read_from_events_whatever_was_asked(
    site: Site, booth: Booth, stream_format: str
) -> None:
    org = await site.org("5")
    stream = delta(AUDIO[:900]) + delta(AUDIO[900:]) + DONE
    booth.will("a", says(stream[:77], stream[77:], content_type="text/event-stream"))
    answer = await org.post(SPEECH, booth.ask("tokens", stream_format=stream_format))
    assert answer.status == 200, answer.body
    assert booth.seen("a")[0].json["stream_format"] == "sse"
    if stream_format == "sse":
        assert heard(answer.events) == AUDIO
        assert answer.events[-1]["usage"]["total_tokens"] == 54
    else:
        assert answer.body == AUDIO
    assert "x-tokenmarket-cost" not in answer.headers  # nobody knew it when the head went out
    await org.settled("0.000104")


@pytest.mark.parametrize("stream_format", ["audio", "sse"])
async def test_a_document_is_unpacked(site: Site, booth: Booth, stream_format: str) -> None:
    org = await site.org()
    document = {"audio_data": base64.b64encode(AUDIO).decode()}
    booth.will("c", says(json.dumps(document).encode(), content_type="application/json"))
    answer = await org.post(SPEECH, booth.ask("whole", stream_format=stream_format))
    if stream_format == "sse":
        assert heard(answer.events) == AUDIO
        assert Decimal(str(answer.events[-1]["usage"]["cost"])) == PAID
    else:
        assert (answer.headers["content-type"], answer.body) == ("audio/mpeg", AUDIO)
        assert Decimal(answer.headers["x-tokenmarket-cost"]) == PAID
    await org.settled(PAID)


@pytest.mark.parametrize(
    "first",
    [
        says(b'{"error":{"message":"busy"}}', content_type="application/json"),
        says(b"<html>busy</html>", content_type="text/html"),
        says(),
        says(end="close"),
    ],
    ids=["json", "html", "nothing", "cut"],
)
async def test_before_the_first_byte_the_next_provider_speaks(
    site: Site, booth: Booth, first: Act
) -> None:
    org = await site.org()
    booth.will("a", first)
    piece = {"data": {"audio": AUDIO.hex(), "status": 1}, "base_resp": {"status_code": 0}}
    last = {
        "data": {"audio": AUDIO.hex(), "status": 2},
        "extra_info": {"usage_characters": 7},
        "base_resp": {"status_code": 0},
    }
    booth.will("b", says(event(piece), event(last), content_type="text/event-stream"))
    answer = await org.post(SPEECH, booth.ask("two"))
    assert (answer.status, answer.body) == (200, AUDIO)
    assert "x-tokenmarket-cost" not in answer.headers  # MiniMax counts by its own rule
    assert booth.seen("b")[0].path.endswith("/v1/t2a_v2")
    await org.settled("0.007")


# --- ends before the end --------------------------------------------------------------------------


@pytest.mark.parametrize("how", LEAVE)
async def test_leaving_before_the_first_byte_costs_nothing(
    site: Site, booth: Booth, how: str
) -> None:
    org = await site.org()
    booth.will("a", silent)
    wire = await asked(site, org, booth.ask())
    await eventually(lambda: booth.seen("a"), "the upstream is asked")
    await holding(org)
    LEAVE[how](wire)
    assert (await ended(org))["status"] == "cancelled"
    await org.settled()
    await eventually(lambda: not booth.busy("a"), "the upstream call is aborted")


@pytest.mark.parametrize("how", LEAVE)
@pytest.mark.parametrize("stream_format", ["audio", "sse"])
async def test_leaving_in_the_middle_costs_the_characters(
    site: Site, booth: Booth, how: str, stream_format: str
) -> None:
    """The provider has made all of it; what was delivered is part of one price."""
    org = await site.org()
    booth.will("a", says(AUDIO, end="stall"))
    wire = await asked(site, org, booth.ask(stream_format=stream_format))
    assert (await wire.head()).status == 200
    await taken(wire, 1000)
    LEAVE[how](wire)
    receipt = await ended(org)
    assert receipt["status"] == "cancelled"
    await org.settled(PAID)
    await eventually(lambda: not booth.busy("a"), "the upstream call is aborted")


async def test_leaving_before_tokens_are_told_costs_nothing(site: Site, booth: Booth) -> None:
    org = await site.org("5")
    booth.will("a", says(delta(AUDIO), content_type="text/event-stream", end="stall"))
    wire = await asked(site, org, booth.ask("tokens"))
    await wire.head()
    await taken(wire, 1000)
    wire.reset()
    assert (await ended(org))["status"] == "cancelled"
    await org.settled()


@pytest.mark.parametrize("end", ["close", "reset", "stall"])
async def test_a_cut_upstream_costs_nothing_and_the_answer_is_cut(
    site: Site, booth: Booth, end: str
) -> None:
    """Without events nothing but the missing end can tell a player that audio is missing."""
    org = await site.org()
    booth.will("a", says(AUDIO, end=end))
    wire = await asked(site, org, booth.ask())
    assert (await wire.head()).status == 200
    with pytest.raises(Closed):  # and not the chunk that ends an answer
        await taken(wire, len(AUDIO) + 1)
    receipt = await ended(org)
    assert receipt["status"] == "failed"
    await org.settled()


@pytest.mark.parametrize("end", ["close", "reset", "stall"])
async def test_a_cut_upstream_is_told_in_events(site: Site, booth: Booth, end: str) -> None:
    org = await site.org()
    booth.will("a", says(AUDIO, end=end))
    answer = await org.post(SPEECH, booth.ask(stream_format="sse"))
    assert answer.status == 200
    assert heard(answer.events) == AUDIO
    check_error(answer.events[-1]["error"])
    await org.settled()


async def test_a_slow_reader_stops_the_upstream_and_gets_everything(
    site: Site, booth: Booth
) -> None:
    org = await site.org()
    piece, count, links = b"x" * 16_000, 2_000, []  # 32 MB

    async def floods(link: Link, _: Seen) -> None:
        links.append(link)
        await link.send(audio_head())
        for _ in range(count):
            await link.send(framed(piece))
        await link.send(END)

    booth.will("a", floods)
    wire = await asked(site, org, booth.ask(), receive_bytes=16 * 1024)
    await wire.head()
    before = -1
    while links[0].sent != before:  # until nothing moves any more
        before = links[0].sent
        await asyncio.sleep(0.2)
    assert before < 16_000_000
    total = 0
    while data := await wire.piece():
        total += len(data)
    assert total == count * len(piece)
    await org.settled(PAID)


# --- other formats --------------------------------------------------------------------------------

TONE = bytes(2 * 24_000)  # a second of silence


@NEEDS_FFMPEG
@pytest.mark.parametrize("stream_format", ["audio", "sse"])
async def test_what_the_upstream_lacks_is_transcoded(
    site: Site, booth: Booth, stream_format: str
) -> None:
    org = await site.org()
    booth.will("d", says(wav_header(None), TONE[:30_000], TONE[30_000:], content_type="audio/wav"))
    body = booth.ask("wav", response_format="mp3", stream_format=stream_format)
    answer = await org.post(SPEECH, body)
    assert answer.status == 200, answer.body
    assert booth.seen("d")[0].json["response_format"] == "wav"
    audio = heard(answer.events) if stream_format == "sse" else answer.body
    assert sniff(audio[:4096]) == "audio/mpeg"
    if stream_format == "audio":
        assert answer.headers["content-type"] == "audio/mpeg"
        assert Decimal(answer.headers["x-tokenmarket-cost"]) == PAID
    await org.settled(PAID)


@NEEDS_FFMPEG
async def test_audio_that_is_none_cannot_be_transcoded(site: Site, booth: Booth) -> None:
    org = await site.org()
    booth.will("d", says(b"no sound at all " * 4000, content_type="audio/wav"))
    answer = await org.post(SPEECH, booth.ask("wav", response_format="flac"))
    answer.error(502, "PROVIDER_001", fault="provider")
    await org.settled()


@NEEDS_FFMPEG
async def test_leaving_in_the_middle_of_a_conversion(site: Site, booth: Booth) -> None:
    org = await site.org()
    booth.will("d", says(wav_header(None), *[TONE] * 30, content_type="audio/wav", end="stall"))
    wire = await asked(site, org, booth.ask("wav", response_format="flac"))
    await wire.head()
    await taken(wire, 1000)
    wire.reset()
    assert (await ended(org))["status"] == "cancelled"
    await org.settled(PAID)
    await eventually(lambda: not booth.busy("d"), "the upstream call is aborted")


async def test_without_ffmpeg_the_formats_there_are_are_named(
    site: Site, booth: Booth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcode, "available", lambda: False)
    org = await site.org()
    answer = await org.post(SPEECH, booth.ask("wav", response_format="mp3"))
    error = answer.error(
        400, "REQUEST_001", param="response_format", reason="unsupported_response_format"
    )
    assert error["legal"] == ["wav"]
    assert not booth.seen("d")
    await org.settled()


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": "x" * 4097}, "input"),
        ({"input": 7}, "input"),
        ({"response_format": "midi"}, "response_format"),
        ({"speed": 5}, "speed"),
        ({"speed": 0}, "speed"),
        ({"voice": None}, "voice"),
        ({"voice": {"name": "mia"}}, "voice.id"),
        ({"stream_format": "chunks"}, "stream_format"),
        ({"instructions": "x" * 4097}, "instructions"),
    ],
)
async def test_bad_input_is_refused_before_money_is_held(
    site: Site, booth: Booth, members: dict[str, Any], param: str
) -> None:
    org = await site.org()
    answer = await org.post(SPEECH, booth.ask(**members))
    answer.error(400, "REQUEST_001", param=param, fault="caller")
    assert not booth.seen("a")
    await org.settled()


async def test_an_upstream_s_refusal_is_told(site: Site, booth: Booth) -> None:
    org = await site.org()
    refusal = {"error": {"message": "no such voice", "code": "invalid_voice", "param": "voice"}}

    async def refuses(link: Link, _: Seen) -> None:
        await link.send(http(400, json.dumps(refusal).encode()))

    booth.will("a", refuses)
    answer = await org.post(SPEECH, booth.ask())
    assert answer.status == 400
    assert answer.json["error"]["provider"]["message"] == "no such voice"
    await org.settled()
