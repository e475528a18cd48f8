"""Memory of large files: ``make bench ARGS=--media``.

A 200 MB recording goes through the gateway to an upstream that counts what arrives, and a stored
file of 500 MB is fetched from it. The peak of the gateway's resident memory (VmHWM, reset before)
may be 60 MiB above what it was when idle. Exit 1 if a byte was lost or the goal is missed: unlike
speed, this does not depend on the machine.
"""

import http.client
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from process import BenchError, Process, free_port
from proxies import Gateway, Target

from tokenmarket.core.file_urls import FileUrls, new_key
from tokenmarket.core.sealing import FILE_URLS, Root

UPLOAD_BYTES = 200_000_000
DOWNLOAD_BYTES = 500_000_000
ABOVE_IDLE_MIB_MAX = 60.0
PIECE = bytes(range(256)) * 512  # 128 KiB
BOUNDARY = b"----bench"
_ROWS = """
[[provider]]
name = "echo"
adapter = "openai"
base_url = "http://127.0.0.1:{port}/v1"
api_key_env = "BENCH_UPSTREAM_KEY"

[[model]]
id = "bench-transcribe"
operation = "transcription"
name = {{ en = "Bench transcription", zh = "基准转写" }}
vendor = "bench"
default_provider = "echo"
capabilities = {{ inputs = ["wav"], upstream_formats = ["json"] }}

[[route]]
model = "bench-transcribe"
provider = "echo"
price = [{{ unit = "audio_second", usd = "0.000001" }}]
"""


class Echo(BaseHTTPRequestHandler):
    """An upstream that takes a recording and says how long it was."""

    protocol_version = "HTTP/1.1"
    taken: ClassVar[list[int]] = []

    def do_POST(self) -> None:
        left = length = int(self.headers["content-length"])
        while left:
            left -= len(self.rfile.read(min(left, 1 << 20)))
        self.taken.append(length)
        body = json.dumps({"text": "heard", "usage": {"type": "duration", "seconds": 1}}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is logged."""


def measure_all(program: Path) -> int:
    """Measures both ways and prints one line for each; the exit code. Raises BenchError."""
    upstream = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    cores = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory(prefix="tokenmarket-media-") as folder:
        work = Path(folder)
        gateway = Gateway(program, work, upstream.server_port, cores)
        rows = work / "media.toml"
        rows.write_text(_ROWS.format(port=upstream.server_port), encoding="utf-8")
        gateway.command("catalog", "apply", str(rows))
        address = _stored(work / "data", DOWNLOAD_BYTES)
        target = _started(gateway, program, work, cores)
        try:
            upload(target, 100_000)
            download(target, address, 1000)
            good = [
                _measured(target, "upload of 200 MB", lambda: upload(target, UPLOAD_BYTES)),
                _measured(
                    target, "download of 500 MB", lambda: download(target, address, DOWNLOAD_BYTES)
                ),
            ]
        finally:
            target.process.stop()
            upstream.shutdown()
    return 0 if all(good) else 1


def _measured(target: Target, name: str, run: Callable[[], None]) -> bool:
    time.sleep(0.5)
    idle_mib = target.process.rss_mib()
    Path(f"/proc/{target.process.pid}/clear_refs").write_text("5")  # VmHWM begins again
    began_s = time.monotonic()
    run()
    took_s = time.monotonic() - began_s
    above_mib = target.process.peak_mib() - idle_mib
    good = above_mib < ABOVE_IDLE_MIB_MAX
    print(
        f"{name}: {took_s:.1f} s, idle {idle_mib:.1f} MiB, at most {above_mib:.1f} MiB above it "
        f"(goal: below {ABOVE_IDLE_MIB_MAX:.0f}) {'ok' if good else 'MISSED'}"
    )
    return good


def recording(size: int) -> Iterator[bytes]:
    """A form with a WAV of ``size`` bytes in all."""
    yield (
        b'--%b\r\nContent-Disposition: form-data; name="model"\r\n\r\nbench-transcribe\r\n'
        b'--%b\r\nContent-Disposition: form-data; name="file"; filename="long.wav"\r\n'
        b"Content-Type: audio/wav\r\n\r\n" % (BOUNDARY, BOUNDARY)
    )
    data = size - 44
    rate = 192_000  # bytes a second: 48 kHz, stereo, 16 bits
    yield (
        b"RIFF"
        + (size - 8).to_bytes(4, "little")
        + b"WAVEfmt "
        + (16).to_bytes(4, "little")
        + bytes((1, 0, 2, 0))
        + (48_000).to_bytes(4, "little")
        + rate.to_bytes(4, "little")
        + bytes((4, 0, 16, 0))
        + b"data"
        + data.to_bytes(4, "little")
    )
    while data > 0:
        yield PIECE[:data]
        data -= len(PIECE)
    yield b"\r\n--%b--\r\n" % BOUNDARY


def upload(target: Target, size: int) -> None:
    """One transcription; BenchError unless it was heard whole."""
    length = sum(map(len, recording(size)))
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=120)
    headers = {
        "Authorization": f"Bearer {target.key}",
        "Content-Type": f"multipart/form-data; boundary={BOUNDARY.decode()}",
        "Content-Length": str(length),
    }
    connection.request("POST", "/api/v1/audio/transcriptions", recording(size), headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200 or json.loads(body).get("text") != "heard":
        raise BenchError(f"upload: {answer.status} {body[:500]!r} {target.process.log_end()}")
    if Echo.taken[-1] < size:
        raise BenchError(f"the upstream got {Echo.taken[-1]} bytes of {size}")


def download(target: Target, address: str, size: int) -> None:
    """The first ``size`` bytes of the stored file."""
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=120)
    connection.request("GET", address, headers={"Range": f"bytes=0-{size - 1}"})
    answer = connection.getresponse()
    got = 0
    while piece := answer.read(1 << 18):
        got += len(piece)
    connection.close()
    if answer.status != 206 or got != size:
        raise BenchError(f"download: {answer.status}, {got} bytes of {size}")


def _stored(data: Path, size: int) -> str:
    """A file as the gateway would have stored it, and its address."""
    expires_s = int(time.time()) + 3600
    key = new_key("org_bench", expires_s, os.urandom(16), "video/mp4")
    path = data / "files" / key
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        for _ in range(0, size, len(PIECE)):
            file.write(PIECE)
    root = Root(bytes.fromhex((data / "secret.key").read_text(encoding="ascii").strip()))
    return FileUrls(root.derive(FILE_URLS), "").url(key, expires_s)


def _started(gateway: Gateway, program: Path, work: Path, cores: set[int]) -> Target:
    """The server without the chat request that ``Gateway.start`` begins with."""
    port = free_port()
    command = [str(program), "serve", "--host", "127.0.0.1", "--port", str(port)]
    process = Process(
        "tokenmarket",
        [*command, "--data", str(work / "data")],
        work / "gateway.log",
        cores=cores,
        environment={"BENCH_UPSTREAM_KEY": "sk-bench", "TOKENMARKET_DEMO": "false"},
    )
    process.listening(port)
    return Target("tokenmarket", process, port, path="", key=gateway.key)
