# pyright: basic
"""Callbacks: queued with the end, signed, sent until somebody takes them."""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

import pytest
from openai import OpenAI

from tests.support.videos import Studio, studio
from tokenmarket.core.video.webhooks import RETRY_AFTER_S, BadSignature, verify
from tokenmarket.store import webhooks
from tokenmarket.upstream.fetch import FetchRefused

HOOK = "https://customer.example/hook"


async def ended(s: Studio, status: str = "completed") -> str:
    task_id = await s.made(callback_url=HOOK, metadata={"order": "42"})
    s.provider.status = status
    await s.sweep_for(10)
    return task_id


async def secrets(s: Studio) -> list[str]:
    now_us = s.clock.wall
    found = await webhooks.secrets(s.world.database, b"k" * 32, "o1", now_us)
    return [one.secret.decode() for one in found]


@pytest.mark.parametrize(
    ("status", "kind"), [("completed", "video.completed"), ("failed", "video.failed")]
)
async def test_the_end_is_told_once_and_signed(status: str, kind: str) -> None:
    async with studio() as s:
        task_id = await ended(s, status)
        assert await s.deliverer.sweep() == 1
        [(url, headers, body)] = s.postman.posts
        event = json.loads(body)
        assert (url, event["type"], event["data"]["id"]) == (HOOK, kind, task_id)
        assert event["data"]["metadata"] == {"order": "42"}
        now_s = s.clock.wall // 1_000_000
        assert verify(await secrets(s), headers, body, now_s) == event["id"]
        with pytest.raises(BadSignature):
            verify(await secrets(s), headers, body + b" ", now_s)
        assert await s.deliverer.sweep() == 0
        [delivery] = await webhooks.of_task(s.world.database, "o1", task_id)
        assert delivery.delivered_us == s.clock.wall
        assert delivery.last_status == 200


async def test_no_callback_no_notice() -> None:
    async with studio() as s:
        await s.made()
        s.provider.status = "completed"
        await s.sweep_for(10)
        assert await s.deliverer.sweep() == 0


async def test_a_refused_create_is_answered_and_not_told() -> None:
    async with studio() as s:
        s.provider.then("create", (400, {"error": {"message": "bad"}}))
        with pytest.raises(Exception, match="bad"):
            await s.made(callback_url=HOOK)
        assert await s.deliverer.sweep() == 0


async def test_retries_come_later_and_later_and_end() -> None:
    async with studio() as s:
        task_id = await ended(s)
        s.postman.answers = [500, FetchRefused("timeout", "too slow"), 302, 404, 503, 500, 500, 200]
        assert await s.deliverer.sweep() == 1
        for pause_s in RETRY_AFTER_S:
            s.pass_s(pause_s - 1)
            assert await s.deliverer.sweep() == 0, pause_s
            s.pass_s(pause_s * 0.2 + 2)
            assert await s.deliverer.sweep() == 1, pause_s
        s.pass_s(86_400)
        assert await s.deliverer.sweep() == 0
        ids = {headers["webhook-id"] for _, headers, _ in s.postman.posts}
        assert len(ids) == 1
        assert len(s.postman.posts) == 7
        [delivery] = await webhooks.of_task(s.world.database, "o1", task_id)
        assert (delivery.delivered_us, delivery.attempts) == (0, 7)
        assert delivery.disabled_us > 0


async def test_gone_is_not_asked_again() -> None:
    async with studio() as s:
        task_id = await ended(s)
        s.postman.answers = [410]
        await s.deliverer.sweep()
        s.pass_s(86_400)
        assert await s.deliverer.sweep() == 0
        [delivery] = await webhooks.of_task(s.world.database, "o1", task_id)
        assert delivery.disabled_us > 0


async def test_a_private_address_is_never_reached() -> None:
    async with studio() as s:
        await ended(s)
        s.postman.answers = [FetchRefused("private_address", "not public")] * 7
        for _ in range(10):
            await s.deliverer.sweep()
            s.pass_s(30_000)
        assert len(s.postman.posts) == 3  # a name may be wrong for a moment


async def test_both_secrets_sign_while_one_replaces_the_other() -> None:
    async with studio() as s:
        await ended(s)
        await s.deliverer.sweep()
        [old] = await secrets(s)
        fresh = "whsec_" + "QUJD" * 11
        await webhooks.add_secret(
            s.world.database,
            b"k" * 32,
            "o1",
            fresh.encode(),
            s.clock.wall,
            overlap_us=60_000_000,
        )
        await ended(s)
        await s.deliverer.sweep()
        _, headers, body = s.postman.posts[-1]
        now_s = s.clock.wall // 1_000_000
        for secret in (old, fresh):
            verify([secret], headers, body, now_s)
        s.pass_s(61)
        assert await secrets(s) == [fresh]


async def test_a_notice_survives_its_process() -> None:
    async with studio() as s:
        task_id = await ended(s)
        await s.restart()
        assert await s.deliverer.sweep() == 1
        assert json.loads(s.postman.posts[0][2])["data"]["id"] == task_id


async def test_the_official_sdk_believes_it() -> None:
    async with studio() as s:
        task_id = await ended(s)
        secret = "whsec_" + "QUJD" * 11
        await webhooks.add_secret(
            s.world.database, b"k" * 32, "o1", secret.encode(), s.clock.wall, overlap_us=0
        )
        await s.deliverer.sweep()
        _, headers, body = s.postman.posts[-1]
        with mock.patch("time.time", return_value=s.clock.wall / 1e6):
            event: Any = OpenAI(api_key="k", webhook_secret=secret).webhooks.unwrap(
                body.decode(), headers
            )
        assert (
            event.type,
            event.data["id"] if isinstance(event.data, dict) else event.data.id,
        ) == (
            "video.completed",
            task_id,
        )
