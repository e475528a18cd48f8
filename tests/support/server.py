"""The real program as subprocesses: ``tokenmarket serve``, ``sandbox`` and the other commands.

Of the package only the command line is called here: what tests see is what a user of the program
sees. Waiting is polling with a deadline, never a blind sleep; output goes to files, so that no pipe
can fill up.
"""

import contextlib
import http.client
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

from tokenmarket import cli

PROGRAM = Path(sys.executable).parent / "tokenmarket"
START_S = 30.0  # a loaded machine may take long; a healthy one takes one second
POLL_S = 0.02
# design/api.md section 7 says 2 s for what the command line changes; the rest is a busy machine's.
TAKES_EFFECT_S = 4.0

_T = TypeVar("_T")


def until(probe: Callable[[], _T | None], what: str, deadline_s: float = START_S) -> _T:
    """The first result of ``probe`` that is not None or False. Fails after ``deadline_s``."""
    ends_s = time.monotonic() + deadline_s
    while True:
        found = probe()
        if found is not None and found is not False:
            return found
        if time.monotonic() > ends_s:
            raise AssertionError(f"{what}: not within {deadline_s} s")
        time.sleep(POLL_S)


def clean_environment(**extra: str) -> dict[str, str]:
    """This environment without provider keys, proxies and settings of TokenMarket."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.endswith(("_API_KEY", "_proxy", "_PROXY"))
        and not name.startswith("TOKENMARKET_")
    }
    return {**kept, **extra}


class Answer:
    """One HTTP answer. ``headers`` have lower-case names."""

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.lines = [(name.lower(), value) for name, value in headers]
        self.headers = dict(self.lines)
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error object of the envelope, which holds nothing else."""
        document = self.json
        assert list(document) == ["error"], document
        return document["error"]

    @property
    def request_id(self) -> str:
        return self.headers["x-request-id"]


class Running:
    """One subprocess of the program with its output in ``folder``."""

    def __init__(self, folder: Path, name: str, arguments: list[str], environment: dict[str, str]):
        folder.mkdir(parents=True, exist_ok=True)
        self._out = folder / f"{name}.out"
        self._err = folder / f"{name}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [PROGRAM, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment,
            )

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def wait_for(self, pattern: str, where: Callable[[], str]) -> str:
        """The first group of ``pattern`` once it is in the output; fails when the program ends."""

        def found() -> str | None:
            match = re.search(pattern, where())
            if match is None and self.process.poll() is not None:
                raise AssertionError(f"ended with {self.process.returncode}: {self.err[-2000:]}")
            return None if match is None else match.group(1)

        return until(found, pattern)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, deadline_s: float = START_S) -> int:
        """The exit code."""
        return self.process.wait(deadline_s)

    def end(self) -> None:
        """Gone for sure, gently if it goes."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Sandbox(Running):
    """``tokenmarket sandbox`` on a free port. ``url`` is its ``/v1``."""

    def __init__(self, folder: Path, key: str | None = None) -> None:
        arguments = ["sandbox", "--port", "0"]
        if key is not None:
            arguments += ["--api-key", key]
        super().__init__(folder, "sandbox", arguments, clean_environment())
        self.url = self.wait_for(r"listening on (http://[^\s/]+)", lambda: self.err) + "/v1"


class Server:
    """``tokenmarket serve`` on a free port over ``data``. ``key`` is the demo organisation's.

    ``stop`` and ``kill`` leave the data directory; ``start`` runs it again, on another port.
    """

    def __init__(self, data: Path, **environment: str) -> None:
        self.data = data
        self.environment = clean_environment(TOKENMARKET_DATA=str(data), **environment)
        self.key = ""
        self.welcome = ""
        self._starts = 0
        self._files = 0
        self.start()

    def start(self) -> None:
        """Returns when the server is ready to admit and settle."""
        self._starts += 1
        folder = self.data.parent / f"{self.data.name}-output"
        arguments = ["serve", "--port", "0", "--data", str(self.data)]
        self.running = Running(folder, f"serve-{self._starts}", arguments, self.environment)
        running = self.running
        try:
            self.base_url = running.wait_for(
                r'"event":"listening","url":"([^"]+)"', lambda: running.err
            )
            self.host, port = self.base_url.removeprefix("http://").split("/")[0].split(":")
            self.port = int(port)
            until(self._ready, "readyz")
            if not self.key:
                self.welcome = running.out
                match = re.search(r"tm_live_\w+", self.welcome)
                assert match is not None, self.welcome
                self.key = match.group()
        except BaseException:
            running.end()
            raise

    def _ready(self) -> bool:
        try:
            return self.call("GET", "/readyz", key=None).status == 200
        except (OSError, http.client.HTTPException) as error:
            raise AssertionError(f"it listens but: {self.running.err[-2000:]}") from error

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.running.signal(signal.SIGTERM)
        return self.running.wait(60)

    def kill(self) -> None:
        """SIGKILL: no farewell."""
        self.running.signal(signal.SIGKILL)
        self.running.wait()

    # --- the command line -----------------------------------------------------------------------

    def run(
        self, *arguments: str, stdin: str = "", code: int = 0, **environment: str
    ) -> dict[str, Any]:
        """``tokenmarket … --json`` over the same data; asserts the exit code; the JSON object.

        In this process, because starting Python costs twenty times what a command costs; that the
        program itself does the same is what tests/cli is about.
        """
        out, err = io.StringIO(), io.StringIO()
        typed = io.TextIOWrapper(io.BytesIO(stdin.encode()))
        with (
            mock.patch.dict(os.environ, {**self.environment, **environment}, clear=True),
            mock.patch.object(sys, "stdin", typed),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            ThreadPoolExecutor(1) as thread,  # the caller's may have a loop: Playwright's has
        ):
            exit_code = thread.submit(cli.main, [*arguments, "--json"]).result()
        assert exit_code == code, (arguments, exit_code, out.getvalue(), err.getvalue())
        document = json.loads(out.getvalue())
        assert isinstance(document, dict)
        return document

    def create_key(self, *limits: str, org: str = "demo") -> str:
        """A further key; ``limits`` as on the command line."""
        return self.run("key", "create", "--org", org, *limits)["key"]

    def create_org(self, name: str, amount: str | None = None, *limits: str) -> str:
        """An organisation with credit and one key; returns the key."""
        self.run("org", "create", name)
        if amount is not None:
            self.run("credit", "grant", "--org", name, "--amount", amount, "--reason", "test")
        return self.create_key(*limits, org=name)

    def apply(self, toml: str) -> dict[str, Any]:
        """``catalog apply``; says nothing about when the running server has taken it up."""
        self._files += 1
        file = self.data.parent / f"catalog-{self._files}.toml"
        file.write_text(toml, encoding="utf-8")
        return self.run("catalog", "apply", str(file))

    def apply_models(self, toml: str, *ids: str) -> None:
        """``apply``, then waits until the running server lists ``ids`` as available."""
        self.apply(toml)
        until(
            lambda: all(self.listed(name).get("available") for name in ids),
            f"the catalog with {ids}",
            TAKES_EFFECT_S,
        )

    def listed(self, model: str) -> dict[str, Any]:
        """The item of ``GET /models/{id}``; {} if it is not known."""
        answer = self.get(f"/models/{model}")
        return answer.json if answer.status == 200 else {}

    # --- HTTP -----------------------------------------------------------------------------------

    def call(
        self,
        method: str,
        path: str,
        body: bytes | object | None = None,
        *,
        key: str | None = "",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 30,
    ) -> Answer:
        """One request on a connection of its own. ``path`` is absolute; ``key`` "" = the demo key.

        A ``body`` that is not bytes is sent as JSON.
        """
        lines = {} if key is None else {"Authorization": f"Bearer {key or self.key}"}
        if body is not None:
            lines["Content-Type"] = "application/json"
        lines.update(headers or {})
        raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout_s)
        try:
            connection.request(method, path, raw, lines)
            response = connection.getresponse()
            return Answer(response.status, response.getheaders(), response.read())
        finally:
            connection.close()

    def get(self, path: str, *, key: str | None = "") -> Answer:
        """GET below /api/v1."""
        return self.call("GET", f"/api/v1{path}", key=key)

    def post(
        self,
        path: str,
        body: bytes | object,
        *,
        key: str | None = "",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """POST below /api/v1."""
        return self.call("POST", f"/api/v1{path}", body, key=key, headers=headers)

    def chat(self, text: str = "answer OK", *, key: str = "", **fields: object) -> Answer:
        """A chat with the sandbox; ``fields`` are added to the body."""
        body = {"model": "sandbox-chat", "messages": [{"role": "user", "content": text}]}
        return self.post("/chat/completions", {**body, **fields}, key=key)

    # --- what the gateway knows -----------------------------------------------------------------

    def receipt(self, request_id: str, *, key: str = "") -> dict[str, Any]:
        """The receipt as it is now; it must exist."""
        answer = self.get(f"/requests/{request_id}", key=key)
        assert answer.status == 200, answer.body
        return answer.json

    def final_receipt(self, request_id: str, *, key: str = "") -> dict[str, Any]:
        """The receipt once the request has ended (for those that we left or that still run)."""

        def ended() -> dict[str, Any] | None:
            found = self.receipt(request_id, key=key)
            return None if found["status"] == "running" else found

        return until(ended, f"the end of {request_id}", 10)

    def balance(self, *, key: str = "") -> Decimal:
        """Of ``GET /credits``."""
        return Decimal(self.get("/credits", key=key).json["balance"])

    def verify(self) -> None:
        """``ledger verify``: every invariant of the money holds."""
        document = self.run("ledger", "verify")
        assert document["ok"] is True, document
        assert document["differences"] == []
