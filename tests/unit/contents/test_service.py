"""Recording, and what people do with it: who may find what, for how long, and what is told."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.site import eventually
from tests.unit.contents.conftest import KEK, NOW_US, Place
from tokenmarket.accounts.admin import NotThere, Refused
from tokenmarket.contents import recorder as recording
from tokenmarket.contents.service import Contents
from tokenmarket.core import ids
from tokenmarket.core.sealing import SealBroken
from tokenmarket.core.wire import Inbound
from tokenmarket.files.contents import ContentFiles
from tokenmarket.store import accounts as rows
from tokenmarket.store import content_keys
from tokenmarket.store.audit import audit_lines

DAY_US = 86_400_000_000
HEAD = b"x-request-id: r\r\ncontent-type: application/json\r\n"


class Line:
    """A caller's connection."""

    cancellable = gone = begun = False

    def __init__(self) -> None:
        self.got = b""

    def respond(self, status: int, head: bytes, body: bytes) -> None:
        self.got += body


def inbound(at_us: int = NOW_US, body: bytes = b'{"ask": "secret"}') -> Inbound:
    request_id = ids.new_id("req", at_us, os.urandom(ids.RANDOM_BYTES))
    headers = {b"content-type": b"application/json", b"authorization": b"Bearer tm_live_secret"}
    return Inbound(request_id, "POST", "/api/v1/x", b"", headers, body, "", at_us, 0)


def asked(service: Contents, org_id: str, received: Inbound) -> str:
    """A request of the organisation that was answered."""
    client: Any = Line()
    copy = service.recorder.copy(org_id, received, client)
    assert copy is not None
    copy.respond(200, HEAD, b'{"say": "hush"}')
    assert client.got == b'{"say": "hush"}'
    service.recorder.keep(copy)
    return received.request_id


async def on(place: Place, days: int = 30, **more: int) -> Contents:
    service = place.service(**more)
    await service.switch(place.org_id, days, now_us=NOW_US, actor="user:a")
    return service


async def read(service: Contents, place: Place, request_id: str, now_us: int = NOW_US) -> Any:
    return await service.read(place.org_id, request_id, now_us=now_us, actor="user:b")


async def audited(place: Place) -> list[tuple[str, str, str]]:
    async with place.database.read() as conn:
        lines = await audit_lines(conn, org_id=place.org_id)
    return [(line.actor, line.action, line.object) for line in lines if "content" in line.action]


async def test_off_until_somebody_wants_it(place: Place) -> None:
    service = place.service()
    client: Any = Line()
    assert service.recorder.copy(place.org_id, inbound(), client) is None
    assert (await read(service, place, inbound().request_id)).state == "off"
    assert not place.folder.exists()


async def test_a_content_is_kept_read_and_deleted(place: Place) -> None:
    service = await on(place)
    request_id = asked(service, place.org_id, inbound())
    found = await read(service, place, request_id)
    assert (found.state, found.content.status) == ("kept", 200)
    assert (found.content.request.text, found.content.answer.text) == (
        '{"ask": "secret"}',
        '{"say": "hush"}',
    )
    (file,) = place.files
    assert b"secret" not in file.read_bytes()
    assert await service.delete(place.org_id, request_id, now_us=NOW_US, actor="user:c")
    assert not await service.delete(place.org_id, request_id, now_us=NOW_US, actor="user:c")
    assert (await read(service, place, request_id)).state == "deleted"
    assert await audited(place) == [
        ("user:c", "content.delete", request_id),
        ("user:b", "content.read", request_id),
        ("user:a", "content.switch", place.org_id),
    ]
    async with place.database.read() as conn:
        assert await rows.broken_audit(conn) is None


async def test_switching_off_destroys_the_key(place: Place) -> None:
    service = await on(place)
    request_id = asked(service, place.org_id, inbound())
    await service.recorder.flush()
    (file,) = place.files
    whole = file.read_bytes()
    waiting = asked(service, place.org_id, inbound())  # never written
    await service.switch(place.org_id, None, now_us=NOW_US + 1, actor="user:a")
    assert place.files == []
    assert (await read(service, place, request_id)).state == "off"
    async with place.database.read() as conn:
        assert await content_keys.open_all(conn, KEK) == []
    # not even who kept a copy of the file reads it after it was switched on again
    await service.switch(place.org_id, 30, now_us=NOW_US + 2, actor="user:a")
    (key,) = await keys(place)
    moved = place.folder / key.folder / file.parent.name
    moved.mkdir(parents=True)
    (moved / request_id).write_bytes(whole)
    assert (await read(service, place, request_id)).state == "unreadable"
    assert (await read(service, place, waiting)).state == "missing"


async def keys(place: Place) -> list[Any]:
    async with place.database.read() as conn:
        return list(await content_keys.open_all(conn, KEK))


async def test_a_key_is_bound_to_its_row_and_root(place: Place) -> None:
    await on(place)
    async with place.database.read() as conn:
        with pytest.raises(SealBroken):
            await content_keys.open_all(conn, b"x" * 32)
    async with place.database.begin() as conn:
        await conn.exec_driver_sql("UPDATE content_key SET org_id = 'org_2'")
        with pytest.raises(SealBroken):
            await content_keys.find(conn, KEK, "org_2")


async def test_what_is_older_is_not_read_and_goes_with_its_day(place: Place) -> None:
    service = await on(place, days=2)
    request_id = asked(service, place.org_id, inbound())
    end_us = NOW_US + 2 * DAY_US
    assert (await read(service, place, request_id, end_us)).state == "kept"
    assert (await read(service, place, request_id, end_us + 1)).state == "expired"
    place.clock.at_us = end_us
    assert await service.sweep() == 0
    assert len(place.files) == 1
    place.clock.at_us = end_us + DAY_US
    assert await service.sweep() == 1
    assert place.files == []


async def test_fewer_days_end_sooner(place: Place) -> None:
    service = await on(place, days=30)
    request_id = asked(service, place.org_id, inbound())
    await service.switch(place.org_id, 1, now_us=NOW_US, actor="user:a")
    assert (await read(service, place, request_id, NOW_US + 2 * DAY_US)).state == "expired"
    assert len(await keys(place)) == 1


async def test_an_installation_may_allow_fewer_days_or_none(place: Place) -> None:
    service = await on(place, days=30)
    request_id = asked(service, place.org_id, inbound())
    await service.recorder.flush()
    strict = place.service(days_max=1)
    assert (await read(strict, place, request_id, NOW_US + 2 * DAY_US)).state == "expired"
    never = place.service(days_max=0)
    await never.refresh()
    client: Any = Line()
    assert never.recorder.copy(place.org_id, inbound(), client) is None
    assert (await read(never, place, request_id)).state == "off"
    with pytest.raises(Refused, match="does not allow"):
        await never.switch(place.org_id, 1, now_us=NOW_US, actor="user:a")
    assert await never.sweep() == 1
    assert place.files == []


@pytest.mark.parametrize("days", [0, -1, 91])
async def test_days_that_cannot_be(place: Place, days: int) -> None:
    with pytest.raises(Refused, match="more days"):
        await place.service().switch(place.org_id, days, now_us=NOW_US, actor="user:a")
    with pytest.raises(NotThere):
        await place.service().switch("org_none", 1, now_us=NOW_US, actor="user:a")


async def test_files_of_no_key_are_swept(place: Place) -> None:
    """What a process wrote that had not yet heard of the end."""
    service = await on(place)
    (key,) = await keys(place)
    await service.switch(place.org_id, None, now_us=NOW_US, actor="user:a")
    ContentFiles(place.folder).write(key, inbound().request_id, b"late")
    assert await service.sweep() == 1
    assert list(place.folder.iterdir()) == []


async def test_what_does_not_fit_is_counted(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    service = await on(place)
    monkeypatch.setattr(recording, "QUEUE_BYTES_MAX", 100)
    one = asked(service, place.org_id, inbound())
    two = asked(service, place.org_id, inbound(body=b'"' + b"x" * 100 + b'"'))
    assert (service.recorder.dropped, service.recorder.queue_bytes) == (1, 32)
    assert (await read(service, place, one)).state == "kept"
    assert (await read(service, place, two)).state == "missing"
    gauges = {name: value for name, _, value in service.recorder.gauges()}
    assert gauges == {"contents_kept": 1, "contents_dropped": 1, "contents_queue_bytes": 0}


async def test_a_disk_that_does_not_take_it_is_told_once(place: Place) -> None:
    service = await on(place)
    place.folder.write_bytes(b"")  # a file where the directory should be
    requests = [asked(service, place.org_id, inbound()) for _ in range(3)]
    await service.recorder.flush()
    assert (service.recorder.kept, service.recorder.dropped, len(place.told)) == (0, 3, 1)
    place.folder.unlink()
    assert (await read(service, place, requests[0])).state == "missing"


async def test_an_error_does_not_quote_what_was_kept(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await on(place)

    def broken(*_: object) -> bytes:
        raise ValueError("cannot encode 'secret'")

    monkeypatch.setattr(recording, "_encode", broken)
    asked(service, place.org_id, inbound())
    await service.recorder.flush()
    assert [repr(error) for error in place.told] == ["RuntimeError('ValueError')"]


async def test_the_last_space_of_a_disk_is_not_taken(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await on(place)
    monkeypatch.setattr(recording, "FREE_BYTES_MIN", 1 << 62)
    asked(service, place.org_id, inbound())
    await service.recorder.flush()
    assert (service.recorder.dropped, place.files) == (1, [])


async def test_it_is_written_without_being_asked_and_at_the_end(place: Place) -> None:
    service = await on(place)
    service.start()
    asked(service, place.org_id, inbound())
    await eventually(lambda: service.recorder.kept, "it is written")
    asked(service, place.org_id, inbound())
    await service.stop()
    assert len(place.files) == 2


async def test_the_files_name_no_key_in_clear(place: Place) -> None:
    service = await on(place)
    asked(service, place.org_id, inbound())
    await service.recorder.flush()
    secret = (await keys(place))[0].secret
    await place.database.close()
    for path in [*Path(place.database.path).parent.iterdir(), *place.files]:
        if path.is_file():
            data = path.read_bytes()
            assert secret not in data
            assert b"tm_live_secret" not in data
