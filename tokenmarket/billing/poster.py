"""Moves the journal into SQL, in batches, exactly once.

Only records that are on disk are posted: SQL must never know more than the journal. Exactly once,
because the cursor moves by compare-and-set inside the same transaction; after a doubtful answer the
poster looks where the cursor stands and goes on from there. A record that SQL refuses is put aside
in ``suspense``, alone, and the rest goes on.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TypeAlias

from msgspec.structs import astuple

from tokenmarket.billing.clock import Clock
from tokenmarket.billing.frames import offset_of, segment_of
from tokenmarket.billing.funds import Bucket, Window
from tokenmarket.billing.records import End, S, StoredAnswer, encode
from tokenmarket.ledger.accounts import REVENUE
from tokenmarket.store.database import Database
from tokenmarket.store.money import DAY_US
from tokenmarket.store.money_moves import Rejected, read_cursor
from tokenmarket.store.money_posting import (
    EVENT_COLUMNS,
    Batch,
    CursorMoved,
    post,
    set_aside,
)

logger = logging.getLogger(__name__)

BATCH_RECORDS = 1_024  # as many rows as one INSERT takes (store/bulk.py)
ROWS_TOGETHER = 100  # made in one turn of the event loop: 0.3 ms
ANSWER_KEPT_US = DAY_US
_PLAIN = EVENT_COLUMNS.index("windows")  # the fields of UsageEvent that are columns as they are


class Frozen(Exception):
    """SQL and journal disagree on what was posted: nothing is admitted until a person looked."""


# A written end that SQL does not know yet: its position after the record, the record, the buckets
# and windows in memory to change when SQL knows it, and when it was written (monotonic µs). A plain
# tuple, because one is made per request.
Pending: TypeAlias = tuple[int, End, Sequence[tuple[Bucket, int]], Sequence[Window], int]


def transfer_ids(request_id: str, legs: int) -> tuple[str, ...]:
    """The ids of a capture's transfers: ``{rid}.c``, or one per bucket ``.c0 .c1``."""
    if legs == 1:
        return (f"{request_id}.c",)
    return tuple(f"{request_id}.c{number}" for number in range(legs))


async def batch_of(
    worker_id: str, from_b: int, ends: Sequence[tuple[int, End]], now_us: int
) -> Batch:
    """The rows of these (position, record), amounts added up per account, lease and window.

    Made a few at a time, and the loop looks at its sockets in between: about 3 µs each.
    Raises UnicodeError for a receipt that is not text.
    """
    batch = Batch(worker_id, from_b, ends[-1][0], len(ends), [], [], {}, {}, {}, [], REVENUE)
    captured: dict[tuple[str, int], int] = {}
    for start in range(0, len(ends), ROWS_TOGETHER):
        if start:
            await asyncio.sleep(0)
        _add_rows(batch, captured, ends[start : start + ROWS_TOGETHER], now_us)
    for (account, lease_no), amount in captured.items():
        batch.accounts[account] = batch.accounts.get(account, 0) + amount
        batch.leases[lease_no] = batch.leases.get(lease_no, 0) + amount
    return batch


def _add_rows(
    batch: Batch,
    captured: dict[tuple[str, int], int],
    ends: Sequence[tuple[int, End]],
    now_us: int,
) -> None:
    events, transfers = batch.events, batch.transfers
    for _, record in ends:
        event = record.event
        windows = ""
        if isinstance(record, S):
            request_id, legs = record.request_id, record.legs
            if len(legs) == 1:  # nearly every request
                names: Sequence[str] = (request_id + ".c",)
            else:
                names = transfer_ids(request_id, len(legs))
            for number, (account, lease_no, amount) in enumerate(legs):
                transfers += (
                    names[number],
                    event.org_id,
                    account,
                    amount,
                    request_id,
                    event.finished_us,
                )
                leg = (account, lease_no)
                captured[leg] = captured.get(leg, 0) + amount
            if record.windows:
                windows = " ".join([name for name, _ in record.windows])
                _add_windows(batch, record)
        events += astuple(event)[:_PLAIN]
        events += (windows, event.receipt.decode())
        if event.answer is not None:
            batch.answers.append(_answer_row(event.org_id, event.request_id, event.answer, now_us))


def _add_windows(batch: Batch, record: S) -> None:
    charge = record.event.charge_nano
    for window, lease_no in record.windows:
        batch.windows[window] = batch.windows.get(window, 0) + charge
        batch.leases[lease_no] = batch.leases.get(lease_no, 0) + charge


def _answer_row(
    org_id: str, request_id: str, answer: StoredAnswer, now_us: int
) -> dict[str, object]:
    return {
        "org_id": org_id,
        "endpoint": answer.endpoint,
        "key": answer.key,
        "request_id": request_id,
        "fingerprint": answer.fingerprint,
        "status": answer.status,
        "content_type": answer.content_type,
        "body": base64.b64encode(answer.body).decode(),
        "created_us": now_us,
        "expires_us": now_us + ANSWER_KEPT_US,
    }


async def post_ends(
    database: Database,
    worker_id: str,
    from_b: int,
    ends: Sequence[tuple[int, End]],
    now_us: int,
) -> list[str]:
    """Post all of ``ends``, halving a refused batch until the culprit is alone and set aside.

    Returns the request ids set aside. Raises CursorMoved, Unavailable.
    """
    try:
        # building the rows can refuse too: a receipt that is not UTF-8 is as poisonous as a CHECK
        batch = await batch_of(worker_id, from_b, ends, now_us)
        await post(database, batch, now_us)
        return []
    except (Rejected, UnicodeError) as error:
        if len(ends) > 1:
            middle = len(ends) // 2
            first = await post_ends(database, worker_id, from_b, ends[:middle], now_us)
            second = await post_ends(
                database, worker_id, ends[middle - 1][0], ends[middle:], now_us
            )
            return first + second
        place, record = ends[0]
        logger.error("record of %s set aside: %s", record.request_id, error)
        await set_aside(
            database,
            Batch(worker_id, from_b, place, 0, [], [], {}, {}, {}, []),
            request_id=record.request_id,
            reason=str(error),
            record=base64.b64encode(encode(record)).decode(),
            now_us=now_us,
        )
        return [record.request_id]


class Poster:
    """Posts one live journal. ``cursor``: everything before it is in SQL."""

    def __init__(
        self,
        database: Database,
        worker_id: str,
        cursor: int,
        clock: Clock,
        lock: asyncio.Lock,
        failpoint: Callable[[str], None],
        segment_bytes: int,
    ) -> None:
        self.cursor = cursor
        self._segment_bytes = segment_bytes
        self.pending: deque[Pending] = deque()
        self.posted = 0
        self.set_aside = 0
        self.on_posted: Callable[[Sequence[End]], None] = lambda _: None
        self._database = database
        self._worker_id = worker_id
        self._clock = clock
        self._lock = lock
        self._failpoint = failpoint
        self._doubtful = False

    def lag_us(self) -> int:
        """Age of the oldest end that SQL does not know."""
        return self._clock.monotonic_us() - self.pending[0][4] if self.pending else 0

    def lag_b(self) -> int:
        """Journal bytes between the oldest and the newest end that SQL does not know, about."""
        if not self.pending:
            return 0
        first, last = self.pending[0][0], self.pending[-1][0]
        whole = segment_of(last) - segment_of(first)
        return whole * self._segment_bytes + offset_of(last) - offset_of(first)

    async def run(self, synced: int, *, rest_waits_us: int = 0) -> None:
        """Post everything before ``synced``; behind a batch, a rest that fills none waits until it
        is ``rest_waits_us`` old. Raises Unavailable (try again), Frozen (do not)."""
        while self.pending and self.pending[0][0] <= synced:
            async with self._lock:
                await self._run_once(synced)
            if len(self.pending) < BATCH_RECORDS and self.lag_us() < rest_waits_us:
                return

    async def _run_once(self, synced: int) -> None:
        await self.resolve()
        some = list(islice(self.pending, BATCH_RECORDS))
        while some and some[-1][0] > synced:
            some.pop()
        if not some:
            return
        self._doubtful = True  # until the answer is in our hands
        self._failpoint("before_post")
        try:
            ends = [(place, record) for place, record, _, _, _ in some]
            aside = await post_ends(
                self._database, self._worker_id, self.cursor, ends, self._clock.wall_us()
            )
        except CursorMoved:
            await self._look()
            return
        self._failpoint("after_post")
        self._doubtful = False
        self.set_aside += len(aside)
        self._applied(some[-1][0], frozenset(aside))

    async def resolve(self) -> None:
        """After a lost answer, learn what it was; only under the lock. Raises Unavailable, Frozen.

        Until then ``unposted`` in memory and the lease rests in SQL cannot be compared.
        """
        if self._doubtful:
            await self._look()

    async def _look(self) -> None:
        """Where does the cursor stand? Our last transaction may have come through or not."""
        actual = await read_cursor(self._database, self._worker_id)
        if actual != self.cursor:
            if actual is None or all(entry[0] != actual for entry in self.pending):
                raise Frozen(
                    f"journal cursor is {actual} in SQL, we posted up to {self.cursor}: the "
                    "database lost commits (was it restored?) or another process posts our journal"
                )
            self._applied(actual, frozenset())
        self._doubtful = False

    def _applied(self, place: int, aside: frozenset[str]) -> None:
        """SQL knows everything before ``place``: the lease rests there are smaller by as much.

        What was set aside stays ``unposted``: its lease rest in SQL is still the larger one.
        """
        pending = self.pending
        done: list[End] = []
        while pending and pending[0][0] <= place:
            _, record, legs, windows, _ = pending.popleft()
            done.append(record)
            if aside and record.request_id in aside:
                continue
            for bucket, amount in legs:
                bucket.unposted -= amount
            for window in windows:
                window.unposted -= record.event.charge_nano
        self.cursor = place
        self.posted += len(done)
        self.on_posted(done)
