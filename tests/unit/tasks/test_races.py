# pyright: basic
"""Everybody at once, and processes that die: still one charge or one release."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from tests.support.video_parts import timeout
from tests.support.videos import studio

FAILED = {"error": {"code": "content_policy_violation", "message": "not this"}}


async def test_ten_notices_and_the_poller_at_once_charge_once() -> None:
    async with studio() as s:
        task_id = await s.made()
        stale = await s.row(task_id)
        s.provider.status = "completed"
        stepper = s.tasks.poller._stepper
        s.pass_s(6)
        await asyncio.gather(
            *(s.tasks.hint(task_id) for _ in range(10)),
            *(stepper.poll(stale) for _ in range(10)),
            s.sweep(),
            s.sweep(),
        )
        await s.sweep_for(30)
        await s.settled(task_id, "succeeded", "0.04")


async def test_ten_failure_notices_at_once_release_once() -> None:
    async with studio() as s:
        task_id = await s.made()
        stale = await s.row(task_id)
        s.provider.status, s.provider.more = "failed", FAILED
        s.pass_s(6)
        ends = await asyncio.gather(
            *(s.tasks.poller._stepper.poll(stale) for _ in range(10)), s.sweep()
        )
        assert sum(end is not None for end in ends[:10]) <= 1
        await s.sweep_for(30)
        await s.settled(task_id, "failed", "0")
        assert await s.money() == (Decimal("1"), Decimal("0"))


async def test_cancel_while_it_runs() -> None:
    async with studio() as s:
        task_id = await s.made()
        s.provider.status = "in_progress"
        view = await s.tasks.cancel(s.caller, task_id)
        assert view is not None
        assert view.state == "cancelled"
        await s.settled(task_id, "cancelled", "0")
        again = await s.tasks.cancel(s.caller, task_id)
        assert again is not None
        assert again.state == "cancelled"


async def test_cancel_that_comes_too_late_is_a_success() -> None:
    async with studio() as s:
        task_id = await s.made()
        s.provider.status = "completed"
        view = await s.tasks.cancel(s.caller, task_id)
        assert view is not None
        assert view.state == "succeeded"
        assert s.provider.count("cancel") == 0
        await s.settled(task_id, "succeeded", "0.04")


async def test_cancel_whose_answer_is_lost_stays_canceling_until_a_poll_decides() -> None:
    async with studio() as s:
        task_id = await s.made()
        s.provider.status = "in_progress"
        s.provider.then("cancel", timeout())
        view = await s.tasks.cancel(s.caller, task_id)
        assert view is not None
        assert view.state == "canceling"
        await s.sweep_for(10)
        assert (await s.view(task_id)).state == "canceling"
        s.provider.status = "completed"  # it went on after all
        await s.sweep_for(30)
        await s.settled(task_id, "succeeded", "0.04")


async def test_cancel_before_it_was_sent() -> None:
    async with studio() as s:
        s.provider.then("create", (429, {}))
        task_id = await s.made()
        view = await s.tasks.cancel(s.caller, task_id)
        assert view is not None
        assert view.state == "cancelled"
        await s.sweep_for(120)
        assert s.provider.count("create") == 1
        await s.settled(task_id, "cancelled", "0")


async def test_cancel_and_a_poll_that_finds_success_race() -> None:
    async with studio() as s:
        task_id = await s.made()
        s.provider.status = "in_progress"

        async def done_meanwhile() -> None:
            s.provider.on.clear()
            s.provider.status = "completed"
            s.pass_s(60)
            await s.sweep()

        s.provider.on["cancel"] = done_meanwhile
        s.provider.then("cancel", (200, {"status": "failed", "error": {"code": "cancelled"}}))
        await s.tasks.cancel(s.caller, task_id)
        await s.sweep_for(60)
        row = await s.row(task_id)
        await s.settled(task_id, row.state, "0.04" if row.state == "succeeded" else "0")
        assert row.state in ("succeeded", "cancelled")


@pytest.mark.parametrize("at", ["create", "poll", "content"])
async def test_a_process_that_dies_inside_an_exchange(at: str) -> None:
    """It dies while the provider answers; the next one finds the row where it was."""
    async with studio() as s:

        class Dead(BaseException):
            pass

        async def die() -> None:
            s.provider.on.clear()
            s.world.wallet.abandon()
            raise Dead

        s.provider.on[at] = die
        s.provider.status = "completed"

        async def live() -> None:
            await s.made()
            s.pass_s(6)
            await s.tasks.poller._claim()
            for task in list(s.tasks.poller._running):
                await task

        with pytest.raises(Dead):
            await live()
        await s.open()
        task_id = await s.world.scalar("SELECT id FROM task")
        await s.sweep_for(2000, step_s=20)
        row = await s.row(task_id)
        if at == "create":  # sent, and the provider did not keep it: proven absent
            await s.settled(task_id, "failed", "0")
        else:
            await s.settled(task_id, "succeeded", "0.04")
        assert s.provider.count("create") == 1
        assert not row.live
