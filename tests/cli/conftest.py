"""Runs the real program as a subprocess over a data directory of its own.

``inside`` calls its ``main`` in this process instead: half a second less, for the many cases that
are about words and messages.
"""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tokenmarket.cli import main

PROGRAM = Path(sys.executable).parent / "tokenmarket"


class Done:
    """One finished call."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    @property
    def json(self) -> Any:
        """stdout must be exactly one JSON object."""
        assert self.out.count("\n") == 1, self.out
        document = json.loads(self.out)
        assert isinstance(document, dict)
        return document

    def failed(self, code: int, says: str) -> None:
        """The exit code, a message, and no traceback."""
        assert self.code == code, (self.out, self.err)
        assert says in self.err, self.err
        assert "Traceback" not in self.err


Run = Callable[..., Done]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


CLEAN = {k: v for k, v in os.environ.items() if not k.endswith(("_API_KEY", "_proxy", "_PROXY"))}


@pytest.fixture
def run(data: Path) -> Run:
    def call(*arguments: str, stdin: str = "", **environment: str) -> Done:
        process = subprocess.run(
            [PROGRAM, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**CLEAN, "TOKENMARKET_DATA": str(data), **environment},
        )
        return Done(process.returncode, process.stdout, process.stderr)

    return call


@pytest.fixture(scope="session")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with the organisation acme, for commands that must not change anything."""
    data = tmp_path_factory.mktemp("acme")
    assert main(["org", "create", "acme", "--data", str(data)]) == 0
    return data


@pytest.fixture
def inside(acme: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setattr(os, "environ", {**CLEAN, "TOKENMARKET_DATA": str(acme)})

    def call(*arguments: str, stdin: str = "", **environment: str) -> Done:
        capfd.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(os, "environ", {**os.environ, **environment})
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
            try:
                code = main(arguments)
            except SystemExit as ended:  # argparse
                code = int(ended.code or 0)
        return Done(code, *capfd.readouterr())

    return call
