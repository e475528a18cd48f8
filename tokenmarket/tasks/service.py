"""What the web asks of tasks (``web/video_service.py``); another tenant's is not there.

videos = VideoTasks(engine, …)     wired in app.py
await videos.start()               leases of dead processes are freed, the loops begin
await videos.stop(within_s)        no new steps; running ones finish or give their leases back
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from tokenmarket.accounts import Caller
from tokenmarket.admission import Admission
from tokenmarket.core.tasks import LIVE
from tokenmarket.core.video.projection import TaskError, VideoView
from tokenmarket.core.video.request import VideoRequest
from tokenmarket.core.video.results import Content, Created
from tokenmarket.core.wire import Inbound
from tokenmarket.files.store import StoreFailed
from tokenmarket.settlement import Settlement
from tokenmarket.store import assets, task_leases
from tokenmarket.store import tasks as rows
from tokenmarket.store.tasks import TaskRow
from tokenmarket.tasks.creating import Creator, Order
from tokenmarket.tasks.documents import KeptOutput, read_delivered
from tokenmarket.tasks.ending import fail
from tokenmarket.tasks.engine import Engine
from tokenmarket.tasks.finalizing import Finalizer
from tokenmarket.tasks.polling import Poller, adopt_leases
from tokenmarket.tasks.stepping import Stepper
from tokenmarket.tasks.submitting import Submitter
from tokenmarket.tasks.views import URL_S, view

SWEEP_S = 600.0  # files whose time is over
COUNT_S = 15.0  # tasks by state, for metrics
_ENDINGS = {"video/webm": "webm", "video/quicktime": "mov", "image/png": "png"}
_CANCELLED = TaskError("cancelled", "The task was cancelled before it was sent.")


class VideoTasks:
    """All video tasks of this process: the service and the poller."""

    def __init__(self, engine: Engine, admission: Admission, settlement: Settlement) -> None:
        self.engine = engine
        finalizer = Finalizer(engine)
        self._stepper = Stepper(engine, finalizer)
        submitter = Submitter(engine, self._stepper)
        self._creator = Creator(engine, submitter, admission, settlement)
        self.poller = Poller(engine, self._stepper, finalizer, submitter)
        self._states: dict[str, int] = {}
        self._loops: list[asyncio.Task[None]] = []

    # --- its life ---------------------------------------------------------------------------------

    async def adopt(self) -> None:
        """What dead processes were at work on is free."""
        await adopt_leases(self.engine)

    async def start(self) -> None:
        await self.adopt()
        loop = asyncio.get_running_loop()
        self._loops = [
            loop.create_task(self.poller.run()),
            loop.create_task(self._sweep_forever()),
            loop.create_task(self._count_forever()),
        ]

    async def stop(self, within_s: float) -> None:
        await self.poller.stop(within_s)
        for task in self._loops:
            task.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)

    async def _sweep_forever(self) -> None:
        while True:
            try:
                await self.sweep_files()
            except Exception as error:
                self.engine.telemetry.log.write("error", "assets_sweep", error=repr(error)[:300])
            await asyncio.sleep(SWEEP_S)

    async def _count_forever(self) -> None:
        while True:
            try:
                self._states = await rows.live_counts(self.engine.database)
            except Exception as error:
                self.engine.telemetry.log.write("error", "task_counts", error=repr(error)[:300])
            await asyncio.sleep(COUNT_S)

    def gauges(self) -> Iterable[tuple[str, str, float]]:
        """For ``GET /metrics``."""
        for state in LIVE:
            yield f"tasks_{state}", f"Tasks in state {state}.", self._states.get(state, 0)
        for name, count in self.engine.counts.items():
            yield f"task_events_{name}", f"Since the start: {name.replace('_', ' ')}.", count

    # --- the service ------------------------------------------------------------------------------

    async def create(
        self,
        caller: Caller,
        inbound: Inbound,
        read: Callable[[], Awaitable[VideoRequest]],
        *,
        idempotency_key: str,
    ) -> Created:
        made = await self._creator.create(Order(caller, inbound, idempotency_key, read))
        return Created(view(self.engine, made.row), made.replayed, made.head)

    async def get(self, caller: Caller, task_id: str) -> VideoView | None:
        row = await rows.by_id(self.engine.database, caller.org_id, task_id)
        return None if row is None else await self._view(row)

    async def _view(self, row: TaskRow) -> VideoView:
        refunded_nano = 0
        if row.charged_nano:
            refunded_nano = await rows.refunded_nano(self.engine.database, row)
        return view(self.engine, row, refunded_nano=refunded_nano)

    async def page(
        self,
        caller: Caller,
        *,
        after: str,
        limit: int,
        ascending: bool,
        states: tuple[str, ...],
        model: str,
    ) -> tuple[list[VideoView], bool]:
        found, more = await rows.page(
            self.engine.database,
            caller.org_id,
            after=after,
            limit=limit,
            ascending=ascending,
            states=states,
            model=model,
        )
        return [view(self.engine, row) for row in found], more

    async def cancel(self, caller: Caller, task_id: str) -> VideoView | None:
        """Asks for the end. What was never sent ends here; what the provider has is polled, then
        cancelled there if it can be; anything else stays as it is."""
        database = self.engine.database
        row = await rows.by_id(database, caller.org_id, task_id)
        if row is None:
            return None
        if row.state == "accepted":
            await fail(self.engine, row, "cancelled", _CANCELLED)
        elif row.state in ("queued", "running"):
            polled = await self._stepper.poll(row)
            if polled is not None and polled.state in ("queued", "running"):
                await self._stepper.cancel(polled)
        return await self.get(caller, task_id)

    async def delete(self, caller: Caller, task_id: str) -> bool:
        engine = self.engine
        row = await rows.by_id(engine.database, caller.org_id, task_id)
        if row is None or row.live or not await rows.hide(engine.database, row, engine.now_us()):
            return False
        found = await assets.of_task(engine.database, caller.org_id, task_id)
        for item in found:
            try:
                await engine.shelf.store.delete(item.store_key)
            except StoreFailed as failed:  # it goes when its time is over
                engine.drop("delete_failed", row, why=str(failed)[:200])
        await assets.mark_deleted(engine.database, [item.id for item in found], engine.now_us())
        return True

    async def content(
        self, caller: Caller, task_id: str, variant: str, index: int, *, redirect: bool
    ) -> Content | None:
        row = await rows.by_id(self.engine.database, caller.org_id, task_id)
        if row is None or row.state != "succeeded" or not row.outputs_json:
            return None
        item = _output(read_delivered(row.outputs_json).outputs, variant, index)
        if item is None:
            return None
        if not item.key:
            return None if item.url is None or item.credentialed else Content(location=item.url)
        if self.engine.now_us() >= row.expires_us:
            return None
        if redirect:
            return Content(location=self.engine.shelf.address(item.key, URL_S)[0])
        ending = _ENDINGS.get(item.content_type, "mp4" if item.kind == "video" else "jpg")
        return Content(item.key, item.content_type, f"{task_id}-{variant}-{index}.{ending}")

    async def hint(self, task_id: str) -> None:
        """A provider's notice, or anybody's, that there is news: the task is asked for now. Notices
        are never believed, so any number of them changes nothing but the time of a poll."""
        if await task_leases.hasten(self.engine.database, task_id, self.engine.now_us()):
            self.engine.wake()

    async def sweep_files(self) -> int:
        """Delete files whose time is over; how many."""
        engine = self.engine
        count = 0
        while found := await assets.expired(engine.database, engine.now_us(), 100):
            for item in found:
                await engine.shelf.store.delete(item.store_key)
            await assets.mark_deleted(engine.database, [item.id for item in found], engine.now_us())
            count += len(found)
        return count


def _output(outputs: tuple[KeptOutput, ...], variant: str, index: int) -> KeptOutput | None:
    """The file of the ``index``-th video."""
    films = [item for item in outputs if item.kind == "video"]
    if index >= len(films):
        return None
    if variant == "video":
        return films[index]
    number = films[index].number
    return next((item for item in outputs if item.kind == variant and item.number == number), None)
