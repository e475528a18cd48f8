"""Uploads over real sockets: who may send one, what a cut one leaves behind, and both fronts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.site import CHAT, Org, Site, eventually
from tests.gateway.test_other_front import Driver, scope
from tests.gateway.wire import Wire, raw_request
from tokenmarket.core.ids import RequestIds
from tokenmarket.web.asgi import AsgiApp
from tokenmarket.web.receiving import Forms

pytestmark = pytest.mark.asyncio(loop_scope="module")
LANES = 2
MIB = 1024 * 1024
FORM = {"content-type": "multipart/form-data; boundary=bb"}


def form(size: int) -> bytes:
    head = b'--bb\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    return head + os.urandom(size) + b"\r\n--bb--\r\n"


def upload(body: bytes, key: str | None, **headers: str) -> bytes:
    return raw_request("POST", CHAT, body, key=key, headers=FORM | headers)


async def nothing_left(site: Site) -> None:
    spools = site.server.spools
    await eventually(lambda: spools.open_count == 0, "the spool is closed")
    assert spools.used_bytes == 0
    assert files_of(site.server.config.data_dir / "spool") == []


def files_of(directory: Path) -> list[str]:
    """Files in it, and nameless ones of it that are still open."""
    named = [path.name for path in directory.iterdir()] if directory.exists() else []
    links = [Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    targets = [os.readlink(link) for link in links if link.is_symlink()]
    return named + [target for target in targets if str(directory) in target]


@pytest.mark.parametrize("size", [100, 5 * MIB])
async def test_a_form_where_none_is_wanted_is_read_and_forgotten(site: Site, size: int) -> None:
    org = await site.org()
    wire = await Wire.open(site.port)
    await wire.write(upload(form(size), org.key))
    (await wire.answer()).error(415, "REQUEST_007")
    await wire.write(raw_request("GET", "/api/v1/credits", key=org.key))
    assert (await wire.answer()).status == 200  # the connection lives on
    await nothing_left(site)


async def test_an_unknown_key_is_told_before_the_disk_is_touched(site: Site) -> None:
    for key in (None, "tm_live_" + "x" * 40):
        wire = await Wire.open(site.port)
        whole = upload(form(20 * MIB), key)
        await wire.write(whole[: 2 * MIB])
        (await wire.answer()).error(401, "AUTH_001")
        await nothing_left(site)
        await wire.close()


async def test_expect_continue(site: Site) -> None:
    org = await site.org()
    body = form(100)
    whole = upload(body, org.key, expect="100-continue")
    wire = await Wire.open(site.port)
    await wire.write(whole[: -len(body)])
    assert await wire.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    await wire.write(body)
    (await wire.answer()).error(415, "REQUEST_007")
    stranger = await Wire.open(site.port)
    await stranger.write(upload(body, "tm_live_no", expect="100-continue")[: -len(body)])
    assert (await stranger.reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 401")
    await nothing_left(site)


@pytest.mark.parametrize("sent", [0, 1000, 3 * MIB])
@pytest.mark.parametrize("ending", ["reset", "close"])
async def test_an_upload_cut_in_the_middle_costs_nothing(
    site: Site, sent: int, ending: str
) -> None:
    org = await site.org()
    body = form(6 * MIB)
    whole = upload(body, org.key)
    wire = await Wire.open(site.port)
    await wire.write(whole[: len(whole) - len(body) + sent])
    await eventually(lambda: site.server.spools.used_bytes >= sent, "the bytes arrive")
    wire.reset() if ending == "reset" else await wire.close()
    await nothing_left(site)
    await org.settled()


async def test_too_large_and_no_room(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    org = await site.org()
    wire = await Wire.open(site.port)
    await wire.write(upload(b"", org.key, **{"content-length": str(201 * MIB)}))
    (await wire.answer()).error(413, "REQUEST_006")
    monkeypatch.setattr(site.server.spools, "_bytes_max", MIB)
    wire = await Wire.open(site.port)
    await wire.write(upload(form(2 * MIB), org.key)[:1000])
    (await wire.answer()).error(503, "PLATFORM_001", retryable=True)
    await nothing_left(site)


def app(site: Site, org: Org) -> tuple[AsgiApp, dict[str, Any]]:
    api = site.server.api
    forms = Forms(site.server.spools, api.admit)
    made = AsgiApp(
        api.handle,
        api.refusal,
        RequestIds(os.urandom).next,
        body_bytes_max=1000,
        multipart_bytes_max=4 * MIB,
        forms=forms,
    )
    call = scope(org)
    call["headers"][1] = (b"content-type", FORM["content-type"].encode())
    return made, call


async def test_under_asgi(site: Site) -> None:
    org = await site.org()
    made, call = app(site, org)
    body = form(3 * MIB)
    driver = Driver(call, body[:MIB], body[MIB:])
    await made(driver.scope, driver.receive, driver.send)
    assert driver.status == 415
    await nothing_left(site)
    driver = Driver(call, body, body)
    await made(driver.scope, driver.receive, driver.send)
    assert driver.status == 413
    await nothing_left(site)
    call["headers"][0] = (b"authorization", b"Bearer tm_live_no")
    driver = Driver(call, body)
    await made(driver.scope, driver.receive, driver.send)
    assert driver.status == 401
    assert driver.parts  # nothing was taken
    driver = Driver(app(site, org)[1])
    driver.left.set()
    await made(driver.scope, driver.receive, driver.send)
    assert driver.sent == []
    await nothing_left(site)
