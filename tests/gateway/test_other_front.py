"""The same API object under ASGI: by a tiny driver and uvicorn; and what receipts hold."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
import uvicorn

from tests.gateway.site import CHAT, Org, Site, eventually
from tests.gateway.upstream import STREAM_HEAD as UPSTREAM_HEAD
from tests.gateway.upstream import TOLD, Link, Seen, chunk, framed, silent
from tests.gateway.wire import Wire, raw_request
from tokenmarket.core.ids import RequestIds
from tokenmarket.web.asgi import AsgiApp

pytestmark = pytest.mark.asyncio(loop_scope="module")
LANES = 8

GOOD = Decimal("0.000017")


def app(site: Site, body_bytes_max: int = 100_000) -> AsgiApp:
    api = site.server.api
    ids = RequestIds(os.urandom)
    return AsgiApp(api.handle, api.refusal, ids.next, body_bytes_max=body_bytes_max)


class Driver:
    """One ASGI call. ``leave`` makes receive() say http.disconnect."""

    def __init__(self, scope: dict[str, Any], *parts: bytes) -> None:
        self.scope = {"type": "http", "query_string": b"", "client": ("192.0.2.9", 1)} | scope
        self.parts = list(parts)
        self.left = asyncio.Event()
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        if self.parts:
            body = self.parts.pop(0)
            return {"type": "http.request", "body": body, "more_body": bool(self.parts)}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, event: Any) -> None:
        if self.left.is_set():
            raise OSError("the client left")
        self.sent.append(dict(event))

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(event["body"] for event in self.sent[1:])


def scope(org: Org, path: str = CHAT, method: str = "POST", **more: Any) -> dict[str, Any]:
    return {
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "headers": [
            (b"Authorization", f"Bearer {org.key}".encode()),
            (b"content-type", b"application/json"),
        ],
        **more,
    }


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_asgi_answers_like_the_other_front(site: Site, stream: bool) -> None:
    lane, org = site.lane_shared("asgi"), await site.org()
    data = json.dumps(lane.chat(stream=stream)).encode()
    driver = Driver(scope(org), data[:10], data[10:20], data[20:])
    org.asked += 1
    await app(site)(driver.scope, driver.receive, driver.send)
    assert driver.status == 200
    assert driver.headers["x-request-id"].startswith("req_")
    assert driver.headers["x-tokenmarket-provider"] == lane.a
    assert "transfer-encoding" not in driver.headers  # the server's own business
    assert not driver.sent[-1].get("more_body")
    direct = await org.chat(lane.chat(stream=stream))
    assert set(driver.headers) == set(direct.headers) - {"date", "transfer-encoding"}
    if stream:
        assert driver.body.endswith(b"data: [DONE]\n\n")
    else:
        assert json.loads(driver.body)["choices"] == direct.json["choices"]
    await org.settled(GOOD, GOOD)


async def test_asgi_refuses_in_the_same_envelope(site: Site) -> None:
    lane, org = site.lane_shared("asgi"), await site.org()
    big = Driver(scope(org), b"x" * 60_000, b"x" * 60_000)
    await app(site)(big.scope, big.receive, big.send)
    assert big.status == 413
    assert json.loads(big.body)["error"]["code"] == "REQUEST_006"
    for path in ("/api/v1/model%73", "/%61pi/v1/models", "/api%2Fv1%2Fmodels"):
        decoded = {"path": "/api/v1/models", "raw_path": path.encode()}
        sneaky = Driver(scope(org, method="GET") | decoded, b"")
        await app(site)(sneaky.scope, sneaky.receive, sneaky.send)
        assert sneaky.status == 404  # the raw path decides
    two = scope(org)
    two["headers"].append((b"authorization", b"Bearer other"))
    driver = Driver(two, json.dumps(lane.chat()).encode())
    await app(site)(driver.scope, driver.receive, driver.send)
    assert driver.status == 401
    await org.settled()


@pytest.mark.parametrize("stage", ["body", "upstream", "stream"])
async def test_an_asgi_client_that_leaves(site: Site, stage: str) -> None:
    lane, org = site.lane(), await site.org(concurrency=1)

    async def one_word(link: Link, _: Seen) -> None:
        await link.send(UPSTREAM_HEAD + framed(chunk("word", usage=TOLD)))
        await link.until_gone()

    lane.upstream.will(lane.a, silent if stage == "upstream" else one_word)
    data = json.dumps(lane.chat(stream=True)).encode()
    driver = Driver(scope(org), *([data] if stage != "body" else []))
    call = asyncio.ensure_future(app(site)(driver.scope, driver.receive, driver.send))
    if stage == "body":
        driver.left.set()
        await call
        assert driver.sent == []
        await org.settled()
        return
    org.asked += 1
    if stage == "upstream":
        await eventually(lambda: lane.upstream.of(lane.a), "the upstream is asked")
    else:
        await eventually(lambda: b"word" in driver.body, "the word arrives")
    driver.left.set()
    await asyncio.wait_for(asyncio.gather(call, return_exceptions=True), 5)
    await org.settled(*([GOOD] if stage == "stream" else []))
    (receipt,) = await org.receipts()
    assert receipt["status"] == "cancelled"
    await eventually(lambda: not lane.upstream.busy(lane.a), "the upstream call is aborted")


async def test_asgi_lifespan_and_websockets(site: Site) -> None:
    sent: list[Any] = []
    inbox = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> Any:
        return inbox.pop(0)

    async def send(event: Any) -> None:
        sent.append(event)

    await app(site)({"type": "lifespan"}, receive, send)
    assert [event["type"] for event in sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    sent.clear()
    await app(site)({"type": "websocket", "path": CHAT}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]


@asynccontextmanager
async def under_uvicorn(application: Any) -> AsyncIterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(application, log_config=None, lifespan="on", ws="none")
    server = uvicorn.Server(config)
    serving = asyncio.ensure_future(server.serve([listener]))
    try:
        await eventually(lambda: server.started, "uvicorn listens")
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await serving
        listener.close()


async def test_under_uvicorn(site: Site) -> None:
    lane, org = site.lane_shared("asgi"), await site.org()
    async with under_uvicorn(app(site)) as port:
        for stream in (False, True):
            wire = await Wire.open(port)
            data = json.dumps(lane.chat(stream=stream)).encode()
            org.asked += 1
            await wire.write(raw_request("POST", CHAT, data, key=org.key))
            answer = await wire.answer()
            assert answer.status == 200, answer.body
            assert answer.text == "Hello there."
            await wire.write(raw_request("GET", "/api/v1/credits", key="tm_live_wrong"))
            (await wire.answer()).error(401, "AUTH_001")
            await wire.close()
    await org.settled(GOOD, GOOD)


# --- receipts and headers ---------------------------------------------------------------------

RECEIPT = {
    "object",
    "id",
    "status",
    "operation",
    "model",
    "provider",
    "key_id",
    "created_at",
    "dispatched_at_ms",
    "first_byte_ms",
    "duration_ms",
    "overhead_ms",
    "route",
    "attempts",
    "usage",
    "items",
    "price_version",
    "amounts",
    "ledger",
    "finish_reason",
    "dropped_params",
    "error",
    "idempotency_key",
    "trace_id",
}
EVERYWHERE = {
    "x-request-id",
    "openai-processing-ms",
    "x-tokenmarket-attempts",
    "x-tokenmarket-overhead-ms",
    *(
        f"x-ratelimit-{what}-{unit}"
        for what in ("limit", "remaining", "reset")
        for unit in ("requests", "tokens")
    ),
}


async def test_every_outcome_has_the_same_fields(site: Site) -> None:
    lane, org = site.lane(), await site.org(concurrency=1)
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {
        "traceparent": f"00-{trace}-b7ad6b7169203331-01",
        "idempotency-key": "all-of-it",
    }
    lane.upstream.will(lane.a, silent)
    answers = [
        await org.chat(lane.chat("two"), headers=headers),  # falls back, succeeds
        await org.chat(lane.chat("two"), headers=headers),  # replayed
        await org.chat(lane.chat("two", temperature=99)),  # rejected
        await org.chat(lane.chat("two", max_tokens=90_000_000)),  # too dear
        await org.chat(lane.chat("refused")),  # failed
    ]
    assert [answer.status for answer in answers] == [200, 200, 400, 402, 502]
    statuses: list[str] = []
    for answer in answers:
        assert set(answer.headers) >= EVERYWHERE, EVERYWHERE - set(answer.headers)
        receipt = await org.receipt(answer.id)
        assert set(receipt) >= RECEIPT, RECEIPT - set(receipt)
        assert receipt["object"] == "request"
        assert set(receipt["amounts"]) >= {"currency", "held", "charged", "released"}
        assert receipt["amounts"]["currency"] == "USD"
        alias = await org.get(f"/api/v1/generation?id={answer.id}")
        assert alias.json == receipt
        statuses.append(receipt["status"])
    assert statuses == ["succeeded", "succeeded", "rejected", "rejected", "failed"]
    first = await org.receipt(answers[0].id)
    assert first["trace_id"] == trace
    assert first["idempotency_key"] == "all-of-it"
    assert set(first["attempts"][0]) >= {
        "provider",
        "upstream_model",
        "status",
        "duration_ms",
        "first_byte_ms",
        "error",
        "upstream_request_id",
    }
    assert set(first["route"]) == {"policy", "requested", "candidates"}
    assert set(first["items"][0]) == {"unit", "quantity", "usd", "per", "amount"}
    assert lane.upstream.of(lane.b)[0].headers["traceparent"].split("-")[1] == trace
    other = await site.org()
    (await other.get(f"/api/v1/requests/{answers[0].id}")).error(404, "REQUEST_004")
    replay = await org.receipt(answers[1].id)
    assert replay["amounts"]["charged"] == "0.00"


async def test_a_running_request_has_a_receipt_too(site: Site) -> None:
    lane, org = site.lane(), await site.org()
    lane.upstream.will(lane.a, silent)
    wire = await Wire.open(site.port)
    data = json.dumps(lane.chat()).encode()
    org.asked += 1
    await wire.write(raw_request("POST", CHAT, data, key=org.key))
    await eventually(lambda: lane.upstream.of(lane.a), "the upstream is asked")
    (request_id,) = [
        name
        for name, exchange in site.server.api._gateway.running.items()
        if exchange.caller is not None and exchange.caller.org_id == org.id
    ]
    receipt = await org.receipt(request_id)
    assert receipt["status"] == "running"
    assert set(receipt) >= RECEIPT
    other = await site.org()
    (await other.get(f"/api/v1/requests/{request_id}")).error(404, "REQUEST_004")
    wire.reset()
    await org.settled()
