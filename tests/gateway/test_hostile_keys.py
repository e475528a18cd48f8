"""Keys in the wrong place, guessed keys, and text of callers that must not become a header."""

from __future__ import annotations

import json

import pytest

from tests.gateway.site import CHAT, Site, eventually
from tests.gateway.wire import Wire
from tokenmarket.core import keys

pytestmark = pytest.mark.asyncio(loop_scope="module")
LANES = 2

BODY = json.dumps(
    {
        "model": "sandbox-chat",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 5,
    }
).encode()
LENGTH = b"content-length: %d\r\n" % len(BODY)
JSON = b"content-type: application/json\r\n"
HOST = b"host: gateway.test\r\n"
START = b"POST /api/v1/chat/completions HTTP/1.1\r\n"


async def test_where_a_key_may_be(site: Site) -> None:
    org, other = await site.org(), await site.org()
    unknown = "tm_live_" + "A" * 38
    bearer, x_key = "authorization", "x-api-key"
    cases: list[tuple[list[tuple[str, str]], int, str | None]] = [
        ([(bearer, f"Bearer {org.key}")], 200, None),
        ([(bearer, f"bearer {org.key}")], 200, None),
        ([("AUTHORIZATION", f"Bearer {org.key}")], 200, None),
        ([(x_key, org.key)], 200, None),
        ([(bearer, f"Bearer {org.key}"), (x_key, org.key)], 200, None),
        ([], 401, "no_key"),
        ([(bearer, "")], 401, None),
        ([(bearer, "Bearer")], 401, None),
        ([(bearer, "Bearer ")], 401, None),
        ([(bearer, org.key)], 401, None),
        ([(bearer, f"Basic {org.key}")], 401, None),
        ([(bearer, f"Token {org.key}")], 401, None),
        ([(bearer, f"Bearer {unknown}")], 401, None),
        ([(bearer, f"Bearer {org.key[:-1]}")], 401, None),
        ([(bearer, f"Bearer {org.key}x")], 401, None),
        ([(bearer, f"Bearer {org.key.swapcase()}")], 401, None),
        ([(bearer, f"Bearer {org.key} {org.key}")], 401, None),
        ([(bearer, "Bearer ' OR 1=1 --")], 401, None),
        ([(bearer, "Bearer " + "a" * 10_000)], 401, None),
        ([(bearer, "Bearer tm_live_ßäöü")], 401, None),
        ([(bearer, f"Bearer {org.key}"), (x_key, other.key)], 401, "two_keys"),
        ([(bearer, f"Bearer {org.key}"), (bearer, f"Bearer {other.key}")], 401, "two_keys"),
        ([(bearer, f"Bearer {org.key}"), (bearer, f"Bearer {org.key}")], 401, "two_keys"),
        ([(x_key, org.key), (x_key, other.key)], 401, "two_keys"),
        ([(bearer, f"Bearer {org.key}, {other.key}")], 401, "two_keys"),
        ([("cookie", f"key={org.key}")], 401, "no_key"),
    ]
    for fields, status, reason in cases:
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields).encode("latin-1")
        for start in (b"GET /api/v1/credits HTTP/1.1\r\n", START):
            rest = HOST + lines + (LENGTH + JSON + b"\r\n" + BODY if start is START else b"\r\n")
            org.asked += status == 200 and start is START
            answer = await site.raw(start + rest)
            assert answer.status == status, (fields, answer.body)
            if status == 401:
                error = answer.error(401, "AUTH_001", fault="caller", retryable=False)
                assert answer.headers["www-authenticate"].startswith("Bearer")
                assert org.key not in answer.body.decode()
                if reason is not None:
                    assert error["reason"] == reason, fields
    await other.settled()
    receipts = await org.receipts()
    assert len(receipts) == org.asked  # what was not authenticated left nothing


async def test_a_key_in_the_url_is_refused_even_if_the_header_is_right(site: Site) -> None:
    org = await site.org()
    for query in (f"?key={org.key}", f"?api_key={org.key}", "?a=1&token=x", f"?x={org.key}"):
        answer = await org.get(f"/api/v1/credits{query}")
        answer.error(401, "AUTH_001", reason="key_in_url")
        assert org.key not in answer.body.decode()
        answer = await site.post(CHAT + query, BODY, key=org.key)
        answer.error(401, "AUTH_001", reason="key_in_url")
    await org.settled()


async def test_guessing_keys_is_limited_and_does_not_lock_good_keys_out(site: Site) -> None:
    org = await site.org()
    assert (await org.get("/api/v1/credits")).status == 200
    seen: set[int] = set()
    for n in range(200):
        guess = keys.generate("live", n.to_bytes(keys.RANDOM_BYTES, "big"))
        answer = await site.get("/api/v1/credits", key=guess)
        seen.add(answer.status)
        if answer.status == 429:
            answer.error(429, "QUOTA_001", retryable=True)
            assert 1 <= int(answer.headers["retry-after"]) <= 60
            break
    assert seen == {401, 429}
    assert (await org.get("/api/v1/credits")).status == 200
    await site.jump(61)


async def test_no_user_text_breaks_a_header(site: Site) -> None:
    org = await site.org()
    lane = site.lane()
    evil = "x\r\nset-cookie: a=b\r\n\r\n<html>"
    body = lane.chat("one", **{evil: 1, "store\r\nx-evil: 1": 2, "store": True})
    for headers in (
        {"x-client-request-id": "id<script>\"';--"},
        {"traceparent": "00-zz-zz-zz"},
        {"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"},
        {"x-session-id": "\xff" * 300},
        {"idempotency-key": "k" * 255},
    ):
        answer = await org.chat(body, headers=headers)
        assert answer.status == 200, answer.body
        assert "set-cookie" not in answer.headers
        assert "x-evil" not in answer.headers
        receipt = await org.receipt(answer.id)
        assert receipt["status"] == "succeeded"
    for name in (evil, "\x00", "é" * 100, "a" * 5000, "../../etc/passwd", "%0d%0aset-cookie:a"):
        answer = await org.chat(lane.chat("one", model=name))
        answer.error(404, "MODEL_001", param="model")
        answer = await org.chat(lane.chat("one", provider=name))
        answer.error(400, "REQUEST_001", param="provider")
    sent = lane.upstream.of(lane.a)[0]
    assert "x-evil" not in sent.headers


async def test_hop_by_hop_and_private_headers_do_not_reach_the_upstream(site: Site) -> None:
    org = await site.org()
    lane = site.lane_shared("headers")
    headers = {
        "cookie": "session=secret",
        "x-forwarded-for": "1.2.3.4",
        "x-forwarded-host": "evil.test",
        "connection": "keep-alive, x-secret",
        "x-secret": "s",
        "proxy-authorization": "Basic abc",
        "x-api-key": org.key,
        "openai-organization": "org-mine",
        "te": "trailers",
    }
    answer = await org.chat(lane.chat("one"), headers=headers)
    assert answer.status == 200, answer.body
    sent = lane.upstream.of(lane.a)[-1]
    assert not set(sent.headers) & (set(headers) - {"connection"})
    assert sent.headers["host"].startswith("127.0.0.1:")
    assert org.key not in str(sent.headers)


async def test_ten_thousand_idle_connections_do_not_stop_the_others(site: Site) -> None:
    """A tenth of it here: the sockets of both ends are in this process."""
    org = await site.org()
    wires = [await Wire.open(site.port) for _ in range(400)]
    assert (await org.get("/api/v1/credits")).status == 200
    assert (await org.post(CHAT, BODY)).status == 200
    for wire in wires:
        wire.writer.transport.abort()
    await eventually(lambda: len(site.server.front.connections) < 50, "they are forgotten")
