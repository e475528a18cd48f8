"""The program itself: help, exit codes, configuration, checks."""

import os
from pathlib import Path

import pytest

from tests.cli.conftest import Run

COMMANDS = [
    "serve", "sandbox", "admin link", "admin reset",
    "org create", "org list", "key create", "key list", "key disable",
    "key rotate", "credit grant", "provider add", "provider list", "provider test",
    "catalog apply", "catalog export", "ledger verify", "doctor",
]  # fmt: skip


def test_help_names_all_commands_and_exit_codes(inside: Run) -> None:
    done = inside("--help")
    assert done.code == 0
    for word in {command.split()[0] for command in COMMANDS}:
        assert word in done.out
    for line in ("0  done", "1  a check failed", "2  usage", "3  not found"):
        assert line in done.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_the_same_places(inside: Run, command: str) -> None:
    done = inside(*command.split(), "--help")
    assert done.code == 0
    for option in ("--data DIR", "--database URL", "--config FILE", "--json"):
        assert option in done.out


def test_help_loads_neither_the_server_nor_the_database(run: Run) -> None:
    done = run("--help", PYTHONVERBOSE="1")
    for module in ("sqlalchemy", "uvloop", "cryptography", "asyncio"):
        assert f"import '{module}'" not in done.err


@pytest.mark.parametrize("command", ["", "nonsense", "key", "org list extra", "key --limi 3"])
def test_unknown_words_are_usage_errors(inside: Run, command: str) -> None:
    inside(*command.split()).failed(2, "usage:")


def test_commands_that_look_need_an_installation(inside: Run, data: Path) -> None:
    for command in ("org list", "key list", "provider list", "catalog export", "doctor"):
        inside(*command.split(), "--data", str(data)).failed(2, "does not exist")
    assert not data.exists()


def test_configuration_errors_have_place_key_and_remedy(inside: Run, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("prot = 1")
    inside("org", "create", "x", "--config", str(file)).failed(2, "prot: no such setting")
    inside("org", "create", "x", TOKENMARKET_PORT="x").failed(2, "TOKENMARKET_PORT")
    inside("org", "create", "x", "--database", "postgresql://u:pw@h/d").failed(2, "PostgreSQL")
    inside("serve", "--port", "99999").failed(2, "--port")


def test_a_database_of_another_secret_is_refused(run: Run, data: Path) -> None:
    run("org", "create", "acme")
    run("org", "list", TOKENMARKET_SECRET_KEY="ab" * 32).failed(2, "another secret")
    (data / "secret.key").unlink()
    run("org", "list").failed(2, "is missing")
    run("org", "create", "x").failed(2, "another secret")


def test_a_database_elsewhere(run: Run, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    url = f"sqlite:///{elsewhere}/x.db"
    assert run("org", "create", "acme", "--database", url).code == 0
    listed = run("org", "list", "--json", TOKENMARKET_DATABASE_URL=url).json
    assert [org["name"] for org in listed["data"]] == ["acme"]
    run("org", "list").failed(2, "does not exist")


def test_doctor_is_content_with_a_new_installation(run: Run) -> None:
    run("org", "create", "acme")
    done = run("doctor", "--json", TOKENMARKET_PROT="1")
    assert (done.code, done.json["ok"]) == (0, True)
    checks = {(check["name"], check["state"]) for check in done.json["checks"]}
    for name in ("configuration", "data directory", "audit trail", "clock", "providers"):
        assert (name, "ok") in checks
    assert ("configuration", "warning") in checks
    assert "TOKENMARKET_PROT" in done.out


def test_doctor_finds_what_is_wrong(run: Run, data: Path) -> None:
    run("org", "create", "acme")
    damaged = bytearray((data / "tokenmarket.db").read_bytes())
    at = damaged.index(b"org.create")
    damaged[at : at + 10] = b"org.CREATE"
    (data / "tokenmarket.db").write_bytes(damaged)
    os.chmod(data, 0o755)
    done = run("doctor", OPENAI_API_KEY="two words")
    assert done.code == 1
    assert "audit trail: changed by hand at line 1" in done.out
    assert "chmod 700" in done.out
    assert "OPENAI_API_KEY" in done.out
    assert "two words" not in done.out


def test_the_books_of_a_new_installation_are_exact(run: Run) -> None:
    run("org", "create", "acme")
    run("credit", "grant", "--org", "acme", "--amount", "5", "--reason", "hello")
    done = run("ledger", "verify", "--json")
    assert (done.code, done.json["ok"], done.json["differences"]) == (0, True, [])


def test_a_changed_balance_is_found(run: Run, data: Path) -> None:
    import sqlite3

    run("org", "create", "acme")
    run("credit", "grant", "--org", "acme", "--amount", "5", "--reason", "hello")
    with sqlite3.connect(data / "tokenmarket.db") as conn:
        conn.execute("UPDATE account SET cr_posted = cr_posted + 1")
    conn.close()
    done = run("ledger", "verify", "--json")
    assert done.code == 1
    assert done.json["differences"]
