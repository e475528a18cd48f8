"""What is measured: nginx as the yardstick, the gateway, and the upstream itself without either.

All three are a ``Target``: a port for whole answers, one for streams, a path and a key. nginx needs
two ports because buffering is right for whole answers and wrong for streams; the others use one.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from decimal import Decimal
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import traffic
from process import BenchError, Process, free_port

HERE = Path(__file__).resolve().parent
CACHE = HERE / ".cache"
GRANT_USD = 1_000_000
COMMAND_TIMEOUT_S = 60


class Target:
    """Where a load goes. ``process`` is what its CPU and memory are read from."""

    def __init__(
        self, name: str, process: Process, port: int, *, stream_port: int = 0, path: str, key: str
    ) -> None:
        self.name = name
        self.process = process
        self.port = port
        self.stream_port = stream_port or port
        self.path = path
        self.key = key
        self.answered = 0  # requests answered with 200, for the books at the end
        self.first_answer_s = 0.0  # from the start of the process

    def request(self, model: str, *, stream: bool) -> tuple[int, bytes]:
        """Port and bytes of one request."""
        port = self.stream_port if stream else self.port
        body = traffic.request_body(model, stream=stream)
        return port, traffic.request_bytes(f"127.0.0.1:{port}", self.path, self.key, body)

    def get(self, path: str) -> bytes:
        """The body of a GET; BenchError unless 200."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.key}"})
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise BenchError(f"{self.name}: GET {path}: {response.status} {body[:300]!r}")
        return body

    def post(self) -> None:
        """One chat request, checked; the cheapest proof that the whole way works."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        try:
            body = traffic.request_body(traffic.CHAT, stream=False)
            connection.request("POST", self.path, body, headers)
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status != 200 or traffic.ANSWER_END not in answer:
            told = f"{answer[:500]!r}\n{self.process.log_end()}"
            raise BenchError(f"{self.name}: {response.status} {told}")
        self.answered += 1


# --- the upstream and nginx -----------------------------------------------------------------------


def start_upstream(work: Path, cores: set[int]) -> Target:
    """The mock upstream, reached directly."""
    port = free_port()
    command = [sys.executable, str(HERE / "upstream.py"), "--port", str(port)]
    process = Process("upstream", command, work / "upstream.log", cores=cores)
    target = Target("direct", process, port, path="/v1/chat/completions", key="direct")
    return _ready(target)


def start_nginx(program: str, work: Path, upstream_port: int, cores: set[int]) -> Target:
    """nginx as a plain reverse proxy: one worker, kept-alive upstream connections, no logs."""
    folder = work / "nginx"
    folder.mkdir(exist_ok=True)
    port, stream_port = free_port(), free_port()
    rules = folder / "nginx.conf"
    rules.write_text(
        _NGINX_CONF.format(
            folder=folder,
            upstream=upstream_port,
            port=port,
            stream_port=stream_port,
            user="user root;" if os.getuid() == 0 else "",
        ),
        encoding="utf-8",
    )
    command = [program, "-e", "stderr", "-p", str(folder), "-c", str(rules)]
    process = Process("nginx", command, work / "nginx.log", cores=cores)
    path = "/api/v1/chat/completions"
    target = Target("nginx", process, port, stream_port=stream_port, path=path, key="nginx")
    return _ready(target)


def nginx_program() -> str:
    """The installed nginx, or Debian's package unpacked below bench/.cache (nothing is installed).

    Raises BenchError that says what to do.
    """
    unpacked = CACHE / "nginx" / "usr" / "sbin" / "nginx"
    found = shutil.which("nginx") or (str(unpacked) if unpacked.exists() else None)
    if found is not None:
        return found
    advice = "install nginx (apt-get install nginx-light) and run again"
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise BenchError(f"nginx is the yardstick and is not here: {advice}")
    print("nginx is not installed; fetching its Debian package into bench/.cache ...", flush=True)
    downloads = CACHE / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    if os.getuid() == 0:
        _quietly(["apt-get", "update", "-q"], downloads, advice)
    _quietly(["apt-get", "download", "-q", "nginx"], downloads, advice)
    package = max(downloads.glob("nginx_*.deb"), key=lambda path: path.stat().st_mtime)
    _quietly(["dpkg-deb", "-x", str(package), str(CACHE / "nginx")], downloads, advice)
    _quietly([str(unpacked), "-v"], downloads, advice)
    return str(unpacked)


def _quietly(command: list[str], folder: Path, advice: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(
            f"nginx is the yardstick; {' '.join(command)} failed: {done.stderr[-500:]}\n{advice}"
        )


def _ready(target: Target) -> Target:
    try:
        target.process.listening(target.port)
        target.post()
        target.first_answer_s = time.monotonic() - target.process.started_s
    except BaseException:
        target.process.stop()
        raise
    return target


# --- the gateway ----------------------------------------------------------------------------------


class Gateway:
    """A data directory with one organisation, one key and the bench provider; starts servers."""

    def __init__(self, program: Path, work: Path, upstream_port: int, cores: set[int]) -> None:
        """Sets everything up with the command line, as an operator does."""
        self.cores = cores
        self._program = program
        self._data = work / "data"
        self._work = work
        self._environment = {"BENCH_UPSTREAM_KEY": "sk-bench-upstream", "TOKENMARKET_DEMO": "false"}
        self.command("org", "create", "bench", *_NO_LIMIT)
        self.command(
            "credit", "grant", "--org", "bench", "--amount", str(GRANT_USD), "--reason", "bench"
        )
        made = self.command("key", "create", "--org", "bench", *_NO_LIMIT)
        self.key = str(made["key"])
        rows = work / "bench.toml"
        rows.write_text(_catalog(upstream_port), encoding="utf-8")
        self.command("catalog", "apply", str(rows))

    def command(self, *arguments: str) -> Mapping[str, Any]:
        """Runs ``tokenmarket … --json`` and returns its object; BenchError if it fails."""
        done = subprocess.run(
            [str(self._program), *arguments, "--data", str(self._data), "--json"],
            env={**os.environ, **self._environment},
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S if arguments[0] != "ledger" else 30 * COMMAND_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            told = (done.stdout + done.stderr)[-1500:]
            raise BenchError(
                f"tokenmarket {' '.join(arguments)}: exit code {done.returncode}: {told}"
            )
        document: Mapping[str, Any] = json.loads(done.stdout)
        return document

    def disk_bytes(self) -> int:
        """What the data directory takes on disk: database, journal, secret."""
        files = (path for path in self._data.rglob("*") if path.is_file())
        return sum(path.stat().st_blocks * 512 for path in files)

    def start(self) -> Target:
        """A server that listens and has answered its first request."""
        port = free_port()
        command = [str(self._program), "serve", "--host", "127.0.0.1", "--port", str(port)]
        process = Process(
            "tokenmarket",
            [*command, "--data", str(self._data)],
            self._work / "gateway.log",
            cores=self.cores,
            environment=self._environment,
        )
        path = "/api/v1/chat/completions"
        return _ready(Target("tokenmarket", process, port, path=path, key=self.key))


def charged_usd(target: Target) -> Decimal:
    """What the organisation has been charged since its grant."""
    credits = json.loads(target.get("/api/v1/credits"))
    if Decimal(credits["held"]):
        raise BenchError(f"money is still held after all requests ended: {credits}")
    return GRANT_USD - Decimal(credits["balance"])


def sql_operations(target: Target) -> float | None:
    """The gateway's own count of SQL statements; None if it does not tell."""
    for line in target.get("/metrics").decode("utf-8").splitlines():
        name, _, value = line.rpartition(" ")
        if name.removesuffix("_total") in _SQL_METRICS:
            return float(value)
    return None


_SQL_METRICS = {"tokenmarket_sql_operations", "tokenmarket_billing_sql_operations"}
_NO_LIMIT = ("--rpm", "100000000", "--tpm", "999999999999", "--concurrency", "100000")

# (events, pause in ms) of all streams that scenarios may ask for
STREAMS = ((50, 0), (100, 10), (15, 1000))


def _catalog(upstream_port: int) -> str:
    """The bench provider and its models, at prices that charge ``traffic.PRICE_NANO``."""
    provider = (
        '[[provider]]\nname = "bench"\nadapter = "openai"\n'
        f'base_url = "http://127.0.0.1:{upstream_port}/v1"\napi_key_env = "BENCH_UPSTREAM_KEY"\n'
    )
    models = [traffic.CHAT, *(traffic.stream_model(*shape) for shape in STREAMS)]
    return provider + "".join(
        f'\n[[model]]\nid = "{model}"\noperation = "chat"\ndefault_provider = "bench"\n'
        "context_tokens = 128000\nmax_output_tokens = 4096\n"
        f'\n[[route]]\nmodel = "{model}"\nprovider = "bench"\nupstream_model = "{model}"\n'
        "price = [\n"
        f'  {{ unit = "input_token", usd = "{_per_million(traffic.INPUT_NANO_PER_TOKEN)}" }},\n'
        f'  {{ unit = "output_token", usd = "{_per_million(traffic.OUTPUT_NANO_PER_TOKEN)}" }},\n'
        "]\n"
        for model in models
    )


def _per_million(nano_per_token: int) -> Decimal:
    return Decimal(nano_per_token) * 1_000_000 / 1_000_000_000


_NGINX_CONF = """\
{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
error_log /dev/null crit;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_body_buffer_size 64k;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    tcp_nodelay on;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    upstream mock {{
        server 127.0.0.1:{upstream};
        keepalive 1024;
        keepalive_requests 1000000000;
        keepalive_time 10h;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location /api/v1/ {{ proxy_pass http://mock/v1/; }}
    }}
    server {{
        listen 127.0.0.1:{stream_port} backlog=4096;
        location /api/v1/ {{ proxy_pass http://mock/v1/; proxy_buffering off; }}
    }}
}}
"""
