"""A thousand requests at once on one dollar: never below zero, nothing stranded, every charge
counted (design/billing-tests.md T2.1), through sockets and the sandbox."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal

import pytest

from tests.gateway.site import CHAT, Org, Site
from tests.gateway.wire import Wire, raw_request

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.serial]
LANES = 1

CONNECTIONS = 1000


async def spend(site: Site, org: Org, count: int, max_tokens: int) -> dict[str, int]:
    """``count`` requests over CONNECTIONS keep-alive connections; codes and how often."""
    body = json.dumps(
        {
            "model": "sandbox-reasoner",
            "messages": [{"role": "user", "content": "Count to " + "many " * 200}],
            "max_tokens": max_tokens,
            "metadata": {
                "sandbox_usage": json.dumps(
                    {"prompt_tokens": 300, "completion_tokens": max_tokens * 9 // 10}
                )
            },
        }
    ).encode()
    request = raw_request("POST", CHAT, body, key=org.key)
    left = count
    codes: dict[str, int] = {}

    async def one_connection() -> None:
        nonlocal left
        wire = await Wire.open(site.port)
        while left > 0:
            left -= 1
            await wire.write(request)
            answer = await wire.answer()
            code = "ok" if answer.status == 200 else answer.json["error"]["code"]
            codes[code] = codes.get(code, 0) + 1
            if answer.status == 200:
                balance = Decimal(answer.headers["x-tokenmarket-balance"])
                assert balance >= 0
            else:
                error = answer.error(402, code)
                assert Decimal(error["needed"]) > Decimal(error["available"]) >= 0
                if code == "BILLING_002":
                    assert int(answer.headers["retry-after"]) >= 1

    await asyncio.gather(*[one_connection() for _ in range(min(CONNECTIONS, count))])
    return codes


async def watch(org: Org, seen: list[Decimal]) -> None:
    while True:
        balance, held = await org.credits()
        assert balance >= 0
        assert held >= 0
        assert balance - held >= 0
        seen.append(balance)
        await asyncio.sleep(0.02)


async def test_a_thousand_requests_on_the_last_dollar(site: Site) -> None:
    org = await site.org("1")
    seen: list[Decimal] = []
    watcher = asyncio.create_task(watch(org, seen))
    codes: dict[str, int] = {}
    for max_tokens in (2000, 400, 50, 5, 1):
        found = await spend(site, org, 1000 if max_tokens == 2000 else 400, max_tokens)
        for code, times in found.items():
            codes[code] = codes.get(code, 0) + times
        org.asked += sum(found.values())
    watcher.cancel()
    (outcome,) = await asyncio.gather(watcher, return_exceptions=True)
    assert isinstance(outcome, asyncio.CancelledError), outcome
    assert set(codes) <= {"ok", "BILLING_001", "BILLING_002"}
    assert codes["ok"] > 50
    assert codes["BILLING_001"] > 0  # the dollar did run out
    balance, held = await org.credits()
    assert held == 0
    assert 0 <= balance < Decimal("0.01")  # at least 99 percent was usable
    assert len(seen) >= 3  # and every answer told its balance
    assert min(seen) >= 0
    total = (await org.get("/api/v1/usage")).json["total"]
    assert Decimal(total["charged"]) == org.granted - balance  # to the last nano-dollar
    assert total["requests"] == org.asked
    assert total["failed"] == org.asked - codes["ok"]


async def test_a_broke_caller_does_not_ask_the_database_each_time(site: Site) -> None:
    """The negative cache of design/billing.md 4.2: refusals cost no SQL."""
    org = await site.org("0.000001")
    await spend(site, org, 5, 100)
    before = site.server.database.operations
    codes = await spend(site, org, 300, 100)
    assert set(codes) == {"BILLING_001"}
    asked = site.server.database.operations - before
    # Posting the receipts is batched; what remains is far below one per refusal.
    assert asked < 200, asked


async def test_concurrent_requests_under_all_limits_at_once(site: Site) -> None:
    """Concurrency, requests/min and money together: what is refused by one takes none of the
    others."""
    org = await site.org("0.01", concurrency=5, rpm=40)
    body = {
        "model": "sandbox-slow",
        "messages": [{"role": "user", "content": "x"}],
        "max_tokens": 3,
        "metadata": {"sandbox_delay_ms": "60", "sandbox_pace_ms": "0"},
    }
    answers = await asyncio.gather(*[org.chat(body) for _ in range(30)])
    served = [answer for answer in answers if answer.status == 200]
    assert len(served) == 5, {a.status: a.body for a in answers}
    for answer in answers:
        if answer.status != 200:
            error = answer.error(429, "QUOTA_001", retryable=True)
            assert error["reason"] == "concurrency"
            assert int(answer.headers["retry-after"]) >= 1
    quick = body | {"model": "sandbox-chat"}
    statuses = [(await org.chat(quick)).status for _ in range(40)]
    assert statuses.count(200) in (35, 36)  # 40 a minute less the 5 that ran
    assert (await org.credits())[1] == 0
