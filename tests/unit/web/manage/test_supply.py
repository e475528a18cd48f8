# pyright: basic
"""The operator's management endpoints: supply and customers, and that no secret comes out."""

from __future__ import annotations

import pytest

from tests.unit.web.manage.desk import NOW_US, Desk
from tokenmarket.backoffice import prices
from tokenmarket.catalog import load_shipped
from tokenmarket.store.audit import audit_lines

SECRET = "sk-never-shown-0123456789"
PRICE = [{"unit": "input_token", "usd": "2"}, {"unit": "output_token", "usd": "4"}]
CHANGE = {"model": "deepseek-flash", "provider": "deepseek", "price": PRICE, "reason": "a test"}


@pytest.fixture
async def operator(desk: Desk) -> str:
    return (await desk.key("", "operator", giver="operator")).token


async def test_a_provider_and_its_keys(desk: Desk, operator: str) -> None:
    body = {"adapter": "openai", "base_url": "https://own.example/v1", "api_key_env": "OWN_KEY"}
    made = await desk.ask(operator, "PUT", "/admin/providers/own", body)
    assert (made.status, made.json["enabled"], made.json["keys"]) == (200, True, [])
    key = await desk.ask(operator, "POST", "/admin/providers/own/keys", {"key": SECRET})
    assert key.status == 200
    drained = await desk.ask(
        operator, "PUT", "/admin/providers/own", body | {"enabled": False, "rpm": 3}
    )
    assert (drained.json["enabled"], drained.json["rpm"]) == (False, 3)
    listed = await desk.ask(operator, "GET", "/admin/providers?limit=200")
    assert "own" in [one["name"] for one in listed.json["data"]]
    bad = await desk.ask(operator, "PUT", "/admin/providers/own", body | {"adapter": "nothing"})
    assert (bad.status, bad.code) == (400, "REQUEST_001")
    again = await desk.ask(operator, "POST", "/admin/providers/own/keys", {"key": SECRET})
    assert again.status == 409
    gone = await desk.ask(operator, "DELETE", f"/admin/providers/own/keys/{key.json['id']}")
    assert gone.status == 200
    async with desk.database.read() as conn:
        events = await audit_lines(conn, subject="own")
    assert [one.action.removeprefix("provider.") for one in events] == [
        "key.remove",
        "change",
        "key.add",
        "create",
    ]
    told = [made, key, drained, listed, bad, again, gone]
    assert not any(SECRET.encode() in answer.body for answer in told)
    assert not any(SECRET in one.detail for one in events)


async def test_a_price_is_drafted_scheduled_and_cancelled(desk: Desk, operator: str) -> None:
    at = NOW_US // 1_000_000 + 3_600
    made = await desk.ask(
        operator,
        "POST",
        "/admin/price-changes",
        CHANGE | {"effective_at": at, "markup_percent": "5"},
    )
    assert (made.status, made.json["state"], made.json["effective_at"]) == (200, "draft", at)
    rows = {row["unit"]: row for row in made.json["rows"]}
    assert rows["input_token"]["before_usd"] == "0.30"
    assert rows["input_token"]["after_usd"] == "2.10"
    assert rows["input_token"]["change_percent"] == "600.00"
    assert rows["cached_input_token"]["after_usd"] is None
    one = f"/admin/price-changes/{made.json['id']}"
    assert (await desk.ask(operator, "POST", f"{one}/schedule", {})).json["state"] == "scheduled"
    assert (await desk.ask(operator, "POST", f"{one}/schedule", {})).status == 409
    assert (await desk.ask(operator, "POST", f"{one}/cancel", {})).json["state"] == "cancelled"
    assert (await desk.ask(operator, "GET", one)).json["state"] == "cancelled"
    due = await prices.publish_due(desk.database, load_shipped(), now_us=NOW_US * 2)
    assert due == []
    listed = await desk.ask(operator, "GET", "/admin/price-changes?model=deepseek-flash")
    assert [row["id"] for row in listed.json["data"]] == [made.json["id"]]
    assert (await desk.ask(operator, "GET", "/admin/price-changes/pch_no")).status == 404
    wrong = CHANGE | {"price": [{"unit": "input_token", "usd": "a lot"}]}
    assert (await desk.ask(operator, "POST", "/admin/price-changes", wrong)).status == 400


async def test_a_provider_is_as_shipped_again(desk: Desk, operator: str) -> None:
    one = "/admin/providers/deepseek"
    before = (await desk.ask(operator, "GET", one)).json
    assert (before["enabled"], before["changed"], before["running"]) == (True, False, 0)
    body = {"adapter": before["adapter"], "base_url": before["base_url"], "enabled": False}
    known = {"retention_days": 30, "trains": False, "region": "EU"}
    told = (await desk.ask(operator, "PUT", one, body | {"data": known})).json
    assert (told["enabled"], told["changed"], told["data"]) == (False, True, known)
    kept = (await desk.ask(operator, "PUT", one, body | {"rpm": 9})).json
    assert (kept["data"], kept["rpm"]) == (known, 9)
    assert (await desk.ask(operator, "DELETE", one)).status == 200
    assert (await desk.ask(operator, "GET", one)).json == before
    assert (await desk.ask(operator, "DELETE", one)).status == 404
    assert (await desk.ask(operator, "GET", "/admin/providers/nobody")).status == 404


async def test_a_test_call(desk: Desk, operator: str) -> None:
    built_in = await desk.ask(operator, "POST", "/admin/providers/sandbox/test", {})
    assert (built_in.json["ok"], built_in.json["finding"]) == (True, "built_in")
    keyless = await desk.ask(operator, "POST", "/admin/providers/deepseek/test", {})
    assert (keyless.json["ok"], keyless.json["finding"]) == (False, "no_key")
    assert (await desk.ask(operator, "POST", "/admin/providers/nobody/test", {})).status == 404


async def test_routes(desk: Desk, operator: str) -> None:
    found = await desk.ask(operator, "GET", "/admin/routes?model=DeepSeek-V4-pro")
    assert {row["provider"] for row in found.json["data"]} == {"deepseek", "dataeyes"}
    one = "/admin/routes/deepseek/DeepSeek-V4-pro"
    before = (await desk.ask(operator, "GET", one)).json
    assert before["price"][0]["unit"] == "input_token"
    assert (before["changed"], before["attempts_24h"]) == (False, None)
    changed = await desk.ask(operator, "PUT", one, {"weight": 7, "priority": 1})
    assert (changed.status, changed.json["weight"], changed.json["changed"]) == (200, 7, True)
    assert changed.json["upstream_model"] == before["upstream_model"]
    assert changed.json["price"] == before["price"]
    assert (await desk.ask(operator, "DELETE", one)).status == 200
    assert (await desk.ask(operator, "GET", one)).json == before
    assert (await desk.ask(operator, "DELETE", one)).status == 404
    assert (await desk.ask(operator, "PUT", one, {"weight": -1})).status == 400


async def test_a_route_is_added_and_gone(desk: Desk, operator: str) -> None:
    one = "/admin/routes/openai/DeepSeek-V4-pro"
    made = await desk.ask(operator, "PUT", one, {})
    assert (made.status, made.json["upstream_model"]) == (200, "DeepSeek-V4-pro")
    assert (made.json["price"], made.json["available"]) == ([], False)
    assert (await desk.ask(operator, "DELETE", one)).status == 200
    assert (await desk.ask(operator, "GET", one)).status == 404
    for nowhere in ("nowhere/DeepSeek-V4-pro", "openai/no/such/model"):
        refused = await desk.ask(operator, "PUT", f"/admin/routes/{nowhere}", {})
        assert (refused.status, refused.code) == (400, "REQUEST_001"), nowhere


async def test_cool_downs_end(desk: Desk, operator: str) -> None:
    desk.outbound.cooling = {"deepseek"}
    found = await desk.ask(operator, "GET", "/admin/cool-downs")
    models = [one["model"] for one in found.json["data"]]
    assert "DeepSeek-V4-pro" in models
    ended = await desk.ask(operator, "DELETE", "/admin/cool-downs/deepseek/DeepSeek-V4-pro")
    assert ended.status == 200
    assert (await desk.ask(operator, "DELETE", "/admin/cool-downs/deepseek")).status == 200
    assert desk.outbound.ended == [("deepseek", "deepseek-v4-pro"), ("deepseek", None)]
    assert (await desk.ask(operator, "GET", "/admin/cool-downs")).json["data"] == []
    for nothing in ("nobody", "deepseek/no/such/model"):
        answer = await desk.ask(operator, "DELETE", f"/admin/cool-downs/{nothing}")
        assert answer.status == 404
    async with desk.database.read() as conn:
        events = await audit_lines(conn, action="cool_down")
    assert [one.object for one in events] == ["deepseek", "DeepSeek-V4-pro at deepseek"]


async def test_models(desk: Desk, operator: str) -> None:
    listed = await desk.ask(operator, "GET", "/admin/models?search=deepseek&operation=chat")
    assert "DeepSeek-V4-pro" in [one["id"] for one in listed.json["data"]]
    one = "/admin/models/DeepSeek-V4-pro"
    before = (await desk.ask(operator, "GET", one)).json
    assert set(before["providers"]) == {"deepseek", "dataeyes"}
    changes = {"name_zh": "深度", "enabled": False, "deprecated_at": "2027-01-31"}
    changed = (await desk.ask(operator, "PATCH", one, changes)).json
    assert changed == before | changes | {"changed": True}
    wrong = await desk.ask(operator, "PATCH", one, {"policy": "by colour"})
    assert (wrong.status, wrong.code) == (400, "REQUEST_001")
    assert (await desk.ask(operator, "DELETE", one)).status == 200
    assert (await desk.ask(operator, "GET", one)).json == before
    assert (await desk.ask(operator, "GET", "/admin/models/no/such")).status == 404
    assert (await desk.ask(operator, "PATCH", "/admin/models/no/such", {})).status == 404
    assert (await desk.ask(operator, "GET", "/admin/models?operation=dance")).status == 400


async def test_groups_customers_and_announcements(desk: Desk, operator: str) -> None:
    org = await desk.org("acme")
    group = await desk.ask(
        operator, "POST", "/admin/groups", {"name": "partners", "markup_percent": "-12.5"}
    )
    assert (group.status, group.json["markup_percent"]) == (200, "-12.5")
    one = f"/admin/organizations/{org.id}"
    moved = await desk.ask(operator, "PATCH", one, {"group": group.json["id"]})
    assert (moved.json["group"], moved.json["suspended_at"]) == (group.json["id"], None)
    assert (await desk.ask(operator, "PATCH", one, {"suspended": True})).status == 400
    held = await desk.ask(operator, "PATCH", one, {"suspended": True, "reason": "fraud"})
    assert held.json["suspended_at"] is not None
    assert held.json["group"] == group.json["id"]
    kept = await desk.ask(operator, "DELETE", f"/admin/groups/{group.json['id']}")
    assert kept.status == 409
    await desk.ask(operator, "PATCH", one, {"group": None})
    assert (await desk.ask(operator, "DELETE", f"/admin/groups/{group.json['id']}")).status == 200
    limits = {"rpm": 60, "spend_month": "25.5"}
    limited = await desk.ask(operator, "PATCH", one, {"limits": limits})
    assert {name: limited.json["limits"][name] for name in limits} == {
        "rpm": 60,
        "spend_month": "25.50",
    }
    assert (await desk.ask(operator, "GET", one)).json == limited.json | {"people": []}
    for wrong in ({"spend_day": "much"}, {"rpm": -1}):
        assert (await desk.ask(operator, "PATCH", one, {"limits": wrong})).status == 400
    found = await desk.ask(operator, "GET", "/admin/organizations?search=acme&state=suspended")
    assert [row["id"] for row in found.json["data"]] == [org.id]
    said = await desk.ask(
        operator, "POST", "/admin/announcements", {"text_en": "Hello", "text_zh": "你好"}
    )
    assert said.status == 200
    gone = await desk.ask(operator, "DELETE", f"/admin/announcements/{said.json['id']}")
    assert gone.status == 200


async def test_an_organisations_key_may_none_of_it(desk: Desk, operator: str) -> None:
    org = await desk.org("acme")
    owner = (await desk.key(org.id, "owner")).token
    for method, path, body in (
        ("GET", "/admin/providers", None),
        ("POST", "/admin/groups", {"name": "x"}),
        ("POST", "/admin/price-changes", CHANGE),
        ("PATCH", f"/admin/organizations/{org.id}", {"group": None}),
    ):
        answer = await desk.ask(owner, method, path, body)
        assert (answer.status, answer.code) == (403, "AUTH_002"), path
