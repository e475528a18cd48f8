"""Bodies of requests by the management API: the switch, reading, deleting, and who may."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.unit.reports.rows import add, event
from tests.unit.web.manage.desk import NOW_US, Desk
from tests.unit.web.manage.test_reports import DOCUMENT
from tokenmarket.core import ids
from tokenmarket.core.wire import Inbound
from tokenmarket.store.accounts import OrgRow


class Line:
    """A caller's connection."""

    def respond(self, status: int, head: bytes, body: bytes) -> None:
        return


async def asked(desk: Desk, org: OrgRow) -> str:
    """A request of the organisation that was refused; its content is kept."""
    request_id = ids.new_id("req", NOW_US, bytes(ids.RANDOM_BYTES))
    receipt = msgspec.json.encode({**DOCUMENT, "id": request_id}).decode()
    await add(desk.database, event(1, org_id=org.id, request_id=request_id, receipt=receipt))
    client: Any = Line()
    inbound = Inbound(request_id, "POST", "/", b"", {}, b'{"ask": 1}', "", NOW_US, 0)
    copy = desk.parts.contents.recorder.copy(org.id, inbound, client)
    copy.respond(400, b"content-type: application/json\r\n", b'{"error": 1}')
    desk.parts.contents.recorder.keep(copy)
    return request_id


async def test_the_switch(desk: Desk) -> None:
    org = await desk.org("acme")
    admin, viewer = await desk.key(org.id, "admin"), await desk.key(org.id, "viewer")
    path = "/organization/content"
    off = {"object": "content_storage", "days": None, "days_max": 90}
    assert (await desk.ask(viewer.token, "GET", path)).json == off
    assert (await desk.ask(viewer.token, "PUT", path, {"days": 7})).status == 403
    assert (await desk.ask(admin.token, "PUT", path, {"days": 7})).json == off | {"days": 7}
    for wrong in ({"days": 0}, {"days": 91}, {"days": "7"}, {}):
        assert (await desk.ask(admin.token, "PUT", path, wrong)).status == 400
    assert (await desk.ask(viewer.token, "GET", path)).json == off | {"days": 7}
    assert (await desk.ask(admin.token, "PUT", path, {"days": None})).json == off


async def test_a_content_is_read_and_deleted(desk: Desk) -> None:
    org, other = await desk.org("acme"), await desk.org("other")
    keys = {
        role: (await desk.key(org.id, role)).token
        for role in ("owner", "developer", "billing", "viewer")
    }
    theirs = (await desk.key(other.id, "owner")).token
    operator = (await desk.key("", "operator")).token
    await desk.ask(keys["owner"], "PUT", "/organization/content", {"days": 7})
    path = f"/requests/{await asked(desk, org)}/content"
    for method in ("GET", "DELETE"):
        assert (await desk.ask(theirs, method, path)).status == 404
        for key in (keys["billing"], keys["viewer"], operator):
            assert (await desk.ask(key, method, path)).status == 403
    found = (await desk.ask(keys["developer"], "GET", path)).json
    assert (found["state"], found["status"]) == ("kept", 400)
    assert found["request"]["text"] == '{"ask": 1}'
    assert found["answer"] == {
        "content_type": "application/json",
        "size": 12,
        "text": '{"error": 1}',
        "cut": False,
        "files": [],
    }
    assert (await desk.ask(keys["developer"], "DELETE", path)).status == 200
    assert (await desk.ask(keys["developer"], "DELETE", path)).status == 404
    found = (await desk.ask(keys["owner"], "GET", path)).json
    assert (found["state"], found["request"]) == ("deleted", None)
    lines = (await desk.ask(keys["owner"], "GET", "/audit?action=content")).json["data"]
    assert [line["action"] for line in lines] == [
        "content.delete",
        "content.read",
        "content.switch",
    ]
    assert all(line["actor"].startswith("key:mkey_") for line in lines)
