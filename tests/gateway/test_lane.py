"""The lane and the rooms give one answer: the same request both ways, on connections of their own.

Each case is asked three times. The first two make head and frame known (``lane/frames.py``); of the
third, everything that a caller, an upstream or a bookkeeper can see is compared.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from tests.gateway.site import CHAT, Lane, Org, Site, eventually
from tests.gateway.upstream import Act, Link, Seen, answers, completion, http, raw, silent, well
from tests.gateway.wire import Answer, Wire, raw_request
from tokenmarket.core.plain_chat import Plain
from tokenmarket.lane.call import Call
from tokenmarket.lane.offers import Offers

pytestmark = pytest.mark.asyncio(loop_scope="module")
LANES = 130

GOOD = Decimal("0.000017")
_TIMES = re.compile(r"^created$|_ms$|_at$")
SDK = {"User-Agent": "OpenAI/Python", "X-Client-Request-Id": 'a"b', "X-Session-Id": "s%d"}


def compact(body: Any) -> bytes:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


class Counter:
    """How many requests the lane took."""

    def __init__(self, site: Site) -> None:
        lane = site.server.front.lane
        assert lane is not None
        self.site, self.lane, self.taken = site, lane, 0
        self._offers = lane.offers

    def __enter__(self) -> Counter:
        def admit(call: Call, plain: Plain) -> Any:
            connection = self.lane.admit(call, plain)  # counted, and passed on
            self.taken += connection is not None
            return connection

        lane, server = self.lane, self.site.server
        lane.offers = Offers(lane.recognise, admit, lane.send, server.telemetry, server.clock)
        return self

    def __exit__(self, *_: object) -> None:
        self.lane.offers = self._offers


async def ask(
    site: Site, org: Org, bodies: list[bytes], headers: dict[str, str] | None = None
) -> list[Answer]:
    """One after the other on one connection."""
    wire = await Wire.open(site.port)
    found: list[Answer] = []
    for body in bodies:
        org.asked += 1
        await wire.write(raw_request("POST", CHAT, body, key=org.key, headers=headers))
        found.append(await wire.answer())
    await wire.close()
    return found


def comparable(value: Any, lane: Lane, org: Org, answer: Answer) -> Any:
    """Without what differs from request to request: ids, times, numbers of lanes."""
    if isinstance(value, dict):
        return {
            name: None if _TIMES.search(name) else comparable(item, lane, org, answer)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [comparable(item, lane, org, answer) for item in value]
    if isinstance(value, str):
        value = value.replace(answer.id, "RID").replace(answer.id.removeprefix("req_"), "RID")
        return re.sub(rf"\bl{lane.n}(?=[abcd-])", "LANE", value.replace(org.id, "ORG"))
    return value


async def seen_by_all(site: Site, org: Org, lane: Lane, answer: Answer) -> dict[str, Any]:
    """What the caller, the upstreams, the receipt and the account say about the third request."""
    headers = dict(answer.headers)
    for name in ("date", "openai-processing-ms", "x-tokenmarket-overhead-ms", "content-length"):
        headers.pop(name, None)
    for name in list(headers):
        if name.startswith("x-ratelimit-re"):
            headers.pop(name)
    await eventually(lambda: site.server.wallet.metrics()["holds"] == 0, "nothing is held")
    receipt = await org.receipt(answer.id)
    receipt["key_id"] = "KEY"
    sent = [
        (seen.path, {k: v for k, v in seen.headers.items() if k != "content-length"}, seen.json)
        for provider in (lane.a, lane.b, lane.c)
        for seen in lane.upstream.of(provider)[2:]
    ]
    found = {
        "status": answer.status,
        "head": headers,
        "body": answer.json,
        "members": [*answer.json],
        "receipt": receipt,
        "sent": [list(one) for one in sent],
        "credits": [str(amount) for amount in await org.credits()],
    }
    return comparable(found, lane, org, answer)


async def both_ways(
    site: Site,
    acts: tuple[Act, ...],
    model: str,
    body: Callable[[Lane], Any],
    *,
    third: Callable[[Any], Any] = lambda body: body,
) -> tuple[dict[str, Any], dict[str, Any], int]:
    """What all see of the rooms' request and of the lane's, and how many the lane took."""
    front = site.server.front
    kept, front.lane = front.lane, None
    views: list[dict[str, Any]] = []
    taken = 0
    for way in (None, kept):
        front.lane = way
        lane, org = site.lane(), await site.org()
        lane.upstream.will(lane.a, well, well, *acts)
        warm = body(lane)
        bodies = [compact(warm), compact(warm), compact(third(warm))]
        if way is None:
            third_answer = (await ask(site, org, bodies, SDK))[2]
        else:
            with Counter(site) as counter:
                third_answer = (await ask(site, org, bodies, SDK))[2]
                taken = counter.taken
        views.append(await seen_by_all(site, org, lane, third_answer))
    return views[0], views[1], taken


def later(data: bytes, *cuts: int) -> Act:
    async def act(link: Link, _: Seen) -> None:
        for start, stop in zip((0, *cuts), (*cuts, len(data)), strict=True):
            await link.send(data[start:stop])
            await asyncio.sleep(0)

    return act


def told(prompt: int = 7, out: int = 5, **more: Any) -> Any:
    usage = {"prompt_tokens": prompt, "completion_tokens": out, "total_tokens": prompt + out}
    return completion(usage=usage | more)


TOOL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "f", "arguments": "{}"},
}
CASES: dict[str, tuple[Act, ...]] = {
    "well": (),
    "all members": (
        answers(
            document=completion(
                "Grüße",
                service_tier="Default",
                system_fingerprint="fp",
                created=0,
            ),
            headers=(("x-request-id2", "x"),),
        ),
    ),
    "tier": (answers(document=completion(service_tier="flex")),),
    "cached and reasoning": (
        answers(
            document=told(
                20,
                9,
                prompt_tokens_details={"cached_tokens": 13},
                completion_tokens_details={"reasoning_tokens": 4},
            )
        ),
    ),
    "only cached": (answers(document=told(8, 0, prompt_tokens_details={"cached_tokens": 8})),),
    "no usage": (answers(document=completion(usage=None)),),
    "nothing used": (answers(document=told(0, 0)),),
    "more than held": (answers(document=told(9, 60)),),
    "absurd": (answers(document=told(10**9, 10**9)),),
    "tool call": (
        answers(
            document=completion(
                choices=[
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": None, "tool_calls": [TOOL]},
                        "finish_reason": "stop",
                    }
                ]
            )
        ),
    ),
    "unknown members": (answers(document=completion(novelty={"a": 1})),),
    "garbage": (answers(document=b"<html>"),),
    "error inside a 200": (answers(document={"error": {"message": "no", "code": "x"}}),),
    "400": (answers(400, {"error": {"message": "bad", "code": "x"}}),),
    "500": (answers(500, {"error": {"message": "bad"}}),),
    "429": (answers(429, {"error": {"message": "slow down"}}, (("retry-after", "7"),)),),
    "reset": (raw(b"", then="reset"),),
    "cut": (raw(http(200, json.dumps(completion()).encode())[:-40], then="reset"),),
    "silence": (silent,),
    "pieces": (later(http(200, json.dumps(completion()).encode()), 30, 60, 200, 300),),
    "large": (answers(document=completion("word " * 60_000)),),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("model", ["one", "two"])
async def test_one_answer_both_ways(site: Site, name: str, model: str) -> None:
    """Also a model with two routes, which is never the lane's, must not be disturbed by it."""
    rooms, lane, taken = await both_ways(
        site, CASES[name], model, lambda of: of.chat(model, user='us"er', temperature=0.5)
    )
    assert lane == rooms
    assert taken == (1 if model == "one" else 0)


BODIES: dict[str, tuple[dict[str, Any], bool]] = {
    "bare": ({}, True),
    "no limit": ({"max_tokens": ...}, True),
    "other limit": ({"max_tokens": ..., "max_completion_tokens": 9}, True),
    "choices": ({"n": 2}, True),
    "sampling": ({"temperature": 0, "top_p": 1, "stop": ["a"], "seed": 5}, True),
    "format": ({"response_format": {"type": "json_object"}, "stream": False}, True),
    "tools": (
        {
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
            "tool_choice": "auto",
        },
        True,
    ),
    "bias": ({"logit_bias": {"1": 2}}, True),
    "metadata": ({"metadata": {"a": "b"}}, False),
    "unknown": ({"novelty": 1}, False),
    "provider": ({"provider": {"sort": "price"}}, False),
    "tier": ({"service_tier": "flex"}, False),
}


@pytest.mark.parametrize("name", BODIES)
async def test_what_is_plain(site: Site, name: str) -> None:
    more, plain = BODIES[name]
    rooms, lane, taken = await both_ways(site, (), "one", lambda of: of.chat("one", **more))
    assert lane == rooms
    assert lane["status"] == 200
    assert taken == plain


TURNS: dict[str, tuple[list[Any], bool]] = {
    "text": ([{"role": "system", "content": "Ä\n"}, {"content": "x", "role": "user"}], True),
    "tool result": ([{"role": "tool", "tool_call_id": "c", "content": "42"}], True),
    "developer": ([{"role": "developer", "content": "x"}], False),
    "parts": ([{"role": "user", "content": [{"type": "text", "text": "hi"}]}], False),
    "extra": ([{"role": "user", "content": "x", "mood": "good"}], False),
    "no content": ([{"role": "user"}], False),
    "none": ([], False),
    "wrong": ([{"role": "user", "content": 5}], False),
}


@pytest.mark.parametrize("name", TURNS)
async def test_messages_differ_under_a_known_frame(site: Site, name: str) -> None:
    messages, plain = TURNS[name]
    rooms, lane, taken = await both_ways(
        site,
        (),
        "one",
        lambda of: of.chat("one"),
        third=lambda body: body | {"messages": messages},
    )
    assert lane == rooms
    assert taken == plain


async def test_bad_bodies_are_refused_under_a_known_frame(site: Site) -> None:
    lane, org = site.lane_shared("bad"), await site.org()
    good = compact(lane.chat(user="u"))
    bad = [
        good.replace(b'"user":"u"', b'"user":5'),
        good.replace(b'"user":"u"', b'"user":"u","user":"v"'),
        good.replace(b'"content"', b'"content":"a","content"'),
        good.replace(b'"role"', b'"role":"user","role"'),
        good.replace(b'{"model"', b'{"model":"x","model"'),
        good.replace(b"Say", b"\xff"),
        good[:-1],
        good + b"}",
        b"[]",
    ]
    with Counter(site) as counter:
        found = await ask(site, org, [good, good, good, *bad, good])
    assert [answer.status for answer in found] == [200, 200, 200, *[400] * len(bad), 200]
    assert counter.taken == 2
    await org.settled(*[GOOD] * 4)


async def test_limits_and_money_hold_in_the_lane(site: Site) -> None:
    """Refusals say what the rooms say; nothing refused is counted."""
    lane = site.lane_shared("limits")
    org = await site.org(rpm=4)
    body = compact(lane.chat())
    with Counter(site) as counter:
        found = await ask(site, org, [body] * 6)
    assert [answer.status for answer in found] == [200] * 4 + [429] * 2
    assert counter.taken == 2
    assert found[3].headers["x-ratelimit-remaining-requests"] == "0"
    await org.settled(*[GOOD] * 4)
    poor = await site.org("0.0004")
    with Counter(site) as counter:
        found = await ask(site, poor, [body] * 30)
    statuses = [answer.status for answer in found]
    paid = statuses.count(200)
    assert statuses == [200] * paid + [402] * (30 - paid)
    # the rooms learn the head and the frame, and look once more for money when it seems to be gone
    assert 0 < paid - 4 <= counter.taken <= paid - 2
    await poor.settled(*[GOOD] * paid)


async def test_a_changed_key_or_catalog_is_seen_at_once(site: Site) -> None:
    lane, org = site.lane_shared("changes"), await site.org()
    wire = await Wire.open(site.port)
    request = raw_request("POST", CHAT, compact(lane.chat()), key=org.key)

    async def once() -> Answer:
        org.asked += 1
        await wire.write(request)
        return await wire.answer()

    with Counter(site) as counter:
        for _ in range(3):
            assert (await once()).status == 200
        assert counter.taken == 1
        (caller,) = [c for c in site.server.accounts.callers() if c.org_id == org.id]
        kept, caller.refused = caller.refused, "key_disabled"
        org.asked -= 1
        (await once()).error(401, "AUTH_001")
        caller.refused = kept
        current = site.server.catalog.current
        site.server.catalog.current = type(current)(
            **{name: getattr(current, name) for name in current.__struct_fields__}
        )
        for _ in range(3):  # its frames are worked out again
            assert (await once()).status == 200
        assert counter.taken == 3
    await org.settled(*[GOOD] * 6)


async def test_leaving_the_lane_pays_nothing(site: Site) -> None:
    lane, org = site.lane(), await site.org(concurrency=1)
    lane.upstream.will(lane.a, well, well, silent)
    request = raw_request("POST", CHAT, compact(lane.chat()), key=org.key)
    wire = await Wire.open(site.port)
    with Counter(site) as counter:
        for _ in range(2):
            org.asked += 1
            await wire.write(request)
            assert (await wire.answer()).status == 200
        org.asked += 1
        await wire.write(request)
        await eventually(lambda: len(lane.upstream.of(lane.a)) == 3, "the upstream is asked")
        assert counter.taken == 1
        (running,) = site.server.front.lane.calls if site.server.front.lane else ()
        assert (await org.receipt(running))["status"] == "running"
        wire.reset()
        await eventually(lambda: not lane.upstream.busy(lane.a), "the upstream call is aborted")
    await org.settled(GOOD, GOOD)
    receipt = (await org.receipts())[2]
    assert receipt["status"] == "cancelled"
    assert receipt["error"]["code"] == "CLIENT_001"
    assert (await org.chat(lane.chat())).status == 200  # the place is free again


async def test_a_bug_of_the_lane_is_the_rooms_business(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane, org = site.lane_shared("bug"), await site.org()
    body = compact(lane.chat())
    told: list[str] = []
    front_lane = site.server.front.lane
    assert front_lane is not None

    def crash(request_id: str, error: BaseException) -> None:
        told.append(repr(error))

    monkeypatch.setattr(front_lane.telemetry, "crash", crash)
    monkeypatch.setattr(front_lane.wallet, "settle_text", None)  # not callable
    with Counter(site) as counter:
        found = await ask(site, org, [body] * 3)
    assert [answer.status for answer in found] == [200] * 3
    assert counter.taken == 1
    assert len(told) == 1
    assert "not callable" in told[0]
    await org.settled(GOOD, GOOD, GOOD)


async def test_pipelined_requests_are_answered_in_order(site: Site) -> None:
    lane, org = site.lane_shared("order"), await site.org()
    request = raw_request("POST", CHAT, compact(lane.chat()), key=org.key)
    wire = await Wire.open(site.port)
    org.asked += 6
    for _ in range(3):
        await wire.write(request)
        assert (await wire.answer()).status == 200
    await wire.write(request)
    await wire.write(request[:50])
    await wire.write(request[50:] + request)
    assert [(await wire.answer()).status for _ in range(3)] == [200] * 3
    await org.settled(*[GOOD] * 6)
