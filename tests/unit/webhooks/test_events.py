# pyright: basic
"""What is told: written with what it tells, once, and only to who wants it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from tests.support.videos import studio
from tests.unit.webhooks.shop import KEK, Shop, shop
from tokenmarket.accounts import admin
from tokenmarket.accounts.admin import KeyWishes
from tokenmarket.core import keys
from tokenmarket.core.webhook_events import EVENT_TYPES
from tokenmarket.store import webhook_sending
from tokenmarket.webhooks import endpoints
from tokenmarket.webhooks.service import Webhooks

DAY_S = 86_400
ALL = tuple(EVENT_TYPES)


@pytest.fixture
async def s(tmp_path: Path) -> AsyncGenerator[Shop]:
    async with shop(tmp_path) as s:
        yield s


async def told(s: Shop, endpoint_id: str) -> list[dict[str, Any]]:
    """The events, oldest first."""
    return [json.loads(row.body) for row in reversed(await s.sent(endpoint_id))]


async def test_keys_made_rolled_and_disabled(s: Shop) -> None:
    made = await s.made(events=ALL)
    now_us = s.clock.wall_us()
    async with s.database.begin() as conn:
        org = await admin.find_org(conn, s.org_id)
        key = await admin.create_key(
            conn, org, KeyWishes(name="robot"), b"p" * 32, now_us=now_us, actor="t"
        )
        await admin.create_key(
            conn,
            org,
            KeyWishes(name="Playground"),
            b"p" * 32,
            now_us=now_us,
            actor="t",
            token=keys.generate("live", b"r" * 32),
        )
        second = await admin.rotate_key(
            conn, key.row.id, b"p" * 32, overlap_s=60, now_us=now_us, actor="t"
        )
        for _ in range(2):
            await admin.disable_key(conn, key.row.id, now_us=now_us, actor="t")
    events = await told(s, made.endpoint.id)
    assert sorted((event["type"], event["data"]["id"]) for event in events) == sorted(
        [
            ("key.created", key.row.id),
            ("key.created", second.row.id),
            ("key.disabled", key.row.id),
        ]
    )
    assert key.token not in str(events)
    assert key.token[12:] not in str(events)


async def test_what_is_undone_is_not_told(s: Shop) -> None:
    made = await s.made(events=ALL)

    async def made_and_undone() -> None:
        async with s.database.begin() as conn:
            org = await admin.find_org(conn, s.org_id)
            await admin.create_key(
                conn, org, KeyWishes(), b"p" * 32, now_us=s.clock.wall_us(), actor="t"
            )
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await made_and_undone()
    assert await told(s, made.endpoint.id) == []


async def test_a_key_that_expires_soon_is_told_once(s: Shop) -> None:
    made = await s.made(events=("key.expiring",))
    now_s = s.clock.wall_us() // 1_000_000
    service = Webhooks(
        s.database, s.deliverer._fetcher, s.clock, s.deliverer._log, "w1", KEK, (), s.turned_off
    )
    async with s.database.begin() as conn:
        org = await admin.find_org(conn, s.org_id)
        for name, ends_s in (("soon", 9 * DAY_S), ("later", 90 * DAY_S), ("never", None)):
            wishes = KeyWishes(name=name, expires_at_s=ends_s and now_s + ends_s)
            await admin.create_key(
                conn, org, wishes, b"p" * 32, now_us=s.clock.wall_us(), actor="t"
            )
    await service.look()
    assert await told(s, made.endpoint.id) == []
    s.pass_s(3 * DAY_S)
    for _ in range(2):
        await service.look()
    [event] = await told(s, made.endpoint.id)
    assert (event["type"], event["data"]["name"]) == ("key.expiring", "soon")


async def test_a_video_is_told_to_its_callback_and_to_the_endpoints_under_one_id() -> None:
    async with studio() as s:
        async with s.world.database.begin() as conn:
            desk = endpoints.Desk("o1", "t", s.clock.wall, b"k" * 32)
            wishes = endpoints.Wishes("https://o1.example/", "", ("video.completed",))
            made = await endpoints.create(conn, desk, wishes)
        finished = await s.made(callback_url="https://one.example/")
        s.provider.status = "completed"
        await s.sweep_for(10)
        await s.made()
        s.provider.status = "failed"
        await s.sweep_for(10)
        assert await s.deliverer.sweep() == 2
        posts = {url: (headers, json.loads(body)) for url, headers, body in s.postman.posts}
        (mine, event), (called, same) = (
            posts["https://o1.example/"],
            posts["https://one.example/"],
        )
        assert event == same
        assert (event["type"], event["data"]["id"]) == ("video.completed", finished)
        assert mine["webhook-id"] == called["webhook-id"]
        assert mine["webhook-signature"] != called["webhook-signature"]
        async with s.world.database.read() as conn:
            sent = await webhook_sending.dispatches_of(conn, "o1", made.endpoint.id)
        assert [row.delivered_us > 0 for row in sent] == [True]
