"""Processes that the benchmark starts, and what /proc says about them and their children."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
STOP_S = 40.0


class BenchError(Exception):
    """The benchmark cannot go on, or its figures would be worth nothing."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """One started program with its children. ``cores`` pins it; its output goes to ``log``."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        cores: set[int],
        environment: dict[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self.started_s = time.monotonic()

        # it dies with the benchmark even if that is killed
        wrapped = ["setpriv", "--pdeathsig", "TERM", "taskset", "-c", _comma(cores), *command]
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                wrapped,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        self.pid = self._popen.pid

    def check(self) -> None:
        """Raises BenchError with the end of its output if it has ended."""
        code = self._popen.poll()
        if code is not None:
            raise BenchError(f"{self.name} ended with code {code}: {self.log_end()}")

    def listening(self, port: int, timeout_s: float = 15.0) -> None:
        """Returns when the port accepts connections."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            self.check()
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                if time.monotonic() > deadline_s:
                    raise BenchError(
                        f"{self.name} does not listen on {port}: {self.log_end()}"
                    ) from None
                time.sleep(0.002)
            else:
                return

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for its own session if that does not help."""
        if self._popen.poll() is not None:
            return
        self._popen.terminate()
        try:
            self._popen.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self._popen.wait()
            raise BenchError(
                f"{self.name} did not stop within {STOP_S:.0f} s: {self.log_end()}"
            ) from None

    def cpu_s(self) -> float:
        """User + system CPU of the whole tree, with children that have ended."""
        return sum(_cpu_ticks(pid) for pid in _tree(self.pid)) * TICK_S

    def settled_cpu_s(self, timeout_s: float = 8.0) -> float:
        """``cpu_s`` when work that was put off (posting, logs) is done: it belongs to the load."""
        deadline_s = time.monotonic() + timeout_s
        quiet = 0
        before_s = self.cpu_s()
        while quiet < 2 and time.monotonic() < deadline_s:
            time.sleep(0.15)
            now_s = self.cpu_s()
            quiet = quiet + 1 if now_s - before_s <= TICK_S else 0
            before_s = now_s
        return before_s

    def rss_mib(self) -> float:
        """Resident memory of the whole tree; pages shared by processes count for each."""
        return sum(_status_kib(pid, "VmRSS:") for pid in _tree(self.pid)) / 1024

    def peak_mib(self) -> float:
        """The largest resident memory that each process has had, added up."""
        return sum(_status_kib(pid, "VmHWM:") for pid in _tree(self.pid)) / 1024

    def log_end(self) -> str:
        """The last lines that it wrote."""
        return self.log.read_bytes()[-1500:].decode("utf-8", "replace") or "no output"


def others_cpu_s() -> float:
    """CPU that everybody else on this machine has used since it was started.

    Exact only when all processes of the benchmark have ended: children count when they do.
    """
    first = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, first[1:9])
    busy_s = (user + nice + system + irq + softirq + steal) * TICK_S
    return busy_s - sum(os.times()[:4])


def _comma(numbers: set[int]) -> str:
    return ",".join(str(number) for number in sorted(numbers))


def _tree(root: int) -> list[int]:
    """The process and all its descendants that are alive."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def _parents() -> Iterator[tuple[int, int]]:
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                yield int(entry.name), int(fields[1])


def _cpu_ticks(pid: int) -> int:
    fields = _stat(pid)
    return sum(int(ticks) for ticks in fields[11:15])  # utime, stime, cutime, cstime


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name, from ``state`` on; empty if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()


def _status_kib(pid: int, name: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    for line in lines:
        if line.startswith(name):
            return int(line.split()[1])
    return 0  # a zombie has none
