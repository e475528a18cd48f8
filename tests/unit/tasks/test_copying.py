# pyright: basic
"""The files of a finished task: into our store, and what happens when that fails."""

from __future__ import annotations

from tests.support.videos import Answer, studio


async def test_copying_is_tried_again() -> None:
    async with studio() as s:
        task_id = await s.made()
        s.provider.status = "completed"
        s.provider.then("content", (503, {}), Answer(200, b"<html>sorry</html>"))
        await s.sweep_for(10)
        view = await s.view(task_id)
        assert (view.state, view.outputs) == ("finalizing", ())
        await s.sweep_for(60)
        await s.settled(task_id, "succeeded", "0.04")
        assert (await s.view(task_id)).warnings == ()


async def test_a_full_disk_does_not_lose_the_film() -> None:
    async with studio() as s:
        task_id = await s.made()
        s.provider.status = "completed"
        s.shelf.store.failing = True
        await s.sweep_for(20)
        assert (await s.row(task_id)).state == "finalizing"
        s.shelf.store.failing = False
        await s.sweep_for(60)
        await s.settled(task_id, "succeeded", "0.04")


async def test_what_cannot_be_copied_succeeds_with_a_warning() -> None:
    async with studio() as s:
        task_id = await s.made()
        s.provider.status = "completed"
        s.shelf.store.failing = True
        await s.sweep_for(600, step_s=10)
        row = await s.settled(task_id, "succeeded", "0.04")
        view = await s.view(task_id)
        assert view.warnings == ("asset_not_archived",)
        assert row.expires_us == 0
        assert view.outputs[0].url == ""  # the address needs the provider's key
