"""What is known of a task upstream becomes its next state: one poll, one decision, one write."""

from __future__ import annotations

from tokenmarket.adapters.protocol import UpstreamRequest
from tokenmarket.adapters.video_protocol import (
    Ended,
    Failed,
    Fetch,
    Handle,
    Missing,
    Observation,
    Running,
    Succeeded,
    Unknown,
    VideoAdapter,
)
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.video.projection import TaskError
from tokenmarket.store import tasks as rows
from tokenmarket.store.tasks import TaskChanges, TaskRow
from tokenmarket.tasks.documents import delivered, with_warnings, write
from tokenmarket.tasks.ending import fail
from tokenmarket.tasks.engine import SECOND_US, Engine, handle_of, poll_timeouts
from tokenmarket.tasks.finalizing import Finalizer
from tokenmarket.upstream.credentials import Credential

HOPS_MAX = 4  # exchanges of one poll
TELL_EVERY = 20  # polls that say nothing are told now and then only
MISSING_S = 60  # so long after the create a provider may not know its task yet
COPY_LEASE_US = 30 * 60 * SECOND_US
EXPIRED = TaskError("expired", "The task did not finish in time.", None, True)


class Stepper:
    """Asks and decides. Every method returns the row as it is then, None when somebody was
    faster: there is nothing left to do."""

    def __init__(self, engine: Engine, finalizer: Finalizer) -> None:
        self._engine = engine
        self._finalizer = finalizer

    async def poll(self, row: TaskRow) -> TaskRow | None:
        """One poll of a task that the provider has."""
        return await self.apply(row, await self.observe(row))

    async def observe(self, row: TaskRow) -> Observation:
        """What the provider says now; whatever goes wrong on the way is ``Unknown``."""
        found = self.seat(row)
        if isinstance(found, Unknown):
            return found
        adapter, route, credential = found
        handle = handle_of(row)
        return await self._conversed(
            adapter, route, credential, handle, adapter.poll(handle, route)
        )

    def seat(self, row: TaskRow) -> tuple[VideoAdapter, Route, Credential] | Unknown:
        """Who is asked, where, and with which key."""
        engine = self._engine
        adapter, route = engine.adapters.get(row.adapter), engine.route_of(row)
        if adapter is None or route is None:
            return Unknown(f"the provider {row.provider} is not in the catalog any more")
        credential = engine.upstreams.keyed(route, row.credential_id)
        if credential is None:
            return Unknown(f"there is no key for {row.provider}")
        return adapter, route, credential

    async def _conversed(
        self,
        adapter: VideoAdapter,
        route: Route,
        credential: Credential,
        handle: Handle,
        call: UpstreamRequest,
    ) -> Observation:
        engine = self._engine
        timeouts = poll_timeouts(route.provider.timeouts)
        engine.counts["polls"] += 1
        try:
            head, body = await engine.ask(route, credential, call, timeouts)
            if 200 <= head.status < 300:
                found = adapter.observe(handle, route, head, body)
            else:
                found = adapter.refused(handle, route, head, body)
            for _ in range(HOPS_MAX):
                if not isinstance(found, Fetch):
                    return found
                head, body = await engine.ask(route, credential, found.request, timeouts)
                found = found.read(head, body)
        except UpstreamError as error:
            engine.counts["polls_failed"] += 1
            return Unknown(error.message, poll_after_s=error.retry_after_s)
        return Unknown("too many exchanges for one poll")

    # --- decisions --------------------------------------------------------------------------------

    async def apply(self, row: TaskRow, seen: Observation) -> TaskRow | None:
        """The next state. A row that is over is left alone: terminal states never change."""
        if not row.live:
            return row
        match seen:
            case Succeeded():
                return await self._succeeded(row, seen)
            case Failed():
                if row.state == "finalizing":  # it had succeeded: the first word counts
                    return await self._stay(row, None)
                self._tell_cost(row, seen)
                error = TaskError(
                    seen.code, seen.message[:1000], seen.provider_code, seen.retryable
                )
                return await fail(self._engine, row, "failed", error)
            case Ended():
                if row.state == "finalizing":
                    return await self._stay(row, None)
                self._tell_cost(row, seen)
                error = EXPIRED if seen.state == "expired" else None
                return await fail(self._engine, row, seen.state, error)
            case Running():
                return await self._running(row, seen)
            case Missing():
                since_us = row.submitted_us or row.created_us
                if self._engine.now_us() - since_us > MISSING_S * SECOND_US:
                    self._engine.drop("task_missing", row, note=seen.note[:200])
                return await self._stay(row, None)
            case Unknown():
                if row.polls < 3 or row.polls % TELL_EVERY == 0:
                    self._engine.drop(
                        "task_unknown", row, note=seen.note[:200], said=seen.provider_state[:80]
                    )
                return await self._stay(row, seen.poll_after_s)

    async def _succeeded(self, row: TaskRow, seen: Succeeded) -> TaskRow | None:
        """Copying begins; the row says so first, with everything that copying needs."""
        engine = self._engine
        if row.state != "finalizing":
            now_us = engine.now_us()
            stepped = await rows.transition(
                engine.database,
                row,
                "finalizing",
                outputs_json=write(delivered(seen)),
                warnings_json=with_warnings(row.warnings_json, seen.warnings),
                provider_state=seen.provider_state[:80],
                polls=row.polls + 1,
                started_us=row.started_us or now_us,
                lease_owner=engine.worker_id,
                lease_until_us=now_us + COPY_LEASE_US,
            )
            if stepped is None:
                return None
            row = stepped
        return await self._finalizer.finalize(row, seen)

    async def _running(self, row: TaskRow, seen: Running) -> TaskRow | None:
        engine = self._engine
        if row.state == "finalizing":
            return await self._stay(row, None)
        state = row.state
        if state != "canceling":  # the cancel was asked for; what runs may still succeed
            begun = state == "running" or not seen.queued
            state = "running" if begun else "queued"
        changes: TaskChanges = {"provider_state": seen.provider_state[:80]}
        if seen.progress is not None:
            changes["progress"] = max(0, min(seen.progress, 100))
        if not seen.queued and not row.started_us:
            changes["started_us"] = engine.now_us()
        return await self._wait(row, state, seen.poll_after_s, changes)

    async def _stay(self, row: TaskRow, asked_s: float | None) -> TaskRow | None:
        return await self._wait(row, row.state, asked_s, {})

    async def _wait(
        self, row: TaskRow, state: str, asked_s: float | None, changes: TaskChanges
    ) -> TaskRow | None:
        """Until the next poll, unless time is up."""
        engine = self._engine
        if row.state != "finalizing" and engine.now_us() >= row.deadline_us:
            return await self.expire(row)
        changes["polls"] = row.polls + 1
        changes["next_poll_us"] = engine.next_poll_us(row, asked_s)
        changes["lease_owner"] = ""
        changes["lease_until_us"] = 0
        return await rows.transition(engine.database, row, state, **changes)

    async def expire(self, row: TaskRow) -> TaskRow | None:
        """The deadline: everything is released, and what comes later is dropped."""
        if row.state == "submit_unknown":
            self._engine.drop("submit_lost", row)
            error = TaskError(
                "upstream_timeout", "The provider never confirmed the task.", None, True
            )
            return await fail(self._engine, row, "failed", error)
        ended = await fail(self._engine, row, "expired", EXPIRED)
        if ended is not None and row.upstream_id:
            await self._stop_upstream(row)
        return ended

    async def _stop_upstream(self, row: TaskRow) -> None:
        """What nobody waits for need not be rendered; if it is, the house pays."""
        found = self.seat(row)
        call = None if isinstance(found, Unknown) else found[0].cancel(handle_of(row), found[1])
        if isinstance(found, Unknown) or call is None:
            return
        _, route, credential = found
        try:
            timeouts = poll_timeouts(route.provider.timeouts)
            await self._engine.ask(route, credential, call, timeouts)
        except UpstreamError as error:
            self._engine.drop("cancel_failed", row, why=error.message[:200])

    def _tell_cost(self, row: TaskRow, seen: Failed | Ended) -> None:
        """The customer pays nothing; what the provider keeps is the house's, and is told."""
        if seen.cost is not None:
            self._engine.drop(
                "task_cost_lost", row, amount=seen.cost.amount, currency=seen.cost.currency
            )

    # --- cancel -----------------------------------------------------------------------------------

    async def cancel(self, row: TaskRow) -> TaskRow | None:
        """Ask for the end of a task that the provider has, right after a poll. None where the
        provider does not cancel what is in this state: then nothing has changed."""
        found = self.seat(row)
        if isinstance(found, Unknown):
            return None
        adapter, route, credential = found
        call = adapter.cancel(handle_of(row), route)
        if call is None:
            return None
        stepped = await rows.transition(self._engine.database, row, "canceling")
        if stepped is None:
            return None
        try:
            head, body = await self._engine.ask(
                route, credential, call, poll_timeouts(route.provider.timeouts)
            )
            seen = adapter.cancelled(handle_of(stepped), route, head, body)
        except UpstreamError as error:
            seen = Unknown(f"the cancel failed: {error.message}")
        return await self.apply(stepped, seen)
