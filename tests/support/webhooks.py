"""Webhook endpoints for tests: a receiver on this machine, and objects of a running server."""

import asyncio
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
from tokenmarket.webhooks.endpoints import Desk, Wishes

NOWHERE = "https://receiver.invalid/tokenmarket"


@dataclass
class Receiver:
    """Notes what is posted to it, and answers with ``status``."""

    port: int
    status: int = 200
    posts: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

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
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): text for name, text in self.headers.items()}
            held[0].posts.append((headers, body))
            answer = b"thank you"
            self.send_response(held[0].status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    held.append(Receiver(server.server_port))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield held[0]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def webhook_with_delivery(data: Path, org_id: str) -> dict[str, str]:
    """An endpoint that nobody answers and an event on its way there, made at the first call:
    {"endpoint": id, "delivery": id}."""
    with ThreadPoolExecutor(1) as thread:  # Playwright has a loop in this one
        return thread.submit(asyncio.run, _webhook_with_delivery(data, org_id)).result()


async def _webhook_with_delivery(data: Path, org_id: str) -> dict[str, str]:
    database = await Database.open(data / "tokenmarket.db", beside=True)
    kek = root_of(data).derive(sealing.KEY_ENCRYPTION)
    desk = Desk(org_id, "test", SystemClock().wall_us(), kek)
    try:
        async with database.begin() as conn:
            found = [
                row for row in await endpoints_of(conn, org_id) if row.url == NOWHERE
            ]
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
