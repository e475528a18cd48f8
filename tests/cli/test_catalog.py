"""Providers and the catalog from the command line."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Run

MINE = """
[[provider]]
name = "mine"
adapter = "openai"
base_url = "https://mine.example/v1"
api_keys = ["sk-from-the-file-0123456789"]

[[model]]
id = "mine/small"
operation = "chat"
name = { en = "Small", zh = "小" }
vendor = "acme"

[[route]]
model = "mine/small"
provider = "mine"
upstream_model = "small"
price = [{ unit = "input_token", usd = "1" }, { unit = "output_token", usd = "2" }]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(MINE)
    return path


def test_apply_twice_and_export(run: Run, file: Path, tmp_path: Path) -> None:
    first = run("catalog", "apply", str(file), "--json").json
    assert first["changed"] is True
    assert (first["providers"], first["models"], first["keys"]) == (
        ["mine"],
        ["mine/small"],
        ["mine"],
    )
    assert first["routes"] == [{"model": "mine/small", "provider": "mine"}]
    assert run("catalog", "apply", str(file), "--json").json["changed"] is False
    exported = run("catalog", "export").out
    assert "mine/small" in exported
    assert "sandbox-chat" in exported
    assert "sk-from" not in exported
    again = tmp_path / "export.toml"
    again.write_text(exported)
    assert run("catalog", "apply", str(again), "--json").json["changed"] is False
    assert run("catalog", "apply", "-", stdin=exported).out == "nothing to change\n"
    own = run("catalog", "export", "--own", "--json").json
    assert "sandbox-chat" not in own["toml"]
    org = run("org", "create", "acme", "--json").json
    assert run("key", "create", "--org", org["id"], "--models", "mine/small").code == 0


def test_faults_have_file_line_and_key_and_nothing_is_applied(
    run: Run, file: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text('[[provider]]\nname = "x"\nadaptor = "openai"\nbase_url = "ftp://x"\n')
    done = run("catalog", "apply", str(file), str(bad), "--json")
    done.failed(2, f"{bad}:3")
    assert {fault["line"] for fault in done.json["faults"]} >= {3, 4}
    assert all(fault["file"] == str(bad) for fault in done.json["faults"])
    run("org", "create", "acme")
    assert "mine" not in run("catalog", "export", "--own").out


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"\xff\xfe", "not UTF-8"), (b"[[provider", "bad.toml"), (None, "cannot be")],
)
def test_unreadable_files(inside: Run, tmp_path: Path, content: bytes | None, says: str) -> None:
    bad = tmp_path / "bad.toml"
    if content is not None:
        bad.write_bytes(content)
    inside("catalog", "apply", str(bad)).failed(2, says)


def test_a_provider_with_a_key_from_stdin(run: Run, data: Path) -> None:
    add = (
        "provider",
        "add",
        "mine",
        "--adapter",
        "openai",
        "--base-url",
        "https://mine.example/v1",
    )
    added = run(*add, "--api-key-stdin", "--json", stdin="sk-secret-0123456789\n").json
    assert (added["name"], added["available"], added["changed"]) == ("mine", True, True)
    assert added["keys"][0]["hint"] == "6789"
    listed = run("provider", "list", "--json")
    mine = next(one for one in listed.json["data"] if one["name"] == "mine")
    assert mine["keys"][0]["source"] == "stored"
    for path in data.rglob("*"):
        assert not path.is_file() or b"sk-secret-0123456789" not in path.read_bytes()
    moved = run(*add[:-1], "https://elsewhere.example/v1", "--json").json
    assert moved["keys"] == [], "the key was given for another URL"


def test_a_provider_with_a_key_in_the_environment(inside: Run) -> None:
    add = ("provider", "add", "mine", "--adapter", "openai", "--base-url", "https://mine.example/v1",
           "--api-key-env", "MINE_API_KEY", "--json")  # fmt: skip
    assert inside(*add).json["available"] is False
    assert inside(*add, MINE_API_KEY="sk-x").json["available"] is True
    listed = inside("provider", "list")
    assert "set MINE_API_KEY" in listed.out


@pytest.mark.parametrize(
    ("name", "adapter", "url", "key", "says"),
    [
        ("Mine!", "openai", "https://mine.example/v1", None, "name"),
        ("a\r\nb", "openai", "https://mine.example/v1", None, "name"),
        ("mine", "no-such", "https://mine.example/v1", None, "adapter"),
        ("mine", "openai", "ftp://mine.example", None, "base_url"),
        ("mine", "openai", "https://me:pw@mine.example/v1", None, "base_url"),
        ("mine", "openai", "https://mine.example/v1?x=1", None, "base_url"),
        ("mine", "openai", "https://mine.example/v1", "", "no key came"),
        ("mine", "openai", "https://mine.example/v1", "a b", "one line"),
        ("mine", "openai", "https://mine.example/v1", "a\r\nx-evil: 1", "one line"),
        ("mine", "openai", "https://mine.example/v1", "schlüssel", "one line"),
        ("mine", "openai", "https://mine.example/v1", "x" * 20_000, "no key came"),
        ("mine", "openai", "https://mine.example/v1", '{"client_email": 1}', "only vertex"),
        ("mine", "openai", "https://mine.example/v1", '{"client_email": 1', "not JSON"),
    ],
    ids=[str(number) for number in range(13)],
)
def test_hostile_providers(
    inside: Run, name: str, adapter: str, url: str, key: str | None, says: str
) -> None:
    options = [] if key is None else ["--api-key-stdin"]
    done = inside(
        "provider", "add", name, "--adapter", adapter, "--base-url", url, *options, stdin=key or ""
    )
    done.failed(2, says)
    assert key is None or len(key) < 3 or key not in done.err


class Upstream(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        good = self.headers["authorization"] == "Bearer sk-good" and self.path == "/v1/models"
        self.send_response(200 if good else 401)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def upstream() -> Iterator[str]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Upstream)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_provider_is_tested_with_its_key(inside: Run, upstream: str) -> None:
    add = ("provider", "add", "mine", "--adapter", "openai", "--base-url", upstream)
    inside(*add, "--api-key-stdin", stdin="sk-good")
    good = inside("provider", "test", "mine", "--json")
    assert (good.code, good.json["ok"], good.json["status"]) == (0, True, 200)
    inside(*add, "--api-key-stdin", stdin="sk-bad")
    bad = inside("provider", "test", "mine", "--json")
    assert (bad.code, bad.json["ok"], bad.json["status"]) == (1, False, 401)
    assert "sk-bad" not in bad.out + bad.err
    assert inside("provider", "test", "sandbox").code == 0
    assert "set DEEPSEEK_API_KEY" in inside("provider", "test", "deepseek").out
    inside("provider", "test", "nowhere").failed(3, "no provider")
