"""Runs the real program as a subprocess over a data directory of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(sys.executable).parent / "tokenmarket"


class Done:
    """One finished call."""

    def __init__(self, process: "subprocess.CompletedProcess[str]") -> None:
        self.code = process.returncode
        self.out = process.stdout
        self.err = process.stderr

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


@pytest.fixture
def run(data: Path) -> Run:
    clean = {
        k: v for k, v in os.environ.items() if not k.endswith(("_API_KEY", "_proxy", "_PROXY"))
    }

    def call(*arguments: str, stdin: str = "", **environment: str) -> Done:
        process = subprocess.run(
            [PROGRAM, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**clean, "TOKENMARKET_DATA": str(data), **environment},
        )
        return Done(process)

    return call
