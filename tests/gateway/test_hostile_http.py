"""Bytes that are not (quite) HTTP, smuggling, and slowness."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.gateway.site import CHAT, Org, Site, running
from tests.gateway.wire import Answer, Closed, Wire, raw_request

pytestmark = pytest.mark.asyncio(loop_scope="module")

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
SMUGGLED = b"GET /api/v1/credits HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    limits = {
        "header_s": 0.3,
        "body_stall_s": 0.3,
        "idle_s": 0.6,
        "body_bytes_s_min": 100_000,
        "body_bytes_max": 1024 * 1024,
    }
    async with running(tmp_path_factory.mktemp("site"), limits=limits, lanes=3) as found:
        yield found


def authorization(org: Org) -> bytes:
    return f"authorization: Bearer {org.key}\r\n".encode()


async def exchange(site: Site, data: bytes) -> list[Answer]:
    """Everything that comes back until the server closes (or is idle)."""
    wire = await Wire.open(site.port)
    wire.writer.write(data)
    found: list[Answer] = []
    try:
        while True:
            found.append(await wire.answer())
    except (Closed, asyncio.IncompleteReadError):
        return found


# name -> (lines after the request line but for the key, bytes after the head); START is fixed
BAD_FRAMING: dict[str, tuple[bytes, bytes]] = {
    "length and chunked": (LENGTH + b"transfer-encoding: chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
    "chunked and length": (b"transfer-encoding: chunked\r\n" + LENGTH, b"0\r\n\r\n" + SMUGGLED),
    "two lengths": (LENGTH + b"content-length: 5\r\n", BODY),
    "the same length twice": (LENGTH + LENGTH, BODY),
    "lengths in a list": (b"content-length: 5, 5\r\n", b"12345"),
    "negative length": (b"content-length: -1\r\n", BODY),
    "signed length": (b"content-length: +5\r\n", b"12345"),
    "hex length": (b"content-length: 0x10\r\n", BODY),
    "length with a letter": (b"content-length: 5a\r\n", b"12345"),
    "length beyond 64 bits": (b"content-length: 99999999999999999999999\r\n", BODY),
    "empty length": (b"content-length: \r\n", BODY),
    "two codings": (b"transfer-encoding: gzip, chunked\r\n", b"0\r\n\r\n"),
    "chunked not last": (b"transfer-encoding: chunked, identity\r\n", b"0\r\n\r\n"),
    "unknown coding": (b"transfer-encoding: xchunked\r\n", b"0\r\n\r\n"),
    "two transfer-encodings": (
        b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
        b"0\r\n\r\n" + SMUGGLED,
    ),
    "space before the colon": (b"content-length : 5\r\n", b"12345"),
    "chunked with a space before the colon": (LENGTH + b"transfer-encoding : chunked\r\n", BODY),
    "folded header": (LENGTH + b"x-a: one\r\n two\r\n", BODY),
    "folded transfer-encoding": (LENGTH + b"transfer-encoding:\r\n chunked\r\n", BODY),
    "NUL in a value": (LENGTH + b"x-a: a\x00b\r\n", BODY),
    "NUL in a name": (LENGTH + b"x-\x00a: b\r\n", BODY),
    "bare CR in a value": (LENGTH + b"x-a: a\rb\r\n", BODY),
    "bare LF between headers": (LENGTH + b"x-a: a\nx-b: b\r\n", BODY),
    "no colon": (LENGTH + b"nonsense\r\n", BODY),
    "empty name": (LENGTH + b": value\r\n", BODY),
    "space in a name": (LENGTH + b"x a: b\r\n", BODY),
    "a name with a brace": (LENGTH + b"x{a}: b\r\n", BODY),
    "chunk size no hex": (b"transfer-encoding: chunked\r\n", b"xyz\r\nhello\r\n0\r\n\r\n"),
    "chunk size negative": (b"transfer-encoding: chunked\r\n", b"-5\r\nhello\r\n0\r\n\r\n"),
    "chunk size 0x": (b"transfer-encoding: chunked\r\n", b"0x5\r\nhello\r\n0\r\n\r\n"),
    "chunk size overflow": (
        b"transfer-encoding: chunked\r\n",
        b"ffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    ),
    "chunk with bare LF": (b"transfer-encoding: chunked\r\n", b"5\nhello\n0\n\n"),
    "chunk longer than said": (b"transfer-encoding: chunked\r\n", b"2\r\nhello\r\n0\r\n\r\n"),
    "chunk extension with LF": (
        b"transfer-encoding: chunked\r\n",
        b"5;a=\nb\r\nhello\r\n0\r\n\r\n",
    ),
    "two hosts": (LENGTH + b"host: other.test\r\n", BODY),
    "two content types": (LENGTH + JSON + b"content-type: text/plain\r\n", BODY),
    "two idempotency keys": (LENGTH + b"idempotency-key: a\r\nidempotency-key: b\r\n", BODY),
}


@pytest.mark.parametrize("case", BAD_FRAMING)
async def test_ambiguous_framing_is_refused_and_the_connection_closed(
    site: Site, case: str
) -> None:
    org = await site.org()
    lines, after = BAD_FRAMING[case]
    head = START + HOST + authorization(org) + (b"" if JSON in lines else JSON) + lines + b"\r\n"
    answers = await exchange(site, head + after)
    assert len(answers) == 1, [a.status for a in answers]  # nothing smuggled was answered
    answers[0].error(400, "REQUEST_001", fault="caller", retryable=False)
    assert answers[0].headers["connection"] == "close"
    await org.settled()


BAD_LINES: dict[str, tuple[bytes, set[int]]] = {
    "absolute form": (b"GET http://gateway.test/api/v1/models HTTP/1.1\r\n", {400}),
    "absolute form, other host": (b"GET http://evil.test/api/v1/models HTTP/1.1\r\n", {400}),
    "CONNECT": (b"CONNECT evil.test:443 HTTP/1.1\r\n", {400, 405}),
    "asterisk": (b"OPTIONS * HTTP/1.1\r\n", {400}),
    "TRACE": (b"TRACE /api/v1/models HTTP/1.1\r\n", {400, 405}),
    "unknown method": (b"BREW /api/v1/models HTTP/1.1\r\n", {400}),
    "lower-case method": (b"get /api/v1/models HTTP/1.1\r\n", {400}),
    "no version": (b"GET /api/v1/models\r\n", {400}),
    "HTTP/2": (b"GET /api/v1/models HTTP/2.0\r\n", {400}),
    "HTTP/0.9": (b"GET /api/v1/models HTTP/0.9\r\n", {400}),
    "bad version": (b"GET /api/v1/models HTTP/1.x\r\n", {400}),
    "two spaces": (b"GET  /api/v1/models HTTP/1.1\r\n", {200, 400}),  # read one way only
    "a tab": (b"GET\t/api/v1/models HTTP/1.1\r\n", {400}),
    "space in the path": (b"GET /api/v1/mod els HTTP/1.1\r\n", {400}),
    "NUL in the path": (b"GET /api/v1/models\x00 HTTP/1.1\r\n", {400}),
    "bare LF": (b"GET /api/v1/models HTTP/1.1\n", {400}),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400}),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x07" * 60, {400}),
    "garbage": (b"\xff\xfe\xfd" * 30, {400}),
}


@pytest.mark.parametrize("case", BAD_LINES)
async def test_a_request_line_that_is_none(site: Site, case: str) -> None:
    org = await site.org()
    line, statuses = BAD_LINES[case]
    answers = await exchange(site, line + HOST + authorization(org) + b"connection: close\r\n\r\n")
    assert len(answers) == 1
    assert answers[0].status in statuses
    if answers[0].status != 200:
        answers[0].error(answers[0].status, answers[0].json["error"]["code"])
    await org.settled()


PATHS = {
    "double slash": "//api//v1//models",
    "double slash inside": "/api//v1/models",
    "trailing slash": "/api/v1/models/",
    "case": "/API/V1/MODELS",
    "dots": "/api/v1/../v1/models",
    "encoded dots": "/api/v1/%2e%2e/v1/models",
    "encoded slash": "/api%2fv1%2fmodels",
    "encoded letter": "/api/v1/model%73",
    "backslash": "/api\\v1\\models",
    "semicolon": "/api/v1/models;x=1",
    "encoded NUL": "/api/v1/models%00",
    "an unknown one": "/api/v1/nothing",
    "another version": "/api/v2/models",
    "outside": "/models",
    "admin": "/api/v1/keys",
}


@pytest.mark.parametrize("case", PATHS)
async def test_only_the_exact_path_is_answered(site: Site, case: str) -> None:
    org = await site.org()
    answer = await org.get(PATHS[case])
    answer.error(404, answer.json["error"]["code"])
    assert answer.json["error"]["code"] in ("REQUEST_004", "MODEL_001")


@pytest.mark.parametrize("host", ["x/?#", "x/api/v1/models?", "a b", "", "x@y", "gateway.test:x"])
async def test_a_strange_host_never_changes_the_path(site: Site, host: str) -> None:
    """CVE-2026-48710: authentication is decided by the raw target, whatever Host says."""
    start = f"GET /api/v1/credits HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
    (answer,) = await exchange(site, start.encode())
    assert answer.status in (400, 401)
    start = f"GET /healthz HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
    (answer,) = await exchange(site, start.encode())
    assert answer.status in (200, 400)


async def test_a_missing_host(site: Site) -> None:
    (answer,) = await exchange(site, b"GET /healthz HTTP/1.1\r\n\r\n")
    answer.error(400, "REQUEST_001")
    (answer,) = await exchange(site, b"GET /healthz HTTP/1.0\r\n\r\n")
    assert answer.status == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
async def test_a_wrong_method_names_the_right_one(site: Site, method: str) -> None:
    org = await site.org()
    data = raw_request(method, CHAT, key=org.key)
    answer = await site.raw(data, head_only=method == "HEAD")
    assert answer.status == 405
    assert answer.headers["allow"] == "POST"
    if method != "HEAD":
        answer.error(405, "REQUEST_005", fault="caller")
    answer = await site.raw(raw_request("POST", "/api/v1/models", b"{}", key=org.key))
    answer.error(405, "REQUEST_005")
    assert set(answer.headers["allow"].replace(" ", "").split(",")) == {"GET", "HEAD"}
    await org.settled()


async def test_trailers_are_no_headers(site: Site) -> None:
    """A key, a type or a length behind the body counts for nothing."""
    org = await site.org()
    chunked = b"transfer-encoding: chunked\r\n"
    body = b"%x\r\n%b\r\n0\r\n" % (len(BODY), BODY)
    for trailer in (
        authorization(org),
        f"x-api-key: {org.key}\r\n".encode(),
        b"host: other\r\n" + authorization(org),
    ):
        data = START + HOST + JSON + chunked + b"\r\n" + body + trailer + b"\r\n"
        answers = await exchange(site, data)
        assert len(answers) == 1
        answers[0].error(401, "AUTH_001")
    key = authorization(org)
    trailer = b"content-type: text/plain\r\nidempotency-key: t\r\n"
    data = START + HOST + JSON + key + chunked + b"\r\n" + body + trailer + b"\r\n"
    org.asked += 1
    answers = await exchange(site, data)
    assert [answer.status for answer in answers] == [200]
    receipt = await org.receipt(answers[0].id)
    assert receipt["idempotency_key"] is None


@pytest.mark.parametrize(
    "part",
    ["one header", "many headers", "same header", "the target", "endless header", "no end"],
)
async def test_a_head_that_is_too_large(site: Site, part: str) -> None:
    org = await site.org()
    more = {
        "one header": b"x-long: " + b"a" * 20_000 + b"\r\n",
        "many headers": b"".join(b"x-%d: 1\r\n" % n for n in range(101)),
        "same header": b"x-again: 1\r\n" * 101,
        "endless header": b"x-long: " + b"a" * 4_000_000,
        "no end": b"x-long: " + b"a" * 2_000_000 + b"\r\n",
    }.get(part, b"")
    target = b"/api/v1/models" + (b"?" + b"a" * 20_000 if part == "the target" else b"")
    answers = await exchange(
        site, b"GET " + target + b" HTTP/1.1\r\n" + HOST + authorization(org) + more + b"\r\n"
    )
    assert len(answers) <= 1
    if answers:  # or cut while it was still sending
        answers[0].error(413, "REQUEST_006", fault="caller")
    if part in ("many headers", "same header", "one header", "the target"):
        assert answers


@pytest.mark.parametrize("swallowed", ["extensions", "trailers"])
async def test_what_a_parser_swallows_is_bounded(site: Site, swallowed: str) -> None:
    head = START + HOST + JSON + b"transfer-encoding: chunked\r\n\r\n"
    wire = await Wire.open(site.port)
    wire.writer.write(head + (b"5;" if swallowed == "extensions" else b"0\r\nx: "))
    sent = 0
    try:
        while sent < 64_000_000:
            await wire.write(b"a" * 100_000)
            sent += 100_000
            await asyncio.sleep(0)
    except ConnectionError:
        pass
    assert sent < 32_000_000, "the server took it all"


async def test_a_body_that_is_too_large(site: Site) -> None:
    org = await site.org()
    answer = await site.raw(
        START + HOST + authorization(org) + JSON + b"content-length: 1048577\r\n\r\n"
    )
    answer.error(413, "REQUEST_006", fault="caller", retryable=False)  # before it is read
    chunk = b"20000\r\n" + b"a" * 0x20000 + b"\r\n"
    data = START + HOST + authorization(org) + JSON + b"transfer-encoding: chunked\r\n\r\n"
    wire = await Wire.open(site.port)
    try:
        await wire.write(data)
        for _ in range(40):
            await wire.write(chunk)
            await asyncio.sleep(0.001)
    except ConnectionError:
        pass
    try:
        (await wire.answer()).error(413, "REQUEST_006")
    except Closed:
        pass  # reset while we were still sending: refused all the same
    await org.settled()


SLOW: dict[str, tuple[bytes, bytes | None]] = {
    "nothing at all": (b"", None),
    "half a request line": (b"POST /api/v1/ch", None),
    "half a head": (START + HOST, None),
    "a head byte by byte": (START, b"x"),
    "half a body": (START + HOST + JSON + LENGTH + b"\r\n" + BODY[:10], None),
    "a body byte by byte": (START + HOST + JSON + b"content-length: 100000\r\n\r\n", b"x"),
    "chunks byte by byte": (
        START + HOST + JSON + b"transfer-encoding: chunked\r\n\r\n",
        b"1\r\nx\r\n",
    ),
}


@pytest.mark.parametrize("case", SLOW)
async def test_a_slow_client_is_not_waited_for(site: Site, case: str) -> None:
    data, more = SLOW[case]
    wire = await Wire.open(site.port)
    wire.writer.write(data)
    started_s = time.monotonic()
    ended = asyncio.create_task(wire.ended())
    while not ended.done() and time.monotonic() - started_s < 5:
        if more is not None and not wire.writer.transport.is_closing():
            wire.writer.write(more)
        await asyncio.sleep(0.05)
    got = await ended
    assert time.monotonic() - started_s < 4
    if got:
        assert got.startswith(b"HTTP/1.1 400 ")
        assert b'"reason":"slow"' in got


async def test_an_idle_connection_is_closed_and_a_used_one_is_kept(site: Site) -> None:
    org = await site.org()
    wire = await Wire.open(site.port)
    for _ in range(3):
        await wire.write(raw_request("GET", "/api/v1/credits", key=org.key))
        assert (await wire.answer()).status == 200
        await asyncio.sleep(0.1)
    assert await wire.ended() == b""


async def test_pipelined_requests_are_answered_in_order(site: Site) -> None:
    org = await site.org()
    wire = await Wire.open(site.port)
    get = raw_request("GET", "/api/v1/credits", key=org.key)
    missing = raw_request("GET", "/api/v1/nothing", key=org.key)
    chat = raw_request("POST", CHAT, BODY, key=org.key)
    org.asked += 2
    await wire.write(chat + get + missing + chat + b"\r\n" + get)
    found = [await wire.answer() for _ in range(5)]
    assert [answer.status for answer in found] == [200, 200, 404, 200, 200]
    assert len({answer.id for answer in found}) == 5


async def test_too_much_pipelining_ends_the_connection(site: Site) -> None:
    answers = await exchange(site, raw_request("GET", "/healthz") * 200)
    assert 1 <= len(answers) < 200
    assert all(answer.status in (200, 400) for answer in answers)


async def test_garbage_after_a_good_request_does_not_harm_its_answer(site: Site) -> None:
    org = await site.org()
    org.asked += 1
    answers = await exchange(site, raw_request("POST", CHAT, BODY, key=org.key) + b"\x00\x01junk")
    assert answers[0].status == 200
    assert len(answers) <= 2
    if len(answers) == 2:
        answers[1].error(400, "REQUEST_001")


async def test_expect_and_upgrade(site: Site) -> None:
    org = await site.org()
    wire = await Wire.open(site.port)
    await wire.write(
        START + HOST + authorization(org) + JSON + LENGTH + b"expect: 100-continue\r\n\r\n"
    )
    async with asyncio.timeout(2):
        assert await wire.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    org.asked += 1
    await wire.write(BODY)
    assert (await wire.answer()).status == 200
    upgrade = b"connection: upgrade\r\nupgrade: websocket\r\n"
    answers = await exchange(
        site, b"GET /api/v1/models HTTP/1.1\r\n" + HOST + authorization(org) + upgrade + b"\r\n"
    )
    assert len(answers) == 1
    assert answers[0].status in (200, 400)  # never 101
