"""``tokenmarket serve`` on an empty data directory: everything it prints works as printed."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import CLEAN, PROGRAM, Run
from tokenmarket.core import keys


@contextmanager
def serving(data: Path) -> Iterator[list[str]]:
    """A server on a free port; yields what it printed. It must end cleanly on SIGTERM."""
    with (
        (data.parent / "stderr").open("w") as errors,
        subprocess.Popen(
            [PROGRAM, "serve", "--port", "0", "--data", str(data)],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=CLEAN,
        ) as process,
    ):
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        os.set_blocking(process.stdout.fileno(), False)
        lines += process.stdout.read().splitlines()
        try:
            yield lines
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0, (data.parent / "stderr").read_text()


def test_the_first_start_and_the_next(run: Run, data: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is absent")
    with serving(data) as lines:
        token = next(line.split()[-1] for line in lines if "API key" in line)
        assert keys.is_wellformed(token)
        commands = [line.strip() for line in lines if line.strip().startswith("curl")]
        assert len(commands) == 7
        for command in commands:
            done = subprocess.run(
                ["/bin/sh", "-c", command], capture_output=True, text=True, timeout=30, check=True
            )
            assert done.stdout
            assert '"error":{' not in done.stdout, (command, done.stdout)
        assert run("credit", "grant", "--org", "demo", "--amount", "1", "--reason", "x").code == 0
        assert run("ledger", "verify").code == 0
        assert run("doctor").code == 0
        second = run("serve", "--port", "0")
        second.failed(2, "cannot start")
    stderr = (data.parent / "stderr").read_text()
    assert token not in stderr
    with serving(data) as lines:
        text = "\n".join(lines)
        assert token not in text
        assert "tokenmarket key create --org demo" in text
    assert run("ledger", "verify").code == 0
