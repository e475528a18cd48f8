"""Which provider is asked, in which order, and when the next one is."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from tests.gateway.site import CHAT, Lane, Org, Site, eventually
from tests.gateway.upstream import Link, Seen, answers, raw, silent, streams, well

pytestmark = pytest.mark.asyncio(loop_scope="module")

AT_A, AT_B, AT_C = Decimal("0.000017"), Decimal("0.000041"), Decimal("0.000006")
BROKEN = answers(500, {"error": {"message": "broken"}})
MALFORMED = answers(400, {"error": {"message": "broken words"}})
NO_KEY = answers(401, {"error": {"message": "Incorrect API key provided"}})


def decisions(receipt: dict[str, Any]) -> dict[str, str]:
    return {c["provider"]: c["decision"] for c in receipt["route"]["candidates"]}


def tried(receipt: dict[str, Any]) -> list[tuple[str, int | None]]:
    return [(a["provider"], a["status"]) for a in receipt["attempts"]]


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_the_second_route_answers_when_the_first_fails(site: Site, stream: bool) -> None:
    lane, org = site.lane(), await site.org(concurrency=1)
    lane.upstream.will(lane.a, BROKEN)
    answer = await org.chat(lane.chat("two", stream=stream))
    assert answer.status == 200
    assert answer.text == ("Hello there.")
    assert answer.headers["x-tokenmarket-provider"] == lane.b
    assert answer.headers["x-tokenmarket-model"] == "two-at-b"
    assert answer.headers["x-tokenmarket-attempts"] == "2"
    receipt = await org.receipt(answer.id)
    assert receipt["status"] == "succeeded"
    assert receipt["provider"] == lane.b
    assert tried(receipt) == [(lane.a, 500), (lane.b, 200)]
    assert decisions(receipt) == {lane.a: "failed", lane.b: "chosen"}
    assert receipt["error"] is None
    await org.settled(AT_B)  # at the price of the one that answered
    assert (await org.chat(lane.chat("two"))).status == 200


FAILOVER = {
    "refused": None,
    "reset": raw(b"", then="reset"),
    "silence": silent,
    "401": NO_KEY,
    "402": answers(402, {"error": {"message": "pay"}}),
    "403": answers(403, {"error": {"message": "no"}}),
    "404": answers(404, {"error": {"message": "gone"}}),
    "408": answers(408, {}),
    "429": answers(429, {"error": {"message": "slow down"}}),
    "503": answers(503, {"error": {"message": "later"}}),
    "529": answers(529, {"error": {"message": "later"}}),
    "garbage": answers(200, b"<html>"),
    "error in 200": answers(200, {"error": {"message": "x"}}),
}


@pytest.mark.parametrize("case", FAILOVER)
async def test_what_is_not_the_callers_fault_goes_to_the_next_route(site: Site, case: str) -> None:
    lane, org = site.lane(), await site.org()
    act = FAILOVER[case]
    model = "two" if act else "refused_two"
    if act:
        lane.upstream.will(lane.a, act)
    answer = await org.chat(lane.chat(model))
    assert answer.status == 200, answer.body
    assert answer.headers["x-tokenmarket-provider"] == lane.b
    await org.settled(AT_B)
    await eventually(lambda: not lane.upstream.busy(lane.a, lane.b), "connections are let go")


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_what_the_caller_wrote_wrong_is_not_asked_twice(site: Site, status: int) -> None:
    lane, org = site.lane(), await site.org()
    lane.upstream.will(lane.a, answers(status, {"error": {"message": "wrong"}}))
    (await org.chat(lane.chat("two"))).error(status, "PROVIDER_001", fault="caller")
    assert lane.calls() == (1, 0, 0)
    await org.settled()


async def test_the_last_failure_is_the_answer(site: Site) -> None:
    lane, org = site.lane(), await site.org()
    lane.upstream.will(lane.a, BROKEN)
    lane.upstream.will(lane.b, silent)
    answer = await org.chat(lane.chat("two"))
    error = answer.error(504, "PROVIDER_TIMEOUT")
    assert error["provider"]["name"] == lane.b
    receipt = await org.receipt(answer.id)
    assert decisions(receipt) == {lane.a: "failed", lane.b: "failed"}
    assert tried(receipt) == [(lane.a, 500), (lane.b, None)]
    await org.settled()


async def test_a_failed_attempt_is_closed_before_the_next_opens(site: Site) -> None:
    lane, org = site.lane(), await site.org()
    busy_at_b: list[int] = []

    async def look(link: Link, seen: Seen) -> None:
        await asyncio.sleep(0.02)  # what was closed has now arrived
        busy_at_b.append(len(lane.upstream.busy(lane.a)))
        await well(link, seen)

    lane.upstream.will(lane.a, silent)
    lane.upstream.will(lane.b, look)
    assert (await org.chat(lane.chat("two"))).status == 200
    assert busy_at_b == [0]


@pytest.mark.parametrize("form", ["string", "object"])
async def test_a_pin_never_falls_back(site: Site, form: str) -> None:
    lane, org = site.lane(), await site.org()
    lane.upstream.will(lane.a, BROKEN)
    pin: Any = lane.a if form == "string" else {"only": [lane.a], "allow_fallbacks": False}
    answer = await org.chat(lane.chat("all", provider=pin))
    answer.error(502, "PROVIDER_001")
    assert lane.calls() == (1, 0, 0)
    receipt = await org.receipt(answer.id)
    assert receipt["route"]["requested"] == lane.a
    assert decisions(receipt) == {lane.a: "failed", lane.b: "skipped", lane.c: "skipped"}
    assert all(c["reason"] for c in receipt["route"]["candidates"])
    await org.settled()


async def answered_by(lane: Lane, org: Org, provider: Any, model: str = "all") -> str:
    answer = await org.chat(lane.chat(model, provider=provider))
    assert answer.status == 200, answer.body
    return answer.headers["x-tokenmarket-provider"]


async def test_the_callers_choice(site: Site) -> None:
    lane, org = site.lane(), await site.org()
    for provider, wanted in (
        (lane.b, lane.b),
        (lane.c, lane.c),
        ({"order": [lane.c, lane.b]}, lane.c),
        ({"order": [lane.b]}, lane.b),
        ({"only": [lane.b]}, lane.b),
        ({"ignore": [lane.a]}, lane.b),
        ({"ignore": [lane.a, lane.b]}, lane.c),
        ({"sort": "price"}, lane.c),
        ({"sort": "price", "ignore": [lane.c]}, lane.a),
        ({"max_price": {"prompt": 0.75}}, lane.c),
        ({"max_price": {"completion": "2"}, "ignore": [lane.c]}, lane.a),
        ({"max_price": {"prompt": "1.000000000", "completion": 2}}, lane.a),
        ({"data_collection": "deny"}, lane.a),
        ({"zdr": True}, lane.a),
        ({}, lane.a),
        (None, lane.a),
    ):
        assert await answered_by(lane, org, provider) == wanted, provider
    assert (await org.credits())[1] == 0


async def test_order_is_followed_through_its_failures(site: Site) -> None:
    lane, org = site.lane(), await site.org()
    lane.upstream.will(lane.c, BROKEN)
    lane.upstream.will(lane.b, BROKEN)
    answer = await org.chat(lane.chat("all", provider={"order": [lane.c, lane.b]}))
    assert answer.status == 200
    receipt = await org.receipt(answer.id)
    assert [name for name, _ in tried(receipt)] == [lane.c, lane.b, lane.a]
    assert receipt["route"]["policy"] == "order"
    await org.settled(AT_A)


async def test_without_fallbacks_only_the_first_of_the_order_is_asked(site: Site) -> None:
    lane, org = site.lane(), await site.org()
    lane.upstream.will(lane.b, BROKEN)
    provider = {"order": [lane.b, lane.a], "allow_fallbacks": False}
    (await org.chat(lane.chat("all", provider=provider))).error(502, "PROVIDER_001")
    assert lane.calls() == (0, 1, 0)


@pytest.mark.parametrize(
    ("provider", "param"),
    [
        ("nobody", "provider"),
        ("", "provider"),
        (5, "provider"),
        ([], "provider"),
        ({"only": ["nobody"]}, "provider.only[0]"),
        ({"order": ["nobody"]}, "provider.order[0]"),
        ({"ignore": ["nobody"]}, "provider.ignore[0]"),
        ({"only": "x"}, "provider.only"),
        ({"sort": "beauty"}, "provider.sort"),
        ({"max_price": {"prompt": -1}}, "provider.max_price.prompt"),
        ({"max_price": {"prompt": "cheap"}}, "provider.max_price.prompt"),
        ({"max_price": {"soul": 1}}, "provider.max_price.soul"),
        ({"unknown_wish": True}, "provider.unknown_wish"),
        ({"allow_fallbacks": "no"}, "provider.allow_fallbacks"),
    ],
)
async def test_a_choice_that_cannot_be_read_names_its_path(
    site: Site, provider: Any, param: str
) -> None:
    lane, org = site.lane_shared("choice"), await site.org()
    answer = await org.chat(lane.chat("all", provider=provider))
    answer.error(400, "REQUEST_001", param=param, fault="caller", retryable=False)
    assert lane.calls() == (0, 0, 0)
    await org.settled()


async def test_a_choice_that_leaves_nothing(site: Site) -> None:
    lane, org = site.lane_shared("choice"), await site.org()
    everyone = [lane.a, lane.b, lane.c]
    answer = await org.chat(lane.chat("all", provider={"ignore": everyone}))
    answer.error(400, "REQUEST_001", param="provider")
    answer = await org.chat(lane.chat("one", provider=lane.b))
    answer.error(404, "PROVIDER_001", reason="model_not_at_provider", retryable=False)
    answer = await org.chat(lane.chat("all", provider={"max_price": {"prompt": 0}}))
    answer.error(400, "REQUEST_001", param="provider")
    await org.settled()


async def test_other_models_are_fallen_back_to(site: Site) -> None:
    lane, org = site.lane(), await site.org()
    lane.upstream.will(lane.a, BROKEN)
    answer = await org.chat(lane.chat("one", models=[lane.model("keys")]))
    assert answer.status == 200
    assert answer.headers["x-tokenmarket-model"] == "keys-at-c"
    assert answer.json["model"] == lane.model("keys")  # what was really served
    receipt = await org.receipt(answer.id)
    assert receipt["model"] == lane.model("keys")
    assert tried(receipt) == [(lane.a, 500), (lane.c, 200)]
    await org.settled(AT_C)


async def test_an_unknown_fallback_model_is_named(site: Site) -> None:
    lane, org = site.lane_shared("choice"), await site.org()
    answer = await org.chat(lane.chat("one", models=[lane.model("two"), "no-such-model"]))
    answer.error(404, "MODEL_001", param="models[1]")
    await org.settled()


async def test_required_parameters_choose_the_route_that_takes_them(site: Site) -> None:
    """a drops ``logit_bias``… nobody here takes ``store``; c does not take ``logprobs``."""
    lane, org = site.lane(), await site.org()
    wish = {"require_parameters": True}
    answer = await org.chat(lane.chat("all", store=True, provider=wish))
    answer.error(400, "REQUEST_002", param="store", fault="caller", retryable=False)
    assert lane.calls() == (0, 0, 0)
    order = wish | {"order": [lane.c, lane.a]}
    answer = await org.chat(lane.chat("all", logprobs=True, provider=order))
    assert answer.status == 200, answer.body
    assert answer.headers["x-tokenmarket-provider"] == lane.a
    receipt = await org.receipt(answer.id)
    assert [name for name, _ in tried(receipt)] == [lane.a]
    assert decisions(receipt)[lane.c] == "skipped"
    await org.settled(AT_A)


async def test_nothing_is_dropped_silently(site: Site) -> None:
    lane, org = site.lane(), await site.org()
    answer = await org.chat(lane.chat("one", store=True, verbosity="low", top_k=7))
    assert answer.status == 200
    assert set(answer.headers["x-tokenmarket-dropped-params"].split(",")) == {"store", "verbosity"}
    receipt = await org.receipt(answer.id)
    assert set(receipt["dropped_params"]) == {"store", "verbosity"}
    sent = lane.upstream.of(lane.a)[0].json
    assert sent["top_k"] == 7  # an unknown member goes to an upstream of the same dialect
    assert "store" not in sent
    assert "provider" not in sent


# --- keys of a pool, cool-down --------------------------------------------------------------------


def keys_used(lane: Lane) -> list[str]:
    return [
        seen.headers["authorization"].removeprefix("Bearer ") for seen in lane.upstream.of(lane.c)
    ]


@pytest.mark.parametrize("status", [401, 402, 403, 429])
async def test_a_refused_key_rests_and_the_other_one_answers(site: Site, status: int) -> None:
    lane, org = site.lane(), await site.org()
    lane.upstream.will(lane.c, answers(status, {"error": {"message": "no"}}))
    answer = await org.chat(lane.chat("keys"))
    assert answer.status == 200, answer.body
    receipt = await org.receipt(answer.id)
    assert tried(receipt) == [(lane.c, status), (lane.c, 200)]
    bad, good = keys_used(lane)
    assert {bad, good} == {f"first-key-{lane.n}", f"other-key-{lane.n}"}
    for _ in range(3):
        assert (await org.chat(lane.chat("keys"))).status == 200
    assert keys_used(lane)[2:] == [good] * 3  # it rests
    await org.settled(*[AT_C] * 4)
    await site.jump(4000)
    for _ in range(2):
        assert (await org.chat(lane.chat("keys"))).status == 200
    assert bad in keys_used(lane)[5:]  # and is tried again later


async def test_when_all_keys_are_refused_the_caller_is_not_to_blame(site: Site) -> None:
    lane, org = site.lane(), await site.org()
    lane.upstream.will(lane.c, NO_KEY, NO_KEY)
    answer = await org.chat(lane.chat("keys"))
    error = answer.error(502, "PROVIDER_001", fault="platform")
    assert "key" not in (error["provider"].get("message") or "").lower()
    second = await org.chat(lane.chat("keys"))
    second.error(503, "PROVIDER_002", retryable=True)
    assert int(second.headers["retry-after"]) > 100
    assert lane.calls() == (0, 0, 2)
    receipt = await org.receipt(second.id)
    assert receipt["status"] == "rejected"
    await org.settled()


async def test_a_failing_route_cools_down_and_recovers(site: Site) -> None:
    lane, org = site.lane(), await site.org()
    lane.upstream.will(lane.a, *[BROKEN] * 5)
    for _ in range(5):
        (await org.chat(lane.chat("one"))).error(502, "PROVIDER_001")
    answer = await org.chat(lane.chat("one"))
    answer.error(503, "PROVIDER_002", retryable=True)
    assert 1 <= int(answer.headers["retry-after"]) <= 6
    assert lane.calls() == (5, 0, 0)
    # A model that has another route goes around it.
    around = await org.chat(lane.chat("one", models=[lane.model("keys")]))
    assert around.status == 200
    assert around.headers["x-tokenmarket-attempts"] == "1"
    receipt = await org.receipt(around.id)
    assert decisions(receipt) == {lane.c: "chosen", lane.a: "skipped"}
    await site.jump(10)
    # Half-open: one request may try; it fails, and the wait is longer.
    lane.upstream.will(lane.a, BROKEN)
    (await org.chat(lane.chat("one"))).error(502, "PROVIDER_001")
    longer = await org.chat(lane.chat("one"))
    longer.error(503, "PROVIDER_002")
    assert int(longer.headers["retry-after"]) > 6
    await site.jump(400)
    for _ in range(3):
        assert (await org.chat(lane.chat("one"))).status == 200
    await org.settled(AT_C, *[AT_A] * 3)


async def test_while_one_request_probes_others_go_around(site: Site) -> None:
    lane, org = site.lane(), await site.org()
    lane.upstream.will(lane.a, *[BROKEN] * 5)
    for _ in range(5):
        await org.chat(lane.chat("one"))
    await site.jump(400)
    release = asyncio.Event()

    async def waits(link: Link, seen: Seen) -> None:
        await release.wait()
        await well(link, seen)

    lane.upstream.will(lane.a, waits)
    probe = asyncio.create_task(org.chat(lane.chat("one")))
    await eventually(lambda: lane.calls() == (6, 0, 0), "the probe arrives")
    (await org.chat(lane.chat("one"))).error(503, "PROVIDER_002")
    release.set()
    assert (await probe).status == 200
    assert (await org.chat(lane.chat("one"))).status == 200


async def test_the_callers_mistakes_cool_nothing_down(site: Site) -> None:
    lane, org = site.lane(), await site.org()
    lane.upstream.will(lane.a, *[MALFORMED] * 8)
    for _ in range(8):
        (await org.chat(lane.chat("one"))).error(400, "PROVIDER_001")
    assert (await org.chat(lane.chat("one"))).status == 200
    await org.settled(AT_A)


async def test_never_a_second_upstream_after_the_first_byte(site: Site) -> None:
    lane, org = site.lane(), await site.org()
    lane.upstream.will(lane.a, streams("once", end="reset"))
    answer = await org.chat(lane.chat("all", stream=True))
    assert "[DONE]" not in answer.events
    assert lane.calls() == (1, 0, 0)
    await org.settled()


async def test_a_key_may_only_use_its_models(site: Site) -> None:
    lane = site.lane_shared("choice")
    org = await site.org(models=(lane.model("one"),))
    assert (await org.chat(lane.chat("one"))).status == 200
    (await org.chat(lane.chat("two"))).error(403, "AUTH_002", fault="caller", retryable=False)
    shown = (await org.get("/api/v1/models")).json["data"]
    assert [model["id"] for model in shown] == [lane.model("one")]
    (await org.site.post(CHAT, lane.chat("one"))).error(401, "AUTH_001")
    await org.settled(AT_A)
