"""The loop over due tasks: one per process, each task with one poller because it is leased.

``sweep`` is one round: what is due now is leased and stepped. The loop only decides when the next
round is; tests that own the time call ``sweep`` themselves.
"""

from __future__ import annotations

import asyncio

from tokenmarket.adapters.video_protocol import Absent, Accepted, Succeeded, Unknown
from tokenmarket.core.errors import ApiError, UpstreamError
from tokenmarket.core.file_urls import content_type_of
from tokenmarket.core.uploads import Upload, memory_upload
from tokenmarket.core.video.projection import TaskError
from tokenmarket.core.video.request import ResolvedVideo, load, stored_inputs
from tokenmarket.files.store import StoreFailed
from tokenmarket.store import task_leases
from tokenmarket.store import tasks as rows
from tokenmarket.store.tasks import TaskRow
from tokenmarket.tasks.documents import read_delivered, task_error
from tokenmarket.tasks.ending import fail
from tokenmarket.tasks.engine import SECOND_US, Engine, handle_of, poll_timeouts
from tokenmarket.tasks.finalizing import Finalizer
from tokenmarket.tasks.stepping import COPY_LEASE_US, Stepper
from tokenmarket.tasks.submitting import Option, Refused, Submitter

STEPS_AT_ONCE = 32
LEASE_US = 300 * SECOND_US  # longer than any exchange of a step; copying has its own
QUERIES_PER_S = 10  # at one provider (DashScope's limit for task queries is 20)
IDLE_S = 5.0  # other processes' tasks become due without waking us
CRASH_PAUSE_S = 30.0
BUSY_PAUSE_S = 10.0  # at a provider's limit of running tasks


class Poller:
    """``run`` until ``stop``."""

    def __init__(
        self, engine: Engine, stepper: Stepper, finalizer: Finalizer, submitter: Submitter
    ) -> None:
        self._engine = engine
        self._stepper = stepper
        self._finalizer = finalizer
        self._submitter = submitter
        self._running: dict[asyncio.Task[None], TaskRow] = {}
        self._awake = asyncio.Event()
        self._free_us: dict[str, int] = {}  # provider -> when it may be asked again
        self._stopping = False
        engine.wake = self._awake.set

    async def run(self) -> None:
        """Until it is cancelled. A round that fails is told and tried again."""
        log = self._engine.telemetry.log
        while not self._stopping:
            self._awake.clear()
            pause_s = IDLE_S
            try:
                await self._claim()
                pause_s = await self._pause_s()
            except Exception as error:
                log.write("error", "task_poller", error=repr(error)[:300])
            try:
                await asyncio.wait_for(self._awake.wait(), pause_s)
            except TimeoutError:
                continue

    async def sweep(self) -> int:
        """Everything that is due now, stepped to its end; how many steps."""
        count = 0
        while started := await self._claim():
            count += started
            await asyncio.gather(*self._running, return_exceptions=True)
        return count

    async def stop(self, within_s: float) -> None:
        """No new steps; running ones finish, or give their leases back."""
        self._stopping = True
        self._awake.set()
        if self._running:
            await asyncio.wait(list(self._running), timeout=within_s)
        left = dict(self._running)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        for row in left.values():
            await rows.release(self._engine.database, row, self._engine.now_us())

    async def _pause_s(self) -> float:
        if len(self._running) >= STEPS_AT_ONCE:
            return IDLE_S  # the end of a step wakes us
        due_us = await rows.next_due_us(self._engine.database)
        if due_us is None:
            return IDLE_S
        return max(0.02, min(IDLE_S, (due_us - self._engine.now_us()) / SECOND_US))

    async def _claim(self) -> int:
        """Lease what is due, as much as there is room for, and start a step for each."""
        room = STEPS_AT_ONCE - len(self._running)
        if room <= 0 or self._stopping:
            return 0
        engine = self._engine
        now_us = engine.now_us()
        claimed = await rows.claim_due(engine.database, engine.worker_id, now_us, LEASE_US, room)
        started = 0
        for row in claimed:
            turn_us = self._turn_us(row.provider, now_us)
            if turn_us > now_us:
                await rows.release(engine.database, row, turn_us)
                continue
            started += 1
            task = asyncio.get_running_loop().create_task(self._step(row))
            self._running[task] = row
            task.add_done_callback(self._ended)
        return started

    def _turn_us(self, provider: str, now_us: int) -> int:
        """When this provider may be asked: so many queries in a second, the rest after them."""
        allowance_us = SECOND_US
        each_us = SECOND_US // QUERIES_PER_S
        free_us = max(self._free_us.get(provider, 0), now_us)
        self._free_us[provider] = free_us + each_us
        return now_us if free_us - now_us < allowance_us else free_us

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        self._awake.set()

    # --- one step ---------------------------------------------------------------------------------

    async def _step(self, row: TaskRow) -> None:
        engine = self._engine
        try:
            stepped = await self._stepped(row)
            if stepped is None:  # somebody was faster: look again at once
                await rows.release(engine.database, row, engine.now_us())
        except asyncio.CancelledError:
            raise
        except Exception as error:
            engine.counts["step_crashes"] += 1
            engine.telemetry.crash(row.request_id, error)
            again_us = engine.now_us() + engine.jittered_us(CRASH_PAUSE_S)
            await rows.release(engine.database, row, again_us)

    async def _stepped(self, row: TaskRow) -> TaskRow | None:
        match row.state:
            case "accepted":
                return await self._submit(row)
            case "submitting":  # whoever sent it is gone
                return await self._lost(row)
            case "submit_unknown":
                return await self._reconcile(row)
            case "finalizing":
                return await self._finalize(row)
            case _:
                return await self._stepper.poll(row)

    async def _submit(self, row: TaskRow) -> TaskRow | None:
        """A task that was never sent: its provider was full, or its process died before."""
        engine = self._engine
        if engine.now_us() >= row.deadline_us:
            return await self._stepper.expire(row)
        route = engine.route_of(row)
        if route is None:
            error = TaskError("upstream_error", "The provider is not offered any more.")
            return await fail(engine, row, "failed", error)
        try:
            option = Option(route, await self._order(row))
        except StoreFailed as failed:
            engine.drop("task_inputs_lost", row, why=str(failed)[:200])
            return await self._again(row, CRASH_PAUSE_S)
        outcome = await self._submitter.submit(row, option, None)
        if not isinstance(outcome, Refused):
            return outcome.row
        error = outcome.error
        if isinstance(error, ApiError):
            told = TaskError("invalid_input_media", error.message)
            return await fail(engine, outcome.row, "failed", told)
        if waits(error):
            return await self._again(outcome.row, error.retry_after_s or BUSY_PAUSE_S)
        return await fail(engine, outcome.row, "failed", task_error(error))

    async def _again(self, row: TaskRow, pause_s: float) -> TaskRow | None:
        return await wait_for_room(self._engine, row, pause_s)

    async def _order(self, row: TaskRow) -> ResolvedVideo:
        """The order with the caller's uploads, read back from our store. Raises StoreFailed."""
        document = row.request_json.encode()
        uploads: dict[str, Upload] = {}
        for key in stored_inputs(document):
            chunks: list[bytes] = []
            try:
                async for chunk in self._engine.shelf.store.read(key):
                    chunks.append(chunk)
            except KeyError:
                raise StoreFailed("an upload of the caller is not kept any more") from None
            uploads[key] = memory_upload(
                b"".join(chunks), field="input", filename="file", content_type=content_type_of(key)
            )
        return load(document, uploads)

    async def _lost(self, row: TaskRow) -> TaskRow | None:
        """Perhaps sent, and nobody waits for the answer any more."""
        engine = self._engine
        engine.drop("submit_unknown", row, why="the process that sent it ended")
        stepped = await rows.transition(engine.database, row, "submit_unknown")
        return None if stepped is None else await self._reconcile(stepped)

    async def _reconcile(self, row: TaskRow) -> TaskRow | None:
        """Look for a create whose answer never came."""
        seen = await self._looked_for(row)
        if isinstance(seen, Accepted):
            self._engine.counts["reconciled"] += 1
            return await self._submitter.adopt(row, seen, load(row.request_json.encode()))
        if isinstance(seen, Absent):
            # Proven absent; but a create in flight may still arrive, and two films cost twice.
            error = TaskError("upstream_timeout", "The provider never got the task.", None, True)
            return await fail(self._engine, row, "failed", error)
        return await self._stepper.apply(row, seen)

    async def _looked_for(self, row: TaskRow) -> Accepted | Absent | Unknown:
        engine = self._engine
        found = self._stepper.seat(row)
        if isinstance(found, Unknown):
            return found
        adapter, route, credential = found
        call = adapter.reconcile(handle_of(row), route)
        if call is None:
            return Unknown("the provider cannot be asked for it")
        timeouts = poll_timeouts(route.provider.timeouts)
        try:
            head, body = await engine.ask(route, credential, call, timeouts)
        except UpstreamError as error:
            return Unknown(error.message)
        return adapter.reconciled(handle_of(row), route, head, body)

    async def _finalize(self, row: TaskRow) -> TaskRow | None:
        """Copying goes on: after a failed try with fresh addresses, if the provider gives any."""
        engine = self._engine
        held = await rows.transition(
            engine.database,
            row,
            "finalizing",
            lease_owner=engine.worker_id,
            lease_until_us=engine.now_us() + COPY_LEASE_US,
        )
        if held is None:
            return None
        kept = read_delivered(held.outputs_json)
        seen: Succeeded | None = None
        if kept.tries or any(item.url is None and not item.key for item in kept.outputs):
            observed = await self._stepper.observe(held)
            seen = observed if isinstance(observed, Succeeded) else None
        return await self._finalizer.finalize(held, seen)


async def wait_for_room(engine: Engine, row: TaskRow, pause_s: float) -> TaskRow | None:
    """The provider runs as many as it may: the task waits with us, and is sent later."""
    engine.counts["queued_by_us"] += 1
    age_s = (engine.now_us() - row.created_us) / SECOND_US
    pause_s = max(pause_s, min(60.0, age_s / 4))
    at_us = min(engine.now_us() + engine.jittered_us(pause_s), row.deadline_us)
    return await rows.transition(
        engine.database,
        row,
        "accepted",
        next_poll_us=at_us,
        lease_owner="",
        lease_until_us=0,
    )


def waits(error: UpstreamError | ApiError) -> bool:
    """Whether a refusal is about how much runs there now, and not about the task."""
    return isinstance(error, UpstreamError) and error.kind in ("rate_limited", "overloaded")


async def adopt_leases(engine: Engine) -> None:
    """At start: what dead processes were at work on is free at once."""
    count = await task_leases.take_over(engine.database)
    if count:
        engine.telemetry.log.write("info", "tasks_taken_over", count=count)
