"""The video example of the original documentation, as printed there, against a New API server on
real sockets (its wire: wire_facts.md section 3.3; tasks are wrapped, files are behind the key)."""

import json
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.support.server import TAKES_EFFECT_S, Server, until
from tokenmarket.sandbox.filming import Film, mp4

EXAMPLE = {
    "model": "kling-v1",
    "provider": "dataeyes",
    "prompt": "A paper plane flying over a lake at sunrise",
    "size": "1280x720",
}
FILM = mp4(Film(bytes(range(32)), 160, 90, 5, 10))
TASK = "task_" + "a" * 32
KEY = "sk-of-the-aggregator"
# The shipped route, at this address. The model is asked about sooner than the shipped one, and a
# number of its row shows which address is in use.
THERE = """
[[provider]]
name = "dataeyes"
adapter = "newapi"
base_url = "http://127.0.0.1:{port}/v1"
api_key_env = "DATAEYES_API_KEY"
[[model]]
id = "kling-v1"
operation = "video"
name = {{ en = "Kling 1.0", zh = "可灵 1.0" }}
vendor = "kuaishou"
default_provider = "kling"
capabilities = {{ dialect = "legacy", seconds = [5, 10], modes = ["std", "pro"], \
resolutions = ["720p", "1080p"], aspect_ratios = ["16:9", "9:16", "1:1"], expected_s = 1, \
prompt_chars_max = {port} }}
"""


class NewApi(ThreadingHTTPServer):
    """Accepts one kind of order, is busy for one poll, then has the file; no key, no answer."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.orders: list[dict[str, Any]] = []
        self.polls = 0
        self.fails = fails


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: NewApi

    def log_message(self, format: str, *args: Any) -> None:
        """Not to the terminal."""

    def reply(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        order = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path != "/v1/video/generations" or self.headers["authorization"] != f"Bearer {KEY}":
            return self.reply(404, b"{}")
        self.server.orders.append(order)
        made = {"id": TASK, "task_id": TASK, "object": "video", "model": order["model"]}
        return self.reply(200, json.dumps(made | {"status": "", "created_at": 1}).encode())

    def do_GET(self) -> None:
        if self.headers["authorization"] != f"Bearer {KEY}":
            return self.reply(401, b"{}")
        if self.path == f"/v1/videos/{TASK}/content":
            return self.reply(200, FILM, "video/mp4")
        if self.path != f"/v1/video/generations/{TASK}":
            return self.reply(404, b"{}")
        self.server.polls += 1
        task: dict[str, Any] = {
            "id": 7,
            "task_id": TASK,
            "progress": "30%",
            "status": "IN_PROGRESS",
        }
        if self.server.polls > 1 and self.server.fails:
            task |= {"status": "FAILURE", "fail_reason": "content failed the risk control"}
        elif self.server.polls > 1:
            # The server does not know its own name: new-api's default is localhost.
            url = f"http://localhost:3000/v1/videos/{TASK}/content"
            vendor = {"data": {"task_result": {"videos": [{"url": url, "duration": "5.1"}]}}}
            task |= {"status": "SUCCESS", "result_url": url, "data": {"code": 0} | vendor}
        body = {"code": "success", "message": "", "data": task}
        return self.reply(200, json.dumps(body).encode())


@pytest.fixture(params=[False, True], ids=["made", "refused"])
def newapi(request: pytest.FixtureRequest) -> Iterator[NewApi]:
    with NewApi(request.param) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def server(start: Callable[..., Server]) -> Server:
    return start(DATAEYES_API_KEY=KEY)


def test_the_documented_example(server: Server, newapi: NewApi) -> None:
    server.apply(THERE.format(port=newapi.server_port))
    before = Decimal(server.get("/credits").json["balance"])

    def known() -> bool:
        rows = server.get("/videos/models").json["data"]
        (row,) = (row for row in rows if row["id"] == "kling-v1")
        return row["capabilities"].get("prompt_chars_max") == newapi.server_port

    until(known, "the aggregator's address", TAKES_EFFECT_S)
    answer = server.post("/video/generations", EXAMPLE)
    assert answer.status == 200, answer.body
    task = answer.json
    assert (task["object"], task["model"], task["provider"]) == ("video", "kling-v1", "dataeyes")
    assert (task["seconds"], task["size"]) == ("5", "1280x720")
    assert Decimal(task["billing"]["held"]) == Decimal("0.7")
    (order,) = until(lambda: newapi.orders or None, "the order at the aggregator")
    assert {name: order[name] for name in ("model", "duration", "mode", "size")} == {
        "model": "kling-v1",
        "duration": 5,
        "mode": "std",
        "size": "1280x720",
    }

    def ended() -> Any:
        shown = server.get(f"/video/generations/{task['id']}").json
        return shown if shown["status"] in ("completed", "failed") else None

    shown = until(ended, "the end of the task", 60.0)
    after = Decimal(server.get("/credits").json["balance"])
    assert shown["code"] == "success"
    if newapi.fails:
        assert (shown["status"], shown["error"]["code"]) == ("failed", "content_policy_violation")
        assert shown["data"]["status"] == "FAILURE"
        assert after == before
        return
    assert (shown["status"], shown["data"]["status"]) == ("completed", "SUCCESS")
    assert Decimal(shown["billing"]["charged"]) == Decimal("0.7")
    assert before - after == Decimal("0.7")
    film = server.get(f"/videos/{task['id']}/content")
    assert (film.status, film.body) == (200, FILM)
