# pyright: basic
"""kill -9 with a task in each state: the next process carries every one to its one end."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import Server, until
from tokenmarket.sandbox.filming import Film, mp4

STATES = (
    "accepted",
    "submitting",
    "submit_unknown",
    "queued",
    "running",
    "canceling",
    "finalizing",
)
PROVIDER = """
[[provider]]
name = "far"
adapter = "sandbox"
base_url = "http://127.0.0.1:{port}/v1"
api_key_env = "FAR_API_KEY"
"""
MODEL = """
[[model]]
id = "dies-{state}"
operation = "video"
name = {{ en = "Dies {state}", zh = "中断" }}
vendor = "x"
default_provider = "far"
capabilities = {{ seconds = [4], expected_s = 2, sizes = ["320x180"] }}
[[route]]
model = "dies-{state}"
provider = "far"
upstream_model = "{state}"
price = [ {{ unit = "video_second", usd = "0.01" }} ]
"""


class Upstream(ThreadingHTTPServer):
    """OpenAI's Videos wire. Until ``healed``, each model keeps its task in the state of its name;
    an answer that must not come hangs."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.healed = threading.Event()
        self.created: list[str] = []
        self.references: dict[str, str] = {}
        self.hanging: set[str] = set()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The gateway was killed: that is the test."""


class Handler(BaseHTTPRequestHandler):
    server: Upstream
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        return

    def do_POST(self) -> None:
        up = self.server
        body = json.loads(self.rfile.read(int(self.headers["content-length"] or 0)) or b"{}")
        healed = up.healed.is_set()
        if self.path.endswith("/cancel"):
            if not healed:
                self.hang("canceling")
            self.answer(409, {"error": {"message": "too late"}})
            return
        model = body["model"]
        if model == "accepted" and not healed:
            self.answer(429, {"error": {"message": "full"}})
            return
        up.created.append(model)
        up.references[model] = body["metadata"]["client_reference"]
        if model == "submitting" and not healed:
            self.hang(model)
        if model == "submit_unknown":
            self.answer(500, {"error": {"message": "oops"}})
            return
        self.answer(200, self.task(model))

    def do_GET(self) -> None:
        up = self.server
        parts = self.path.partition("?")[0].removeprefix("/v1/videos").strip("/").split("/")
        if parts == [""]:
            data = [self.task(model) for model in up.references] if up.healed.is_set() else []
            self.answer(200, {"data": data, "has_more": not up.healed.is_set()})
        elif len(parts) == 1:
            self.answer(200, self.task(parts[0]))
        else:
            if not up.healed.is_set():
                self.hang("finalizing")
            film = mp4(Film(bytes(32), 320, 180, 4, 8))
            self.send_response(200)
            self.send_header("content-length", str(len(film)))
            self.end_headers()
            self.wfile.write(film)

    def task(self, model: str) -> dict[str, Any]:
        status = {"running": "in_progress", "canceling": "in_progress", "finalizing": "completed"}
        shown = "completed" if self.server.healed.is_set() else status.get(model, "queued")
        reference = {"client_reference": self.server.references[model]}
        return {"id": model, "status": shown, "seconds": "4", "metadata": reference}

    def hang(self, what: str) -> None:
        self.server.hanging.add(what)
        self.server.healed.wait(60)

    def answer(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.healed.set()
    server.shutdown()
    server.server_close()
    thread.join()


def test_killed_with_a_task_in_each_state(tmp_path: Path, upstream: Upstream) -> None:
    server = Server(tmp_path / "data", FAR_API_KEY="far-key")
    try:
        toml = PROVIDER.format(port=upstream.server_port)
        toml += "".join(MODEL.format(state=state) for state in STATES)
        server.apply_models(toml, *(f"dies-{state}" for state in STATES))
        threads = [threading.Thread(target=create, args=(server, state)) for state in STATES]
        for thread in threads:
            thread.start()
        until(lambda: states(server) == {s: s for s in STATES if s != "canceling"} | {
            "canceling": "running"}, "every state")  # fmt: skip
        cancel = threading.Thread(target=cancel_it, args=(server,))
        cancel.start()
        until(lambda: {"submitting", "canceling", "finalizing"} <= upstream.hanging, "all hang")
        until(lambda: states(server) == {state: state for state in STATES}, "every state")
        assert money(server) == (Decimal("10"), Decimal("0.28"))
        server.kill()
        for thread in (*threads, cancel):
            thread.join()
        upstream.healed.set()
        server.start()
        until(lambda: set(states(server).values()) == {"succeeded"}, "every end", 120)
        assert money(server) == (Decimal("9.72"), Decimal("0"))
        assert sorted(upstream.created) == sorted(STATES)  # each was made once
        server.verify()
    finally:
        server.running.end()


def create(server: Server, state: str) -> None:
    order = {"model": f"dies-{state}", "prompt": "A boat", "seconds": 4, "size": "320x180"}
    with contextlib.suppress(OSError, http.client.HTTPException):
        server.post("/videos", order)


def cancel_it(server: Server) -> None:
    listed = server.get("/videos?model=dies-canceling").json["data"]
    with contextlib.suppress(OSError, http.client.HTTPException):
        server.post(f"/videos/{listed[0]['id']}/cancel", {})


def states(server: Server) -> dict[str, str]:
    listed = server.get("/videos?limit=100").json["data"]
    return {row["model"].removeprefix("dies-"): row["state"] for row in listed}


def money(server: Server) -> tuple[Decimal, Decimal]:
    shown = server.get("/credits").json
    return Decimal(shown["balance"]), Decimal(shown["held"])
