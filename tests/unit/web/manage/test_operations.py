# pyright: basic
"""The operator's management endpoints about people and the installation."""

from __future__ import annotations

import pytest

from tests.unit.web.manage.desk import NOW_US, Desk
from tokenmarket.core import ids
from tokenmarket.store.audit import audit_lines
from tokenmarket.store.money_checks import record_run
from tokenmarket.store.tables import audit_event


@pytest.fixture
async def operator(desk: Desk) -> str:
    return (await desk.key("", "operator", giver="operator")).token


async def test_people(desk: Desk, operator: str) -> None:
    org = await desk.org("acme")
    user_id = await desk.person(org.id, "developer")
    chief = await desk.person("", None, operator=True)
    await desk.parts.sessions.open(user_id, address="203.0.113.9", agent="a test")
    one = f"/admin/users/{user_id}"
    shown = (await desk.ask(operator, "GET", one)).json
    assert shown["memberships"] == [{"organization": org.id, "name": "acme", "role": "developer"}]
    assert (shown["sessions"], shown["operator"], shown["suspended_at"]) == (1, False, None)
    found = await desk.ask(operator, "GET", f"/admin/users?email={user_id[:20]}")
    assert user_id in [row["id"] for row in found.json["data"]]
    held = (await desk.ask(operator, "PATCH", one, {"suspended": True})).json
    assert (held["suspended_at"], held["sessions"]) == (NOW_US // 1_000_000, 0)
    raised = (await desk.ask(operator, "PATCH", one, {"suspended": False, "operator": True})).json
    assert (raised["suspended_at"], raised["operator"]) == (None, True)
    await desk.ask(operator, "PATCH", one, {"operator": False})
    for changes in ({"operator": False}, {"suspended": True}):
        last = await desk.ask(operator, "PATCH", f"/admin/users/{chief}", changes)
        assert last.status == 409, changes
    assert (await desk.ask(operator, "PATCH", "/admin/users/usr_x", {})).status == 404
    async with desk.database.read() as conn:
        events = await audit_lines(conn, subject=user_id)
    assert len(events) == 4
    assert {row.actor.partition(":")[0] for row in events} == {"key"}


async def test_proofs(desk: Desk, operator: str) -> None:
    begun = await desk.ask(operator, "POST", "/admin/proofs", {})
    assert (begun.status, begun.json["running"]) == (200, True)
    assert (await desk.ask(operator, "POST", "/admin/proofs", {})).status == 409
    await desk.parts.proofs.stop()
    assert (await desk.ask(operator, "GET", "/admin/proof-state")).json["running"] is False
    made = (await desk.ask(operator, "GET", "/admin/proofs")).json["data"]
    assert [row["differences"] for row in made] == [0]
    assert (await desk.ask(operator, "GET", f"/admin/proofs/{made[0]['id']}")).json["found"] == []
    later = NOW_US + 60_000_000
    bad = ids.new_id("rec", later, b"0" * ids.RANDOM_BYTES)
    await record_run(desk.database, bad, later, later, [("a rule", "org_1", "1", "2")])
    first = (await desk.ask(operator, "GET", "/admin/proofs?limit=1")).json
    assert first["data"][0]["id"] == bad
    rest = await desk.ask(operator, "GET", f"/admin/proofs?cursor={first['next_cursor']}")
    assert [row["id"] for row in rest.json["data"]] == [made[0]["id"]]
    shown = (await desk.ask(operator, "GET", f"/admin/proofs/{bad}")).json
    assert shown["found"] == [
        {"rule": "a rule", "subject": "org_1", "expected": "1", "actual": "2"}
    ]
    assert (await desk.ask(operator, "GET", "/admin/proofs/rec_x")).status == 404
    assert (await desk.ask(operator, "GET", "/admin/proofs?cursor=x")).status == 400
    costs = await desk.ask(operator, "GET", "/admin/provider-costs?days=30")
    assert (costs.status, costs.json["data"]) == (200, [])
    assert (await desk.ask(operator, "GET", "/admin/provider-costs?days=2")).status == 400


async def test_health(desk: Desk, operator: str) -> None:
    desk.outbound.cooling = {"deepseek"}
    shown = (await desk.ask(operator, "GET", "/admin/health")).json
    assert (shown["not_ready"], shown["requests"], shown["charged"]) == (None, 0, "0.00")
    assert {one["provider"] for one in shown["cool_downs"]} == {"deepseek"}
    assert 0 < shown["disk_free_bytes"] <= shown["disk_total_bytes"]


async def test_settings(desk: Desk, operator: str) -> None:
    assert (await desk.ask(operator, "GET", "/admin/settings")).json["cny_per_usd"] is None
    rate = {"cny_per_usd": "7.12", "rate_day": "2026-11-24"}
    changed = (await desk.ask(operator, "PATCH", "/admin/settings", rate)).json
    assert {name: changed[name] for name in rate} == rate
    for wrong in (
        {"cny_per_usd": "0"},
        {"cny_per_usd": "7.12", "rate_day": "soon"},
        {"sign_up": "everybody"},
        {"support": "nowhere"},
    ):
        assert (await desk.ask(operator, "PATCH", "/admin/settings", wrong)).status == 400
    assert (await desk.ask(operator, "GET", "/admin/settings")).json == changed
    nowhere = await desk.ask(operator, "PATCH", "/admin/settings", {"group_of_new": "grp_x"})
    assert nowhere.status == 404
    people = {"sign_up": "invite", "support": "help@example.com"}
    told = (await desk.ask(operator, "PATCH", "/admin/settings", people)).json
    assert told == changed | people
    cleared = await desk.ask(operator, "PATCH", "/admin/settings", {"cny_per_usd": None})
    assert cleared.json["cny_per_usd"] is None


async def test_the_audit_log_is_proved(desk: Desk, operator: str) -> None:
    await desk.org("acme")
    whole = (await desk.ask(operator, "GET", "/admin/audit-check")).json
    assert (whole["whole"], whole["broken_at"]) == (True, None)
    await desk.change(audit_event, audit_event.c.seq == 2, actor="somebody")
    broken = (await desk.ask(operator, "GET", "/admin/audit-check")).json
    assert (broken["whole"], broken["broken_at"]) == (False, 2)
