"""The first minute: what the first start prints works as it stands, with curl and a shell."""

import json
import re
import subprocess
from decimal import Decimal
from pathlib import Path

from openai import OpenAI

from tests.support.server import Server, clean_environment


def printed(server: Server) -> dict[str, str]:
    """Title -> command, as printed."""
    found = re.findall(r"^  # (.+)\n  (curl .+)$", server.welcome, re.MULTILINE)
    return dict(found)


def shell(command: str, folder: Path) -> str:
    done = subprocess.run(
        ["sh", "-c", command],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=folder,  # some write a file
        env=clean_environment(),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_prints_base_url_key_and_one_command_per_operation(server: Server) -> None:
    assert server.base_url in server.welcome
    assert server.key in server.welcome
    assert server.base_url == f"http://127.0.0.1:{server.port}/api/v1"
    paths = " ".join(printed(server).values())
    for path in ("/chat/completions", "/completions", "/embeddings", "/models", "/credits"):
        assert server.base_url + path in paths
    assert '"stream":true' in paths
    assert "/requests/" in paths


def test_every_printed_command_works(server: Server, tmp_path: Path) -> None:
    commands = printed(server)
    assert len(commands) >= 7
    answers = {title: shell(command, tmp_path) for title, command in commands.items()}
    objects = {}
    for title, answer in answers.items():
        if answer.startswith("data: "):
            assert answer.rstrip().endswith("data: [DONE]"), title
            objects[title] = "stream"
        elif not answer:
            objects[title] = "file"  # speech
        else:
            document = json.loads(answer)
            assert document.get("error") is None, (title, document)
            objects[title] = document.get("object", "plain")  # media answers have no name
    assert set(objects.values()) == {
        "chat.completion", "stream", "text_completion", "list", "credits", "request", "video",
        "file", "plain",
    }  # fmt: skip
    receipt = next(json.loads(answers[t]) for t, kind in objects.items() if kind == "request")
    assert receipt["status"] == "succeeded"
    assert Decimal(receipt["amounts"]["charged"]) > 0


def test_the_demo_organisation_has_ten_dollars_less_what_was_spent(server: Server) -> None:
    spent = Decimal(server.get("/usage").json["total"]["charged"])
    assert server.balance() == 10 - spent
    assert spent > 0


def test_the_sdk_needs_the_two_printed_values_only(server: Server) -> None:
    key = re.search(r"API key\s+(\S+)", server.welcome)
    base_url = re.search(r"base URL\s+(\S+)", server.welcome)
    assert key is not None
    assert base_url is not None
    with OpenAI(base_url=base_url.group(1), api_key=key.group(1)) as client:
        completion = client.chat.completions.create(
            model="sandbox-chat", messages=[{"role": "user", "content": "answer OK"}]
        )
    assert completion.choices[0].message.content == "OK"


def test_health_and_metrics(server: Server) -> None:
    assert server.call("GET", "/healthz", key=None).status == 200
    assert server.call("GET", "/readyz", key=None).status == 200
    metrics = server.call("GET", "/metrics", key=None)
    assert metrics.status == 200
    found = re.search(
        rb'^tokenmarket_requests_total\{[^}]*model="sandbox-chat"[^}]*"succeeded"[^}]*\} (\S+)',
        metrics.body,
        re.MULTILINE,
    )
    assert found is not None
    assert float(found.group(1)) >= 1
    assert server.key.encode() not in metrics.body


def test_documentation_addresses_lead_to_this_server(server: Server) -> None:
    url = server.chat(model="nothing").error["docs_url"]
    assert url.startswith(f"http://127.0.0.1:{server.port}/")


def test_the_key_is_in_no_log_and_in_no_file(server: Server) -> None:
    assert server.key not in server.running.err
    for file in server.data.rglob("*"):
        if file.is_file():
            assert server.key.encode() not in file.read_bytes(), file


def test_a_second_start_makes_no_second_organisation(server: Server) -> None:
    balance = server.balance()
    assert server.running.process.poll() is None
    assert server.stop() == 0
    server.start()
    assert server.balance() == balance
    assert "tm_live_" not in server.running.out
    assert [row["name"] for row in server.run("org", "list")["data"]] == ["demo"]
    server.verify()
