"""The first start happens once, survives being killed half way, and prints what works."""

import shlex
from itertools import pairwise

import msgspec
import pytest
from sqlalchemy import text

from tests.unit.accounts.clock import HandClock
from tokenmarket.accounts import Accounts, admin, demo
from tokenmarket.store.database import Database

PEPPER = b"p" * 32
NOW_US = 1_795_392_000_000_000


class Grants:
    def __init__(self) -> None:
        self.given: dict[tuple[str, str], int] = {}

    async def __call__(self, org_id: str, grant_id: str, amount_nano: int, reason: str) -> bool:
        assert reason
        new = (org_id, grant_id) not in self.given
        self.given[org_id, grant_id] = amount_nano
        return new


async def test_the_first_start_makes_a_key_that_works(database: Database) -> None:
    grants = Grants()
    token = await demo.first_start(database, PEPPER, grants, now_us=NOW_US)
    assert token is not None
    caller = await Accounts(database, PEPPER, HandClock()).authenticate(token, None)
    assert caller.org_name == "demo"
    assert grants.given == {(caller.org_id, "demo"): 10_000_000_000}
    assert await demo.first_start(database, PEPPER, grants, now_us=NOW_US) is None
    assert len(grants.given) == 1
    async with database.read() as conn:
        assert (await conn.execute(text("SELECT count(*) FROM api_key"))).scalar_one() == 1


async def test_an_installation_of_ones_own_gets_no_demo(database: Database) -> None:
    async with database.begin() as conn:
        await admin.create_org(conn, "acme", now_us=NOW_US, actor="test")
    grants = Grants()
    assert await demo.first_start(database, PEPPER, grants, now_us=NOW_US) is None
    assert grants.given == {}


async def test_a_start_killed_before_the_grant_is_completed(database: Database) -> None:
    async def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await demo.first_start(database, PEPPER, killed, now_us=NOW_US)
    grants = Grants()
    assert await demo.first_start(database, PEPPER, grants, now_us=NOW_US) is None
    assert list(grants.given.values()) == [10_000_000_000]


def test_every_command_is_one_line_of_shell_with_valid_json() -> None:
    text_ = demo.welcome_text("http://127.0.0.1:8080/api/v1", "tm_live_x")
    commands = [line.strip() for line in text_.splitlines() if line.strip().startswith("curl")]
    assert len(commands) == 15
    for command in commands:
        words = shlex.split(command)
        assert "Authorization: Bearer tm_live_x" in command
        assert any(word.startswith("http://127.0.0.1:8080/api/v1/") for word in words)
        for flag, body in pairwise(words):
            if flag == "-d":
                assert msgspec.json.decode(body)["model"].startswith("sandbox-")
    assert "tm_live_x" not in demo.later_text("http://127.0.0.1:8080/api/v1")
