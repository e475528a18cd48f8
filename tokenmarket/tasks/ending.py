"""The one end of a task: its money, its usage event with the receipt, and its notice.

Of any number of callers one gets the ended row, the others None (``billing/tasks.py``).
"""

from __future__ import annotations

import asyncio

import msgspec

from tokenmarket.billing.funds import Capture
from tokenmarket.billing.records import UsageEvent
from tokenmarket.billing.tasks import pinned_prices
from tokenmarket.core import ids
from tokenmarket.core.errors import CODES
from tokenmarket.core.pricing import bill
from tokenmarket.core.usage import Item, Usage, sanitize
from tokenmarket.core.video.projection import TaskError, task_object
from tokenmarket.core.video.request import load
from tokenmarket.core.video.states import EVENTS
from tokenmarket.core.video.webhooks import event_body
from tokenmarket.receipts import Failure, ended_receipt
from tokenmarket.store import webhook_endpoints, webhooks
from tokenmarket.store.database import Connection
from tokenmarket.store.money_moves import Unavailable
from tokenmarket.store.tasks import TaskChanges, TaskRow
from tokenmarket.store.webhook_endpoints import NewEvent
from tokenmarket.store.webhooks import NewDelivery
from tokenmarket.tasks.documents import Settled, write
from tokenmarket.tasks.engine import SECOND_US, Engine
from tokenmarket.tasks.views import view

_REPEATS = 3  # of a settlement whose commit nobody answered
_STATUS = {
    "succeeded": "succeeded",
    "failed": "failed",
    "expired": "failed",
    "cancelled": "cancelled",
    "rejected": "rejected",
}
_CODES = {"cancelled": "CLIENT_001", "expired": "PROVIDER_TIMEOUT"}
_encode = msgspec.json.Encoder().encode


async def succeed(
    engine: Engine,
    row: TaskRow,
    used: Usage,
    basis: str,
    changes: TaskChanges,
) -> TaskRow | None:
    """Charge for ``used`` at the pinned prices, release the rest. None: somebody was faster."""
    video = load(row.request_json.encode())
    usage = sanitize(used, video.bound, 0)
    # As journalled: with the attributes, so that the charge can be computed again.
    usage = msgspec.structs.replace(
        usage, attributes={**video.attributes, **(usage.attributes or {})}
    )
    charge_nano, items = bill(pinned_prices(row), usage, video.attributes)
    if not items:
        engine.drop("task_unpriced", row)
    changes["usage_json"] = write(Settled(usage, basis))
    changes["progress"] = 100
    return await _end(engine, row, "succeeded", changes, charge_nano, usage, items)


async def fail(
    engine: Engine, row: TaskRow, state: str, error: TaskError | None, *, told: bool = True
) -> TaskRow | None:
    """Over without a result: failed, cancelled, expired or rejected; everything is released.
    ``told`` False: the caller is being answered, no notice. None: somebody was faster."""
    changes: TaskChanges = {}
    if error is not None:
        changes["error_json"] = write(error)
    return await _end(engine, row, state, changes, told=told)


async def _end(
    engine: Engine,
    row: TaskRow,
    state: str,
    changes: TaskChanges,
    charge_nano: int = 0,
    usage: Usage | None = None,
    items: list[Item] | None = None,
    *,
    told: bool = True,
) -> TaskRow | None:
    def event(capture: Capture) -> UsageEvent:
        return _event(engine, row, state, changes, capture, usage, items or [])

    async def notice(conn: Connection, ended: TaskRow) -> None:
        await _tell(engine, conn, ended)

    ended: TaskRow | None = None
    for attempt in range(_REPEATS):
        try:
            ended = await engine.wallet.tasks.settle(
                row,
                state,
                charge_nano,
                event,
                notice=notice if told else None,
                changes=changes,
            )
            break
        except Unavailable:
            if attempt == _REPEATS - 1:
                raise
            await asyncio.sleep(0)
    if ended is None:
        return None
    engine.counts[f"ended_{state}"] += 1
    engine.telemetry.log.write(
        "info",
        "task_ended",
        task=row.id,
        id=row.request_id,
        org=row.org_id,
        model=row.model,
        provider=row.provider,
        state=state,
        charged_nano=ended.charged_nano,
        held_nano=row.held_nano,
        seconds=(ended.completed_us - row.created_us) // SECOND_US,
        polls=row.polls,
    )
    engine.wake_notices()
    return ended


def _event(
    engine: Engine,
    row: TaskRow,
    state: str,
    changes: TaskChanges,
    capture: Capture,
    usage: Usage | None,
    items: list[Item],
) -> UsageEvent:
    now_us = engine.now_us()
    status = _STATUS[state]
    code = "" if status == "succeeded" else _CODES.get(state, "PROVIDER_001")
    error = None
    if code:
        row_of = CODES[code]
        text = changes.get("error_json") or row.error_json
        known = msgspec.json.decode(text, type=TaskError) if text else TaskError(state, state)
        error = Failure(row_of.type, code, known.code, row_of.status, known.message, row_of.fault)
    return UsageEvent(
        request_id=row.request_id,
        org_id=row.org_id,
        key_id=row.key_id,
        accepted_us=row.created_us,
        finished_us=now_us,
        operation=row.operation,
        model=row.model,
        provider=row.provider,
        status=status,
        error_code=code,
        charge_nano=capture.charged_nano,
        uncollected_nano=capture.uncollected_nano,
        prompt_tokens=0 if usage is None else usage.prompt_tokens,
        completion_tokens=0 if usage is None else usage.completion_tokens,
        units_json="" if usage is None else _encode(usage).decode(),
        price_version=row.price_version,
        receipt=ended_receipt(
            row.receipt,
            capture,
            status=status,
            provider=row.provider,
            price_version=row.price_version,
            duration_us=now_us - row.created_us,
            usage=usage,
            items=items,
            finish_reason=state,
            error=error,
        ),
    )


async def _tell(engine: Engine, conn: Connection, ended: TaskRow) -> None:
    """The order's own callback, and the organisation's endpoints: the same event under one id."""
    kind = EVENTS[ended.state]
    wanted = await webhook_endpoints.is_wanted(conn, ended.org_id, kind)
    if not ended.callback_url and not wanted:
        return
    now_us = engine.now_us()
    event_id = ids.new_id("evt", now_us, engine.randomness(ids.RANDOM_BYTES))
    shown = task_object(view(engine, ended))
    body = event_body(event_id, ended.state, now_us // SECOND_US, shown).decode()
    if ended.callback_url:
        callback = NewDelivery(
            id=event_id,
            org_id=ended.org_id,
            task_id=ended.id,
            url=ended.callback_url,
            type=kind,
            body=body,
            created_us=now_us,
        )
        await webhooks.queue(conn, callback)
    if wanted:
        event = NewEvent(
            id=event_id,
            org_id=ended.org_id,
            type=kind,
            subject=ended.id,
            body=body,
            created_us=now_us,
        )
        await webhook_endpoints.publish(conn, event)
