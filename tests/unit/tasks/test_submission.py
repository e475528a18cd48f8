# pyright: basic
"""The create at a provider: taken, refused, or lost, and nothing is rendered twice."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.support.video_parts import PNG, Answer, BytesVideos, refused, timeout
from tests.support.videos import studio
from tokenmarket.core.errors import ApiError


@pytest.mark.parametrize(
    "reply", [timeout(), timeout("total"), (500, {}), (503, {}), Answer(200, b"", cut=True)]
)
async def test_a_lost_answer_is_found_again_and_never_sent_twice(reply: object) -> None:
    async with studio() as s:
        s.provider.then("create", reply)  # type: ignore[arg-type]  # one of Reply
        created = await s.create()
        assert created.view.state == "submit_unknown"
        task_id = created.view.id
        assert (await s.money())[1] == Decimal("0.04")
        s.provider.status = "completed"
        await s.sweep_for(30)
        row = await s.settled(task_id, "succeeded", "0.04")
        assert row.upstream_id == "up-1"
        assert s.provider.count("create") == 1
        assert s.provider.count("list") >= 1


async def test_a_lost_create_that_cannot_be_found_is_held_until_the_deadline() -> None:
    async with studio() as s:
        s.provider.then("create", timeout())
        task_id = await s.made()
        s.provider.then("list", *[(200, {"data": [], "has_more": True})] * 500)
        await s.sweep_for(1700, step_s=30)
        assert (await s.view(task_id)).state == "submit_unknown"
        assert (await s.money())[1] == Decimal("0.04")
        await s.sweep_for(200, step_s=30)
        row = await s.settled(task_id, "failed", "0")
        assert "upstream_timeout" in row.error_json
        assert s.provider.count("create") == 1
        assert len(s.events("submit_lost")) == 1
        assert s.tasks.engine.counts["submit_lost"] == 1


async def test_a_lost_create_that_is_proven_absent_fails() -> None:
    async with studio() as s:
        s.provider.then("create", timeout())
        task_id = await s.made()
        s.provider.tasks.clear()
        await s.sweep_for(30)
        await s.settled(task_id, "failed", "0")
        assert s.provider.count("create") == 1


async def test_an_answer_without_an_id_may_have_been_taken() -> None:
    async with studio() as s:
        s.provider.then("create", (200, {"status": "queued"}))
        created = await s.create()
        assert created.view.state == "submit_unknown"


async def test_a_refusal_ends_with_an_error_and_nothing_held() -> None:
    async with studio() as s:
        s.provider.then("create", (400, {"error": {"message": "bad prompt", "param": "prompt"}}))
        with pytest.raises(ApiError) as caught:
            await s.create()
        assert (caught.value.status, caught.value.fault) == (400, "caller")
        assert await s.money() == (Decimal("1"), Decimal("0"))
        task_id = await s.world.scalar("SELECT id FROM task")
        await s.settled(task_id, "rejected", "0")
        assert await s.tasks.get(s.caller, task_id) is None  # nobody was told its id
        receipt = await s.receipt(task_id)
        assert (receipt["status"], receipt["attempts"][0]["status"]) == ("rejected", 400)


async def test_a_refusal_leaves_the_idempotency_key_free() -> None:
    async with studio() as s:
        s.provider.then("create", (400, {"error": {"message": "bad"}}))
        with pytest.raises(ApiError):
            await s.create(key="k")
        created = await s.create(key="k")
        assert not created.replayed
        assert s.provider.count("create") == 2


@pytest.mark.parametrize("reply", [refused(), timeout("connect"), (401, {}), (404, {}), (402, {})])
async def test_a_proven_refusal_is_tried_at_the_next_route(reply: object) -> None:
    async with studio() as s:
        s.provider.then("create", reply)  # type: ignore[arg-type]  # one of Reply
        created = await s.create(model="film-two")
        task_id = created.view.id
        assert created.view.provider == "two"
        assert b"x-tokenmarket-attempts: 2\r\n" in created.head
        assert (await s.money())[1] == Decimal("0.12")  # of the dearest route
        s.provider.status = "completed"
        await s.sweep_for(10)
        row = await s.settled(task_id, "succeeded", "0.12")
        assert row.provider == "two"
        assert [call[1] for call in s.provider.calls if call[0] == "create"] == [
            "key-one",
            "key-two",
        ]
        polled = {call[1] for call in s.provider.calls if call[0] == "poll"}
        assert polled == {"key-two"}  # whoever made it is asked for it
        receipt = await s.receipt(task_id)
        assert [a["provider"] for a in receipt["attempts"]] == ["one", "two"]


async def test_a_lost_answer_is_not_tried_elsewhere() -> None:
    async with studio() as s:
        s.provider.then("create", timeout())
        created = await s.create(model="film-two")
        assert (created.view.state, created.view.provider) == ("submit_unknown", "one")
        assert s.provider.count("create") == 1


async def test_a_full_provider_is_waited_for_with_us() -> None:
    async with studio() as s:
        full = (429, {"error": {"message": "too many running tasks"}})
        s.provider.then("create", full, full)
        created = await s.create()
        task_id = created.view.id
        assert (created.view.state, created.view.live) == ("accepted", True)
        await s.sweep_for(120)
        assert s.provider.count("create") == 3
        assert (await s.view(task_id)).state == "queued"
        s.provider.status = "completed"
        await s.sweep_for(30)
        await s.settled(task_id, "succeeded", "0.04")


async def test_a_task_that_is_never_taken_expires() -> None:
    async with studio() as s:
        s.provider.then("create", *[(429, {"error": {"message": "full"}})] * 200)
        task_id = await s.made()
        await s.sweep_for(1900, step_s=30)
        await s.settled(task_id, "expired", "0")


async def test_a_refusal_while_it_waits_ends_the_task() -> None:
    async with studio() as s:
        s.provider.then("create", (429, {}), (400, {"error": {"message": "bad"}}))
        task_id = await s.made()
        await s.sweep_for(120)
        await s.settled(task_id, "failed", "0")


async def test_what_the_caller_requires_is_not_dropped() -> None:
    async with studio() as s:
        with pytest.raises(ApiError) as caught:
            await s.create(prompt_enhance=True, provider={"require_parameters": True})
        assert (caught.value.code, caught.value.param) == ("REQUEST_002", "prompt_enhance")
        assert s.provider.calls == []
        assert await s.money() == (Decimal("1"), Decimal("0"))
        created = await s.create(prompt_enhance=True)
        assert b"x-tokenmarket-dropped-params: prompt_enhance\r\n" in created.head


async def test_an_address_that_cannot_be_fetched_is_the_callers_error() -> None:
    async with studio() as s:
        s.tasks.engine.adapters = {"sandbox": BytesVideos(references=True)}
        with pytest.raises(ApiError) as caught:
            await s.create(image="https://nowhere.example/cat.png")
        assert (caught.value.code, caught.value.param) == ("REQUEST_001", "image")
        assert await s.money() == (Decimal("1"), Decimal("0"))
        s.postman.pages["https://there.example/cat.png"] = PNG
        await s.create(image="https://there.example/cat.png")
        sent = s.provider.bodies[-1]["input_reference"]["image_url"]
        assert sent.startswith("data:image/png;base64,")
