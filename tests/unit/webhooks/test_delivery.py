# pyright: basic
"""Sending: signed, guarded, again until somebody takes it, nobody waiting for somebody slow."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tests.support.plans import query_plan
from tests.unit.webhooks.shop import KEK, URL, Shop, shop
from tokenmarket.store import webhook_endpoints, webhook_sending
from tokenmarket.store.tables import audit_event
from tokenmarket.store.webhook_endpoints import NewEvent
from tokenmarket.upstream.client import UpstreamClient
from tokenmarket.upstream.fetch import Fetcher, FetchRefused, Posted
from tokenmarket.webhooks import endpoints
from tokenmarket.webhooks.deliverer import PER_LANE, Deliverer
from tokenmarket.webhooks.dispatches import RETRY_AFTER_S, Dispatches

DAY_S = 86_400


@pytest.fixture
async def s(tmp_path: Path) -> AsyncGenerator[Shop]:
    async with shop(tmp_path) as s:
        yield s


def believed(secret: str, headers: dict[str, str], body: bytes, now_s: int) -> bool:
    """Standard Webhooks, from its specification: any signature of the list may match."""
    if abs(int(headers["webhook-timestamp"]) - now_s) > 300:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    right = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return right in headers["webhook-signature"].split(" ")


async def publish(s: Shop, kind: str = "video.completed", subject: str = "video_1") -> bool:
    event = NewEvent(
        id=f"evt_{kind}_{subject}".replace(".", "_"),
        org_id=s.org_id,
        type=kind,
        subject=subject,
        body='{"of":"' + subject + '"}',
        created_us=s.clock.wall_us(),
    )
    async with s.database.begin() as conn:
        return await webhook_endpoints.publish(conn, event)


async def test_a_signed_event_arrives_once(s: Shop) -> None:
    made = await s.made()
    assert await publish(s)
    assert not await publish(s)  # the same is told once
    assert await s.deliverer.sweep() == 1
    [(url, headers, body)] = s.postman.posts
    now_s = s.clock.wall_us() // 1_000_000
    assert url == URL
    assert body == b'{"of":"video_1"}'
    assert believed(made.secret, headers, body, now_s)
    assert not believed(made.secret, headers, body + b" ", now_s)
    assert not believed(made.secret, headers, body, now_s + 301)
    assert "." not in headers["webhook-id"]
    assert headers["content-type"] == "application/json"
    assert await s.deliverer.sweep() == 0
    [sent] = await s.sent(made.endpoint.id)
    assert sent.delivered_us == s.clock.wall_us()
    [attempt] = await s.attempts(sent.id)
    assert (attempt.status, attempt.error, attempt.answer) == (200, "", "heard\ufffd")


async def test_only_who_wants_it_and_is_on_is_told(s: Shop) -> None:
    wants = await s.made()
    await s.made(URL + "/other", ("key.created",))
    off = await s.made(URL + "/off")
    async with s.database.begin() as conn:
        await endpoints.turn(conn, s.desk, off.endpoint.id, on=False)
    await publish(s)
    assert await s.deliverer.sweep() == 1
    assert [url for url, _, _ in s.postman.posts] == [wants.endpoint.url]
    await s.test(wants.endpoint.id)
    assert await s.deliverer.sweep() == 1
    url, _, body = s.postman.posts[-1]
    assert (url, json.loads(body)["type"]) == (URL, "webhook.test")


async def test_an_organisation_hears_nothing_of_another(s: Shop) -> None:
    await s.made()
    first, s.org_id = s.org_id, await s.org("other")
    assert first != s.org_id
    assert not await publish(s)
    assert await s.deliverer.sweep() == 0


async def test_retries_come_later_and_later_for_about_a_day(s: Shop) -> None:
    made = await s.made()
    await publish(s)
    s.postman.answers = [500, FetchRefused("timeout", "too slow"), 302, 404, *[503] * 20]
    assert await s.deliverer.sweep() == 1
    for pause_s in RETRY_AFTER_S:
        s.pass_s(pause_s - 1)
        assert await s.deliverer.sweep() == 0, pause_s
        s.pass_s(1)
        assert await s.deliverer.sweep() == 1, pause_s
    s.pass_s(2 * DAY_S)
    assert await s.deliverer.sweep() == 0
    assert 0.9 * DAY_S < sum(RETRY_AFTER_S) < 1.2 * DAY_S
    assert list(RETRY_AFTER_S) == sorted(RETRY_AFTER_S)
    assert len({headers["webhook-id"] for _, headers, _ in s.postman.posts}) == 1
    [sent] = await s.sent(made.endpoint.id)
    assert sent.given_up_us > 0
    tried = await s.attempts(sent.id)
    assert [one.number for one in tried] == list(range(1, len(RETRY_AFTER_S) + 2))
    assert [one.error for one in tried[:4]] == ["HTTP 500", "too slow", "HTTP 302", "HTTP 404"]


async def test_the_pauses_are_spread(s: Shop) -> None:
    made = await s.made()
    await publish(s)
    queue = Dispatches(s.database, "w1", KEK, s.clock, lambda: 20, (), s.turned_off)
    spread = Deliverer([queue], s.deliverer._fetcher, s.clock, s.deliverer._log)
    s.postman.answers = [500]
    await spread.sweep()
    [sent] = await s.sent(made.endpoint.id)
    assert sent.next_attempt_us - s.clock.wall_us() == 6_000_000  # 5 s and a fifth


async def test_five_days_of_failure_turn_it_off_with_a_line(s: Shop) -> None:
    made = await s.made()
    one = made.endpoint.id
    s.postman.answers = [500] * 100
    for day in range(5):
        await publish(s, subject=f"video_{day}")
        await s.deliverer.sweep()
        assert (await s.endpoint(one)).failing_since_us
        s.pass_s(DAY_S)
        assert not (await s.endpoint(one)).disabled_us, day
    await publish(s, subject="video_5")
    await s.deliverer.sweep()
    row = await s.endpoint(one)
    assert (row.disabled_reason, row.disabled_us) == ("failing", s.clock.wall_us())
    async with s.database.read() as conn:
        query = select(audit_event.c.actor, audit_event.c.org_id).where(
            audit_event.c.action == "webhook.disable", audit_event.c.object == one
        )
        assert [tuple(row) for row in await conn.execute(query)] == [("system:webhooks", s.org_id)]
    s.pass_s(DAY_S)
    assert await s.deliverer.sweep() == 0  # waits
    async with s.database.begin() as conn:
        await endpoints.turn(conn, s.desk, one, on=True)
    s.postman.answers = []
    assert await s.deliverer.sweep() > 0
    assert (await s.endpoint(one)).failing_since_us == 0
    assert [turned.id for turned in s.off] == [one]  # told once


async def test_one_that_is_taken_ends_the_failing(s: Shop) -> None:
    made = await s.made()
    s.postman.answers = [500]
    await publish(s)
    await s.deliverer.sweep()
    assert (await s.endpoint(made.endpoint.id)).failing_since_us
    s.pass_s(10)
    await s.deliverer.sweep()
    assert (await s.endpoint(made.endpoint.id)).failing_since_us == 0


async def test_gone_turns_it_off_at_once(s: Shop) -> None:
    made = await s.made()
    s.postman.answers = [410]
    await publish(s)
    await s.deliverer.sweep()
    row = await s.endpoint(made.endpoint.id)
    assert row.disabled_us
    assert row.disabled_reason == "gone"
    [sent] = await s.sent(made.endpoint.id)
    assert sent.given_up_us
    assert [one.id for one in s.off] == [made.endpoint.id]


async def test_both_secrets_sign_while_one_replaces_the_other(s: Shop) -> None:
    first = await s.made()
    async with s.database.begin() as conn:
        second = await endpoints.rotate(conn, s.desk, first.endpoint.id, overlap_s=60)
    for subject, signers in (("video_1", (True, True)), ("video_2", (False, True))):
        await publish(s, subject=subject)
        await s.deliverer.sweep()
        _, headers, body = s.postman.posts[-1]
        now_s = s.clock.wall_us() // 1_000_000
        assert (
            believed(first.secret, headers, body, now_s),
            believed(second.secret, headers, body, now_s),
        ) == signers
        s.pass_s(61)


async def test_sent_again_under_the_same_id(s: Shop) -> None:
    made = await s.made()
    await publish(s)
    await s.deliverer.sweep()
    [sent] = await s.sent(made.endpoint.id)
    async with s.database.begin() as conn:
        await endpoints.send_again(conn, s.desk, made.endpoint.id, sent.id)
    assert await s.deliverer.sweep() == 1
    (_, first, body), (_, again, same) = s.postman.posts
    assert first["webhook-id"] == again["webhook-id"]
    assert body == same


async def test_what_a_dead_process_held_is_free_after_a_start(s: Shop) -> None:
    made = await s.made()
    await publish(s)
    now_us = s.clock.wall_us()
    [(claimed, url)] = await webhook_sending.claim_due(s.database, "dead", now_us, 60_000_000, 9)
    assert url == URL
    assert await s.deliverer.sweep() == 0
    await webhook_sending.take_over(s.database)
    assert await s.deliverer.sweep() == 1
    [sent] = await s.sent(made.endpoint.id)
    assert sent.id == claimed.id
    late = webhook_sending.Attempt(1, now_us, 1, 500, "HTTP 500", "")
    async with s.database.begin() as conn:  # the dead one was not dead: its result is no news
        assert not await webhook_sending.finish(conn, claimed, late, None)


async def test_what_is_old_is_forgotten(s: Shop) -> None:
    made = await s.made()
    await publish(s)
    await s.deliverer.sweep()
    s.pass_s(31 * DAY_S)
    await publish(s, subject="video_2")
    await s.deliverer.sweep()
    async with s.database.begin() as conn:
        limit_us = s.clock.wall_us() - 30 * DAY_S * 1_000_000
        assert await webhook_sending.forget_before(conn, limit_us) == 1
    [sent] = await s.sent(made.endpoint.id)
    assert len(await s.attempts(sent.id)) == 1
    queries: Any = webhook_sending.old_queries(limit_us)
    for query in queries:
        plan = await query_plan(s.database, query)
        assert all("SCAN" not in step for step in plan), plan


# ------------------------------------------------------------------------------ slow, and the wire


class Slow:
    """A fetcher that does not come back from ``slow`` addresses until it is told."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.waiting = 0
        self.most = 0
        self.taken: list[str] = []

    async def post(self, url: str, **_rest: Any) -> Posted:
        if "slow" in url:
            self.waiting += 1
            self.most = max(self.most, self.waiting)
            await self.go_on.wait()
            self.waiting -= 1
        self.taken.append(url)
        return Posted(200, b"")


async def until(probe: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await probe():  # noqa: ASYNC110 (what is waited for is in SQL)
            await asyncio.sleep(0)


async def test_a_slow_receiver_holds_nobody_up(tmp_path: Path) -> None:
    fetcher = Slow()
    async with shop(tmp_path, fetcher) as s:
        slow = await s.made("https://slow.example/")
        quick = await s.made("https://quick.example/")
        for number in range(30):
            await publish(s, subject=f"video_{number}")
        running = asyncio.create_task(s.deliverer.run())

        async def all_quick() -> bool:
            return len(fetcher.taken) == 30

        await until(all_quick)
        assert {*fetcher.taken} == {quick.endpoint.url}
        assert 0 < fetcher.most < 2 * PER_LANE
        fetcher.go_on.set()

        async def all_there() -> bool:
            return all(row.delivered_us for row in await s.sent(slow.endpoint.id))

        await until(all_there)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await s.deliverer.stop(1)


@pytest.fixture
async def fetcher() -> AsyncGenerator[Fetcher]:
    client = UpstreamClient()
    fetcher = Fetcher(client)
    yield fetcher
    await fetcher.close()
    await client.close()


async def test_no_private_address_by_whatever_name(tmp_path: Path, fetcher: Fetcher) -> None:
    async def lookup(_host: str, _port: int) -> list[str]:
        return ["192.168.1.1"]

    fetcher._lookup = lookup
    async with shop(tmp_path, fetcher) as s:
        made = await s.made("https://inside.example/")
        await publish(s)
        for _ in range(4):
            await s.deliverer.sweep()
            s.pass_s(200)
        [sent] = await s.sent(made.endpoint.id)
        tried = await s.attempts(sent.id)
        assert [one.status for one in tried] == [None] * 3  # a name may be wrong for a moment
        assert "not public" in tried[0].error
        assert sent.given_up_us
