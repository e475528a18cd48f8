"""What a provider does instead of answering well, and what the caller, the books and the receipt
say about it: whole answers and everything before the first byte of a stream."""

from __future__ import annotations

import asyncio
import gzip
import json
from decimal import Decimal
from typing import Any

import pytest

from tests.gateway.site import EMBEDDINGS, Lane, Org, Site, eventually
from tests.gateway.upstream import (
    Act,
    Link,
    Seen,
    answers,
    completion,
    http,
    raw,
    silent,
    streams,
)
from tests.gateway.wire import Answer

pytestmark = pytest.mark.asyncio(loop_scope="module")
LANES = 90

GOOD = Decimal("0.000017")  # 7 tokens in at $1, 5 out at $2 per million
SECRET = "sk-proj-abcdefghijklmnop1234567890"


def words(message: str = "It is broken.", **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "some_error", **more}}


async def trickle(link: Link, _: Seen) -> None:
    """A byte every 50 ms, for ever: no idle timeout sees it."""
    await link.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
    while not link.reader.at_eof():
        await link.send(b" ")
        await asyncio.sleep(0.05)


async def slow_head(link: Link, _: Seen) -> None:
    """The head begins and never ends."""
    await link.send(b"HTTP/1.1 200 OK\r\ncontent-ty")
    await link.until_gone()


async def endless(link: Link, _: Seen) -> None:
    """A body without end, as fast as it is taken."""
    await link.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
    while not link.reader.at_eof():
        await link.send(b'{"x":"' + b"y" * 1_000_000)


BOMB = gzip.compress(b" " * 200_000_000, 9)

# name -> what the upstream does, HTTP status, code, fault, retryable, attempt's status
CASES: dict[str, tuple[Act, int, str, str, bool, int | None]] = {
    "reset before the head": (raw(b"", then="reset"), 502, "PROVIDER_001", "provider", True, None),
    "closed before the head": (raw(b"", then="close"), 502, "PROVIDER_001", "provider", True, None),
    "silence": (silent, 504, "PROVIDER_TIMEOUT", "provider", True, None),
    "slow head": (slow_head, 504, "PROVIDER_TIMEOUT", "provider", True, None),
    "trickle": (trickle, 504, "PROVIDER_TIMEOUT", "provider", True, 200),
    "endless body": (endless, 502, "PROVIDER_001", "provider", True, 200),
    "head, then reset": (
        raw(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n", then="reset"),
        502,
        "PROVIDER_001",
        "provider",
        True,
        200,
    ),
    "half a body, then reset": (
        raw(http(200, json.dumps(completion()).encode())[:-40], then="reset"),
        502,
        "PROVIDER_001",
        "provider",
        True,
        200,
    ),
    "half a body, then close": (
        raw(http(200, json.dumps(completion()).encode())[:-40], then="close"),
        502,
        "PROVIDER_001",
        "provider",
        True,
        200,
    ),
    "not HTTP": (
        raw(b"\x15\x03\x01\x00\x02\x02\x16" * 20, then="close"),
        502,
        "PROVIDER_001",
        "provider",
        True,
        None,
    ),
    "both lengths": (
        raw(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        502,
        "PROVIDER_001",
        "provider",
        True,
        None,
    ),
    "bad chunk size": (
        raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n"),
        502,
        "PROVIDER_001",
        "provider",
        True,
        200,
    ),
    "not JSON": (answers(200, b"hello"), 502, "PROVIDER_001", "provider", True, 200),
    "cut JSON": (
        answers(200, json.dumps(completion()).encode()[:-30]),
        502,
        "PROVIDER_001",
        "provider",
        True,
        200,
    ),
    "JSON of another kind": (answers(200, [1, 2]), 502, "PROVIDER_001", "provider", True, 200),
    "no choices": (answers(200, {"id": "x"}), 502, "PROVIDER_001", "provider", True, 200),
    "deep JSON": (answers(200, b"[" * 5000), 502, "PROVIDER_001", "provider", True, 200),
    "a page": (
        raw(http(200, b"<html>sign in</html>", content_type="text/html")),
        502,
        "PROVIDER_001",
        "provider",
        True,
        200,
    ),
    "an error inside 200": (answers(200, words()), 502, "PROVIDER_001", "provider", True, 200),
    "empty 200": (answers(200, b""), 502, "PROVIDER_001", "provider", True, 200),
    "gzip that is none": (
        raw(http(200, b"not gzip at all", headers=(("content-encoding", "gzip"),))),
        502,
        "PROVIDER_001",
        "provider",
        True,
        200,
    ),
    "gzip bomb": (
        raw(http(200, BOMB, headers=(("content-encoding", "gzip"),))),
        502,
        "PROVIDER_001",
        "provider",
        True,
        200,
    ),
    "redirect": (
        raw(http(302, b"", headers=(("location", "http://127.0.0.1:1/steal"),))),
        502,
        "PROVIDER_001",
        "provider",
        True,
        302,
    ),
    "400": (answers(400, words()), 400, "PROVIDER_001", "caller", False, 400),
    "413": (answers(413, words()), 413, "PROVIDER_001", "caller", False, 413),
    "422": (answers(422, words()), 422, "PROVIDER_001", "caller", False, 422),
    "401": (answers(401, words(f"Bad {SECRET}")), 502, "PROVIDER_001", "platform", True, 401),
    "402": (answers(402, words(f"Pay {SECRET}")), 502, "PROVIDER_001", "platform", True, 402),
    "403": (answers(403, words(f"No {SECRET}")), 502, "PROVIDER_001", "platform", True, 403),
    "408": (answers(408, words()), 504, "PROVIDER_TIMEOUT", "provider", True, 408),
    "429": (answers(429, words()), 503, "PROVIDER_002", "provider", True, 429),
    "500": (answers(500, words()), 502, "PROVIDER_001", "provider", True, 500),
    "500 page": (answers(500, b"<html>oops</html>"), 502, "PROVIDER_001", "provider", True, 500),
    "503": (answers(503, words()), 503, "PROVIDER_002", "provider", True, 503),
    "529": (answers(529, words()), 503, "PROVIDER_002", "provider", True, 529),
    "599": (answers(599, words()), 502, "PROVIDER_001", "provider", True, 599),
}


async def check_failed(
    org: Org, lane: Lane, answer: Answer, status: int, code: str, attempt_status: int | None
) -> dict[str, Any]:
    """One failed attempt at ``a``: receipt, books, connections, limits."""
    receipt = await org.receipt(answer.id)
    assert receipt["status"] == "failed"
    assert receipt["provider"] == lane.a
    assert receipt["error"]["code"] == code
    assert receipt["error"]["status"] == status
    assert Decimal(receipt["amounts"]["held"]) > 0
    assert receipt["amounts"]["charged"] == "0.00"
    assert receipt["usage"] is None
    assert receipt["items"] == []
    (attempt,) = receipt["attempts"]
    assert attempt["provider"] == lane.a
    assert attempt["upstream_model"] == "one-at-a"
    assert attempt["status"] == attempt_status
    assert attempt["error"]
    (candidate,) = receipt["route"]["candidates"]
    assert candidate["decision"] == "failed"
    assert candidate["reason"]
    assert answer.headers["x-tokenmarket-provider"] == lane.a
    assert answer.headers["x-tokenmarket-model"] == "one-at-a"
    assert answer.headers["x-tokenmarket-attempts"] == "1"
    assert answer.headers["x-ratelimit-limit-requests"]
    await org.settled()
    await eventually(lambda: not lane.upstream.busy(lane.a), "the upstream connection is let go")
    return receipt


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("case", CASES)
async def test_a_failing_upstream(site: Site, case: str, stream: bool) -> None:
    act, status, code, fault, retryable, attempt_status = CASES[case]
    if stream and case in (
        "head, then reset",
        "trickle",
        "endless body",
        "gzip bomb",
        "slow head",
    ):
        return  # streams of these are in test_upstream_streams.py, or the same as here
    lane, org = site.lane(), await site.org(concurrency=1)
    lane.upstream.will(lane.a, act)
    answer = await org.chat(lane.chat(stream=stream))
    error = answer.error(status, code, fault=fault, retryable=retryable)
    if fault != "caller" and attempt_status is not None:
        assert error["provider"]["name"] == lane.a
    assert SECRET not in answer.body.decode()
    receipt = await check_failed(org, lane, answer, status, code, attempt_status)
    assert SECRET not in json.dumps(receipt)
    # Concurrency is 1: a place that was not given back would refuse this one.
    after = await org.chat(
        {"model": "sandbox-chat", "messages": [{"role": "user", "content": "x"}], "max_tokens": 5}
    )
    assert after.status == 200, after.body


async def test_a_refused_connection(site: Site) -> None:
    lane, org = site.lane(), await site.org()
    answer = await org.chat(lane.chat("refused"))
    answer.error(502, "PROVIDER_001", fault="provider", retryable=True)
    receipt = await org.receipt(answer.id)
    assert receipt["attempts"][0]["status"] is None
    assert receipt["status"] == "failed"
    await org.settled()


async def test_what_the_upstream_said_about_the_callers_mistake(site: Site) -> None:
    lane, org = site.lane(), await site.org()
    told = words("temperature is too hot", param="temperature", code="too_hot")
    lane.upstream.will(lane.a, answers(400, told))
    error = (await org.chat(lane.chat())).error(
        400, "PROVIDER_001", fault="caller", param="temperature", retryable=False
    )
    assert error["provider"] == {
        "name": lane.a,
        "status": 400,
        "code": "too_hot",
        "message": "temperature is too hot",
    }


async def test_a_retry_after_of_the_upstream_reaches_the_caller(site: Site) -> None:
    lane, org = site.lane(), await site.org()
    lane.upstream.will(lane.a, answers(429, words(), headers=(("retry-after", "7"),)))
    answer = await org.chat(lane.chat())
    answer.error(503, "PROVIDER_002", retryable=True)
    assert answer.headers["retry-after"] == "7"
    # It rests now: the next request is not even sent, and is told how long to wait.
    second = await org.chat(lane.chat())
    second.error(503, "PROVIDER_002", retryable=True)
    assert 5 <= int(second.headers["retry-after"]) <= 7
    assert lane.calls() == (1, 0, 0)
    receipt = await org.receipt(second.id)
    assert receipt["status"] == "rejected"
    assert receipt["attempts"] == []
    await org.settled()


async def test_an_unknown_model_at_the_provider(site: Site) -> None:
    lane, org = site.lane(), await site.org()
    lane.upstream.will(
        lane.a, answers(404, words("The model does not exist", code="model_not_found"))
    )
    answer = await org.chat(lane.chat())
    answer.error(404, "PROVIDER_001", reason="model_not_at_provider", retryable=False)
    await org.settled()


async def test_what_is_charged_is_what_was_told(site: Site) -> None:
    lane, org = site.lane(), await site.org(concurrency=1)
    answer = await org.chat(lane.chat())
    assert answer.status == 200, answer.body
    assert answer.text == "Hello there."
    assert Decimal(answer.headers["x-tokenmarket-cost"]) == GOOD
    assert Decimal(answer.headers["x-tokenmarket-balance"]) == 1 - GOOD
    usage = answer.json["usage"]
    assert usage["prompt_tokens"] == 7
    assert usage["completion_tokens"] == 5
    assert Decimal(usage["cost_details"]["total"]) == GOOD
    assert Decimal(str(usage["cost"])) == GOOD
    assert usage["is_byok"] is False
    receipt = await org.receipt(answer.id)
    assert receipt["status"] == "succeeded"
    assert receipt["attempts"][0]["upstream_request_id"] == "up-77"
    assert receipt["attempts"][0]["status"] == 200
    assert receipt["route"]["candidates"][0]["decision"] == "chosen"
    assert receipt["finish_reason"] == "stop"
    assert receipt["error"] is None
    assert receipt["ledger"]
    await org.settled(GOOD)
    sent = lane.upstream.of(lane.a)[0]
    assert sent.json["model"] == "one-at-a"
    assert "authorization" not in sent.headers
    assert org.key not in json.dumps(sent.headers) + sent.body.decode()


async def test_gzip_is_read(site: Site) -> None:
    lane, org = site.lane(), await site.org()
    body = gzip.compress(json.dumps(completion("zipped")).encode())
    lane.upstream.will(lane.a, raw(http(200, body, headers=(("content-encoding", "gzip"),))))
    answer = await org.chat(lane.chat())
    assert answer.text == "zipped"
    assert "content-encoding" not in answer.headers
    await org.settled(GOOD)


async def test_strange_headers_of_the_upstream_are_not_passed_on(site: Site) -> None:
    lane, org = site.lane(), await site.org()
    headers = (
        ("set-cookie", "session=1"),
        ("server", "secret-box"),
        ("access-control-allow-origin", "*"),
        ("x-internal-account", "org-1234"),
    )
    lane.upstream.will(lane.a, answers(200, completion(), headers=headers))
    answer = await org.chat(lane.chat())
    assert answer.status == 200
    assert not set(answer.headers) & {name for name, _ in headers}


USAGES: dict[str, tuple[Any, str]] = {
    "none": (None, "0"),
    "null members": ({"prompt_tokens": None, "completion_tokens": None}, "0"),
    "zero": ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, "0"),
    "strings": ({"prompt_tokens": "7", "completion_tokens": "5"}, "0"),
    "a list": ([7, 5], "0"),
    "a word": ("lots", "0"),
}


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("case", USAGES)
async def test_usage_that_is_missing_zero_or_unreadable_costs_nothing(
    site: Site, case: str, stream: bool
) -> None:
    usage, charged = USAGES[case]
    lane, org = site.lane_shared("usage"), await site.org()
    act = streams("Hi", usage=usage) if stream else answers(200, completion(usage=usage))
    lane.upstream.will(lane.a, act)
    answer = await org.chat(lane.chat(stream=stream))
    assert answer.status == 200, answer.body
    receipt = await org.receipt(answer.id)
    assert receipt["status"] == "succeeded"
    assert Decimal(receipt["amounts"]["charged"]) == Decimal(charged)
    if usage is None:
        assert receipt["usage"] is None
    if case == "zero":
        assert receipt["usage"]["total_tokens"] == 0  # told, and so not unknown
    await org.settled()


CONTEXT_FULL = Decimal("0.30")  # 100,000 tokens in and as many out
LIES: dict[str, Any] = {
    "negative": {"prompt_tokens": -7, "completion_tokens": -5, "total_tokens": -12},
    "half negative": {"prompt_tokens": -1_000_000, "completion_tokens": 5},
    "ten holds": {"prompt_tokens": 90_000, "completion_tokens": 90_000},
    "absurd": {"prompt_tokens": 10**15, "completion_tokens": 10**15},
    "beyond 64 bits": {"prompt_tokens": 10**30, "completion_tokens": 10**30},
    "cached above input": {
        "prompt_tokens": 7,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 10**9},
    },
    "reasoning above output": {
        "prompt_tokens": 7,
        "completion_tokens": 5,
        "completion_tokens_details": {"reasoning_tokens": 10**9},
    },
    "fractions": {"prompt_tokens": 7.5, "completion_tokens": 5.5},
}


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("case", LIES)
async def test_a_lying_usage_is_capped_flagged_and_never_gives(
    site: Site, case: str, stream: bool
) -> None:
    """More than the hold is taken from what is free, as far as a context window can be
    (design/billing.md sections 1 and 4.1), and the receipt says that something is wrong."""
    lane, org = site.lane_shared("usage"), await site.org()
    usage = LIES[case]
    act = streams("Hi", usage=usage) if stream else answers(200, completion(usage=usage))
    lane.upstream.will(lane.a, act)
    more = {"stream_options": {"include_usage": True}} if stream else {}
    answer = await org.chat(lane.chat(stream=stream, **more))
    assert answer.status == 200, answer.body
    receipt = await org.receipt(answer.id)
    held = Decimal(receipt["amounts"]["held"])
    charged = Decimal(receipt["amounts"]["charged"])
    assert 0 <= charged <= CONTEXT_FULL
    if charged > held or case.startswith(("negative", "cached", "reasoning")):
        assert receipt["usage"]["flags"], receipt["usage"]
    told = answer.events[-2]["usage"] if stream else answer.json["usage"]
    if told is not None:
        assert Decimal(told["cost_details"]["total"]) == charged  # what people see is what is taken
        assert min(told["prompt_tokens"], told["completion_tokens"]) >= 0
    if not stream:
        assert Decimal(answer.headers["x-tokenmarket-cost"]) == charged
    await org.settled(*([charged] if charged else []))


async def test_a_lie_above_the_balance_takes_the_balance_and_says_so(site: Site) -> None:
    lane, org = site.lane_shared("usage"), await site.org("0.001")
    usage = {"prompt_tokens": 90_000, "completion_tokens": 90_000}
    lane.upstream.will(lane.a, answers(200, completion(usage=usage)))
    answer = await org.chat(lane.chat())
    assert answer.status == 200
    assert await org.credits() == (0, 0)
    assert answer.headers["x-tokenmarket-cost"] == "0.001"
    assert answer.headers["x-tokenmarket-balance"] == "0.00"
    assert answer.json["usage"]["cost_details"]["total"] == "0.001"
    amounts = (await org.receipt(answer.id))["amounts"]
    assert amounts["charged"] == "0.001"
    assert Decimal(amounts["uncollected"]) == Decimal("0.27") - Decimal("0.001")
    (await org.chat(lane.chat())).error(402, "BILLING_001", fault="caller", retryable=False)


async def test_embeddings_are_charged_and_fail_alike(site: Site) -> None:
    lane, org = site.lane(), await site.org()
    body = {"model": lane.model("vectors"), "input": ["a", "b"]}
    answer = await org.post(EMBEDDINGS, body)
    assert answer.status == 200, answer.body
    assert [item["embedding"] for item in answer.json["data"]] == [[0.5, -0.25]] * 2
    assert answer.headers["x-tokenmarket-cost"] == "0.00000008"
    lane.upstream.will(lane.a, answers(500, words()))
    (await org.post(EMBEDDINGS, body)).error(502, "PROVIDER_001")
    await org.settled("0.00000008")


async def test_connections_are_pooled_and_a_closed_one_is_not_used(site: Site) -> None:
    lane, org = site.lane(), await site.org()
    for _ in range(3):
        assert (await org.chat(lane.chat())).status == 200
    links = {id(seen.link) for seen in lane.upstream.of(lane.a)}
    assert len(links) == 1
    lane.upstream.will(
        lane.a,
        raw(http(200, json.dumps(completion()).encode()), then="close"),
    )
    assert (await org.chat(lane.chat())).status == 200
    assert (await org.chat(lane.chat())).status == 200
    await org.settled(*[GOOD] * 5)


async def test_a_request_that_may_have_been_processed_is_not_sent_again(site: Site) -> None:
    """The upstream closes a kept-alive connection after our request was written on it."""
    lane, org = site.lane(), await site.org()
    assert (await org.chat(lane.chat())).status == 200
    lane.upstream.will(lane.a, raw(b"", then="close"))
    answer = await org.chat(lane.chat())
    error = answer.error(502, "PROVIDER_001")
    assert error["retryable"] is True
    assert len(lane.upstream.of(lane.a)) == 2
    assert len((await org.receipt(answer.id))["attempts"]) == 1
    await org.settled(GOOD)
