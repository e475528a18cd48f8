"""The create at a provider, once: taken, refused, or nobody knows.

    accepted -> submitting -> queued | running | finalizing   taken
                           -> accepted                        refused, and that is proven
                           -> submit_unknown                  sent, and no answer that says anything

A connection that was not made, an answer that the adapter calls a refusal, and what fails before
the create itself (fetching the caller's pictures, an upload step) prove that nothing was begun.
Everything else may have been taken.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tokenmarket.adapters.protocol import UpstreamRequest
from tokenmarket.adapters.video_protocol import (
    Accepted,
    Before,
    Running,
    Unknown,
    VideoAdapter,
)
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import ApiError, UpstreamError
from tokenmarket.core.media_inputs import checked
from tokenmarket.core.trace import continued, trace_id
from tokenmarket.core.uploads import Input, memory_upload
from tokenmarket.core.video.capabilities import for_provider
from tokenmarket.core.video.request import ResolvedVideo
from tokenmarket.core.wording import say
from tokenmarket.exchange import Attempt, Exchange
from tokenmarket.receipts import task_receipt
from tokenmarket.store import tasks as rows
from tokenmarket.store.tasks import TaskChanges, TaskRow
from tokenmarket.tasks.documents import with_warnings, write
from tokenmarket.tasks.engine import SECOND_US, Engine, create_timeouts
from tokenmarket.tasks.stepping import Stepper
from tokenmarket.upstream.credentials import Credential
from tokenmarket.upstream.fetch import FetchRefused

INPUT_BYTES_MAX = 100 * 1024 * 1024
INPUT_URL_S = 2 * 3600  # a provider fetches the caller's uploads from us within this time
BEFORE_MAX = 8  # steps before a create
_NOT_SENT = ("connect",)  # kinds, and stages of timeouts, that come before the first byte


class Option(msgspec.Struct, frozen=True):
    """A route to try, and the order as its model takes it. ``stored``: number of an input -> key
    of its bytes in our store."""

    route: Route
    video: ResolvedVideo
    stored: Mapping[int, str] = {}
    credential_id: str = ""  # of the account that has the source; "": any


class Taken(msgspec.Struct, frozen=True):
    """The row goes on by itself: taken, unknown, or changed by somebody else (then as it is)."""

    row: TaskRow


class Refused(msgspec.Struct, frozen=True):
    """Proven: nothing was begun. ``row`` is live, and may be submitted elsewhere."""

    row: TaskRow
    error: UpstreamError | ApiError


class Submitter:
    """Sends creates. ``stepper`` takes what the answer already says about the task."""

    def __init__(self, engine: Engine, stepper: Stepper) -> None:
        self._engine = engine
        self._stepper = stepper

    async def submit(
        self, row: TaskRow, option: Option, exchange: Exchange | None, index: int = 0
    ) -> Taken | Refused:
        """One attempt at one route, for a row in state ``accepted`` whose lease is ours.

        ``exchange`` is the caller's request while it waits; None: the poller does it."""
        engine, route = self._engine, option.route
        adapter = engine.adapters.get(row.adapter)
        if adapter is None:
            error = UpstreamError("not_found", f"there is no video adapter {row.adapter!r}")
            return Refused(row, error)
        attempt = exchange and exchange.begin_attempt(index, route, engine.clock.monotonic_us())
        failure: UpstreamError | None = None
        answered_us: int | None = None
        try:
            video = for_provider(option.video, route.provider.name)
            video = msgspec.structs.replace(
                video, inputs=await self._inputs(adapter, video, option)
            )
            call = adapter.build(
                video,
                route,
                task_id=row.id,
                now_s=engine.now_us() // SECOND_US,
                callback_url=engine.notice_url(row.id),
            )
            _check_dropped(call, video, route)
            if exchange is not None:
                call = _traced(call, exchange)
            credential = self._credential(option)
        except (UpstreamError, ApiError) as error:
            failure = error if isinstance(error, UpstreamError) else None
            self._ended(exchange, index, failure)
            return Refused(row, error)
        began_us = engine.clock.monotonic_us()
        try:
            if attempt is not None:
                attempt.credential_id = credential.id
            outcome = await self._send(row, option, adapter, video, credential, call, attempt)
            if isinstance(outcome, Refused) and isinstance(outcome.error, UpstreamError):
                failure = outcome.error
            answered_us = engine.clock.monotonic_us() - began_us
        except UpstreamError as error:  # nobody knows
            failure = error
            outcome = Taken(await self._unknown(row, error.message))
        finally:
            self._ended(exchange, index, failure)
            engine.upstreams.release(route, credential, failure, first_byte_us=answered_us)
        if isinstance(outcome, Taken) and exchange is not None:
            exchange.dropped_params = _dropped(call)
            return Taken(await self._with_receipt(outcome.row, exchange))
        return outcome

    def _credential(self, option: Option) -> Credential:
        engine = self._engine
        credential = engine.upstreams.acquire(option.route)
        if option.credential_id and credential.id != option.credential_id:
            engine.upstreams.release(option.route, credential, None, first_byte_us=None)
            raise UpstreamError("rate_limited", "the key that made the source is not free")
        return credential

    # --- the exchange -----------------------------------------------------------------------------

    async def _send(
        self,
        row: TaskRow,
        option: Option,
        adapter: VideoAdapter,
        video: ResolvedVideo,
        credential: Credential,
        call: UpstreamRequest | Before,
        attempt: Attempt | None,
    ) -> Taken | Refused:
        """Raises UpstreamError when it is not known what came of the create."""
        engine, route = self._engine, option.route
        timeouts = create_timeouts(route.provider.timeouts)
        stepped = await rows.transition(
            engine.database,
            row,
            "submitting",
            credential_id=credential.id,
            submitted_us=engine.now_us(),
        )
        if stepped is None:
            return Taken(await self._reread(row))
        row = stepped
        try:
            for _ in range(BEFORE_MAX):
                if not isinstance(call, Before):
                    break
                head, body = await engine.ask(route, credential, call.request, timeouts)
                if not 200 <= head.status < 300:
                    raise adapter.explain(head, body)
                call = call.then(head, body)
            if isinstance(call, Before):
                raise UpstreamError("upstream_error", "too many steps before the create")
        except UpstreamError as error:
            return await self._refused(row, error)
        try:
            head, body = await engine.ask(route, credential, call, timeouts)
        except UpstreamError as error:
            if error.status is None and (error.kind in _NOT_SENT or error.stage in _NOT_SENT):
                return await self._refused(row, error)
            raise
        if attempt is not None:
            attempt.status = head.status
            attempt.upstream_request_id = head.headers.get("x-request-id")
        if not 200 <= head.status < 300:
            error = adapter.explain(head, body)
            if adapter.not_accepted(head, body):
                return await self._refused(row, error)
            raise error
        try:
            accepted = adapter.accepted(video, route, head, body)
        except UpstreamError as error:
            return await self._refused(row, error)
        if isinstance(accepted, Unknown):
            return Taken(await self._unknown(row, accepted.note))
        return Taken(await self.adopt(row, accepted, video))

    async def adopt(self, row: TaskRow, accepted: Accepted, video: ResolvedVideo) -> TaskRow:
        """The provider has the task: remember its name there, and what it says already."""
        engine, seen = self._engine, accepted.observation
        running = isinstance(seen, Running) and not seen.queued
        now_us = engine.now_us()
        changes: TaskChanges = {
            "upstream_id": accepted.upstream_id,
            "upstream_ref_json": write(accepted.ref),
            "warnings_json": with_warnings(row.warnings_json, accepted.warnings),
            "next_poll_us": engine.first_poll_us(row, video),
            "lease_owner": "",
            "lease_until_us": 0,
        }
        if isinstance(seen, Running):
            changes["provider_state"] = seen.provider_state[:80]
            changes["progress"] = seen.progress
            if running:
                changes["started_us"] = now_us
        over = not isinstance(seen, Running)
        if over:  # keep the lease: the next step follows at once
            del changes["lease_owner"], changes["lease_until_us"]
        state = "running" if running else "queued"
        stepped = await rows.transition(engine.database, row, state, **changes)
        if stepped is None:
            return await self._reread(row)
        if over:
            return await self._stepper.apply(stepped, seen) or await self._reread(row)
        engine.wake()
        return stepped

    async def _refused(self, row: TaskRow, error: UpstreamError) -> Refused | Taken:
        stepped = await rows.transition(self._engine.database, row, "accepted", submitted_us=0)
        if stepped is None:
            return Taken(await self._reread(row))
        return Refused(stepped, error)

    async def _unknown(self, row: TaskRow, why: str) -> TaskRow:
        """Perhaps taken: it is never sent again, only looked for."""
        engine = self._engine
        current = await self._reread(row)
        if current.state != "submitting":
            return current
        engine.drop("submit_unknown", current, why=why[:200])
        stepped = await rows.transition(
            engine.database,
            current,
            "submit_unknown",
            next_poll_us=engine.next_poll_us(current),
            lease_owner="",
            lease_until_us=0,
        )
        engine.wake()
        return stepped or await self._reread(row)

    async def _reread(self, row: TaskRow) -> TaskRow:
        return await rows.any_by_id(self._engine.database, row.id) or row

    # --- around it --------------------------------------------------------------------------------

    async def _inputs(
        self, adapter: VideoAdapter, video: ResolvedVideo, option: Option
    ) -> tuple[Input, ...]:
        """The caller's files as this provider takes them. ApiError(REQUEST_001)."""
        if adapter.inputs == "bytes":
            return tuple([await self._fetched(item) for item in video.inputs])
        if adapter.inputs == "url":
            return tuple(self._published(n, item, option) for n, item in enumerate(video.inputs))
        return video.inputs

    async def _fetched(self, item: Input) -> Input:
        if item.url is None:
            return item
        try:
            _, data = await self._engine.fetcher.read(item.url, bytes_max=INPUT_BYTES_MAX)
        except FetchRefused as refused:
            raise ApiError(
                "REQUEST_001",
                say("The address cannot be fetched: {message}.", message=refused.message),
                param=item.param,
                reason=refused.reason,
            ) from None
        upload = memory_upload(data, field=item.param, filename=item.role, content_type="")
        return checked(Input(item.role, item.param, upload=upload))

    def _published(self, number: int, item: Input, option: Option) -> Input:
        key = option.stored.get(number)
        if item.upload is None or key is None:
            return item
        return Input(item.role, item.param, url=self._engine.shelf.address(key, INPUT_URL_S)[0])

    def _ended(self, exchange: Exchange | None, index: int, error: UpstreamError | None) -> None:
        if exchange is not None:
            exchange.end_attempt(index, self._engine.clock.monotonic_us(), error)

    async def _with_receipt(self, row: TaskRow, exchange: Exchange) -> TaskRow:
        """What the create did, onto the receipt; the task may be over already."""
        if not row.live:
            return row
        receipt = task_receipt(exchange, row.held_nano, self._engine.clock.monotonic_us())
        stepped = await rows.transition(self._engine.database, row, row.state, receipt=receipt)
        return stepped or await self._reread(row)


def _dropped(call: UpstreamRequest | Before) -> tuple[str, ...]:
    return call.request.dropped if isinstance(call, Before) else call.dropped


def _check_dropped(call: UpstreamRequest | Before, video: ResolvedVideo, route: Route) -> None:
    """ApiError(REQUEST_002) if something would be dropped that the caller requires."""
    dropped = _dropped(call)
    if dropped and video.choice is not None and video.choice.require_parameters:
        raise ApiError(
            "REQUEST_002",
            say(
                "{provider_name} does not take {dropped}.",
                provider_name=route.provider.name,
                dropped=", ".join(dropped),
            ),
            param=dropped[0],
        )


def _traced(call: UpstreamRequest | Before, exchange: Exchange) -> UpstreamRequest | Before:
    """The caller's trace is continued upstream."""
    traceparent = exchange.inbound.headers.get(b"traceparent")
    if isinstance(call, Before) or traceparent is None or trace_id(traceparent) is None:
        return call
    header = ("traceparent", continued(traceparent, exchange.request_id))
    return msgspec.structs.replace(call, headers=(*call.headers, header))
