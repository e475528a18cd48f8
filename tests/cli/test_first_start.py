"""``tokenmarket serve`` on an empty data directory: everything it prints works as printed."""

import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import CLEAN, PROGRAM, Run
from tokenmarket.core import keys


@contextmanager
def serving(data: Path) -> Iterator[list[str]]:
    """A server on a free port; yields what it printed. It must end cleanly on SIGTERM.

    The log line "listening" follows what is printed, so nothing here waits for time.
    """
    printed = data.parent / "stdout"
    with (
        printed.open("w") as stdout,
        subprocess.Popen(
            [PROGRAM, "serve", "--port", "0", "--data", str(data)],
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            env=CLEAN,
        ) as process,
    ):
        assert process.stderr is not None
        try:
            log = ""
            while '"listening"' not in log:
                line = process.stderr.readline()
                assert line, log
                log += line
            yield printed.read_text().splitlines()
        finally:
            process.send_signal(signal.SIGTERM)
            log += process.stderr.read()
            assert process.wait(30) == 0, log
            assert "tm_live_" not in log


def test_the_first_start_and_the_next(run: Run, data: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is absent")
    with serving(data) as lines:
        token = next(line.split()[-1] for line in lines if "API key" in line)
        assert keys.is_wellformed(token)
        commands = [line.strip() for line in lines if line.strip().startswith("curl")]
        assert len(commands) == 15
        for command in commands:
            done = subprocess.run(
                ["/bin/sh", "-c", command],
                capture_output=True,
                text=True,
                timeout=30,
                check=True,
                cwd=data.parent,  # where one of them writes a file and others read it
            )
            assert done.stdout or " -o hello.wav" in command
            assert '"error":{' not in done.stdout, (command, done.stdout)
        assert run("credit", "grant", "--org", "demo", "--amount", "1", "--reason", "x").code == 0
        assert run("ledger", "verify").code == 0
        assert run("doctor").code == 0
        second = run("serve", "--port", "0")
        second.failed(2, "cannot start")
    with serving(data) as lines:
        text = "\n".join(lines)
        assert token not in text
        assert "tokenmarket key create --org demo" in text
    assert run("ledger", "verify").code == 0


def test_a_start_that_fails_does_not_use_up_the_key(run: Run, data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        run("serve", "--port", port).failed(2, "cannot start")
    with serving(data) as lines:
        assert any("API key" in line for line in lines)
    run("serve", "--port", "0", TOKENMARKET_SECRET_KEY="ab" * 32).failed(2, "another secret")
