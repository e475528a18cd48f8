"""API keys by the management API: what is made, shown, changed, rolled and disabled."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.web.manage.desk import NOW_US, Desk
from tokenmarket.accounts import admin
from tokenmarket.accounts.admin import KeyWishes
from tokenmarket.accounts.callers import Accounts
from tokenmarket.catalog import CatalogSource, load_shipped
from tokenmarket.core import sealing

NOW_S = NOW_US // 1_000_000
FULL: dict[str, Any] = {
    "name": "production",
    "limits": {"rpm": 60, "tpm": None, "concurrency": 4, "spend_day": "0.50", "spend_month": "25"},
    "allowed": {"models": ["sandbox-chat"], "operations": ["chat"], "addresses": ["10.0.0.0/8"]},
    "expires_at": NOW_S + 100,
}


@pytest.fixture
def desk(desk: Desk) -> Desk:
    desk.parts.catalog = CatalogSource(load_shipped())
    return desk


async def works(desk: Desk, token: str, address: str = "10.1.2.3") -> bool:
    accounts = Accounts(desk.database, desk.parts.root.derive(sealing.PEPPER), desk.clock)
    try:
        await accounts.authenticate(token, address)
    except Exception:
        return False
    return True


async def test_a_key_is_made_shown_and_listed(desk: Desk) -> None:
    org = await desk.org("acme")
    token = (await desk.key(org.id, "developer")).token
    made = await desk.ask(token, "POST", "/keys", FULL)
    assert made.status == 200, made.body
    text = made.json["key"]
    assert await works(desk, text)
    assert not await works(desk, text, address="192.0.2.1")
    shown = await desk.ask(token, "GET", f"/keys/{made.json['id']}")
    assert shown.json == {name: value for name, value in made.json.items() if name != "key"}
    assert text not in shown.body.decode()
    assert shown.json["hint"] == f"{text[:12]}…{text[-4:]}"
    assert shown.json["limits"] == {
        "rpm": 60,
        "tpm": None,
        "concurrency": 4,
        "spend_day": "0.50",
        "spend_month": "25.00",
        "spend_total": None,
    }
    assert shown.json["allowed"]["models"] == ["sandbox-chat"]
    assert shown.json["status"] == "expiring"
    assert shown.json["spent_month"] == "0.00"
    desk.clock.now_s += 1
    second = await desk.ask(token, "POST", "/keys", {"name": "second"})
    first_page = await desk.ask(token, "GET", "/keys?limit=1")
    assert [one["id"] for one in first_page.json["data"]] == [second.json["id"]]
    rest = await desk.ask(token, "GET", f"/keys?limit=1&cursor={first_page.json['next_cursor']}")
    assert [one["id"] for one in rest.json["data"]] == [made.json["id"]]
    assert rest.json["next_cursor"] is None


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": "a", "limits": {"spend_day": "much"}}, "limits.spend_day"),
        ({"name": "a", "limits": {"rpm": -1}}, "limits.rpm"),
        ({"name": "a", "allowed": {"models": ["nobody/nothing"]}}, "models"),
        ({"name": "a", "allowed": {"providers": ["nobody"]}}, "providers"),
        ({"name": "a", "allowed": {"models": []}}, "allowed.models"),
        ({"name": "a", "color": "red"}, "color"),
    ],
)
async def test_what_cannot_be_is_named(desk: Desk, body: dict[str, Any], param: str) -> None:
    org = await desk.org("acme")
    token = (await desk.key(org.id, "developer")).token
    answer = await desk.ask(token, "POST", "/keys", body)
    assert answer.status == 400, answer.body
    assert answer.json["error"]["param"] == param
    assert (await desk.ask(token, "GET", "/keys")).json["data"] == []


async def test_only_what_is_named_changes(desk: Desk) -> None:
    org = await desk.org("acme")
    token = (await desk.key(org.id, "developer")).token
    made = (await desk.ask(token, "POST", "/keys", FULL)).json
    path = f"/keys/{made['id']}"
    changed = await desk.ask(token, "PATCH", path, {"limits": {"spend_month": "1"}})
    assert changed.status == 200, changed.body
    expected = {name: value for name, value in made.items() if name != "key"}
    nothing = dict.fromkeys(made["limits"])
    assert changed.json == {**expected, "limits": {**nothing, "spend_month": "1.00"}}
    endless = await desk.ask(token, "PATCH", path, {"expires_at": None, "name": "other"})
    assert endless.json["expires_at"] is None
    assert endless.json["name"] == "other"
    assert endless.json["status"] == "active"


async def test_roll_and_disable(desk: Desk) -> None:
    org = await desk.org("acme")
    token = (await desk.key(org.id, "developer")).token
    made = (await desk.ask(token, "POST", "/keys", {"name": "a"})).json
    rolled = await desk.ask(token, "POST", f"/keys/{made['id']}/roll", {"overlap_s": 60})
    assert rolled.status == 200, rolled.body
    assert rolled.json["rotates"] == made["id"]
    assert await works(desk, made["key"])
    assert await works(desk, rolled.json["key"])
    desk.clock.now_s += 60
    assert not await works(desk, made["key"])
    assert await works(desk, rolled.json["key"])
    again = await desk.ask(token, "POST", f"/keys/{made['id']}/roll", {})
    assert again.status == 409
    ended = await desk.ask(token, "DELETE", f"/keys/{rolled.json['id']}")
    assert ended.json["status"] == "disabled"
    assert not await works(desk, rolled.json["key"])
    kept = await desk.ask(token, "PATCH", f"/keys/{rolled.json['id']}", {"name": "b"})
    assert kept.status == 409


async def test_keys_of_others_are_not_there_and_low_roles_only_look(desk: Desk) -> None:
    mine, theirs = await desk.org("acme"), await desk.org("other")
    pepper = desk.parts.root.derive(sealing.PEPPER)
    async with desk.database.begin() as conn:
        other = await admin.create_key(
            conn, theirs, KeyWishes(), pepper, now_us=NOW_US, actor="test"
        )
        own = await admin.create_key(conn, mine, KeyWishes(), pepper, now_us=NOW_US, actor="test")
    owner = (await desk.key(mine.id, "owner")).token
    viewer = (await desk.key(mine.id, "viewer")).token
    path = f"/keys/{other.row.id}"
    for method, rest, body in (
        ("GET", "", None),
        ("PATCH", "", {"name": "x"}),
        ("POST", "/roll", {}),
        ("DELETE", "", None),
    ):
        assert (await desk.ask(owner, method, path + rest, body)).status == 404
        expected = 200 if method == "GET" else 403
        answer = await desk.ask(viewer, method, f"/keys/{own.row.id}{rest}", body)
        assert answer.status == expected
