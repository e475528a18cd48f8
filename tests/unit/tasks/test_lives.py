# pyright: basic
"""Every way a task can live and end, over a scripted provider: one charge or one release."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.support.video_parts import timeout
from tests.support.videos import studio
from tokenmarket.adapters.video_protocol import Failed, Running
from tokenmarket.core.errors import ApiError
from tokenmarket.store import assets
from tokenmarket.store import tasks as rows

FAILED = {"error": {"code": "content_policy_violation", "message": "not this"}}


async def test_from_create_to_completed() -> None:
    async with studio() as s:
        created = await s.create()
        task_id = created.view.id
        assert (created.view.state, created.replayed) == ("queued", False)
        assert b"x-tokenmarket-provider: one\r\n" in created.head
        assert await s.money() == (Decimal("1"), Decimal("0.04"))
        receipt = await s.receipt(task_id)
        assert receipt["status"] == "running"
        assert receipt["amounts"]["held"] == "0.04"
        assert receipt["attempts"][0]["status"] == 200
        assert s.provider.bodies[0]["seconds"] == "4"
        assert s.provider.bodies[0]["metadata"] == {"client_reference": task_id}

        assert await s.sweep() == 0  # the first poll is not due yet
        s.provider.status = "in_progress"
        s.provider.more = {"progress": 40}
        s.pass_s(6)
        assert await s.sweep() == 1
        view = await s.view(task_id)
        assert (view.state, view.progress) == ("running", 40)

        s.provider.status = "completed"
        await s.sweep_for(10)
        view = await s.view(task_id)
        assert (view.state, view.basis) == ("succeeded", "upstream")
        [output] = view.outputs
        assert (output.width, output.height, output.duration) == (320, 180, 4.0)
        assert output.url.startswith("https://tm.test/files/")
        await s.settled(task_id, "succeeded", "0.04")
        assert await s.money() == (Decimal("0.96"), Decimal("0"))
        receipt = await s.receipt(task_id)
        assert receipt["status"] == "succeeded"
        assert receipt["items"] == [
            {"unit": "video_second", "quantity": "4", "usd": "0.01", "per": 1, "amount": "0.04"}
        ]
        assert receipt["amounts"]["charged"] == "0.04"
        assert receipt["ledger"] == [f"{receipt['id']}.c"]
        assert s.provider.count("create") == 1
        [asset] = await assets.of_task(s.world.database, "o1", task_id)
        assert s.shelf.store.files[asset.store_key][4:8] == b"ftyp"
        polls = s.provider.count("poll")
        await s.sweep_for(120)  # nothing is asked about a task that is over
        assert s.provider.count("poll") == polls


async def test_what_was_delivered_is_billed_where_nothing_is_reported() -> None:
    async with studio() as s:
        task_id = await s.made(seconds=8)
        s.provider.status, s.provider.seconds = "completed", None  # the film has 4 seconds
        await s.sweep_for(10)
        assert (await s.view(task_id)).basis == "delivered"
        await s.settled(task_id, "succeeded", "0.04")


async def test_an_upstream_that_reports_too_much_is_held_to_the_bound() -> None:
    async with studio() as s:
        task_id = await s.made()
        s.provider.status, s.provider.seconds = "completed", "3000"
        await s.sweep_for(10)
        row = await s.settled(task_id, "succeeded", "0.04")  # never above the hold
        receipt = await s.receipt(task_id)
        assert Decimal(receipt["amounts"]["uncollected"]) <= Decimal("0.004")
        assert row.held_nano == 40_000_000


async def test_a_failure_releases_everything_and_says_why() -> None:
    async with studio() as s:
        task_id = await s.made()
        s.provider.status, s.provider.more = "failed", FAILED
        await s.sweep_for(10)
        await s.settled(task_id, "failed", "0")
        view = await s.view(task_id)
        assert view.error is not None
        assert view.error.code == "content_policy_violation"
        assert (await s.receipt(task_id))["error"]["reason"] == "content_policy_violation"
        assert await s.money() == (Decimal("1"), Decimal("0"))


async def test_success_after_failure_changes_nothing() -> None:
    async with studio() as s:
        task_id = await s.made()
        stale = await s.row(task_id)
        s.provider.status, s.provider.more = "failed", FAILED
        await s.sweep_for(10)
        s.provider.status, s.provider.more = "completed", {}
        seen = await s.tasks.poller._stepper.observe(stale)
        assert await s.tasks.poller._stepper.apply(stale, seen) is None
        await s.tasks.hint(task_id)
        await s.sweep_for(60)
        await s.settled(task_id, "failed", "0")


async def test_failure_after_success_changes_nothing() -> None:
    async with studio() as s:
        task_id = await s.made()
        stale = await s.row(task_id)
        s.provider.status = "completed"
        await s.sweep_for(10)
        late = Failed("upstream_error", "it was not so good after all")
        assert await s.tasks.poller._stepper.apply(stale, late) is None
        ended = await s.row(task_id)
        assert await s.tasks.poller._stepper.apply(ended, late) == ended
        await s.settled(task_id, "succeeded", "0.04")


async def test_a_failure_while_files_are_copied_is_too_late() -> None:
    async with studio() as s:
        task_id = await s.made()
        s.provider.status = "completed"
        s.provider.then("content", (503, {}))
        await s.sweep_for(10)
        assert (await s.row(task_id)).state == "finalizing"
        s.provider.status, s.provider.more = "failed", FAILED
        await s.sweep_for(30)
        await s.settled(task_id, "succeeded", "0.04")


async def test_not_found_right_after_the_create_is_only_early() -> None:
    async with studio() as s:
        task_id = await s.made()
        known = s.provider.tasks.pop("up-1")
        await s.sweep_for(30)
        assert s.provider.count("poll") >= 2
        assert (await s.view(task_id)).state == "queued"
        assert s.events("task_missing") == []
        s.provider.tasks["up-1"] = known
        s.provider.status = "completed"
        await s.sweep_for(30)
        await s.settled(task_id, "succeeded", "0.04")


async def test_polls_that_time_out_for_hours_lose_nothing() -> None:
    async with studio() as s:
        task_id = await s.made()
        row = await s.row(task_id)
        six_hours_us = row.created_us + 6 * 3_600_000_000
        assert await rows.transition(s.world.database, row, "queued", deadline_us=six_hours_us)
        s.provider.then("poll", *[timeout()] * 400)
        await s.sweep_for(3 * 3600, step_s=30)
        assert s.provider.count("poll") > 150
        assert (await s.view(task_id)).state == "queued"
        assert (await s.money())[1] == Decimal("0.04")
        s.provider.script.clear()
        s.provider.status = "completed"
        await s.sweep_for(60)
        await s.settled(task_id, "succeeded", "0.04")


@pytest.mark.parametrize("status", ["queued", "in_progress", "rendering_v9"])
async def test_the_deadline_expires_what_does_not_end(status: str) -> None:
    async with studio() as s:
        task_id = await s.made()
        s.provider.status = status
        await s.sweep_for(1700, step_s=30)
        assert (await s.view(task_id)).live
        await s.sweep_for(130, step_s=10)
        await s.settled(task_id, "expired", "0")
        s.provider.status, s.provider.more = "completed", {}  # late
        await s.sweep_for(300, step_s=30)
        await s.settled(task_id, "expired", "0")
        assert s.provider.count("content") == 0
        assert s.provider.count("cancel") == 1  # nobody waits for it any more


async def test_a_success_at_the_deadline_is_a_success() -> None:
    async with studio() as s:
        task_id = await s.made()
        s.provider.status = "completed"
        s.pass_s(1801)
        await s.sweep()
        await s.settled(task_id, "succeeded", "0.04")


async def test_an_unknown_state_is_never_a_success() -> None:
    async with studio() as s:
        task_id = await s.made()
        s.provider.status = "succeeded-ish"
        await s.sweep_for(60)
        assert (await s.view(task_id)).state == "queued"
        assert s.events("task_unknown")
        s.provider.status = "failed"
        await s.sweep_for(60)
        await s.settled(task_id, "failed", "0")


async def test_a_task_without_money_is_refused_before_anything_is_sent() -> None:
    async with studio("0.03") as s:
        with pytest.raises(ApiError) as caught:
            await s.create()
        assert caught.value.code == "BILLING_001"
        assert s.provider.calls == []
        assert await s.world.scalar("SELECT COUNT(*) FROM task") == 0


async def test_progress_never_takes_what_is_not_a_percentage() -> None:
    async with studio() as s:
        task_id = await s.made()
        row = await s.row(task_id)
        stepped = await s.tasks.poller._stepper.apply(row, Running(progress=7_000))
        assert stepped is not None
        assert stepped.progress == 100
        assert (await s.view(task_id)).state == "running"
