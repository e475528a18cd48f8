# pyright: basic
"""Webhook endpoints through the management API."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from tests.unit.web.manage.desk import Desk
from tokenmarket.store.task_tables import webhook_secret

URL = "https://customer.example/hook"
NEW = {"url": URL, "events": ["video.completed"]}


@pytest.fixture
async def key(desk: Desk) -> str:
    org = await desk.org("acme")
    return (await desk.key(org.id, "developer")).token


async def test_the_life_of_an_endpoint(desk: Desk, key: str) -> None:
    made = await desk.ask(key, "POST", "/webhooks", NEW)
    assert made.status == 200
    one = f"/webhooks/{made.json['id']}"
    secret = made.json["secret"]
    assert secret.startswith("whsec_")
    shown = (await desk.ask(key, "GET", one)).json
    assert "secret" not in shown
    assert shown == {name: made.json[name] for name in shown}
    assert (shown["enabled"], shown["failing_since"], shown["description"]) == (True, None, "")

    changed = await desk.ask(key, "PATCH", one, {"events": ["key.created"], "enabled": False})
    assert (changed.json["events"], changed.json["enabled"]) == (["key.created"], False)
    assert changed.json["disabled_reason"] == "person"
    assert (await desk.ask(key, "POST", f"{one}/test", {})).status == 409
    assert (await desk.ask(key, "PATCH", one, {"enabled": True})).json["enabled"]
    assert (await desk.ask(key, "PATCH", one, {})).json["url"] == URL

    rotated = await desk.ask(key, "POST", f"{one}/rotate", {"overlap_s": 60})
    assert rotated.json["secret"] not in ("", secret)

    sent = (await desk.ask(key, "POST", f"{one}/test", {})).json
    assert (sent["type"], sent["state"], sent["attempts"]) == ("webhook.test", "pending", [])
    assert desk.woken > 0
    desk.clock.now_s += 1  # ids sort by time
    again = (await desk.ask(key, "POST", f"{one}/deliveries/{sent['id']}/resend", {})).json
    assert again["event_id"] == sent["event_id"]
    assert again["id"] != sent["id"]
    first = (await desk.ask(key, "GET", f"{one}/deliveries?limit=1")).json
    assert [row["id"] for row in first["data"]] == [again["id"]]
    cursor = first["next_cursor"]
    rest = (await desk.ask(key, "GET", f"{one}/deliveries?limit=1&cursor={cursor}")).json
    assert (rest["data"], rest["next_cursor"]) == ([sent], None)
    assert (await desk.ask(key, "GET", f"{one}/deliveries/{sent['id']}")).json == sent

    assert (await desk.ask(key, "DELETE", one)).json["id"] == made.json["id"]
    assert (await desk.ask(key, "GET", one)).status == 404
    assert (await desk.ask(key, "GET", "/webhooks")).json["data"] == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({**NEW, "url": "http://customer.example"}, "url"),
        ({**NEW, "url": "https://10.0.0.1/"}, "url"),
        ({**NEW, "events": []}, "events"),
        ({**NEW, "events": ["all"]}, "events"),
        ({**NEW, "description": "a\nb"}, "description"),
        ({**NEW, "secret": "whsec_mine"}, None),
        ({"events": ["video.completed"]}, None),
        ({**NEW, "url": 7}, None),
    ],
)
async def test_what_is_refused(
    desk: Desk, key: str, body: dict[str, object], param: str | None
) -> None:
    answer = await desk.ask(key, "POST", "/webhooks", body)
    assert (answer.status, answer.code) == (400, "REQUEST_001")
    assert param is None or answer.json["error"]["param"] == param


async def test_no_cursor_and_no_id_makes_it_fail(desk: Desk, key: str) -> None:
    one = f"/webhooks/{(await desk.ask(key, 'POST', '/webhooks', NEW)).json['id']}"
    for path, status in (
        ("/webhooks?cursor=%00", 200),
        (f"{one}/deliveries?cursor=zzz", 200),
        ("/webhooks/%00", 404),
        (f"{one}/deliveries/nothing", 404),
        ("/webhooks/whe_nothing/deliveries", 404),
    ):
        assert (await desk.ask(key, "GET", path)).status == status, path


async def test_others_and_low_roles(desk: Desk, key: str) -> None:
    made = (await desk.ask(key, "POST", "/webhooks", NEW)).json
    one = f"/webhooks/{made['id']}"
    sent = (await desk.ask(key, "POST", f"{one}/test", {})).json
    other = (await desk.key((await desk.org("other")).id, "owner")).token
    ways = [
        ("GET", one, None),
        ("PATCH", one, {"enabled": False}),
        ("DELETE", one, None),
        ("POST", f"{one}/rotate", {}),
        ("POST", f"{one}/test", {}),
        ("GET", f"{one}/deliveries", None),
        ("GET", f"{one}/deliveries/{sent['id']}", None),
        ("POST", f"{one}/deliveries/{sent['id']}/resend", {}),
    ]
    viewer = (
        await desk.key((await desk.ask(key, "GET", "/key")).json["organization_id"], "viewer")
    ).token
    for method, path, body in ways:
        assert (await desk.ask(other, method, path, body)).status == 404, (method, path)
        assert (await desk.ask(viewer, method, path, body)).status == 403, (method, path)
        assert (await desk.ask(None, method, path, body)).status == 401, (method, path)
    assert (await desk.ask(other, "GET", "/webhooks")).json["data"] == []
    assert (await desk.ask(key, "GET", one)).json["enabled"]


async def test_the_secret_of_callbacks(desk: Desk, key: str) -> None:
    assert (await desk.ask(key, "GET", "/video-callbacks")).json["data"] == []
    made = (await desk.ask(key, "POST", "/video-callbacks/secret", {})).json
    assert made["secret"].startswith("whsec_")
    async with desk.database.read() as conn:
        [row] = (await conn.execute(select(webhook_secret))).all()
    assert made["secret"] not in str(row)
