"""Bodies of requests are kept where an organisation wants it, however they end; else nothing is."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from tests.gateway.media_lane import MP3, media_lane, media_lanes
from tests.gateway.site import CHAT, Org, Site, eventually
from tests.gateway.test_disconnect import begun
from tests.gateway.upstream import STREAM_HEAD, Link, Seen, answers, chunk, framed
from tokenmarket.core.contents import BYTES_MAX, Content, Side, said

pytestmark = pytest.mark.asyncio(loop_scope="module")
LANES = 12
CATALOG = media_lanes(4)
CANARY = "canary-7d1f"


def folder(site: Site) -> Path:
    return site.server.config.data_dir / "contents"


async def switched_on(site: Site) -> Org:
    """An organisation that has contents kept, from its first request on."""
    org = await site.org()
    now_us = site.clock.wall_us()
    await site.server.contents.switch(org.id, 7, now_us=now_us, actor="test")
    return org


async def content(org: Org, request_id: str) -> Content:
    contents, now_us = org.site.server.contents, org.site.clock.wall_us()
    found = await contents.read(org.id, request_id, now_us=now_us, actor="test")
    assert found.state == "kept"
    assert found.content is not None
    return found.content


def answered(found: Content) -> Side:
    assert found.answer is not None
    return found.answer


async def test_off_nothing_is_kept(site: Site) -> None:
    org, lane = await site.org(), site.lane()
    for _ in range(4):
        assert (await org.chat(lane.chat())).status == 200
    found = await site.server.contents.read(
        org.id, (await org.receipts())[0]["id"], now_us=site.clock.wall_us(), actor="test"
    )
    assert found.state == "off"
    assert not list(folder(site).glob(f"{org.id}*"))


async def test_a_chat_is_kept_as_it_was_sent_and_answered(site: Site) -> None:
    """Also those that would take the lane: the same head and frame many times."""
    org, lane = await switched_on(site), site.lane()
    body = lane.chat(user=CANARY)
    for _ in range(4):
        answer = await org.chat(body)
        found = await content(org, answer.id)
        assert found.request.text == json.dumps(body)
        assert (found.status, answered(found).text) == (200, answer.body.decode())
        assert found.request.content_type in ("", "application/json")
        assert org.key not in repr(found)


async def test_a_stream_is_kept_with_its_last_event(site: Site) -> None:
    org, lane = await switched_on(site), site.lane()
    answer = await org.chat(lane.chat(stream=True, stream_options={"include_usage": True}))
    side = answered(await content(org, answer.id))
    text = side.text or ""
    assert side.streamed
    assert text == answer.body.decode()
    assert text.endswith("data: [DONE]\n\n")
    assert said(text)[0].text == answer.text


async def test_what_the_client_got_before_it_left_is_kept(site: Site) -> None:
    org, lane = await switched_on(site), site.lane()

    async def then_nothing(link: Link, seen: Seen) -> None:
        await link.send(STREAM_HEAD + framed(chunk("Only this")))
        await link.until_gone()

    lane.upstream.will(lane.a, then_nothing)
    wire = await begun(site, org, lane.chat(stream=True))
    await wire.reader.readuntil(b"Only this")
    wire.writer.close()

    async def there() -> bool:
        return bool(await org.receipts())

    await eventually(there, "the request has ended")
    (receipt,) = await org.receipts()
    assert receipt["status"] == "cancelled"
    side = answered(await content(org, receipt["id"]))
    assert "Only this" in (side.text or "")
    assert not side.cut, "all that was sent"


async def test_a_failure_and_a_refusal_are_kept(site: Site) -> None:
    org, lane = await switched_on(site), site.lane()
    lane.upstream.will(lane.a, answers(500, {"error": {"message": "broken"}}))
    failed = await org.chat(lane.chat())
    refused = await org.chat({"model": "no-such-model", "messages": []})
    broken = await org.chat(b"{" + CANARY.encode())
    for answer in (failed, refused, broken):
        assert answer.status >= 400
        found = await content(org, answer.id)
        assert (found.status, answered(found).text) == (answer.status, answer.body.decode())
    assert (await content(org, broken.id)).request.text == "{" + CANARY


async def test_long_bodies_are_cut_and_say_so(site: Site) -> None:
    org, lane = await switched_on(site), site.lane()
    body = lane.chat(messages=[{"role": "user", "content": "a word " * 50_000}])
    answer = await org.chat(body)
    request = (await content(org, answer.id)).request
    assert request.text is not None
    assert (len(request.text), request.cut) == (BYTES_MAX, True)
    assert request.size == len(json.dumps(body))


async def test_audio_is_described_and_of_a_form_the_fields_are_kept(site: Site) -> None:
    org, lane = await switched_on(site), media_lane(site)
    path, body, headers = lane.ask("speech")
    spoken = await org.post(path, body, headers=headers)
    side = answered(await content(org, spoken.id))
    assert (side.text, side.described) == (None, f"audio/mpeg, {len(spoken.body)} bytes")
    assert MP3[:100] in spoken.body
    path, form, headers = lane.ask("heard", prompt=CANARY)
    heard = await org.post(path, form, headers=headers)
    found = await content(org, heard.id)
    assert found.request.content_type == "multipart/form-data"
    assert json.loads(found.request.text or "")["prompt"] == CANARY
    (file,) = found.request.files
    assert file.startswith("file: a.wav, ")
    assert file.endswith(" bytes")
    assert answered(found).text == heard.body.decode()
    refused = await org.post(CHAT, form, headers=headers)
    assert refused.status == 415
    assert (await content(org, refused.id)).request.text is None


async def test_coheres_embed_is_kept_in_coheres_words(site: Site) -> None:
    org, lane = await switched_on(site), media_lane(site)
    path, body, headers = lane.ask("vectors")
    answer = await org.post(path, body, headers=headers)
    found = await content(org, answer.id)
    assert (found.request.text, answered(found).text) == (json.dumps(body), answer.body.decode())


async def test_a_replayed_answer_is_kept_again(site: Site) -> None:
    org, lane = await switched_on(site), site.lane()
    key = {"idempotency-key": "once"}
    first = await org.chat(lane.chat(), headers=key)
    again = await org.chat(lane.chat(), headers=key)
    assert first.body == again.body
    for answer in (first, again):
        assert answered(await content(org, answer.id)).text == first.body.decode()


async def test_what_is_kept_is_nobody_elses(site: Site) -> None:
    one, two, lane = await switched_on(site), await switched_on(site), site.lane()
    answer = await one.chat(lane.chat())
    found = await site.server.contents.read(
        two.id, answer.id, now_us=site.clock.wall_us(), actor="test"
    )
    assert (found.state, found.content) == ("missing", None)


async def test_switched_off_it_ends_within_two_seconds(site: Site) -> None:
    org, lane = await switched_on(site), site.lane()
    await org.chat(lane.chat())
    now_us = site.clock.wall_us()
    await site.server.contents.switch(org.id, None, now_us=now_us, actor="test")
    assert not list(folder(site).glob(f"{org.id}*"))
    # the server's own loop, as after a change from another process
    caller = next(c for c in site.server.accounts.callers() if c.org_id == org.id)
    await eventually(lambda: not caller.keeps_content, "it is noticed", within_s=2.0)
    await org.chat(lane.chat())
    await site.server.contents.recorder.flush()
    assert not list(folder(site).glob(f"{org.id}*"))


async def test_nothing_of_it_is_anywhere_else(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A marked secret in bodies of every outcome: only in sealed files, so nowhere in clear."""
    monkeypatch.setattr(site.server.log, "_rank", 0)  # of debug: everything is said
    monkeypatch.setattr(site.server.telemetry, "_info", True)
    org, lane = await switched_on(site), site.lane()
    said_so = [{"role": "user", "content": CANARY}]
    asked = [
        await org.chat(lane.chat(messages=said_so)),
        await org.chat(lane.chat(messages=said_so, stream=True)),
        await org.chat({"model": lane.model(), "messages": said_so, "tools": CANARY}),
    ]
    for answer in asked:
        assert CANARY in ((await content(org, answer.id)).request.text or "")
    await org.receipts()
    data = site.server.config.data_dir
    files = [path for path in data.rglob("*") if path.is_file()]
    assert len([path for path in files if "contents" in path.parts]) >= len(asked)
    for path in files:
        assert CANARY.encode() not in path.read_bytes(), path
    with sqlite3.connect(data / "tokenmarket.db") as books:
        dump = "".join(books.iterdump())
    books.close()
    assert CANARY not in dump
    assert CANARY not in (await site.get("/metrics")).body.decode()
    site.server.log.flush()
    assert asked[0].id.encode() in b"".join(site.lines)
    assert CANARY.encode() not in b"".join(site.lines)
