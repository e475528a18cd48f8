"""The frame of the management API: keys, policies, bodies, pages, replays, limits."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from sqlalchemy import delete

from tests.unit.web.manage.desk import NOW_US, Answer, Desk
from tokenmarket.accounts import manage_keys
from tokenmarket.accounts.admin import NotThere, Refused, Taken
from tokenmarket.core.errors import ApiError
from tokenmarket.core.keys import generate
from tokenmarket.core.roles import ROLES, may
from tokenmarket.store import manage_keys as rows
from tokenmarket.store.people_tables import membership, person
from tokenmarket.store.tables import organization
from tokenmarket.web.manage import replays
from tokenmarket.web.manage.endpoint import OPERATOR, Call, Endpoint, check_table
from tokenmarket.web.manage.frame import RPM
from tokenmarket.web.manage.table import ENDPOINTS

NEW = {"name": "robot", "role": "viewer"}


class Wish(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    count: int = 1


class Done(msgspec.Struct):
    number: int


def counting(raises: Exception | None = None) -> Endpoint:
    """An endpoint that counts how often it did something."""
    done: list[Wish] = []

    async def handler(call: Call) -> Done:
        if raises is not None:
            raise raises
        done.append(call.body)
        return Done(len(done))

    return Endpoint("POST", "/things", "keys", handler, Wish, Done, "Count.", "Things")


async def with_things(desk: Desk, raises: Exception | None = None) -> tuple[Desk, str]:
    other = Desk(desk.database, endpoints=[counting(raises)])
    org = await other.org("acme")
    return other, (await other.key(org.id, "developer")).token


# --- who ------------------------------------------------------------


async def test_the_key_that_asks(desk: Desk) -> None:
    org = await desk.org("acme")
    made = await desk.key(org.id, "billing")
    answer = await desk.ask(made.token, "GET", "/key")
    assert answer.status == 200
    shown = answer.json
    assert shown["organization"] == "acme"
    assert shown["organization_id"] == org.id
    assert shown["role"] == "billing"
    assert set(shown["permissions"]) == {"view", "billing", "billing.view"}
    assert made.token not in answer.body.decode()
    async with desk.database.read() as conn:
        row = await rows.key_by_id(conn, org.id, made.row.id)
    assert row is not None
    assert row.last_used_us == NOW_US


WRONG = [
    None,
    "",
    "garbage",
    "tm_adm_" + "0" * 38,
    generate("live", b"x" * 32),
    generate("adm", b"y" * 32),
]


@pytest.mark.parametrize("key", WRONG, ids=lambda key: str(key)[:12])
async def test_without_a_key_of_ours_nothing_answers(desk: Desk, key: str | None) -> None:
    for number, row in enumerate(ENDPOINTS):
        address = f"203.0.113.{number}"  # who fails often from one address waits
        answer = await desk.ask(key, row.method, row.path.replace("{id}", "x"), address=address)
        assert (answer.status, answer.code) == (401, "AUTH_001"), row.path
        assert "www-authenticate: Bearer" in answer.head


@pytest.mark.parametrize("role", [*ROLES, "operator"])
async def test_a_role_answers_only_what_it_may(desk: Desk, role: str) -> None:
    """Every row of the table with every role: 403 exactly where the policy says no."""
    org = await desk.org("acme")
    made = await desk.key("" if role == "operator" else org.id, role)
    for row in ENDPOINTS:
        desk.manage._rates.clear()
        answer = await desk.ask(
            made.token, row.method, row.path.replace("{id}", "nothing"), b"[]" if row.body else None
        )
        if row.policy == "any":
            allowed = True
        elif row.policy == OPERATOR or role == "operator":
            allowed = row.policy == OPERATOR and role == "operator"
        else:
            allowed = may(role, row.policy)
        where = (row.method, row.path, answer.body[:300])
        assert (answer.status == 403) == (not allowed), where
        if not allowed:
            assert answer.code == "AUTH_002"


async def test_other_organisations_keys_are_not_there(desk: Desk) -> None:
    one, other = await desk.org("one"), await desk.org("other")
    mine, theirs = await desk.key(one.id, "owner"), await desk.key(other.id, "owner")
    for path in (f"/management-keys/{theirs.row.id}", "/management-keys/nothing"):
        answer = await desk.ask(mine.token, "DELETE", path)
        assert (answer.status, answer.code) == (404, "REQUEST_004")
    listed = await desk.ask(mine.token, "GET", "/management-keys")
    assert [key["id"] for key in listed.json["data"]] == [mine.row.id]
    assert (await desk.ask(theirs.token, "GET", "/key")).status == 200


# --- a key and its maker ------------------------------------------------------------


async def reason(desk: Desk, token: str) -> str:
    answer = await desk.ask(token, "GET", "/key")
    return "" if answer.status == 200 else answer.json["error"]["reason"]


async def test_a_key_dies_with_its_makers_rights(desk: Desk) -> None:
    org = await desk.org("acme")
    user = await desk.person(org.id, "owner")
    key = await desk.key(org.id, "admin", maker=f"user:{user}")
    low = await desk.key(org.id, "developer", maker=f"user:{user}")
    assert await reason(desk, key.token) == ""
    theirs = membership.c.user_id == user
    await desk.change(membership, theirs, role="admin")
    assert await reason(desk, key.token) == ""
    await desk.change(membership, theirs, role="developer")
    assert await reason(desk, key.token) == "maker_gone"
    assert await reason(desk, low.token) == ""
    await desk.change(person, person.c.id == user, disabled_at_s=1)
    assert await reason(desk, low.token) == "maker_gone"
    await desk.change(person, person.c.id == user, disabled_at_s=None)
    assert await reason(desk, low.token) == ""
    async with desk.database.begin() as conn:
        await conn.execute(delete(membership).where(theirs))
    assert await reason(desk, low.token) == "maker_gone"


async def test_an_operators_key_dies_with_the_operator(desk: Desk) -> None:
    user = await desk.person("", None, operator=True)
    key = await desk.key("", "operator", maker=f"user:{user}")
    assert await reason(desk, key.token) == ""
    await desk.change(person, person.c.id == user, operator=0)
    assert await reason(desk, key.token) == "maker_gone"


async def test_disabled_expired_and_of_a_disabled_organisation(desk: Desk) -> None:
    org = await desk.org("acme")
    owner = await desk.key(org.id, "owner")
    short = await desk.key(org.id, "viewer", expires_at_s=NOW_US // 1_000_000 + 60)
    gone = await desk.key(org.id, "viewer")
    assert (await desk.ask(owner.token, "DELETE", f"/management-keys/{gone.row.id}")).status == 200
    assert await reason(desk, gone.token) == "key_disabled"
    assert await reason(desk, short.token) == ""
    desk.clock.now_s += 60
    assert await reason(desk, short.token) == "key_expired"
    await desk.change(organization, organization.c.id == org.id, disabled_at_s=1)
    assert await reason(desk, owner.token) == "organization_disabled"


async def test_a_key_gives_no_right_that_it_lacks(desk: Desk) -> None:
    org = await desk.org("acme")
    key = await desk.key(org.id, "admin")
    for role, status in (("owner", 400), ("admin", 200), ("operator", 400), ("king", 400)):
        answer = await desk.ask(key.token, "POST", "/management-keys", {**NEW, "role": role})
        assert answer.status == status, (role, answer.body)


async def test_a_key_made_by_a_key_stands_with_the_same_maker(desk: Desk) -> None:
    org = await desk.org("acme")
    user = await desk.person(org.id, "admin")
    key = await desk.key(org.id, "admin", maker=f"user:{user}")
    made = (await desk.ask(key.token, "POST", "/management-keys", NEW)).json
    assert made["maker"] == f"user:{user}"
    assert await reason(desk, made["key"]) == ""
    await desk.change(person, person.c.id == user, disabled_at_s=1)
    assert await reason(desk, made["key"]) == "maker_gone"


async def test_who_keeps_guessing_is_stopped(desk: Desk) -> None:
    for _ in range(100):
        answer = await desk.ask(generate("adm", b"z" * 32), "GET", "/key")
        assert answer.status == 401
    answer = await desk.ask(generate("adm", b"z" * 32), "GET", "/key")
    assert (answer.status, answer.code) == (429, "QUOTA_001")


async def test_a_key_has_a_rate(desk: Desk) -> None:
    org = await desk.org("acme")
    key = await desk.key(org.id, "viewer")
    for left in range(RPM - 1, -1, -1):
        answer = await desk.ask(key.token, "GET", "/key")
        assert f"x-ratelimit-remaining-requests: {left}\r\n" in answer.head
    answer = await desk.ask(key.token, "GET", "/key")
    assert (answer.status, answer.code) == (429, "QUOTA_001")
    assert "retry-after: 1\r\n" in answer.head
    desk.clock.now_s += 1
    assert (await desk.ask(key.token, "GET", "/key")).status == 200


# --- bodies, paths, pages ------------------------------------------------------------


BODIES: list[tuple[Any, str | None]] = [
    (b"", "name"),
    (b"nonsense", None),
    (b"\xff", None),
    (b"[]", None),
    (b'{"name":"a","role":"viewer","name":"b"}', "name"),
    ({**NEW, "org_id": "org_1"}, "org_id"),
    ({**NEW, "maker": "cli:0"}, "maker"),
    ({"name": "a"}, "role"),
    ({"name": 1, "role": "viewer"}, "name"),
    ({"name": "", "role": "viewer"}, "name"),
    ({"name": "a\nb", "role": "viewer"}, None),
    ({**NEW, "expires_at": 1}, None),
    ({"name": "x", "role": "owner", "expires_at": 2**70}, None),
    (b'{"name":' + b"[" * 100 + b"]" * 100 + b"}", None),
]


@pytest.mark.parametrize(("body", "param"), BODIES, ids=lambda one: str(one)[:40])
async def test_wrong_bodies_are_400(desk: Desk, body: Any, param: str | None) -> None:
    org = await desk.org("acme")
    key = await desk.key(org.id, "owner")
    answer = await desk.ask(key.token, "POST", "/management-keys", body)
    assert (answer.status, answer.code) == (400, "REQUEST_001"), answer.body
    assert answer.json["error"]["param"] == param
    listed = await desk.ask(key.token, "GET", "/management-keys")
    assert len(listed.json["data"]) == 1


async def test_types_sizes_and_bodies_where_none_belongs(desk: Desk) -> None:
    org = await desk.org("acme")
    key = (await desk.key(org.id, "owner")).token
    path = "/management-keys"
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert (await desk.ask(key, "POST", path, b"a=b", headers=form)).status == 415
    assert (await desk.ask(key, "POST", path, b" " * 1_000_001)).status == 413
    assert (await desk.ask(key, "GET", path, b"{}")).status == 400


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "", 404),
        ("GET", "/", 404),
        ("GET", "/key/", 404),
        ("GET", "/management-keys/../key", 404),
        ("PUT", "/management-keys", 405),
        ("POST", "/key", 405),
        ("GET", "/management-keys/abc", 405),
        ("DELETE", "/management-keys/", 404),
        ("GET", "/management-keys?limit=0", 400),
        ("GET", "/management-keys?limit=201", 400),
        ("GET", "/management-keys?limit=1&limit=2", 400),
        ("GET", "/management-keys?limit=x", 400),
        ("GET", "/management-keys?org_id=org_1", 400),
        ("GET", "/key?cursor=1", 400),
        ("GET", f"/management-keys?cursor={'x' * 501}", 400),
        ("GET", "/management-keys?cursor=%ff", 400),
        ("GET", "/management-keys?limit=200", 200),
        ("HEAD", "/key", 200),
    ],
)
async def test_paths_methods_queries(desk: Desk, method: str, path: str, status: int) -> None:
    org = await desk.org("acme")
    key = (await desk.key(org.id, "owner")).token
    answer = await desk.ask(key, method, path)
    assert answer.status == status, answer.body
    if status == 405:
        assert "allow: " in answer.head


async def test_a_list_has_pages(desk: Desk) -> None:
    org = await desk.org("acme")
    made: list[manage_keys.NewManageKey] = []
    for _ in range(5):
        made.append(await desk.key(org.id, "owner"))
        desk.clock.now_s += 1
    seen: list[str] = []
    path = "/management-keys?limit=2"
    while True:
        page = (await desk.ask(made[0].token, "GET", path)).json
        seen += [key["id"] for key in page["data"]]
        if page["next_cursor"] is None:
            break
        path = f"/management-keys?limit=2&cursor={page['next_cursor']}"
    assert seen == [key.row.id for key in reversed(made)]


@pytest.mark.parametrize(
    ("raises", "status", "code"),
    [
        (Refused("Not like this."), 400, "REQUEST_001"),
        (NotThere("No such thing."), 404, "REQUEST_004"),
        (Taken("Gone already."), 409, "REQUEST_008"),
        (ApiError("AUTH_002", "Not you."), 403, "AUTH_002"),
    ],
)
async def test_what_the_domain_raises(desk: Desk, raises: Any, status: int, code: str) -> None:
    other, key = await with_things(desk, raises)
    answer = await other.ask(key, "POST", "/things", {"name": "a"})
    assert (answer.status, answer.code) == (status, code)


async def test_a_crash_is_500_and_told(desk: Desk) -> None:
    other, key = await with_things(desk, KeyError("secret"))
    answer = await other.ask(key, "POST", "/things", {"name": "a"})
    assert (answer.status, answer.code) == (500, "PLATFORM_002")
    assert b"secret" not in answer.body
    assert len(other.crashes) == 1


# --- once only ------------------------------------------------------------


async def repeated(desk: Desk, key: str, body: Any, name: str = "k1") -> Answer:
    return await desk.ask(key, "POST", "/things", body, headers={"Idempotency-Key": name})


async def test_the_same_key_and_body_do_it_once(desk: Desk) -> None:
    other, key = await with_things(desk)
    first = await repeated(other, key, {"name": "a"})
    again = await repeated(other, key, {"name": "a"})
    assert first.json == again.json == {"number": 1}
    assert "idempotent-replayed" not in first.head
    assert "idempotent-replayed: true" in again.head
    assert (await repeated(other, key, {"name": "a"}, "k2")).json == {"number": 2}
    changed = await repeated(other, key, {"name": "b"})
    assert (changed.status, changed.code) == (409, "IDEMPOTENCY_001")
    assert "x-should-retry: false" in changed.head


async def test_at_the_same_time_it_is_done_once(desk: Desk) -> None:
    other, key = await with_things(desk)
    answers = await asyncio.gather(*(repeated(other, key, {"name": "a"}) for _ in range(8)))
    assert {answer.status for answer in answers} <= {200, 409}
    assert {answer.json["number"] for answer in answers if answer.status == 200} == {1}
    assert (await repeated(other, key, {"name": "a"})).json == {"number": 1}


async def test_a_refused_request_frees_its_key(desk: Desk) -> None:
    other, key = await with_things(desk, Refused("No."))
    assert (await repeated(other, key, {"name": "a"})).status == 400
    fine = Desk(desk.database, endpoints=[counting()])
    assert (await repeated(fine, key, {"name": "b"})).json == {"number": 1}


async def test_an_unknown_end_is_told_and_not_tried_again(desk: Desk) -> None:
    other, key = await with_things(desk, KeyError("crash"))
    assert (await repeated(other, key, {"name": "a"})).status == 500
    running = await repeated(other, key, {"name": "a"})
    assert running.json["error"]["reason"] == "still_running"
    assert "retry-after: 1\r\n" in running.head
    other.clock.now_s += 61
    unknown = await repeated(other, key, {"name": "a"})
    assert unknown.json["error"]["reason"] == "outcome_unknown"
    assert len(other.crashes) == 1


async def test_a_kept_answer_is_sealed_and_goes_after_a_day(desk: Desk) -> None:
    org = await desk.org("acme")
    key = (await desk.key(org.id, "owner")).token
    once = {"Idempotency-Key": "k"}
    made = await desk.ask(key, "POST", "/management-keys", NEW, headers=once)
    again = await desk.ask(key, "POST", "/management-keys", NEW, headers=once)
    assert made.json == again.json
    secret = made.json["key"].encode()
    for path in desk.database.path.parent.iterdir():
        assert secret not in path.read_bytes(), path
    desk.clock.now_s += replays.KEPT_US // 1_000_000 + 1
    fresh = await desk.ask(key, "POST", "/management-keys", NEW, headers=once)
    assert fresh.json["id"] != made.json["id"]


@pytest.mark.parametrize("name", ["x" * 256, "a\x01b"])
async def test_an_idempotency_key_is_one_short_line(desk: Desk, name: str) -> None:
    other, key = await with_things(desk)
    answer = await repeated(other, key, {"name": "a"}, name)
    assert answer.json["error"]["param"] == "Idempotency-Key"


# --- the table ------------------------------------------------------------


async def test_every_change_is_in_the_audit_trail(desk: Desk) -> None:
    org = await desk.org("acme")
    key = await desk.key(org.id, "owner")
    made = (await desk.ask(key.token, "POST", "/management-keys", NEW)).json
    await desk.ask(key.token, "DELETE", f"/management-keys/{made['id']}")
    async with desk.database.read() as conn:
        found = await conn.exec_driver_sql(
            "SELECT actor, action, object, detail FROM audit_event ORDER BY seq DESC LIMIT 2"
        )
        lines = [tuple(row) for row in found]
    actor = f"key:{key.row.id}"
    assert [line[:3] for line in lines] == [
        (actor, "manage_key.disable", made["id"]),
        (actor, "manage_key.create", made["id"]),
    ]
    assert made["key"] not in str(lines)


def test_a_table_that_could_be_served_wrongly_is_refused() -> None:
    class Lax(msgspec.Struct):
        name: str

    good = counting()
    check_table([good])
    wrong = [
        [good, good],
        [msgspec.structs.replace(good, policy="nobody")],
        [msgspec.structs.replace(good, body=Lax)],
        [msgspec.structs.replace(good, body=None)],
        [msgspec.structs.replace(good, method="GET")],
    ]
    for rows_ in wrong:
        with pytest.raises(ValueError, match="things"):
            check_table(rows_)
