"""Money of asynchronous tasks: a durable hold with the task, and its one end with the task's.

    row = await wallet.tasks.create(funds, new, ceiling)              # hold + task row, or neither
    row = await wallet.tasks.settle(row, "succeeded", charge, event)  # capture, release the rest
    row = await wallet.tasks.void(row, "failed", event)               # … or release all
    await wallet.tasks.refund(task_id, "…")                           # undone after it was charged

What a reader must know:

* Each of these is one SQL transaction. ``settle`` and ``void`` step the task by compare-and-set: of
  any number of callers one gets the row, the others None. Transfer ids are unique besides.
* The money of a hold comes out of this process's leases (in one process they have all of it), first
  in memory, then in SQL; it goes back to SQL, and the next ``refill`` finds it there.
* No journal: what is answered is committed. While a task runs its receipt is the task row's
  ``receipt``; the usage event, and with it the charge, appears at the end.
* The charge is at most the hold. What is due above it is uncollected, the house's loss.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from tokenmarket.billing.clock import Clock
from tokenmarket.billing.funds import Capture, Funds, InsufficientFunds
from tokenmarket.billing.leases import Leases
from tokenmarket.billing.poster import transfer_ids
from tokenmarket.billing.records import UsageEvent
from tokenmarket.billing.till import Till
from tokenmarket.core.pricing import PriceRow, PriceSheet
from tokenmarket.ledger.accounts import REVENUE
from tokenmarket.ledger.refunds import refund_task
from tokenmarket.store import money_holds
from tokenmarket.store.database import Connection, Database
from tokenmarket.store.money_holds import Part
from tokenmarket.store.money_ledger import Transfer
from tokenmarket.store.money_moves import Rejected, Unavailable, money_transaction
from tokenmarket.store.money_posting import EVENT_COLUMNS
from tokenmarket.store.tasks import (
    NewTask,
    TaskChanges,
    TaskRow,
    any_by_id,
    end_row,
    insert_task,
)

Event = Callable[[Capture], UsageEvent]
Notice = Callable[[Connection, TaskRow], Awaitable[None]]

REFILLS_MAX = 4
_COLUMNS = tuple(name for name in EVENT_COLUMNS if name not in ("windows", "receipt"))
_NO_CHANGES: TaskChanges = {}


class TaskMoney:
    """``wallet.tasks``."""

    def __init__(
        self,
        database: Database,
        worker_id: str,
        leases: Leases,
        till: Till,
        funds: Mapping[tuple[str, str], Funds],
        clock: Clock,
    ) -> None:
        self._database = database
        self._worker_id = worker_id
        self._leases = leases
        self._till = till
        self._funds = funds
        self._clock = clock

    async def create(self, funds: Funds, new: NewTask, amount_nano: int) -> TaskRow:
        """Hold ``amount_nano`` and make the task in state ``accepted``, in one transaction.

        Raises InsufficientFunds (money in SQL has been looked for), SpendLimitReached,
        AdmissionStopped, TaskExists (by idempotency key), Rejected, Unavailable.
        """
        if amount_nano < 0:
            raise ValueError("a hold is not negative")
        if (new.org_id, new.key_id) != (funds.pool.org_id, funds.key_id):
            raise ValueError("the task belongs to somebody else than the funds")
        for attempt in range(REFILLS_MAX + 1):
            try:
                return await self._create(funds, new, amount_nano)
            except InsufficientFunds:
                # As in admission: again only while it is not known what there is.
                if attempt == REFILLS_MAX or (attempt and not funds.stale):
                    raise
                await self._leases.refill(funds, amount_nano, new.model)
            except Unavailable:
                self._stale(new.org_id)
                found = await any_by_id(self._database, new.id)
                if found is None:
                    raise
                return found  # only the answer was lost
        raise AssertionError("the last attempt returns or raises")

    async def _create(self, funds: Funds, new: NewTask, amount_nano: int) -> TaskRow:
        async def write(parts: Sequence[Part]) -> TaskRow:
            async with money_transaction(self._database) as conn:
                row = await insert_task(conn, new, amount_nano)
                await money_holds.take(
                    conn,
                    self._worker_id,
                    new.id,
                    new.org_id,
                    parts,
                    new.deadline_us,
                    new.created_us,
                )
                return row

        return await self._leases.make_durable(
            funds.pool, lambda: self._till.parts_now(funds, amount_nano, new.model), write
        )

    async def settle(
        self,
        row: TaskRow,
        to_state: str,
        charge_nano: int,
        event: Event,
        *,
        notice: Notice | None = None,
        changes: TaskChanges = _NO_CHANGES,
    ) -> TaskRow | None:
        """End the task: capture at most the hold, release the rest, write the usage event with the
        receipt, and queue what the customer is told, in one transaction.

        None if the row is not as ``row`` says any more: nothing has happened, read it again.
        ``event`` gets the capture and must carry its amounts; ``notice`` gets the ended row and the
        transaction to write in.
        Raises ValueError for a step that does not exist, Rejected, Unavailable (repeat it: if it
        had come through after all, the answer is None).
        """
        if charge_nano < 0:
            raise ValueError("a charge is not negative")

        async def write() -> TaskRow | None:
            async with money_transaction(self._database) as conn:
                return await self._end(conn, row, to_state, charge_nano, event, notice, changes)

        try:
            return await self._leases.end_durable(row.org_id, row.held_nano, write)
        finally:
            self._stale(row.org_id)

    async def void(
        self,
        row: TaskRow,
        to_state: str,
        event: Event,
        *,
        notice: Notice | None = None,
        changes: TaskChanges = _NO_CHANGES,
    ) -> TaskRow | None:
        """End the task with nothing due: the whole hold is released. As ``settle`` otherwise."""
        return await self.settle(row, to_state, 0, event, notice=notice, changes=changes)

    async def refund(self, task_id: str, reason: str) -> int:
        """Give back what is left of a charged task's charge, once per task.

        For a task that turned out failed after it was charged; its state stays. Returns the amount,
        0 if there is nothing (more) to give back. Raises Unavailable.
        """
        row = await any_by_id(self._database, task_id)
        if row is None or not row.charged_nano:
            return 0
        back = await refund_task(
            self._database,
            task_id=task_id,
            request_id=row.request_id,
            reason=reason,
            now_us=self._clock.wall_us(),
        )
        self._stale(row.org_id)
        return back

    async def _end(
        self,
        conn: Connection,
        row: TaskRow,
        to_state: str,
        charge_nano: int,
        event: Event,
        notice: Notice | None,
        changes: TaskChanges,
    ) -> TaskRow | None:
        now_us = self._clock.wall_us()
        captured = min(charge_nano, row.held_nano)
        ended = await end_row(conn, row, to_state, captured, now_us, changes)
        if ended is None:
            return None
        legs, windows = await money_holds.end(conn, row.id, captured)
        names = transfer_ids(row.request_id, len(legs)) if legs else ()
        uncollected = charge_nano - captured
        told = event(Capture(captured, uncollected, row.held_nano - captured, names))
        _check(row, captured, uncollected, told)
        await money_holds.record_captures(
            conn,
            [
                Transfer(
                    name,
                    row.org_id,
                    "capture",
                    account,
                    REVENUE,
                    amount,
                    row.request_id,
                    "",
                    told.finished_us,
                )
                for name, (account, amount) in zip(names, legs, strict=True)
            ],
        )
        facts = {name: getattr(told, name) for name in _COLUMNS}
        facts |= {"windows": " ".join(windows), "receipt": _text(told.receipt), "refunded_nano": 0}
        await money_holds.record_event(conn, facts)
        if notice is not None:
            await notice(conn, ended)
        return ended

    def _stale(self, org_id: str) -> None:
        """There may be more in SQL than we leased: the next hold looks."""
        for (owner, _), funds in self._funds.items():
            if owner == org_id:
                funds.stale = True


def _check(row: TaskRow, captured: int, uncollected: int, told: UsageEvent) -> None:
    if (told.charge_nano, told.uncollected_nano) != (captured, uncollected):
        raise ValueError("the event must carry the amounts of the capture")
    if (told.request_id, told.org_id) != (row.request_id, row.org_id):
        raise ValueError("the event belongs to another request")
    if told.accepted_us != row.created_us:  # what spend limits set later count by
        raise ValueError("the event was accepted when the task was")
    if told.answer is not None:
        raise ValueError("a task's answer is the task, it is not kept twice")


def _text(receipt: bytes) -> str:
    try:
        return receipt.decode()
    except UnicodeDecodeError as error:
        raise Rejected(str(error)) from error


def prices_json(sheet: PriceSheet) -> str:
    """The pinned prices, for ``NewTask.prices_json``."""
    return msgspec.json.encode(sheet.rows).decode()


def pinned_prices(row: TaskRow) -> PriceSheet:
    """The prices a task was accepted at, whatever the catalog says now."""
    rows = msgspec.json.decode(row.prices_json, type=tuple[PriceRow, ...])
    return PriceSheet(row.price_version, rows)
