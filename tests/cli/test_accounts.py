"""Organisations, keys and credit from the command line, beside a running process too."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tokenmarket import config
from tokenmarket.accounts import Accounts
from tokenmarket.core import keys, sealing
from tokenmarket.core.errors import ApiError
from tokenmarket.store import accounts as rows
from tokenmarket.store.database import Database


class WallClock:
    def wall_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic_us(self) -> int:
        return time.monotonic_ns() // 1000


def test_from_nothing_to_a_key(run: Run, data: Path) -> None:
    org = run("org", "create", "acme", "--rpm", "100", "--json").json
    assert (org["object"], org["name"], org["limits"]["rpm"]) == ("organization", "acme", 100)
    grant = run(
        "credit", "grant", "--org", "acme", "--amount", "12.5", "--reason", "hello", "--json"
    ).json
    assert (grant["object"], grant["amount"], grant["created"]) == ("grant", "12.50", True)
    made = run(
        "key", "create", "--org", org["id"], "--name", "ci", "--limit", "3", "--limit-day", "0.5",
        "--tpm", "0", "--models", "sandbox-chat", "--providers", "sandbox", "--addresses",
        "10.0.0.0/8", "--operations", "chat,embeddings", "--expires", "2099-01-31", "--json",
    ).json  # fmt: skip
    assert keys.is_wellformed(made["key"])
    assert made["organization"] == "acme"
    assert made["expires_at"] == 4_073_500_800
    assert made["limits"] == {
        "rpm": None,
        "tpm": 0,
        "concurrency": None,
        "spend": [{"period": "total", "limit": "3.00"}, {"period": "day", "limit": "0.50"}],
    }
    assert made["allowed"] == {
        "models": ["sandbox-chat"],
        "providers": ["sandbox"],
        "operations": ["chat", "embeddings"],
        "addresses": ["10.0.0.0/8"],
    }
    listed = run("key", "list", "--json")
    assert made["key"] not in listed.out
    assert [key["id"] for key in listed.json["data"]] == [made["id"]]
    for file in data.rglob("*"):
        assert not file.is_file() or made["key"].encode() not in file.read_bytes()


def test_people_get_text(inside: Run) -> None:
    assert "created organization for people" in inside("org", "create", "for people").out
    shown = inside("key", "create", "--org", "for people").out
    assert keys.is_wellformed(shown.splitlines()[0])
    assert "only time" in shown
    assert "for people" in inside("org", "list").out
    assert "never" in inside("key", "list", "--org", "for people").out


def test_rotate_and_disable(inside: Run) -> None:
    inside("org", "create", "rotating")
    old = inside("key", "create", "--org", "rotating", "--rpm", "7", "--json").json
    new = inside("key", "rotate", old["id"], "--overlap", "0", "--json").json
    assert new["rotates"] == old["id"]
    assert new["key"] != old["key"]
    assert new["limits"]["rpm"] == 7
    inside("key", "rotate", old["id"]).failed(3, "not valid any more")
    gone = inside("key", "disable", new["id"], "--json").json
    assert gone["status"] == "disabled"
    statuses = [
        key["status"] for key in inside("key", "list", "--org", "rotating", "--json").json["data"]
    ]
    assert statuses == ["expired", "disabled"]


def test_a_grant_is_given_once_per_id(inside: Run) -> None:
    grant = ("credit", "grant", "--org", "acme", "--reason", "promo", "--id", "promo-1", "--json")
    assert inside(*grant, "--amount", "5").json["created"] is True
    assert inside(*grant, "--amount", "5").json["created"] is False
    again = inside(*grant, "--amount", "6")
    again.failed(3, "used for another grant")
    assert again.json["object"] == "error"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ("org create", 2, "required: NAME"),
        ("org create acme", 3, "already"),
        ("org create a\nb", 2, "is not a name"),
        ("org create \x1b[31mred", 2, "is not a name"),
        ("org create x --rpm -1", 2, "--rpm"),
        ("org create x --rpm 1.5", 2, "not a whole number"),
        ("org create x --limit-month ten", 2, "not an amount"),
        ("key create", 2, "--org"),
        ("key create --org nobody", 3, "no organization 'nobody'"),
        ("key create --org acme --models sandbox-chta", 2, "no model 'sandbox-chta'"),
        ("key create --org acme --models sandbox-chat,", 2, "empty name"),
        ("key create --org acme --providers nowhere", 2, "no provider 'nowhere'"),
        ("key create --org acme --operations mining", 2, "not an operation"),
        ("key create --org acme --addresses 10.0.0.1/8", 2, "has host bits set"),
        ("key create --org acme --expires 2020-01-01", 2, "expired already"),
        ("key create --org acme --expires tomorrow", 2, "not a date"),
        ("key create --org acme --limit -5", 2, "--limit"),
        ("key create --org acme --limit=-5", 2, "is negative"),
        ("key create --org acme --limit 0.0000000001", 2, "at most 9 decimals"),
        ("key disable key_nope", 3, "there is no key"),
        ("key rotate key_nope", 3, "there is no key"),
        ("key rotate key_nope --overlap soon", 2, "not a time"),
        ("key list --org nobody", 3, "no organization"),
        ("credit grant --org acme --amount 0 --reason x", 2, "grants nothing"),
        ("credit grant --org acme --amount=-1 --reason x", 2, "is negative"),
        ("credit grant --org acme --amount 99999999999 --reason x", 2, "not an amount"),
        ("credit grant --org acme --amount 9999999999 --reason x", 2, "largest amount"),
        ("credit grant --org acme --amount 1 --reason \n", 2, "one line"),
        ("credit grant --org nobody --amount 1 --reason x", 3, "no organization"),
        ("credit grant --org acme --amount 1 --reason x --id a:b", 2, "an id has"),
        ("credit grant --org acme --amount 1 --reason x --expires 2020-01-01", 2, "future"),
    ],
    ids=lambda value: ascii(value) if isinstance(value, str) else None,
)
def test_hostile_and_mistaken_input(inside: Run, arguments: str, code: int, says: str) -> None:
    before = inside("org", "list", "--json").out + inside("key", "list", "--json").out
    inside(*arguments.split(" ")).failed(code, says)
    assert before == inside("org", "list", "--json").out + inside("key", "list", "--json").out


def test_errors_are_json_too_where_json_was_asked_for(inside: Run) -> None:
    done = inside("org", "create", "acme", "--json")
    done.failed(3, "already")
    assert done.json["object"] == "error"
    assert done.json["type"] == "conflict"


async def test_a_running_process_sees_changes_with_its_next_poll(run: Run, data: Path) -> None:
    run("org", "create", "acme")
    made = run("key", "create", "--org", "acme", "--json").json
    root = config.load({"data_dir": str(data)}, {}).root
    server = await Database.open(data / "tokenmarket.db")
    accounts = Accounts(server, root.derive(sealing.PEPPER), WallClock())
    await accounts.refresh()
    caller = await accounts.authenticate(made["key"], None)
    assert run("key", "disable", made["id"]).code == 0
    assert accounts.lookup(made["key"]) is caller
    assert await accounts.refresh()
    with pytest.raises(ApiError, match="disabled"):
        await accounts.authenticate(made["key"], None)
    await server.close()


async def test_reading_never_waits_for_the_server(run: Run, data: Path) -> None:
    run("org", "create", "acme")
    server = await Database.open(data / "tokenmarket.db")
    async with server.begin() as conn:
        await rows.bump_generation(conn)
        assert "acme" in run("org", "list").out
    await server.close()


async def test_writing_waits_for_the_server(run: Run, data: Path) -> None:
    run("org", "create", "acme")
    server = await Database.open(data / "tokenmarket.db")
    async with server.begin() as conn:
        waiting = asyncio.create_task(asyncio.to_thread(run, "org", "create", "late"))
        await rows.bump_generation(conn)
        await asyncio.wait([waiting], timeout=1)
        assert not waiting.done()
    assert (await waiting).code == 0
    await server.close()


def test_two_first_commands_at_once(run: Run) -> None:
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda name: run("org", "create", name), ["a", "b"]))
    assert [one.code for one in done] == [0, 0], [one.err for one in done]
    assert len(run("org", "list", "--json").json["data"]) == 2
