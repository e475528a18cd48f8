"""Streams with the official SDK: chunks, usage at the end, the helper, leaving early, breaking."""

import json
from decimal import Decimal
from itertools import pairwise

import pytest
from openai import APIError, AsyncOpenAI, OpenAI

from tests.support.server import Server, until

HELLO = [{"role": "user", "content": "Hello!"}]
USAGE = {"include_usage": True}


def text_of(client: OpenAI, **fields: object) -> str:
    completion = client.chat.completions.create(
        model="sandbox-chat",
        messages=HELLO,
        **fields,
    )
    return completion.choices[0].message.content or ""


def test_without_include_usage_it_is_a_stream_as_of_openai(client: OpenAI, server: Server) -> None:
    whole = text_of(client)
    raw = client.chat.completions.with_raw_response.create(
        model="sandbox-chat", messages=HELLO, stream=True
    )
    chunks = list(raw.parse())
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk.model for chunk in chunks} == {"sandbox-chat"}
    assert len({chunk.id for chunk in chunks}) == 1
    assert len({chunk.created for chunk in chunks}) == 1
    assert all(len(chunk.choices) == 1 for chunk in chunks)
    assert all(chunk.usage is None for chunk in chunks)
    assert all("usage" not in chunk.model_fields_set for chunk in chunks)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].choices[0].finish_reason == "stop"
    # It is charged all the same.
    receipt = server.receipt(raw.headers["x-request-id"])
    assert (receipt["status"], receipt["stream"]) == ("succeeded", True)
    assert Decimal(receipt["amounts"]["charged"]) > 0


def test_include_usage_ends_with_one_chunk_of_usage_and_cost(
    client: OpenAI, server: Server
) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="sandbox-chat", messages=HELLO, stream=True, stream_options=USAGE
    )
    *chunks, last = list(raw.parse())
    assert all(chunk.usage is None for chunk in chunks)
    assert all("usage" in chunk.model_fields_set for chunk in chunks)
    assert last.choices == []
    assert last.usage is not None
    plain = client.chat.completions.create(model="sandbox-chat", messages=HELLO).usage
    assert plain is not None
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert getattr(last.usage, name) == getattr(plain, name)
    total = (last.usage.model_extra or {})["cost_details"]["total"]
    assert total == (plain.model_extra or {})["cost_details"]["total"]
    assert server.receipt(raw.headers["x-request-id"])["amounts"]["charged"] == total


def test_headers_of_a_stream(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="sandbox-chat", messages=HELLO, stream=True
    )
    headers = raw.headers
    assert headers["content-type"].startswith("text/event-stream")
    assert headers["x-tokenmarket-provider"] == "sandbox"
    assert headers["x-tokenmarket-model"] == "sandbox-chat"
    assert headers["x-tokenmarket-attempts"] == "1"
    assert int(headers["openai-processing-ms"]) >= 0
    assert float(headers["x-tokenmarket-overhead-ms"]) >= 0
    assert int(headers["x-ratelimit-limit-requests"]) > 0
    assert "x-tokenmarket-cost" not in headers  # not known yet
    list(raw.parse())


def test_the_bytes_end_with_done(server: Server) -> None:
    answer = server.chat(stream=True)
    events = answer.body.split(b"\n\n")
    assert events[-1] == b""
    assert events[-2] == b"data: [DONE]"
    for event in events[:-2]:
        assert event.startswith(b"data: ")
        json.loads(event[6:])


def test_two_choices_in_one_stream(client: OpenAI) -> None:
    texts = {0: "", 1: ""}
    ends = {}
    for chunk in client.chat.completions.create(
        model="sandbox-chat", messages=HELLO, stream=True, n=2
    ):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            if choice.finish_reason:
                ends[choice.index] = choice.finish_reason
    whole = client.chat.completions.create(model="sandbox-chat", messages=HELLO, n=2)
    assert texts == {choice.index: choice.message.content for choice in whole.choices}
    assert ends == {0: "stop", 1: "stop"}


def test_reasoning_comes_before_the_answer(client: OpenAI) -> None:
    order = []
    reasoning = content = ""
    usage = None
    for chunk in client.chat.completions.create(
        model="sandbox-reasoner", messages=HELLO, stream=True, stream_options=USAGE
    ):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            thought = (choice.delta.model_extra or {}).get("reasoning_content")
            if thought:
                reasoning += thought
                order.append("reasoning")
            if choice.delta.content:
                content += choice.delta.content
                order.append("content")
    assert reasoning
    assert content
    assert sum(before != after for before, after in pairwise(order)) == 1
    assert usage is not None
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.reasoning_tokens == 48


def test_the_stream_helper(client: OpenAI) -> None:
    deltas = []
    with client.chat.completions.stream(
        model="sandbox-chat", messages=HELLO, stream_options=USAGE
    ) as stream:
        for event in stream:
            if event.type == "content.delta":
                deltas.append(event.delta)
        completion = stream.get_final_completion()
    assert completion.choices[0].message.content == "".join(deltas) == text_of(client)
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage is not None
    assert completion.usage.completion_tokens > 0


async def test_the_async_stream_and_its_helper(aclient: AsyncOpenAI) -> None:
    stream = await aclient.chat.completions.create(
        model="sandbox-chat", messages=HELLO, stream=True
    )
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    async with aclient.chat.completions.stream(model="sandbox-chat", messages=HELLO) as helper:
        completion = await helper.get_final_completion()
    assert completion.choices[0].message.content == text != ""


def test_events_come_as_they_are_made_not_at_the_end(client: OpenAI) -> None:
    """The first content is there long before the last could be."""
    stream = client.chat.completions.create(
        model="sandbox-chat",
        messages=HELLO,
        stream=True,
        metadata={"sandbox_pace_ms": "60000", "sandbox_tokens": "5"},
    )
    first = next(iter(stream))
    assert first.choices[0].delta.role == "assistant"
    stream.close()


def test_leaving_early_pays_what_was_delivered(client: OpenAI, server: Server) -> None:
    before = server.balance()
    raw = client.chat.completions.with_raw_response.create(
        model="sandbox-chat",
        messages=HELLO,
        stream=True,
        max_tokens=400,
        metadata={"sandbox_pace_ms": "30", "sandbox_tokens": "400"},
    )
    stream = raw.parse()
    seen = 0
    for chunk in stream:
        seen += bool(chunk.choices[0].delta.content)
        if seen == 3:
            break
    stream.close()
    receipt = server.final_receipt(raw.headers["x-request-id"])
    assert receipt["status"] == "cancelled"
    assert receipt["error"]["code"] == "CLIENT_001"
    amounts = {name: Decimal(receipt["amounts"][name]) for name in ("held", "charged", "released")}
    assert 0 < amounts["charged"] < amounts["held"]
    assert amounts["charged"] + amounts["released"] == amounts["held"]
    assert 3 <= receipt["usage"]["completion_tokens"] < 400
    assert receipt["usage"]["estimated"] is True
    assert sum(Decimal(item["amount"]) for item in receipt["items"]) == amounts["charged"]
    assert server.balance() == before - amounts["charged"]
    until(lambda: server.get("/credits").json["held"] == "0.00", "nothing is held")


def test_leaving_before_the_first_byte_costs_nothing(client: OpenAI, server: Server) -> None:
    before = server.balance()
    mine = "left-before-the-first-byte"
    impatient = client.with_options(timeout=0.15)
    with pytest.raises(APIError):
        impatient.chat.completions.create(
            model="sandbox-chat",
            messages=HELLO,
            stream=True,
            metadata={"sandbox_delay_ms": "20000"},
            extra_headers={"X-Client-Request-Id": mine},
        )
    until(lambda: server.get("/credits").json["held"] == "0.00", "nothing is held", 5)
    assert server.balance() == before


def test_a_stream_that_breaks_raises_and_has_no_done(client: OpenAI, server: Server) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="sandbox-cut", messages=HELLO, stream=True, metadata={"sandbox_pace_ms": "1"}
    )
    got = []
    with pytest.raises(APIError) as raised:
        got += [chunk.choices[0].delta.content for chunk in raw.parse()]
    error = raised.value
    assert error.body is not None
    assert isinstance(error.body, dict)
    assert error.body["code"] == error.code == "PROVIDER_001"
    assert error.type == error.body["type"] == "provider_error"
    assert error.body["fault"] == "provider"
    assert error.body["request_id"] == raw.headers["x-request-id"]
    receipt = server.receipt(raw.headers["x-request-id"])
    assert receipt["status"] == "failed"
    assert receipt["attempts"][0]["error"]
    assert receipt["amounts"]["charged"] == "0.00"  # the upstream reported no usage


def test_the_bytes_of_a_broken_stream(server: Server) -> None:
    answer = server.chat(
        "Hello!", model="sandbox-cut", stream=True, metadata={"sandbox_pace_ms": "1"}
    )
    assert answer.status == 200
    assert b"[DONE]" not in answer.body
    events = [event for event in answer.body.split(b"\n\n") if event]
    assert len(events) > 1
    assert all("error" not in json.loads(event[6:]) for event in events[:-1])
    error = json.loads(events[-1].removeprefix(b"data: "))["error"]
    assert {"type", "code", "message", "param", "request_id", "fault", "retryable", "docs_url"} <= (
        set(error)
    )


@pytest.mark.parametrize("fault", ["stream-error", "badjson", "cut"])
def test_other_ways_to_break_raise_as_well(client: OpenAI, server: Server, fault: str) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="sandbox-chat",
        messages=HELLO,
        stream=True,
        metadata={"sandbox_fault": fault, "sandbox_pace_ms": "1"},
    )
    with pytest.raises(APIError) as raised:
        list(raw.parse())
    assert raised.value.code == "PROVIDER_001"
    assert server.receipt(raw.headers["x-request-id"])["status"] == "failed"


def test_an_upstream_that_forgets_done_is_complete_all_the_same(server: Server) -> None:
    """A finish reason is an end; our own end marker is always there."""
    answer = server.chat("Hello!", stream=True, metadata={"sandbox_fault": "nodone"})
    assert answer.body.endswith(b"data: [DONE]\n\n")
    assert server.receipt(answer.request_id)["status"] == "succeeded"


def test_a_stream_without_usage_is_free_and_says_so(client: OpenAI, server: Server) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="sandbox-nousage", messages=HELLO, stream=True, stream_options=USAGE
    )
    chunks = list(raw.parse())
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    receipt = server.receipt(raw.headers["x-request-id"])
    assert receipt["status"] == "succeeded"
    assert receipt["usage"] is None  # unknown is not zero
    assert receipt["amounts"]["charged"] == "0.00"


def test_the_books_are_exact(server: Server) -> None:
    server.verify()
