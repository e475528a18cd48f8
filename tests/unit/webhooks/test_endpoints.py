# pyright: basic
"""What people do to webhook endpoints: checked, sealed, by organisation, in the audit trail."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.unit.webhooks.shop import EVENTS, KEK, URL, Shop, shop
from tokenmarket.accounts.admin import NotThere, Taken
from tokenmarket.store import webhook_endpoints
from tokenmarket.store.tables import audit_event
from tokenmarket.store.webhook_tables import webhook_endpoint_secret
from tokenmarket.webhooks import endpoints
from tokenmarket.webhooks.endpoints import ENDPOINTS_MAX, Desk, Wishes, WrongEntry


@pytest.fixture
async def s(tmp_path: Path) -> AsyncGenerator[Shop]:
    async with shop(tmp_path) as s:
        yield s


async def audit(s: Shop) -> list[tuple[str, str]]:
    async with s.database.read() as conn:
        rows = await conn.execute(
            select(audit_event.c.action, audit_event.c.object)
            .where(audit_event.c.action.like("webhook.%"))
            .order_by(audit_event.c.seq)
        )
        return [(row[0], row[1]) for row in rows]


@pytest.mark.parametrize(
    "url",
    [
        "http://customer.example/hook",
        "https://127.0.0.1/hook",
        "https://10.1.2.3/hook",
        "https://[::1]/hook",
        "https://[fd00::1]/hook",
        "https://169.254.169.254/latest",
        "https://localhost/hook",
        "https://user:word@customer.example/",
        "https://customer.example:22/",
        "https://customer.example/#part",
        "https://2130706433/",
        "ftp://customer.example/",
        "https://" + "a" * 3000,
        "customer",
        "",
    ],
)
async def test_addresses_that_are_refused(s: Shop, url: str) -> None:
    with pytest.raises(WrongEntry) as raised:
        await s.made(url)
    assert raised.value.param == "url"
    async with s.database.read() as conn:
        assert await webhook_endpoints.endpoints_of(conn, s.org_id) == []


@pytest.mark.parametrize(
    ("wishes", "param"),
    [
        (Wishes(URL, "", ()), "events"),
        (Wishes(URL, "", ("video.completed", "everything")), "events"),
        (Wishes(URL, "", ("webhook.test",)), "events"),
        (Wishes(URL, "a\nb", EVENTS), "description"),
        (Wishes(URL, "a" * 201, EVENTS), "description"),
    ],
)
async def test_entries_that_are_refused(s: Shop, wishes: Wishes, param: str) -> None:
    async with s.database.begin() as conn:
        with pytest.raises(WrongEntry) as raised:
            await endpoints.create(conn, s.desk, wishes)
    assert raised.value.param == param


async def test_the_operators_own_origins_may_be_private(s: Shop) -> None:
    private = "http://10.0.0.7:9000/hook"
    desk = Desk(s.org_id, "user:usr_1", s.clock.wall_us(), KEK, ("10.0.0.7:9000",))
    async with s.database.begin() as conn:
        made = await endpoints.create(conn, desk, Wishes(private, "", EVENTS))
        assert made.endpoint.url == private
        with pytest.raises(WrongEntry):
            await endpoints.create(conn, desk, Wishes("http://10.0.0.7:9001/", "", EVENTS))


async def test_the_secret_is_sealed_and_told_once(s: Shop) -> None:
    made = await s.made()
    assert made.secret.startswith("whsec_")
    assert made.secret not in repr(made)
    async with s.database.read() as conn:
        rows = (await conn.execute(select(webhook_endpoint_secret))).all()
        assert made.secret not in str(rows)
        assert made.secret.removeprefix("whsec_") not in str(rows)
    assert await s.secrets(made.endpoint.id) == [made.secret]


async def test_rotation_keeps_the_old_secret_for_the_overlap(s: Shop) -> None:
    first = await s.made()
    async with s.database.begin() as conn:
        second = await endpoints.rotate(conn, s.desk, first.endpoint.id, overlap_s=3600)
    assert await s.secrets(first.endpoint.id) == [second.secret, first.secret]
    s.pass_s(3601)
    assert await s.secrets(first.endpoint.id) == [second.secret]
    for overlap_s in (-1, 31 * 86_400):
        async with s.database.begin() as conn:
            with pytest.raises(WrongEntry):
                await endpoints.rotate(conn, s.desk, first.endpoint.id, overlap_s=overlap_s)


async def test_every_change_leaves_a_line(s: Shop) -> None:
    made = await s.made()
    one, desk = made.endpoint.id, s.desk
    async with s.database.begin() as conn:
        await endpoints.change(conn, desk, one, Wishes(URL, "", EVENTS))  # nothing is different
        await endpoints.change(conn, desk, one, Wishes(URL + "2", " for us ", EVENTS[:1]))
        await endpoints.rotate(conn, desk, one)
        sent = await endpoints.send_test(conn, desk, one)
        await endpoints.send_again(conn, desk, one, sent)
        await endpoints.turn(conn, desk, one, on=False)
        await endpoints.turn(conn, desk, one, on=False)
        await endpoints.turn(conn, desk, one, on=True)
    row = await s.endpoint(one)
    assert (row.url, row.description, row.events) == (URL + "2", "for us", EVENTS[:1])
    async with s.database.begin() as conn:
        await endpoints.remove(conn, desk, one)
    names = ["create", "change", "rotate", "test", "resend", "disable", "enable", "delete"]
    assert await audit(s) == [(f"webhook.{name}", one) for name in names]
    async with s.database.read() as conn:
        assert (await conn.execute(select(webhook_endpoint_secret))).all() == []


async def test_those_of_others_are_not_there(s: Shop) -> None:
    made = await s.made()
    sent = await s.test(made.endpoint.id)
    one = made.endpoint.id
    other = Desk(await s.org("other"), "user:usr_2", s.clock.wall_us(), KEK)
    async with s.database.begin() as conn:
        for attempt in (
            endpoints.find(conn, other.org_id, one),
            endpoints.change(conn, other, one, Wishes(URL, "", EVENTS)),
            endpoints.turn(conn, other, one, on=False),
            endpoints.rotate(conn, other, one),
            endpoints.send_test(conn, other, one),
            endpoints.send_again(conn, other, one, sent),
            endpoints.remove(conn, other, one),
            endpoints.find_delivery(conn, other.org_id, one, sent),
        ):
            with pytest.raises(NotThere):
                await attempt
        second = await endpoints.create(conn, s.desk, Wishes(URL, "", EVENTS))
        for other_id in (second.endpoint.id, "whe_nothing"):
            with pytest.raises(NotThere):
                await endpoints.find_delivery(conn, s.org_id, other_id, sent)
        with pytest.raises(NotThere):
            await endpoints.send_again(conn, s.desk, second.endpoint.id, sent)


async def test_there_is_an_end_to_how_many(s: Shop) -> None:
    for _ in range(ENDPOINTS_MAX):
        await s.made()
    with pytest.raises(Taken):
        await s.made()


async def test_nothing_is_sent_by_hand_to_one_that_is_off(s: Shop) -> None:
    made = await s.made()
    sent = await s.test(made.endpoint.id)
    async with s.database.begin() as conn:
        await endpoints.turn(conn, s.desk, made.endpoint.id, on=False)
        with pytest.raises(Taken):
            await endpoints.send_test(conn, s.desk, made.endpoint.id)
        with pytest.raises(Taken):
            await endpoints.send_again(conn, s.desk, made.endpoint.id, sent)
