"""Members, invitations, teams, settings and audit by the management API: the rights of the key, and
whose things they are."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from tests.support.mailbox import Mailbox
from tests.support.people import cheap_passwords
from tests.unit.web.manage.desk import ROOT, Desk
from tokenmarket.accounts.identity import Identity


@pytest.fixture
async def desk(desk: Desk) -> AsyncGenerator[Desk]:
    desk.parts.identity = Identity(
        desk.database,
        desk.clock,
        ROOT,
        Mailbox(),
        sign_up="invite",
        base_url=lambda: "https://gw.test",
        passwords=cheap_passwords(),
    )
    yield desk
    await desk.parts.identity.close()


async def test_members_are_listed_changed_and_removed(desk: Desk) -> None:
    org, other = await desk.org("acme"), await desk.org("other")
    owner = await desk.person(org.id, "owner")
    bob = await desk.person(org.id, "viewer")
    stranger = await desk.person(other.id, "viewer")
    admin = (await desk.key(org.id, "admin")).token
    first = (await desk.ask(admin, "GET", "/members?limit=1")).json
    rest = (await desk.ask(admin, "GET", f"/members?cursor={first['next_cursor']}")).json
    assert {m["id"] for m in first["data"] + rest["data"]} == {owner, bob}
    assert rest["next_cursor"] is None

    changed = await desk.ask(admin, "PATCH", f"/members/{bob}", {"role": "billing"})
    assert (changed.status, changed.json["role"]) == (200, "billing")
    for path, role, status in (
        (bob, "owner", 400),  # above the key's own role
        (owner, "viewer", 400),  # an owner, by an admin
        (stranger, "viewer", 404),
        (bob, "root", 400),
    ):
        answer = await desk.ask(admin, "PATCH", f"/members/{path}", {"role": role})
        assert answer.status == status, (path, role, answer.body)
    assert (await desk.ask(admin, "DELETE", f"/members/{stranger}")).status == 404
    assert (await desk.ask(admin, "DELETE", f"/members/{bob}")).json["id"] == bob
    top = (await desk.key(org.id, "owner")).token
    assert (await desk.ask(top, "DELETE", f"/members/{owner}")).status == 409  # the last owner


async def test_invitations_come_with_their_link_once(desk: Desk) -> None:
    org = await desk.org("acme")
    token = (await desk.key(org.id, "admin")).token
    wishes = {"email": "New@example.com", "role": "developer", "language": "zh"}
    made = await desk.ask(token, "POST", "/invitations", wishes)
    assert made.status == 200, made.body
    assert made.json["url"].startswith("https://gw.test/zh/invite/")
    assert made.json["mailed"] is True
    listed = await desk.ask(token, "GET", "/invitations")
    assert [one["email"] for one in listed.json["data"]] == ["new@example.com"]
    assert made.json["url"] not in listed.body.decode()
    assert (await desk.ask(token, "DELETE", f"/invitations/{made.json['id']}")).status == 200
    assert (await desk.ask(token, "DELETE", f"/invitations/{made.json['id']}")).status == 404
    for wrong in ({**wishes, "email": "nobody"}, {**wishes, "role": "owner"}, {"email": "a@b.c"}):
        assert (await desk.ask(token, "POST", "/invitations", wrong)).status == 400, wrong


async def test_teams_from_making_to_removal(desk: Desk) -> None:
    org, other = await desk.org("acme"), await desk.org("other")
    bob = await desk.person(org.id, "viewer")
    token = (await desk.key(org.id, "admin")).token
    foreign = (await desk.key(other.id, "admin")).token
    wishes: dict[str, Any] = {
        "name": "Search", "budgets": {"spend_month": "25"}, "models": ["sandbox-chat"],
    }  # fmt: skip
    made = (await desk.ask(token, "POST", "/teams", wishes)).json
    assert made["budgets"] == {"spend_day": None, "spend_month": "25.00", "spend_total": None}
    path = f"/teams/{made['id']}"
    assert (await desk.ask(token, "POST", "/teams", wishes)).status == 409
    for wrong in ({"name": "x", "budgets": {"spend_day": "x"}}, {"name": "x", "models": []}):
        assert (await desk.ask(token, "POST", "/teams", wrong)).status == 400
    joined = await desk.ask(token, "POST", f"{path}/members", {"user_id": bob})
    assert joined.json["members"] == [bob]
    renamed = await desk.ask(token, "PATCH", path, {"name": "Find", "models": None})
    assert (renamed.json["name"], renamed.json["models"]) == ("Find", None)
    assert renamed.json["budgets"]["spend_month"] == "25.00"
    for method, where, body in (
        ("GET", path, None),
        ("PATCH", path, {"name": "Mine"}),
        ("DELETE", path, None),
        ("POST", f"{path}/members", {"user_id": bob}),
        ("DELETE", f"{path}/members/{bob}", None),
    ):
        assert (await desk.ask(foreign, method, where, body)).status == 404, (method, where)
    assert (await desk.ask(token, "DELETE", f"{path}/members/{bob}")).json["members"] == []
    assert (await desk.ask(token, "DELETE", path)).status == 200
    assert (await desk.ask(token, "GET", "/teams")).json["data"] == []


async def test_settings_leave_a_line_in_the_audit_log(desk: Desk) -> None:
    org, other = await desk.org("acme"), await desk.org("other")
    token = (await desk.key(org.id, "admin")).token
    changed = await desk.ask(token, "PATCH", "/organization", {"time_zone": "Asia/Shanghai"})
    assert (changed.json["name"], changed.json["time_zone"]) == ("acme", "Asia/Shanghai")
    assert (await desk.ask(token, "GET", "/organization")).json == changed.json
    assert (await desk.ask(token, "PATCH", "/organization", {"name": "other"})).status == 409
    assert (await desk.ask(token, "PATCH", "/organization", {"time_zone": "Mars"})).status == 400
    lines = (await desk.ask(token, "GET", "/audit?action=org")).json["data"]
    assert [line["action"] for line in lines] == ["org.settings", "org.create"]
    assert lines[0]["detail"] == {"time_zone": ["UTC", "Asia/Shanghai"]}
    assert (await desk.ask(token, "GET", "/audit?cursor=x")).status == 400
    first = (await desk.ask(token, "GET", "/audit?limit=1")).json
    rest = (await desk.ask(token, "GET", f"/audit?cursor={first['next_cursor']}")).json
    assert all(line["organization"] == org.id for line in rest["data"])
    assert (await desk.ask(token, "GET", "/admin/audit")).status == 403
    operator = (await desk.key("", "operator")).token
    everything = (await desk.ask(operator, "GET", "/admin/audit?action=org.create")).json["data"]
    assert {line["organization"] for line in everything} == {org.id, other.id}


@pytest.mark.parametrize("role", ["billing", "developer", "viewer"])
async def test_low_roles_only_look(desk: Desk, role: str) -> None:
    org = await desk.org("acme")
    token = (await desk.key(org.id, role)).token
    assert (await desk.ask(token, "GET", "/teams")).status == 200
    assert (await desk.ask(token, "GET", "/organization")).status == 200
    for method, path, body in (
        ("GET", "/members", None),
        ("GET", "/invitations", None),
        ("GET", "/audit", None),
        ("POST", "/teams", {"name": "x"}),
        ("PATCH", "/organization", {"name": "x"}),
        ("POST", "/invitations", {"email": "a@b.c", "role": "viewer"}),
    ):
        assert (await desk.ask(token, method, path, body)).status == 403, path
