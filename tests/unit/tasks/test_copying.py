# pyright: basic
"""The files of a finished task: into our store, and what happens when that fails."""

from __future__ import annotations

from tests.support.video_parts import PUBLIC_URL, Answer, InlineVideos, PublicVideos, film
from tests.support.videos import studio
from tokenmarket.sandbox import painting


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


async def test_what_cannot_be_copied_succeeds_with_the_address_of_the_upstream() -> None:
    async with studio() as s:
        s.tasks.engine.adapters = {"sandbox": PublicVideos(references=True)}
        task_id = await s.made()
        s.provider.status = "completed"
        await s.sweep_for(600, step_s=10)
        row = await s.settled(task_id, "succeeded", "0.04")
        view = await s.view(task_id)
        assert view.warnings == ("asset_not_archived",)
        assert view.outputs[0].url == PUBLIC_URL
        assert row.expires_us == 0
        assert len([url for url, _ in s.postman.downloads if url == PUBLIC_URL]) == 5
        content = await s.tasks.content(s.caller, task_id, "video", 0, redirect=False)
        assert content is not None
        assert (content.key, content.location) == ("", PUBLIC_URL)


async def test_an_address_that_wants_our_key_is_no_result() -> None:
    async with studio() as s:
        task_id = await s.made()
        s.provider.status = "completed"
        s.shelf.store.failing = True
        await s.sweep_for(1500, step_s=20)
        assert (await s.row(task_id)).state == "finalizing"
        await s.sweep_for(800, step_s=20)
        await s.settled(task_id, "failed", "0")


async def test_a_poster_is_kept_beside_the_film_and_never_needed() -> None:
    async with studio() as s:
        s.tasks.engine.adapters = {"sandbox": PublicVideos(references=True)}
        s.postman.pages[PUBLIC_URL] = film()
        task_id = await s.made()
        s.provider.status = "completed"
        await s.sweep_for(10)
        await s.settled(task_id, "succeeded", "0.04")
        [output] = (await s.view(task_id)).outputs
        assert output.thumbnail_url is None
        [_, options] = next(one for one in s.postman.downloads if one[0] == PUBLIC_URL)
        assert options["headers"] == ()  # our key goes nowhere

        s.postman.pages["https://cdn.example/p.png"] = painting.png(
            painting.Picture(bytes(32), 32, 32)
        )
        other = await s.made()
        await s.sweep_for(10)
        [output] = (await s.view(other)).outputs
        assert output.thumbnail_url is not None
        poster = await s.tasks.content(s.caller, other, "thumbnail", 0, redirect=False)
        assert poster is not None
        assert poster.content_type == "image/png"


async def test_a_film_inside_the_answer_is_asked_for_again_after_a_failure() -> None:
    async with studio() as s:
        s.tasks.engine.adapters = {"sandbox": InlineVideos(references=True)}
        task_id = await s.made()
        s.provider.status = "completed"
        s.shelf.store.failing = True
        await s.sweep_for(10)
        assert (await s.row(task_id)).state == "finalizing"
        s.shelf.store.failing = False
        await s.sweep_for(30)
        await s.settled(task_id, "succeeded", "0.04")
        assert s.provider.count("content") == 0
