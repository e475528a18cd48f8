"""Receipts, credits and usage field by field (design/api.md sections 6 and 8), and they add up."""

import asyncio
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from openai import APIStatusError, AsyncOpenAI, OpenAI

from tests.support.server import Server, until

HELLO = [{"role": "user", "content": "Hello!"}]
AMOUNT = re.compile(r"-?\d+\.\d{2,9}")
RECEIPT = {
    "object", "id", "status", "operation", "model", "provider", "key_id", "created_at",
    "dispatched_at_ms", "first_byte_ms", "duration_ms", "overhead_ms", "route", "attempts", "usage",
    "items", "price_version", "amounts", "ledger", "finish_reason", "dropped_params", "error",
    "idempotency_key", "trace_id",
}  # fmt: skip


def amount(text: object) -> Decimal:
    """Amounts are decimal strings."""
    assert isinstance(text, str)
    assert AMOUNT.fullmatch(text), text
    return Decimal(text)


def send(server: Server, key: str = "", **fields: object) -> dict[str, Any]:
    """One chat and its receipt."""
    return server.receipt(server.chat(key=key, **fields).request_id, key=key)


def test_a_receipt_field_by_field(server: Server) -> None:
    began_s = time.time()
    answer = server.chat("answer OK")
    receipt = server.receipt(answer.request_id)
    assert set(receipt) >= RECEIPT
    assert receipt["object"] == "request"
    assert receipt["id"] == answer.request_id
    assert receipt["status"] == "succeeded"
    assert receipt["operation"] == "chat"
    assert receipt["model"] == "sandbox-chat"
    assert receipt["provider"] == "sandbox"
    assert receipt["key_id"] == server.get("/key").json["id"]
    assert began_s - 2 <= receipt["created_at"] <= time.time() + 2
    assert 0 <= receipt["dispatched_at_ms"] <= receipt["first_byte_ms"] <= receipt["duration_ms"]
    assert 0 <= receipt["overhead_ms"] <= receipt["duration_ms"] + 1
    assert receipt["finish_reason"] == "stop"
    assert receipt["dropped_params"] == []
    assert receipt["error"] is None
    assert receipt["idempotency_key"] is None
    assert receipt["trace_id"] is None
    assert receipt["price_version"]
    assert receipt["ledger"]
    route = receipt["route"]
    assert route["policy"]
    (candidate,) = route["candidates"]
    assert candidate["provider"] == "sandbox"
    assert candidate["upstream_model"] == "sandbox-chat"
    assert candidate["decision"] == "chosen"
    (attempt,) = receipt["attempts"]
    assert attempt["provider"] == "sandbox"
    assert attempt["upstream_model"] == "sandbox-chat"
    assert attempt["status"] == 200
    assert 0 <= attempt["first_byte_ms"] <= attempt["duration_ms"] <= receipt["duration_ms"]
    assert attempt["error"] is None
    assert attempt["upstream_request_id"]


def test_the_amounts_of_a_receipt_add_up(server: Server) -> None:
    receipt = send(server, model="sandbox-reasoner", n=2)
    amounts = receipt["amounts"]
    assert amounts["currency"] == "USD"
    charged = amount(amounts["charged"])
    assert charged > 0
    assert amount(amounts["held"]) == charged + amount(amounts["released"])
    assert sum(amount(item["amount"]) for item in receipt["items"]) == charged
    assert len(receipt["items"]) == 3
    for item in receipt["items"]:
        quantity, per = Decimal(item["quantity"]), Decimal(item["per"])
        assert amount(item["amount"]) == amount(item["usd"]) * quantity / per
    usage = receipt["usage"]
    counted = {item["unit"]: int(item["quantity"]) for item in receipt["items"]}
    assert counted["input_token"] == usage["prompt_tokens"]
    assert (
        counted["output_token"] + counted["reasoning_token"]
        == usage["completion_tokens"]
        == usage["total_tokens"] - usage["prompt_tokens"]
    )


def test_cached_tokens_are_paid_at_their_own_price(server: Server) -> None:
    answer = server.chat("word " * 100, metadata={"sandbox_cached_tokens": "64"})
    usage = answer.json["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == 64
    fresh = usage["prompt_tokens"] - 64
    assert fresh > 0
    micro = (
        Decimal("0.1") * fresh + Decimal("0.01") * 64 + Decimal("0.4") * usage["completion_tokens"]
    )
    assert amount(answer.headers["x-tokenmarket-cost"]) == micro / 1_000_000
    assert amount(usage["cost_details"]["cached"]) == Decimal("0.00000064")
    units = {item["unit"] for item in server.receipt(answer.request_id)["items"]}
    assert units == {"input_token", "cached_input_token", "output_token"}


def test_an_answer_without_usage_is_free_and_says_unknown(server: Server) -> None:
    answer = server.chat(model="sandbox-nousage")
    assert answer.status == 200
    receipt = server.receipt(answer.request_id)
    assert (receipt["status"], receipt["usage"]) == ("succeeded", None)
    assert amount(receipt["amounts"]["charged"]) == 0
    assert amount(answer.headers["x-tokenmarket-cost"]) == 0


def test_credits_fall_by_exactly_the_sum_of_the_charges(server: Server) -> None:
    key = server.create_org("adds-up", "1")
    before = server.get("/credits", key=key).json
    assert before == {
        "object": "credits",
        "currency": "USD",
        "balance": "1.00",
        "held": "0.00",
        "available": "1.00",
    }
    charged = Decimal(0)
    for number in range(5):
        for fields in (
            {"model": "sandbox-chat"},
            {"model": "sandbox-chat", "stream": True},
            {"model": "sandbox-reasoner", "n": 2},
            {"model": "sandbox-badjson"},
            {"model": "nothing"},
            {"model": "sandbox-chat", "max_tokens": number + 1},
        ):
            receipt = send(server, key, **fields)
            charged += amount(receipt["amounts"]["charged"])
            now = server.get("/credits", key=key).json
            assert amount(now["balance"]) == 1 - charged
            assert amount(now["held"]) == 0
            assert amount(now["available"]) == amount(now["balance"])
    assert charged > 0
    # Usage tells the same sums, however it is grouped.
    total = server.get("/usage", key=key).json["total"]
    assert amount(total["charged"]) == charged
    assert total["requests"] == 30
    assert total["failed"] == 10
    for groups in ("day", "model", "provider", "key", "operation", "day,model,provider,key"):
        document = server.get(f"/usage?group_by={groups}", key=key).json
        assert document["total"] == total
        for name in ("requests", "failed"):
            assert sum(row[name] for row in document["data"]) == total[name]
        assert sum(amount(row["charged"]) for row in document["data"]) == charged
        for row in document["data"]:
            assert set(groups.split(",")) <= set(row)


async def test_many_at_once_are_all_charged_exactly(server: Server) -> None:
    key = await asyncio.to_thread(server.create_org, "crowd", "1")

    async def one(client: AsyncOpenAI, number: int) -> Decimal:
        if number % 2:
            raw = await client.chat.completions.with_raw_response.create(
                model="sandbox-chat", messages=HELLO, max_tokens=5 + number % 7
            )
            return amount(raw.headers["x-tokenmarket-cost"])
        last = None
        async for chunk in await client.chat.completions.create(
            model="sandbox-reasoner",
            messages=HELLO,
            max_tokens=80,
            stream=True,
            stream_options={"include_usage": True},
        ):
            last = chunk
        assert last is not None
        assert last.usage is not None
        return amount((last.usage.model_extra or {})["cost_details"]["total"])

    async with AsyncOpenAI(base_url=server.base_url, api_key=key, max_retries=0) as client:
        costs = await asyncio.gather(*(one(client, number) for number in range(100)))
    now = server.get("/credits", key=key).json
    assert amount(now["balance"]) == amount(now["available"]) == 1 - sum(costs)
    assert amount(now["held"]) == 0
    total = server.get("/usage", key=key).json["total"]
    assert (total["requests"], total["failed"]) == (100, 0)
    assert amount(total["charged"]) == sum(costs)


def test_usage_field_by_field(server: Server) -> None:
    key = server.create_org("usage", "1")
    receipts = [send(server, key), send(server, key, model="sandbox-reasoner")]
    document = server.get("/usage?group_by=day,model", key=key).json
    assert document["object"] == "list"
    assert document["time_zone"]
    rows = {row["model"]: row for row in document["data"]}
    today = {datetime.fromtimestamp(r["created_at"], UTC).strftime("%Y-%m-%d") for r in receipts}
    for receipt in receipts:
        row = rows[receipt["model"]]
        assert row["day"] in today
        assert (row["requests"], row["failed"]) == (1, 0)
        assert amount(row["charged"]) == amount(receipt["amounts"]["charged"])
        for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
            assert row["usage"][name] == receipt["usage"][name]
    now = int(time.time())
    assert server.get(f"/usage?from={now + 100}&to={now + 200}", key=key).json["data"] == []
    assert server.get(f"/usage?from={now - 100}&to={now + 200}", key=key).json["data"] != []


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("group_by=weather", "group_by"),
        ("group_by=day,day", "group_by"),
        ("from=yesterday", "from"),
        ("from=200&to=100", "from"),
    ],
)
def test_a_wrong_question_about_usage(server: Server, query: str, param: str) -> None:
    answer = server.get(f"/usage?{query}")
    assert (answer.status, answer.error["code"]) == (400, "REQUEST_001")
    assert answer.error["param"] == param


def test_a_running_request_has_a_receipt_and_a_hold(server: Server, client: OpenAI) -> None:
    before = server.get("/credits").json
    raw = client.chat.completions.with_raw_response.create(
        model="sandbox-chat",
        messages=HELLO,
        stream=True,
        max_tokens=100,
        metadata={"sandbox_pace_ms": "60000", "sandbox_tokens": "100"},
    )
    stream = raw.parse()
    next(iter(stream))
    receipt = server.receipt(raw.headers["x-request-id"])
    assert receipt["status"] == "running"
    held = amount(receipt["amounts"]["held"])
    now = server.get("/credits").json
    assert held > 0
    assert amount(now["held"]) - amount(before["held"]) == held
    assert amount(now["balance"]) == amount(before["balance"])
    assert amount(now["available"]) == amount(now["balance"]) - amount(now["held"])
    stream.close()
    assert server.final_receipt(raw.headers["x-request-id"])["status"] == "cancelled"
    until(lambda: server.get("/credits").json["held"] == before["held"], "the hold is gone", 5)


def test_without_max_tokens_the_money_bounds_the_answer_and_it_is_said(
    server: Server, connect: Callable[..., OpenAI]
) -> None:
    """A default is never invented silently: what we add is sent and shown."""
    key = server.create_org("clamped", "0.001")
    raw = connect(key).chat.completions.with_raw_response.create(
        model="sandbox-chat", messages=HELLO
    )
    receipt = server.receipt(raw.headers["x-request-id"], key=key)
    assert 256 <= receipt["max_output_tokens"] < 16_384
    assert amount(receipt["amounts"]["held"]) <= Decimal("0.001")


def test_the_receipts_of_others_do_not_exist(server: Server) -> None:
    stranger = server.create_org("stranger", "1")
    mine = server.chat().request_id
    answer = server.get(f"/requests/{mine}", key=stranger)
    assert (answer.status, answer.error["code"]) == (404, "REQUEST_004")
    nothing = server.get("/requests/req_00000000000000000000000000000000ff", key=stranger)
    assert (nothing.status, nothing.error["code"]) == (404, "REQUEST_004")
    # Another key of the same organisation may look.
    assert server.get(f"/requests/{mine}", key=server.create_key()).status == 200


def test_a_receipt_of_a_running_request_is_not_for_strangers(
    server: Server, client: OpenAI
) -> None:
    stranger = server.create_org("stranger-2")
    raw = client.chat.completions.with_raw_response.create(
        model="sandbox-chat", messages=HELLO, stream=True, metadata={"sandbox_pace_ms": "60000"}
    )
    answer = server.get(f"/requests/{raw.headers['x-request-id']}", key=stranger)
    raw.parse().close()
    assert answer.status == 404


def test_generation_is_the_same_receipt(server: Server) -> None:
    name = server.chat().request_id
    assert server.get(f"/generation?id={name}").json == server.receipt(name)


def test_every_authenticated_request_has_a_receipt(
    server: Server, connect: Callable[..., OpenAI]
) -> None:
    client = connect()
    expected = {
        "rejected": {"model": "nothing"},
        "failed": {"model": "sandbox-fail-500"},
    }
    for status, fields in expected.items():
        with pytest.raises(APIStatusError) as raised:
            client.chat.completions.create(messages=HELLO, **fields)
        receipt = server.receipt(str(raised.value.request_id))
        assert set(receipt) >= RECEIPT
        assert receipt["status"] == status
        assert receipt["error"]["code"] == raised.value.code
    answer = server.post("/chat/completions", b"not JSON")
    receipt = server.receipt(answer.request_id)
    assert (receipt["status"], receipt["model"]) == ("rejected", None)
    assert receipt["error"]["code"] == "REQUEST_001"
    assert amount(receipt["amounts"]["held"]) == 0


def test_receipts_survive_the_process(start: Callable[..., Server]) -> None:
    own = start()
    answers = [own.chat(), own.chat(model="nothing"), own.chat(stream=True)]
    before = [own.receipt(answer.request_id) for answer in answers]
    balance = own.balance()
    usage = own.get("/usage").json["total"]
    assert own.stop() == 0
    own.verify()
    own.start()
    assert [own.receipt(answer.request_id) for answer in answers] == before
    assert own.balance() == balance
    assert own.get("/usage").json["total"] == usage


def test_the_books_are_exact(server: Server) -> None:
    server.verify()
