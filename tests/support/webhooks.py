"""Webhook endpoints for tests: a receiver on this machine, and objects of a running server."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support.residents import root_of
from tokenmarket.billing.clock import SystemClock
from tokenmarket.core import sealing
from tokenmarket.store import webhook_sending
from tokenmarket.store.database import Database
from tokenmarket.store.webhook_endpoints import endpoints_of
from tokenmarket.webhooks import endpoints
from tokenmarket.webhooks.endpoints import Desk, Made, Wishes

NOWHERE = "https://receiver.invalid/tokenmarket"


@dataclass
class Receiver:
    """Notes what is posted to it, and answers with ``status``; not while ``answers`` is unset."""

    port: int
    status: int = 200
    answers: threading.Event = field(default_factory=threading.Event)
    posts: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    @property
    def origin(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.origin}/hook"


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a free port."""
    held: list[Receiver] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            held[0].paths.append(f"GET {self.path}")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): text for name, text in self.headers.items()}
            held[0].paths.append(self.path)
            held[0].posts.append((headers, body))
            held[0].answers.wait(60)
            answer = b"thank you"
            self.send_response(held[0].status)
            self.send_header("location", "/elsewhere")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def handle_one_request(self) -> None:
            with contextlib.suppress(OSError):  # whoever asked was killed: that is the test
                super().handle_one_request()

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    held.append(Receiver(server.server_port))
    held[0].answers.set()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield held[0]
    finally:
        held[0].answers.set()
        server.shutdown()
        server.server_close()
        thread.join()


def new_endpoint(data: Path, org_id: str, receiver: Receiver, events: tuple[str, ...]) -> Made:
    """An endpoint of a running server whose setting allows the receiver."""

    async def make() -> Made:
        database = await Database.open(data / "tokenmarket.db", beside=True)
        kek = root_of(data).derive(sealing.KEY_ENCRYPTION)
        desk = Desk(org_id, "test", SystemClock().wall_us(), kek, (receiver.origin,))
        try:
            async with database.begin() as conn:
                return await endpoints.create(conn, desk, Wishes(receiver.url, "", events))
        finally:
            await database.close()

    with ThreadPoolExecutor(1) as thread:  # Playwright has a loop in this one
        return thread.submit(asyncio.run, make()).result()


def webhook_with_delivery(data: Path, org_id: str) -> dict[str, str]:
    """An endpoint that nobody answers and an event on its way there, made at the first call:
    {"endpoint": id, "delivery": id}."""
    with ThreadPoolExecutor(1) as thread:  # as above
        return thread.submit(asyncio.run, _webhook_with_delivery(data, org_id)).result()


async def _webhook_with_delivery(data: Path, org_id: str) -> dict[str, str]:
    database = await Database.open(data / "tokenmarket.db", beside=True)
    kek = root_of(data).derive(sealing.KEY_ENCRYPTION)
    desk = Desk(org_id, "test", SystemClock().wall_us(), kek)
    try:
        async with database.begin() as conn:
            found = [row for row in await endpoints_of(conn, org_id) if row.url == NOWHERE]
            if not found:
                made = await endpoints.create(
                    conn, desk, Wishes(NOWHERE, "Nobody is there", ("video.completed",))
                )
                await endpoints.send_test(conn, desk, made.endpoint.id)
                found = [made.endpoint]
            sent = await webhook_sending.dispatches_of(conn, org_id, found[0].id)
    finally:
        await database.close()
    return {"endpoint": found[0].id, "delivery": sent[0].id}
