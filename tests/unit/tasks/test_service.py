# pyright: basic
"""What callers do with tasks: keys, lists, files, deletion, sources, uploads; other tenants."""

from __future__ import annotations

import asyncio
import base64
import copy
from decimal import Decimal
from typing import Any

import pytest

from tests.support.video_parts import timeout
from tests.support.videos import studio
from tokenmarket.core.errors import ApiError
from tokenmarket.sandbox import painting
from tokenmarket.store import assets

PNG = painting.png(painting.Picture(bytes(32), 64, 64))
DATA_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()


async def test_the_same_key_and_order_is_the_same_task() -> None:
    async with studio() as s:
        first = await s.create(key="k")
        again = await s.create(key="k")
        assert (again.view.id, again.replayed) == (first.view.id, True)
        assert s.provider.count("create") == 1
        with pytest.raises(ApiError) as caught:
            await s.create(key="k", prompt="Another")
        assert (caught.value.code, caught.value.reason) == ("IDEMPOTENCY_001", "other_body")
        s.pass_s(25 * 3600)
        other = await s.create(key="k", prompt="Another")
        assert not other.replayed
        assert await s.world.scalar("SELECT COUNT(*) FROM task") == 2


async def test_the_same_key_at_once_makes_one_task() -> None:
    async with studio() as s:
        made = await asyncio.gather(*(s.create(key="k") for _ in range(10)))
        assert len({one.view.id for one in made}) == 1
        assert sum(not one.replayed for one in made) == 1
        assert s.provider.count("create") == 1
        assert (await s.money())[1] == Decimal("0.04")


async def test_a_task_is_not_there_for_others() -> None:
    async with studio() as s:
        task_id = await s.made()
        own = s.caller
        other = copy.copy(own)
        other.org_id = "o2"
        assert await s.tasks.get(other, task_id) is None
        assert await s.tasks.cancel(other, task_id) is None
        assert not await s.tasks.delete(other, task_id)
        assert await s.tasks.content(other, task_id, "video", 0, redirect=False) is None
        assert (await s.tasks.page(other, after="", limit=9, ascending=False, states=(), model=""))[
            0
        ] == []
        assert (await s.view(task_id)).live


async def test_content_until_it_expires() -> None:
    async with studio() as s:
        task_id = await s.made()
        s.provider.status = "completed"
        await s.sweep_for(10)
        found = await s.tasks.content(s.caller, task_id, "video", 0, redirect=False)
        assert found is not None
        assert found.key in s.shelf.store.files
        assert found.content_type == "video/mp4"
        assert found.filename.endswith(".mp4")
        link = await s.tasks.content(s.caller, task_id, "video", 0, redirect=True)
        assert link is not None
        assert link.location is not None
        assert await s.tasks.content(s.caller, task_id, "thumbnail", 0, redirect=False) is None
        s.pass_s(8 * 86_400)
        assert await s.tasks.content(s.caller, task_id, "video", 0, redirect=False) is None
        assert await s.tasks.sweep_files() == 1
        assert s.shelf.store.files == {}
        assert (await s.view(task_id)).state == "succeeded"


async def test_deleting_removes_the_file_and_keeps_the_books() -> None:
    async with studio() as s:
        task_id = await s.made()
        assert not await s.tasks.delete(s.caller, task_id)  # it runs
        s.provider.status = "completed"
        await s.sweep_for(10)
        assert await s.tasks.delete(s.caller, task_id)
        assert s.shelf.store.files == {}
        assert await s.tasks.get(s.caller, task_id) is None
        assert await assets.of_task(s.world.database, "o1", task_id) == []
        assert not await s.tasks.delete(s.caller, task_id)
        await s.settled(task_id, "succeeded", "0.04")


async def test_lists_page_and_filter() -> None:
    async with studio() as s:
        made = []
        for _ in range(3):
            made.append(await s.made())
            s.pass_s(1)

        async def page(**more: object) -> tuple[list[str], bool]:
            known: dict[str, object] = {
                "after": "",
                "limit": 2,
                "ascending": False,
                "states": (),
                "model": "",
            }
            found, has_more = await s.tasks.page(s.caller, **{**known, **more})  # type: ignore[arg-type]
            return [one.id for one in found], has_more

        assert await page() == ([made[2], made[1]], True)
        assert await page(after=made[1]) == ([made[0]], False)
        assert await page(ascending=True, limit=9) == (made, False)
        assert await page(states=("succeeded",)) == ([], False)
        assert await page(model="film-two") == ([], False)


async def test_an_upload_is_kept_for_a_create_that_comes_later() -> None:
    async with studio() as s:
        s.provider.then("create", (429, {}))
        created = await s.create(image=DATA_URL)
        assert created.view.state == "accepted"
        assert len(s.shelf.store.files) == 1
        await s.restart()
        await s.sweep_for(60)
        assert s.provider.count("create") == 2
        assert s.provider.bodies[0] == s.provider.bodies[1]
        assert s.provider.bodies[1]["input_reference"]["image_url"] == DATA_URL


async def test_a_remix_names_its_source_and_needs_a_finished_one() -> None:
    async with studio() as s:
        task_id = await s.made()
        with pytest.raises(ApiError) as caught:
            await s.create(video={"id": task_id})
        assert caught.value.code in ("REQUEST_001", "REQUEST_008")
        with pytest.raises(ApiError) as caught:
            await s.create(video={"id": "video_" + "0" * 34})
        assert caught.value.reason == "video_not_found"


async def test_a_provider_that_knows_no_ids_gets_the_address_of_our_copy() -> None:
    async with studio() as s:
        task_id = await s.made()
        s.provider.status = "completed"
        await s.sweep_for(60)
        await s.create(model="film-more", video={"id": task_id})
        assert s.provider.bodies[-1]["video"].startswith("https://tm.test/files/")


async def test_refusals_before_a_task_have_receipts_and_hold_nothing() -> None:
    async with studio() as s:
        bodies: list[dict[str, Any]] = [
            {"model": "no-such-model"},
            {"seconds": 5},
            {"size": "4000x4000"},
            {"prompt": ""},
            {"provider": "nobody"},
        ]
        for body in bodies:
            with pytest.raises(ApiError):
                await s.create(**body)
        await s.world.wallet.flush()
        count = await s.world.scalar("SELECT COUNT(*) FROM usage_event WHERE status = 'rejected'")
        assert count == 5
        assert await s.money() == (Decimal("1"), Decimal("0"))
        assert s.provider.calls == []


async def test_a_pinned_provider_is_the_only_one() -> None:
    async with studio() as s:
        created = await s.create(model="film-two", provider="two")
        assert created.view.provider == "two"
        s.provider.then("create", (401, {}))
        with pytest.raises(ApiError):
            await s.create(model="film-two", provider="one")
        assert s.provider.count("create") == 2


async def test_metrics_tell_states_and_events() -> None:
    async with studio() as s:
        s.provider.then("create", timeout())
        await s.made()
        names = {name: value for name, _, value in s.tasks.gauges()}
        assert names["task_events_submit_unknown"] == 1
