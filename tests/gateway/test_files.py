"""Stored files over real sockets: signed addresses, ranges, slow readers, both methods."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from tests.gateway.site import Site, eventually
from tests.gateway.test_other_front import Driver
from tests.gateway.wire import Answer, Wire, raw_request
from tokenmarket.core.ids import RequestIds
from tokenmarket.web.asgi import AsgiApp

pytestmark = pytest.mark.asyncio(loop_scope="module")
LANES = 1
MIB = 1024 * 1024
DATA = os.urandom(MIB)


async def kept(site: Site, data: bytes = DATA, kind: str = "image/png") -> str:
    address = await site.server.shelf.keep("org_1", "req_1", data, kind)
    start = f"http://127.0.0.1:{site.port}"
    assert address.startswith(start + "/files/")
    return address.removeprefix(start)


async def ask(site: Site, target: str, method: str = "GET", **headers: str) -> Answer:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    data = raw_request(method, target, headers=fields)
    return await site.raw(data, head_only=method == "HEAD")


async def test_a_stored_picture_needs_no_key_and_runs_nothing(site: Site) -> None:
    target = await kept(site)
    answer = await ask(site, target)
    assert (answer.status, answer.body) == (200, DATA)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-length"] == str(MIB)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert answer.headers["content-disposition"].startswith('attachment; filename="')
    head = await ask(site, target, "HEAD")
    same = {"etag", "content-length", "content-type", "accept-ranges"}
    assert {k: head.headers[k] for k in same} == {k: answer.headers[k] for k in same}
    svg = await ask(site, await kept(site, b"<svg onload=alert(1)>", "image/svg+xml"))
    assert svg.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=100-", 100, MIB),
        ("bytes=-7", MIB - 7, MIB),
        ("bytes=-99999999", 0, MIB),
        (f"bytes={MIB - 1}-{MIB + 500}", MIB - 1, MIB),
    ],
)
async def test_ranges(site: Site, wanted: str, start: int, end: int) -> None:
    target = await kept(site)
    answer = await ask(site, target, range=wanted)
    assert answer.status == 206
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{MIB}"
    assert answer.body == DATA[start:end]


async def test_ranges_that_are_none(site: Site) -> None:
    target = await kept(site)
    beyond = await ask(site, target, range=f"bytes={MIB}-")
    assert beyond.status == 416
    assert beyond.headers["content-range"] == f"bytes */{MIB}"
    assert (await ask(site, target, range="bytes=-0")).status == 416
    for nonsense in ("bytes=5-2", "bytes=-", "lines=1-2", "bytes=0-1,5-6", "bytes=x-"):
        assert (await ask(site, target, range=nonsense)).status == 200
    etag = (await ask(site, target, "HEAD")).headers["etag"]
    assert (await ask(site, target, range="bytes=0-1", if_range=etag)).status == 206
    assert (await ask(site, target, range="bytes=0-1", if_range='"old"')).status == 200
    wire = await Wire.open(site.port)
    await wire.write(raw_request("GET", target, headers={"if-none-match": etag}))
    assert (await wire.answer()).status == 304
    await wire.write(raw_request("GET", target))
    assert (await wire.answer()).body == DATA  # the connection is still in step


async def test_wrong_addresses(site: Site) -> None:
    target = await kept(site)
    path, _, query = target.partition("?")
    for wrong in (
        path,
        f"{path}?{query}x",
        f"{path}?e=1&s=a",
        "/files/",
        "/files/../x?" + query,
        path.replace(".png", ".mp4") + "?" + query,
        "/files/%2e%2e/secret.key?" + query,
    ):
        (await ask(site, wrong)).error(404, "REQUEST_004")
    (await ask(site, target, "DELETE")).error(405, "REQUEST_005")
    key = path.removeprefix("/files/")
    old = site.server.shelf.urls.url(key, 1_700_000_000).partition(str(site.port))[2]
    (await ask(site, old)).error(410, "REQUEST_009")
    await site.server.shelf.store.delete(key)
    (await ask(site, target)).error(410, "REQUEST_009")


async def test_a_slow_reader_is_waited_for_and_one_who_leaves_is_forgotten(site: Site) -> None:
    data = os.urandom(24 * MIB)
    target = await kept(site, data, "video/mp4")
    wire = await Wire.open(site.port, receive_bytes=16 * 1024)
    await wire.write(raw_request("GET", target))
    for _ in range(50):
        await asyncio.sleep(0)
    transports: list[Any] = [c.transport for c in site.server.front.connections]
    assert max(t.get_write_buffer_size() for t in transports) < MIB
    answer = await wire.answer()
    assert answer.body == data
    leaver = await Wire.open(site.port, receive_bytes=16 * 1024)
    await leaver.write(raw_request("GET", target))
    await leaver.head()
    leaver.reset()
    await eventually(lambda: not site.server.front.tasks, "the task ends")


async def test_a_file_that_gets_shorter_cuts_the_connection(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = await kept(site)
    wire = await Wire.open(site.port)
    original = site.server.shelf.store.size

    async def longer(asked: str) -> int | None:
        return (await original(asked) or 0) + 10

    with monkeypatch.context() as patch:
        patch.setattr(site.server.shelf.store, "size", longer)
        await wire.write(raw_request("GET", target))
        head = await wire.head()
        assert head.headers["content-length"] == str(MIB + 10)
        assert len(await wire.ended()) <= MIB


async def test_under_asgi(site: Site) -> None:
    api = site.server.api
    made = AsgiApp(api.handle, api.refusal, RequestIds(os.urandom).next, body_bytes_max=10)
    path, _, query = (await kept(site)).partition("?")
    driver = Driver(
        {"method": "GET", "path": path, "raw_path": path.encode(), "headers": []}
        | {"query_string": query.encode()},
        b"",
    )
    await made(driver.scope, driver.receive, driver.send)
    assert driver.status == 200
    assert driver.headers["content-length"] == str(MIB)
    assert driver.body == DATA
