"""``POST /videos``: from a caller's order to a task that is held, written down and sent.

    read -> plan -> resolve at each route -> hold + row (one transaction) -> submit, route by route

Until the row is there, a failure is a request like any other: a receipt and nothing held. After it,
a proven refusal of every route ends the task ``rejected`` and answers with the error; a provider
that is full leaves it waiting with us. A caller that leaves stops nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable

import msgspec

from tokenmarket.accounts import Caller
from tokenmarket.admission import Admission
from tokenmarket.billing.tasks import prices_json
from tokenmarket.core import ids
from tokenmarket.core.errors import ApiError, UpstreamError
from tokenmarket.core.uploads import Upload
from tokenmarket.core.video.abilities import abilities
from tokenmarket.core.video.request import VideoRequest, dump
from tokenmarket.core.wire import Inbound
from tokenmarket.exchange import Exchange
from tokenmarket.files.store import CHUNK_BYTES, StoreFailed
from tokenmarket.receipts import task_receipt
from tokenmarket.replies import caller_error, task_lines
from tokenmarket.settlement import Settlement
from tokenmarket.store import tasks as rows
from tokenmarket.store.tasks import NewTask, TaskExists, TaskRow
from tokenmarket.tasks.choosing import OPERATION, Chooser, ceiling_of
from tokenmarket.tasks.documents import task_error, write
from tokenmarket.tasks.ending import fail
from tokenmarket.tasks.engine import SECOND_US, Engine
from tokenmarket.tasks.polling import BUSY_PAUSE_S, wait_for_room, waits
from tokenmarket.tasks.submitting import Option, Submitter, Taken

DEADLINE_S_MAX = 7 * 86_400
SUBMIT_S = 240  # a create at one route at the longest; the lease of the creator
_encode = msgspec.json.Encoder().encode


class Order(msgspec.Struct, frozen=True):
    """One create as it came. ``read`` gives the order or raises ApiError."""

    caller: Caller
    inbound: Inbound
    idempotency_key: str
    read: Callable[[], Awaitable[VideoRequest]]


class Made(msgspec.Struct, frozen=True):
    """The task, whether the same key made it before, and further header lines of the answer."""

    row: TaskRow
    replayed: bool
    head: bytes


class Creator:
    """Makes tasks."""

    def __init__(
        self,
        engine: Engine,
        submitter: Submitter,
        admission: Admission,
        settlement: Settlement,
    ) -> None:
        self._engine = engine
        self._submitter = submitter
        self._admission = admission
        self._settlement = settlement
        self._chooser = Chooser(engine)

    async def create(self, order: Order) -> Made:
        """Raises ApiError, after the refusal has got its receipt."""
        exchange = Exchange(OPERATION, order.inbound)
        exchange.caller = order.caller
        exchange.idempotency_key = order.idempotency_key or None
        self._admission.limits_of(order.caller)
        try:
            return await self._made(order, exchange)
        except ApiError as error:
            self._refuse(exchange, error)
            raise
        except Exception as crash:
            self._engine.telemetry.crash(exchange.request_id, crash)
            error = ApiError("PLATFORM_002", "An internal error; nothing was charged.")
            self._refuse(exchange, error)
            raise error from crash

    def _refuse(self, exchange: Exchange, error: ApiError) -> None:
        """A receipt for a request that made no task; a task that was made has its own."""
        if exchange.status == "running":
            exchange.error = error
            self._settlement.close(exchange, "failed" if exchange.attempts else "rejected", 0)

    async def _made(self, order: Order, exchange: Exchange) -> Made:
        engine, caller = self._engine, order.caller
        request = await order.read()
        fingerprint = ""
        if order.idempotency_key:
            fingerprint = _fingerprint(request)
            known = await rows.by_key(
                engine.database, caller.org_id, OPERATION, order.idempotency_key, engine.now_us()
            )
            if known is not None and known.state != "rejected":
                return self._replayed(exchange, known, fingerprint)
        source = await self._chooser.source(caller, request)
        options = self._chooser.options(exchange, caller, request, source, order.inbound.body)
        options = await self._with_stored_uploads(caller.org_id, options)
        held_nano = max(ceiling_of(option) for option in options)
        try:
            row = await self._admission.admit_task(
                caller,
                exchange,
                lambda: self._new(order, exchange, options, fingerprint, held_nano),
                held_nano,
                0,
            )
        except TaskExists as exists:
            await self._forget(options)
            return self._replayed(exchange, exists.row, fingerprint)
        except ApiError as refused:
            if refused.code.startswith(("BILLING_", "QUOTA_")):  # others may have made the row
                await self._forget(options)
            raise
        try:
            row = await self._sent(row, options, exchange)
        except ApiError:
            raise
        except Exception as crash:  # the task is there and goes on: that is the answer
            engine.telemetry.crash(exchange.request_id, crash)
            row = await self._left(row)
        finally:
            self._recorded(exchange)
        return Made(row, False, task_lines(exchange))

    def _recorded(self, exchange: Exchange) -> None:
        """The request is over though the task may run on: its place is free, it is counted."""
        exchange.status = "failed" if exchange.error is not None else "succeeded"
        if exchange.ticket is not None:
            exchange.ticket.done(None)
        self._engine.telemetry.finished(exchange, self._engine.clock.monotonic_us())

    def _replayed(self, exchange: Exchange, known: TaskRow, fingerprint: str) -> Made:
        if known.fingerprint != fingerprint:
            raise ApiError(
                "IDEMPOTENCY_001",
                "This Idempotency-Key was used with another body.",
                reason="other_body",
            )
        self._settlement.close(exchange, "succeeded", 0)
        return Made(known, True, task_lines(exchange))

    # --- what is kept -----------------------------------------------------------------------------

    async def _with_stored_uploads(self, org_id: str, options: list[Option]) -> list[Option]:
        """The caller's uploads lie in our store before anything is held: a submission that comes
        later, from another process, needs them, and providers fetch them there."""
        first = options[0].video
        ttl_s = self._deadline_s(options[0]) + 3600
        stored: dict[int, str] = {}
        for number, item in enumerate(first.inputs):
            if item.upload is not None:
                stored[number] = await self._stored(org_id, item.upload, ttl_s)
        if not stored:
            return options
        return [msgspec.structs.replace(option, stored=stored) for option in options]

    async def _forget(self, options: list[Option]) -> None:
        """The uploads of an order that made no task."""
        for key in options[0].stored.values():
            try:
                await self._engine.shelf.store.delete(key)
            except StoreFailed:
                return  # it is swept when its time is over

    async def _stored(self, org_id: str, upload: Upload, ttl_s: int) -> str:
        try:
            key, writer = await self._engine.shelf.open(org_id, upload.content_type, ttl_s)
            try:
                offset = 0
                while piece := upload.read_at(offset, CHUNK_BYTES):
                    await writer.write(piece)
                    offset += len(piece)
                await writer.commit()
            finally:
                await writer.abort()
        except StoreFailed as failed:
            raise ApiError(
                "PLATFORM_001", "The upload cannot be kept at the moment.", retry_after_s=5
            ) from failed
        return key

    def _deadline_s(self, option: Option) -> int:
        adapter = self._engine.adapters[option.route.provider.adapter]
        able = abilities(option.route.model.capabilities)
        return min(able.deadline_s or adapter.deadline_s, DEADLINE_S_MAX)

    def _new(
        self,
        order: Order,
        exchange: Exchange,
        options: list[Option],
        fingerprint: str,
        held_nano: int,
    ) -> NewTask:
        engine, caller, first = self._engine, order.caller, options[0]
        now_us = engine.now_us()
        deadline_us = now_us + self._deadline_s(first) * SECOND_US
        lease_us = now_us + SUBMIT_S * len(options) * SECOND_US
        return NewTask(
            id=ids.new_id("video", now_us, engine.randomness(ids.RANDOM_BYTES)),
            org_id=caller.org_id,
            key_id=caller.key_id,
            request_id=exchange.request_id,
            operation=OPERATION,
            receipt=task_receipt(exchange, held_nano, engine.clock.monotonic_us()),
            created_us=now_us,
            deadline_us=deadline_us,
            next_poll_us=now_us,
            lease_owner=engine.worker_id,
            lease_until_us=lease_us,
            model=first.route.model.id,
            provider=first.route.provider.name,
            upstream_model=first.route.upstream_model,
            adapter=first.route.provider.adapter,
            price_version=first.route.prices.version,
            prices_json=prices_json(first.route.prices),
            request_json=dump(first.video, first.stored).decode(),
            metadata_json=write(first.video.metadata),
            callback_url=first.video.callback_url or "",
            idempotency_key=order.idempotency_key,
            fingerprint=fingerprint,
        )

    # --- sending ----------------------------------------------------------------------------------

    async def _sent(self, row: TaskRow, options: list[Option], exchange: Exchange) -> TaskRow:
        """Route after route until one takes it. Raises ApiError: all refused, and it is ended."""
        full: tuple[Option, float] | None = None
        last: UpstreamError | ApiError = UpstreamError("overloaded", "no route was tried")
        for index, option in enumerate(options):
            if index:
                moved = await self._moved(row, option)
                if moved is None:
                    return await self._reread(row)
                row = moved
            outcome = await self._submitter.submit(row, option, exchange, index)
            if isinstance(outcome, Taken):
                return outcome.row
            row, last = outcome.row, outcome.error
            if waits(last) and full is None:
                pause_s = last.retry_after_s if isinstance(last, UpstreamError) else None
                full = option, pause_s or BUSY_PAUSE_S
            if not _elsewhere(last):
                break
        else:
            if full is not None:
                moved = await self._moved(row, full[0])
                if moved is not None:
                    row = await wait_for_room(self._engine, moved, full[1]) or moved
                self._engine.wake()
                return await self._reread(row)
        error = await self._rejected(row, last, exchange)
        await self._forget(options)
        raise error

    async def _moved(self, row: TaskRow, option: Option) -> TaskRow | None:
        """To another route, within the same hold."""
        route = option.route
        return await rows.transition(
            self._engine.database,
            row,
            "accepted",
            provider=route.provider.name,
            upstream_model=route.upstream_model,
            adapter=route.provider.adapter,
            price_version=route.prices.version,
            prices_json=prices_json(route.prices),
            request_json=dump(option.video, option.stored).decode(),
        )

    async def _rejected(
        self, row: TaskRow, last: UpstreamError | ApiError, exchange: Exchange
    ) -> ApiError:
        if isinstance(last, ApiError):
            error, told = last, task_error(UpstreamError("bad_request", last.message))
        else:
            error, told = caller_error(last, exchange, stream=False), task_error(last)
        exchange.error = error
        engine = self._engine
        receipt = task_receipt(exchange, row.held_nano, engine.clock.monotonic_us())
        row = await rows.transition(engine.database, row, row.state, receipt=receipt) or row
        ended = await fail(engine, row, "rejected", told, told=False)
        if ended is not None:
            await rows.hide(engine.database, ended, engine.now_us())
        return error

    async def _left(self, row: TaskRow) -> TaskRow:
        """To the poller."""
        current = await self._reread(row)
        if current.live and current.lease_owner == self._engine.worker_id:
            await rows.release(self._engine.database, current, self._engine.now_us())
            self._engine.wake()
        return current

    async def _reread(self, row: TaskRow) -> TaskRow:
        return await rows.any_by_id(self._engine.database, row.id) or row


def _elsewhere(error: UpstreamError | ApiError) -> bool:
    """Whether another route may do better; else it is about the order itself."""
    return error.failover if isinstance(error, UpstreamError) else error.code == "REQUEST_002"


def _fingerprint(request: VideoRequest) -> str:
    """Of what was ordered, not of its spelling: a form has another boundary at every attempt."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(_encode(msgspec.structs.replace(request, inputs=())))
    for item in request.inputs:
        digest.update(f"|{item.role}|{item.param}|{item.url or ''}|".encode())
        if item.upload is not None:
            offset = 0
            while piece := item.upload.read_at(offset, CHUNK_BYTES):
                digest.update(piece)
                offset += len(piece)
    return digest.hexdigest()
